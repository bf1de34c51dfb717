// Live pre-copy: memory is saved while the program runs, what it writes meanwhile is saved again, until little is left
// for the pause.
//
//   round 0    |########################################|   all that has content
//   round 1    |####|                                        what was written during round 0
//   round 2    |#|
//   the pause   |                                            the rest, into the sink: written when the program runs again
//
// Reading goes by system call, which survives that the program unmaps what is being read. Whatever a round misses (new
// mappings, shared memory, what the tracker can't see) the pause finds.
#include <errno.h>
#include <sys/mman.h>

#include "worker.h"
#include "memory.h"

#define ROUNDS_MAXIMUM 16
#define PIECE (64ull << 20) // bytes
#define HEED_EVERY (1u << 20) // bytes between two looks for the coordinator's word
#define RUN_COST (16u << 10) // bytes that a run counts as beside its own
#define FIRST_ROUND_NS 300000000000ll // while it goes on the image grows, and the coordinator waits
#define LATER_ROUNDS_NS 15000000000ll // these write in place
#define MANY_PAGES (2u << 20) // the same: a round of more would take too long
#define FEW_PAGES 512u // copied in half a millisecond: another round is not worth it
#define PAUSE_SPARE (4u << 20) // bytes of the sink for what no round sees

// Single pages would otherwise cost three system calls instead of one.
static bool is_time_to_look(struct scp_memory *memory, uint64_t bytes) {
    memory->unheeded += bytes + RUN_COST;
    if (memory->unheeded < HEED_EVERY)
        return false;
    memory->unheeded = 0;
    return true;
}

// Long runs in pieces, so that the coordinator's word is heard. Only the first round may be cut short: what it leaves
// out was never saved, and the pause takes it. Later ones, and those of an incremental image, would leave pages armed whose
// saved copy is old.
static int save_run(struct scp_checkpoint *checkpoint, const struct scp_region *region, const struct scp_run *run) {
    struct scp_memory *memory = checkpoint->image_private;
    int result = 0;
    for (uint64_t at = run->start; result == 0 && at < run->end; at += PIECE) {
        struct scp_run part = *run;
        part.start = at;
        part.end = run->end - at > PIECE ? at + PIECE : run->end;
        if (is_time_to_look(memory, part.end - part.start)) {
            result = scp_worker_heed();
            if (memory->round_deadline != 0 && scp_now() > memory->round_deadline)
                return result;
        }
        if (result == 0)
            result = scp_saved_run(checkpoint, region, &part);
    }
    return result;
}

// What is as its file has it, and is known to be so in the pause without a tracker.
static int save_clean_run(struct scp_checkpoint *checkpoint, const struct scp_region *region,
                          const struct scp_run *run) {
    return run->class == SCP_RUN_CLEAN ? save_run(checkpoint, region, run) : 0;
}

// Ours: it is not tracked, and most of it is code.
static bool is_own_code(const struct scp_region *region) {
    return region->flags & SCP_REGION_SHIM && region->kind == SCP_REGION_FILE && !(region->protection & PROT_WRITE);
}

static int save_regions(struct scp_checkpoint *checkpoint) {
    int result = 0;
    for (size_t i = 0; result == 0 && i < checkpoint->regions.count; i++) {
        const struct scp_region *region = scp_vector_at(&checkpoint->regions, i);
        if (is_own_code(region)) {
            result = scp_pages_scan(checkpoint, region, save_clean_run);
            continue;
        }
        if (!scp_tracker_wants(region) || !scp_pages_tracked(checkpoint->image_private, region->start))
            continue;
        result = scp_pages_scan(checkpoint, region, save_run);
    }
    return result;
}

static int save_round(struct scp_checkpoint *checkpoint) {
    size_t strings = checkpoint->strings.count;
    int result = scp_regions_examine(checkpoint);
    checkpoint->strings.count = strings; // the pause names everything again
    if (result == 0)
        result = scp_tracker_register(checkpoint);
    if (result < 0)
        return result;
    scp_saved_begin(checkpoint, SCP_PASS_ROUND);
    result = save_regions(checkpoint);
    return result < 0 ? result : scp_saved_end(checkpoint);
}

static uint64_t per_second(uint64_t bytes, int64_t ns) {
    return ns > 1000000 ? bytes / (uint64_t)(ns / 1000000) * 1000 : bytes * 1000;
}

