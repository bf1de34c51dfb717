// Bytes on their way to the file. They are gathered, each part with its place; in the pause all of them may stay in
// memory, as far as the sink holds them, and are written when the program runs again.
#include <errno.h>
#include <fcntl.h>
#include <time.h>

#include "memory.h"

#define DIRECT_MINIMUM (1u << 20) // bytes; smaller writes are better gathered by the page cache

int scp_image_fail(struct scp_checkpoint *checkpoint, int error, const char *what) {
    error = error < 0 ? -error : error;
    const char *advice = "choose another --ckptdir";
    if (error == ENOSPC || error == EDQUOT)
        advice = "free space there, keep fewer generations (--keep) or choose another --ckptdir";
    else if (error == EACCES || error == EPERM || error == EROFS || error == ENOENT)
        advice = "make its folder writable for the program's user or choose another --ckptdir";
    else if (error == EFBIG)
        advice = "raise the program's limit on file sizes (ulimit -f)";
    else if (error == EIO)
        advice = "the disk or the file server has a fault; choose another --ckptdir";
    return scp_fail(checkpoint, error, "cannot ", what, " the image ", checkpoint->order->path, ": ",
                    scp_error_name(error), "; ", advice, NULL);
}

// Waits until so many bytes may have been written (--io-limit). Never while the program stands still.
void scp_sink_keep_limit(const struct scp_checkpoint *checkpoint, size_t length) {
    struct scp_memory *memory = checkpoint->image_private;
    uint64_t limit = checkpoint->order->io_limit; // MB/s: bytes in a microsecond
    if (limit == 0 || memory->writing_since == 0)
        return;
    memory->written_since += length;
    int64_t ahead = (int64_t)(memory->written_since / limit) * 1000 - (scp_now() - memory->writing_since);
    struct timespec pause = {.tv_sec = ahead / 1000000000, .tv_nsec = ahead % 1000000000};
    if (ahead > 0)
        scp_call(SYS_nanosleep, &pause, NULL);
}

void scp_sink_limit(struct scp_checkpoint *checkpoint, bool limited) {
    struct scp_memory *memory = checkpoint->image_private;
    memory->writing_since = limited ? scp_now() : 0;
    memory->written_since = 0;
}

// A second descriptor of the image, for large writes that go past the page cache. Not every file system has that.
void scp_sink_open_direct(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    long file =
        scp_call(SYS_openat, AT_FDCWD, checkpoint->order->path, O_WRONLY | O_DIRECT | O_CLOEXEC | O_NOFOLLOW, 0);
    memory->direct = file < 0 ? -1 : (int)file;
}

void scp_sink_close_direct(struct scp_memory *memory) {
    if (memory->direct >= 0)
        scp_call(SYS_close, memory->direct);
    memory->direct = -1;
}

// How much of it may go past the page cache: whole pages.
static size_t direct_part(const struct scp_memory *memory, const void *bytes, size_t length, uint64_t offset) {
    bool aligned = (((uintptr_t)bytes | offset) & (SCP_PAGE - 1)) == 0;
    return memory->direct >= 0 && aligned && length >= DIRECT_MINIMUM ? length & ~(size_t)(SCP_PAGE - 1) : 0;
}

// Writes some of it.
static long put_some(struct scp_checkpoint *checkpoint, const char *bytes, size_t length, uint64_t offset) {
    struct scp_memory *memory = checkpoint->image_private;
    size_t direct = direct_part(memory, bytes, length, offset);
    if (direct > 0) {
        long put = scp_call(SYS_pwrite64, memory->direct, bytes, direct, offset);
        if (put != -EINVAL && put != -EOPNOTSUPP)
            return put;
        scp_sink_close_direct(memory);
    }
    return scp_call(SYS_pwrite64, checkpoint->image, bytes, length, offset);
}

int scp_image_put(struct scp_checkpoint *checkpoint, const void *bytes, size_t length, uint64_t offset) {
    for (size_t done = 0; done < length;) {
        long put = put_some(checkpoint, (const char *)bytes + done, length - done, offset + done);
        if (put == -EINTR)
            continue;
        if (put <= 0)
            return put < 0 ? (int)put : -EIO;
        done += (size_t)put;
    }
    checkpoint->bytes_written += length;
    scp_sink_keep_limit(checkpoint, length);
    return 0;
}

int scp_image_write(struct scp_checkpoint *checkpoint, const void *bytes, size_t length, uint64_t offset) {
    int result = scp_image_put(checkpoint, bytes, length, offset);
    return result < 0 ? scp_image_fail(checkpoint, result, "write") : 0;
}

