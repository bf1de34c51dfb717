// Dispositions: handlers with their masks and flags, ignored ones, defaults; also of SIGUSR2, the quiesce signal.
// @cases default usr2-handled usr2-ignored
#include "workload.h"
#include <signal.h>

static struct sigaction before[65];
static volatile sig_atomic_t called, value;

static void handle(int signal, siginfo_t *info, void *context) {
    (void)context;
    called = signal;
    value = info->si_value.sival_int;
}

static void handle_plain(int signal) {
    called = signal;
}

static void set(int signal, void *handler, int flags, int masked) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = flags;
    if (masked)
        sigaddset(&action.sa_mask, masked);
    workload_check(sigaction(signal, &action, NULL) == 0);
}

static int same(const struct sigaction *a, const struct sigaction *b) {
    return a->sa_handler == b->sa_handler && a->sa_flags == b->sa_flags &&
           memcmp(&a->sa_mask, &b->sa_mask, 8) == 0; // what the kernel knows of the set
}

int main(int count, char **words) {
    set(SIGUSR1, handle, SA_SIGINFO | SA_RESTART, SIGTERM);
    set(SIGHUP, SIG_IGN, 0, 0);
    set(SIGPIPE, SIG_IGN, SA_RESTART, 0);
    set(SIGTERM, handle_plain, SA_ONSTACK | SA_NODEFER, 0);
    set(SIGCHLD, handle_plain, SA_NOCLDSTOP | SA_NOCLDWAIT, SIGUSR1);
    set(SIGRTMAX, handle, SA_SIGINFO, SIGRTMIN);
    if (count > 1 && strcmp(words[1], "usr2-handled") == 0)
        set(SIGUSR2, handle, SA_SIGINFO, SIGHUP);
    if (count > 1 && strcmp(words[1], "usr2-ignored") == 0)
        set(SIGUSR2, SIG_IGN, 0, 0);
    for (int signal = 1; signal <= 64; signal++)
        sigaction(signal, NULL, &before[signal]);
    workload_ready();
    workload_wait();
    for (int signal = 1; signal <= 64; signal++) {
        struct sigaction now;
        if (sigaction(signal, NULL, &now) == 0 && !same(&before[signal], &now))
            workload_fail("signal %d: handler %p flags %x, was %p %x", signal, (void *)now.sa_handler, now.sa_flags,
                          (void *)before[signal].sa_handler, before[signal].sa_flags);
    }
    workload_check(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 4711}) == 0);
    workload_equal(called, SIGUSR1);
    workload_equal(value, 4711);
    workload_check(raise(SIGTERM) == 0);
    workload_equal(called, SIGTERM);
    workload_pass();
}
