// Sockets that stand alone: listening, bound, fresh, and those whose other end is gone.
#include "descriptors_sockets.h"

#include <netinet/in.h>

static int failed(struct crestart_descriptors *made, uint32_t object, int error, const char *what) {
    return crestart_fail(made->message, error, "%s: %s", crestart_name(&made->tables, object), what);
}

static int without_address(struct crestart_descriptors *made, uint32_t object, int error,
                           const struct crestart_address *name) {
    struct crestart_address_text text = {.holder = ""};
    crestart_describe_address(name, (int)made->tables.objects[object].value[SCP_SOCKET_TYPE], &text);
    return crestart_fail(made->message, error, "%s: the socket cannot have its old address %s again%s",
                         crestart_name(&made->tables, object), text.address, error == EADDRINUSE ? text.holder : "");
}

static bool is_unix(const struct scp_object *entry) {
    return entry->value[SCP_SOCKET_DOMAIN] == AF_UNIX;
}

// Connections of the old program may linger, and the program's own ones share the port with their listener: every TCP
// socket is bound with SO_REUSEADDR. crestart_finish_socket sets what was recorded.
static int bind_socket(struct crestart_descriptors *made, uint32_t object, int descriptor) {
    const struct scp_object *entry = &made->tables.objects[object];
    struct crestart_address name = crestart_address_of(&made->tables, object, "n=");
    int yes = 1;
    if (!crestart_is_bound(&name))
        return 0;
    if (!is_unix(entry) && entry->value[SCP_SOCKET_TYPE] == SOCK_STREAM)
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    int result = crestart_bind(made, object, &name, descriptor);
    for (int tenths = 0; result == -EADDRINUSE && !is_unix(entry) && tenths < 650 && crestart_port_lingers(&name);
         tenths++) {
        usleep(100000);
        result = crestart_bind(made, object, &name, descriptor);
    }
    return result == 0 ? 0 : without_address(made, object, -result, &name);
}

static int listen_again(struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    if (entry->kind != SCP_OBJECT_SOCKET || entry->value[SCP_SOCKET_STATE] != SCP_SOCKET_LISTENING ||
        listen(made->working[object], (int)entry->value[SCP_SOCKET_BACKLOG]) == 0)
        return 0;
    int error = errno;
    struct crestart_address name = crestart_address_of(&made->tables, object, "n=");
    return without_address(made, object, error, &name);
}

int crestart_make_socket(struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    int descriptor = crestart_new_socket(entry);
    if (descriptor < 0)
        return failed(made, object, -descriptor, "the socket cannot be made");
    made->working[object] = descriptor;
    crestart_set_options(made, object, descriptor, CRESTART_BEFORE_BIND);
    int result = bind_socket(made, object, descriptor);
    // A Unix listener has connections of the program made at it; a TCP one would forbid them their port.
    return result == 0 && is_unix(entry) ? listen_again(made, object) : result;
}

// ---- the last pass -------------------------------------------------------------------------------------------------------------

static void shut_again(const struct scp_object *entry, int descriptor) {
    uint64_t shut = entry->value[SCP_SOCKET_SHUTDOWN] & 3, state = entry->value[SCP_SOCKET_STATE];
    if (entry->kind != SCP_OBJECT_SOCKET_PAIR || shut == 0)
        return;
    if (is_unix(entry) && state == SCP_SOCKET_CONNECTED)
        shutdown(descriptor, shut == 1 ? SHUT_RD : shut == 2 ? SHUT_WR : SHUT_RDWR);
    // What a TCP end has received of this kind comes from the other end's shutdown.
    if (!is_unix(entry) && (shut & 2) && !(entry->value[SCP_SOCKET_FLAGS] & SCP_SOCKET_RESET))
        shutdown(descriptor, SHUT_WR);
}

int crestart_finish_socket(struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    int descriptor = made->working[object];
    shut_again(entry, descriptor);
    // A connected UDP socket takes datagrams of its peer alone: connected when its queue is full.
    struct crestart_address peer = crestart_address_of(&made->tables, object, "p=");
    if (!is_unix(entry) && entry->value[SCP_SOCKET_TYPE] == SOCK_DGRAM && crestart_is_bound(&peer)) {
        int result = crestart_connect(made, object, &peer, descriptor);
        if (result != 0)
            return failed(made, object, -result, "the datagram socket cannot be connected again");
    }
    int result = is_unix(entry) ? 0 : listen_again(made, object);
    // Connections and listeners keep it: should the program be killed, their addresses can be had again at once.
    if (!is_unix(entry) && entry->kind != SCP_OBJECT_SOCKET_PAIR &&
        entry->value[SCP_SOCKET_STATE] != SCP_SOCKET_LISTENING) {
        int reuse = crestart_recorded(&made->tables, object, SOL_SOCKET, SO_REUSEADDR);
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
    }
    crestart_set_options(made, object, descriptor, CRESTART_HINDERING);
    return result;
}

// ---- an end whose other end is gone ------------------------------------------------------------------------------------------

// A connection over loopback with a temporary listener: ends[0] is the one that stays.
static int connect_internet(const struct scp_object *entry, int ends[2]) {
    struct sockaddr_storage address = {.ss_family = (sa_family_t)entry->value[SCP_SOCKET_DOMAIN]};
    socklen_t length = sizeof address;
    if (address.ss_family == AF_INET)
        ((struct sockaddr_in *)&address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        ((struct sockaddr_in6 *)&address)->sin6_addr = in6addr_loopback;
    int listener = crestart_new_socket(entry), result = 0;
    ends[0] = crestart_new_socket(entry);
    ends[1] = -1;
    if (listener < 0 || ends[0] < 0 || bind(listener, (struct sockaddr *)&address, length) != 0 ||
        listen(listener, 1) != 0 || getsockname(listener, (struct sockaddr *)&address, &length) != 0 ||
        connect(ends[0], (struct sockaddr *)&address, length) != 0 ||
        (ends[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
        result = -errno;
    if (listener >= 0)
        close(listener);
    if (result != 0 && ends[0] >= 0)
        close(ends[0]);
    return result;
}

// Between the old addresses where both are ours, so that the program finds the names it knows.
static int connect_gone(struct crestart_descriptors *made, uint32_t object, int ends[2]) {
    const struct scp_object *entry = &made->tables.objects[object];
    struct crestart_address own = crestart_address_of(&made->tables, object, "n=");
    struct crestart_address other = crestart_address_of(&made->tables, object, "p=");
    if (crestart_is_bound(&own) && crestart_is_bound(&other) && crestart_connect_tcp(entry, &own, &other, 2, ends) == 0)
        return 0;
    return connect_internet(entry, ends);
}

// The other end is closed by close_extras, when the queue is full: with a reset where the program was to see one.
int crestart_make_reset(struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    int ends[2];
    if (!is_unix(entry) && entry->value[SCP_SOCKET_TYPE] != SOCK_STREAM)
        return crestart_make_socket(made, object);
    int result = 0;
    if (!is_unix(entry))
        result = connect_gone(made, object, ends);
    else if (socketpair(AF_UNIX, (int)entry->value[SCP_SOCKET_TYPE] | SOCK_CLOEXEC, 0, ends) != 0)
        result = -errno;
    if (result != 0)
        return failed(made, object, -result, "no connection in the place of the old one can be made");
    made->working[object] = ends[0];
    crestart_set_options(made, object, ends[0], CRESTART_BEFORE_BIND);
    return crestart_add_extra(made, object, ends[1]);
}
