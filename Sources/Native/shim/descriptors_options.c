// Addresses and options of a socket, as words of a string (see scp_object.socket).
//
// Only what differs from a fresh socket of the same kind is recorded: setting a default again is work, and some options need
// privilege even for their default.
#include "descriptors_sockets.h"

#include <linux/in6.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

struct option {
    int level, name;
    uint32_t families; // enum family, joined
};
enum family { LOCAL = 1, IP4 = 2, IP6 = 4, TCP = 8, DATAGRAM = 16, ALL = 7, INTERNET = 6 };

// Numbers where the headers of the oldest distribution lack the name. Order: as they are to be set.
static const struct option options[] = {
    {SOL_SOCKET, SO_REUSEADDR, ALL},
    {SOL_SOCKET, SO_REUSEPORT, INTERNET},
    {SOL_SOCKET, SO_KEEPALIVE, ALL},
    {SOL_SOCKET, SO_BROADCAST, ALL},
    {SOL_SOCKET, SO_OOBINLINE, ALL},
    {SOL_SOCKET, SO_DONTROUTE, ALL},
    {SOL_SOCKET, SO_PRIORITY, ALL},
    {SOL_SOCKET, SO_LINGER, ALL},
    {SOL_SOCKET, SO_TIMESTAMP, ALL},
    {SOL_SOCKET, SO_TIMESTAMPNS, ALL},
    {SOL_SOCKET, SO_NO_CHECK, INTERNET},
    {SOL_SOCKET, SO_RXQ_OVFL, ALL},
    {SOL_SOCKET, SO_SELECT_ERR_QUEUE, ALL},
    {SOL_SOCKET, SO_ZEROCOPY, INTERNET},
    {SOL_SOCKET, SO_MARK, ALL},
    {SOL_SOCKET, SO_PASSCRED, LOCAL},
    {SOL_SOCKET, 34 /* SO_PASSSEC */, LOCAL},
    {SOL_SOCKET, 76 /* SO_PASSPIDFD */, LOCAL},
    {SOL_SOCKET, 83 /* SO_PASSRIGHTS */, LOCAL},
    {IPPROTO_IPV6, IPV6_V6ONLY, IP6},
    {IPPROTO_IP, IP_TOS, INTERNET},
    {IPPROTO_IP, IP_TTL, INTERNET},
    {IPPROTO_IP, IP_MTU_DISCOVER, INTERNET},
    {IPPROTO_IP, IP_RECVERR, INTERNET},
    {IPPROTO_IP, IP_FREEBIND, INTERNET},
    {IPPROTO_IP, IP_PKTINFO, INTERNET},
    {IPPROTO_IP, IP_RECVTTL, INTERNET},
    {IPPROTO_IP, IP_RECVTOS, INTERNET},
    {IPPROTO_IP, IP_MINTTL, INTERNET},
    {IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, INTERNET},
    {IPPROTO_IP, IP_MULTICAST_TTL, DATAGRAM},
    {IPPROTO_IP, IP_MULTICAST_LOOP, DATAGRAM},
    {IPPROTO_IP, IP_MULTICAST_ALL, DATAGRAM},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS, IP6},
    {IPPROTO_IPV6, IPV6_TCLASS, IP6},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, IP6},
    {IPPROTO_IPV6, IPV6_MTU_DISCOVER, IP6},
    {IPPROTO_TCP, TCP_NODELAY, TCP},
    {IPPROTO_TCP, TCP_KEEPIDLE, TCP},
    {IPPROTO_TCP, TCP_KEEPINTVL, TCP},
    {IPPROTO_TCP, TCP_KEEPCNT, TCP},
    {IPPROTO_TCP, TCP_SYNCNT, TCP},
    {IPPROTO_TCP, TCP_LINGER2, TCP},
    {IPPROTO_TCP, TCP_DEFER_ACCEPT, TCP},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, TCP},
    {IPPROTO_TCP, TCP_FASTOPEN, TCP},
    {IPPROTO_TCP, TCP_FASTOPEN_CONNECT, TCP},
    {IPPROTO_TCP, TCP_NOTSENT_LOWAT, TCP},
    {IPPROTO_TCP, TCP_INQ, TCP},
    {IPPROTO_TCP, TCP_CORK, TCP},
    {IPPROTO_TCP, TCP_CONGESTION, TCP},
    // What would hinder the refilling of queues comes last.
    {SOL_SOCKET, SO_SNDBUF, ALL},
    {SOL_SOCKET, SO_RCVBUF, ALL},
    {SOL_SOCKET, 72 /* SO_BUF_LOCK */, ALL},
    {SOL_SOCKET, SO_RCVLOWAT, ALL},
    {SOL_SOCKET, SO_PEEK_OFF, ALL},
    {SOL_SOCKET, SO_RCVTIMEO, ALL},
    {SOL_SOCKET, SO_SNDTIMEO, ALL},
};

static uint32_t families_of(const struct scp_object *object) {
    uint64_t domain = object->value[SCP_SOCKET_DOMAIN];
    if (domain == AF_UNIX)
        return LOCAL;
    uint32_t family = domain == AF_INET6 ? IP6 : IP4;
    return family | (object->value[SCP_SOCKET_TYPE] == SOCK_STREAM ? TCP : DATAGRAM);
}

