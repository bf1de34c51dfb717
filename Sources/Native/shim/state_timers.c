// Interval timers (setitimer) and POSIX timers (timer_create).
//
// Timers run on while threads are parked, so an expiry may fall between the reading of a timer and that of its pending
// signal. Order: timers, pending signals, timers again; if a timer was seen to expire in between, all over. What was
// read last then agrees with the signals. A timer that expires faster than that (every 50 microseconds or so) may lose
// or repeat one of its ticks at a restart.
//
// Recorded is the time that remains, also of absolute timers. A restart creates the timers with the kernel's same
// numbers (libc's timer_t is that number) and starts them last of all.
#define _GNU_SOURCE
#include "state.h"
#include "worker.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <time.h>

#define PR_TIMER_CREATE_RESTORE_IDS 77 // Linux 6.15
#define RESTORE_IDS_OFF 0
#define RESTORE_IDS_ON 1
#define TRIALS 8
#define TIMER_LIMIT 16384u
#define TIMER_ID_LIMIT (64 << 20) // without RESTORE_IDS numbers are reached by counting up

// Clocks of CPU time: ~id << 3 | kind, and this bit for a thread's. Source: Linux include/linux/posix-timers_types.h.
#define CLOCK_OF_THREAD 4
#define CLOCK_KIND 3
#define CLOCK_KIND_SCHEDULED 2
#define CLOCK_OF_DESCRIPTOR 3 // a kind: PTP hardware clocks
#define SPIN_NS 20000

static struct scp_timer *carried; // in the carry area
static size_t carried_count;
static int64_t interval_timers[3][4]; // as in struct scp_process

// ---- examine --------------------------------------------------------------------------------------------------------

size_t scp_timers_prepare(void) {
    return TIMER_LIMIT * sizeof(struct scp_timer);
}

static int64_t parse_signed(const char **cursor) {
    bool negative = **cursor == '-';
    *cursor += negative;
    int64_t value = (int64_t)scp_parse_decimal(cursor);
    return negative ? -value : value;
}

// The text behind `key` in the entry that starts at text; NULL = not there.
static const char *after(const char *text, const char *key) {
    const char *found = strstr(text, key);
    return found ? found + strlen(key) : NULL;
}

// "signal/tid.123", "none/pid.123"
static void parse_notify(const char *text, struct scp_timer *timer) {
    const char *target = strchr(text, '/');
    timer->notify = text[0] == 's' ? SIGEV_SIGNAL : text[0] == 'n' ? SIGEV_NONE : SIGEV_THREAD;
    if (!target || strncmp(target, "/tid.", 5) != 0)
        return;
    target += 5;
    timer->notify |= SIGEV_THREAD_ID;
    timer->target = (int32_t)scp_parse_decimal(&target);
}

// One entry is four lines: "ID: n", "signal: n/value", "notify: how/whom", "ClockID: n".
static const char *parse_timer(const char *text, struct scp_timer *timer) {
    const char *id = after(text, "ID: "), *signal = after(text, "\nsignal: "), *notify = after(text, "\nnotify: "),
               *clock = after(text, "\nClockID: ");
    if (!id || !signal || !notify || !clock)
        return NULL;
    timer->id = (int32_t)parse_signed(&id);
    timer->signal = (int32_t)parse_signed(&signal);
    signal += *signal == '/';
    timer->value = scp_parse_hex(&signal);
    parse_notify(notify, timer);
    timer->clock = (int32_t)parse_signed(&clock);
    return *clock == '\n' ? clock + 1 : clock;
}

static int list_timers(struct scp_checkpoint *checkpoint) {
    struct scp_vector text;
    int result = scp_vector_open(&text, 1, SCP_PAGE);
    if (result == 0)
        result = scp_read_file("/proc/self/timers", &text);
    checkpoint->timers.count = 0;
    for (const char *cursor = text.base; result == 0 && *cursor;) {
        struct scp_timer *timer = scp_vector_add(&checkpoint->timers);
        cursor = timer ? parse_timer(cursor, timer) : NULL;
        if (!cursor)
            result = timer ? -EPROTO : -ENOMEM;
    }
    scp_vector_close(&text);
    if (result < 0)
        return scp_fail(checkpoint, -result, "cannot read the process's timers from /proc/self/timers", (char *)NULL);
    return 0;
}

