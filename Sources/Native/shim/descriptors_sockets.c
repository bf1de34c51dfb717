// Sockets: which kind, who is at the other end, what waits.
//
// Unix sockets know their peer by sock_diag, TCP sockets by their pair of addresses. A peer that is not among the program's
// descriptors makes the socket one that leads outside: at a restart its connection is reset. In a checkpoint of several
// processes another of them may have it, which the restart finds out, all images at hand.
#include "descriptors_sockets.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static int option_of(int descriptor, int level, int name) {
    int value = 0;
    uint32_t length = sizeof value;
    return scp_call(SYS_getsockopt, descriptor, level, name, &value, &length) == 0 ? value : 0;
}

static int poll_of(int descriptor) {
    struct pollfd poll = {descriptor, POLLIN | POLLOUT | POLLRDHUP, 0};
    struct timespec now = {0, 0};
    scp_call(SYS_ppoll, &poll, 1, &now, 0, 8);
    return poll.revents;
}

static int refuse_family(struct scp_descriptor_work *work, struct scp_source *source, uint64_t domain) {
    static const struct {
        uint64_t domain;
        const char *what;
    } names[] = {
        {AF_NETLINK, "is a netlink socket, which SwiftCP cannot save yet: close it before the checkpoint"},
        {AF_PACKET, "is a packet socket, which cannot be saved: close it before the checkpoint"},
        {AF_VSOCK, "is a vsock socket, which cannot be saved: close it before the checkpoint"},
        {AF_ALG, "is a socket to the kernel's cryptography, which cannot be saved: close it before the checkpoint"},
        {AF_BLUETOOTH, "is a Bluetooth socket, which cannot be saved: close it before the checkpoint"},
        {AF_CAN, "is a CAN socket, which cannot be saved: close it before the checkpoint"},
        {AF_TIPC, "is a TIPC socket, which cannot be saved: close it before the checkpoint"},
        {AF_XDP, "is an XDP socket, which cannot be saved: close it before the checkpoint"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].domain == domain)
            return scp_refuse(work, source->object, ENOTSUP, names[i].what);
    return scp_refuse(work, source->object, ENOTSUP, "is a socket of a family that SwiftCP does not know");
}

// What hides in a socket and cannot be read back.
static int refuse_attachments(struct scp_descriptor_work *work, struct scp_source *source, bool tcp) {
    char name[32] = "";
    uint32_t length = sizeof name;
    if (tcp && scp_call(SYS_getsockopt, source->descriptor, IPPROTO_TCP, TCP_ULP, name, &length) == 0 && length > 0 &&
        name[0] != '\0')
        return scp_refuse(work, source->object, ENOTSUP,
                          "is a TCP socket with TLS in the kernel, which cannot be saved");
    length = 0; // SO_GET_FILTER: the number of instructions
    if (scp_call(SYS_getsockopt, source->descriptor, SOL_SOCKET, SO_ATTACH_FILTER, NULL, &length) == 0 && length > 0)
        return scp_refuse(work, source->object, ENOTSUP,
                          "is a socket with a packet filter, which SwiftCP cannot save yet");
    return 0;
}

// ---- Unix ------------------------------------------------------------------------------------------------------------------