static bool applies(const struct option *option, uint32_t families) {
    uint32_t wanted = option->families;
    if (wanted & (TCP | DATAGRAM))
        return (wanted & families & (TCP | DATAGRAM)) != 0;
    return (wanted & families) != 0;
}

static bool put_hexadecimal(struct scp_vector *text, const void *bytes, size_t length) {
    static const char digits[] = "0123456789abcdef";
    const unsigned char *from = bytes;
    if (scp_vector_reserve(text, length * 2 + 1) != 0)
        return false;
    for (size_t i = 0; i < length; i++) {
        char pair[2] = {digits[from[i] >> 4], digits[from[i] & 15]};
        scp_vector_append(text, pair, 2);
    }
    return scp_vector_append(text, " ", 1) == 0;
}

bool scp_put_word(struct scp_vector *text, const char *word, const void *bytes, size_t length) {
    return scp_vector_append(text, word, 2) == 0 && put_hexadecimal(text, bytes, length);
}

static bool put_address(struct scp_vector *text, const char *word, int descriptor, long call) {
    struct sockaddr_storage address;
    uint32_t length = sizeof address;
    if (scp_call(call, descriptor, &address, &length) != 0 || length > sizeof address)
        return true; // not connected
    return scp_put_word(text, word, &address, length);
}

static bool put_option(struct scp_vector *text, const struct option *option, const void *value, size_t length) {
    char word[64] = "o=";
    size_t used = 2 + scp_decimal(word + 2, (uint64_t)option->level);
    word[used++] = '.';
    used += scp_decimal(word + used, (uint64_t)option->name);
    word[used++] = '=';
    return scp_vector_append(text, word, used) == 0 && put_hexadecimal(text, value, length);
}

// TCP tunes its buffers by itself until the program sets them: then SO_BUF_LOCK (Linux 5.14) has a bit.
static bool is_tuned(const struct option *option, uint32_t families, int descriptor) {
    if (option->level != SOL_SOCKET || (option->name != SO_SNDBUF && option->name != SO_RCVBUF))
        return false;
    uint32_t lock = 0, length = sizeof lock;
    if (scp_call(SYS_getsockopt, descriptor, SOL_SOCKET, 72, &lock, &length) != 0)
        return (families & TCP) != 0;
    return (lock & (option->name == SO_SNDBUF ? 1u : 2u)) == 0;
}

static bool put_options(struct scp_vector *text, const struct scp_object *object, int descriptor, int fresh) {
    uint32_t families = families_of(object);
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        unsigned char value[128], usual[128];
        uint32_t length = sizeof value, usual_length = sizeof usual;
        const struct option *option = &options[i];
        if (!applies(option, families) || is_tuned(option, families, descriptor) ||
            scp_call(SYS_getsockopt, descriptor, option->level, option->name, value, &length) != 0)
            continue;
        bool known =
            fresh >= 0 && scp_call(SYS_getsockopt, fresh, option->level, option->name, usual, &usual_length) == 0;
        if (known && length == usual_length && memcmp(value, usual, length) == 0)
            continue;
        if (!put_option(text, option, value, length))
            return false;
    }
    return true;
}

// Programs keep secrets, and some their state, in the permissions of the file that a Unix socket is bound to.
static uint64_t file_mode(int descriptor) {
    struct sockaddr_un name;
    char path[sizeof name.sun_path + 1] = "";
    uint32_t length = sizeof name;
    struct stat status;
    memset(&name, 0, sizeof name);
    if (scp_call(SYS_getsockname, descriptor, &name, &length) != 0 || name.sun_family != AF_UNIX)
        return 0;
    memcpy(path, name.sun_path, sizeof name.sun_path);
    if (path[0] == '\0' || scp_call(SYS_newfstatat, AT_FDCWD, path, &status, 0) != 0 || !S_ISSOCK(status.st_mode))
        return 0;
    return status.st_mode;
}

int scp_socket_describe(struct scp_descriptor_work *work, struct scp_source *source) {
    struct scp_object *object = scp_object_at(work, source->object);
    struct scp_vector text;
    if (scp_vector_open(&text, 1, 1024) != 0)
        return scp_fail(work->checkpoint, ENOMEM, "no memory for a socket's options", NULL);
    object->value[SCP_SOCKET_FLAGS] |= object->value[SCP_STREAM_VALUE] << SCP_SOCKET_STREAM_SHIFT;
    object->value[SCP_SOCKET_FILE_MODE] = file_mode(source->descriptor);
    long fresh = scp_call(SYS_socket, object->value[SCP_SOCKET_DOMAIN], object->value[SCP_SOCKET_TYPE] | SOCK_CLOEXEC,
                          object->value[SCP_SOCKET_PROTOCOL]);
    bool done = put_address(&text, "n=", source->descriptor, SYS_getsockname) &&
                put_address(&text, "p=", source->descriptor, SYS_getpeername) &&
                put_options(&text, object, source->descriptor, (int)fresh);
    if (fresh >= 0)
        scp_call(SYS_close, fresh);
    if (done)
        object->socket = scp_string(&work->checkpoint->strings, text.base, text.count);
    scp_vector_close(&text);
    return done ? 0 : scp_fail(work->checkpoint, ENOMEM, "no memory for a socket's options", NULL);
}
