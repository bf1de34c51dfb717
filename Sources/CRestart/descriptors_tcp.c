// TCP connections within the program: made again over loopback between the same two addresses.
//
// Sequence numbers are new, addresses and ports are not. One end listens for a moment; a listening socket of the program
// on the same port begins to listen only when all connections stand (a listener forbids other sockets to bind).
#include "descriptors_sockets.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <time.h>

#define LOCAL_PORT_RANGE 51 /* IP_LOCAL_PORT_RANGE, Linux 6.3 */
// 10 ms apart: a TIME_WAIT of our own gives way a second after both ends have ended, which a busy host delays.
#define ATTEMPTS 500

static void set(int descriptor, int level, int name, int value) {
    setsockopt(descriptor, level, name, &value, sizeof value);
}

static void pause_ms(long ms) {
    struct timespec moment = {0, ms * 1000000};
    nanosleep(&moment, NULL);
}

// A port of the ephemeral range that another socket uses can still be had for this one connection.
static int bind_late(int descriptor, const struct crestart_address *name) {
    struct crestart_address any = *name;
    unsigned port = crestart_port(name);
    *crestart_port_of(&any) = 0;
    set(descriptor, IPPROTO_IP, LOCAL_PORT_RANGE, (int)(port << 16 | port));
    set(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    return bind(descriptor, (struct sockaddr *)&any.bytes, any.length) == 0 ? 0 : -errno;
}

static int bind_client(int descriptor, const struct crestart_address *name) {
    set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1);
    if (bind(descriptor, (const struct sockaddr *)&name->bytes, name->length) == 0)
        return 0;
    return errno == EADDRINUSE ? bind_late(descriptor, name) : -errno;
}

static int same_name(int descriptor, const struct crestart_address *wanted) {
    struct crestart_address found = {.length = sizeof found.bytes};
    if (getsockname(descriptor, (struct sockaddr *)&found.bytes, &found.length) != 0)
        return 0;
    return crestart_port(&found) == crestart_port(wanted);
}

static int open_listener(const struct scp_object *entry, const struct crestart_address *name) {
    int listener = crestart_new_socket(entry);
    if (listener < 0)
        return listener;
    set(listener, SOL_SOCKET, SO_REUSEADDR, 1);
    if (bind(listener, (const struct sockaddr *)&name->bytes, name->length) == 0 && listen(listener, 1) == 0)
        return listener;
    int error = errno;
    close(listener);
    return -error;
}

// ends[0] has the address `own`, ends[1] `other`; ends[1] is accepted.
static int connect_once(const struct scp_object *entry, const struct crestart_address *own,
                        const struct crestart_address *other, int ends[2]) {
    ends[0] = ends[1] = -1;
    int listener = open_listener(entry, other), result = listener < 0 ? listener : 0;
    if (result == 0)
        result = ends[0] = crestart_new_socket(entry);
    if (result >= 0)
        result = bind_client(ends[0], own);
    if (result == 0 && connect(ends[0], (const struct sockaddr *)&other->bytes, other->length) != 0)
        result = -errno;
    if (result == 0 && !same_name(ends[0], own))
        result = -EADDRINUSE;
    if (result == 0 && (ends[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
        result = -errno;
    if (listener >= 0)
        close(listener);
    if (result < 0 && ends[0] >= 0)
        close(ends[0]);
    return result < 0 ? result : 0;
}

// With timestamps off, a TIME_WAIT forbids the connecting side its address for a while: then the roles are exchanged.
int crestart_connect_tcp(const struct scp_object *entry, const struct crestart_address *own,
                         const struct crestart_address *other, int attempts, int ends[2]) {
    int result = -EADDRINUSE;
    for (int i = 0; i < attempts; i++) {
        if (i > 1)
            pause_ms(10);
        bool swapped = i % 2 == 1;
        result = connect_once(entry, swapped ? other : own, swapped ? own : other, ends);
        if (result == 0 && swapped) {
            int held = ends[0];
            ends[0] = ends[1];
            ends[1] = held;
        }
        if (result != -EADDRINUSE && result != -EADDRNOTAVAIL)
            return result;
    }
    return result;
}

static int connect_itself(const struct scp_object *entry, const struct crestart_address *name) {
    int descriptor = crestart_new_socket(entry);
    if (descriptor < 0)
        return descriptor;
    int result = bind_client(descriptor, name);
    if (result == 0 && connect(descriptor, (const struct sockaddr *)&name->bytes, name->length) != 0)
        result = -errno;
    if (result == 0)
        return descriptor;
    close(descriptor);
    return result;
}

static void forget_port_range(int descriptor) {
    set(descriptor, IPPROTO_IP, LOCAL_PORT_RANGE, 0);
    set(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 0);
}

int crestart_make_tcp(struct crestart_descriptors *made, uint32_t object, uint32_t peer) {
    const struct scp_object *entry = &made->tables.objects[object];
    struct crestart_address own = crestart_address_of(&made->tables, object, "n=");
    struct crestart_address other = crestart_address_of(&made->tables, object, "p=");
    int ends[2] = {-1, -1}, result;
    if (object == peer)
        result = ends[0] = connect_itself(entry, &own);
    else
        result = crestart_connect_tcp(entry, &own, &other, ATTEMPTS, ends);
    if (result < 0)
        return crestart_fail(made->message, -result,
                             "%s: the connection within the program cannot have its old addresses again",
                             crestart_name(&made->tables, object));
    made->working[object] = ends[0];
    if (object != peer)
        made->working[peer] = ends[1];
    for (int i = 0; i < (object == peer ? 1 : 2); i++) {
        forget_port_range(ends[i]);
        crestart_set_options(made, i == 0 ? object : peer, ends[i], CRESTART_BEFORE_BIND);
    }
    return 0;
}

// ---- queues --------------------------------------------------------------------------------------------------------------

// A receiver that is full takes more when it may not be read before there is a lot.
void crestart_tcp_widen(int receiver) {
    char byte;
    set(receiver, SOL_SOCKET, SO_RCVLOWAT, 1 << 30);
    if (recv(receiver, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0)
        pause_ms(1);
}

// Until all that was sent stands in the receiver's queue: up to a second.
int crestart_tcp_settle(int sender, int receiver) {
    int waiting = 0;
    for (int i = 0; i < 1000; i++) {
        if (ioctl(sender, SIOCOUTQ, &waiting) != 0 || waiting == 0)
            break;
        crestart_tcp_widen(receiver);
        pause_ms(1);
    }
    set(receiver, SOL_SOCKET, SO_RCVLOWAT, 1);
    return waiting == 0 ? 0 : -ENOBUFS;
}
