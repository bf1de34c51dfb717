// Puts what waited in a socket's receive queue there again, by sending it from where it came.
#include "descriptors_sockets.h"

#define RIGHTS_MAXIMUM 253

static int failed(struct crestart_descriptors *made, uint32_t object, int error, const char *what) {
    return crestart_fail(made->message, error, "%s: %s", crestart_name(&made->tables, object), what);
}

// ---- who sends -----------------------------------------------------------------------------------------------------------

static int extra_of(const struct crestart_descriptors *made, uint32_t object) {
    for (size_t i = 0; i < made->extra_count; i++)
        if (made->extras[i].object == object)
            return made->extras[i].descriptor;
    return -1;
}

static int peer_of(const struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    for (uint32_t i = 0; entry->value[SCP_SOCKET_PEER] != 0 && i < made->tables.object_count; i++)
        if (made->tables.objects[i].kind == SCP_OBJECT_SOCKET_PAIR &&
            made->tables.objects[i].value[SCP_SOCKET_ID] == entry->value[SCP_SOCKET_PEER])
            return made->working[i];
    return -1;
}

static int named(const struct crestart_descriptors *made, const struct scp_packet *packet, const void *address) {
    for (uint32_t i = 0; packet->address_length > 2 && i < made->tables.object_count; i++) {
        struct crestart_address name = crestart_address_of(&made->tables, i, "n=");
        if (made->tables.objects[i].value[SCP_SOCKET_TYPE] == SOCK_DGRAM && name.length == packet->address_length &&
            memcmp(&name.bytes, address, name.length) == 0)
            return made->working[i];
    }
    return -1;
}

// The sender has gone: a socket that has its address for the moment.
static int temporary(struct crestart_descriptors *made, uint32_t object, const struct scp_packet *packet,
                     const void *address) {
    int descriptor = crestart_new_socket(&made->tables.objects[object]), yes = 1;
    struct crestart_address name = {.length = packet->address_length};
    if (descriptor < 0)
        return descriptor;
    memcpy(&name.bytes, address, name.length < sizeof name.bytes ? name.length : sizeof name.bytes);
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    int result = crestart_is_bound(&name) ? crestart_bind(made, object, &name, descriptor) : 0;
    if (result == 0)
        return descriptor;
    close(descriptor);
    return result;
}

struct sender {
    int descriptor;
    bool own; // to be closed
    bool addressed; // sends to the receiver's name
};

static struct sender sender_of(struct crestart_descriptors *made, uint32_t object, const struct scp_packet *packet,
                               const void *address) {
    const struct scp_object *entry = &made->tables.objects[object];
    int connected = extra_of(made, object);
    if (connected < 0 && entry->kind == SCP_OBJECT_SOCKET_PAIR)
        connected = peer_of(made, object);
    if (connected >= 0)
        return (struct sender){connected, false, false};
    int known = named(made, packet, address);
    if (known >= 0)
        return (struct sender){known, false, true};
    return (struct sender){temporary(made, object, packet, address), true, true};
}

// ---- sending ---------------------------------------------------------------------------------------------------------------

#define BUFFER_LOCK 72 /* SO_BUF_LOCK, Linux 5.14 */

struct buffer {
    int bytes, lock;
};

static void grow_buffer(int descriptor, struct buffer *old) {
    socklen_t length = sizeof(int);
    int wanted = 1 << 30;
    *old = (struct buffer){0, 0};
    getsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &old->bytes, &length);
    getsockopt(descriptor, SOL_SOCKET, BUFFER_LOCK, &old->lock, &length);
    if (setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &wanted, sizeof wanted) != 0)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted);
}

// The call doubles what it is given, and marks the buffer as set by the program.
static void shrink_buffer(int descriptor, const struct buffer *old) {
    int bytes = old->bytes / 2;
    setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    setsockopt(descriptor, SOL_SOCKET, BUFFER_LOCK, &old->lock, sizeof old->lock);
}

// receiver: of a TCP connection, to be widened when it is full; -1 otherwise.
static int send_whole(int descriptor, struct msghdr *message, bool stream, int receiver) {
    struct iovec *vector = message->msg_iov;
    int stuck = 0;
    do {
        ssize_t put = sendmsg(descriptor, message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && errno == EAGAIN && receiver >= 0 && stuck++ < 2000) {
            crestart_tcp_widen(receiver);
            continue;
        }
        if (put < 0)
            return -errno;
        if (!stream)
            return 0;
        vector->iov_base = (char *)vector->iov_base + put;
        vector->iov_len -= (size_t)put;
        message->msg_control = NULL; // went with the first byte
        message->msg_controllen = 0;
    } while (vector->iov_len > 0);
    return 0;
}

// The image that holds the queue numbers its objects in its own way.
static int right_of(const struct crestart_descriptors *made, uint32_t receiver, uint32_t number) {
    const struct crestart_tables *tables = &made->tables;
    uint32_t blob = tables->objects[receiver].blob;
    const struct crestart_member *member = &tables->members[tables->blob_members[blob]];
    return number < member->object_count ? made->working[member->objects[number]] : -1;
}

