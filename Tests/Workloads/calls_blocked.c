// Threads wait in system calls that only end when this program makes them: none may end otherwise.
#include "workload.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>

enum { WAITS = 6 };
static int pipes[WAITS][2], pair[2], event, epoll;
static _Atomic int returned;

static void *wait_in_read(void *argument) {
    char byte;
    workload_equal(read(pipes[0][0], &byte, 1), 1);
    workload_equal(byte, 'r');
    returned++;
    return argument;
}

static void *wait_in_poll(void *argument) {
    struct pollfd wanted = {.fd = pipes[1][0], .events = POLLIN};
    workload_equal(poll(&wanted, 1, -1), 1);
    returned++;
    return argument;
}

static void *wait_in_select(void *argument) {
    fd_set wanted;
    FD_ZERO(&wanted);
    FD_SET(pipes[2][0], &wanted);
    workload_equal(select(pipes[2][0] + 1, &wanted, NULL, NULL, NULL), 1);
    returned++;
    return argument;
}

static void *wait_in_epoll(void *argument) {
    struct epoll_event found;
    workload_equal(epoll_wait(epoll, &found, 1, -1), 1);
    workload_equal(found.data.u64, 0x1122334455667788);
    returned++;
    return argument;
}

static void *wait_in_receive(void *argument) {
    char bytes[8];
    workload_equal(recv(pair[0], bytes, sizeof bytes, MSG_WAITALL), 8);
    workload_check(memcmp(bytes, "12345678", 8) == 0);
    returned++;
    return argument;
}

static void *wait_in_eventfd(void *argument) {
    uint64_t value;
    workload_equal(read(event, &value, sizeof value), 8);
    workload_equal(value, 7);
    returned++;
    return argument;
}

int main(void) {
    void *(*const waits[WAITS])(void *) = {wait_in_read,  wait_in_poll,    wait_in_select,
                                           wait_in_epoll, wait_in_receive, wait_in_eventfd};
    pthread_t threads[WAITS];
    for (int i = 0; i < WAITS; i++)
        workload_check(pipe(pipes[i]) == 0);
    workload_check(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    workload_check((event = eventfd(0, 0)) >= 0 && (epoll = epoll_create1(EPOLL_CLOEXEC)) >= 0);
    struct epoll_event wanted = {.events = EPOLLIN, .data.u64 = 0x1122334455667788};
    workload_check(epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[3][0], &wanted) == 0);
    for (int i = 0; i < WAITS; i++)
        workload_check(pthread_create(&threads[i], NULL, waits[i], NULL) == 0);
    workload_ready();
    workload_wait();
    workload_equal(returned, 0);
    workload_equal(write(pipes[0][1], "r", 1), 1);
    workload_equal(write(pipes[1][1], "p", 1), 1);
    workload_equal(write(pipes[2][1], "s", 1), 1);
    workload_equal(write(pipes[3][1], "e", 1), 1);
    workload_equal(send(pair[1], "1234", 4, 0), 4);
    workload_equal(send(pair[1], "5678", 4, 0), 4);
    workload_equal(write(event, &(uint64_t){7}, 8), 8);
    for (int i = 0; i < WAITS; i++)
        workload_check(pthread_join(threads[i], NULL) == 0);
    workload_pass();
}
