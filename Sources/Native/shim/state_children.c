// The children of the process: which there are, for the coordinator, which waits for them; those that have ended and wait to be
// waited for; and what of parents and children cannot be saved, refused by name.
//
// /proc/self/task/TID/children tells them for each thread (CONFIG_PROC_CHILDREN). None can be added while all threads are
// parked, but by adoption; they can end meanwhile.
#define _GNU_SOURCE
#include "state.h"
#include "memory.h"
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define END_LIMIT_S 2
#define READINGS 5 // of a list that may change: who ends and is not waited for leaves it

SCP_FORK_DATA static int64_t used_before; // page faults of children before the program began
SCP_FORK_DATA static _Atomic bool forked; // this process, or the one it is a fork of, has called fork

SCP_FORK_CODE void scp_children_note_fork(void) {
    if (!atomic_load(&forked)) // a page written after a fork is a page copied
        atomic_store(&forked, true);
}

// ---- the list -------------------------------------------------------------------------------------------------------

// Texts of the lists; ALL is kept from thread to thread.
enum { ALL, ONCE, AGAIN, LISTS };

// Appends the text of one thread's list to ALL, as it stands when two readings agree. Our own thread has inherited some,
// perhaps.
static int read_list(void *argument, uint32_t tid) {
    struct scp_vector *lists = argument, *once = &lists[ONCE], *again = &lists[AGAIN];
    char path[64];
    scp_concat(path, sizeof path, "/proc/self/task/", scp_number(tid).text, "/children", (char *)NULL);
    int result = scp_read_file(path, once);
    for (int i = 0; result >= 0 && i < READINGS; i++) {
        result = scp_read_file(path, again);
        if (result < 0 || (once->count == again->count && memcmp(once->base, again->base, once->count) == 0))
            break;
        struct scp_vector held = *once;
        *once = *again;
        *again = held;
    }
    if (result == -ESRCH)
        return 0; // the thread has ended, and another one has its children
    return result < 0 ? result : scp_vector_append(&lists[ALL], once->base, once->count);
}

// The lists of all threads, one after the other: "12 13 " and so on.
static int read_lists(struct scp_vector lists[LISTS]) {
    int result = scp_visit_threads(read_list, lists);
    return result < 0 ? result : scp_vector_append(&lists[ALL], "", 1);
}

// Is there anybody to wait for, a child of any kind or one that is traced? Nothing is consumed.
static bool waits_for_somebody(void) {
    siginfo_t info;
    return scp_call(SYS_waitid, P_ALL, 0, &info, WEXITED | WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT | __WALL, NULL) !=
           -ECHILD;
}

int scp_children_visit(struct scp_checkpoint *checkpoint, uint32_t *count,
                       int (*visit)(struct scp_checkpoint *, uint32_t pid)) {
    struct scp_vector lists[LISTS] = {{.base = NULL}, {.base = NULL}, {.base = NULL}};
    int result = 0;
    *count = 0;
    if (!waits_for_somebody())
        return 0; // a look at every thread's list, spared
    for (int i = 0; result == 0 && i < LISTS; i++)
        result = scp_vector_open(&lists[i], 1, SCP_PAGE);
    if (result == 0)
        result = read_lists(lists);
    if (result < 0)
        result = scp_fail(checkpoint, -result,
                          "the children of the process cannot be listed (/proc/self/task/TID/children)", (char *)NULL);
    const char *cursor = lists[ALL].base;
    while (result == 0 && cursor && *cursor) {
        uint32_t pid = (uint32_t)scp_parse_decimal(&cursor);
        while (*cursor == ' ')
            cursor++;
        if (pid == 0)
            break;
        ++*count;
        result = visit(checkpoint, pid);
    }
    for (int i = 0; i < LISTS; i++)
        if (lists[i].base)
            scp_vector_close(&lists[i]);
    return result;
}

// ---- one child ------------------------------------------------------------------------------------------------------

struct child {
    uint32_t pid, pgid, sid, exit_signal;
    bool ending; // its main thread has ended
    bool ended; // waits to be waited for
    int status; // then: as wait(2) will give it
    char name[16];
};

static int status_of(const siginfo_t *info) {
    int code = info->si_status;
    return info->si_code == CLD_EXITED ? (code & 0xff) << 8 : (code & 0x7f) | (info->si_code == CLD_DUMPED ? 0x80 : 0);
}

// False: it is gone. A main thread that has ended before others shows Z too, and cannot be waited for yet.
static bool look_at(uint32_t pid, struct child *out) {
    char path[64], text[1024];
    scp_concat(path, sizeof path, "/proc/", scp_number(pid).text, "/stat", (char *)NULL);
    memset(out, 0, sizeof *out);
    out->pid = pid;
    if (scp_read_small(path, text, sizeof text) <= 0)
        return false;
    const char *name = strchr(text, '('), *end = strrchr(text, ')');
    if (!name || !end || end[1] != ' ')
        return false;
    size_t length = (size_t)(end - name - 1);
    memcpy(out->name, name + 1, length < sizeof out->name - 1 ? length : sizeof out->name - 1);
    out->pgid = (uint32_t)scp_stat_field(text, 5);
    out->sid = (uint32_t)scp_stat_field(text, 6);
    out->exit_signal = (uint32_t)scp_stat_field(text, 38);
    if (end[2] != 'Z')
        return true;
    out->ending = true;
    siginfo_t info;
    memset(&info, 0, sizeof info);
    long result = scp_call(SYS_waitid, P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL, NULL);
    out->ended = result == 0 && (uint32_t)info.si_pid == pid;
    out->status = out->ended ? status_of(&info) : 0;
    return true;
}

