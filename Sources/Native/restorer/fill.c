// Reads the content of the regions from the image, with as many threads as there are processors, and compares checksums.
//
//   pieces   | run | run |  run  | run | ...      a run: neighbours in memory and in the file, read at once
//               ^     ^                           each thread takes the next few pieces, until none are left
//
// The threads are this process's own and end before any of the program's is made; their numbers are free again soon after.
#include "restorer.h"

#include <asm/errno.h>
#include <linux/falloc.h>
#include <linux/fcntl.h>
#include <linux/futex.h>
#include <linux/mman.h>
#include <linux/sched.h>

#define POPULATE_WRITE 23 // MADV_POPULATE_WRITE, Linux 5.14
#define POPULATE_MINIMUM (64u << 10) // bytes
#define BATCH 16u // pieces that a thread takes at once: 16 MiB at most
#define PARALLEL_MINIMUM (24ull << 20) // bytes; less is read sooner than threads are made
#define HELPERS_MAXIMUM 7
#define HELPER_STACK (64u << 10)

struct filling {
    struct restorer *restorer;
    int direct[SCP_ANCESTORS_MAXIMUM + 1]; // of each image: to be read past the page cache; -1 = not
    struct scp_plan_progress *progress; // NULL = nobody looks
    uint64_t next; // piece that nobody has taken yet; atomic
    uint32_t tids[HELPERS_MAXIMUM]; // cleared by the kernel when a helper has ended
};

static _Noreturn void damaged(struct restorer *restorer, const struct scp_plan_piece *piece) {
    struct scp_plan_region place = {.start = piece->address, .end = piece->address + piece->length};
    restorer_fail(restorer, -EBADMSG, "the image is damaged: wrong checksum of the memory", &place);
}

// ---- one run -----------------------------------------------------------------------------------------------------------

static long read_some(struct filling *filling, uint32_t file, uint64_t address, uint64_t length, uint64_t offset) {
    const struct scp_plan *plan = filling->restorer->plan;
    if (file <= plan->ancestor_count && filling->direct[file] >= 0) {
        long count = call(pread64, filling->direct[file], address, length, offset);
        if (count >= 0 || count == -EINTR)
            return count;
    }
    // Or the file system does not take that: an odd block size, or no direct reading after all.
    return call(pread64, restorer_plan_image(plan, file), address, length, offset);
}

static void read_all(struct filling *filling, const struct scp_plan_region *region, const struct scp_plan_piece *first,
                     uint64_t length) {
    for (uint64_t done = 0; done < length;) {
        long count = read_some(filling, first->file, first->address + done, length - done, first->offset + done);
        if (count == -EINTR)
            continue;
        if (count < 0)
            restorer_fail(filling->restorer, count, "cannot read from the image the memory", region);
        if (count == 0)
            damaged(filling->restorer, first);
        done += (uint64_t)count;
    }
}

static void make_ready(struct restorer *restorer, const struct scp_plan_region *region, uint64_t address,
                       uint64_t length) {
    int needed = PROT_READ | PROT_WRITE;
    if ((restorer_first_protection(region) & needed) != needed) {
        long result = call(mprotect, address, length, needed);
        if (result < 0)
            restorer_fail(restorer, result, "cannot make writable for a moment the memory", region);
    }
    // All pages in one go are cheaper than a fault each while the kernel copies. Without it, it is as right.
    if (region->source == SCP_PLAN_ANONYMOUS && length >= POPULATE_MINIMUM)
        call(madvise, address, length, POPULATE_WRITE);
}

static void tell_progress(struct filling *filling, const struct scp_plan_piece *piece, uint64_t length) {
    uint64_t bytes = piece->options & SCP_PLAN_GIVE_BACK ? length / 2 : length;
    if (filling->progress)
        __atomic_fetch_add(&filling->progress->done, bytes, __ATOMIC_RELAXED);
}

static void fill_run(struct filling *filling, const struct scp_plan_region *region, const struct scp_plan_piece *first,
                     const struct scp_plan_piece *end, uint64_t length) {
    make_ready(filling->restorer, region, first->address, length);
    read_all(filling, region, first, length);
    for (const struct scp_plan_piece *piece = first; piece < end; piece++)
        if (restorer_checksum((const void *)piece->address, piece->length) != piece->checksum)
            damaged(filling->restorer, piece);
    if (first->options & SCP_PLAN_GIVE_BACK)
        call(fallocate, restorer_plan_image(filling->restorer->plan, first->file),
             FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, first->offset, length);
    tell_progress(filling, first, length);
}

// ---- all pieces --------------------------------------------------------------------------------------------------------

static bool continues(const struct scp_plan_piece *last, const struct scp_plan_piece *next) {
    return next->kind == SCP_PLAN_READ && last->file == next->file && last->address + last->length == next->address &&
           last->offset + last->length == next->offset;
}

static void fill_pieces(struct filling *filling, const struct scp_plan_region *region,
                        const struct scp_plan_piece *piece, const struct scp_plan_piece *end) {
    while (piece < end) {
        const struct scp_plan_piece *first = piece++;
        uint64_t length = first->length;
        if (first->kind != SCP_PLAN_READ)
            continue;
        for (; piece < end && continues(piece - 1, piece); piece++)
            length += piece->length;
        fill_run(filling, region, first, piece, length);
    }
}

