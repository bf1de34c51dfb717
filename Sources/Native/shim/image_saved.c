// What of memory is saved, pass after pass.
//
// A pass goes over the runs of pages in ascending order, and beside them over what the last pass has left (saved). It
// makes the next table (checkpoint->blocks):
//
//   saved    |--- a ---|      |------- b -------|   |-- c --|
//   runs          |---- written ----|--unchanged--|
//   round    a    again  new   again        b    new   c        what no run covers stays
//   last     -    again  new   again        b    new   -        what no run covers is no more
//
// A page that was written again is saved again in its old place of the file: no image is ever seen before it is complete,
// so that it stays packed (Docs/decisions/0003), without dead bytes, however often the program writes.
#include <errno.h>
#include <string.h>
#include <fcntl.h>
#include <linux/falloc.h>

#include "memory.h"

#define SETTLE_STEP (4ull << 20) // bytes
#define GAP_MAXIMUM (64ull << 10) // bytes
#define PUNCH_MINIMUM (256u << 10) // bytes; less is overwritten with zeros: holes are slow to remove

static struct scp_memory *memory_of(const struct scp_checkpoint *checkpoint) {
    return checkpoint->image_private;
}

// ---- pieces of blocks ---------------------------------------------------------------------------------------------------

static uint64_t end_of(const struct scp_block *block) {
    return block->address + block->length;
}

static bool is_stored(const struct scp_block *block) {
    return block->stored_length != 0;
}

// It has a place in this image, where its pages can be saved again.
static bool is_own(const struct scp_block *block) {
    return is_stored(block) && block->file == 0;
}

// The block's first `length` bytes.
static struct scp_block front(const struct scp_block *block, uint64_t length) {
    struct scp_block part = *block;
    part.length = length;
    part.stored_length = is_stored(block) ? length : 0;
    return part;
}

static void cut_front(struct scp_block *block, uint64_t length) {
    block->address += length;
    block->length -= length;
    if (is_stored(block)) {
        block->offset += length;
        block->stored_length = block->length;
        block->checksum += length / SCP_PAGE;
    }
}

static bool continues(const struct scp_block *last, const struct scp_block *next) {
    if (end_of(last) != next->address || last->flags != next->flags || last->encoding != next->encoding ||
        last->file != next->file || is_stored(last) != is_stored(next))
        return false;
    if (!is_stored(last))
        return true; // zero pages, guards
    return last->offset + last->length == next->offset && last->checksum + last->length / SCP_PAGE == next->checksum &&
           (next->address & (SCP_BLOCK_MAXIMUM - 1)) != 0;
}

int scp_saved_keep(struct scp_checkpoint *checkpoint, const struct scp_block *block) {
    struct scp_vector *blocks = &checkpoint->blocks;
    struct scp_block *last = blocks->count ? scp_vector_at(blocks, blocks->count - 1) : NULL;
    bool same_region = block->address != memory_of(checkpoint)->saved_region;
    if (last != NULL && same_region && continues(last, block)) {
        last->length += block->length;
        last->stored_length += block->stored_length;
        return 0;
    }
    struct scp_block *added = scp_vector_add(blocks);
    if (added == NULL)
        return scp_fail(checkpoint, ENOMEM, "no memory for the table of blocks", NULL);
    *added = *block;
    return 0;
}

// ---- beside the saved blocks --------------------------------------------------------------------------------------------

// What is left of the first saved block that this pass has not used up; NULL = none.
static struct scp_block *head(struct scp_memory *memory) {
    if (memory->saved_head.length == 0) {
        const struct scp_block *next = scp_vector_at(&memory->saved, memory->saved_next);
        if (next == NULL)
            return NULL;
        memory->saved_head = *next;
        memory->saved_next++;
    }
    return &memory->saved_head;
}