static int examine_unix(struct scp_descriptor_work *work, struct scp_source *source) {
    struct scp_object *object = scp_object_at(work, source->object);
    struct scp_unix_state state;
    int result = scp_unix_diagnose(work, object->inode, &state);
    if (result != 0)
        return scp_refuse(work, source->object, -result, "is a socket whose peer the kernel does not tell (sock_diag)");
    object->value[SCP_SOCKET_SHUTDOWN] = state.shutdown & 3u;
    if (object->value[SCP_SOCKET_STATE] == SCP_SOCKET_LISTENING) {
        object->value[SCP_SOCKET_BACKLOG] = state.backlog;
        return state.waiting == 0 ? 0
                                  : scp_refuse(work, source->object, EAGAIN,
                                               "has connections that have not been accepted: try again when they have");
    }
    object->value[SCP_SOCKET_PEER] = state.peer;
    if (state.peer != 0)
        object->value[SCP_SOCKET_STATE] = SCP_SOCKET_CONNECTED;
    else if (state.has_peer && (state.shutdown & 3u) == 3u)
        object->value[SCP_SOCKET_STATE] = SCP_SOCKET_PEER_GONE;
    else if (state.has_peer && object->value[SCP_SOCKET_TYPE] != SOCK_DGRAM)
        return scp_refuse(work, source->object, EAGAIN,
                          "is a connection that has not been accepted: try again when it has");
    else if (state.has_peer)
        object->value[SCP_SOCKET_STATE] = SCP_SOCKET_PEER_GONE;
    if (poll_of(source->descriptor) & POLLERR)
        object->value[SCP_SOCKET_FLAGS] |= SCP_SOCKET_RESET;
    return scp_socket_take_queue(work, source);
}

// ---- TCP and UDP -----------------------------------------------------------------------------------------------------------

enum { TCP_STATE_ESTABLISHED = 1, TCP_STATE_SYN_SENT = 2, TCP_STATE_CLOSE = 7, TCP_STATE_LISTEN = 10 };

static bool has_peer_name(int descriptor) {
    struct sockaddr_storage address;
    uint32_t length = sizeof address;
    return scp_call(SYS_getpeername, descriptor, &address, &length) == 0;
}

// FIN sent: 4, 5, 9, 11; FIN received: 8, 9, 11; both: 7 after all is acknowledged.
static uint64_t shutdown_of(unsigned state, int events) {
    uint64_t sent = state == 4 || state == 5 || state == 6 || state == 9 || state == 11 || state == TCP_STATE_CLOSE;
    uint64_t received = (events & POLLRDHUP) != 0;
    return received | sent << 1;
}

