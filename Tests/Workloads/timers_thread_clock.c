// A timer on the CPU time of a thread that is neither the leader nor the one that is told: the kernel does not say whose.
// @flags -lrt
// @limit 90
#include "workload.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>

static timer_t timer;
static volatile int made, work, told, stop;

static void on_signal(int signal) {
    (void)signal;
    told = 1;
}

static void *idle_or_busy(void *argument) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    if (argument) {
        workload_check(timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer) == 0);
        workload_check(timer_settime(timer, 0, &(struct itimerspec){.it_value = {0, 200000000}}, NULL) == 0);
        made = 1;
    }
    while (!stop)
        if (!argument || !work)
            nanosleep(&(struct timespec){0, 1000000}, NULL);
    return NULL;
}

static double left(void) {
    struct itimerspec now;
    workload_check(timer_gettime(timer, &now) == 0);
    return (double)now.it_value.tv_sec + (double)now.it_value.tv_nsec / 1e9;
}

static void spin(double seconds) {
    for (double end = workload_seconds() + seconds; workload_seconds() < end;)
        ;
}

int main(void) {
    pthread_t threads[4];
    signal(SIGUSR1, on_signal);
    for (long i = 0; i < 4; i++)
        workload_check(pthread_create(&threads[i], NULL, idle_or_busy, (void *)(long)(i == 2)) == 0);
    while (!made)
        sched_yield();
    workload_ready();
    workload_wait();
    double before = left();
    workload_check(before > 0.05);
    spin(0.05); // another thread's work is none of the timer's
    workload_check(before - left() < 0.02);
    work = 1;
    double limit = workload_seconds() + 60; // of a machine that may have much else to do
    for (; !told; usleep(1000))
        if (workload_seconds() > limit)
            workload_fail("the thread has worked and the timer has not expired: %f s left", left());
    stop = 1;
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    workload_pass();
}
