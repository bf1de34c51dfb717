// Unix connections whose both ends are in the program.
//
// Ends without names come from socketpair. A named stream end was accepted by a listener of that name: it is connected and
// accepted again, at the listener if the program still has it, at a temporary one otherwise.
#include "descriptors_sockets.h"

#include <sys/un.h>

static int failed(struct crestart_descriptors *made, uint32_t object, int error, const char *what) {
    return crestart_fail(made->message, error, "%s: %s", crestart_name(&made->tables, object), what);
}

static int64_t find_peer(const struct crestart_tables *tables, uint32_t object) {
    const struct scp_object *entry = &tables->objects[object];
    for (uint32_t i = 0; entry->value[SCP_SOCKET_PEER] != 0 && i < tables->object_count; i++)
        if ((tables->objects[i].kind == SCP_OBJECT_SOCKET_PAIR || tables->objects[i].kind == SCP_OBJECT_SOCKET) &&
            tables->objects[i].value[SCP_SOCKET_DOMAIN] == entry->value[SCP_SOCKET_DOMAIN] &&
            tables->objects[i].value[SCP_SOCKET_ID] == entry->value[SCP_SOCKET_PEER])
            return i;
    return -1;
}

static bool same_address(const struct crestart_address *a, const struct crestart_address *b) {
    return a->length == b->length && memcmp(&a->bytes, &b->bytes, a->length) == 0;
}

// The program's own listener of that name, made if need be; -1 = it has none.
static int own_listener(struct crestart_descriptors *made, const struct crestart_address *name) {
    for (uint32_t i = 0; i < made->tables.object_count; i++) {
        const struct scp_object *entry = &made->tables.objects[i];
        struct crestart_address other = crestart_address_of(&made->tables, i, "n=");
        if (entry->kind != SCP_OBJECT_SOCKET || entry->value[SCP_SOCKET_STATE] != SCP_SOCKET_LISTENING ||
            !same_address(name, &other))
            continue;
        int result = made->working[i] >= 0 ? 0 : crestart_make_socket(made, i);
        return result == 0 ? made->working[i] : result;
    }
    return -1;
}

static int temporary_listener(struct crestart_descriptors *made, uint32_t object, const struct crestart_address *name) {
    int listener = crestart_new_socket(&made->tables.objects[object]);
    int result = listener < 0 ? listener : crestart_bind(made, object, name, listener);
    if (result == 0 && listen(listener, 4) != 0)
        result = -errno;
    if (result != 0 && listener >= 0)
        close(listener);
    return result == 0 ? listener : result;
}

static int make_client(struct crestart_descriptors *made, uint32_t object) {
    struct crestart_address name = crestart_address_of(&made->tables, object, "n=");
    int descriptor = crestart_new_socket(&made->tables.objects[object]);
    if (descriptor < 0)
        return descriptor;
    made->working[object] = descriptor;
    crestart_set_options(made, object, descriptor, CRESTART_BEFORE_BIND);
    return crestart_is_bound(&name) ? crestart_bind(made, object, &name, descriptor) : 0;
}

// server carries the listener's name.
static int make_accepted(struct crestart_descriptors *made, uint32_t server, uint32_t client) {
    struct crestart_address name = crestart_address_of(&made->tables, server, "n=");
    int listener = own_listener(made, &name);
    bool temporary = listener == -1;
    if (temporary)
        listener = temporary_listener(made, server, &name);
    if (listener < 0)
        return failed(made, server, -listener, "the name at which the connection was accepted cannot be had again");
    int result = make_client(made, client);
    if (result == 0)
        result = crestart_connect(made, server, &name, made->working[client]);
    if (result == 0) {
        made->working[server] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        result = made->working[server] < 0 ? -errno : 0;
    }
    if (temporary)
        close(listener); // its file stays, as it did when the program closed it
    if (result != 0)
        return failed(made, server, -result, "the connection cannot be made again");
    crestart_set_options(made, server, made->working[server], CRESTART_BEFORE_BIND);
    return 0;
}