static int put_rights(struct crestart_descriptors *made, uint32_t receiver, const struct scp_packet *packet,
                      const char *rights, struct msghdr *message) {
    if (packet->rights == 0)
        return 0;
    struct cmsghdr *control = message->msg_control;
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(packet->rights * sizeof(int));
    message->msg_controllen = CMSG_SPACE(packet->rights * sizeof(int));
    for (uint32_t i = 0; i < packet->rights; i++) {
        uint32_t number;
        memcpy(&number, rights + 4 * (size_t)i, sizeof number);
        int descriptor = right_of(made, receiver, number);
        if (descriptor < 0)
            return -EBADMSG;
        memcpy(CMSG_DATA(control) + i * sizeof(int), &descriptor, sizeof(int));
    }
    return 0;
}

static int send_packet(struct crestart_descriptors *made, uint32_t object, const struct scp_packet *packet,
                       char *bytes) {
    union {
        char bytes[CMSG_SPACE(RIGHTS_MAXIMUM * sizeof(int))];
        struct cmsghdr align;
    } control;
    bool stream = made->tables.objects[object].value[SCP_SOCKET_TYPE] == SOCK_STREAM;
    bool tcp = stream && made->tables.objects[object].value[SCP_SOCKET_DOMAIN] != AF_UNIX;
    struct sender sender = sender_of(made, object, packet, bytes);
    if (sender.descriptor < 0)
        return sender.descriptor;
    char *rights = bytes + packet->address_length, *payload = rights + 4 * (size_t)packet->rights;
    struct crestart_address own = crestart_address_of(&made->tables, object, "n=");
    struct iovec vector = {payload, packet->length};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes};
    if (sender.addressed) {
        message.msg_name = &own.bytes;
        message.msg_namelen = own.length;
    }
    struct buffer old;
    int result = put_rights(made, object, packet, rights, &message);
    if (message.msg_controllen == 0)
        message.msg_control = NULL;
    if (!tcp)
        grow_buffer(sender.descriptor, &old);
    if (result == 0)
        result = send_whole(sender.descriptor, &message, stream, tcp ? made->working[object] : -1);
    if (result == 0 && tcp)
        result = crestart_tcp_settle(sender.descriptor, made->working[object]);
    if (sender.own)
        close(sender.descriptor);
    else if (!tcp)
        shrink_buffer(sender.descriptor, &old);
    return result;
}

static int send_packets(struct crestart_descriptors *made, uint32_t object, char *bytes, uint64_t length) {
    for (uint64_t at = 0; at < length;) {
        struct scp_packet packet;
        if (length - at < sizeof packet)
            return -EBADMSG;
        memcpy(&packet, bytes + at, sizeof packet);
        at += sizeof packet;
        uint64_t rest = (uint64_t)packet.address_length + 4 * (uint64_t)packet.rights + packet.length;
        if (packet.rights > RIGHTS_MAXIMUM || packet.address_length > sizeof(struct sockaddr_storage) ||
            rest > length - at)
            return -EBADMSG;
        int result = send_packet(made, object, &packet, bytes + at);
        if (result != 0)
            return result;
        at += (rest + 7) & ~(uint64_t)7;
    }
    return 0;
}

// A foreign datagram's sender can be imitated only where its address is ours; UDP is free to lose it, but not in silence.
static int fill(struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    uint64_t length = crestart_blob_length(&made->tables, entry->blob);
    char *bytes = malloc(length);
    if (bytes == NULL)
        return failed(made, object, ENOMEM, "its queue cannot be read");
    int result = crestart_blob_read(&made->tables, entry->blob, 0, bytes, length);
    if (result == 0)
        result = send_packets(made, object, bytes, length);
    free(bytes);
    if (result == 0)
        return 0;
    if (entry->value[SCP_SOCKET_DOMAIN] != AF_UNIX && entry->value[SCP_SOCKET_TYPE] == SOCK_DGRAM) {
        crestart_warn(made, "%s: datagrams that waited are lost, as UDP may: %s", crestart_name(&made->tables, object),
                      strerror(-result));
        return 0;
    }
    return failed(made, object, -result, "what waited in its queue cannot be put back");
}

// ECONNRESET is what an end sees whose other end was closed with something unread; for TCP a close without linger.
static void prepare_reset(struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    int extra = extra_of(made, object);
    bool outside = entry->kind == SCP_OBJECT_OUTSIDE;
    if (extra < 0 || (!outside && !(entry->value[SCP_SOCKET_FLAGS] & SCP_SOCKET_RESET)))
        return;
    struct linger at_once = {1, 0};
    if (entry->value[SCP_SOCKET_DOMAIN] != AF_UNIX)
        setsockopt(extra, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    else if (entry->value[SCP_SOCKET_TYPE] != SOCK_DGRAM)
        send(made->working[object], "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    else
        shutdown(made->working[object], SHUT_RDWR); // nobody will ever write: reading must not wait
}

int crestart_fill_socket(struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    int result = 0;
    if ((entry->flags & SCP_OBJECT_HAS_CONTENT) && crestart_blob_length(&made->tables, entry->blob) > 0)
        result = fill(made, object);
    if (result == 0)
        prepare_reset(made, object);
    return result;
}
