// Stopped by job control: this process, whose threads a tracer of the coordinator's then leads (swiftcp_tracer.h), and children
// of it, of whose stop the parent has been told or has yet to be.
//
//   restart:   parent                                  child
//              SIGCHLD hushed, "arrived"               "arrived"
//              ----------------------- all have arrived: go -----------------------
//              awaits the stop (waitid)  <-----------  "restored", stops itself
//              SIGCHLD as it was, "restored"
//              ----------------------- all are restored: the program runs ----------
//                                                      SIGCONT: its threads leave
#define _GNU_SOURCE
#include "state.h"
#include "worker.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

struct stopped_child {
    uint32_t pid;
    uint32_t due; // the parent has not waited for the report yet
};

static int stopped_by; // the signal; an image has that of its process
static struct stopped_child *children; // carried into the image
static size_t child_count;

void scp_stops_note(int signal) {
    stopped_by = signal;
    child_count = 0;
}

// ---- the checkpoint -------------------------------------------------------------------------------------------------

size_t scp_stops_prepare(const struct scp_checkpoint *checkpoint) {
    return checkpoint->order->stopped_among * sizeof(struct stopped_child) + 16;
}

// Consumes nothing. False: it has ended.
static bool look_at(struct stopped_child *child) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    if (scp_call(SYS_waitid, P_PID, child->pid, &info, WSTOPPED | WEXITED | WNOHANG | WNOWAIT | __WALL, NULL) < 0)
        return false;
    child->due = (uint32_t)info.si_pid == child->pid;
    return info.si_pid == 0 || info.si_code == CLD_STOPPED;
}

int scp_stops_examine(const struct scp_examination *examination) {
    struct scp_checkpoint *checkpoint = examination->checkpoint;
    child_count = 0;
    if (checkpoint->stopped.count == 0)
        return 0;
    children = scp_carry(checkpoint->stopped.count * sizeof *children);
    if (!children)
        return scp_fail(checkpoint, ENOBUFS, "no room for the list of stopped children", (char *)NULL);
    for (size_t i = 0; i < checkpoint->stopped.count; i++) {
        children[child_count] =
            (struct stopped_child){.pid = *(const uint32_t *)scp_vector_at(&checkpoint->stopped, i)};
        child_count += look_at(&children[child_count]);
    }
    return 0;
}

// ---- the restart ----------------------------------------------------------------------------------------------------

static struct scp_action of_children; // SIGCHLD, as the program has it

// Whether SIGCHLD is pending is restored with all other signals.
void scp_stops_hush(void) {
    if (child_count == 0)
        return;
    scp_signal_action(SIGCHLD, NULL, &of_children);
    struct scp_action hushed = of_children;
    hushed.flags |= SA_NOCLDSTOP;
    scp_signal_action(SIGCHLD, &hushed, NULL);
}

// Who does not come is ended by swiftcp_restart's limit, with this process.
void scp_stops_await(void) {
    if (child_count == 0)
        return;
    for (size_t i = 0; i < child_count; i++) {
        siginfo_t info;
        int options = WSTOPPED | __WALL | (children[i].due ? WNOWAIT : 0);
        while (scp_call(SYS_waitid, P_PID, children[i].pid, &info, options, NULL) == -EINTR)
            continue;
    }
    child_count = 0;
    scp_signal_action(SIGCHLD, &of_children, NULL);
}

// The kernel takes no stop by a terminal's signal in a group that nobody outside of it in the session looks after.
static bool is_looked_after(void) {
    long parent = scp_call(SYS_getppid);
    return parent > 0 && scp_call(SYS_getpgid, parent) != scp_call(SYS_getpgid, 0) &&
           scp_call(SYS_getsid, parent) == scp_call(SYS_getsid, 0);
}

// All threads wait at the gate, with every signal blocked: this one alone can take the signal.
static void stop_by(int signal) {
    struct scp_action standard = {.handler = (uint64_t)(uintptr_t)SIG_DFL}, own;
    uint64_t set = 1ull << (signal - 1), mask;
    scp_signal_action(signal, &standard, &own);
    scp_call(SYS_rt_sigprocmask, SIG_UNBLOCK, &set, &mask, 8);
    scp_call(SYS_tgkill, scp_own_pid, scp_checkpoint_tid(), signal);
    scp_call(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, 8);
    scp_signal_action(signal, &own, NULL);
}

// Always sent to this very thread: it stops before it can go on to the gate, and takes all others with it.
void scp_stops_stop(void) {
    int signal = stopped_by;
    stopped_by = 0;
    if (signal == 0)
        return;
    if (signal != SIGSTOP && is_looked_after())
        stop_by(signal);
    else
        scp_call(SYS_tgkill, scp_own_pid, scp_checkpoint_tid(), SIGSTOP);
}
