// CPU affinity, scheduling and I/O priority of the threads. All can be asked and set from outside, by thread id: that
// is done by the checkpoint thread, so that the threads' own handler stays short.
//
// A thread that may run on every CPU it is given stays so after a restart, on whatever machine and in whatever cpuset;
// only one that was restricted gets its set back, as far as these CPUs exist.
#define _GNU_SOURCE
#include "state.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#define SET_BYTES 2048u // the kernel's largest (NR_CPUS 8192) and room
#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_CLASS_SHIFT 13
#define FLAG_RESET_ON_FORK 1ull
#define POLICY_DEADLINE 6

static uint32_t set_bytes; // of a CPU set of this kernel
static uint8_t widest[SET_BYTES]; // the CPUs this process may be given
static uint8_t *sets; // in the carry area
static size_t sets_count, sets_capacity;

// ---- examine --------------------------------------------------------------------------------------------------------

// The cpuset's bound shows when a thread asks for every CPU; this one can ask.
static void find_widest(void) {
    uint8_t own[SET_BYTES] = {0}, all[SET_BYTES];
    memset(all, 0xff, sizeof all);
    long bytes = scp_call(SYS_sched_getaffinity, 0, sizeof own, own);
    set_bytes = bytes > 0 ? (uint32_t)bytes : 0;
    if (set_bytes == 0)
        return;
    memcpy(widest, own, set_bytes);
    if (scp_call(SYS_sched_setaffinity, 0, set_bytes, all) == 0) {
        scp_call(SYS_sched_getaffinity, 0, sizeof widest, widest);
        scp_call(SYS_sched_setaffinity, 0, set_bytes, own);
    }
}

static size_t thread_count(void) {
    char text[1024];
    if (scp_read_small("/proc/self/stat", text, sizeof text) < 0)
        return 0;
    return scp_stat_field(text, 20);
}

size_t scp_schedule_prepare(void) {
    find_widest();
    return (thread_count() * 2 + 1024) * set_bytes + 16;
}

static void examine_set(struct scp_slot *slot) {
    struct scp_thread_private *own = scp_thread_private(slot);
    uint8_t *set = sets + sets_count * set_bytes;
    own->affinity = SCP_AFFINITY_ANY;
    if (set_bytes == 0 || sets_count == sets_capacity)
        return;
    long bytes = scp_call(SYS_sched_getaffinity, slot->tid, set_bytes, set);
    if (bytes != set_bytes || memcmp(set, widest, set_bytes) == 0)
        return;
    if (sets_count > 0 && memcmp(set, set - set_bytes, set_bytes) == 0) {
        own->affinity = (uint32_t)(sets_count - 1);
        return;
    }
    own->affinity = (uint32_t)sets_count++;
}

static void examine_policy(struct scp_slot *slot) {
    struct scp_thread_private *own = scp_thread_private(slot);
    struct scp_schedule schedule = {0};
    if (scp_call(SYS_sched_getattr, slot->tid, &schedule, sizeof schedule, 0) < 0)
        return;
    slot->record.policy = (int32_t)schedule.policy;
    slot->record.priority = (int32_t)schedule.priority;
    slot->record.nice = schedule.nice;
    own->schedule_flags = schedule.flags;
    own->runtime = schedule.runtime;
    own->deadline = schedule.deadline;
    own->period = schedule.period;
    own->io_priority = (int32_t)scp_call(SYS_ioprio_get, IOPRIO_WHO_PROCESS, slot->tid);
}

int scp_schedule_examine(const struct scp_examination *examination) {
    // One more than there are threads: the set that is read may turn out not to be kept.
    sets_capacity = scp_slot_count() + 1;
    sets_count = 0;
    sets = scp_carry(sets_capacity * set_bytes);
    if (!sets)
        return scp_fail(examination->checkpoint, EAGAIN, "the program has started many threads meanwhile; try again",
                        (char *)NULL);
    for (size_t i = 0; i < scp_slot_count(); i++) {
        examine_set(scp_slot_at(i));
        examine_policy(scp_slot_at(i));
    }
    return 0;
}

