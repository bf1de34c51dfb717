// Unix sockets within the program: queues, ends that are gone or shut, descriptors on their way, names.
// @cases stream datagrams packets zero half_closed peer_gone reset rights rights_nested options listening abstract accepted named_datagrams one_way full large
#include "workload_cases.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static int pair[2];

static void expect(int socket, const char *wanted) {
    char found[64] = "";
    long got = recv(socket, found, sizeof found - 1, MSG_DONTWAIT);
    workload_equal(got, (long)strlen(wanted));
    if (strcmp(found, wanted) != 0)
        workload_fail("received %s instead of %s", found, wanted);
}

static void expect_nothing(int socket) {
    workload_equal(recv(socket, (char[1]){0}, 1, MSG_DONTWAIT), -1);
    workload_equal(errno, EAGAIN);
}

static void put(int socket, const char *text) {
    workload_equal(send(socket, text, strlen(text), MSG_NOSIGNAL), (long)strlen(text));
}

static int events(int descriptor) {
    struct pollfd poll_one = {descriptor, POLLIN | POLLOUT | POLLRDHUP, 0};
    workload_check(poll(&poll_one, 1, 0) >= 0);
    return poll_one.revents;
}

static void check_stream(void) {
    workload_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    put(pair[0], "there");
    put(pair[1], "and ");
    put(pair[1], "back");
    workload_ready();
    workload_wait();
    int waiting = 0;
    workload_check(ioctl(pair[1], FIONREAD, &waiting) == 0);
    workload_equal(waiting, 5);
    expect(pair[1], "there");
    expect(pair[0], "and back");
    expect_nothing(pair[0]);
    put(pair[0], "more");
    expect(pair[1], "more");
    workload_check(fcntl(pair[0], F_GETFL) & O_NONBLOCK);
    close(pair[0]);
    workload_equal(recv(pair[1], (char[1]){0}, 1, 0), 0);
}

static void message_walk(int type) {
    workload_check(socketpair(AF_UNIX, type, 0, pair) == 0);
    put(pair[0], "one");
    put(pair[0], "second");
    put(pair[1], "answer");
    workload_ready();
    workload_wait();
    expect(pair[1], "one");
    expect(pair[1], "second");
    expect_nothing(pair[1]);
    expect(pair[0], "answer");
    put(pair[0], "third");
    expect(pair[1], "third");
    int found = 0;
    workload_check(getsockopt(pair[0], SOL_SOCKET, SO_TYPE, &found, &(socklen_t){sizeof found}) == 0);
    workload_equal(found, type);
}

static void check_datagrams(void) {
    message_walk(SOCK_DGRAM);
}

static void check_packets(void) {
    message_walk(SOCK_SEQPACKET);
}