static void read_values(struct scp_checkpoint *checkpoint) {
    for (size_t i = 0; i < checkpoint->timers.count; i++) {
        struct scp_timer *timer = scp_vector_at(&checkpoint->timers, i);
        scp_call(SYS_timer_gettime, timer->id, &timer->interval_s); // four numbers: struct itimerspec
        timer->overrun = (int32_t)scp_call(SYS_timer_getoverrun, timer->id);
    }
    for (int which = 0; which < 3; which++)
        scp_call(SYS_getitimer, which, checkpoint->process.interval_timers[which]);
}

// What remained of all timers, to compare.
struct remaining {
    int64_t seconds, parts;
};

static size_t note_remaining(const struct scp_checkpoint *checkpoint, struct scp_vector *out) {
    out->count = 0;
    if (scp_vector_reserve(out, checkpoint->timers.count + 3) < 0)
        return 0;
    for (int which = 0; which < 3; which++) {
        const int64_t *timer = checkpoint->process.interval_timers[which];
        scp_vector_append(out, &(struct remaining){timer[2], timer[3]}, 1);
    }
    for (size_t i = 0; i < checkpoint->timers.count; i++) {
        const struct scp_timer *timer = scp_vector_at(&checkpoint->timers, i);
        scp_vector_append(out, &(struct remaining){timer->value_s, timer->value_ns}, 1);
    }
    return out->count;
}

// Without an expiry what remains only gets less, and does not get to nothing.
static bool none_expired(const struct scp_vector *before, const struct scp_vector *now) {
    for (size_t i = 0; i < now->count; i++) {
        const struct remaining *a = scp_vector_at(before, i), *b = scp_vector_at(now, i);
        bool was_set = a->seconds || a->parts, is_set = b->seconds || b->parts;
        if (was_set != is_set || b->seconds > a->seconds || (b->seconds == a->seconds && b->parts > a->parts))
            return false;
    }
    return true;
}

static int read_with_signals(const struct scp_examination *examination) {
    struct scp_checkpoint *checkpoint = examination->checkpoint;
    struct scp_vector before, now;
    int result = scp_vector_open(&before, sizeof(struct remaining), 64);
    if (result == 0)
        result = scp_vector_open(&now, sizeof(struct remaining), 64);
    if (result < 0)
        return scp_fail(checkpoint, -result, "no memory to read the timers", (char *)NULL);
    for (int trial = 0; trial < TRIALS && result == 0; trial++) {
        read_values(checkpoint);
        note_remaining(checkpoint, &before);
        result = scp_pending_examine(examination);
        read_values(checkpoint);
        note_remaining(checkpoint, &now);
        if (before.count == now.count && none_expired(&before, &now))
            break;
    }
    scp_vector_close(&before);
    scp_vector_close(&now);
    return result;
}

// ---- a timer on "the CPU time of the thread that made it" -----------------------------------------------------------

static int64_t spin(void *argument) {
    struct timespec now, start;
    (void)argument;
    scp_call(SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, &start);
    do
        scp_call(SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, &now);
    while ((now.tv_sec - start.tv_sec) * 1000000000 + now.tv_nsec - start.tv_nsec < SPIN_NS);
    return 0;
}

static int64_t timer_remaining(int32_t id) {
    int64_t value[4] = {0};
    scp_call(SYS_timer_gettime, id, value);
    return value[2] * 1000000000 + value[3];
}

// The kernel does not say which thread that is. All stand still: the timer goes on with the one that is made to work.
// A timer that is not running has no clock to lose: the thread it signals, else the leader, takes it over.
static uint32_t find_clock_owner(const struct scp_timer *timer) {
    uint32_t fallback = timer->notify & SIGEV_THREAD_ID ? (uint32_t)timer->target : scp_slot_at(0)->tid;
    if (scp_slot_count() == 1 || timer_remaining(timer->id) == 0)
        return fallback;
    for (size_t i = 0; i < scp_slot_count(); i++) {
        int64_t before = timer_remaining(timer->id);
        scp_on_thread(scp_slot_at(i), spin, NULL);
        if (before - timer_remaining(timer->id) >= SPIN_NS)
            return scp_slot_at(i)->tid;
    }
    return fallback;
}

