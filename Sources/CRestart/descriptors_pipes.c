// Pipes and FIFOs with what stood in them. All ends of one pipe are made together, with the first of them.
#include "descriptors_internal.h"

#ifndef F_SETPIPE_SZ
#define F_SETPIPE_SZ 1031
#define F_GETPIPE_SZ 1032
#endif

static int failed(struct crestart_descriptors *made, uint32_t object, int error, const char *what) {
    return crestart_fail(made->message, error, "%s: %s", crestart_name(&made->tables, object), what);
}

static int write_whole(int pipe, const char *bytes, size_t length) {
    for (size_t done = 0; done < length;) {
        ssize_t put = write(pipe, bytes + done, length - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put < 0 ? -errno : -EIO;
        done += (size_t)put;
    }
    return 0;
}

static int write_packets(int pipe, const char *bytes, uint64_t length) {
    if (fcntl(pipe, F_SETFL, O_NONBLOCK | O_DIRECT) != 0)
        return -errno;
    for (uint64_t at = 0; at + sizeof(struct scp_packet) <= length;) {
        struct scp_packet packet;
        memcpy(&packet, bytes + at, sizeof packet);
        at += sizeof packet;
        if (packet.address_length != 0 || packet.rights != 0 || packet.length > length - at)
            return -EBADMSG;
        ssize_t put = write(pipe, bytes + at, packet.length);
        if (put != (ssize_t)packet.length)
            return put < 0 ? -errno : -EIO;
        at += ((uint64_t)packet.length + 7) & ~(uint64_t)7;
    }
    return fcntl(pipe, F_SETFL, O_NONBLOCK) == 0 ? 0 : -errno;
}

static int fill(struct crestart_descriptors *made, const struct scp_object *entry, int writer) {
    uint64_t length = crestart_blob_length(&made->tables, entry->blob);
    if (!(entry->flags & SCP_OBJECT_HAS_CONTENT) || length == 0)
        return 0;
    char *bytes = malloc(length);
    if (bytes == NULL)
        return -ENOMEM;
    int result = crestart_blob_read(&made->tables, entry->blob, 0, bytes, length);
    if (result == 0)
        result = entry->flags & SCP_OBJECT_PACKETS ? write_packets(writer, bytes, length)
                                                   : write_whole(writer, bytes, length);
    free(bytes);
    return result;
}

// The size first: what stood in the pipe may need it. A user over the allowance for pipes gets small ones.
static int set_size(int pipe, uint64_t size) {
    long now = fcntl(pipe, F_GETPIPE_SZ);
    if (now < 0 || (uint64_t)now == size || fcntl(pipe, F_SETPIPE_SZ, (int)size) >= 0)
        return 0;
    return -errno;
}

struct ends {
    int reader, writer; // working ends, both close-on-exec and non-blocking
};

static int open_unnamed(struct ends *ends) {
    int both[2];
    if (pipe2(both, O_CLOEXEC | O_NONBLOCK) != 0)
        return -errno;
    *ends = (struct ends){both[0], both[1]};
    return 0;
}

// A FIFO that has never had a writer polls otherwise than one whose writer has gone: then none is opened.
static int open_fifo(const char *path, bool writer, struct ends *ends) {
    ends->reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (ends->reader < 0)
        return -errno;
    ends->writer = writer ? open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC) : -1;
    return writer && ends->writer < 0 ? -errno : 0;
}

// A FIFO without a name gets one for the moment of opening.
static int open_deleted_fifo(const char *path, mode_t mode, struct ends *ends) {
    char other[64];
    snprintf(other, sizeof other, "/tmp/.swiftcp-fifo-%ld", (long)getpid());
    const char *name = mkfifo(path, mode | 0600) == 0 ? path : mkfifo(other, mode | 0600) == 0 ? other : NULL;
    if (name == NULL)
        return -errno;
    int result = open_fifo(name, true, ends);
    unlink(name);
    return result;
}

// It holds nothing on disk: what stood in it is in the image.
static int open_missing_fifo(struct crestart_descriptors *made, uint32_t object, const char *path, struct ends *ends) {
    const struct scp_object *entry = &made->tables.objects[object];
    mode_t mode = entry->mode & 07777;
    const char *name = crestart_name(&made->tables, object);
    if (crestart_make_folders(path) != 0 || mkfifo(path, mode | 0600) != 0)
        return -errno;
    crestart_warn(made, "%s was not there any more: it has been made again", name);
    int result = open_fifo(path, !(entry->flags & SCP_OBJECT_NEVER_WRITER), ends);
    return chmod(path, mode) == 0 || result != 0 ? result : -errno;
}

