// The last way to stop a thread: it blocks the quiesce signal and libc's own by the raw system call. A helper, a child of the
// checkpoint thread for a moment, seizes it, takes our signal out of its mask and lets go; the handler runs at once
// and puts the bit back into its frame (park.c), so that the thread never misses it.
// Source: ptrace(2); Linux kernel/ptrace.c (PTRACE_SETSIGMASK).
#include "slots.h"

#include <errno.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#define FORCE_LIMIT_MS 200 // for a thread that does not stop: it is in uninterruptible sleep

// Bounded wait for the stop of a seized thread.
static bool wait_for_stop(uint32_t tid) {
    for (int i = 0; i < FORCE_LIMIT_MS; i++) {
        int status = 0;
        int64_t pause[2] = {0, 1000000};
        if (scp_call(SYS_wait4, tid, &status, __WALL | WNOHANG, NULL) == (long)tid)
            return (status & 0xff) == 0x7f;
        scp_call(SYS_nanosleep, pause, NULL);
    }
    return false;
}

// The helper's whole life. It shares the checkpoint thread's memory and stack, which waits (CLONE_VFORK); when it
// exits while the thread is still seized, the kernel lets the thread go.
static __attribute__((noinline, noreturn)) void help(struct scp_slot *slot) {
    uint64_t mask = 0;
    uint64_t bit = 1ull << (SCP_FALLBACK_SIGNAL - 1);
    if (scp_call(SYS_ptrace, PTRACE_SEIZE, slot->tid, 0, 0) == 0 &&
        scp_call(SYS_ptrace, PTRACE_INTERRUPT, slot->tid, 0, 0) == 0 && wait_for_stop(slot->tid)) {
        if (scp_call(SYS_ptrace, PTRACE_GETSIGMASK, slot->tid, 8, &mask) == 0 && (mask & bit)) {
            uint64_t open = mask & ~bit;
            atomic_store(&slot->forced, 1);
            if (scp_call(SYS_ptrace, PTRACE_SETSIGMASK, slot->tid, 8, &open) < 0)
                atomic_store(&slot->forced, 0);
        }
        scp_call(SYS_ptrace, PTRACE_DETACH, slot->tid, 0, 0);
    }
    for (;;)
        scp_call(SYS_exit, 0);
}

void scp_force(struct scp_slot *slot) {
    // Yama lets only descendants of a tracer be traced, unless they allow it.
    scp_call(SYS_prctl, PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    // No exit signal: the program's wait never sees this child.
    long child = scp_call(SYS_clone, CLONE_VM | CLONE_VFORK, 0, 0, 0, 0);
    if (child == 0)
        help(slot);
    if (child > 0)
        while (scp_call(SYS_wait4, child, NULL, __WALL, NULL) == -EINTR)
            ;
    scp_call(SYS_prctl, PR_SET_PTRACER, 0, 0, 0, 0);
}
