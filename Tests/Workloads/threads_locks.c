// Mutexes of every kind held and waited for, condition variables, a barrier, a read-write lock, semaphores, a once.
#include "workload.h"
#include <pthread.h>
#include <semaphore.h>

enum { KINDS = 6 };
static const char *const kinds[KINDS] = {"normal", "recursive", "errorcheck", "robust", "inherit", "robust inherit"};
static pthread_mutex_t mutexes[KINDS];
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_mutex_t condition_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t prepared, done;
static sem_t semaphore;
static int signalled, locked_by_waiter[KINDS];

static void make(int kind) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, kind == 1   ? PTHREAD_MUTEX_RECURSIVE
                                           : kind == 2 ? PTHREAD_MUTEX_ERRORCHECK
                                                       : PTHREAD_MUTEX_NORMAL);
    if (kind == 3 || kind == 5)
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (kind >= 4)
        pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    workload_check(pthread_mutex_init(&mutexes[kind], &attributes) == 0);
}

// Holds its mutex over the checkpoints, and must be its owner afterwards.
static void *hold(void *argument) {
    int kind = (int)(long)argument;
    workload_check(pthread_mutex_lock(&mutexes[kind]) == 0);
    if (kind == 1)
        workload_check(pthread_mutex_lock(&mutexes[kind]) == 0);
    pthread_barrier_wait(&prepared);
    workload_wait();
    if (kind == 1) {
        workload_check(pthread_mutex_lock(&mutexes[kind]) == 0);
        workload_check(pthread_mutex_unlock(&mutexes[kind]) == 0);
        workload_check(pthread_mutex_unlock(&mutexes[kind]) == 0);
    }
    if (kind == 2)
        workload_check(pthread_mutex_lock(&mutexes[kind]) == EDEADLK);
    if (locked_by_waiter[kind])
        workload_fail("the waiter has got the held %s mutex", kinds[kind]);
    int result = pthread_mutex_unlock(&mutexes[kind]);
    if (result != 0)
        workload_fail("unlock of the %s mutex by its owner: %s", kinds[kind], strerror(result));
    pthread_barrier_wait(&done);
    return NULL;
}

// Waits for it all the time.
static void *wait_for_it(void *argument) {
    int kind = (int)(long)argument;
    pthread_barrier_wait(&prepared);
    int result = pthread_mutex_lock(&mutexes[kind]);
    if (result != 0)
        workload_fail("lock of the %s mutex by its waiter: %s", kinds[kind], strerror(result));
    locked_by_waiter[kind] = 1;
    workload_check(pthread_mutex_unlock(&mutexes[kind]) == 0);
    pthread_barrier_wait(&done);
    return NULL;
}

static void *wait_for_condition(void *argument) {
    pthread_mutex_lock(&condition_mutex);
    pthread_barrier_wait(&prepared);
    while (!signalled)
        pthread_cond_wait(&condition, &condition_mutex);
    pthread_mutex_unlock(&condition_mutex);
    pthread_barrier_wait(&done);
    return argument;
}

static void *wait_for_semaphore(void *argument) {
    pthread_barrier_wait(&prepared);
    workload_check(sem_wait(&semaphore) == 0);
    pthread_barrier_wait(&done);
    return argument;
}

static void *wait_for_writing(void *argument) {
    pthread_barrier_wait(&prepared);
    workload_check(pthread_rwlock_wrlock(&rwlock) == 0);
    pthread_rwlock_unlock(&rwlock);
    pthread_barrier_wait(&done);
    return argument;
}

int main(void) {
    enum { THREADS = 2 * KINDS + 3 };
    pthread_t threads[THREADS];
    int next = 0;
    pthread_barrier_init(&prepared, NULL, THREADS + 1);
    pthread_barrier_init(&done, NULL, THREADS + 1);
    workload_check(sem_init(&semaphore, 0, 0) == 0);
    workload_check(pthread_rwlock_rdlock(&rwlock) == 0);
    for (long kind = 0; kind < KINDS; kind++) {
        make((int)kind);
        workload_check(pthread_create(&threads[next++], NULL, hold, (void *)kind) == 0);
        workload_check(pthread_create(&threads[next++], NULL, wait_for_it, (void *)kind) == 0);
    }
    workload_check(pthread_create(&threads[next++], NULL, wait_for_condition, NULL) == 0);
    workload_check(pthread_create(&threads[next++], NULL, wait_for_semaphore, NULL) == 0);
    workload_check(pthread_create(&threads[next++], NULL, wait_for_writing, NULL) == 0);
    pthread_barrier_wait(&prepared);
    workload_ready();
    workload_wait();
    pthread_mutex_lock(&condition_mutex);
    signalled = 1;
    pthread_cond_broadcast(&condition);
    pthread_mutex_unlock(&condition_mutex);
    sem_post(&semaphore);
    workload_check(pthread_rwlock_unlock(&rwlock) == 0);
    pthread_barrier_wait(&done);
    for (int i = 0; i < THREADS; i++)
        workload_check(pthread_join(threads[i], NULL) == 0);
    for (int kind = 0; kind < KINDS; kind++)
        workload_check(locked_by_waiter[kind]);
    workload_pass();
}