// Following blocks that end before `limit` go over as they are: thousands, where an image has many ancestors. Those with one
// of the `flags` stop it, and so do gaps where `at` says from where on there may be none; it is then moved. (The first block may
// continue the table's last one: it is taken alone.)
static int keep_following(struct scp_checkpoint *checkpoint, uint64_t limit, uint32_t flags, uint64_t *at) {
    struct scp_memory *memory = memory_of(checkpoint);
    const struct scp_block *first = scp_vector_at(&memory->saved, memory->saved_next), *block = first;
    const struct scp_block *end = (const struct scp_block *)memory->saved.base + memory->saved.count;
    if (first == NULL || memory->saved_head.length != 0)
        return 0;
    for (; block < end && end_of(block) <= limit && !(block->flags & flags); block++) {
        if (at != NULL && block->address != *at)
            break;
        if (at != NULL)
            *at = end_of(block);
    }
    memory->saved_next += (size_t)(block - first);
    if (scp_vector_append(&checkpoint->blocks, first, (size_t)(block - first)) != 0)
        return scp_fail(checkpoint, ENOMEM, "no memory for the table of blocks", NULL);
    return 0;
}

// What no run has covered.
static int leave(struct scp_checkpoint *checkpoint, const struct scp_block *part) {
    if (memory_of(checkpoint)->pass == SCP_PASS_ROUND)
        return scp_saved_keep(checkpoint, part);
    return is_own(part) ? scp_blocks_drop(checkpoint, part) : 0;
}

static int leave_until(struct scp_checkpoint *checkpoint, uint64_t address) {
    struct scp_block *block;
    int result = 0;
    while (result == 0 && (block = head(memory_of(checkpoint))) != NULL && block->address < address) {
        uint64_t length = end_of(block) <= address ? block->length : address - block->address;
        struct scp_block part = front(block, length);
        cut_front(block, length);
        result = leave(checkpoint, &part);
        if (result == 0 && memory_of(checkpoint)->pass == SCP_PASS_ROUND)
            result = keep_following(checkpoint, address, 0, NULL);
    }
    return result;
}

static bool is_kept(const struct scp_memory *memory, const struct scp_region *region, const struct scp_run *run,
                    const struct scp_block *part) {
    bool clean = part->flags & SCP_SAVED_CLEAN;
    if (run->class == SCP_RUN_GUARD)
        return false;
    if (run->class == SCP_RUN_CLEAN) { // a round can't tell what of it was written before that: the last pass does
        bool same_file = part->encoding == scp_blocks_origin(region);
        return memory->pass == SCP_PASS_ROUND ? !clean || same_file : clean && same_file;
    }
    return run->unchanged && !clean;
}

// The place stays the block's own.
static int defer(struct scp_checkpoint *checkpoint, const struct scp_run *run, struct scp_block part) {
    if (!is_own(&part))
        part = (struct scp_block){.address = part.address, .length = part.length};
    part.flags = SCP_SAVED_DEFERRED;
    part.encoding = run->class;
    memory_of(checkpoint)->deferred_bytes += part.length;
    return scp_saved_keep(checkpoint, &part);
}

static int take_again(struct scp_checkpoint *checkpoint, const struct scp_region *region, const struct scp_run *run,
                      const struct scp_block *part) {
    struct scp_run piece = {.start = part->address, .end = end_of(part), .class = run->class};
    if (run->class == SCP_RUN_GUARD)
        return is_own(part) ? scp_blocks_drop(checkpoint, part) : 0;
    if (scp_child_defers(memory_of(checkpoint), region, run->class))
        return defer(checkpoint, run, *part);
    return is_own(part) ? scp_blocks_again(checkpoint, region, &piece, part)
                        : scp_blocks_new(checkpoint, region, &piece);
}

static int take_new(struct scp_checkpoint *checkpoint, const struct scp_region *region, const struct scp_run *run,
                    uint64_t start, uint64_t end) {
    struct scp_run piece = {.start = start, .end = end, .class = run->class};
    if (run->class == SCP_RUN_GUARD)
        return 0;
    if (scp_child_defers(memory_of(checkpoint), region, run->class))
        return defer(checkpoint, run, (struct scp_block){.address = start, .length = end - start});
    return scp_blocks_new(checkpoint, region, &piece);
}

