// Pages that were written again lie scattered over the image. While the program runs on and writes more, they are put down
// one behind the other in a file without a name, as quickly as the disk takes it, and brought to their places when the
// pause is over: a page that several rounds have saved is brought there once.
//
//   spill    | 7 | 2 | 9 | 4 || 2 | 4 || 4 |       rounds 1, 2, 3: pages of the image
//                               ^         ^
//   image    |   |   | 2 |   | 4 |   |   | 7 |   | 9 |
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>

#include "memory.h"
#include "worker.h"

#define BUFFER_BYTES (1u << 20)
#define SCATTERED (64u << 10) // bytes of a part, on average: what is longer the disk takes as quickly where it belongs

static struct scp_spill *spill_of(const struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    return &memory->spill;
}

// In the image's folder: that disk has the speed and the room.
static bool open_spill(const struct scp_checkpoint *checkpoint) {
    struct scp_spill *spill = spill_of(checkpoint);
    char folder[4096];
    if (spill->file >= 0 || spill->useless)
        return !spill->useless;
    spill->useless = true;
    const char *path = checkpoint->order->path, *name = strrchr(path, '/');
    if (name == NULL || (size_t)(name - path) >= sizeof folder)
        return false;
    memcpy(folder, path, (size_t)(name - path));
    folder[name - path] = 0;
    if (scp_vector_open(&spill->parts, sizeof(struct scp_sink_part), 65536) != 0)
        return false;
    long file = scp_call(SYS_openat, AT_FDCWD, folder, O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
    spill->file = file < 0 ? -1 : (int)file;
    spill->useless = file < 0;
    return file >= 0;
}

static bool takes(struct scp_checkpoint *checkpoint, const struct scp_batch *batch) {
    const struct scp_memory *memory = checkpoint->image_private;
    struct scp_spill *spill = spill_of(checkpoint);
    bool scattered = batch->used / batch->parts.count < SCATTERED;
    return spill->allowed && (scattered || spill->length > 0) && open_spill(checkpoint) &&
           spill->length + batch->used <= memory->resident &&
           scp_vector_append(&spill->parts, batch->parts.base, batch->parts.count) == 0;
}

int scp_spill_offer(struct scp_checkpoint *checkpoint, struct scp_batch *batch) {
    batch->spilled = takes(checkpoint, batch);
    // What comes later must not get to its place earlier.
    return batch->spilled ? 0 : scp_spill_empty(checkpoint, true);
}

int scp_spill_write(struct scp_checkpoint *checkpoint, const struct scp_batch *batch) {
    struct scp_spill *spill = spill_of(checkpoint);
    int result = scp_write_all(spill->file, batch->bytes, batch->used, spill->length);
    if (result < 0)
        return result;
    spill->length += batch->used;
    checkpoint->bytes_written += batch->used;
    scp_sink_keep_limit(checkpoint, batch->used);
    return 0;
}

int scp_spill_refuse(struct scp_checkpoint *checkpoint, struct scp_batch *batch) {
    struct scp_spill *spill = spill_of(checkpoint);
    spill->parts.count -= batch->parts.count;
    scp_call(SYS_ftruncate, spill->file, spill->length); // some of the batch may have found room
    int result = scp_spill_empty(checkpoint, true);
    batch->spilled = false;
    if (result < 0)
        return result;
    result = scp_sink_write(checkpoint, batch);
    return result < 0 ? scp_image_fail(checkpoint, result, "write") : 0;
}

// ---- to their places -----------------------------------------------------------------------------------------------------

static void forget_pages(uint32_t *last, uint64_t offset, uint64_t length) {
    memset(last + offset / SCP_PAGE, 0, length / SCP_PAGE * sizeof *last);
}

// What is still to come, from the pause or a child's memory, overwrites what is here.
static void forget_newer(const struct scp_checkpoint *checkpoint, uint32_t *last) {
    const struct scp_memory *memory = checkpoint->image_private;
    const struct scp_sink_part *parts = memory->filling.parts.base;
    const struct scp_block *blocks = checkpoint->blocks.base;
    for (size_t i = 0; i < memory->filling.parts.count; i++)
        forget_pages(last, parts[i].offset, parts[i].length);
    for (size_t i = 0; i < checkpoint->blocks.count; i++)
        if (blocks[i].flags & SCP_SAVED_DEFERRED && blocks[i].stored_length > 0)
            forget_pages(last, blocks[i].offset, blocks[i].length);
}

// For each page of the image the last of the spill's that belongs there, counted from 1; 0 = none of them has to be written.
// NULL: no memory for that, and all have to.
static uint32_t *make_map(const struct scp_checkpoint *checkpoint) {
    const struct scp_spill *spill = spill_of(checkpoint);
    const struct scp_sink_part *parts = spill->parts.base;
    uint64_t pages = checkpoint->file_position / SCP_PAGE;
    uint32_t number = 0, *last = scp_scratch_map(pages * sizeof *last);
    for (size_t i = 0; last != NULL && i < spill->parts.count; i++)
        for (uint64_t at = 0; at < parts[i].length; at += SCP_PAGE)
            last[(parts[i].offset + at) / SCP_PAGE] = ++number;
    if (last != NULL)
        forget_newer(checkpoint, last);
    return last;
}

// Where the spill's next page belongs, and what of it has been read.
struct place {
    const uint32_t *last; // make_map
    size_t part;
    uint64_t done; // bytes of the part
    uint32_t number; // pages before this one
};

static bool is_last(const struct place *place, uint64_t offset, uint64_t page) {
    return place->last == NULL || place->last[offset / SCP_PAGE + page] == place->number + page + 1;
}

// Puts the last ones among so many pages, which are neighbours in the image.
static int put_pages(struct scp_checkpoint *checkpoint, const struct place *place, const uint8_t *bytes, uint64_t pages,
                     uint64_t offset) {
    int result = 0;
    for (uint64_t page = 0, end; result == 0 && page < pages; page = end + 1) {
        for (end = page; end < pages && is_last(place, offset, end); end++)
            ;
        if (end > page)
            result =
                scp_image_write(checkpoint, bytes + page * SCP_PAGE, (end - page) * SCP_PAGE, offset + page * SCP_PAGE);
    }
    return result;
}

// Of the spill's next length bytes.
static int put_read(struct scp_checkpoint *checkpoint, struct place *place, const uint8_t *bytes, uint64_t length) {
    const struct scp_sink_part *parts = spill_of(checkpoint)->parts.base;
    int result = 0;
    for (uint64_t at = 0, some; result == 0 && at < length; at += some) {
        const struct scp_sink_part *part = &parts[place->part];
        some = part->length - place->done < length - at ? part->length - place->done : length - at;
        result = put_pages(checkpoint, place, bytes + at, some / SCP_PAGE, part->offset + place->done);
        place->number += (uint32_t)(some / SCP_PAGE);
        place->done += some;
        if (place->done == part->length) {
            place->part++;
            place->done = 0;
        }
    }
    return result;
}

static int put_all(struct scp_checkpoint *checkpoint, const uint32_t *last, uint8_t *buffer, bool heeds) {
    const struct scp_spill *spill = spill_of(checkpoint);
    struct place place = {.last = last};
    int result = 0;
    for (uint64_t at = 0; result == 0 && at < spill->length;) {
        uint64_t length = spill->length - at < BUFFER_BYTES ? spill->length - at : BUFFER_BYTES;
        long got = scp_call(SYS_pread64, spill->file, buffer, length, at);
        if (got == -EINTR)
            continue;
        if (got < (long)SCP_PAGE)
            return scp_image_fail(checkpoint, got < 0 ? (int)got : EIO, "read back what belongs to");
        got -= got % SCP_PAGE;
        // The image may need the room.
        scp_call(SYS_fallocate, spill->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, got);
        result = put_read(checkpoint, &place, buffer, (uint64_t)got);
        at += (uint64_t)got;
        if (result == 0 && heeds)
            result = scp_worker_heed();
    }
    return result;
}

// A round may be at a piece of memory: `staging` is not free.
int scp_spill_empty(struct scp_checkpoint *checkpoint, bool heeds) {
    struct scp_memory *memory = checkpoint->image_private;
    if (memory->spill.file < 0)
        return 0;
    uint8_t *buffer = scp_scratch_map(BUFFER_BYTES);
    if (buffer == NULL)
        return scp_fail(checkpoint, ENOMEM, "no memory to bring pages to their places in the image", NULL);
    uint32_t *last = make_map(checkpoint);
    int result = put_all(checkpoint, last, buffer, heeds);
    scp_scratch_unmap(last);
    scp_scratch_unmap(buffer);
    scp_spill_close(memory);
    return result;
}

void scp_spill_close(struct scp_memory *memory) {
    struct scp_spill *spill = &memory->spill;
    if (spill->file >= 0)
        scp_call(SYS_close, spill->file);
    scp_vector_close(&spill->parts);
    *spill = (struct scp_spill){.file = -1, .useless = true};
}