static bool is_cpu_clock(int32_t clock) {
    return clock < 0 && (clock & CLOCK_KIND) != CLOCK_OF_DESCRIPTOR;
}

static uint32_t clock_owner(int32_t clock) {
    return ~(uint32_t)(clock >> 3); // 0 = the process, or the thread, that made the timer
}

static int32_t thread_clock(uint32_t tid, int32_t kind) {
    return (int32_t)(~tid << 3 | CLOCK_OF_THREAD | (uint32_t)kind);
}

// Makes the timer's clock one that a restart can name; refuses those of others.
static int resolve_clock(struct scp_checkpoint *checkpoint, struct scp_timer *timer) {
    int32_t kind = timer->clock & CLOCK_KIND;
    if (timer->clock == CLOCK_THREAD_CPUTIME_ID ||
        (is_cpu_clock(timer->clock) && clock_owner(timer->clock) == 0 && timer->clock & CLOCK_OF_THREAD)) {
        timer->clock = thread_clock(find_clock_owner(timer), timer->clock < 0 ? kind : CLOCK_KIND_SCHEDULED);
        return 0;
    }
    if (timer->clock >= 0 || (is_cpu_clock(timer->clock) && clock_owner(timer->clock) == 0))
        return 0;
    if (is_cpu_clock(timer->clock) && scp_slot_of_recorded(clock_owner(timer->clock)))
        return 0; // the process's id is its leader's
    if (is_cpu_clock(timer->clock) && timer_remaining(timer->id) == 0) {
        timer->clock = thread_clock(scp_slot_at(0)->tid, kind); // whose clock it was has ended: it can never expire
        return 0;
    }
    return scp_fail(checkpoint, ENOTSUP, "POSIX timer ", scp_signed_number(timer->id).text,
                    is_cpu_clock(timer->clock) ? " measures the CPU time of another process"
                                               : " runs on a hardware clock",
                    ", which cannot be saved", (char *)NULL);
}

static int resolve_clocks(struct scp_checkpoint *checkpoint) {
    int result = 0;
    for (size_t i = 0; i < checkpoint->timers.count && result == 0; i++)
        result = resolve_clock(checkpoint, scp_vector_at(&checkpoint->timers, i));
    return result;
}

int scp_timers_examine(const struct scp_examination *examination) {
    struct scp_checkpoint *checkpoint = examination->checkpoint;
    int result = list_timers(checkpoint);
    if (result == 0 && checkpoint->timers.count > TIMER_LIMIT)
        result = scp_fail(checkpoint, ENOBUFS, "the program has more than 16384 timers", (char *)NULL);
    if (result == 0)
        result = resolve_clocks(checkpoint);
    if (result == 0)
        result = read_with_signals(examination);
    if (result == 0)
        result = scp_pending_carry(checkpoint);
    if (result < 0)
        return result;
    memcpy(interval_timers, checkpoint->process.interval_timers, sizeof interval_timers);
    carried_count = checkpoint->timers.count;
    carried = scp_carry(carried_count * sizeof *carried);
    if (!carried)
        return scp_fail(checkpoint, ENOBUFS, "no memory for the timers", (char *)NULL);
    memcpy(carried, checkpoint->timers.base, carried_count * sizeof *carried);
    return 0;
}

// ---- restore --------------------------------------------------------------------------------------------------------

static uint32_t tid_now(uint32_t recorded) {
    struct scp_slot *slot = scp_slot_of_recorded(recorded);
    return slot ? slot->tid : recorded;
}

// A CPU clock names its process or thread; a restart may have given them other numbers.
static int32_t clock_now(int32_t clock) {
    if (!is_cpu_clock(clock) || clock_owner(clock) == 0)
        return clock;
    return (int32_t)(~tid_now(clock_owner(clock)) << 3 | ((uint32_t)clock & 7));
}

static void complain(const struct scp_timer *timer, long result) {
    scp_arrival_warn((int)-result, "could not restore POSIX timer ", scp_signed_number(timer->id).text);
}

