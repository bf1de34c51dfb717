// Interval timers: what remains and what follows; an expired one whose signal is blocked; one that goes on ticking.
#include "workload.h"
#include <signal.h>
#include <sys/time.h>

static volatile sig_atomic_t ticks;

static void tick(int signal) {
    (void)signal;
    ticks++;
}

static void arm(int which, int seconds, int interval) {
    struct itimerval value = {{interval, 250000}, {seconds, 0}};
    workload_check(setitimer(which, &value, NULL) == 0);
}

// At most `passed` seconds may be gone.
static void must_remain(int which, int seconds, int interval, double passed) {
    struct itimerval now;
    workload_check(getitimer(which, &now) == 0);
    double left = (double)now.it_value.tv_sec + (double)now.it_value.tv_usec / 1e6;
    if (left > seconds + 0.01 || left < seconds - passed - 0.1)
        workload_fail("timer %d: %f of %d seconds remain after %f", which, left, seconds, passed);
    workload_equal(now.it_interval.tv_sec, interval);
    workload_equal(now.it_interval.tv_usec, 250000);
}

int main(void) {
    struct itimerval short_one = {{0, 20000}, {0, 20000}};
    signal(SIGALRM, tick);
    double start = workload_seconds();
    arm(ITIMER_VIRTUAL, 2000, 3);
    arm(ITIMER_PROF, 3000, 4);
    workload_check(setitimer(ITIMER_REAL, &short_one, NULL) == 0);
    while (ticks == 0)
        ;
    workload_ready();
    workload_wait();
    must_remain(ITIMER_VIRTUAL, 2000, 3, workload_seconds() - start);
    must_remain(ITIMER_PROF, 3000, 4, workload_seconds() - start);
    int before = ticks;
    double limit = workload_seconds() + 10;
    while (ticks < before + 5)
        if (workload_seconds() > limit)
            workload_fail("the timer of 20 ms has stopped after %d ticks", (int)ticks);
    workload_pass();
}
