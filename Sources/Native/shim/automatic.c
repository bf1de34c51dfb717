// swiftcp_launch --auto: some signals mean "checkpoint, then end". The program must not act on them before the checkpoint is
// taken, whatever handler it has: a terminal sends Ctrl+C to the whole foreground group, a batch system SIGTERM to
// every process. So the shim stands before the dispositions of these few signals: the program's wishes are noted
// and answered, but the kernel holds ours. In any other run these wrappers only pass on.
#include "worker.h"

#include <errno.h>
#include <stdarg.h>

#define EXPORT __attribute__((visibility("default")))

// libc's own names of the functions wrapped here, exported since glibc 2.2.5.
int __sigaction(int signal, const struct sigaction *new, struct sigaction *old);
sighandler_t bsd_signal(int signal, sighandler_t handler);
sighandler_t __sysv_signal(int signal, sighandler_t handler);

static uint64_t guarded; // bit n-1: signal n
static struct sigaction wished[64]; // what the program has set, or found at its start
SCP_FORK_DATA static _Atomic uint32_t came; // the signal that came, 0 = none; futex of the threads it interrupted

bool scp_automatic_guards(int signal) {
    return signal >= 1 && signal <= 64 && guarded >> (signal - 1) & 1;
}

// The thread that was interrupted waits here until the checkpoint is taken (then it wakes up in the restored process) or
// refused. It can be quiesced here as anywhere.
static void on_signal(int signal, siginfo_t *info, void *context) {
    (void)info;
    int before = errno;
    uint32_t none = 0;
    atomic_compare_exchange_strong(&came, &none, (uint32_t)signal);
    scp_poke();
    for (uint32_t now; (now = atomic_load(&came)) != 0;)
        scp_futex_wait(&came, now, -1); // ended by the kill after the checkpoint, a restart, or the refusal
    ucontext_t *frame = context;
    struct scp_arch_call call = scp_arch_call_read(frame);
    int64_t number = call.result == -EINTR ? scp_arch_call_number_before(call.pc) : -1;
    if (number >= 0)
        scp_arch_call_repeat(frame, number);
    errno = before;
}

static void guard(int signal) {
    struct sigaction ours = {.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    ours.sa_sigaction = on_signal;
    __sigaction(signal, NULL, &wished[signal - 1]);
    if (wished[signal - 1].sa_handler == SIG_IGN)
        return; // nohup and background jobs: the signal was meant to have no effect
    if (__sigaction(signal, &ours, NULL) == 0)
        guarded |= 1ull << (signal - 1);
}

SCP_FORK_CODE void scp_automatic_setup(void) {
    for (int signal = 1; signal <= 64; signal++)
        if (scp_settings.auto_signals >> (signal - 1) & 1)
            guard(signal);
}

SCP_FORK_CODE int scp_automatic_pending(void) {
    return (int)atomic_load(&came);
}

void scp_automatic_forget(void) {
    atomic_store(&came, 0);
    scp_futex_wake(&came, INT32_MAX);
}

// On the checkpoint thread: by system call, with the trampoline libc has given our handler's registration.
void scp_automatic_deliver(void) {
    int signal = (int)atomic_load(&came);
    if (!scp_automatic_guards(signal))
        return;
    struct scp_action current;
    const struct sigaction *wish = &wished[signal - 1];
    scp_call(SYS_rt_sigaction, signal, NULL, &current, 8);
    current.handler = (uint64_t)(uintptr_t)wish->sa_handler;
    current.flags = (uint64_t)wish->sa_flags | (current.flags & 0x04000000);
    __builtin_memcpy(&current.mask, &wish->sa_mask, sizeof current.mask);
    scp_call(SYS_rt_sigaction, signal, &current, NULL, 8);
    guarded &= ~(1ull << (signal - 1));
    scp_automatic_forget();
    scp_call(SYS_kill, scp_own_pid, signal);
}

EXPORT int sigaction(int signal, const struct sigaction *new, struct sigaction *old) {
    if (!scp_automatic_guards(signal))
        return __sigaction(signal, new, old);
    struct sigaction before = wished[signal - 1];
    if (new)
        wished[signal - 1] = *new;
    if (old)
        *old = before;
    return 0;
}

static sighandler_t wish(int signal, sighandler_t handler, int flags) {
    sighandler_t before = wished[signal - 1].sa_handler;
    wished[signal - 1] = (struct sigaction){.sa_handler = handler, .sa_flags = flags};
    return before;
}

EXPORT sighandler_t signal(int signal, sighandler_t handler) {
    return scp_automatic_guards(signal) ? wish(signal, handler, SA_RESTART) : bsd_signal(signal, handler);
}

EXPORT sighandler_t sysv_signal(int signal, sighandler_t handler) {
    return scp_automatic_guards(signal) ? wish(signal, handler, (int)(SA_RESETHAND | SA_NODEFER))
                                        : __sysv_signal(signal, handler);
}