// Creates one timer; with RESTORE_IDS under its number, else under the next.
static long create_one(const struct scp_timer *timer, int32_t *id) {
    struct sigevent event;
    memset(&event, 0, sizeof event);
    event.sigev_value.sival_ptr = (void *)(uintptr_t)timer->value;
    event.sigev_signo = timer->signal;
    event.sigev_notify = timer->notify;
    if (timer->notify & SIGEV_THREAD_ID && scp_slot_of_recorded((uint32_t)timer->target))
        event._sigev_un._tid = (pid_t)tid_now((uint32_t)timer->target);
    else if (timer->notify & SIGEV_THREAD_ID)
        event.sigev_notify = SIGEV_NONE; // the thread it would tell has ended
    return scp_call(SYS_timer_create, clock_now(timer->clock), &event, id);
}

// The kernel numbers a process's timers upward from the last one: create and delete until the number comes.
static long count_up_to(const struct scp_timer *timer) {
    for (;;) {
        int32_t id = -1;
        long result = timer->id > TIMER_ID_LIMIT ? -ERANGE : create_one(timer, &id);
        if (result < 0 || id == timer->id)
            return result;
        scp_call(SYS_timer_delete, id);
        if (id > timer->id)
            return -EEXIST;
    }
}

static long create_timer(const struct scp_timer *timer, bool restore_ids) {
    int32_t id = timer->id;
    if (!restore_ids)
        return count_up_to(timer);
    long result = create_one(timer, &id);
    return result == 0 && id != timer->id ? -EPROTO : result;
}

// /proc lists them in the order of hash buckets; counting up needs them ascending.
static struct scp_timer *next_above(int64_t id) {
    struct scp_timer *best = NULL;
    for (size_t i = 0; i < carried_count; i++)
        if (carried[i].id > id && (!best || carried[i].id < best->id))
            best = &carried[i];
    return best;
}

int scp_timers_create(void) {
    bool restore_ids = scp_call(SYS_prctl, PR_TIMER_CREATE_RESTORE_IDS, RESTORE_IDS_ON, 0, 0, 0) == 0;
    long result = 0;
    for (struct scp_timer *timer = next_above(-1); timer && result == 0; timer = next_above(timer->id)) {
        result = create_timer(timer, restore_ids);
        if (result < 0)
            complain(timer, result);
    }
    if (restore_ids)
        scp_call(SYS_prctl, PR_TIMER_CREATE_RESTORE_IDS, RESTORE_IDS_OFF, 0, 0, 0);
    return (int)result;
}

// The kernel adds a tick to what is asked of a CPU-time timer (Linux kernel/time/itimer.c): over many restarts that
// would add up.
static void take_off_tick(int64_t *seconds, int64_t *microseconds) {
    struct timespec tick = {0, 0};
    scp_call(SYS_clock_getres, CLOCK_MONOTONIC_COARSE, &tick);
    int64_t left = *seconds * 1000000 + *microseconds - tick.tv_nsec / 1000;
    if (left <= 0)
        return;
    *seconds = left / 1000000;
    *microseconds = left % 1000000;
}

static long start_interval_timer(int which) {
    int64_t value[4];
    memcpy(value, interval_timers[which], sizeof value);
    // Expired, and its signal not taken yet: the kernel starts the next period with that, a restart now.
    if (which == ITIMER_REAL && value[2] == 0 && value[3] == 0)
        memcpy(value + 2, value, 2 * sizeof *value);
    if (value[2] == 0 && value[3] == 0)
        return 0;
    if (which != ITIMER_REAL)
        take_off_tick(&value[2], &value[3]);
    long result = scp_call(SYS_setitimer, which, value, NULL);
    if (result < 0)
        scp_arrival_warn((int)-result, "could not restore interval timer ", scp_number((uint64_t)which).text);
    return result;
}

int scp_timers_start(void) {
    long result = 0;
    for (size_t i = 0; i < carried_count && result == 0; i++) {
        if (carried[i].value_s == 0 && carried[i].value_ns == 0)
            continue;
        result = scp_call(SYS_timer_settime, carried[i].id, 0, &carried[i].interval_s, NULL);
        if (result < 0)
            complain(&carried[i], result);
    }
    for (int which = 0; which < 3 && result == 0; which++)
        result = start_interval_timer(which);
    return (int)result;
}