static void check_zero(void) {
    workload_check(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
    put(pair[0], "a");
    put(pair[0], "");
    put(pair[0], "b");
    workload_ready();
    workload_wait();
    expect(pair[1], "a");
    expect(pair[1], "");
    expect(pair[1], "b");
    expect_nothing(pair[1]);
}

static void check_half_closed(void) {
    workload_check(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    put(pair[0], "last words");
    workload_check(shutdown(pair[0], SHUT_WR) == 0);
    workload_ready();
    workload_wait();
    workload_check(events(pair[1]) & POLLRDHUP);
    expect(pair[1], "last words");
    workload_equal(recv(pair[1], (char[1]){0}, 1, MSG_DONTWAIT), 0);
    workload_equal(send(pair[0], "x", 1, MSG_NOSIGNAL), -1);
    workload_equal(errno, EPIPE);
    put(pair[1], "still open");
    expect(pair[0], "still open");
}

static void check_peer_gone(void) {
    workload_check(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    put(pair[0], "left behind");
    close(pair[0]);
    workload_ready();
    workload_wait();
    workload_check(events(pair[1]) & POLLHUP);
    expect(pair[1], "left behind");
    workload_equal(recv(pair[1], (char[1]){0}, 1, 0), 0);
    workload_equal(send(pair[1], "x", 1, MSG_NOSIGNAL), -1);
    workload_equal(errno, EPIPE);
}

// The other end was closed with something unread.
static void check_reset(void) {
    workload_check(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    put(pair[0], "data");
    put(pair[1], "unread");
    close(pair[0]);
    workload_ready();
    workload_wait();
    workload_check(events(pair[1]) & POLLERR);
    expect(pair[1], "data");
    workload_equal(recv(pair[1], (char[1]){0}, 1, 0), -1);
    workload_equal(errno, ECONNRESET);
}

static void send_descriptors(int socket, const int *descriptors, int count, const char *text) {
    union {
        char bytes[CMSG_SPACE(16 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec vector = {(void *)text, strlen(text)};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = CMSG_SPACE((size_t)count * sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
    memcpy(CMSG_DATA(header), descriptors, (size_t)count * sizeof(int));
    workload_equal(sendmsg(socket, &message, 0), (long)strlen(text));
}

static int receive_descriptors(int socket, int *descriptors, char *text) {
    union {
        char bytes[CMSG_SPACE(16 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec vector = {text, 63};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    long got = recvmsg(socket, &message, MSG_DONTWAIT);
    workload_check(got >= 0);
    text[got] = '\0';
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header == NULL)
        return 0;
    int count = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(descriptors, CMSG_DATA(header), (size_t)count * sizeof(int));
    return count;
}

// A descriptor that nobody else has, one that the program still has, and plain data before and after.
static void check_rights(void) {
    char text[64];
    int got[16];
    workload_check(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    int file = open("file", O_RDWR | O_CREAT, 0600), event = eventfd(5, 0);
    workload_equal(write(file, "0123456789", 10), 10);
    workload_equal(lseek(file, 4, SEEK_SET), 4);
    put(pair[0], "before "); // a stream reads on into what carries descriptors, and stops behind it
    send_descriptors(pair[0], (int[]){file, event}, 2, "with");
    put(pair[0], "after");
    close(file);
    workload_ready();
    workload_wait();
    workload_equal(receive_descriptors(pair[1], got, text), 2);
    workload_check(strcmp(text, "before with") == 0);
    workload_equal(read(got[0], text, 3), 3);
    workload_check(memcmp(text, "456", 3) == 0);
    eventfd_t value;
    workload_check(eventfd_read(got[1], &value) == 0);
    workload_equal(value, 5);
    workload_check(eventfd_write(got[1], 9) == 0 && eventfd_read(event, &value) == 0);
    workload_equal(value, 9); // still the same one
    expect(pair[1], "after");
}

// A pair in flight, with another descriptor in its own queue.
static void check_rights_nested(void) {
    char text[64];
    int got[16], inner[2];
    workload_check(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, inner) == 0);
    int event = eventfd(3, 0);
    send_descriptors(inner[0], &event, 1, "deep");
    close(event);
    send_descriptors(pair[0], inner, 2, "pair");
    close(inner[0]);
    close(inner[1]);
    workload_ready();
    workload_wait();
    workload_equal(receive_descriptors(pair[1], got, text), 2);
    workload_check(strcmp(text, "pair") == 0);
    int deep[16];
    workload_equal(receive_descriptors(got[1], deep, text), 1);
    workload_check(strcmp(text, "deep") == 0);
    eventfd_t value;
    workload_check(eventfd_read(deep[0], &value) == 0);
    workload_equal(value, 3);
    put(got[0], "on");
    expect(got[1], "on");
}

static int number_of(int socket, int name) {
    int value = -1;
    workload_check(getsockopt(socket, SOL_SOCKET, name, &value, &(socklen_t){sizeof value}) == 0);
    return value;
}

static void check_options(void) {
    workload_check(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    int bytes = 50000, yes = 1, low = 7;
    struct timeval limit = {2, 0};
    workload_check(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes) == 0);
    workload_check(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    workload_check(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) == 0);
    workload_check(setsockopt(pair[1], SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low) == 0);
    put(pair[1], "waits");
    workload_ready();
    workload_wait();
    workload_equal(number_of(pair[0], SO_SNDBUF), 100000);
    workload_equal(number_of(pair[1], SO_PASSCRED), 1);
    workload_equal(number_of(pair[1], SO_RCVLOWAT), 7);
    workload_equal(number_of(pair[0], SO_PASSCRED), 0);
    workload_equal(number_of(pair[1], SO_PEEK_OFF), -1);
    struct timeval found = {0, 0};
    workload_check(getsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &found, &(socklen_t){sizeof found}) == 0);
    workload_equal(found.tv_sec, 2);
    expect(pair[0], "waits");
}

static struct sockaddr_un name_of(const char *path, socklen_t *length) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    size_t bytes = strlen(path + 1) + 1; // an abstract name begins with a NUL
    memcpy(name.sun_path, path, bytes);
    *length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes + (path[0] ? 1 : 0));
    return name;
}

static int bound(int type, const char *path) {
    socklen_t length;
    struct sockaddr_un name = name_of(path, &length);
    int descriptor = socket(AF_UNIX, type, 0);
    workload_check(descriptor >= 0 && bind(descriptor, (struct sockaddr *)&name, length) == 0);
    return descriptor;
}

static int connected(int type, const char *path) {
    socklen_t length;
    struct sockaddr_un name = name_of(path, &length);
    int descriptor = socket(AF_UNIX, type, 0);
    workload_check(descriptor >= 0 && connect(descriptor, (struct sockaddr *)&name, length) == 0);
    return descriptor;
}

static void use_listener(int listener, const char *path) {
    int client = connected(SOCK_STREAM, path), server = accept(listener, NULL, NULL);
    workload_check(server >= 0);
    put(client, "hello");
    expect(server, "hello");
}

static void check_listening(void) {
    int listener = bound(SOCK_STREAM, "socket"); // a relative name
    workload_check(listen(listener, 3) == 0);
    workload_check(chmod("socket", 0700) == 0);
    workload_ready();
    workload_wait();
    workload_equal(number_of(listener, SO_ACCEPTCONN), 1);
    struct stat status;
    workload_check(stat("socket", &status) == 0);
    workload_equal(status.st_mode & 07777, 0700);
    use_listener(listener, "socket");
}

static void check_abstract(void) {
    char name[32] = "";
    snprintf(name + 1, sizeof name - 1, "swiftcp-%d", (int)getpid());
    int listener = bound(SOCK_STREAM, name);
    workload_check(listen(listener, 3) == 0);
    workload_ready();
    workload_wait();
    use_listener(listener, name);
}

static void expect_name(int socket, int (*get)(int, struct sockaddr *, socklen_t *), const char *wanted) {
    struct sockaddr_un name = {0};
    socklen_t length = sizeof name;
    workload_check(get(socket, (struct sockaddr *)&name, &length) == 0);
    if (strcmp(name.sun_path, wanted) != 0)
        workload_fail("the name is %s instead of %s", name.sun_path, wanted);
}

// The listener lives on beside its connections; then it is closed.
static void check_accepted(void) {
    int listener = bound(SOCK_STREAM, "socket"), other = bound(SOCK_SEQPACKET, "gone");
    workload_check(listen(listener, 3) == 0 && listen(other, 3) == 0);
    int client = connected(SOCK_STREAM, "socket"), server = accept(listener, NULL, NULL);
    int lone_client = connected(SOCK_SEQPACKET, "gone"), lone_server = accept(other, NULL, NULL);
    close(other);
    put(client, "to server");
    put(lone_server, "to client");
    workload_ready();
    workload_wait();
    expect(server, "to server");
    expect(lone_client, "to client");
    expect_name(server, getsockname, "socket");
    expect_name(client, getpeername, "socket");
    expect_name(client, getsockname, "");
    expect_name(lone_server, getsockname, "gone");
    put(server, "x");
    expect(client, "x");
    use_listener(listener, "socket");
}

static void check_named_datagrams(void) {
    int one = bound(SOCK_DGRAM, "one"), two = bound(SOCK_DGRAM, "two");
    socklen_t length;
    struct sockaddr_un name = name_of("two", &length), from = {0};
    workload_equal(sendto(one, "letter", 6, 0, (struct sockaddr *)&name, length), 6);
    workload_ready();
    workload_wait();
    char text[16] = "";
    socklen_t room = sizeof from;
    workload_equal(recvfrom(two, text, 15, MSG_DONTWAIT, (struct sockaddr *)&from, &room), 6);
    workload_check(strcmp(text, "letter") == 0 && strcmp(from.sun_path, "one") == 0);
    name = name_of("one", &length);
    workload_equal(sendto(two, "answer", 6, 0, (struct sockaddr *)&name, length), 6);
    expect(one, "answer");
}

static void check_one_way(void) {
    int server = bound(SOCK_DGRAM, "server"), client = connected(SOCK_DGRAM, "server");
    put(client, "a");
    put(client, "b");
    workload_ready();
    workload_wait();
    expect(server, "a");
    expect(server, "b");
    put(client, "c");
    expect(server, "c");
}

static void check_full(void) {
    static char block[100000];
    long total = 0, got, after = 0;
    workload_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    memset(block, 'f', sizeof block);
    while ((got = send(pair[0], block, 777, 0)) > 0)
        total += got;
    workload_equal(errno, EAGAIN);
    workload_ready();
    workload_wait();
    while ((got = recv(pair[1], block, sizeof block, 0)) > 0) {
        after += got;
        for (long i = 0; i < got; i++)
            workload_check(block[i] == 'f');
    }
    workload_equal(after, total);
}

static void check_large(void) {
    static char block[1 << 20];
    int bytes = 1 << 22;
    workload_check(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (char)(i * 31 + i / 1000);
    long length = send(pair[0], block, 190000, 0);
    workload_equal(length, 190000);
    memset(block, 0, sizeof block);
    workload_ready();
    workload_wait();
    workload_equal(recv(pair[1], block, sizeof block, 0), 190000);
    for (size_t i = 0; i < 190000; i++)
        if (block[i] != (char)(i * 31 + i / 1000))
            workload_fail("byte %zu is wrong", i);
}

WORKLOAD_CASES({"stream", check_stream}, {"datagrams", check_datagrams}, {"packets", check_packets},
               {"zero", check_zero}, {"half_closed", check_half_closed}, {"peer_gone", check_peer_gone},
               {"reset", check_reset}, {"rights", check_rights}, {"rights_nested", check_rights_nested},
               {"options", check_options}, {"listening", check_listening}, {"abstract", check_abstract},
               {"accepted", check_accepted}, {"named_datagrams", check_named_datagrams}, {"one_way", check_one_way},
               {"full", check_full}, {"large", check_large})