static int open_ends(struct crestart_descriptors *made, uint32_t object, struct ends *ends) {
    const struct scp_object *entry = &made->tables.objects[object];
    char path[4096];
    bool fifo = entry->path != 0 && entry->kind == SCP_OBJECT_FIFO;
    if (!fifo)
        return open_unnamed(ends);
    int result = crestart_map_path(&made->options, crestart_string(&made->tables, entry->path), path, sizeof path);
    if (result != 0)
        return result;
    if (entry->flags & SCP_OBJECT_DELETED)
        return open_deleted_fifo(path, entry->mode & 07777, ends);
    result = open_fifo(path, !(entry->flags & SCP_OBJECT_NEVER_WRITER), ends);
    return result == -ENOENT ? open_missing_fifo(made, object, path, ends) : result;
}

static bool is_pipe(const struct scp_object *object) {
    return object->kind == SCP_OBJECT_PIPE || object->kind == SCP_OBJECT_FIFO ||
           (object->kind == SCP_OBJECT_OUTSIDE && S_ISFIFO(object->mode));
}

static bool same_pipe(const struct scp_object *a, const struct scp_object *b) {
    return a->device == b->device && a->inode == b->inode;
}

// ---- all ends in the order of their pipes ----------------------------------------------------------------------------------

static bool is_before(const struct scp_object *a, const struct scp_object *b) {
    return a->device != b->device ? a->device < b->device : a->inode < b->inode;
}

static int order_of(const void *x, const void *y, void *tables) {
    const struct crestart_tables *all = tables;
    uint32_t i = *(const uint32_t *)x, j = *(const uint32_t *)y;
    const struct scp_object *a = &all->objects[i], *b = &all->objects[j];
    return is_before(a, b) ? -1 : is_before(b, a) ? 1 : i < j ? -1 : i > j;
}

void crestart_list_pipes(struct crestart_descriptors *made) {
    for (uint32_t i = 0; i < made->tables.object_count; i++)
        if (is_pipe(&made->tables.objects[i]))
            made->pipes[made->pipe_count++] = i;
    qsort_r(made->pipes, made->pipe_count, sizeof *made->pipes, order_of, &made->tables);
}

static size_t first_of_pipe(const struct crestart_descriptors *made, const struct scp_object *entry) {
    size_t low = 0, high = made->pipe_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (is_before(&made->tables.objects[made->pipes[middle]], entry))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// pipe(2) gives descriptions without O_LARGEFILE, which cannot be had by opening: the first holder gets the working end.
static int take_end(struct ends *ends, const struct scp_object *entry) {
    int *end = (entry->status & O_ACCMODE) == O_WRONLY ? &ends->writer : &ends->reader, taken = *end;
    if ((entry->status & 0100000 /* O_LARGEFILE */) || (entry->status & O_ACCMODE) == O_RDWR)
        return -1;
    int other = fcntl(taken, F_DUPFD_CLOEXEC, 3);
    if (other < 0)
        return -1;
    *end = other;
    return taken;
}

// Every end of the pipe that the program holds is a description of its own.
static int open_holders(struct crestart_descriptors *made, uint32_t object, struct ends *ends) {
    bool taken[2] = {false, false};
    const struct scp_object *entry = &made->tables.objects[object];
    for (size_t at = first_of_pipe(made, entry); at < made->pipe_count; at++) {
        uint32_t i = made->pipes[at];
        const struct scp_object *other = &made->tables.objects[i];
        if (!same_pipe(entry, other))
            break;
        if (made->working[i] >= 0)
            continue;
        int access = (int)(other->status & O_ACCMODE);
        bool *first = &taken[access == O_WRONLY];
        int end = *first ? -1 : take_end(ends, other);
        *first |= end >= 0;
        if (end < 0)
            end = crestart_reopen(access == O_WRONLY ? ends->writer : ends->reader, access | O_NONBLOCK);
        if (end < 0)
            return end;
        fcntl(end, F_SETFL, 0); // the old flags come when all is filled
        made->working[i] = end;
    }
    return 0;
}

int crestart_make_pipe(struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    struct ends ends = {-1, -1};
    int result = open_ends(made, object, &ends);
    if (result != 0)
        return failed(made, object, -result, "the pipe cannot be made");
    result = set_size(ends.reader, entry->value[SCP_PIPE_SIZE]);
    if (result != 0)
        crestart_warn(made, "%s: the pipe cannot have its old size of %llu bytes: %s",
                      crestart_name(&made->tables, object), (unsigned long long)entry->value[SCP_PIPE_SIZE],
                      strerror(-result));
    result = fill(made, entry, ends.writer);
    if (result != 0)
        result = failed(made, object, -result, "the pipe cannot be filled with what stood in it");
    else if ((result = open_holders(made, object, &ends)) != 0)
        result = failed(made, object, -result, "an end of the pipe cannot be opened");
    close(ends.reader);
    if (ends.writer >= 0)
        close(ends.writer);
    return result;
}
