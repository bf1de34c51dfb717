// Dispositions and pending signals.
//
// The kernel shows which signals are pending (SigPnd, ShdPnd) but not what came with them, nor how many of a kind. So
// they are taken out (rt_sigtimedwait) and put back at once, in order, by the thread they belong to: only a thread
// itself may queue what the kernel or kill() had sent it (si_code >= 0 or SI_TKILL), and only the leader what was sent
// to the process. Source: Linux kernel/signal.c, do_rt_sigqueueinfo, do_rt_tgsigqueueinfo.
//
// All threads block everything meanwhile. A signal that comes in between is not lost; it may come to stand before
// earlier ones of its number, and be taken for the thread's own. Nothing is done where nothing is pending, the rule.
//
// What would end or stop the program at its next step (default action, not blocked) goes back to the program that runs
// on, but not into the image: an image that dies when it is restarted is of no use to anybody. Unless it comes from within:
// who has sent it, or the terminal it comes from, is restarted as well, and waits for what it does.
#define _GNU_SOURCE
#include "state.h"
#include "worker.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#define PENDING_LIMIT 65536u
#define REQUEST_MAGIC 0x53435031 // si_errno of quiesce.c's requests
#define LIBC_SIGNAL 33

static struct scp_action actions[64]; // of the program; for the restart
static struct scp_pending *carried; // likewise, in the carry area
static size_t carried_count;
static bool among_others; // the checkpoint is of several processes

// ---- dispositions ---------------------------------------------------------------------------------------------------

int scp_actions_examine(const struct scp_examination *examination) {
    memset(actions, 0, sizeof actions);
    for (int signal = 1; signal <= 64; signal++)
        if (!scp_quiesce_program_action(signal, &actions[signal - 1]))
            scp_call(SYS_rt_sigaction, signal, NULL, &actions[signal - 1], 8);
    memcpy(examination->checkpoint->actions, actions, sizeof actions);
    return 0;
}

int scp_actions_restore(void) {
    for (int signal = 1; signal <= 64; signal++) {
        if (signal == SIGKILL || signal == SIGSTOP)
            continue;
        long result = scp_call(SYS_rt_sigaction, signal, &actions[signal - 1], NULL, 8);
        if (result < 0) {
            scp_arrival_warn((int)-result, "could not restore the handler of signal ",
                             scp_number((uint64_t)signal).text);
            return (int)result;
        }
    }
    return 0;
}

// ---- taking out and putting back ------------------------------------------------------------------------------------

struct transfer {
    struct scp_vector *list; // struct scp_pending
    size_t from, to; // which of them, when putting back
    uint64_t set; // which signals, when taking out
    uint32_t tid; // 0 = of the process
    int error;
};

// Room is made before a signal is taken: none is ever held that has no place.
static int64_t take_out(void *argument) {
    struct transfer *transfer = argument;
    struct timespec at_once = {0, 0};
    for (;;) {
        if (scp_vector_reserve(transfer->list, 1) < 0)
            return transfer->error = -ENOMEM;
        struct scp_pending pending = {.tid = transfer->tid};
        long signal = scp_call(SYS_rt_sigtimedwait, &transfer->set, pending.info, &at_once, 8);
        if (signal == -EINTR)
            continue;
        if (signal <= 0)
            return 0;
        scp_vector_append(transfer->list, &pending, 1);
    }
}

static long put_back_one(struct scp_pending *pending, uint32_t tid) {
    int signal;
    memcpy(&signal, pending->info, sizeof signal); // si_signo
    if (pending->tid)
        return scp_call(SYS_rt_tgsigqueueinfo, scp_own_pid, tid, signal, pending->info);
    return scp_call(SYS_rt_sigqueueinfo, scp_own_pid, signal, pending->info);
}

// On the thread whose signals these are (of the process: on the leader).
static int64_t put_back(void *argument) {
    struct transfer *transfer = argument;
    for (size_t i = transfer->from; i < transfer->to; i++) {
        struct scp_pending *pending = scp_vector_at(transfer->list, i);
        long result = put_back_one(pending, transfer->tid);
        if (result == 0)
            continue;
        transfer->error = (int)result;
        int signal;
        memcpy(&signal, pending->info, sizeof signal);
        // No room for what came with it: the signal itself at least.
        if (pending->tid)
            scp_call(SYS_tgkill, scp_own_pid, transfer->tid, signal);
        else
            scp_call(SYS_kill, scp_own_pid, signal);
    }
    return 0;
}

// ---- examine --------------------------------------------------------------------------------------------------------

