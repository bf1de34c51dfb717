// Signals that are pending for single threads: each thread gets its own back, and nobody another's.
#include "workload.h"
#include <pthread.h>
#include <signal.h>

enum { THREADS = 6 };
static pthread_t threads[THREADS];
static pthread_barrier_t barrier;

static void expect(const sigset_t *set, int signal, int value) {
    struct timespec at_once = {0, 0};
    siginfo_t info;
    workload_equal(sigtimedwait(set, &info, &at_once), signal);
    if (value)
        workload_equal(info.si_value.sival_int, value);
    else
        workload_equal(info.si_code, SI_USER); // SI_TKILL, which libc hides
}

static void *work(void *argument) {
    int number = (int)(long)argument;
    struct timespec at_once = {0, 0};
    sigset_t set, real_time;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGALRM);
    sigemptyset(&real_time);
    sigaddset(&real_time, SIGRTMIN + 3);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_sigmask(SIG_BLOCK, &real_time, NULL);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier); // sent
    pthread_barrier_wait(&barrier); // may check
    if (number % 2) {
        expect(&set, SIGUSR1, 0);
        expect(&real_time, SIGRTMIN + 3, 1000 + number);
        expect(&real_time, SIGRTMIN + 3, 2000 + number);
    }
    workload_check(sigtimedwait(&set, NULL, &at_once) == -1 && errno == EAGAIN);
    workload_check(sigtimedwait(&real_time, NULL, &at_once) == -1 && errno == EAGAIN);
    return NULL;
}

int main(void) {
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (long i = 0; i < THREADS; i++)
        workload_check(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    pthread_barrier_wait(&barrier);
    for (int i = 1; i < THREADS; i += 2) {
        workload_check(pthread_kill(threads[i], SIGUSR1) == 0);
        for (int thousand = 1000; thousand <= 2000; thousand += 1000)
            workload_check(pthread_sigqueue(threads[i], SIGRTMIN + 3, (union sigval){.sival_int = thousand + i}) == 0);
    }
    pthread_barrier_wait(&barrier);
    workload_ready();
    workload_wait();
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    workload_pass();
}
