// What waits in a socket's receive queue, looked at with MSG_PEEK and SO_PEEK_OFF: nothing is consumed.
//
// A receive call that reaches the end of a queue would eat a pending error, so streams are read up to FIONREAD and never
// past it. Descriptors in flight (SCM_RIGHTS) are duplicated by looking, and become objects of their own.
#include "descriptors_sockets.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define RIGHTS_MAXIMUM 253 /* SCM_MAX_FD */

struct queue {
    struct scp_descriptor_work *work;
    struct scp_source *source;
    char *bytes; // scratch: payload of one look
    size_t room; // bytes
    int64_t blob; // -1 = not begun
    uint64_t total; // bytes of payload taken
    bool stream; // no message boundaries
};

static int append(struct queue *queue, const void *bytes, size_t length) {
    return length == 0 ? 0 : scp_blob_append(queue->work->checkpoint, bytes, length);
}

static int put_packet(struct queue *queue, const struct scp_packet *packet, const void *address,
                      const uint32_t *rights) {
    static const char zeros[8];
    if (queue->blob < 0 && (queue->blob = scp_blob_begin(queue->work->checkpoint)) < 0)
        return (int)queue->blob;
    uint64_t bytes = (uint64_t)packet->address_length + packet->rights * 4u + packet->length;
    int result = append(queue, packet, sizeof *packet);
    if (result >= 0)
        result = append(queue, address, packet->address_length);
    if (result >= 0)
        result = append(queue, rights, packet->rights * 4u);
    if (result >= 0)
        result = append(queue, queue->bytes, packet->length);
    if (result >= 0)
        result = append(queue, zeros, (8 - bytes % 8) % 8);
    return result < 0 ? result : 0;
}

// Turns the descriptors of one message into objects. Messages that carry credentials set packet->credentials.
static int take_control(struct queue *queue, struct msghdr *message, struct scp_packet *packet, uint32_t *rights) {
    for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control != NULL; control = CMSG_NXTHDR(message, control)) {
        if (control->cmsg_level != SOL_SOCKET)
            continue;
        size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        const int *passed = (const int *)CMSG_DATA(control);
        for (size_t i = 0; control->cmsg_type == SCM_RIGHTS && i < count; i++) {
            int64_t object = packet->rights < RIGHTS_MAXIMUM ? scp_object_of_flight(queue->work, passed[i]) : -E2BIG;
            if (object < 0)
                return (int)object;
            rights[packet->rights++] = (uint32_t)object;
        }
        if (control->cmsg_type == SCM_CREDENTIALS)
            memcpy(packet->credentials, passed, sizeof packet->credentials);
    }
    return 0;
}