static int refuse(struct scp_checkpoint *checkpoint, const struct child *child, const char *why) {
    return scp_fail(checkpoint, ENOTSUP, "process ", scp_number(child->pid).text, " (", child->name, ") ", why,
                    scp_number(scp_own_pid).text, ": such processes cannot be saved", (char *)NULL);
}

// All threads are parked, so none of them waits for a child of vfork: memory in common is so on purpose.
static int check_sharing(struct scp_checkpoint *checkpoint, const struct child *child) {
    if (scp_call(SYS_kcmp, scp_own_pid, child->pid, KCMP_VM, 0, 0) == 0)
        return refuse(checkpoint, child, "shares its memory (CLONE_VM) with process ");
    if (scp_call(SYS_kcmp, scp_own_pid, child->pid, KCMP_FILES, 0, 0) == 0)
        return refuse(checkpoint, child, "shares its table of descriptors (CLONE_FILES) with process ");
    return 0;
}

// ---- what the coordinator is told -----------------------------------------------------------------------------------

static struct scp_vector message; // bytes: scp_children and the records

// A writer of an image (snapshot_child.c) that lost its program by an exec: nobody else would ever wait for it.
static bool is_writers_rest(const struct child *child) {
    if (child->exit_signal != 0 || strcmp(child->name, SCP_CHILD_NAME) != 0)
        return false;
    scp_call(SYS_wait4, child->pid, NULL, __WALL | WNOHANG, NULL);
    return true;
}

static int tell_child(struct scp_checkpoint *checkpoint, uint32_t pid) {
    struct child child;
    if (!look_at(pid, &child) || is_writers_rest(&child))
        return 0;
    int result = child.ended ? 0 : check_sharing(checkpoint, &child);
    if (result < 0)
        return result;
    struct scp_child_process record = {pid, child.ended ? SCP_CHILD_ZOMBIE : 0};
    return scp_vector_append(&message, &record, sizeof record);
}

// Children that have been waited for show in what they have used: also those of vfork, which no handler sees. (Those of
// the program before an exec, swiftcp_launch perhaps, count as well: what it had used by the constructor is known.)
SCP_FORK_CODE static int64_t used_by_children(void) {
    struct rusage used;
    memset(&used, 0, sizeof used);
    scp_call(SYS_getrusage, RUSAGE_CHILDREN, &used);
    return used.ru_minflt;
}

void scp_children_discount(int64_t faults) {
    used_before += faults;
}

SCP_FORK_CODE void scp_children_setup(void) {
    used_before = used_by_children();
}

int scp_children_report(struct scp_checkpoint *checkpoint) {
    struct scp_children head = {.generation = checkpoint->order->generation};
    uint32_t count = 0;
    int result = scp_vector_open(&message, 1, SCP_PAGE);
    if (result == 0)
        result = scp_vector_append(&message, &head, sizeof head);
    if (result == 0)
        result = scp_children_visit(checkpoint, &count, tell_child);
    if (result == 0 && count == 0 && waits_for_somebody())
        result = scp_fail(checkpoint, ENOTSUP, "process ", scp_number(scp_own_pid).text,
                          " traces another process (it is a debugger): such programs cannot be saved", (char *)NULL);
    if (result == 0) {
        head.count = (uint32_t)((message.count - sizeof head) / sizeof(struct scp_child_process));
        head.flags =
            atomic_load(&forked) || count > 0 || used_by_children() != used_before ? SCP_CHILDREN_HAS_FORKED : 0;
        memcpy(message.base, &head, sizeof head);
        checkpoint->childless = head.flags == 0;
        if (head.flags) // who has never had a child has nothing to tell
            result = scp_link_send(SCP_MESSAGE_CHILDREN, message.base, message.count);
        if (result < 0)
            result = scp_fail(checkpoint, -result, "the connection to the coordinator was lost", (char *)NULL);
    }
    scp_vector_close(&message);
    return result;
}

// ---- those that have ended ------------------------------------------------------------------------------------------

// The main thread of a process that ends is a zombie a moment before the last thread is, ours perhaps.
static bool await_end(uint32_t pid) {
    long process = scp_call(SYS_pidfd_open, pid, 0);
    if (process < 0)
        return false;
    struct pollfd end = {(int)process, POLLIN, 0};
    struct timespec limit = {END_LIMIT_S, 0}; // the kernel writes back what is left of it
    long ready;
    do
        ready = scp_call(SYS_ppoll, &end, 1, &limit, NULL, 8);
    while (ready == -EINTR);
    scp_call(SYS_close, process);
    return ready > 0;
}

static int record_zombie(struct scp_checkpoint *checkpoint, uint32_t pid) {
    struct child child;
    if (!look_at(pid, &child) || !child.ending || is_writers_rest(&child))
        return 0;
    if (!child.ended && (!await_end(pid) || !look_at(pid, &child) || !child.ended))
        return refuse(checkpoint, &child, "has ended its main thread and runs on as a child of process ");
    struct scp_zombie *zombie = scp_vector_add(&checkpoint->zombies);
    if (!zombie)
        return scp_fail(checkpoint, ENOMEM, "no memory for the table of ended children", (char *)NULL);
    *zombie = (struct scp_zombie){
        .pid = pid, .pgid = child.pgid, .sid = child.sid, .exit_signal = child.exit_signal, .status = child.status};
    memcpy(zombie->name, child.name, sizeof zombie->name);
    return 0;
}

int scp_children_examine(const struct scp_examination *examination) {
    uint32_t count;
    return scp_children_visit(examination->checkpoint, &count, record_zombie);
}
