// crestart_tree_build: the caller's side. One step after the other is posted; the caller carries out its own.
#include "tree_internal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_MS 250 // how long an answer may take before it is looked whether the skeleton lives

static int failed(struct crestart_message *message, int error, const char *what) {
    snprintf(message->text, sizeof message->text, "cannot make the set's processes: %s: %s", what, strerror(-error));
    return error;
}

// ---- set-up ----------------------------------------------------------------------------------------------------------

static int open_births(struct tree *tree) {
    int ends[2], on = 1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    tree->births = ends[0];
    tree->birth = ends[1];
    return setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0 ? -errno : 0;
}

static int set_up(struct tree *tree) {
    uint32_t count = tree->context->slot_count;
    tree->shared_length = sizeof(struct tree_shared) + count * sizeof(struct tree_slot);
    tree->pids = calloc(count, sizeof *tree->pids);
    tree->own = calloc(count, 1);
    if (!tree->pids || !tree->own)
        return -ENOMEM;
    void *shared = mmap(NULL, tree->shared_length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return -errno;
    tree->shared = shared;
    return open_births(tree);
}

static void release(struct tree *tree) {
    if (tree->shared)
        munmap(tree->shared, tree->shared_length);
    if (tree->births >= 0)
        close(tree->births);
    if (tree->birth >= 0)
        close(tree->birth);
    free(tree->pids);
    free(tree->own);
}

// ---- births ----------------------------------------------------------------------------------------------------------

// A skeleton has said which it is; the kernel says its pid, as it is in this process's pid namespace. 0 or -errno.
static int take_birth(struct tree *tree, int limit_ms, uint32_t *slot) {
    struct pollfd entry = {.fd = tree->births, .events = POLLIN};
    int ready = poll(&entry, 1, limit_ms);
    if (ready <= 0)
        return ready == 0 ? -ETIMEDOUT : -errno;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct iovec part = {slot, sizeof *slot};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    if (recvmsg(tree->births, &message, 0) != sizeof *slot || *slot >= tree->context->slot_count)
        return -EPROTO;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_type != SCM_CREDENTIALS)
        return -EPROTO;
    struct ucred sender;
    memcpy(&sender, CMSG_DATA(header), sizeof sender);
    tree->pids[*slot] = sender.pid;
    return 0;
}

static int await_birth(struct tree *tree, uint32_t wanted) {
    uint32_t slot;
    int result = take_birth(tree, tree->context->limit_ms, &slot);
    return result < 0 ? result : slot == wanted ? 0 : -EPROTO;
}

// ---- steps -----------------------------------------------------------------------------------------------------------

static int has_ended(int32_t pid) {
    int file = (int)syscall(SYS_pidfd_open, pid, 0);
    if (file < 0)
        return errno == ESRCH;
    struct pollfd entry = {.fd = file, .events = POLLIN};
    int ready = poll(&entry, 1, 0);
    close(file);
    return ready > 0;
}

static void post(struct tree *tree, uint32_t number, const struct crestart_tree_step *step) {
    struct tree_slot *slot = &tree->shared->slots[number];
    slot->step = *step;
    __atomic_add_fetch(&tree->shared->beat, 1, __ATOMIC_RELEASE);
    __atomic_add_fetch(&slot->posted, 1, __ATOMIC_RELEASE);
    tree_wake(&slot->posted);
}

// The answer to what has been posted last. A skeleton that waits itself (REAP) may take its own limit first.
static int answer(struct tree *tree, uint32_t number) {
    struct tree_slot *slot = &tree->shared->slots[number];
    for (int waited = 0; waited <= 2 * tree->context->limit_ms; waited += LOOK_MS) {
        if (tree_wait(&slot->done, slot->posted - 1, LOOK_MS) == 0)
            return slot->result;
        // It may have answered after the limit, before its end.
        if (has_ended(tree->pids[number]) && tree_wait(&slot->done, slot->posted - 1, 0) < 0)
            return -ECHILD;
    }
    return -ETIMEDOUT;
}

static int do_own(struct tree *tree, const struct crestart_tree_step *step) {
    int32_t pid;
    int result;
    switch (step->kind) {
    case CRESTART_TREE_FORK:
        result = tree_fork(tree, step, &pid);
        if (result == 0) {
            tree->own[step->subject] = 1;
            tree->pids[step->subject] = pid;
        }
        return result;
    case CRESTART_TREE_REAP:
    case CRESTART_TREE_AWAIT:
        return tree_await(tree->pids[step->subject], step->kind == CRESTART_TREE_AWAIT, tree->context->limit_ms);
    default:
        return -EINVAL;
    }
}

