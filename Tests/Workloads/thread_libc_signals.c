// What libc does by signals of its own (32 and 33): cancelling a thread, changing ids in every thread.
#include "workload.h"
#include <pthread.h>
#include <signal.h>

enum { THREADS = 4 };
static pthread_barrier_t barrier;

static void *wait_for_ever(void *argument) {
    pthread_barrier_wait(&barrier);
    for (;;)
        pause();
    return argument;
}

int main(void) {
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        workload_check(pthread_create(&threads[i], NULL, wait_for_ever, NULL) == 0);
    pthread_barrier_wait(&barrier);
    workload_check(setresgid(getgid(), getegid(), getegid()) == 0);
    workload_ready();
    workload_wait();
    for (int i = 0; i < 100; i++)
        workload_check(setresgid(getgid(), getegid(), getegid()) == 0);
    workload_check(seteuid(geteuid()) == 0);
    for (int i = 0; i < THREADS; i++) {
        void *result;
        workload_check(pthread_cancel(threads[i]) == 0);
        workload_check(pthread_join(threads[i], &result) == 0);
        workload_check(result == PTHREAD_CANCELED);
    }
    workload_pass();
}
