// A repeating interval timer has expired, its signal is blocked and pending; later the timer must go on.
#include "workload.h"
#include <signal.h>
#include <sys/time.h>

int main(void) {
    struct itimerval value = {{0, 30000}, {0, 1000}};
    struct timespec limit = {10, 0};
    sigset_t set, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    workload_check(setitimer(ITIMER_REAL, &value, NULL) == 0);
    do
        sigpending(&pending);
    while (!sigismember(&pending, SIGALRM));
    workload_ready();
    workload_wait();
    for (int i = 0; i < 4; i++)
        workload_equal(sigtimedwait(&set, NULL, &limit), SIGALRM);
    workload_pass();
}
