// TCP and UDP over loopback: listeners, connections within the program, queues, connections that lead out.
// @cases listening listening6 fresh udp udp_connected udp_queue tcp tcp_queue tcp_half_closed tcp_peer_gone tcp_large tcp_many
#include "workload_cases.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

static int number_of(int socket, int level, int name) {
    int value = -1;
    workload_check(getsockopt(socket, level, name, &value, &(socklen_t){sizeof value}) == 0);
    return value;
}

static void put(int socket, const char *text) {
    workload_equal(send(socket, text, strlen(text), MSG_NOSIGNAL), (long)strlen(text));
}

static void expect(int socket, const char *wanted) {
    char found[64] = "";
    struct pollfd poll_one = {socket, POLLIN, 0};
    workload_equal(poll(&poll_one, 1, 5000), 1);
    workload_equal(recv(socket, found, strlen(wanted), MSG_WAITALL), (long)strlen(wanted));
    if (strcmp(found, wanted) != 0)
        workload_fail("received %s instead of %s", found, wanted);
}

static struct sockaddr_in own_name(int socket) {
    struct sockaddr_in name;
    workload_check(getsockname(socket, (struct sockaddr *)&name, &(socklen_t){sizeof name}) == 0);
    return name;
}

static int bound(int type) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int descriptor = socket(AF_INET, type, 0), yes = 1;
    if (type == SOCK_STREAM) // as every server does: the restart need not wait for a TIME_WAIT to end
        workload_check(setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0);
    workload_check(descriptor >= 0 && bind(descriptor, (struct sockaddr *)&name, sizeof name) == 0);
    return descriptor;
}

static int connected(int type, struct sockaddr_in name) {
    int descriptor = socket(AF_INET, type, 0);
    workload_check(descriptor >= 0 && connect(descriptor, (struct sockaddr *)&name, sizeof name) == 0);
    return descriptor;
}

static void check_listening(void) {
    int listener = bound(SOCK_STREAM), yes = 1;
    workload_check(setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) == 0);
    workload_check(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0);
    workload_check(listen(listener, 7) == 0);
    struct sockaddr_in name = own_name(listener);
    workload_ready();
    workload_wait();
    workload_equal(number_of(listener, SOL_SOCKET, SO_ACCEPTCONN), 1);
    workload_equal(number_of(listener, IPPROTO_TCP, TCP_NODELAY), 1);
    workload_equal(number_of(listener, SOL_SOCKET, SO_REUSEADDR), 1);
    workload_equal(own_name(listener).sin_port, name.sin_port);
    struct tcp_info info;
    workload_check(getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &(socklen_t){sizeof info}) == 0);
    workload_equal(info.tcpi_sacked, 7);
    int client = connected(SOCK_STREAM, name), server = accept(listener, NULL, NULL);
    put(client, "hello");
    expect(server, "hello");
}

static void check_listening6(void) {
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    int listener = socket(AF_INET6, SOCK_STREAM, 0), yes = 1;
    if (listener < 0 || bind(listener, (struct sockaddr *)&name, sizeof name) != 0)
        workload_skip("no IPv6 here: %s", strerror(errno));
    close(listener);
    listener = socket(AF_INET6, SOCK_STREAM, 0);
    workload_check(setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes) == 0);
    workload_check(bind(listener, (struct sockaddr *)&name, sizeof name) == 0 && listen(listener, 3) == 0);
    workload_ready();
    workload_wait();
    workload_equal(number_of(listener, IPPROTO_IPV6, IPV6_V6ONLY), 1);
    workload_check(getsockname(listener, (struct sockaddr *)&name, &(socklen_t){sizeof name}) == 0);
    int client = socket(AF_INET6, SOCK_STREAM, 0);
    workload_check(connect(client, (struct sockaddr *)&name, sizeof name) == 0);
    workload_check(accept(listener, NULL, NULL) >= 0);
}

static void check_fresh(void) {
    int one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), seconds = 77, yes = 1;
    workload_check(setsockopt(one, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes) == 0);
    workload_check(setsockopt(one, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds) == 0);
    int listener = bound(SOCK_STREAM);
    workload_ready();
    workload_wait();
    workload_equal(number_of(one, IPPROTO_TCP, TCP_KEEPIDLE), 77);
    workload_equal(number_of(one, SOL_SOCKET, SO_KEEPALIVE), 1);
    workload_equal(fcntl(one, F_GETFD), FD_CLOEXEC);
    workload_check(listen(listener, 1) == 0);
    struct sockaddr_in name = own_name(listener);
    workload_check(connect(one, (struct sockaddr *)&name, sizeof name) == 0);
}

static void check_udp(void) {
    int one = bound(SOCK_DGRAM), two = bound(SOCK_DGRAM);
    struct sockaddr_in name = own_name(two);
    workload_ready();
    workload_wait();
    workload_equal(own_name(two).sin_port, name.sin_port);
    workload_equal(sendto(one, "x", 1, 0, (struct sockaddr *)&name, sizeof name), 1);
    expect(two, "x");
}

static void check_udp_connected(void) {
    int server = bound(SOCK_DGRAM), client = connected(SOCK_DGRAM, own_name(server));
    struct sockaddr_in name = own_name(client);
    put(client, "waiting");
    workload_ready();
    workload_wait();
    struct sockaddr_in from;
    char text[16] = "";
    workload_equal(recvfrom(server, text, 15, MSG_DONTWAIT, (struct sockaddr *)&from, &(socklen_t){sizeof from}), 7);
    workload_equal(from.sin_port, name.sin_port);
    workload_equal(sendto(server, "back", 4, 0, (struct sockaddr *)&from, sizeof from), 4);
    expect(client, "back");
    put(client, "again");
    expect(server, "again");
}

