// A skeleton: waits for steps, carries them out, and at the end becomes what it was made for.
//
// It makes system calls alone, but for what finish does: no lock, no heap.
#include "tree_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int tree_wait(uint32_t *word, uint32_t seen, int limit_ms) {
    struct timespec limit = {limit_ms / 1000, limit_ms % 1000 * 1000000L};
    for (;;) {
        if (__atomic_load_n(word, __ATOMIC_ACQUIRE) != seen)
            return 0;
        if (syscall(SYS_futex, word, FUTEX_WAIT, seen, &limit, NULL, 0) < 0 && errno == ETIMEDOUT)
            return __atomic_load_n(word, __ATOMIC_ACQUIRE) != seen ? 0 : -ETIMEDOUT;
    }
}

void tree_wake(uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

int tree_await(int32_t pid, int keep, int limit_ms) {
    int file = (int)syscall(SYS_pidfd_open, pid, 0);
    if (file < 0)
        return -errno;
    struct pollfd entry = {.fd = file, .events = POLLIN};
    int ready = poll(&entry, 1, limit_ms), error = errno;
    close(file);
    if (ready <= 0)
        return ready == 0 ? -ETIMEDOUT : -error;
    siginfo_t information;
    return waitid(P_PID, (id_t)pid, &information, WEXITED | __WALL | (keep ? WNOWAIT : 0)) < 0 ? -errno : 0;
}

// As wait(2) is to have it. A core file would say nothing, so none is written.
static void end(int status) {
    int number = status & 0x7f;
    if (number) {
        struct rlimit none = {0, 0};
        struct sigaction action = {.sa_handler = SIG_DFL};
        sigset_t set;
        setrlimit(RLIMIT_CORE, &none);
        sigaction(number, &action, NULL);
        syscall(SYS_kill, syscall(SYS_getpid), number);
        sigemptyset(&set);
        sigaddset(&set, number);
        sigprocmask(SIG_UNBLOCK, &set, NULL);
    }
    _exit(number ? CRESTART_TREE_GIVEN_UP : status >> 8 & 0xff);
}

static int give_up_terminal(void) {
    int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (terminal < 0)
        return errno == ENXIO ? 0 : -errno;
    int result = ioctl(terminal, TIOCNOTTY) < 0 ? -errno : 0;
    close(terminal);
    return result;
}

static int carry_out(struct tree *tree, uint32_t slot, const struct crestart_tree_step *step) {
    const struct crestart_tree_context *context = tree->context;
    switch (step->kind) {
    case CRESTART_TREE_FORK:
        return tree_fork(tree, step, NULL);
    case CRESTART_TREE_SET_SESSION:
        return setsid() < 0 ? -errno : 0;
    case CRESTART_TREE_SET_GROUP:
        return setpgid(0, (pid_t)step->number) < 0 ? -errno : 0;
    case CRESTART_TREE_SUBREAPER:
        return prctl(PR_SET_CHILD_SUBREAPER, (unsigned long)step->value, 0, 0, 0) < 0 ? -errno : 0;
    case CRESTART_TREE_EXIT:
        end((int)step->value);
        return 0;
    case CRESTART_TREE_REAP:
    case CRESTART_TREE_AWAIT:
        return tree_await((int32_t)step->number, step->kind == CRESTART_TREE_AWAIT, context->limit_ms);
    case CRESTART_TREE_TERMINAL:
        return context->terminal ? context->terminal(context->argument, slot) : -ENOTSUP;
    case CRESTART_TREE_NO_TERMINAL:
        return give_up_terminal();
    case CRESTART_TREE_FOREGROUND:
        return context->foreground ? context->foreground(context->argument, slot, step->number) : -ENOTSUP;
    default:
        return -EINVAL;
    }
}

// The ends of zombies and helpers have left signals: the program gets those of its image alone.
static void drop_signals(void) {
    struct timespec now = {0, 0};
    uint64_t all = ~0ull;
    while (syscall(SYS_rt_sigtimedwait, &all, NULL, &now, 8) > 0 || errno == EINTR)
        continue;
}

static void serve(struct tree *tree, uint32_t number) {
    struct tree_slot *slot = &tree->shared->slots[number];
    uint32_t seen = 0, beat = 0;
    for (;;) {
        while (tree_wait(&slot->posted, seen, tree->context->limit_ms) < 0) {
            uint32_t now = __atomic_load_n(&tree->shared->beat, __ATOMIC_ACQUIRE);
            if (now == beat)
                _exit(CRESTART_TREE_GIVEN_UP);
            beat = now;
        }
        seen++;
        int is_last = slot->step.kind == CRESTART_TREE_FINISH;
        if (is_last)
            drop_signals();
        slot->result = is_last ? 0 : carry_out(tree, number, &slot->step);
        __atomic_store_n(&slot->done, seen, __ATOMIC_RELEASE);
        tree_wake(&slot->done);
        if (is_last)
            return;
    }
}

static void skeleton_main(struct tree *tree, uint32_t slot) {
    uint64_t all = ~0ull;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
    if (write(tree->birth, &slot, sizeof slot) != sizeof slot)
        _exit(CRESTART_TREE_GIVEN_UP);
    serve(tree, slot);
    close(tree->birth);
    tree->context->finish(tree->context->argument, slot);
    _exit(CRESTART_TREE_GIVEN_UP);
}

int tree_fork(struct tree *tree, const struct crestart_tree_step *step, int32_t *pid) {
    pid_t wanted = (pid_t)step->number;
    uint32_t subject = step->subject; // the step's memory is used again
    struct clone_args arguments = {.exit_signal = step->value};
    if (wanted) {
        arguments.set_tid = (uintptr_t)&wanted;
        arguments.set_tid_size = 1;
    }
    long result = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (result == 0)
        skeleton_main(tree, subject);
    if (result > 0 && pid)
        *pid = (int32_t)result;
    return result < 0 ? -errno : 0;
}