// If the program is killed, its connections linger in TIME_WAIT, and a restart could not have their addresses for a minute:
// but for those that allow it. What the program had set has been recorded. On a connected socket the option does no more,
// and a listening one hands it to the connections that it will accept; nobody else can listen there anyway.
static void allow_reuse(int descriptor) {
    int yes = 1;
    scp_call(SYS_setsockopt, descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
}

static int examine_tcp(struct scp_descriptor_work *work, struct scp_source *source) {
    struct scp_object *object = scp_object_at(work, source->object);
    struct tcp_info info;
    uint32_t length = sizeof info;
    memset(&info, 0, sizeof info);
    long result = scp_call(SYS_getsockopt, source->descriptor, IPPROTO_TCP, TCP_INFO, &info, &length);
    if (result != 0)
        return scp_refuse(work, source->object, (int)-result, "is a TCP socket that does not tell its state");
    if (info.tcpi_state == TCP_STATE_LISTEN) {
        object->value[SCP_SOCKET_BACKLOG] = info.tcpi_sacked;
        allow_reuse(source->descriptor);
        return info.tcpi_unacked == 0
                   ? 0
                   : scp_refuse(work, source->object, EAGAIN,
                                "has connections that have not been accepted: try again when they have");
    }
    if (info.tcpi_state == TCP_STATE_SYN_SENT)
        return scp_refuse(work, source->object, EAGAIN,
                          "is a connection that is just being made: try again when it stands");
    int events = poll_of(source->descriptor);
    bool was_connected = has_peer_name(source->descriptor) || info.tcpi_bytes_acked > 0 || info.tcpi_bytes_received > 0;
    if (info.tcpi_state == TCP_STATE_CLOSE && !was_connected)
        return 0;
    object->value[SCP_SOCKET_STATE] = info.tcpi_state == TCP_STATE_CLOSE ? SCP_SOCKET_PEER_GONE : SCP_SOCKET_CONNECTED;
    object->value[SCP_SOCKET_SHUTDOWN] = shutdown_of(info.tcpi_state, events);
    allow_reuse(source->descriptor);
    if (events & POLLERR)
        object->value[SCP_SOCKET_FLAGS] |= SCP_SOCKET_RESET;
    return 0; // the queue is taken when the peer has been found: what it has sent may still be on its way
}

static int examine_udp(struct scp_descriptor_work *work, struct scp_source *source) {
    struct scp_object *object = scp_object_at(work, source->object);
    int waiting = 0;
    if (option_of(source->descriptor, IPPROTO_UDP, 1 /* UDP_CORK */) != 0 &&
        scp_call(SYS_ioctl, source->descriptor, SIOCOUTQ, &waiting) == 0 && waiting > 0)
        return scp_refuse(work, source->object, EAGAIN,
                          "holds corked data (UDP_CORK), which cannot be looked at: try again later");
    if (has_peer_name(source->descriptor))
        object->value[SCP_SOCKET_STATE] = SCP_SOCKET_CONNECTED;
    return scp_socket_take_queue(work, source);
}

// ---- all -----------------------------------------------------------------------------------------------------------------------

int scp_examine_socket(struct scp_descriptor_work *work, struct scp_source *source) {
    struct scp_object *object = scp_object_at(work, source->object);
    uint64_t domain = (uint64_t)option_of(source->descriptor, SOL_SOCKET, SO_DOMAIN);
    uint64_t type = (uint64_t)option_of(source->descriptor, SOL_SOCKET, SO_TYPE);
    uint64_t protocol = (uint64_t)option_of(source->descriptor, SOL_SOCKET, SO_PROTOCOL);
    object->kind = SCP_OBJECT_SOCKET;
    object->value[SCP_SOCKET_DOMAIN] = domain;
    object->value[SCP_SOCKET_TYPE] = type;
    object->value[SCP_SOCKET_PROTOCOL] = protocol;
    object->value[SCP_SOCKET_ID] = object->inode;
    if (option_of(source->descriptor, SOL_SOCKET, SO_ACCEPTCONN))
        object->value[SCP_SOCKET_STATE] = SCP_SOCKET_LISTENING;
    bool internet = domain == AF_INET || domain == AF_INET6;
    if (domain != AF_UNIX && !internet)
        return refuse_family(work, source, domain);
    if (internet && !(type == SOCK_STREAM && protocol == IPPROTO_TCP) &&
        !(type == SOCK_DGRAM && protocol == IPPROTO_UDP))
        return scp_refuse(work, source->object, ENOTSUP,
                          "is an Internet socket that is neither TCP nor UDP and cannot be saved");
    int result = refuse_attachments(work, source, internet && type == SOCK_STREAM);
    if (result == 0)
        result = scp_socket_describe(work, source);
    if (result == 0 && internet && type == SOCK_DGRAM)
        result = scp_refuse_multicast(work, source);
    if (result != 0)
        return result;
    return domain == AF_UNIX     ? examine_unix(work, source)
           : type == SOCK_STREAM ? examine_tcp(work, source)
                                 : examine_udp(work, source);
}

// ---- peers -----------------------------------------------------------------------------------------------------------------------

// The word of a socket's description behind `name` ("n=" or "p="), and its length.
static const char *word_of(const struct scp_descriptor_work *work, const struct scp_object *object, const char *name,
                           size_t *length) {
    const char *text = scp_string_at(work->checkpoint, object->socket);
    for (; *text != '\0'; text += strcspn(text, " "), text += *text == ' ') {
        if (strncmp(text, name, 2) == 0) {
            *length = strcspn(text + 2, " ");
            return text + 2;
        }
    }
    *length = 0;
    return NULL;
}

static bool same_word(const struct scp_descriptor_work *work, const struct scp_object *a, const char *x,
                      const struct scp_object *b, const char *y) {
    size_t length, other;
    const char *first = word_of(work, a, x, &length), *second = word_of(work, b, y, &other);
    return first != NULL && second != NULL && length == other && memcmp(first, second, length) == 0;
}

static bool is_socket(const struct scp_object *object) {
    return object->kind == SCP_OBJECT_SOCKET || object->kind == SCP_OBJECT_SOCKET_PAIR;
}

static bool is_peer(const struct scp_descriptor_work *work, const struct scp_object *a, const struct scp_object *b) {
    if (!is_socket(b))
        return false;
    if (a->value[SCP_SOCKET_DOMAIN] == AF_UNIX)
        return b->value[SCP_SOCKET_DOMAIN] == AF_UNIX && a->value[SCP_SOCKET_PEER] == b->inode;
    return b->value[SCP_SOCKET_TYPE] == SOCK_STREAM && same_word(work, a, "n=", b, "p=") &&
           same_word(work, a, "p=", b, "n=");
}

// Thousands of connections are compared pairwise: by these numbers first.
struct name_hashes {
    uint32_t own, other; // FNV-1a of the words, 0 = none
};

static uint32_t hash_of(const struct scp_descriptor_work *work, const struct scp_object *object, const char *word) {
    size_t length;
    const char *text = word_of(work, object, word, &length);
    uint32_t hash = 2166136261u;
    for (size_t i = 0; text != NULL && i < length; i++)
        hash = (hash ^ (unsigned char)text[i]) * 16777619u;
    return text == NULL ? 0 : hash;
}

static int hash_names(struct scp_descriptor_work *work) {
    int result = scp_vector_open(&work->names, sizeof(struct name_hashes), work->checkpoint->objects.count);
    for (uint32_t i = 0; result == 0 && i < work->checkpoint->objects.count; i++) {
        const struct scp_object *object = scp_object_at(work, i);
        struct name_hashes *names = scp_vector_add(&work->names);
        if (names == NULL)
            result = -ENOMEM;
        else if (is_socket(object) && object->value[SCP_SOCKET_DOMAIN] != AF_UNIX)
            *names = (struct name_hashes){hash_of(work, object, "n="), hash_of(work, object, "p=")};
    }
    return result == 0 ? 0 : scp_fail(work->checkpoint, ENOMEM, "no memory for the names of sockets", NULL);
}

static int64_t find_peer(const struct scp_descriptor_work *work, uint32_t index) {
    const struct scp_object *object = scp_object_at(work, index);
    const struct name_hashes *names = work->names.base;
    bool local = object->value[SCP_SOCKET_DOMAIN] == AF_UNIX;
    for (uint32_t i = 0; i < work->checkpoint->objects.count; i++)
        if ((local || (names[i].own == names[index].other && names[i].other == names[index].own)) &&
            is_peer(work, object, scp_object_at(work, i)))
            return i;
    return -1;
}

static int mark_outside(struct scp_descriptor_work *work, uint32_t index) {
    scp_object_at(work, index)->kind = SCP_OBJECT_OUTSIDE;
    if (!(work->checkpoint->order->flags & SCP_CHECKPOINT_REFUSE_OUTSIDE) || scp_is_standard_stream(work, index))
        return 0;
    return scp_refuse(work, index, ENOTSUP,
                      "leads to a process outside of the computation, which --outside refuse does not allow");
}

static int take_queue(struct scp_descriptor_work *work, uint32_t index, int descriptor) {
    struct scp_entry entry =
        *(struct scp_entry *)scp_vector_at(&work->entries, *(uint32_t *)scp_vector_at(&work->first, index));
    struct scp_source source = {index, descriptor, &entry};
    return scp_socket_take_queue(work, &source);
}

// The queue of a TCP end, with what its peer (-1 = not ours) has sent and is still on the way. `remote`: another process on
// this host has the peer.
static int take_tcp_queue(struct scp_descriptor_work *work, uint32_t index, int64_t peer, bool remote) {
    if (scp_object_at(work, index)->flags & SCP_OBJECT_BORROWED)
        return 0;
    int descriptor = scp_object_borrow(work, index);
    if (descriptor < 0)
        return scp_refuse(work, index, -descriptor, "cannot be borrowed (pidfd_getfd)");
    int sender = peer < 0 || peer == index ? -1 : scp_object_borrow(work, (uint32_t)peer);
    struct scp_tcp_pull pull = {.work = work, .sender = sender, .receiver = descriptor, .taken = true};
    int result;
    if (sender >= 0 || remote)
        scp_tcp_pull_begin(&pull);
    if (pull.taken)
        result = take_queue(work, index, descriptor);
    else
        result = scp_refuse(
            work, index, EAGAIN,
            "is a TCP connection with more on its way than the receiver has room for: try again when it has been read");
    scp_tcp_pull_end(&pull);
    if (sender >= 0)
        scp_object_return(work, (uint32_t)peer, sender);
    scp_object_return(work, index, descriptor);
    return result;
}

// Has another process on this host, a member of this checkpoint perhaps, the other end? Then the socket names it.
static bool is_elsewhere(struct scp_descriptor_work *work, uint32_t index) {
    struct scp_tcp_remote remote = {0, 0};
    int descriptor = work->checkpoint->processes > 1 ? scp_object_borrow(work, index) : -1;
    if (descriptor < 0)
        return false;
    bool found = scp_tcp_find_remote(work, descriptor, &remote) == 0 && remote.inode != 0;
    scp_object_return(work, index, descriptor);
    if (!found)
        return false;
    struct scp_object *object = scp_object_at(work, index);
    object->kind = SCP_OBJECT_SOCKET_PAIR;
    object->flags |= SCP_OBJECT_ELSEWHERE;
    object->value[SCP_SOCKET_PEER] = remote.inode;
    return true;
}

static int finish_tcp(struct scp_descriptor_work *work, uint32_t index) {
    struct scp_object *object = scp_object_at(work, index);
    bool connected = object->value[SCP_SOCKET_STATE] == SCP_SOCKET_CONNECTED;
    int64_t peer = connected ? find_peer(work, index) : -1;
    bool at_end = (object->value[SCP_SOCKET_SHUTDOWN] & 1u) != 0; // FIN received: the other end has closed
    bool remote = false;
    if (peer >= 0) {
        object->kind = SCP_OBJECT_SOCKET_PAIR;
        object->value[SCP_SOCKET_PEER] = scp_object_at(work, (uint32_t)peer)->inode;
    } else if (connected && is_elsewhere(work, index)) {
        remote = true;
    } else if (object->value[SCP_SOCKET_STATE] == SCP_SOCKET_PEER_GONE ||
               (at_end && !(work->checkpoint->order->flags & SCP_CHECKPOINT_REFUSE_OUTSIDE))) {
        object->kind = SCP_OBJECT_SOCKET_PAIR;
        object->value[SCP_SOCKET_STATE] = SCP_SOCKET_PEER_GONE;
    } else {
        int result = mark_outside(work, index);
        if (result != 0)
            return result;
    }
    return take_tcp_queue(work, index, peer, remote);
}

static int finish_unix(struct scp_descriptor_work *work, uint32_t index) {
    struct scp_object *object = scp_object_at(work, index);
    if (object->value[SCP_SOCKET_STATE] == SCP_SOCKET_CONNECTED && find_peer(work, index) < 0) {
        if (work->checkpoint->processes <= 1)
            return mark_outside(work, index);
        object->flags |= SCP_OBJECT_ELSEWHERE;
    }
    object->kind = SCP_OBJECT_SOCKET_PAIR;
    return 0;
}

static int finish_socket(struct scp_descriptor_work *work, uint32_t index) {
    const struct scp_object *object = scp_object_at(work, index);
    uint64_t state = object->value[SCP_SOCKET_STATE];
    if (state == SCP_SOCKET_UNCONNECTED || state == SCP_SOCKET_LISTENING)
        return 0;
    if (object->value[SCP_SOCKET_DOMAIN] == AF_UNIX)
        return finish_unix(work, index);
    return object->value[SCP_SOCKET_TYPE] == SOCK_STREAM ? finish_tcp(work, index) : 0;
}

int scp_finish_sockets(struct scp_descriptor_work *work) {
    int result = hash_names(work);
    for (uint32_t i = 0; result == 0 && i < work->checkpoint->objects.count; i++)
        if (scp_object_at(work, i)->kind == SCP_OBJECT_SOCKET)
            result = finish_socket(work, i);
    scp_vector_close(&work->names);
    return result;
}
