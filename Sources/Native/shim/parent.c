// The parent: the last committed image, and what is still as it was then. The next image need not hold that again.
//
//   image 4    rounds, pause                committed
//                                 offer ---> committed    the table of blocks, their pages' sums, the tracker stay
//   (the program runs)                                    what it writes loses its mark
//   image 5    adopt   rounds, pause                      begins with that table: blocks lead to image 4, or wherever
//                      settle                             image 4's led; what was written is saved anew
//
// A block says in which file its bytes are (scp_block.file), so that no reference leads to another one. What is taken over
// is never more than the kernel's marks prove (Docs/decisions/0009): where anything is in doubt, the next image is a full one.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "memory.h"
#include "worker.h"

#define WORTH_BYTES (8ull << 20) // of memory; less is written in a few milliseconds
#define FEW_BYTES (32ull << 20) // the pause takes as much again, after an image that was not committed
#define HUGE_SHARE 4 // unasked, at most one part in so many of private memory may be in huge pages, which it splits

SCP_FORK_DATA _Atomic bool scp_memory_tracked;

static struct {
    bool stands, pending; // pending: offered, and neither confirmed nor rejected
    int tracker; // userfaultfd, in the checkpoint thread's private table
    struct scp_vector blocks, sums; // as in struct scp_memory; file n is files[n - 1]
    struct scp_vector files; // struct scp_parent_file
    struct scp_marks marks;
    uint64_t bytes; // of memory that blocks have
    uint64_t newest_bytes; // of those, what the newest of the files has
    uint64_t full_bytes, chain_bytes; // written: the full image, those after it
    uint32_t length; // images of the chain, the full one counts
    uint32_t resting; // that many images will be full ones, because the program writes too much in between
} parent;

bool scp_parent_tracks(void) {
    return parent.stands;
}

static void close_tables(void) {
    scp_vector_close(&parent.blocks);
    scp_vector_close(&parent.sums);
    scp_vector_close(&parent.files);
    scp_vector_close(&parent.marks.all);
}

static void drop(void) {
    if (!parent.stands)
        return;
    parent.stands = parent.pending = false;
    close_tables();
    scp_call(SYS_close, parent.tracker);
    atomic_store(&scp_memory_tracked, false);
}

SCP_FORK_CODE void scp_image_forget(void) {
    scp_lazy_forget();
    atomic_store(&scp_memory_tracked, false);
    if (parent.stands) // in a child of fork each page that is written is a page copied
        memset(&parent, 0, sizeof parent);
}

// ---- the next image builds on it ------------------------------------------------------------------------------------------

static uint32_t every(const struct scp_checkpoint *checkpoint) {
    return checkpoint->order->incremental & ~SCP_INCREMENTAL_ASKED;
}

// The end of the path without its last `parts`.
static size_t above(const char *path, int parts) {
    size_t length = strlen(path);
    for (; parts > 0; parts--)
        while (length > 0 && path[--length] != '/')
            ;
    return length;
}