static uint64_t minimum(uint64_t one, uint64_t other) {
    return one < other ? one : other;
}

static void fill_all(struct filling *filling) {
    const struct scp_plan *plan = filling->restorer->plan;
    const struct scp_plan_region *regions = restorer_plan_table(plan, &plan->regions), *region = regions;
    const struct scp_plan_piece *pieces = restorer_plan_table(plan, &plan->pieces);
    uint64_t taken;
    while ((taken = __atomic_fetch_add(&filling->next, BATCH, __ATOMIC_RELAXED)) < plan->pieces.count) {
        uint64_t until = minimum(taken + BATCH, plan->pieces.count);
        while (taken < until && region < regions + plan->regions.count) {
            uint64_t end = minimum(region->first_piece + region->piece_count, until);
            if (taken < end)
                fill_pieces(filling, region, pieces + taken, pieces + end);
            taken = taken < end ? end : taken;
            if (taken < until)
                region++;
        }
    }
}

// ---- threads -----------------------------------------------------------------------------------------------------------

static _Noreturn void help(const void *argument) {
    fill_all((struct filling *)(uintptr_t)argument);
    for (;;)
        call(exit, 0);
}

static uint64_t bytes_to_read(const struct scp_plan *plan) {
    const struct scp_plan_piece *pieces = restorer_plan_table(plan, &plan->pieces);
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < plan->pieces.count; i++)
        bytes += pieces[i].kind == SCP_PLAN_READ ? pieces[i].length : 0;
    return bytes;
}

static uint32_t helpers_wanted(const struct scp_plan *plan) {
    uint64_t mask[128];
    uint32_t processors = 0;
    if (bytes_to_read(plan) < PARALLEL_MINIMUM)
        return 0;
    long bytes = call(sched_getaffinity, 0, sizeof mask, mask);
    for (long i = 0; i < bytes / 8; i++)
        for (uint64_t word = mask[i]; word; word &= word - 1)
            processors++;
    processors = processors > HELPERS_MAXIMUM ? HELPERS_MAXIMUM + 1 : processors;
    return processors > 1 ? processors - 1 : 0;
}

static long start_helper(struct filling *filling, uint32_t *tid, uint64_t stack) {
    struct clone_args arguments = {
        .flags =
            CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID,
        .child_tid = (uint64_t)(uintptr_t)tid,
        .stack = stack,
        .stack_size = HELPER_STACK,
    };
    *tid = 1; // until the kernel clears it
    long result = arch_thread(&arguments, sizeof arguments, help, filling);
    if (result < 0)
        *tid = 0;
    return result;
}

static void await_helper(uint32_t *tid) {
    uint32_t seen;
    while ((seen = __atomic_load_n(tid, __ATOMIC_ACQUIRE)) != 0)
        call(futex, tid, FUTEX_WAIT, seen, 0, 0, 0);
}

static int open_direct(struct restorer *restorer, uint32_t file) {
    char path[32];
    struct restorer_text text = {path, path + sizeof path - 1};
    if (!(restorer->plan->flags & SCP_PLAN_COLD))
        return -1;
    memset(path, 0, sizeof path);
    restorer_text_add(&text, "/proc/self/fd/");
    restorer_text_decimal(&text, (uint32_t)restorer_plan_image(restorer->plan, file));
    return (int)call(openat, AT_FDCWD, path, O_RDONLY | O_DIRECT | O_CLOEXEC, 0);
}

static struct scp_plan_progress *map_progress(const struct scp_plan *plan) {
    int memory = restorer_plan_descriptor(plan, SCP_PLAN_DESCRIPTOR_PROGRESS);
    long page = memory < 0 ? -EBADF : call(mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    return page < 0 && page > -4096 ? NULL : (struct scp_plan_progress *)page;
}

static void close_direct(const struct filling *filling) {
    for (uint32_t file = 0; file <= filling->restorer->plan->ancestor_count; file++)
        if (filling->direct[file] >= 0)
            call(close, filling->direct[file]);
}

void restorer_fill(struct restorer *restorer) {
    struct filling filling = {.restorer = restorer, .progress = map_progress(restorer->plan)};
    for (uint32_t file = 0; file <= restorer->plan->ancestor_count; file++)
        filling.direct[file] = open_direct(restorer, file);
    uint32_t wanted = helpers_wanted(restorer->plan), started = 0;
    long stacks = -ENOMEM;
    if (wanted > 0)
        stacks = call(mmap, 0, (long)wanted * HELPER_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool has_stacks = stacks > 0 || stacks < -4095;
    while (has_stacks && started < wanted &&
           start_helper(&filling, &filling.tids[started], (uint64_t)stacks + started * HELPER_STACK) >= 0)
        started++;
    fill_all(&filling);
    for (uint32_t i = 0; i < started; i++)
        await_helper(&filling.tids[i]);
    if (has_stacks)
        call(munmap, stacks, (long)wanted * HELPER_STACK);
    if (filling.progress)
        call(munmap, filling.progress, PAGE);
    close_direct(&filling);
}
