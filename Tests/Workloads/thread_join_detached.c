// Threads that end after a restart: pthread_join returns, a detached one's stack is reused, thread-exit destructors run.
#include "workload.h"
#include <pthread.h>

enum { THREADS = 8 };
static pthread_barrier_t barrier;
static pthread_key_t key;
static _Atomic int destroyed, detached_gone;

static void destroy(void *value) {
    destroyed += (int)(long)value;
}

static void *work(void *argument) {
    pthread_setspecific(key, (void *)1);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    if (!argument)
        detached_gone++;
    return argument;
}

int main(void) {
    pthread_t threads[THREADS];
    pthread_key_create(&key, destroy);
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (long i = 0; i < THREADS; i++) {
        workload_check(pthread_create(&threads[i], NULL, work, (void *)(i % 2)) == 0);
        if (i % 2 == 0)
            workload_check(pthread_detach(threads[i]) == 0);
    }
    pthread_barrier_wait(&barrier);
    workload_ready();
    workload_wait();
    pthread_barrier_wait(&barrier);
    for (int i = 1; i < THREADS; i += 2) {
        void *result;
        workload_check(pthread_join(threads[i], &result) == 0);
        workload_equal((long)result, 1);
    }
    double limit = workload_seconds() + 10;
    while (destroyed < THREADS || detached_gone < THREADS / 2)
        if (workload_seconds() > limit)
            workload_fail("%d of %d destructors, %d detached threads", destroyed, THREADS, detached_gone);
    for (int i = 0; i < 4 * THREADS; i++) {
        pthread_t another;
        pthread_barrier_init(&barrier, NULL, 1);
        workload_check(pthread_create(&another, NULL, work, (void *)1) == 0);
        workload_check(pthread_join(another, NULL) == 0);
    }
    workload_pass();
}
