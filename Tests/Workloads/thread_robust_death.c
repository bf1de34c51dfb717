// A thread that holds robust mutexes over a checkpoint ends without unlocking: the kernel must still know its list.
#include "workload.h"
#include <pthread.h>

static pthread_mutex_t plain, inherit;
static pthread_barrier_t barrier;

static void make(pthread_mutex_t *mutex, int protocol) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setprotocol(&attributes, protocol);
    workload_check(pthread_mutex_init(mutex, &attributes) == 0);
}

static void *hold_and_end(void *argument) {
    workload_check(pthread_mutex_lock(&plain) == 0 && pthread_mutex_lock(&inherit) == 0);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return argument;
}

int main(void) {
    pthread_t thread;
    make(&plain, PTHREAD_PRIO_NONE);
    make(&inherit, PTHREAD_PRIO_INHERIT);
    pthread_barrier_init(&barrier, NULL, 2);
    workload_check(pthread_create(&thread, NULL, hold_and_end, NULL) == 0);
    pthread_barrier_wait(&barrier);
    workload_ready();
    workload_wait();
    pthread_barrier_wait(&barrier);
    workload_check(pthread_join(thread, NULL) == 0);
    workload_equal(pthread_mutex_lock(&plain), EOWNERDEAD);
    workload_equal(pthread_mutex_lock(&inherit), EOWNERDEAD);
    workload_pass();
}
