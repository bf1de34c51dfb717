// Signal-driven input: owner, signal and O_ASYNC of a descriptor.
// @cases async owner
#include "workload_cases.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

static volatile sig_atomic_t got, got_descriptor;

static void note(int number, siginfo_t *info, void *context) {
    (void)context;
    got = number;
    got_descriptor = info->si_fd;
}

static void check_async(void) {
    int pair[2];
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
    workload_check(sigaction(SIGRTMIN + 2, &action, NULL) == 0);
    workload_check(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    workload_check(fcntl(pair[0], F_SETOWN, getpid()) == 0 && fcntl(pair[0], F_SETSIG, SIGRTMIN + 2) == 0);
    workload_check(fcntl(pair[0], F_SETFL, O_ASYNC | O_NONBLOCK) == 0);
    workload_ready();
    workload_wait();
    workload_equal(got, 0);
    workload_equal(fcntl(pair[0], F_GETOWN), getpid());
    workload_equal(fcntl(pair[0], F_GETSIG), SIGRTMIN + 2);
    workload_equal(fcntl(pair[0], F_GETFL) & (O_ASYNC | O_NONBLOCK), O_ASYNC | O_NONBLOCK);
    workload_equal(write(pair[1], "x", 1), 1);
    workload_equal(got, SIGRTMIN + 2);
    workload_equal(got_descriptor, pair[0]);
}

static void check_owner(void) {
    int ends[2];
    workload_check(pipe(ends) == 0);
    struct f_owner_ex thread = {F_OWNER_TID, getpid()}, group = {F_OWNER_PGRP, getpgrp()}, found;
    workload_check(fcntl(ends[0], F_SETOWN_EX, &thread) == 0 && fcntl(ends[1], F_SETOWN_EX, &group) == 0);
    workload_ready();
    workload_wait();
    workload_check(fcntl(ends[0], F_GETOWN_EX, &found) == 0);
    workload_equal(found.type, F_OWNER_TID);
    workload_equal(found.pid, getpid());
    workload_check(fcntl(ends[1], F_GETOWN_EX, &found) == 0);
    workload_equal(found.type, F_OWNER_PGRP);
    workload_equal(found.pid, getpgrp());
}

WORKLOAD_CASES({"async", check_async}, {"owner", check_owner})
