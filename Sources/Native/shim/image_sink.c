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
static void keep_limit(const struct scp_checkpoint *checkpoint, struct scp_memory *memory, size_t length) {
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

static bool can_be_direct(const struct scp_memory *memory, const void *bytes, size_t length, uint64_t offset) {
    return memory->direct >= 0 && length >= DIRECT_MINIMUM &&
           (((uintptr_t)bytes | length | offset) & (SCP_PAGE - 1)) == 0;
}

// Writes some of it.
static long put_some(struct scp_checkpoint *checkpoint, const char *bytes, size_t length, uint64_t offset) {
    struct scp_memory *memory = checkpoint->image_private;
    if (can_be_direct(memory, bytes, length, offset)) {
        long put = scp_call(SYS_pwrite64, memory->direct, bytes, length, offset);
        if (put != -EINVAL && put != -EOPNOTSUPP)
            return put;
        scp_sink_close_direct(memory);
    }
    return scp_call(SYS_pwrite64, checkpoint->image, bytes, length, offset);
}

int scp_image_write(struct scp_checkpoint *checkpoint, const void *bytes, size_t length, uint64_t offset) {
    for (size_t done = 0; done < length;) {
        long put = put_some(checkpoint, (const char *)bytes + done, length - done, offset + done);
        if (put == -EINTR)
            continue;
        if (put <= 0)
            return scp_image_fail(checkpoint, put < 0 ? (int)put : EIO, "write");
        done += (size_t)put;
    }
    checkpoint->bytes_written += length;
    keep_limit(checkpoint, checkpoint->image_private, length);
    return 0;
}

int scp_sink_flush(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    const struct scp_sink_part *parts = memory->sink_parts.base;
    const uint8_t *from = memory->sink;
    int result = 0;
    for (size_t i = 0; result == 0 && i < memory->sink_parts.count; from += parts[i].length, i++)
        result = memory->encoder ? scp_encode_write(checkpoint, from, parts[i].length, parts[i].offset)
                                 : scp_image_write(checkpoint, from, parts[i].length, parts[i].offset);
    memory->sink_used = memory->sink_parts.count = 0;
    return result;
}

uint8_t *scp_sink_room(struct scp_checkpoint *checkpoint, size_t length, uint64_t offset) {
    struct scp_memory *memory = checkpoint->image_private;
    if (memory->sink_used + length > memory->sink_limit && scp_sink_flush(checkpoint) < 0)
        return NULL;
    struct scp_vector *parts = &memory->sink_parts;
    struct scp_sink_part *last = parts->count ? scp_vector_at(parts, parts->count - 1) : NULL;
    if (last == NULL || last->offset + last->length != offset) {
        last = scp_vector_add(parts);
        if (last == NULL) {
            scp_fail(checkpoint, ENOMEM, "no memory for what waits to be written", NULL);
            return NULL;
        }
        last->offset = offset;
    }
    last->length += length;
    memory->sink_used += length;
    return memory->sink + memory->sink_used - length;
}