size_t scp_signals_prepare(const char *status) {
    const char *cursor = scp_status_field(status, "SigQ");
    uint64_t queued = scp_parse_decimal(&cursor), limit = PENDING_LIMIT;
    if (*cursor == '/') {
        cursor++;
        limit = scp_parse_decimal(&cursor);
    }
    limit = limit > PENDING_LIMIT ? PENDING_LIMIT : limit;
    return (limit + queued + 256) * sizeof(struct scp_pending);
}

// The kernel counts the queued signals of all the user's processes ("SigQ: n/limit"), and a place for each POSIX timer.
// Where that is nothing, no thread can have a signal of its own. (Without a limit's worth of room signals are not
// counted.)
static bool nothing_queued(const char *status) {
    const char *cursor = scp_status_field(status, "SigQ");
    return cursor[0] == '0' && cursor[1] == '/' && cursor[2] != '0';
}

static uint64_t status_set(const char *status, const char *name) {
    const char *cursor = scp_status_field(status, name);
    return scp_parse_hex(&cursor);
}

static uint64_t thread_set(uint32_t tid) {
    char path[64], text[4096];
    scp_concat(path, sizeof path, "/proc/self/task/", scp_number(tid).text, "/status", (char *)NULL);
    return scp_read_small(path, text, sizeof text) < 0 ? 0 : status_set(text, "SigPnd");
}

// What is pending for the thread or the process. Everything is blocked here, so it is complete.
static int64_t note_pending(void *slot) {
    struct scp_thread_private *own = scp_thread_private(slot);
    own->pending = 0;
    return scp_call(SYS_rt_sigpending, &own->pending, 8);
}

static int look_at_thread(struct scp_vector *list, struct scp_slot *slot) {
    struct transfer transfer = {.list = list, .from = list->count, .tid = slot->tid, .set = thread_set(slot->tid)};
    if (transfer.set == 0)
        return 0; // of the process, and just come
    scp_on_thread(slot, take_out, &transfer);
    int error = transfer.error;
    transfer.to = list->count;
    scp_on_thread(slot, put_back, &transfer);
    return error ? error : transfer.error;
}

// With the process's signals taken out for the moment, what a thread sees is its own. All look at once: to read the
// status of each of 2,000 threads would take 20 ms of the pause.
static int look_at_all(struct scp_vector *list, uint64_t shared) {
    struct transfer process = {.list = list, .set = shared, .from = list->count};
    if (shared)
        take_out(&process); // this thread, too, may take what belongs to the process
    int result = process.error;
    process.to = list->count;
    scp_on_every_thread(note_pending);
    for (size_t i = 0; i < scp_slot_count(); i++) {
        struct scp_slot *slot = scp_slot_at(i);
        int error = scp_thread_private(slot)->pending ? look_at_thread(list, slot) : 0;
        result = result ? result : error;
    }
    if (process.to > process.from)
        scp_on_thread(scp_slot_at(0), put_back, &process);
    return result ? result : process.error;
}

static bool ends_or_stops(int signal) {
    return signal != SIGCHLD && signal != SIGCONT && signal != SIGURG && signal != SIGWINCH;
}

static bool deliverable(uint32_t tid, int signal) {
    for (size_t i = 0; i < scp_slot_count(); i++) {
        const struct scp_thread *record = &scp_slot_at(i)->record;
        if ((tid == 0 || tid == record->tid) && !(record->signal_mask >> (signal - 1) & 1))
            return true;
    }
    return false;
}

// Sent by a process, or by the keyboard of a terminal. Whether that is one of the computation shows after the restart.
static bool may_come_from_within(const siginfo_t *info) {
    if (info->si_code == SI_USER || info->si_code == SI_QUEUE || info->si_code == SI_TKILL)
        return info->si_pid > 0;
    return info->si_code == SI_KERNEL && (info->si_signo == SIGINT || info->si_signo == SIGQUIT ||
                                          info->si_signo == SIGTSTP || info->si_signo == SIGHUP);
}

static bool belongs_into_image(const struct scp_pending *pending) {
    siginfo_t info;
    memcpy(&info, pending->info, sizeof info);
    int signal = info.si_signo;
    if (info.si_code == SI_QUEUE && info.si_errno == REQUEST_MAGIC &&
        (signal == scp_settings.quiesce_signal || signal == LIBC_SIGNAL))
        return false;
    // The end that such a signal asks for comes with this image: the restored program must not be ended by it again.
    if (scp_automatic_guards(signal))
        return false;
    return actions[signal - 1].handler != (uint64_t)(uintptr_t)SIG_DFL || !ends_or_stops(signal) ||
           !deliverable(pending->tid, signal) || may_come_from_within(&info);
}

static void keep_for_image(struct scp_vector *list) {
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct scp_pending *pending = scp_vector_at(list, i);
        if (belongs_into_image(pending))
            memmove(scp_vector_at(list, kept++), pending, sizeof *pending);
    }
    list->count = kept;
}