// Registering has split mappings: better seen now than in the pause. A long round may have missed new advice too.
static int mark_again(struct scp_checkpoint *checkpoint) {
    const struct scp_memory *memory = checkpoint->image_private;
    if (!memory->builds_on)
        return scp_marks_read(checkpoint);
    int result = scp_marks_await(checkpoint);
    return result < 0 ? result : scp_regions_again(checkpoint);
}

// One round and what it shows: how much the program has written meanwhile, and the first how quick the disk is.
static int measure_round(struct scp_checkpoint *checkpoint, int number, struct scp_left *left) {
    struct scp_memory *memory = checkpoint->image_private;
    int64_t start = scp_now();
    memory->spill.allowed = number > 0 && memory->direct >= 0 && memory->encoder == NULL;
    if (number == 0 && memory->builds_on)
        scp_marks_read_beside(checkpoint);
    int result = save_round(checkpoint);
    if (result == 0)
        result = scp_sink_await(checkpoint);
    if (result == 0 && number == 0 && memory->tracker.descriptor >= 0)
        result = mark_again(checkpoint);
    int64_t took = scp_now() - start;
    left->bytes = result == 0 ? scp_pages_written_in_all(checkpoint) * SCP_PAGE : 0;
    left->written = per_second(left->bytes, took);
    if (number == 0)
        left->disk = per_second(checkpoint->bytes_written, took);
    left->known = true;
    return result;
}

// Whether the next round would leave hardly less. Who writes at random writes to some pages twice: the more of memory was
// written in a round, the more of them.
static bool is_outrun(const struct scp_memory *memory, const struct scp_left *left) {
    uint64_t all = memory->resident > left->bytes ? memory->resident : left->bytes;
    uint64_t share = all > 0 ? left->bytes * 256 / all : 0; // of 256
    bool measured = memory->direct >= 0 && !memory->builds_on; // little is no measure of the disk
    return measured && left->written * 512 / (512 - share) > left->disk / 4 * 3;
}

// Rounds until few pages are left, or a round leaves hardly fewer than the one before.
static int save_rounds(struct scp_checkpoint *checkpoint, struct scp_left *left) {
    struct scp_memory *memory = checkpoint->image_private;
    int64_t limit = checkpoint->order->stage_limit_ms * 500000ll, deadline; // half of it
    deadline = scp_now() + (limit < FIRST_ROUND_NS ? limit : FIRST_ROUND_NS);
    memory->round_deadline = memory->builds_on ? 0 : deadline;
    uint64_t before = UINT64_MAX;
    int result = 0;
    for (int number = 0; result == 0 && number < ROUNDS_MAXIMUM; number++) {
        result = measure_round(checkpoint, number, left);
        if (number == 0)
            deadline = scp_now() + LATER_ROUNDS_NS;
        memory->round_deadline = 0;
        uint64_t pages = left->bytes / SCP_PAGE;
        bool enough = pages <= FEW_PAGES || pages > MANY_PAGES || pages > before / 4 * 3 ||
                      (number == 0 && is_outrun(memory, left)) || scp_encode_full(checkpoint, left->bytes);
        if (enough || scp_now() > deadline)
            break;
        before = pages;
    }
    return result;
}

// Without the tracker: only what the program has changed needs to be held.
static int save_clean(struct scp_checkpoint *checkpoint) {
    size_t strings = checkpoint->strings.count;
    int result = scp_regions_examine(checkpoint);
    checkpoint->strings.count = strings; // the pause names everything again
    if (result < 0)
        return result;
    scp_saved_begin(checkpoint, SCP_PASS_ROUND);
    for (size_t i = 0; result == 0 && i < checkpoint->regions.count; i++) {
        const struct scp_region *region = scp_vector_at(&checkpoint->regions, i);
        if (scp_tracker_wants(region) || is_own_code(region))
            result = scp_pages_scan(checkpoint, region, save_clean_run);
    }
    return result < 0 ? result : scp_saved_end(checkpoint);
}

static void fill(volatile uint8_t *memory, uint64_t bytes) {
    for (uint64_t at = 0; at < bytes; at += SCP_PAGE)
        memory[at] = 0;
}

// Pages that the pause will fill, made before it: no more than the program has itself, which may be one of a thousand.
static void fill_buffers(struct scp_memory *memory, uint64_t left) {
    uint64_t spare = memory->resident < PAUSE_SPARE ? memory->resident : PAUSE_SPARE;
    uint64_t bytes = spare + (memory->defers ? 0 : left / 4 * 5);
    fill(memory->sink, bytes < SCP_SINK_BYTES ? bytes : SCP_SINK_BYTES);
    fill(memory->staging, bytes < SCP_BLOCK_MAXIMUM ? bytes : SCP_BLOCK_MAXIMUM);
}