// Of what goes through the page cache: when the speed of the disk must be known, the disk is waited for.
static void await_disk(const struct scp_checkpoint *checkpoint, const struct scp_batch *batch) {
    const struct scp_sink_part *part = batch->parts.base;
    scp_call(SYS_sync_file_range, checkpoint->image, part->offset, batch->used,
             SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
}

int scp_write_all(int descriptor, const void *bytes, size_t length, uint64_t offset) {
    for (size_t done = 0; done < length;) {
        long put = scp_call(SYS_pwrite64, descriptor, (const char *)bytes + done, length - done, offset + done);
        if (put == -EINTR)
            continue;
        if (put <= 0)
            return put < 0 ? (int)put : -EIO;
        done += (size_t)put;
    }
    return 0;
}

// ---- batches -------------------------------------------------------------------------------------------------------------
//
//   sink   |  filling ...    |  writing         |           a round, with a writer: they change places
//          |  filling ...                                |  the pause: as much as there is room for
//          |  filling ...    | -> encoder -> writing      compressed

typedef int put_part(struct scp_checkpoint *checkpoint, const void *bytes, size_t length, uint64_t offset);

static int put_all(struct scp_checkpoint *checkpoint, const struct scp_batch *batch, put_part *put) {
    const struct scp_sink_part *parts = batch->parts.base;
    const uint8_t *from = batch->bytes;
    int result = 0;
    for (size_t i = 0; result == 0 && i < batch->parts.count; from += parts[i].length, i++)
        result = put(checkpoint, from, parts[i].length, parts[i].offset);
    return result;
}

int scp_sink_write(struct scp_checkpoint *checkpoint, struct scp_batch *batch) {
    int64_t start = scp_now();
    int result = batch->spilled ? scp_spill_write(checkpoint, batch) : put_all(checkpoint, batch, scp_image_put);
    if (result == 0 && batch->waits)
        await_disk(checkpoint, batch);
    batch->took = scp_now() - start;
    return result;
}

static int written(struct scp_checkpoint *checkpoint, int result) {
    struct scp_memory *memory = checkpoint->image_private;
    if (result < 0)
        result = memory->writing.spilled ? scp_spill_refuse(checkpoint, &memory->writing)
                                         : scp_image_fail(checkpoint, result, "write");
    memory->writing.used = memory->writing.parts.count = 0;
    return result;
}

int scp_sink_await(struct scp_checkpoint *checkpoint) {
    return written(checkpoint, scp_writer_await(checkpoint->image_private));
}

static void change_places(struct scp_memory *memory) {
    struct scp_batch filled = memory->filling;
    memory->filling = memory->writing;
    memory->writing = filled;
    memory->filling.bytes = memory->sink;
    if (scp_writer_runs(memory) && filled.bytes == memory->sink)
        memory->filling.bytes += SCP_SINK_DIRECT;
}

static int pass_writing(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    if (!scp_writer_runs(memory))
        return written(checkpoint, scp_sink_write(checkpoint, &memory->writing));
    scp_writer_pass(memory);
    return 0;
}

int scp_sink_pass(struct scp_checkpoint *checkpoint, uint8_t *bytes, size_t length, uint64_t offset, bool waits) {
    struct scp_batch *batch = &((struct scp_memory *)checkpoint->image_private)->writing;
    struct scp_sink_part part = {.offset = offset, .length = length};
    batch->bytes = bytes;
    batch->used = length;
    batch->waits = waits;
    batch->parts.count = 0;
    int result = scp_vector_append(&batch->parts, &part, 1);
    return result < 0 ? scp_image_fail(checkpoint, result, "write") : pass_writing(checkpoint);
}

// What was gathered, to the encoder or the writer; without them it is written.
static int pass_on(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    int result = 0;
    if (memory->encoder != NULL) {
        result = put_all(checkpoint, &memory->filling, scp_encode_write);
        memory->filling.used = memory->filling.parts.count = 0;
        return result;
    }
    result = scp_sink_await(checkpoint);
    if (result < 0 || memory->filling.used == 0)
        return result;
    result = scp_spill_offer(checkpoint, &memory->filling);
    if (result < 0)
        return result;
    change_places(memory);
    return pass_writing(checkpoint);
}

int scp_sink_flush(struct scp_checkpoint *checkpoint) {
    int result = pass_on(checkpoint);
    return result < 0 ? result : scp_sink_await(checkpoint);
}

uint8_t *scp_sink_room(struct scp_checkpoint *checkpoint, size_t length, uint64_t offset) {
    struct scp_memory *memory = checkpoint->image_private;
    if (memory->filling.used + length > memory->sink_limit && pass_on(checkpoint) < 0)
        return NULL;
    struct scp_batch *batch = &memory->filling;
    struct scp_sink_part *last = batch->parts.count ? scp_vector_at(&batch->parts, batch->parts.count - 1) : NULL;
    if (last == NULL || last->offset + last->length != offset) {
        last = scp_vector_add(&batch->parts);
        if (last == NULL) {
            scp_fail(checkpoint, ENOMEM, "no memory for what waits to be written", NULL);
            return NULL;
        }
        last->offset = offset;
    }
    last->length += length;
    batch->used += length;
    return batch->bytes + batch->used - length;
}