static int do_step(struct tree *tree, const struct crestart_tree_step *step) {
    uint32_t count = tree->context->slot_count;
    int is_own = step->actor == CRESTART_TREE_CALLER, result = 0;
    if (step->subject >= count || (!is_own && (step->actor >= count || !tree->pids[step->actor])))
        return -EINVAL;
    if (is_own) {
        result = do_own(tree, step);
    } else {
        post(tree, step->actor, step);
        if (step->kind != CRESTART_TREE_EXIT)
            result = answer(tree, step->actor);
    }
    if (result == 0 && step->kind == CRESTART_TREE_FORK)
        result = await_birth(tree, step->subject);
    if (result == 0 && step->kind == CRESTART_TREE_REAP)
        tree->pids[step->subject] = 0;
    return result;
}

static int finish(struct tree *tree, int32_t *pids) {
    static const struct crestart_tree_step last = {.kind = CRESTART_TREE_FINISH};
    uint32_t count = tree->context->process_count;
    for (uint32_t i = 0; i < count; i++) {
        if (!tree->pids[i])
            return -EINVAL;
        post(tree, i, &last);
    }
    for (uint32_t i = 0; i < count; i++) {
        int result = answer(tree, i);
        if (result < 0)
            return result;
        pids[i] = tree->pids[i];
    }
    return 0;
}

// ---- errors ----------------------------------------------------------------------------------------------------------

static const char *hint(int kind, int error) {
    if (error == -ECHILD)
        return " (it was killed?)";
    if (kind == CRESTART_TREE_FORK && error == -EAGAIN)
        return "; the limit of processes (ulimit -u, or the container's) may be reached";
    return "";
}

static void explain(struct crestart_message *message, const struct crestart_tree_step *step, int error) {
    static const char *const words[] = {
        [CRESTART_TREE_FORK] = "make process %u",
        [CRESTART_TREE_SET_SESSION] = "make a session",
        [CRESTART_TREE_SET_GROUP] = "put a process into process group %u",
        [CRESTART_TREE_SUBREAPER] = "make a process a subreaper",
        [CRESTART_TREE_EXIT] = "end process %u",
        [CRESTART_TREE_REAP] = "wait for helper process %u",
        [CRESTART_TREE_AWAIT] = "let process %u end",
        [CRESTART_TREE_TERMINAL] = "give a session its terminal",
        [CRESTART_TREE_NO_TERMINAL] = "take the terminal from a process",
        [CRESTART_TREE_FOREGROUND] = "make process group %u its terminal's foreground group",
    };
    char what[80] = "carry out an unknown step";
    if (step->kind < sizeof words / sizeof *words && words[step->kind]) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(what, sizeof what, words[step->kind], step->number);
#pragma GCC diagnostic pop
    }
    snprintf(message->text, sizeof message->text, "cannot %s: %s%s", what, strerror(-error),
             hint((int)step->kind, error));
}

static void kill_all(struct tree *tree) {
    uint32_t count = tree->context->slot_count, late;
    for (uint32_t i = 0; i < count; i++)
        if (tree->pids[i] > 0)
            kill(tree->pids[i], SIGKILL);
    // Born after the limit: its parent is dead by now or soon, nobody is born later.
    while (take_birth(tree, 0, &late) == 0)
        kill(tree->pids[late], SIGKILL);
    for (uint32_t i = 0; i < count; i++)
        if (tree->own[i] && tree->pids[i] > 0)
            tree_await(tree->pids[i], 0, tree->context->limit_ms);
}

// ----------------------------------------------------------------------------------------------------------------------

static int build(struct tree *tree, const struct crestart_tree_step *steps, size_t count, int32_t *pids,
                 struct crestart_message *message) {
    int result = set_up(tree);
    if (result < 0)
        return failed(message, result, "no memory or socket");
    for (size_t i = 0; i < count && result == 0; i++) {
        result = do_step(tree, &steps[i]);
        if (result < 0)
            explain(message, &steps[i], result);
    }
    if (result == 0) {
        result = finish(tree, pids);
        if (result < 0)
            failed(message, result, "one of them does not answer");
    }
    if (result < 0)
        kill_all(tree);
    return result;
}

int crestart_tree_build(const struct crestart_tree_step *steps, size_t count,
                        const struct crestart_tree_context *context, int32_t *pids, struct crestart_message *message) {
    struct tree tree = {.context = context, .births = -1, .birth = -1};
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    signal(SIGCHLD, SIG_DFL); // a shell may have left it ignored: no child could be waited for
    int result = build(&tree, steps, count, pids, message);
    release(&tree);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return result;
}
