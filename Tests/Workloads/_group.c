// In a process group that somebody else leads, as a program that a script has started. A restart keeps its number.
#include "workload.h"

#include <signal.h>

static volatile sig_atomic_t signalled;

static void on_signal(int signal) {
    (void)signal;
    signalled = 1;
}

int main(void) {
    pid_t group = getpgrp();
    signal(SIGUSR1, on_signal);
    workload_check(group != getpid());
    workload_ready();
    workload_wait();
    workload_equal(getpgrp(), group);
    workload_equal(kill(-group, SIGUSR1), 0);
    workload_check(signalled);
    workload_pass();
}
