// Many one-shot timers expire while the program is checkpointed and restarted: each must be heard of exactly once.
// @flags -lrt
#include "workload.h"
#include <signal.h>

enum { TIMERS = 300, SPREAD_MS = 1500 };
static int heard[TIMERS], total;

static void take(const sigset_t *set, const struct timespec *limit) {
    siginfo_t info;
    while (sigtimedwait(set, &info, limit) > 0) {
        int number = info.si_value.sival_int;
        workload_equal(info.si_code, SI_TIMER);
        workload_check(number >= 0 && number < TIMERS);
        heard[number]++;
        total++;
    }
}

int main(void) {
    struct timespec at_once = {0, 0}, pause = {0, 100000000};
    sigset_t set;
    timer_t timer;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 5);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (int number = 0; number < TIMERS; number++) {
        struct sigevent event = {
            .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 5, .sigev_value.sival_int = number};
        long delay = (long)SPREAD_MS * 1000000 / TIMERS * (number + 1);
        struct itimerspec value = {.it_value = {delay / 1000000000, delay % 1000000000}};
        workload_check(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
        workload_check(timer_settime(timer, 0, &value, NULL) == 0);
    }
    workload_ready();
    while (workload_waiting())
        take(&set, &at_once);
    for (double limit = workload_seconds() + 15; total < TIMERS && workload_seconds() < limit;)
        take(&set, &pause);
    take(&set, &pause); // nothing may follow
    for (int number = 0; number < TIMERS; number++)
        if (heard[number] != 1)
            workload_fail("timer %d was heard of %d times (%d of %d in all)", number, heard[number], total, TIMERS);
    workload_pass();
}