// What is written from now on, while the program runs, is much.
static void write_large(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    bool direct = memory->direct >= 0 && memory->encoder == NULL;
    memory->sink_limit = direct ? SCP_SINK_DIRECT : SCP_SINK_WRITE;
    if (direct)
        scp_call(SYS_madvise, memory->sink, SCP_SINK_BYTES, MADV_HUGEPAGE); // filled sooner
    if ((direct || memory->encoder != NULL) && scp_helper_threads_may(checkpoint))
        scp_writer_open(checkpoint);
}

static void open_sink(struct scp_checkpoint *checkpoint, uint64_t resident) {
    struct scp_memory *memory = checkpoint->image_private;
    uint64_t shared = scp_memory_value("/proc/self/status", "RssShmem:");
    scp_sink_limit(checkpoint, true);
    memory->resident = resident + (shared == UINT64_MAX ? 0 : shared);
    if (resident < SCP_DIRECT_FROM)
        return;
    scp_sink_open_direct(checkpoint);
    write_large(checkpoint);
}

// Why the program stands still until its image is complete; NULL: it need not.
static const char *stop_wanted(const struct scp_checkpoint_order *order) {
    if (order->snapshot == SCP_SNAPSHOT_STOP)
        return "--snapshot stop";
    return order->snapshot == SCP_SNAPSHOT_COW && order->flags & SCP_CHECKPOINT_STAY_STOPPED
               ? "the end of the program follows"
               : NULL;
}

static int save_before(struct scp_checkpoint *checkpoint, struct scp_left *left) {
    struct scp_memory *memory = checkpoint->image_private;
    uint64_t resident = scp_memory_value("/proc/self/status", "RssAnon:");
    const char *why = "--snapshot cow";
    resident = resident == UINT64_MAX ? 0 : resident;
    open_sink(checkpoint, resident);
    if (checkpoint->order->snapshot != SCP_SNAPSHOT_COW &&
        (scp_parent_adopt(checkpoint) || scp_tracker_open(memory, &why) == 0)) {
        checkpoint->snapshot = SCP_SNAPSHOT_PRECOPY;
        return save_rounds(checkpoint, left);
    }
    scp_snapshot_because(checkpoint, why, "");
    int result = scp_marks_await(checkpoint);
    if (result < 0 || checkpoint->order->snapshot == SCP_SNAPSHOT_PRECOPY)
        return result;
    left->bytes = resident;
    return save_clean(checkpoint);
}

// What the rounds have gathered goes to the file; how the instant is taken, and room for it.
static int settle(struct scp_checkpoint *checkpoint, const struct scp_left *left) {
    struct scp_memory *memory = checkpoint->image_private;
    int result = scp_sink_flush(checkpoint);
    if (result == 0)
        result = scp_encode_rest(checkpoint);
    scp_writer_close(memory);
    memory->spill.allowed = false;
    scp_sink_limit(checkpoint, false);
    if (result == 0)
        scp_snapshot_choose(checkpoint, left);
    fill_buffers(memory, left->bytes);
    memory->sink_limit = memory->encoder ? SCP_SINK_BYTES / 2 : SCP_SINK_BYTES; // the encoder has buffers too
    return result;
}

int scp_precopy(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    const char *stop = stop_wanted(checkpoint->order);
    checkpoint->snapshot = SCP_SNAPSHOT_STOP;
    if (stop != NULL) {
        scp_snapshot_because(checkpoint, stop, "");
        fill(memory->staging, SCP_BLOCK_MAXIMUM);
        return scp_marks_await(checkpoint);
    }
    memory->left = (struct scp_left){.bytes = 0};
    int result = save_before(checkpoint, &memory->left);
    return result == 0 ? settle(checkpoint, &memory->left) : result;
}

int scp_precopy_again(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    if (memory->tracker.descriptor < 0 || memory->defers)
        return 0;
    uint64_t pages = scp_pages_written_in_all(checkpoint);
    if (pages <= FEW_PAGES || pages > MANY_PAGES || scp_encode_full(checkpoint, pages * SCP_PAGE))
        return 0;
    write_large(checkpoint);
    scp_sink_limit(checkpoint, true);
    int result = measure_round(checkpoint, 1, &memory->left);
    return result == 0 ? settle(checkpoint, &memory->left) : result;
}