int scp_saved_run(struct scp_checkpoint *checkpoint, const struct scp_region *region, const struct scp_run *run) {
    struct scp_memory *memory = memory_of(checkpoint);
    memory->saved_region = region->start;
    int result = leave_until(checkpoint, run->start);
    for (uint64_t at = run->start; result == 0 && at < run->end;) {
        struct scp_block *block = head(memory);
        uint64_t next = block == NULL || block->address >= run->end ? run->end : block->address;
        if (next > at) {
            result = take_new(checkpoint, region, run, at, next);
            at = next;
            continue;
        }
        uint64_t length = end_of(block) < run->end ? block->length : run->end - at;
        struct scp_block part = front(block, length);
        bool kept = is_kept(memory, region, run, &part);
        if (kept && scp_same_must_be_shown(memory, region, run))
            part = front(block, length = scp_same_length(memory, region, run, &part, &kept));
        cut_front(block, length);
        result = kept ? scp_saved_keep(checkpoint, &part) : take_again(checkpoint, region, run, &part);
        at += length;
        if (result == 0 && run->unchanged && !scp_same_must_be_shown(memory, region, run))
            result = keep_following(checkpoint, run->end, SCP_SAVED_CLEAN, &at);
    }
    if (result == 0 && run->class == SCP_RUN_GUARD && memory->pass == SCP_PASS_LAST)
        result = scp_blocks_guard(checkpoint, run->start, run->end);
    return result;
}

// ---- passes -------------------------------------------------------------------------------------------------------------

void scp_saved_begin(struct scp_checkpoint *checkpoint, enum scp_pass pass) {
    struct scp_memory *memory = memory_of(checkpoint);
    struct scp_vector last = checkpoint->blocks;
    checkpoint->blocks = memory->saved;
    memory->saved = last;
    checkpoint->blocks.count = 0;
    memory->saved_next = 0;
    memory->saved_head.length = 0;
    memory->pass = pass;
    memory->whole = false;
}

int scp_saved_end(struct scp_checkpoint *checkpoint) {
    int result = leave_until(checkpoint, UINT64_MAX);
    memory_of(checkpoint)->whole = result == 0;
    return result;
}

// ---- what was deferred --------------------------------------------------------------------------------------------------

static int take_deferred(struct scp_checkpoint *checkpoint, const struct scp_region *region,
                         const struct scp_block *block, bool gives_back) {
    struct scp_run run = {.class = (enum scp_run_class)block->encoding};
    int result = 0;
    for (uint64_t at = block->address; result == 0 && at < end_of(block); at = run.end) {
        uint64_t cut = (at | (SETTLE_STEP - 1)) + 1;
        run.start = at;
        run.end = cut < end_of(block) ? cut : end_of(block);
        result = is_stored(block) ? scp_blocks_again(checkpoint, region, &run, block)
                                  : scp_blocks_new(checkpoint, region, &run);
        if (gives_back)
            scp_child_give_back(run.start, run.end);
    }
    return result;
}

// Where it is, right behind `block`, in memory and in the file.
static bool follows(const struct scp_block *block, const struct scp_block *next) {
    return next != NULL && is_own(next) && next->address == end_of(block) &&
           next->offset == block->offset + block->length;
}

// What lies in between two deferred blocks of a region is as it was saved, and one large write is quicker than two small ones.
static bool is_gap(const struct scp_memory *memory, const struct scp_region *region, size_t index) {
    const struct scp_block *block = scp_vector_at(&memory->saved, index),
                           *next = scp_vector_at(&memory->saved, index + 1);
    if (index == 0 || memory->encoder != NULL || block->length > GAP_MAXIMUM || block->flags != 0)
        return false;
    return follows(block - 1, block) && follows(block, next) && (block - 1)->address >= region->start &&
           end_of(next) <= region->end && (block - 1)->flags & next->flags & SCP_SAVED_DEFERRED;
}

static int settle_block(struct scp_checkpoint *checkpoint, const struct scp_region *region, size_t index,
                        bool gives_back) {
    struct scp_memory *memory = memory_of(checkpoint);
    const struct scp_block *block = scp_vector_at(&memory->saved, index);
    if (block->flags & SCP_SAVED_DEFERRED)
        return take_deferred(checkpoint, region, block, gives_back);
    if (!gives_back || !is_gap(memory, region, index))
        return scp_saved_keep(checkpoint, block);
    struct scp_block taken = *block;
    taken.encoding = (block - 1)->encoding;
    return take_deferred(checkpoint, region, &taken, gives_back);
}