static int make_unnamed(struct crestart_descriptors *made, uint32_t object, uint32_t peer) {
    int ends[2];
    if (socketpair(AF_UNIX, (int)made->tables.objects[object].value[SCP_SOCKET_TYPE] | SOCK_CLOEXEC, 0, ends) != 0)
        return failed(made, object, errno, "the pair of sockets cannot be made");
    made->working[object] = ends[0];
    made->working[peer] = ends[1];
    crestart_set_options(made, object, ends[0], CRESTART_BEFORE_BIND);
    crestart_set_options(made, peer, ends[1], CRESTART_BEFORE_BIND);
    return 0;
}

// Two datagram sockets that are connected to each other; each may have a name.
static int make_datagrams(struct crestart_descriptors *made, uint32_t object, uint32_t peer) {
    int result = make_unnamed(made, object, peer);
    uint32_t both[2] = {object, peer};
    for (int i = 0; result == 0 && i < 2; i++) {
        struct crestart_address name = crestart_address_of(&made->tables, both[i], "n=");
        if (crestart_is_bound(&name) && (result = crestart_bind(made, both[i], &name, made->working[both[i]])) != 0)
            result = failed(made, both[i], -result, "the socket cannot have its old name again");
    }
    return result;
}

// A datagram socket connected to one that is not connected back: by its name.
static int make_one_way(struct crestart_descriptors *made, uint32_t object, uint32_t peer) {
    struct crestart_address name = crestart_address_of(&made->tables, peer, "n=");
    int result = make_client(made, object);
    if (result == 0 && made->working[peer] < 0) {
        const struct scp_object *entry = &made->tables.objects[peer];
        result = entry->kind == SCP_OBJECT_SOCKET ? crestart_make_socket(made, peer) : crestart_make_pair(made, peer);
        if (result != 0)
            return result;
    }
    if (result == 0)
        result = crestart_is_bound(&name) ? crestart_connect(made, peer, &name, made->working[object]) : -ENOTCONN;
    return result == 0 ? 0 : failed(made, object, -result, "the datagram socket cannot be connected again");
}

int crestart_make_pair(struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    int64_t peer = find_peer(&made->tables, object);
    if (entry->value[SCP_SOCKET_DOMAIN] != AF_UNIX)
        return peer >= 0 ? crestart_make_tcp(made, object, (uint32_t)peer) : crestart_make_reset(made, object);
    if (peer < 0 || made->working[peer] >= 0)
        return peer >= 0 && entry->value[SCP_SOCKET_TYPE] == SOCK_DGRAM ? make_one_way(made, object, (uint32_t)peer)
                                                                        : crestart_make_reset(made, object);
    bool mutual = find_peer(&made->tables, (uint32_t)peer) == (int64_t)object;
    if (entry->value[SCP_SOCKET_TYPE] == SOCK_DGRAM)
        return mutual ? make_datagrams(made, object, (uint32_t)peer) : make_one_way(made, object, (uint32_t)peer);
    struct crestart_address own = crestart_address_of(&made->tables, object, "n=");
    struct crestart_address reached = crestart_address_of(&made->tables, object, "p=");
    struct crestart_address other = crestart_address_of(&made->tables, (uint32_t)peer, "n=");
    if (!crestart_is_bound(&own) && !crestart_is_bound(&other))
        return make_unnamed(made, object, (uint32_t)peer);
    // Both may have names; the accepting one's is that of a listener. Without one the client is the one bound alone.
    bool peer_accepts = crestart_is_bound(&other) && same_address(&reached, &other) &&
                        (!crestart_is_bound(&own) || own_listener(made, &other) >= 0);
    return peer_accepts ? make_accepted(made, (uint32_t)peer, object) : make_accepted(made, object, (uint32_t)peer);
}
