// The checkpoint thread's connection to the coordinator. The descriptors live in the checkpoint thread's private table:
// the program can neither see nor close them, and no child inherits them.
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

// Messages of a fixed size that are read without a look at their length are no longer than this.
#define KNOWN_MAXIMUM sizeof(struct scp_text)

SCP_FORK_DATA struct scp_link scp_link = {.socket = -1, .poke = {-1, -1}};

SCP_FORK_CODE int scp_link_open_poke(void) {
    return (int)scp_call(SYS_pipe2, scp_link.poke, O_CLOEXEC | O_NONBLOCK);
}

void scp_link_close(void) {
    if (scp_link.socket >= 0)
        scp_call(SYS_close, scp_link.socket);
    scp_link.socket = -1;
}

int scp_link_peer(void) {
    struct scp_peer {
        int32_t pid;
        uint32_t user, group;
    } peer = {.pid = 0};
    uint32_t length = sizeof peer;
    long result = scp_call(SYS_getsockopt, scp_link.socket, SOL_SOCKET, SO_PEERCRED, &peer, &length);
    return result < 0 ? 0 : peer.pid;
}

// The pipe is in another descriptor table: reached through /proc it is the same pipe.
void scp_poke(void) {
    uint32_t tid = atomic_load(&scp_checkpoint_thread_tid);
    char path[64], tid_text[24], number[24];
    if (tid == 0 || scp_link.poke[1] < 0)
        return;
    tid_text[scp_decimal(tid_text, tid)] = 0;
    number[scp_decimal(number, (uint64_t)scp_link.poke[1])] = 0;
    scp_concat(path, sizeof path, "/proc/self/task/", tid_text, "/fd/", number, (char *)NULL);
    long descriptor = scp_call(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC | O_NONBLOCK, 0);
    if (descriptor < 0)
        return;
    scp_call(SYS_write, descriptor, "", 1);
    scp_call(SYS_close, descriptor);
}

static int connect_unix(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, length + 1);
    long socket = scp_call(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (socket < 0)
        return (int)socket;
    long result = scp_call(SYS_connect, socket, &address, sizeof address);
    if (result < 0) {
        scp_call(SYS_close, socket);
        return (int)result;
    }
    return (int)socket;
}

// Sends the parts one after the other, as one message. On failure the link is closed.
static int send_parts(struct iovec *parts, int count) {
    size_t left = 0;
    if (scp_link.socket < 0)
        return -ENOTCONN;
    for (int i = 0; i < count; i++)
        left += parts[i].iov_len;
    for (;;) {
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
        long sent = scp_call(SYS_sendmsg, scp_link.socket, &message, MSG_NOSIGNAL);
        if (sent == -EINTR)
            continue;
        if (sent < 0) {
            scp_link_close();
            return (int)sent;
        }
        left -= (size_t)sent;
        if (left == 0)
            return 0;
        for (int i = 0; i < count; i++) {
            size_t part = (size_t)sent < parts[i].iov_len ? (size_t)sent : parts[i].iov_len;
            parts[i].iov_base = (char *)parts[i].iov_base + part;
            parts[i].iov_len -= part;
            sent -= (long)part;
        }
    }
}

int scp_link_send(uint16_t type, const void *payload, size_t length) {
    struct scp_frame frame = {(uint32_t)(sizeof frame + length), SCP_PROTOCOL_VERSION, type};
    struct iovec parts[2] = {{&frame, sizeof frame}, {(void *)payload, length}};
    return send_parts(parts, 2);
}

// Its largest field is sent from where it stands: in a child of fork each page written is a page copied.
static int say_hello(bool restarted) {
    static const char nothing[sizeof((struct scp_hello *)0)->reserved];
    struct scp_frame frame = {sizeof frame + sizeof(struct scp_hello), SCP_PROTOCOL_VERSION, SCP_MESSAGE_HELLO};
    struct scp_hello hello; // written and sent only up to the folder
    memset(&hello, 0, offsetof(struct scp_hello, checkpoint_directory));
    hello.own_pid = scp_own_pid;
    hello.own_ppid = (uint32_t)scp_call(SYS_getppid);
    hello.restarted = restarted;
    scp_read_small("/proc/self/comm", hello.name, sizeof hello.name);
    char *newline = strchr(hello.name, '\n');
    if (newline)
        *newline = 0;
    strcpy(hello.computation, scp_settings.computation);
    struct iovec parts[] = {{&frame, sizeof frame},
                            {&hello, offsetof(struct scp_hello, checkpoint_directory)},
                            {scp_settings.checkpoint_directory, sizeof scp_settings.checkpoint_directory},
                            {(void *)nothing, sizeof nothing}};
    _Static_assert(offsetof(struct scp_hello, checkpoint_directory) + sizeof scp_settings.checkpoint_directory +
                           sizeof nothing ==
                       sizeof(struct scp_hello),
                   "the parts are the whole");
    return send_parts(parts, 4);
}

int scp_link_connect(bool restarted) {
    if (strncmp(scp_settings.coordinator, "unix:", 5) != 0)
        return -EPROTONOSUPPORT;
    int socket = connect_unix(scp_settings.coordinator + 5);
    if (socket < 0)
        return socket;
    scp_link.socket = socket;
    return say_hello(restarted);
}

static int receive_all(void *buffer, size_t length) {
    size_t done = 0;
    while (done < length) {
        long got = scp_call(SYS_recvfrom, scp_link.socket, (char *)buffer + done, length - done, 0, NULL, NULL);
        if (got == -EINTR)
            continue;
        if (got <= 0)
            return got == 0 ? -EPIPE : (int)got;
        done += (size_t)got;
    }
    return 0;
}

SCP_FORK_CODE static int wait_for_input(int limit_ms) {
    struct timespec limit = {limit_ms / 1000, limit_ms % 1000 * 1000000l};
    struct pollfd ends[2] = {{scp_link.socket, POLLIN, 0}, {scp_link.poke[0], POLLIN, 0}};
    long ready = scp_call(SYS_ppoll, ends, 2, limit_ms < 0 ? NULL : &limit, NULL, 8);
    if (ready < 0)
        return (int)ready;
    if (ends[1].revents) {
        char drain[64];
        while (scp_call(SYS_read, scp_link.poke[0], drain, sizeof drain) == (long)sizeof drain)
            continue;
        return -EINTR;
    }
    return ready == 0 ? -ETIMEDOUT : 0;
}

static int receive_frame(uint16_t *type, void *payload, size_t size) {
    struct scp_frame frame;
    int result = receive_all(&frame, sizeof frame);
    if (result < 0)
        return result;
    size_t length = frame.length - sizeof frame;
    if (frame.version != SCP_PROTOCOL_VERSION || frame.length < sizeof frame || length > size)
        return -EPROTO;
    *type = frame.type;
    size_t known = length > KNOWN_MAXIMUM ? length : KNOWN_MAXIMUM;
    memset(payload, 0, size < known ? size : known);
    result = receive_all(payload, length);
    return result < 0 ? result : (int)length;
}

SCP_FORK_CODE int scp_link_receive(uint16_t *type, void *payload, size_t size, int limit_ms) {
    int result = wait_for_input(limit_ms);
    if (result < 0)
        return result;
    result = receive_frame(type, payload, size);
    if (result < 0) {
        scp_link_close();
        return -EPIPE;
    }
    return result;
}
