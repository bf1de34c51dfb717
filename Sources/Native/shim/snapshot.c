// Which way the instant is taken, and why.
//
//   pre-copy    little is left when the rounds end: the pause copies it
//   cow         much is left, or nothing tells what was written: a copy of the process holds it (snapshot_child.c)
//   stop        there is no memory or no process for that: the program stands still until all is copied or written
#include <string.h>

#include "memory.h"
#include "state.h"

// Measured on the machine of Docs/benchmarks.md; what counts is their proportion.
#define COPY_NS_PER_MIB 120000u // test for zero, copy, checksum
#define CLONE_NS 500000u // without page tables
#define CLONE_NS_PER_PAGE 100u // of 4 KiB; huge pages cost next to nothing
#define DISK_PER_S (1000ull << 20) // bytes; until it has been measured
#define SHORT_PAUSE_NS 5000000u // is not worth a child: the program's next write to each page would cost 2 us
#define SPARE_BYTES (64ull << 20)

void scp_snapshot_because(struct scp_checkpoint *checkpoint, const char *why, const char *more) {
    scp_concat(checkpoint->snapshot_why, sizeof checkpoint->snapshot_why, why, more, (char *)NULL);
}

static uint64_t copy_ns(const struct scp_left *left) {
    uint64_t disk = left->disk ? left->disk : DISK_PER_S;
    if (left->bytes <= SCP_SINK_BYTES)
        return (left->bytes >> 10) * COPY_NS_PER_MIB >> 10;
    return left->bytes / (disk / 1000 + 1) * 1000000;
}

static uint64_t clone_ns(void) {
    uint64_t all = scp_memory_value("/proc/self/smaps_rollup", "Anonymous:");
    uint64_t huge = scp_memory_value("/proc/self/smaps_rollup", "AnonHugePages:");
    if (all == UINT64_MAX || huge == UINT64_MAX || huge > all)
        return CLONE_NS;
    return CLONE_NS + (all - huge) / SCP_PAGE * CLONE_NS_PER_PAGE;
}

// What the program will write while the child does: each page of it is there twice then.
static uint64_t copied_bytes(const struct scp_left *left) {
    uint64_t disk = left->disk ? left->disk : DISK_PER_S;
    uint64_t expected = left->bytes / 4; // where nothing is known
    if (left->known)
        expected = left->bytes / (disk / 1000 + 1) * (left->written / 1000 + 1) / 1000 * 2;
    return (expected < left->bytes ? expected : left->bytes) + SPARE_BYTES;
}

static struct scp_number megabytes(uint64_t bytes) {
    return scp_number((bytes + 500000) / 1000000);
}

static void tell_left(struct scp_checkpoint *checkpoint, const struct scp_left *left) {
    char text[sizeof checkpoint->snapshot_why];
    memcpy(text, checkpoint->snapshot_why, sizeof text); // why there is no pre-copy
    if (!left->known)
        scp_concat(checkpoint->snapshot_why, sizeof text, text, ": ", megabytes(left->bytes).text,
                   " MB were left to the pause", (char *)NULL);
    else
        scp_concat(checkpoint->snapshot_why, sizeof text, megabytes(left->bytes).text,
                   " MB were left to the pause: the program writes ", megabytes(left->written).text,
                   " MB/s to new pages, the disk takes ", megabytes(left->disk).text, " MB/s", (char *)NULL);
}

// True when there is the memory that a child will need. Else the reason stands there.
static bool has_memory(struct scp_checkpoint *checkpoint, const struct scp_left *left) {
    uint64_t needed = copied_bytes(left), there = scp_memory_left();
    if (there >= needed)
        return true;
    scp_concat(checkpoint->snapshot_why, sizeof checkpoint->snapshot_why, "a copy-on-write child may need ",
               megabytes(needed).text, " MB of memory, and ", megabytes(there).text, " MB are left", (char *)NULL);
    return false;
}

void scp_snapshot_choose(struct scp_checkpoint *checkpoint, const struct scp_left *left) {
    struct scp_memory *memory = checkpoint->image_private;
    bool fixed = checkpoint->order->snapshot == SCP_SNAPSHOT_COW;
    uint64_t copy = copy_ns(left);
    if (!fixed)
        tell_left(checkpoint, left);
    if (checkpoint->order->snapshot == SCP_SNAPSHOT_PRECOPY || (!fixed && copy <= SHORT_PAUSE_NS))
        return;
    if (!has_memory(checkpoint, left))
        checkpoint->snapshot = SCP_SNAPSHOT_STOP;
    else
        memory->defers = fixed || clone_ns() < copy;
}

int scp_snapshot_settle(struct scp_checkpoint *checkpoint) {
    const struct scp_memory *memory = checkpoint->image_private;
    if (memory->deferred_bytes == 0)
        return 0;
    int result = scp_child_start(checkpoint);
    if (result == 0) {
        checkpoint->snapshot = SCP_SNAPSHOT_COW;
        return 0;
    }
    checkpoint->snapshot = SCP_SNAPSHOT_STOP;
    scp_snapshot_because(checkpoint, "no process could be made for a copy-on-write child: ", scp_error_name(-result));
    return scp_saved_settle(checkpoint, false);
}
