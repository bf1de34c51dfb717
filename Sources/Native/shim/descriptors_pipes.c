// Pipes and FIFOs: which ends are inside, and what stands in them.
//
// Looking, not draining: tee(2) copies the content into a scratch pipe of the same size. Only where the user's allowance
// gives no scratch pipe large enough is the pipe read empty and filled again at once, all its readers being parked.
#include "descriptors.h"

#include <poll.h>
#include <sys/ioctl.h>

#ifndef F_SETPIPE_SZ
#define F_SETPIPE_SZ 1031
#define F_GETPIPE_SZ 1032
#endif

int scp_examine_pipe(struct scp_descriptor_work *work, struct scp_source *source) {
    struct scp_object *object = scp_object_at(work, source->object);
    bool named = strncmp(work->link, "pipe:", 5) != 0;
    object->kind = named ? SCP_OBJECT_FIFO : SCP_OBJECT_PIPE;
    object->value[SCP_PIPE_ID] = object->inode;
    long size = scp_call(SYS_fcntl, source->descriptor, F_GETPIPE_SZ);
    object->value[SCP_PIPE_SIZE] = size > 0 ? (uint64_t)size : 65536;
    if ((object->status & O_ACCMODE) == O_WRONLY)
        object->flags |= SCP_OBJECT_WRITE_END;
    if (!named)
        return 0;
    struct stat status;
    bool there = scp_call(SYS_newfstatat, AT_FDCWD, work->link, &status, 0) == 0 && status.st_dev == object->device &&
                 status.st_ino == object->inode;
    size_t length = strlen(work->link), mark = sizeof " (deleted)" - 1;
    if (!there) {
        object->flags |= SCP_OBJECT_DELETED;
        if (length > mark && strcmp(work->link + length - mark, " (deleted)") == 0)
            length -= mark;
    }
    object->path = scp_string(&work->checkpoint->strings, work->link, length);
    return 0;
}

// ---- content ----------------------------------------------------------------------------------------------------------------

struct content {
    char *bytes; // scratch
    size_t room; // bytes
    size_t length; // bytes found
    uint32_t pieces; // reads it took: packets, or 1
    struct scp_vector sizes; // uint32_t: bytes of each
};

static int read_pieces(int pipe, struct content *content) {
    while (content->length < content->room) {
        long got = scp_call(SYS_read, pipe, content->bytes + content->length, content->room - content->length);
        if (got == -EINTR)
            continue;
        if (got == -EAGAIN || got == 0)
            return 0;
        if (got < 0)
            return (int)got;
        uint32_t *size = scp_vector_add(&content->sizes);
        if (size == NULL)
            return -ENOMEM;
        *size = (uint32_t)got;
        content->length += (size_t)got;
        content->pieces++;
    }
    return 0;
}

static bool scratch_is_large_enough(struct scp_descriptor_work *work, uint64_t size) {
    if (work->scratch[0] < 0)
        return false;
    long now = scp_call(SYS_fcntl, work->scratch[0], F_GETPIPE_SZ);
    if (now >= 0 && (uint64_t)now >= size)
        return true;
    return scp_call(SYS_fcntl, work->scratch[0], F_SETPIPE_SZ, size) >= (long)size;
}

static int write_pieces(int pipe, const struct content *content, bool packets) {
    const char *at = content->bytes;
    if (packets)
        scp_call(SYS_fcntl, pipe, F_SETFL, O_DIRECT | O_NONBLOCK);
    for (size_t i = 0; i < content->sizes.count; i++) {
        uint32_t size = *(uint32_t *)scp_vector_at(&content->sizes, i);
        long put = scp_call(SYS_write, pipe, at, size);
        if (put != (long)size)
            return put < 0 ? (int)put : -EIO;
        at += size;
    }
    return 0;
}

// The one way that consumes: everything is in memory before, and goes back at once into the same, emptied pipe.
static int drain_and_refill(struct scp_descriptor_work *work, int reader, struct content *content) {
    int writer = scp_descriptor_reopen(work, reader, O_WRONLY);
    int source = scp_descriptor_reopen(work, reader, O_RDONLY); // the program's own may block
    int result = writer < 0 ? writer : source < 0 ? source : read_pieces(source, content);
    if (result == 0)
        result = write_pieces(writer, content, content->pieces > 1);
    if (writer >= 0)
        scp_call(SYS_close, writer);
    if (source >= 0)
        scp_call(SYS_close, source);
    return result;
}

static int copy_pipe(struct scp_descriptor_work *work, int reader, uint64_t size, struct content *content) {
    if (!scratch_is_large_enough(work, size))
        return drain_and_refill(work, reader, content);
    long copied = scp_call(SYS_tee, reader, work->scratch[1], 1 << 30, 2 /* SPLICE_F_NONBLOCK */);
    if (copied < 0)
        return copied == -EAGAIN ? 0 : (int)copied;
    int result = read_pieces(work->scratch[0], content);
    return result != 0 ? result : (size_t)copied == content->length ? 0 : -EIO;
}