// ---- restore --------------------------------------------------------------------------------------------------------

// One warning of a kind, however many threads it concerns.
struct complaint {
    uint32_t tid, count;
    int error;
};

static void complain(struct complaint *complaint, uint32_t tid, int error) {
    if (complaint->count++ == 0) {
        complaint->tid = tid;
        complaint->error = error;
    }
}

static void report(const struct complaint *complaint, const char *what) {
    char object[96];
    if (complaint->count == 0)
        return;
    scp_concat(object, sizeof object, " of thread ", scp_number(complaint->tid).text,
               complaint->count > 1 ? " and others" : "", (char *)NULL);
    scp_arrival_warn(complaint->error, what, object);
}

// The kernel takes those CPUs of the set that exist; EINVAL: none does.
static void restore_set(struct scp_slot *slot, struct complaint *gone, struct complaint *fewer) {
    const struct scp_thread_private *own = scp_thread_private(slot);
    uint8_t now[SET_BYTES];
    if (own->affinity == SCP_AFFINITY_ANY)
        return;
    const uint8_t *set = sets + own->affinity * (size_t)set_bytes;
    long result = scp_call(SYS_sched_setaffinity, slot->tid, set_bytes, set);
    if (result < 0) {
        complain(gone, own->tid, (int)-result);
        return;
    }
    memset(now, 0, sizeof now);
    scp_call(SYS_sched_getaffinity, slot->tid, sizeof now, now);
    if (memcmp(now, set, set_bytes) != 0)
        complain(fewer, own->tid, 0);
}

static long restore_policy(struct scp_slot *slot) {
    const struct scp_thread_private *own = scp_thread_private(slot);
    struct scp_schedule now = {0}, wanted = {
                                       .size = sizeof wanted,
                                       .policy = (uint32_t)slot->record.policy,
                                       .flags = own->schedule_flags & FLAG_RESET_ON_FORK,
                                       .nice = slot->record.nice,
                                       .priority = (uint32_t)slot->record.priority,
                                   };
    if (wanted.policy == POLICY_DEADLINE) {
        wanted.flags = own->schedule_flags;
        wanted.runtime = own->runtime;
        wanted.deadline = own->deadline;
        wanted.period = own->period;
    }
    scp_call(SYS_sched_getattr, slot->tid, &now, sizeof now, 0);
    if (now.policy == wanted.policy && now.nice == wanted.nice && now.priority == wanted.priority &&
        (now.flags & FLAG_RESET_ON_FORK) == (wanted.flags & FLAG_RESET_ON_FORK) && wanted.policy != POLICY_DEADLINE)
        return 0;
    return scp_call(SYS_sched_setattr, slot->tid, &wanted, 0);
}

static long restore_io_priority(struct scp_slot *slot) {
    int32_t wanted = scp_thread_private(slot)->io_priority;
    if (wanted < 0 || wanted >> IOPRIO_CLASS_SHIFT == 0 ||
        scp_call(SYS_ioprio_get, IOPRIO_WHO_PROCESS, slot->tid) == wanted)
        return 0;
    return scp_call(SYS_ioprio_set, IOPRIO_WHO_PROCESS, slot->tid, wanted);
}

void scp_schedule_restore(void) {
    struct complaint gone = {0}, fewer = {0}, policy = {0}, io = {0};
    for (size_t i = 0; i < scp_slot_count(); i++) {
        struct scp_slot *slot = scp_slot_at(i);
        restore_set(slot, &gone, &fewer);
        long result = restore_policy(slot);
        if (result < 0)
            complain(&policy, scp_thread_private(slot)->tid, (int)-result);
        result = restore_io_priority(slot);
        if (result < 0)
            complain(&io, scp_thread_private(slot)->tid, (int)-result);
    }
    report(&gone, "none of its CPUs exists here, so any may be used: the CPU set");
    report(&fewer, "some of its CPUs do not exist here and are left out: the CPU set");
    report(&policy, "could not restore the scheduling policy, priority or nice value");
    report(&io, "could not restore the I/O priority");
}