// One message, or one run of a stream. Returns the bytes seen, -EAGAIN at the end, or -errno.
static long look(struct queue *queue, struct scp_packet *packet, struct sockaddr_storage *address, uint32_t *rights) {
    union {
        char bytes[CMSG_SPACE(RIGHTS_MAXIMUM * sizeof(int)) + CMSG_SPACE(12) + 256];
        struct cmsghdr align;
    } control;
    struct iovec vector = {queue->bytes, queue->room};
    struct msghdr message = {.msg_name = address,
                             .msg_namelen = sizeof *address,
                             .msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    memset(packet, 0, sizeof *packet);
    // With MSG_TRUNC a datagram tells its whole length, and TCP copies nothing at all.
    int truncation = queue->stream ? 0 : MSG_TRUNC;
    long got = scp_call(SYS_recvmsg, queue->source->descriptor, &message,
                        MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC | truncation);
    if (got < 0)
        return got;
    if (message.msg_flags & MSG_CTRUNC)
        return -E2BIG;
    packet->length = (uint32_t)got;
    packet->address_length = message.msg_namelen <= sizeof *address ? message.msg_namelen : 0;
    int result = take_control(queue, &message, packet, rights);
    return result < 0 ? result : got;
}

static int set_peek_offset(struct queue *queue, int offset) {
    return (int)scp_call(SYS_setsockopt, queue->source->descriptor, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset);
}

static int grow(struct queue *queue, size_t room) {
    scp_scratch_unmap(queue->bytes);
    queue->room = (room + SCP_PAGE) & ~(size_t)(SCP_PAGE - 1);
    queue->bytes = scp_scratch_map(queue->room);
    return queue->bytes == NULL ? -ENOMEM : 0;
}

// Streams and sequences of packets tell by FIONREAD how much there is; datagram sockets end with EAGAIN.
static int walk(struct queue *queue, uint64_t available, bool bounded) {
    struct sockaddr_storage address;
    uint32_t rights[RIGHTS_MAXIMUM];
    struct scp_packet packet;
    while (!bounded || queue->total < available) {
        long got = look(queue, &packet, &address, rights);
        if (got == -EAGAIN || (got == 0 && queue->stream))
            return 0;
        if (got == -EINTR)
            continue;
        if (got < 0)
            return (int)got;
        if ((size_t)got > queue->room)
            return -EMSGSIZE;
        int result = put_packet(queue, &packet, &address, rights);
        if (result != 0)
            return result;
        queue->total += (uint64_t)got;
    }
    return 0;
}

static int peek_all(struct queue *queue, uint64_t available, bool bounded) {
    int old = -1;
    uint32_t length = sizeof old;
    scp_call(SYS_getsockopt, queue->source->descriptor, SOL_SOCKET, SO_PEEK_OFF, &old, &length);
    if (set_peek_offset(queue, 0) != 0) {
        // TCP before Linux 6.9: one look with a buffer for all.
        struct sockaddr_storage address;
        uint32_t rights[RIGHTS_MAXIMUM];
        struct scp_packet packet;
        if (!queue->stream)
            return -EOPNOTSUPP;
        long got = look(queue, &packet, &address, rights);
        return got < 0 ? (int)got : put_packet(queue, &packet, &address, rights);
    }
    int result = walk(queue, available, bounded);
    set_peek_offset(queue, old);
    return result;
}

static bool has_error(int descriptor) {
    struct pollfd poll = {descriptor, 0, 0};
    struct timespec now = {0, 0};
    scp_call(SYS_ppoll, &poll, 1, &now, 0, 8);
    return (poll.revents & POLLERR) != 0;
}

static int refuse_urgent(struct scp_descriptor_work *work, struct scp_source *source) {
    char byte;
    if (scp_call(SYS_recvfrom, source->descriptor, &byte, 1, MSG_OOB | MSG_PEEK | MSG_DONTWAIT, NULL, NULL) != 1)
        return 0;
    return scp_refuse(work, source->object, EAGAIN,
                      "has urgent data (MSG_OOB) that has not been read: try again when it has");
}

static bool passes_credentials(const struct scp_source *source) {
    int on = 0;
    uint32_t length = sizeof on;
    scp_call(SYS_getsockopt, source->descriptor, SOL_SOCKET, SO_PASSCRED, &on, &length);
    return on != 0;
}

static int finish(struct queue *queue, int result) {
    struct scp_object *object = scp_object_at(queue->work, queue->source->object);
    if (queue->blob >= 0) {
        int64_t blob = scp_blob_end(queue->work->checkpoint);
        result = result == 0 && blob < 0 ? (int)blob : result;
        object->blob = (uint32_t)blob;
        object->flags |= SCP_OBJECT_HAS_CONTENT | SCP_OBJECT_PACKETS;
    }
    if (result < 0)
        return scp_refuse(queue->work, queue->source->object, -result,
                          "has data in its queue that cannot be looked at");
    if (queue->total > 0 && object->value[SCP_SOCKET_DOMAIN] == AF_UNIX && passes_credentials(queue->source))
        return scp_refuse(
            queue->work, queue->source->object, EAGAIN,
            "holds messages with credentials (SO_PASSCRED) that have not been read: try again when they have");
    return 0;
}

int scp_socket_take_queue(struct scp_descriptor_work *work, struct scp_source *source) {
    struct scp_object *object = scp_object_at(work, source->object);
    int available = 0, type = (int)object->value[SCP_SOCKET_TYPE];
    if (object->flags & SCP_OBJECT_BORROWED)
        return 0;
    scp_call(SYS_ioctl, source->descriptor, FIONREAD, &available);
    bool bounded = type != SOCK_DGRAM;
    if (type == SOCK_STREAM) {
        int result = refuse_urgent(work, source);
        if (result != 0)
            return result;
    }
    // An error that is due would be eaten by a look, with or without data behind it.
    if ((bounded && available <= 0) || (!bounded && available <= 0 && has_error(source->descriptor)))
        return 0;
    struct queue queue = {.work = work, .source = source, .blob = -1, .stream = type == SOCK_STREAM};
    int result = grow(&queue, available < 1 << 17 ? 1 << 17 : (size_t)available);
    if (result == 0)
        result = peek_all(&queue, (uint64_t)available, bounded);
    if (result == -EMSGSIZE) // one datagram larger than any usual one: begin again with room for it
        result = -E2BIG;
    result = finish(&queue, result);
    scp_scratch_unmap(queue.bytes);
    return result;
}