static int put_blob(struct scp_checkpoint *checkpoint, struct scp_object *object, const struct content *content,
                    bool packets) {
    int64_t blob = scp_blob_begin(checkpoint);
    if (blob < 0)
        return (int)blob;
    const char *at = content->bytes;
    int result = packets ? 0 : scp_blob_append(checkpoint, at, content->length);
    for (size_t i = 0; packets && result >= 0 && i < content->sizes.count; i++) {
        struct scp_packet packet = {.length = *(uint32_t *)scp_vector_at(&content->sizes, i)};
        static const char zeros[8];
        result = scp_blob_append(checkpoint, &packet, sizeof packet);
        if (result >= 0)
            result = scp_blob_append(checkpoint, at, packet.length);
        if (result >= 0 && packet.length % 8 != 0)
            result = scp_blob_append(checkpoint, zeros, 8 - packet.length % 8);
        at += packet.length;
    }
    blob = scp_blob_end(checkpoint);
    if (result < 0 || blob < 0)
        return result < 0 ? result : (int)blob;
    object->blob = (uint32_t)blob;
    object->flags |= SCP_OBJECT_HAS_CONTENT | (packets ? SCP_OBJECT_PACKETS : 0);
    return 0;
}

// A short read out of a pipe with room for all tells of packets, even when no writer is left to ask.
static int take_content(struct scp_descriptor_work *work, uint32_t index, int reader, bool packets) {
    struct scp_object *object = scp_object_at(work, index);
    int waiting = 0;
    scp_call(SYS_ioctl, reader, FIONREAD, &waiting);
    if (waiting <= 0)
        return 0;
    struct content content = {.room = (size_t)object->value[SCP_PIPE_SIZE] + SCP_PAGE};
    if (content.room < (size_t)waiting)
        content.room = (size_t)waiting + SCP_PAGE;
    // Fresh memory for each of thousands of pipes would make the pause longer than the copying does.
    bool own = content.room > SCP_COPY_BYTES;
    content.bytes = own ? scp_scratch_map(content.room) : work->buffer;
    int result = content.bytes == NULL ? -ENOMEM : scp_vector_open(&content.sizes, sizeof(uint32_t), 64);
    if (result == 0)
        result = copy_pipe(work, reader, object->value[SCP_PIPE_SIZE], &content);
    if (result == 0)
        result = put_blob(work->checkpoint, object, &content, packets || content.pieces > 1);
    scp_vector_close(&content.sizes);
    if (own)
        scp_scratch_unmap(content.bytes);
    return result;
}

// ---- ends ---------------------------------------------------------------------------------------------------------------------

static bool is_pipe(const struct scp_object *object) {
    return object->kind == SCP_OBJECT_PIPE || object->kind == SCP_OBJECT_FIFO;
}

static int order_pipes(const struct scp_descriptor_work *work, uint32_t a, uint32_t b) {
    const struct scp_object *x = scp_object_at(work, a), *y = scp_object_at(work, b);
    if (x->device != y->device)
        return x->device < y->device ? -1 : 1;
    if (x->inode != y->inode)
        return x->inode < y->inode ? -1 : 1;
    return a < b ? -1 : a > b;
}

struct ends {
    bool reads, writes, packets;
};

static struct ends ends_inside(struct scp_descriptor_work *work, const uint32_t *group, size_t count) {
    struct ends ends = {false, false, false};
    for (size_t i = 0; i < count; i++) {
        const struct scp_object *object = scp_object_at(work, group[i]);
        uint32_t access = object->status & O_ACCMODE;
        ends.reads |= access != O_WRONLY;
        ends.writes |= access != O_RDONLY;
        ends.packets |= access != O_RDONLY && (object->status & O_DIRECT);
    }
    return ends;
}

// With one side inside only, the other side is gone (HUP, ERR) or somebody else's. A FIFO that nobody else has opened
// yet shows no HUP: then it would look outside, and reopening its path is right for it in both cases.
static bool leads_outside(const struct ends *ends, int descriptor) {
    if (ends->reads && ends->writes)
        return false;
    struct pollfd poll = {descriptor, ends->reads ? POLLIN : POLLOUT, 0};
    struct timespec now = {0, 0};
    scp_call(SYS_ppoll, &poll, 1, &now, 0, 8);
    return (poll.revents & (ends->reads ? POLLHUP : POLLERR)) == 0;
}