static void check_udp_queue(void) {
    int server = bound(SOCK_DGRAM), one = bound(SOCK_DGRAM);
    struct sockaddr_in name = own_name(server), sender = own_name(one);
    workload_equal(sendto(one, "first", 5, 0, (struct sockaddr *)&name, sizeof name), 5);
    workload_equal(sendto(one, "second", 6, 0, (struct sockaddr *)&name, sizeof name), 6);
    close(one);
    workload_ready();
    workload_wait();
    struct sockaddr_in from;
    char text[16] = "";
    workload_equal(recvfrom(server, text, 15, MSG_DONTWAIT, (struct sockaddr *)&from, &(socklen_t){sizeof from}), 5);
    workload_equal(from.sin_port, sender.sin_port);
    workload_equal(recv(server, text, 15, MSG_DONTWAIT), 6);
    workload_equal(recv(server, text, 15, MSG_DONTWAIT), -1);
}

static int ends[2];

static void connect_pair(bool keep_listener) {
    int listener = bound(SOCK_STREAM);
    workload_check(listen(listener, 7) == 0);
    ends[0] = connected(SOCK_STREAM, own_name(listener));
    ends[1] = accept(listener, NULL, NULL);
    workload_check(ends[1] >= 0);
    if (!keep_listener)
        close(listener);
}

static void check_tcp(void) {
    connect_pair(true);
    int yes = 1;
    workload_check(setsockopt(ends[0], IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) == 0);
    struct sockaddr_in client = own_name(ends[0]), server = own_name(ends[1]);
    workload_ready();
    workload_wait();
    workload_equal(own_name(ends[0]).sin_port, client.sin_port);
    workload_equal(own_name(ends[1]).sin_port, server.sin_port);
    workload_equal(number_of(ends[0], IPPROTO_TCP, TCP_NODELAY), 1);
    put(ends[0], "to");
    expect(ends[1], "to");
    put(ends[1], "fro");
    expect(ends[0], "fro");
    close(ends[0]);
    workload_equal(recv(ends[1], (char[1]){0}, 1, 0), 0);
}

static void check_tcp_queue(void) {
    connect_pair(false);
    put(ends[0], "there ");
    put(ends[0], "and");
    put(ends[1], "back");
    workload_ready();
    workload_wait();
    expect(ends[1], "there and");
    expect(ends[0], "back");
    put(ends[1], "more");
    expect(ends[0], "more");
}

static void check_tcp_half_closed(void) {
    connect_pair(false);
    put(ends[0], "last");
    workload_check(shutdown(ends[0], SHUT_WR) == 0);
    workload_ready();
    workload_wait();
    expect(ends[1], "last");
    workload_equal(recv(ends[1], (char[1]){0}, 1, 0), 0);
    workload_equal(send(ends[0], "x", 1, MSG_NOSIGNAL), -1);
    workload_equal(errno, EPIPE);
    put(ends[1], "open");
    expect(ends[0], "open");
}

static void check_tcp_peer_gone(void) {
    connect_pair(false);
    put(ends[0], "bequest");
    close(ends[0]);
    struct pollfd poll_one = {ends[1], POLLRDHUP, 0};
    workload_equal(poll(&poll_one, 1, 5000), 1);
    workload_ready();
    workload_wait();
    expect(ends[1], "bequest");
    workload_equal(recv(ends[1], (char[1]){0}, 1, 0), 0);
}

// More than the receiver had room for.
static void check_tcp_large(void) {
    static char block[65536];
    long total = 0, after = 0, got;
    connect_pair(false);
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (char)(i * 13 + i / 256);
    workload_check(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
    struct pollfd poll_one = {ends[0], POLLOUT, 0};
    while (poll(&poll_one, 1, 200) == 1) {
        got = send(ends[0], block + total % 65536, (size_t)(65536 - total % 65536), 0);
        if (got > 0)
            total += got;
    }
    workload_ready();
    workload_wait();
    static char found[65536];
    while (after < total) {
        got = recv(ends[1], found, sizeof found, 0);
        workload_check(got > 0);
        for (long i = 0; i < got; i++)
            if (found[i] != block[(after + i) % 65536])
                workload_fail("byte %ld is wrong", after + i);
        after += got;
    }
    close(ends[0]);
    workload_equal(recv(ends[1], found, 1, 0), 0);
}

#define MANY 100
static void check_tcp_many(void) {
    static int pairs[MANY][2];
    int listener = bound(SOCK_STREAM);
    workload_check(listen(listener, MANY) == 0);
    for (int i = 0; i < MANY; i++) {
        pairs[i][0] = connected(SOCK_STREAM, own_name(listener));
        pairs[i][1] = accept(listener, NULL, NULL);
        workload_equal(write(pairs[i][i % 2], &i, sizeof i), (long)sizeof i);
    }
    workload_ready();
    workload_wait();
    for (int i = 0; i < MANY; i++) {
        int number = -1;
        workload_equal(recv(pairs[i][1 - i % 2], &number, sizeof number, MSG_WAITALL), (long)sizeof number);
        workload_equal(number, i);
    }
}

WORKLOAD_CASES({"listening", check_listening}, {"listening6", check_listening6}, {"fresh", check_fresh},
               {"udp", check_udp}, {"udp_connected", check_udp_connected}, {"udp_queue", check_udp_queue},
               {"tcp", check_tcp}, {"tcp_queue", check_tcp_queue}, {"tcp_half_closed", check_tcp_half_closed},
               {"tcp_peer_gone", check_tcp_peer_gone}, {"tcp_large", check_tcp_large}, {"tcp_many", check_tcp_many})
