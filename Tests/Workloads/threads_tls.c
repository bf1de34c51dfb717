// Thread-local storage, and pthread_self() of each thread, are what they were.
#include "workload.h"
#include <pthread.h>
#include <sys/syscall.h>

enum { THREADS = 16 };
static _Thread_local int initialised = 41;
static _Thread_local long number;
static _Thread_local char *own;
static pthread_barrier_t barrier;
static pthread_key_t key;
static _Atomic int wrong;

static void *work(void *argument) {
    char text[32];
    pid_t tid = (pid_t)syscall(SYS_gettid);
    pthread_t self = pthread_self();
    number = (long)argument;
    initialised++;
    own = text;
    snprintf(text, sizeof text, "thread %ld", number);
    pthread_setspecific(key, (void *)(number + 1));
    pthread_barrier_wait(&barrier); // prepared
    pthread_barrier_wait(&barrier); // may check
    char expected[32];
    snprintf(expected, sizeof expected, "thread %ld", (long)argument);
    if (number != (long)argument || initialised != 42 || own != text || strcmp(own, expected) != 0)
        wrong |= 1;
    if (pthread_getspecific(key) != (void *)((long)argument + 1))
        wrong |= 2;
    if (!pthread_equal(self, pthread_self()))
        wrong |= 4;
    if (tid != (pid_t)syscall(SYS_gettid))
        wrong |= 8;
    return NULL;
}

int main(void) {
    pthread_t threads[THREADS];
    workload_check(pthread_key_create(&key, NULL) == 0);
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (long i = 0; i < THREADS; i++)
        workload_check(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    pthread_barrier_wait(&barrier);
    workload_ready();
    workload_wait();
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++)
        workload_check(pthread_join(threads[i], NULL) == 0);
    workload_equal(wrong, 0);
    workload_pass();
}
