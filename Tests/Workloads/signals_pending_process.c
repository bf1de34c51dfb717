// Signals that are blocked and pending for the process: kind, sender, value, number and order.
#include "workload.h"
#include <signal.h>

enum { QUEUED = 5 };

static void take(const sigset_t *set, siginfo_t *info, int signal) {
    struct timespec at_once = {0, 0};
    memset(info, 0, sizeof *info);
    workload_equal(sigtimedwait(set, info, &at_once), signal);
}

int main(void) {
    sigset_t set;
    siginfo_t info;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGRTMIN + 1);
    sigaddset(&set, SIGRTMIN + 2);
    workload_check(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    workload_check(kill(getpid(), SIGTERM) == 0);
    workload_check(kill(getpid(), SIGUSR1) == 0);
    workload_check(kill(getpid(), SIGUSR1) == 0); // merges with the first
    for (int i = 0; i < QUEUED; i++)
        workload_check(sigqueue(getpid(), SIGRTMIN + 1 + i % 2, (union sigval){.sival_int = 100 + i}) == 0);
    workload_ready();
    workload_wait();
    take(&set, &info, SIGUSR1);
    workload_equal(info.si_code, SI_USER);
    workload_equal(info.si_pid, getpid());
    take(&set, &info, SIGTERM);
    for (int odd = 0; odd < 2; odd++)
        for (int i = odd; i < QUEUED; i += 2) {
            take(&set, &info, SIGRTMIN + 1 + odd);
            workload_equal(info.si_code, SI_QUEUE);
            workload_equal(info.si_value.sival_int, 100 + i);
            workload_equal(info.si_pid, getpid());
            workload_equal(info.si_uid, getuid());
        }
    struct timespec at_once = {0, 0};
    workload_check(sigtimedwait(&set, &info, &at_once) == -1 && errno == EAGAIN);
    workload_pass();
}
