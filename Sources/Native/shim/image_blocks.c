// Runs of pages -> zero filter -> blocks -> the image.
//
// Every byte goes through a buffer of ours: what is checksummed is what is written, even where the program, another
// process, reclaim of MADV_FREE memory or a device changes the source meanwhile; and the checksum then reads from the
// cache what the copy has just put there, so that memory itself is read once.
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "memory.h"

// ---- blocks ----------------------------------------------------------------------------------------------------------

static int out_of_memory(struct scp_checkpoint *checkpoint) {
    return scp_fail(checkpoint, ENOMEM, "no memory for the table of blocks", NULL);
}

// Where pages of a run belong, and what they are.
struct target {
    const struct scp_region *region;
    const struct scp_block *place; // what they had: they go there again. NULL: to the end of the file
    uint32_t flags, origin;
    bool keep_zero;
};

static void sum_pages(uint64_t *sums, const uint8_t *bytes, size_t length) {
    for (size_t at = 0; at < length; at += SCP_PAGE)
        *sums++ = scp_checksum(bytes + at, SCP_PAGE, 0);
}

// Blocks stand one behind the other in the file, without holes (Docs/decisions/0003-packed-blocks.md).
static int store(struct scp_checkpoint *checkpoint, const struct target *target, uint64_t address, const uint8_t *bytes,
                 size_t length) {
    struct scp_memory *memory = checkpoint->image_private;
    struct scp_block block = {.address = address,
                              .length = length,
                              .offset = *scp_content_end(checkpoint),
                              .stored_length = length,
                              .checksum = memory->sums.count,
                              .encoding = target->origin,
                              .flags = target->flags};
    if (target->place != NULL) {
        block.offset = target->place->offset + (address - target->place->address);
        block.checksum = target->place->checksum + (address - target->place->address) / SCP_PAGE;
    } else {
        if (scp_vector_reserve(&memory->sums, length / SCP_PAGE) != 0)
            return out_of_memory(checkpoint);
        memory->sums.count += length / SCP_PAGE;
        *scp_content_end(checkpoint) += length;
    }
    uint8_t *room = scp_sink_room(checkpoint, length, block.offset);
    if (room == NULL)
        return -checkpoint->error;
    memcpy(room, bytes, length);
    sum_pages((uint64_t *)memory->sums.base + block.checksum, room, length);
    return scp_saved_keep(checkpoint, &block);
}

typedef uint64_t wide __attribute__((vector_size(32), aligned(8)));

// Most pages with content show it in the first bytes.
static bool is_zero_page(const uint8_t *page) {
    for (size_t at = 0; at < SCP_PAGE; at += 256) {
        const wide *words = (const wide *)(page + at);
        wide all = words[0] | words[1] | words[2] | words[3] | words[4] | words[5] | words[6] | words[7];
        if ((all[0] | all[1] | all[2] | all[3]) != 0)
            return false;
    }
    return true;
}

static int note_zero(struct scp_checkpoint *checkpoint, const struct target *target, uint64_t start, uint64_t end) {
    struct scp_block block = {
        .address = start, .length = end - start, .encoding = target->origin, .flags = target->flags | SCP_SAVED_ZERO};
    return start == end ? 0 : scp_saved_keep(checkpoint, &block);
}

// Blocks from bytes, which are (a copy of) the memory at address: zero pages, if they need not be kept, are only noted.
static int store_pages(struct scp_checkpoint *checkpoint, const struct target *target, uint64_t address,
                       const uint8_t *bytes, size_t length) {
    int result = 0;
    if (target->keep_zero)
        return store(checkpoint, target, address, bytes, length);
    for (size_t at = 0; result == 0 && at < length;) {
        size_t from = at;
        while (at < length && is_zero_page(bytes + at))
            at += SCP_PAGE;
        result = note_zero(checkpoint, target, address + from, address + at);
        from = at;
        while (at < length && !is_zero_page(bytes + at))
            at += SCP_PAGE;
        if (result == 0 && from < at)
            result = store(checkpoint, target, address + from, bytes + from, at - from);
    }
    return result;
}

int scp_blocks_guard(struct scp_checkpoint *checkpoint, uint64_t start, uint64_t end) {
    struct scp_block block = {.address = start, .length = end - start, .flags = SCP_BLOCK_GUARD};
    return scp_saved_keep(checkpoint, &block);
}

int scp_blocks_drop(struct scp_checkpoint *checkpoint, const struct scp_block *block) {
    struct scp_memory *memory = checkpoint->image_private;
    if (memory->encoder != NULL) {
        scp_encode_dead(checkpoint, block->stored_length);
        return 0;
    }
    struct scp_span *span = scp_vector_add(&memory->dropped);
    if (span == NULL)
        return out_of_memory(checkpoint);
    *span = (struct scp_span){block->offset, block->offset + block->stored_length};
    return 0;
}

uint32_t scp_blocks_origin(const struct scp_region *region) {
    uint64_t origin[] = {region->device,
                         region->inode,
                         region->file_size,
                         region->file_mtime,
                         region->file_offset - region->start,
                         region->vm_flags >> SCP_VM_ORIGIN_SHIFT};
    return (uint32_t)scp_checksum(origin, sizeof origin, 0);
}

// ---- runs ------------------------------------------------------------------------------------------------------------

// Pages are cut at multiples of the largest block, so that a page that comes or goes moves no other block's bounds.
static size_t piece(const struct scp_run *run, uint64_t at) {
    uint64_t cut = (at | (SCP_BLOCK_MAXIMUM - 1)) + 1;
    return (size_t)((cut < run->end ? cut : run->end) - at);
}