// The images are where a restart will look for them: in their generations' folders, beside the new one's.
static bool is_there(const struct scp_checkpoint *checkpoint, const struct scp_parent_file *file) {
    char path[4096 + 300], number[8];
    struct stat status;
    size_t length = above(checkpoint->order->path, 2);
    memcpy(path, checkpoint->order->path, length);
    for (uint32_t i = 0, rest = file->generation; i < 6; i++, rest /= 10)
        number[5 - i] = (char)('0' + rest % 10);
    number[6] = '\0';
    scp_concat(path + length, sizeof path - length, "/gen-", number, "/", file->name, (char *)NULL);
    return scp_call(SYS_newfstatat, AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           status.st_dev == file->device && status.st_ino == file->inode &&
           (file->grows || (uint64_t)status.st_size == file->size);
}

static bool all_there(const struct scp_checkpoint *checkpoint) {
    for (size_t i = 0; i < parent.files.count; i++)
        if (!is_there(checkpoint, scp_vector_at(&parent.files, i)))
            return false;
    return true;
}

static bool is_usable(const struct scp_checkpoint *checkpoint) {
    uint32_t mode = checkpoint->order->snapshot;
    return parent.stands && !parent.pending && (mode == SCP_SNAPSHOT_AUTO || mode == SCP_SNAPSHOT_PRECOPY) &&
           parent.length < every(checkpoint) && parent.files.count < SCP_ANCESTORS_MAXIMUM &&
           scp_tracker_obstacle() == NULL && all_there(checkpoint);
}

// Less than half of it has been written since; else the tracker only costs time, and rests for a while.
static bool is_worth_it(struct scp_checkpoint *checkpoint) {
    size_t strings = checkpoint->strings.count;
    if (scp_regions_examine(checkpoint) < 0)
        return false;
    checkpoint->strings.count = strings; // the pause names everything again
    if (scp_pages_written_in_all(checkpoint) * SCP_PAGE <= parent.bytes / 2)
        return true;
    parent.resting = every(checkpoint) - 1;
    return false;
}

static void hand_over(struct scp_vector *from, struct scp_vector *to) {
    scp_vector_close(to);
    *to = *from;
    memset(from, 0, sizeof *from);
}

static void hand_over_marks(struct scp_marks *from, struct scp_marks *to) {
    hand_over(&from->all, &to->all);
    to->huge_bytes = from->huge_bytes;
    to->took = from->took;
    to->old = true;
}

bool scp_parent_marks(struct scp_memory *memory) {
    if (!parent.stands || parent.marks.all.count == 0)
        return false;
    hand_over_marks(&parent.marks, &memory->marks);
    return true;
}

bool scp_parent_adopt(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    if (parent.resting > 0)
        parent.resting--;
    if (!is_usable(checkpoint) || scp_tracker_ready(memory) != 0) {
        drop();
        return false;
    }
    memory->tracker.descriptor = parent.tracker;
    parent.stands = false;
    if (!is_worth_it(checkpoint)) {
        close_tables();
        scp_tracker_close(checkpoint); // in steps: it has marked much
        return false;
    }
    hand_over(&parent.blocks, &checkpoint->blocks);
    hand_over(&parent.sums, &memory->sums);
    hand_over(&parent.files, &memory->files);
    memory->builds_on = memory->whole = true;
    return true;
}

// ---- in the pause ---------------------------------------------------------------------------------------------------------

// Into an ascending row, once.
static void sort_in(uint32_t *row, uint32_t *count, uint32_t number) {
    for (uint32_t i = 0; i < *count; i++)
        if (row[i] == number)
            return;
    uint32_t at = (*count)++;
    for (; at > 0 && row[at - 1] > number; at--)
        row[at] = row[at - 1];
    row[at] = number;
}

int scp_parent_settle(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    struct scp_block *blocks = checkpoint->blocks.base;
    struct scp_parent_file *files = memory->files.base;
    uint32_t place[SCP_ANCESTORS_MAXIMUM + 1] = {1}, kept = 0; // 1: the image itself, and files with a block
    for (size_t i = 0, seen = 0; i < checkpoint->blocks.count && seen < memory->files.count; i++) {
        seen += place[blocks[i].file] == 0;
        place[blocks[i].file] = 1;
    }
    for (uint32_t i = 1; i <= memory->files.count; i++) {
        if (place[i] == 0)
            continue;
        files[kept++] = files[i - 1];
        place[i] = kept;
        if (files[kept - 1].generation == checkpoint->order->generation)
            sort_in(checkpoint->file_pages, &checkpoint->file_page_count, files[kept - 1].maker);
        else
            sort_in(checkpoint->ancestors, &checkpoint->ancestor_count, files[kept - 1].generation);
    }
    place[0] = 0;
    bool all = kept == memory->files.count;
    memory->files.count = kept;
    for (size_t i = 0; i < checkpoint->blocks.count && !all; i++)
        blocks[i].file = place[blocks[i].file];
    return 0;
}

// ---- it becomes the parent itself --------------------------------------------------------------------------------------------

static bool splits_huge_pages(const struct scp_memory *memory) {
    uint64_t resident = scp_memory_value("/proc/self/status", "RssAnon:");
    return resident == UINT64_MAX || memory->marks.huge_bytes > resident / HUGE_SHARE;
}

bool scp_parent_wanted(const struct scp_checkpoint *checkpoint) {
    const struct scp_memory *memory = checkpoint->image_private;
    uint32_t length = memory->builds_on ? parent.length + 1 : 1;
    bool long_enough = length >= every(checkpoint) || memory->files.count + 1 >= SCP_ANCESTORS_MAXIMUM;
    bool heavy = memory->builds_on && parent.chain_bytes + checkpoint->bytes_written > parent.full_bytes;
    return memory->tracker.descriptor >= 0 && checkpoint->snapshot == SCP_SNAPSHOT_PRECOPY &&
           !scp_child_runs(checkpoint) && memory->tracker.lost.count == 0 && memory->deferred_bytes == 0 &&
           !(checkpoint->order->flags & SCP_CHECKPOINT_STAY_STOPPED) && !long_enough && !heavy && parent.resting == 0;
}

static bool is_of_this_generation(const struct scp_checkpoint *checkpoint, const struct scp_block *block) {
    const struct scp_memory *memory = checkpoint->image_private;
    const struct scp_parent_file *files = memory->files.base;
    return block->file == 0 || files[block->file - 1].generation == checkpoint->order->generation;
}

// The sums of pages that were saved again, or are no more, are in nobody's way until they are as many as the others.
static int compact_sums(struct scp_checkpoint *checkpoint, struct scp_vector *table, uint64_t pages) {
    struct scp_memory *memory = checkpoint->image_private;
    struct scp_block *blocks = table->base;
    struct scp_vector sums;
    if (memory->sums.count <= 2 * pages)
        return 0;
    int result = scp_vector_open(&sums, sizeof(uint64_t), pages + 16);
    for (size_t i = 0; result == 0 && i < table->count; i++) {
        const uint64_t *from = (const uint64_t *)memory->sums.base + blocks[i].checksum;
        blocks[i].checksum = sums.count;
        result = scp_vector_append(&sums, from, blocks[i].stored_length / SCP_PAGE);
    }
    if (result == 0)
        hand_over(&sums, &memory->sums);
    else
        scp_vector_close(&sums);
    return result;
}

// The checkpoint's tables, which it does not need any more. With what stands in this generation as well, or without.
static int take_tables(struct scp_checkpoint *checkpoint, bool own) {
    struct scp_memory *memory = checkpoint->image_private;
    struct scp_vector *table = memory->finished ? &memory->saved : &checkpoint->blocks;
    struct scp_block *blocks = table->base;
    uint32_t newest = (uint32_t)memory->files.count + 1;
    size_t kept = 0;
    parent.bytes = parent.newest_bytes = 0;
    for (size_t i = 0; i < table->count; i++) {
        struct scp_block block = blocks[i];
        bool has_place = block.stored_length != 0 || block.flags & SCP_SAVED_ZERO;
        bool lasts = own || !block.stored_length || !is_of_this_generation(checkpoint, &block);
        if (!has_place || block.flags & SCP_SAVED_DEFERRED || !lasts)
            continue;
        parent.bytes += block.stored_length;
        parent.newest_bytes += block.file ? 0 : block.stored_length;
        if (block.stored_length != 0 && block.file == 0)
            block.file = newest;
        blocks[kept++] = block;
    }
    table->count = kept;
    int result = compact_sums(checkpoint, table, parent.bytes / SCP_PAGE);
    if (result < 0)
        return result;
    hand_over(table, &parent.blocks);
    hand_over(&memory->sums, &parent.sums);
    hand_over(&memory->files, &parent.files);
    hand_over_marks(&memory->marks, &parent.marks);
    parent.tracker = memory->tracker.descriptor;
    memory->tracker.descriptor = -1;
    return 0;
}

static int describe(const struct scp_checkpoint *checkpoint, struct scp_parent_file *file) {
    const char *path = checkpoint->order->path, *name = path + above(path, 1) + 1;
    struct stat status;
    long result = scp_call(SYS_fstat, checkpoint->image, &status);
    if (result < 0 || strlen(name) >= sizeof file->name)
        return result < 0 ? (int)result : -ENAMETOOLONG;
    *file = (struct scp_parent_file){.generation = checkpoint->order->generation,
                                     .metadata_checksum = checkpoint->metadata_checksum,
                                     .device = status.st_dev,
                                     .inode = status.st_ino,
                                     .size = (uint64_t)status.st_size};
    memcpy(file->name, name, strlen(name) + 1);
    return 0;
}

void scp_parent_offer(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    bool asked = checkpoint->order->incremental & SCP_INCREMENTAL_ASKED, adds = memory->builds_on;
    struct scp_parent_file file;
    if (!scp_parent_wanted(checkpoint) || scp_tracker_obstacle() != NULL || describe(checkpoint, &file) < 0)
        return;
    if (!asked && (checkpoint->memory_bytes < WORTH_BYTES || (!adds && splits_huge_pages(memory))))
        return;
    if (scp_vector_append(&memory->files, &file, 1) < 0)
        return;
    memory->files.count--; // counted when blocks have been told
    if (take_tables(checkpoint, true) < 0)
        return;
    parent.files.count++;
    parent.length = adds ? parent.length + 1 : 1;
    parent.full_bytes = adds ? parent.full_bytes : checkpoint->bytes_written;
    parent.chain_bytes = adds ? parent.chain_bytes + checkpoint->bytes_written : 0;
    parent.stands = parent.pending = true;
}

void scp_image_committed(void) {
    parent.pending = false;
}

// ---- or does not -------------------------------------------------------------------------------------------------------------

// What only the newest generation has, whose files are the last of the table, is taken out of the tables: such pages carry the
// tracker's mark and belong to no block, so that the next pause takes them.
static void strip_newest(void) {
    struct scp_block *blocks = parent.blocks.base;
    const struct scp_parent_file *files = parent.files.base;
    uint32_t newest = files[parent.files.count - 1].generation;
    size_t kept = 0;
    while (parent.files.count > 0 && files[parent.files.count - 1].generation == newest)
        parent.files.count--;
    parent.bytes = 0;
    for (size_t i = 0; i < parent.blocks.count; i++)
        if (blocks[i].stored_length == 0 || blocks[i].file <= parent.files.count) {
            parent.bytes += blocks[i].stored_length;
            blocks[kept++] = blocks[i];
        }
    parent.blocks.count = kept;
    parent.length--;
    parent.pending = false;
}

static uint64_t own_bytes(const struct scp_checkpoint *checkpoint) {
    const struct scp_memory *memory = checkpoint->image_private;
    const struct scp_vector *table = memory->finished ? &memory->saved : &checkpoint->blocks;
    const struct scp_block *blocks = table->base;
    uint64_t bytes = 0;
    for (size_t i = 0; i < table->count; i++)
        bytes += blocks[i].file == 0 ? blocks[i].stored_length : 0;
    return bytes;
}

void scp_parent_reject(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    if (parent.pending) {
        if (parent.length < 2 || parent.newest_bytes > FEW_BYTES)
            drop();
        else
            strip_newest();
        return;
    }
    if (memory == NULL || !memory->builds_on || !memory->whole || scp_child_runs(checkpoint) ||
        memory->tracker.descriptor < 0 || memory->tracker.lost.count > 0 || memory->deferred_bytes > 0 ||
        own_bytes(checkpoint) > FEW_BYTES || take_tables(checkpoint, false) < 0)
        return;
    parent.stands = true;
}
