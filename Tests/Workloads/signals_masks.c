// Signal masks of threads; one is inside a handler, one inside sigsuspend.
#include "workload.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>

enum { THREADS = 4 };
static pthread_barrier_t prepared, check;
static volatile sig_atomic_t in_handler, suspended_woken;

static void fill(sigset_t *set, int number) {
    sigemptyset(set);
    for (int signal = 1; signal <= 31; signal++)
        if (signal % (number + 2) == 0 && signal != SIGKILL && signal != SIGSTOP)
            sigaddset(set, signal);
    sigaddset(set, SIGRTMIN + number);
}

static void must_equal(const sigset_t *wanted, int number) {
    sigset_t now;
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    for (int signal = 1; signal <= 64; signal++)
        if (sigismember(&now, signal) != sigismember(wanted, signal))
            workload_fail("thread %d: signal %d blocked %d, was %d", number, signal, sigismember(&now, signal),
                          sigismember(wanted, signal));
}

static void *work(void *argument) {
    int number = (int)(long)argument;
    sigset_t mask;
    fill(&mask, number);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    pthread_barrier_wait(&prepared);
    pthread_barrier_wait(&check);
    must_equal(&mask, number);
    return NULL;
}

static void handler(int signal) {
    sigset_t inside;
    pthread_sigmask(SIG_SETMASK, NULL, &inside);
    in_handler = 1;
    workload_wait();
    must_equal(&inside, signal);
}

static void *in_a_handler(void *argument) {
    sigset_t outside;
    pthread_sigmask(SIG_SETMASK, NULL, &outside);
    pthread_kill(pthread_self(), SIGUSR1);
    must_equal(&outside, 100);
    return argument;
}

static void wake(int signal) {
    (void)signal;
    suspended_woken = 1;
}

static void *in_suspend(void *argument) {
    sigset_t own, during;
    sigemptyset(&own);
    sigaddset(&own, SIGHUP);
    sigaddset(&own, SIGALRM);
    pthread_sigmask(SIG_SETMASK, &own, NULL);
    sigfillset(&during);
    sigdelset(&during, SIGHUP);
    pthread_barrier_wait(&prepared);
    while (!suspended_woken)
        sigsuspend(&during);
    must_equal(&own, 101);
    return argument;
}

int main(void) {
    pthread_t threads[THREADS + 2];
    struct sigaction action = {.sa_handler = handler};
    sigaddset(&action.sa_mask, SIGTERM);
    sigaction(SIGUSR1, &action, NULL);
    signal(SIGHUP, wake);
    pthread_barrier_init(&prepared, NULL, THREADS + 2);
    pthread_barrier_init(&check, NULL, THREADS + 1);
    for (long i = 0; i < THREADS; i++)
        workload_check(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    workload_check(pthread_create(&threads[THREADS], NULL, in_a_handler, NULL) == 0);
    workload_check(pthread_create(&threads[THREADS + 1], NULL, in_suspend, NULL) == 0);
    pthread_barrier_wait(&prepared);
    while (!in_handler)
        sched_yield();
    workload_ready();
    workload_wait();
    pthread_barrier_wait(&check);
    pthread_kill(threads[THREADS + 1], SIGHUP);
    for (int i = 0; i < THREADS + 2; i++)
        pthread_join(threads[i], NULL);
    workload_pass();
}