static bool must_keep_zero(const struct scp_region *region, enum scp_run_class class) {
    // Where a file lies beneath, a page that no block covers is the file's.
    if (region->kind == SCP_REGION_FILE)
        return class != SCP_RUN_CLEAN;
    return region->kind == SCP_REGION_SHARED_FILE;
}

static int unreadable(struct scp_checkpoint *checkpoint, const struct scp_region *region, int error) {
    char name[512];
    scp_memory_name(checkpoint, region, name);
    return scp_fail(checkpoint, error, "cannot read the memory at ", name, NULL);
}

// The page that `target` has in the file is not there any more.
static int drop_page(struct scp_checkpoint *checkpoint, const struct target *target, uint64_t at) {
    if (target->place == NULL)
        return 0;
    struct scp_block page = {.offset = target->place->offset + (at - target->place->address),
                             .stored_length = SCP_PAGE};
    return scp_blocks_drop(checkpoint, &page);
}

// What to make of a page that cannot be read: 0 = nothing is there, 1 = nor behind it, -errno.
static int missing_page(struct scp_checkpoint *checkpoint, const struct target *target, const struct scp_run *run,
                        uint64_t at, int error) {
    const struct scp_memory *memory = checkpoint->image_private;
    const struct scp_region *region = target->region;
    if (memory->pass == SCP_PASS_ROUND) // unmapped by the program meanwhile; what comes there counts as written
        return drop_page(checkpoint, target, at);
    switch (run->class) {
    case SCP_RUN_MAYBE:
        return 0;
    case SCP_RUN_CLEAN: // but an older image stands for memory: all of it must be there
        if (region->vm_flags & SCP_VM_LAZY)
            return unreadable(checkpoint, region, error);
        return target->place == NULL ? 1 : drop_page(checkpoint, target, at);
    case SCP_RUN_SWAPPED:
        return error == -EFAULT ? scp_blocks_guard(checkpoint, at, at + SCP_PAGE)
                                : unreadable(checkpoint, region, error);
    default:
        return unreadable(checkpoint, region, error);
    }
}

static int64_t read_piece(struct scp_memory *memory, const struct scp_region *region, const struct scp_run *run,
                          uint64_t at, size_t length) {
    if (run->class == SCP_RUN_CLEAN && memory->pass == SCP_PASS_ROUND && scp_lazy_readable(memory, region))
        return scp_lazy_read(memory, region, at, memory->staging, length);
    if (region->kind != SCP_REGION_VVAR)
        return scp_read_memory(memory, at, memory->staging, length);
    int result = scp_read_special_page(memory, at, memory->staging);
    return result < 0 ? result : (int64_t)SCP_PAGE;
}

static int store_by_reading(struct scp_checkpoint *checkpoint, const struct target *target, const struct scp_run *run) {
    struct scp_memory *memory = checkpoint->image_private;
    for (uint64_t at = run->start; at < run->end;) {
        struct scp_block shared;
        if (run->class == SCP_RUN_CLEAN && target->place == NULL &&
            scp_file_pages_find(checkpoint, target->region, at, run->end, &shared)) {
            shared.encoding = target->origin;
            shared.flags = target->flags;
            if (scp_saved_keep(checkpoint, &shared) < 0)
                return -checkpoint->error;
            at += shared.length;
            continue;
        }
        int64_t got = read_piece(memory, target->region, run, at, piece(run, at));
        int result;
        if (got < 0) {
            result = missing_page(checkpoint, target, run, at, (int)got);
            if (result > 0)
                return 0;
            got = SCP_PAGE;
        } else
            result = store_pages(checkpoint, target, at, memory->staging, (size_t)got);
        if (result < 0)
            return result;
        at += (uint64_t)got;
    }
    return 0;
}

static int store_directly(struct scp_checkpoint *checkpoint, const struct target *target, const struct scp_run *run) {
    for (uint64_t at = run->start; at < run->end;) {
        size_t length = piece(run, at);
        int result = store_pages(checkpoint, target, at, (const uint8_t *)(uintptr_t)at, length);
        if (result < 0)
            return result;
        at += length;
    }
    return 0;
}

static int store_run(struct scp_checkpoint *checkpoint, const struct target *target, const struct scp_run *run) {
    const struct scp_memory *memory = checkpoint->image_private;
    // While the program runs it may unmap what is being read, and only a system call survives that.
    if (run->class == SCP_RUN_PRESENT && memory->pass == SCP_PASS_LAST)
        return store_directly(checkpoint, target, run);
    return store_by_reading(checkpoint, target, run);
}

static struct target target_of(const struct scp_region *region, const struct scp_run *run) {
    bool clean = run->class == SCP_RUN_CLEAN;
    return (struct target){.region = region,
                           .flags = clean ? SCP_SAVED_CLEAN : 0,
                           .origin = clean ? scp_blocks_origin(region) : 0,
                           .keep_zero = must_keep_zero(region, run->class)};
}

int scp_blocks_new(struct scp_checkpoint *checkpoint, const struct scp_region *region, const struct scp_run *run) {
    struct target target = target_of(region, run);
    return store_run(checkpoint, &target, run);
}

int scp_blocks_again(struct scp_checkpoint *checkpoint, const struct scp_region *region, const struct scp_run *run,
                     const struct scp_block *place) {
    struct target target = target_of(region, run);
    const struct scp_memory *memory = checkpoint->image_private;
    if (memory->encoder != NULL) { // what was compressed has no place to write to
        scp_encode_dead(checkpoint, run->end - run->start);
        return store_run(checkpoint, &target, run);
    }
    target.place = place;
    target.keep_zero = true; // the place is there anyway
    return store_run(checkpoint, &target, run);
}