static int refuse_outside(struct scp_descriptor_work *work, const uint32_t *group, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (scp_is_standard_stream(work, group[i]))
            return 0; // swiftcp_restart's own takes its place
    return scp_refuse(work, group[0], ENOTSUP,
                      "leads to a process outside of the computation, which --outside refuse does not allow");
}

// In a checkpoint of several processes another of them may have the other side, which the restart finds out.
static int mark_outside(struct scp_descriptor_work *work, const uint32_t *group, size_t count,
                        const struct ends *ends) {
    bool fifo_alone = scp_object_at(work, group[0])->kind == SCP_OBJECT_FIFO && !ends->writes;
    bool alone = work->checkpoint->processes <= 1;
    for (size_t i = 0; i < count; i++) {
        struct scp_object *object = scp_object_at(work, group[i]);
        if (fifo_alone)
            object->flags |= SCP_OBJECT_NEVER_WRITER;
        if (!alone)
            object->flags |= SCP_OBJECT_ELSEWHERE;
        else if (!fifo_alone)
            object->kind = SCP_OBJECT_OUTSIDE;
    }
    bool refused = alone && !fifo_alone && (work->checkpoint->order->flags & SCP_CHECKPOINT_REFUSE_OUTSIDE);
    return refused ? refuse_outside(work, group, count) : 0;
}

// The end whose record holds the content; -1: another process saves it. Whoever owns an end for reading does, or an end
// for writing of a pipe without readers.
static int64_t holder_of_content(struct scp_descriptor_work *work, const uint32_t *group, size_t count,
                                 const struct ends *ends) {
    if (work->checkpoint->processes <= 1)
        return group[0];
    for (size_t i = 0; i < count; i++) {
        const struct scp_object *object = scp_object_at(work, group[i]);
        bool reads = (object->status & O_ACCMODE) != O_WRONLY;
        bool only = !ends->reads && !(object->flags & SCP_OBJECT_ELSEWHERE);
        if (!(object->flags & SCP_OBJECT_BORROWED) && (reads || only))
            return group[i];
    }
    return -1;
}

static int take_from(struct scp_descriptor_work *work, uint32_t holder, const struct ends *ends) {
    int descriptor = scp_object_borrow(work, holder), result = 0;
    if (descriptor < 0)
        return scp_refuse(work, holder, -descriptor, "cannot be borrowed (pidfd_getfd)");
    bool readable = (scp_object_at(work, holder)->status & O_ACCMODE) != O_WRONLY;
    // Through /proc a second reader can be had of any pipe; it is gone again before the program runs.
    int reader = readable ? descriptor : scp_descriptor_reopen(work, descriptor, O_RDONLY);
    if (reader >= 0 && (result = take_content(work, holder, reader, ends->packets)) != 0)
        result = scp_refuse(work, holder, -result, "is a pipe whose content cannot be copied");
    if (reader >= 0 && reader != descriptor)
        scp_call(SYS_close, reader);
    scp_object_return(work, holder, descriptor);
    return result;
}

static int finish_group(struct scp_descriptor_work *work, const uint32_t *group, size_t count) {
    struct ends ends = ends_inside(work, group, count);
    int descriptor = scp_object_borrow(work, group[0]), result = 0;
    if (descriptor < 0)
        return scp_refuse(work, group[0], -descriptor, "cannot be borrowed (pidfd_getfd)");
    if (leads_outside(&ends, descriptor))
        result = mark_outside(work, group, count, &ends);
    scp_object_return(work, group[0], descriptor);
    int64_t holder = result == 0 ? holder_of_content(work, group, count, &ends) : -1;
    return holder < 0 ? result : take_from(work, (uint32_t)holder, &ends);
}

int scp_finish_pipes(struct scp_descriptor_work *work) {
    struct scp_vector pipes;
    int result = scp_vector_open(&pipes, sizeof(uint32_t), 64);
    for (uint32_t i = 0; result == 0 && i < work->checkpoint->objects.count; i++) {
        if (!is_pipe(scp_object_at(work, i)))
            continue;
        uint32_t *slot = scp_vector_add(&pipes);
        if (slot == NULL)
            result = -ENOMEM;
        else
            *slot = i;
    }
    if (result != 0)
        result = scp_fail(work->checkpoint, ENOMEM, "no memory for the list of pipes", NULL);
    else
        scp_sort(work, pipes.base, pipes.count, order_pipes);
    uint32_t *order = pipes.base;
    for (size_t i = 0, end; result == 0 && i < pipes.count; i = end) {
        const struct scp_object *first = scp_object_at(work, order[i]);
        for (end = i + 1; end < pipes.count; end++) {
            const struct scp_object *next = scp_object_at(work, order[end]);
            if (next->device != first->device || next->inode != first->inode)
                break;
        }
        result = finish_group(work, order + i, end - i);
    }
    scp_vector_close(&pipes);
    return result;
}
