// POSIX timers of every notification and clock: their numbers (with gaps), intervals, what remains, what they tell.
// @flags -lrt
#include "workload.h"
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

enum { TIMERS = 6 };
static timer_t timers[TIMERS];
static _Atomic int notified;
static volatile sig_atomic_t signals, signal_value;

static void on_signal(int signal, siginfo_t *info, void *context) {
    (void)signal;
    (void)context;
    signals++;
    signal_value = info->si_value.sival_int;
}

static void on_thread(union sigval value) {
    notified += value.sival_int;
}

static timer_t make(clockid_t clock, int notify, int value, int gap) {
    struct sigevent event = {.sigev_notify = notify, .sigev_signo = SIGRTMIN + 4, .sigev_value.sival_int = value};
    timer_t dropped[8], timer;
    if (notify == SIGEV_THREAD)
        event.sigev_notify_function = on_thread;
    if (notify == SIGEV_THREAD_ID)
        event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    for (int i = 0; i < gap; i++)
        workload_check(timer_create(CLOCK_MONOTONIC, NULL, &dropped[i]) == 0);
    workload_check(timer_create(clock, &event, &timer) == 0);
    for (int i = 0; i < gap; i++)
        workload_check(timer_delete(dropped[i]) == 0);
    return timer;
}

static void arm(timer_t timer, double first, double interval) {
    struct itimerspec value = {{(time_t)interval, (long)((interval - (double)(time_t)interval) * 1e9)},
                               {(time_t)first, (long)((first - (double)(time_t)first) * 1e9)}};
    workload_check(timer_settime(timer, 0, &value, NULL) == 0);
}

static void must_remain(int number, double seconds, long interval, double passed) {
    struct itimerspec now;
    workload_check(timer_gettime(timers[number], &now) == 0);
    double left = (double)now.it_value.tv_sec + (double)now.it_value.tv_nsec / 1e9;
    if (left > seconds || left < seconds - passed - 0.1)
        workload_fail("timer %d: %f of %f seconds remain after %f", number, left, seconds, passed);
    workload_equal(now.it_interval.tv_sec, interval);
}

static void await(const char *what, int (*holds)(int), int argument) {
    double limit = workload_seconds() + 10;
    while (!holds(argument))
        if (workload_seconds() > limit)
            workload_fail("%s: not within 10 seconds", what);
}

static int thread_told(int before) {
    return notified > before;
}

static int signal_told(int before) {
    return signals > before && signal_value == 77;
}

// Timers whose thread has ended: one that would tell it, one on its CPU time.
static timer_t orphans[2];

static void *make_orphans(void *argument) {
    orphans[0] = make(CLOCK_MONOTONIC, SIGEV_THREAD_ID, 9, 0);
    orphans[1] = make(CLOCK_THREAD_CPUTIME_ID, SIGEV_NONE, 9, 0);
    arm(orphans[0], 0.005, 0.005);
    arm(orphans[1], 900, 0);
    return argument;
}

int main(void) {
    pthread_t thread;
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGRTMIN + 4, &action, NULL);
    timers[0] = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, 77, 0);
    timers[1] = make(CLOCK_REALTIME, SIGEV_NONE, 1, 3);
    timers[2] = make(CLOCK_MONOTONIC, SIGEV_THREAD, 5, 1);
    timers[3] = make(CLOCK_PROCESS_CPUTIME_ID, SIGEV_SIGNAL, 2, 2);
    timers[4] = make(CLOCK_THREAD_CPUTIME_ID, SIGEV_THREAD_ID, 3, 0);
    timers[5] = make(CLOCK_BOOTTIME, SIGEV_SIGNAL, 77, 7); // never armed before the check
    workload_check(pthread_create(&thread, NULL, make_orphans, NULL) == 0 && pthread_join(thread, NULL) == 0);
    double start = workload_seconds();
    arm(timers[0], 500, 40);
    arm(timers[1], 600, 50);
    arm(timers[2], 0.01, 0.01);
    arm(timers[3], 700, 60);
    arm(timers[4], 800, 70);
    workload_ready();
    workload_wait();
    double passed = workload_seconds() - start;
    must_remain(0, 500, 40, passed);
    must_remain(1, 600, 50, passed);
    must_remain(3, 700, 60, passed);
    must_remain(4, 800, 70, passed);
    must_remain(5, 0, 0, 0);
    await("the thread of a SIGEV_THREAD timer", thread_told, notified);
    arm(timers[5], 0.01, 0);
    await("the signal of the last timer", signal_told, signals);
    arm(timers[0], 0.01, 0);
    await("the signal of the first timer", signal_told, signals);
    workload_check(timer_delete(orphans[0]) == 0 && timer_delete(orphans[1]) == 0);
    for (int i = 0; i < TIMERS; i++)
        workload_check(timer_delete(timers[i]) == 0);
    workload_pass();
}
