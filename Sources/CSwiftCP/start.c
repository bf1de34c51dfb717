#include "swiftcp_start.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

int scp_has_capabilities(const char *path) {
    return getxattr(path, "security.capability", NULL, 0) > 0;
}

int scp_execute(const char *path, const char *const *arguments, const char *const *environment) {
    execve(path, (char *const *)arguments, (char *const *)environment);
    return -errno;
}

const char *const *scp_environment(void) {
    return (const char *const *)environ;
}

// The kernel's sigset_t has 64 bits; libc's functions hide two of them.
static int set_mask(int how, const uint64_t *set, uint64_t *old) {
    return syscall(SYS_rt_sigprocmask, how, set, old, sizeof(uint64_t)) < 0 ? -errno : 0;
}

void scp_signal_state(struct scp_signal_state *out) {
    out->mask = out->ignored = 0;
    set_mask(SIG_BLOCK, NULL, &out->mask);
    for (int number = 1; number < SIGRTMIN; number++) {
        struct sigaction action;
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
            out->ignored |= 1ull << (number - 1);
    }
}

int scp_watch_signals(uint64_t signals, uint64_t undo_ignore) {
    sigset_t set;
    sigemptyset(&set);
    for (int number = 1; number < SIGRTMIN; number++) {
        uint64_t bit = 1ull << (number - 1);
        if (signals & bit)
            sigaddset(&set, number);
        if (undo_ignore & bit)
            signal(number, SIG_DFL);
    }
    int error = set_mask(SIG_BLOCK, &signals, NULL);
    if (error)
        return error;
    int descriptor = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return descriptor < 0 ? -errno : descriptor;
}

int scp_take_signal(int descriptor, struct scp_signal *out) {
    struct signalfd_siginfo info;
    out->number = 0;
    ssize_t count;
    do
        count = read(descriptor, &info, sizeof info);
    while (count < 0 && errno == EINTR);
    if (count < 0)
        return errno == EAGAIN ? 0 : -errno;
    if (count != sizeof info)
        return -EIO;
    out->number = (int32_t)info.ssi_signo;
    out->from_kernel = info.ssi_code == SI_KERNEL;
    out->pid = out->from_kernel ? 0 : (int32_t)info.ssi_pid;
    return 0;
}

static void put_signals_back(const struct scp_signal_state *signals) {
    uint64_t mask = signals ? signals->mask : 0;
    for (int number = 1; number < SIGRTMIN; number++) {
        int ignored = signals && (signals->ignored >> (number - 1) & 1);
        if (number != SIGKILL && number != SIGSTOP)
            signal(number, ignored ? SIG_IGN : SIG_DFL);
    }
    set_mask(SIG_SETMASK, &mask, NULL);
}

static void detach(int input, int messages) {
    setsid();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int streams[3] = {input >= 0 ? input : null, null, messages >= 0 ? messages : null};
    for (int number = 2; number >= 0; number--)
        if (streams[number] >= 0)
            dup2(streams[number], number);
    // What this process inherited is not the daemon's: a lock file's descriptor would keep the lock.
    if (syscall(SYS_close_range, 3u, ~0u, 0u) == 0)
        return;
    long most = sysconf(_SC_OPEN_MAX);
    for (long number = 3; number < (most > 65536 ? 65536 : most); number++)
        close((int)number);
}

// Only async-signal-safe calls from here to exec.
static void child(const struct scp_start *start) {
    if (start->gate >= 0) {
        char byte;
        ssize_t count;
        close(start->opener); // or the end of the parent would never be seen
        do
            count = read(start->gate, &byte, 1);
        while (count < 0 && errno == EINTR);
        if (count != 1)
            _exit(127);
    }
    put_signals_back(start->signals);
    if (start->detached)
        detach(start->input, start->messages);
    int32_t error = -scp_execute(start->path, start->arguments, start->environment);
    if (start->report >= 0 && write(start->report, &error, sizeof error) < 0)
        _exit(126);
    _exit(127);
}

int scp_start(const struct scp_start *start) {
    pid_t pid = fork();
    if (pid == 0)
        child(start);
    return pid < 0 ? -errno : pid;
}

int scp_child_state(int pid, struct scp_child *out) {
    int status;
    pid_t result;
    do
        result = waitpid(pid, &status, WNOHANG | WUNTRACED | WCONTINUED);
    while (result < 0 && errno == EINTR);
    *out = (struct scp_child){SCP_CHILD_NONE, 0};
    if (result < 0)
        return -errno;
    if (result == 0)
        return 0;
    if (WIFEXITED(status))
        *out = (struct scp_child){SCP_CHILD_EXITED, WEXITSTATUS(status)};
    else if (WIFSIGNALED(status))
        *out = (struct scp_child){SCP_CHILD_SIGNALED, WTERMSIG(status)};
    else if (WIFSTOPPED(status))
        *out = (struct scp_child){SCP_CHILD_STOPPED, WSTOPSIG(status)};
    else
        *out = (struct scp_child){SCP_CHILD_CONTINUED, 0};
    return 0;
}

void scp_child_await_end(int pid, int limit_ms) {
    int ended = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd set = {.fd = ended, .events = POLLIN};
    if (ended >= 0) {
        poll(&set, 1, limit_ms);
        close(ended);
    } else
        poll(NULL, 0, limit_ms < 1 ? limit_ms : 1);
}

int scp_wait_any(const int descriptors[4], int limit_ms) {
    struct pollfd set[4];
    for (int i = 0; i < 4; i++)
        set[i] = (struct pollfd){.fd = descriptors[i], .events = POLLIN};
    int count = poll(set, 4, limit_ms);
    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    int ready = 0;
    for (int i = 0; i < 4; i++)
        if (set[i].fd >= 0 && set[i].revents)
            ready |= 1 << i;
    return ready;
}

int scp_remove_at(int folder, const char *name, int directory) {
    return unlinkat(folder, name, directory ? AT_REMOVEDIR : 0) < 0 ? -errno : 0;
}
