// Starting a program and watching over it: what swiftcp_launch needs beyond swiftcp_sys.h.
// All return what the system call returns, or -errno on failure; none prints, allocates or locks.
#ifndef SWIFTCP_START_H
#define SWIFTCP_START_H

#include <stddef.h>
#include <stdint.h>

// 1 when the file carries capabilities (security.capability), 0 when not.
int scp_has_capabilities(const char *path);
// execve(2); returns only on failure, -errno.
int scp_execute(const char *path, const char *const *arguments, const char *const *environment);

// environ(7) of this process.
const char *const *scp_environment(void);

// A process's signal state as it inherited it: a bit n-1 for signal n.
struct scp_signal_state {
    uint64_t mask; // blocked
    uint64_t ignored; // SIG_IGN
};
void scp_signal_state(struct scp_signal_state *out);

// Blocks the signals (bit n-1 = n), gives those that are ignored their default action if `undo_ignore` has them, and
// returns a non-blocking signalfd for the blocked ones.
int scp_watch_signals(uint64_t signals, uint64_t undo_ignore);
struct scp_signal {
    int32_t number; // 0 = none is pending
    int32_t from_kernel; // 1: a terminal or the kernel sent it, so the whole foreground group has it
    int32_t pid; // who sent it, 0 = the kernel
};
int scp_take_signal(int descriptor, struct scp_signal *out);

// How to start a child. Descriptors of -1 mean "none".
struct scp_start {
    const char *path;
    const char *const *arguments;
    const char *const *environment;
    const struct scp_signal_state *signals; // put back before exec; NULL: nothing blocked, nothing ignored
    int gate; // read end of a pipe: the child execs after one byte, and exits when the pipe is closed instead
    int opener; // its write end, which the child closes
    int report; // write end, CLOEXEC: the child writes the errno (int32_t) of a failed exec
    int detached; // 1: a session of its own, `input` on 0, /dev/null on 1, `messages` on 2, every other descriptor closed
    int input, messages; // above 2; -1 = /dev/null
};
// fork(2) and exec of a process with one thread. Returns the pid; the child exits with 127 when exec fails.
int scp_start(const struct scp_start *start);

// What waitpid(2) told of a child.
enum scp_child_event {
    SCP_CHILD_NONE = 0,
    SCP_CHILD_EXITED = 1,
    SCP_CHILD_SIGNALED = 2,
    SCP_CHILD_STOPPED = 3,
    SCP_CHILD_CONTINUED = 4
};
struct scp_child {
    int32_t event; // enum scp_child_event
    int32_t value; // exit status or signal number
};
// waitpid(WNOHANG | WUNTRACED | WCONTINUED).
int scp_child_state(int pid, struct scp_child *out);
// Returns when the child has ended, without waiting for it, or after so long at the latest; earlier where the kernel has no
// pidfd_open(2): callers ask scp_child_state in a loop.
void scp_child_await_end(int pid, int limit_ms);
// poll(2) for input on up to 4 descriptors (-1 = none): a bit per descriptor that has something, 0 = time is up.
int scp_wait_any(const int descriptors[4], int limit_ms);
// unlinkat(2) of `name` in the folder; directory = 1: AT_REMOVEDIR.
int scp_remove_at(int folder, const char *name, int directory);

#endif