int scp_pending_examine(const struct scp_examination *examination) {
    struct scp_checkpoint *checkpoint = examination->checkpoint;
    struct scp_vector *list = &checkpoint->pending;
    struct rlimit before, wide;
    char status[4096];
    list->count = 0;
    carried_count = 0;
    among_others = checkpoint->processes > 1;
    if (scp_read_small("/proc/self/status", status, sizeof status) < 0)
        return scp_fail(checkpoint, EIO, "cannot read /proc/self/status", (char *)NULL);
    uint64_t shared = status_set(status, "ShdPnd");
    if (shared == 0 && nothing_queued(status))
        return 0;
    // Other processes of the user may take the room that the signals leave for a moment.
    scp_call(SYS_prlimit64, 0, RLIMIT_SIGPENDING, NULL, &before);
    wide = (struct rlimit){before.rlim_max, before.rlim_max};
    scp_call(SYS_prlimit64, 0, RLIMIT_SIGPENDING, &wide, NULL);
    int result = look_at_all(list, shared);
    scp_call(SYS_prlimit64, 0, RLIMIT_SIGPENDING, &before, NULL);
    if (result < 0)
        return scp_fail(checkpoint, -result, "cannot read the pending signals and put them back", (char *)NULL);
    keep_for_image(list);
    return 0;
}

int scp_pending_carry(struct scp_checkpoint *checkpoint) {
    const struct scp_vector *list = &checkpoint->pending;
    carried_count = 0;
    carried = scp_carry(list->count * sizeof *carried);
    if (!carried)
        return scp_fail(checkpoint, ENOBUFS, scp_number(list->count).text,
                        " signals are pending, more than an image takes", (char *)NULL);
    memcpy(carried, list->base, list->count * sizeof *carried);
    carried_count = list->count;
    return 0;
}

// ---- restore --------------------------------------------------------------------------------------------------------

// What the program has sent itself names it as the sender, also when a restart has given it another number.
static void name_sender(struct scp_pending *pending) {
    uint32_t recorded = scp_thread_private(scp_slot_at(0))->tid;
    siginfo_t info;
    memcpy(&info, pending->info, sizeof info);
    bool sent = info.si_code == SI_USER || info.si_code == SI_QUEUE || info.si_code == SI_TKILL;
    if (!sent || (uint32_t)info.si_pid != recorded)
        return;
    info.si_pid = (pid_t)scp_own_pid;
    memcpy(pending->info, &info, sizeof info);
}

// The session of an inner terminal is led by a process of the set; in a pid namespace the one outside has no number.
static bool has_inner_terminal(void) {
    char text[1024];
    if (scp_read_small("/proc/self/stat", text, sizeof text) <= 0 || scp_stat_field(text, 7) == 0)
        return false;
    uint64_t session = scp_stat_field(text, 6);
    return session == scp_own_pid || (among_others && session != 0);
}

// What ends or stops the program at its first step: is whom it comes from here?
static bool is_due(const struct scp_pending *pending) {
    siginfo_t info;
    memcpy(&info, pending->info, sizeof info);
    if (actions[info.si_signo - 1].handler != (uint64_t)(uintptr_t)SIG_DFL || !ends_or_stops(info.si_signo) ||
        !deliverable(pending->tid, info.si_signo))
        return true;
    if (info.si_code == SI_KERNEL)
        return has_inner_terminal();
    return (uint32_t)info.si_pid == scp_own_pid || (among_others && scp_call(SYS_kill, info.si_pid, 0) != -ESRCH);
}

static void keep_due(void) {
    size_t kept = 0;
    for (size_t i = 0; i < carried_count; i++) {
        name_sender(&carried[i]);
        if (is_due(&carried[i]))
            memmove(&carried[kept++], &carried[i], sizeof carried[i]);
    }
    carried_count = kept;
}

// The list is in order of threads: each run of one thread's signals is queued by that thread in one go.
int scp_pending_restore(void) {
    keep_due();
    struct scp_vector list = {
        .base = carried, .count = carried_count, .capacity = carried_count, .element = sizeof *carried, .range = -1};
    int result = 0;
    for (size_t from = 0, to; from < carried_count; from = to) {
        uint32_t tid = carried[from].tid;
        for (to = from; to < carried_count && carried[to].tid == tid; to++)
            continue;
        struct scp_slot *slot = tid == 0 ? scp_slot_at(0) : scp_slot_of_recorded(tid);
        if (!slot)
            continue;
        struct transfer transfer = {.list = &list, .from = from, .to = to, .tid = slot->tid};
        scp_on_thread(slot, put_back, &transfer);
        if (transfer.error) {
            scp_arrival_warn(-transfer.error,
                             "could not queue the pending signals with their values, so only the signals are there",
                             NULL);
            result = 0;
        }
    }
    return result;
}
