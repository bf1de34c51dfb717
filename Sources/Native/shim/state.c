// Kernel state: the order in which its aspects are examined and restored, and the memory that carries them.
#define _GNU_SOURCE
#include "state.h"
#include "worker.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

// ---- the carry area -------------------------------------------------------------------------------------------------

static struct {
    uint64_t start, used, length; // bytes
} carry SCP_FORK_DATA;

void *scp_carry(size_t bytes) {
    bytes = (bytes + 15) & ~(size_t)15;
    if (bytes > carry.length - carry.used)
        return NULL;
    void *memory = (void *)(uintptr_t)(carry.start + carry.used);
    carry.used += bytes;
    return memory;
}

// Forgotten first: in a child that is forked in between, the place may be another's.
SCP_FORK_CODE void scp_state_finish(void) {
    uint64_t start = carry.start, length = carry.length;
    if (length == 0)
        return;
    carry.length = carry.used = 0;
    atomic_signal_fence(memory_order_seq_cst);
    scp_call(SYS_munmap, start, length);
}

// Reserved large and cheap: only pages that are written become memory. Mapped without access first, so that
// mlockall(MCL_FUTURE) does not fill it. Not MADV_DONTFORK, as scratch memory is: it must not become one mapping with
// that, whose place may be another's when the image is written. A child of fork gives its copy back at its own first
// checkpoint.
static int carry_reserve(struct scp_checkpoint *checkpoint, size_t bytes) {
    scp_state_finish();
    bytes = (bytes + SCP_PAGE - 1) & ~(size_t)(SCP_PAGE - 1);
    long memory = scp_call(SYS_mmap, scp_lasting_place(bytes), bytes, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (scp_failed(memory))
        return scp_fail(checkpoint, (int)-memory, "cannot reserve memory for the kernel state of the process",
                        (char *)NULL);
    scp_call(SYS_munlock, memory, bytes);
    long result = scp_call(SYS_mprotect, memory, bytes, PROT_READ | PROT_WRITE);
    if (result < 0) {
        scp_call(SYS_munmap, memory, bytes);
        return scp_fail(checkpoint, (int)-result, "cannot reserve memory for the kernel state of the process",
                        (char *)NULL);
    }
    carry.start = (uint64_t)memory;
    carry.length = bytes;
    return 0;
}

// ---- helpers --------------------------------------------------------------------------------------------------------

struct scp_number scp_number(uint64_t value) {
    struct scp_number number;
    number.text[scp_decimal(number.text, value)] = '\0';
    return number;
}

struct scp_number scp_signed_number(int64_t value) {
    struct scp_number number;
    number.text[0] = '-';
    char *digits = number.text + (value < 0);
    digits[scp_decimal(digits, value < 0 ? 0 - (uint64_t)value : (uint64_t)value)] = '\0';
    return number;
}

const char *scp_status_field(const char *status, const char *name) {
    char key[48];
    size_t length = scp_concat(key, sizeof key, "\n", name, ":", (char *)NULL);
    const char *found = strstr(status, key);
    if (!found)
        return "";
    found += length;
    while (*found == '\t' || *found == ' ')
        found++;
    return found;
}

struct scp_slot *scp_slot_of_recorded(uint32_t tid) {
    for (size_t i = 0; i < scp_slot_count(); i++)
        if (scp_thread_private(scp_slot_at(i))->tid == tid)
            return scp_slot_at(i);
    return NULL;
}

static char status_text[4096]; // of the checkpoint thread alone

static int read_status(struct scp_checkpoint *checkpoint) {
    long length = scp_read_small("/proc/self/status", status_text, sizeof status_text);
    if (length < 0)
        return scp_fail(checkpoint, (int)-length, "cannot read /proc/self/status", (char *)NULL);
    return 0;
}

// ---- the checkpoint -------------------------------------------------------------------------------------------------

int scp_state_prepare(struct scp_checkpoint *checkpoint) {
    int result = read_status(checkpoint);
    if (result == 0)
        result = scp_process_prepare(checkpoint, status_text);
    if (result < 0)
        return result;
    scp_memory_prepare();
    scp_surroundings_prepare();
    size_t bytes = scp_schedule_prepare() + scp_signals_prepare(status_text) + scp_timers_prepare() +
                   scp_ipc_prepare() + scp_named_prepare() + scp_stops_prepare(checkpoint);
    return carry_reserve(checkpoint, bytes);
}

// The notes' table of threads was filled before: give it what is known only now.
static void update_threads(struct scp_checkpoint *checkpoint) {
    for (size_t i = 0; i < scp_slot_count() && i < checkpoint->threads.count; i++) {
        const struct scp_thread *record = &scp_slot_at(i)->record;
        struct scp_thread *thread = scp_vector_at(&checkpoint->threads, i);
        if (thread->tid != record->tid)
            continue;
        thread->policy = record->policy;
        thread->priority = record->priority;
        thread->nice = record->nice;
    }
}

int scp_state_examine(struct scp_checkpoint *checkpoint) {
    static int (*const aspects[])(const struct scp_examination *) = {
        scp_surroundings_examine, scp_schedule_examine, scp_process_examine, scp_children_examine,
        scp_stops_examine,        scp_ipc_examine,      scp_named_examine,   scp_undo_examine,
        scp_limits_examine,       scp_actions_examine,  scp_timers_examine, // with the pending signals, last: it holds back nothing
    };
    struct scp_examination examination = {checkpoint, status_text};
    carry.used = 0;
    int result = read_status(checkpoint);
    for (size_t i = 0; result == 0 && i < sizeof aspects / sizeof *aspects; i++)
        result = aspects[i](&examination);
    if (result == 0)
        update_threads(checkpoint);
    return result;
}

// ---- the restart ----------------------------------------------------------------------------------------------------

// What threads could not restore for themselves: the first one by name, the others as a number.
static void report_threads(void) {
    const struct scp_thread_private *first = NULL;
    size_t count = 0;
    for (size_t i = 0; i < scp_slot_count(); i++) {
        const struct scp_thread_private *own = scp_thread_private(scp_slot_at(i));
        if (!own->error)
            continue;
        count++;
        first = first ? first : own;
    }
    if (!first)
        return;
    char object[96];
    scp_concat(object, sizeof object, " of thread ", scp_number(first->tid).text, (char *)NULL);
    if (count > 1)
        scp_concat(object, sizeof object, " of thread ", scp_number(first->tid).text, " and of ",
                   scp_number(count - 1).text, " more", (char *)NULL);
    scp_arrival_warn(first->error, first->what, object);
}

static int64_t reduce_leader(void *argument) {
    scp_thread_reduce_capabilities(argument);
    return 0;
}

// Limits stand in the way of much (locked memory, priorities, queued signals): wide first, as recorded last. Signals
// and timers end the process's stillness, so they come after all that can fail.
int scp_state_restore(void) {
    scp_limits_widen();
    int result = scp_arch_process_restore();
    scp_process_restore();
    scp_memory_restore();
    scp_schedule_restore();
    if (result == 0)
        result = scp_ipc_restore();
    if (result == 0)
        result = scp_named_restore();
    if (result == 0)
        result = scp_actions_restore();
    if (result == 0)
        result = scp_timers_create();
    if (result == 0)
        result = scp_pending_restore();
    scp_limits_restore();
    scp_process_seal();
    report_threads();
    scp_on_thread(scp_slot_at(0), reduce_leader, scp_slot_at(0));
    return result;
}

int scp_state_start(void) {
    scp_undo_restore();
    int result = scp_timers_start();
    scp_state_finish();
    return result;
}