int scp_saved_settle(struct scp_checkpoint *checkpoint, bool gives_back) {
    struct scp_memory *memory = memory_of(checkpoint);
    size_t number = 0;
    int result = 0;
    memory->defers = false;
    scp_saved_begin(checkpoint, SCP_PASS_LAST);
    for (size_t i = 0; result == 0 && i < memory->saved.count; i++) {
        const struct scp_block *block = scp_vector_at(&memory->saved, i);
        const struct scp_region *region = scp_vector_at(&checkpoint->regions, number);
        while (region != NULL && region->end <= block->address)
            region = scp_vector_at(&checkpoint->regions, ++number);
        if (region == NULL)
            return scp_fail(checkpoint, EINVAL, "a block of memory belongs to no region", NULL);
        memory->saved_region = region->start;
        result = settle_block(checkpoint, region, i, gives_back);
    }
    return result;
}

// ---- after the pause ----------------------------------------------------------------------------------------------------

static int write_zeros(struct scp_checkpoint *checkpoint, uint64_t offset, uint64_t length) {
    struct scp_memory *memory = memory_of(checkpoint);
    if (length >= PUNCH_MINIMUM &&
        scp_call(SYS_fallocate, checkpoint->image, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) == 0)
        return 0;
    int result = 0;
    memset(memory->staging, 0, length < SCP_BLOCK_MAXIMUM ? (size_t)length : SCP_BLOCK_MAXIMUM);
    while (result == 0 && length > 0) {
        size_t part = length < SCP_BLOCK_MAXIMUM ? (size_t)length : SCP_BLOCK_MAXIMUM;
        result = scp_image_write(checkpoint, memory->staging, part, offset);
        offset += part;
        length -= part;
    }
    return result;
}

// Bytes that no block has any more are zero, like all that nothing covers.
static int clear_dropped(struct scp_checkpoint *checkpoint) {
    const struct scp_vector *dropped = &memory_of(checkpoint)->dropped;
    const struct scp_span *spans = dropped->base;
    int result = 0;
    for (size_t i = 0; result == 0 && i < dropped->count;) {
        uint64_t start = spans[i].start, end = spans[i].end;
        for (i++; i < dropped->count && spans[i].start == end; i++)
            end = spans[i].end;
        result = write_zeros(checkpoint, start, end - start);
    }
    return result;
}

static void complete(const struct scp_memory *memory, const struct scp_region *region, struct scp_block *block) {
    const uint64_t *sums = memory->sums.base;
    bool clean = block->flags & SCP_SAVED_CLEAN && !(region->vm_flags & SCP_VM_LAZY);
    block->flags = clean ? SCP_BLOCK_CLEAN : 0;
    block->encoding = SCP_ENCODING_RAW;
    block->checksum = scp_checksum(sums + block->checksum, block->length / SCP_PAGE * sizeof *sums, 0);
}

// One block of the image, from one of the last pass's. *number moves over the regions.
static int finish_block(struct scp_checkpoint *checkpoint, const struct scp_block *saved, size_t *number) {
    struct scp_region *region = scp_vector_at(&checkpoint->regions, *number);
    while (region != NULL && region->end <= saved->address)
        region = scp_vector_at(&checkpoint->regions, ++*number);
    const struct scp_block *last = scp_vector_at(&checkpoint->blocks, checkpoint->blocks.count - 1);
    bool in_order = last == NULL || end_of(last) <= saved->address;
    if (region == NULL || !in_order || saved->address < region->start || end_of(saved) > region->end)
        return scp_fail(checkpoint, EINVAL, "a block of memory has no region of its own", NULL);
    struct scp_block *block = scp_vector_add(&checkpoint->blocks);
    if (block == NULL)
        return scp_fail(checkpoint, ENOMEM, "no memory for the table of blocks", NULL);
    *block = *saved;
    if (block->flags & SCP_BLOCK_GUARD)
        region->flags |= SCP_REGION_GUARDS;
    else
        complete(memory_of(checkpoint), region, block);
    checkpoint->memory_bytes += block->stored_length;
    return 0;
}

// What the last pass has left stays as it is, in memory->saved: the next image may build on it.
int scp_saved_finish(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = memory_of(checkpoint);
    struct scp_vector table = checkpoint->blocks;
    size_t number = 0;
    int result = 0;
    checkpoint->blocks = memory->saved;
    checkpoint->blocks.count = 0;
    memory->saved = table;
    memory->finished = true;
    for (size_t i = 0; result == 0 && i < table.count; i++) {
        const struct scp_block *saved = scp_vector_at(&memory->saved, i);
        if (!(saved->flags & SCP_SAVED_ZERO))
            result = finish_block(checkpoint, saved, &number);
    }
    return result < 0 ? result : clear_dropped(checkpoint);
}
