// POSIX message queues: messages with priorities and order, limits, flags, names, queues without one, and shared ones.
// @cases order unlinked flags full gone_name twice shared tokens waiting
#include "workload_cases.h"
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char name[64];

static mqd_t make(int flags, long messages, long bytes) {
    struct mq_attr shape = {.mq_maxmsg = messages, .mq_msgsize = bytes};
    snprintf(name, sizeof name, "/swiftcp-%d",
             (int)getpid()); // whose number the driver knows, and takes away what is left
    mqd_t queue = mq_open(name, flags | O_CREAT | O_EXCL, 0640, &shape);
    if (queue < 0 && (errno == ENOSYS || errno == EMFILE))
        workload_skip("no POSIX message queues here: %s", strerror(errno));
    workload_check(queue >= 0);
    return queue;
}

static void send(mqd_t queue, const char *text, unsigned priority) {
    workload_check(mq_send(queue, text, strlen(text), priority) == 0);
}

static void expect(mqd_t queue, const char *text, unsigned priority) {
    char bytes[256] = "";
    unsigned found = 0;
    ssize_t length = mq_receive(queue, bytes, sizeof bytes, &found);
    workload_check(length >= 0);
    if ((size_t)length != strlen(text) || memcmp(bytes, text, (size_t)length) != 0)
        workload_fail("received %.*s instead of %s", (int)length, bytes, text);
    workload_equal(found, priority);
}

static void expect_empty(mqd_t queue) {
    struct mq_attr shape;
    workload_check(mq_getattr(queue, &shape) == 0);
    workload_equal(shape.mq_curmsgs, 0);
}

static void check_order(void) {
    mqd_t queue = make(O_RDWR, 9, 64);
    send(queue, "low", 1);
    send(queue, "first", 7);
    send(queue, "second", 7);
    send(queue, "", 3);
    send(queue, "highest", 32767);
    workload_ready();
    workload_wait();
    expect(queue, "highest", 32767);
    expect(queue, "first", 7);
    expect(queue, "second", 7);
    expect(queue, "", 3);
    expect(queue, "low", 1);
    expect_empty(queue);
    workload_check(mq_unlink(name) == 0);
}

static void check_unlinked(void) {
    mqd_t queue = make(O_RDWR, 4, 16);
    workload_check(mq_unlink(name) == 0);
    send(queue, "nameless", 2);
    workload_ready();
    workload_wait();
    expect(queue, "nameless", 2);
    workload_check(mq_open(name, O_RDONLY) < 0 && errno == ENOENT);
}

static void check_flags(void) {
    mqd_t queue = make(O_RDWR | O_NONBLOCK, 3, 100), reader = mq_open(name, O_RDONLY | O_CLOEXEC);
    struct mq_attr shape;
    struct stat status;
    workload_check(reader >= 0 && fcntl(reader, F_SETFD, 0) == 0);
    workload_ready();
    workload_wait();
    workload_check(mq_getattr(queue, &shape) == 0);
    workload_check(shape.mq_flags == O_NONBLOCK && shape.mq_maxmsg == 3 && shape.mq_msgsize == 100);
    workload_check(mq_getattr(reader, &shape) == 0 && shape.mq_flags == 0);
    workload_check(fcntl(queue, F_GETFD) == FD_CLOEXEC && fcntl(reader, F_GETFD) == 0);
    workload_check(mq_send(reader, "x", 1, 0) < 0 && errno == EBADF);
    workload_check(fstat(queue, &status) == 0);
    workload_equal(status.st_mode & 0777, 0640 & ~022);
    char bytes[100];
    workload_check(mq_receive(queue, bytes, sizeof bytes, NULL) < 0 && errno == EAGAIN);
    workload_check(mq_unlink(name) == 0);
}

static void check_full(void) {
    mqd_t queue = make(O_RDWR | O_NONBLOCK, 10, 200);
    char bytes[200];
    for (int i = 0; i < 10; i++) {
        memset(bytes, 'a' + i, sizeof bytes);
        workload_check(mq_send(queue, bytes, sizeof bytes, (unsigned)i % 3) == 0);
    }
    workload_ready();
    workload_wait();
    workload_check(mq_send(queue, bytes, 1, 0) < 0 && errno == EAGAIN);
    const char order[] = "cfibehadgj";
    for (int i = 0; i < 10; i++) {
        workload_equal(mq_receive(queue, bytes, sizeof bytes, NULL), sizeof bytes);
        workload_check(bytes[0] == order[i] && bytes[199] == order[i]);
    }
    workload_check(mq_unlink(name) == 0);
}

// A queue whose name another queue has taken since.
static void check_gone_name(void) {
    mqd_t queue = make(O_RDWR, 4, 16);
    struct mq_attr shape = {.mq_maxmsg = 2, .mq_msgsize = 8};
    send(queue, "old", 1);
    workload_check(mq_unlink(name) == 0);
    mqd_t other = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &shape);
    workload_check(other >= 0);
    send(other, "new", 1);
    workload_ready();
    workload_wait();
    expect(queue, "old", 1);
    expect(other, "new", 1);
    workload_check(mq_unlink(name) == 0);
}

// Two descriptions of one queue, one of them also under a second number, and in an epoll set.
static void check_twice(void) {
    mqd_t queue = make(O_RDWR, 4, 16), other = mq_open(name, O_RDWR), copy = dup(other);
    int set = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 77};
    workload_check(epoll_ctl(set, EPOLL_CTL_ADD, queue, &event) == 0);
    send(other, "one", 5);
    workload_ready();
    workload_wait();
    workload_check(epoll_wait(set, &event, 1, 1000) == 1 && event.data.u64 == 77);
    struct mq_attr shape = {.mq_flags = O_NONBLOCK}, found;
    workload_check(mq_setattr(copy, &shape, NULL) == 0 && mq_getattr(other, &found) == 0);
    workload_equal(found.mq_flags, O_NONBLOCK);
    workload_check(mq_getattr(queue, &found) == 0 && found.mq_flags == 0);
    expect(queue, "one", 5);
    send(queue, "two", 6);
    expect(copy, "two", 6);
    expect_empty(other);
    workload_check(mq_unlink(name) == 0);
}

static int status_of(pid_t child) {
    int status = -1;
    workload_equal(waitpid(child, &status, 0), child);
    return status;
}

// Parent and child have the queue by fork, and the child by its name once more.
static void check_shared(void) {
    mqd_t queue = make(O_RDWR, 8, 16);
    int ready[2];
    char byte;
    workload_check(pipe(ready) == 0);
    pid_t child = fork();
    if (child == 0) {
        mqd_t own = mq_open(name, O_RDWR);
        workload_check(own >= 0 && write(ready[1], "x", 1) == 1);
        workload_wait();
        expect(own, "urgent", 9);
        expect(queue, "plain", 0);
        send(own, "answer", 1);
        _exit(0);
    }
    workload_check(read(ready[0], &byte, 1) == 1);
    send(queue, "plain", 0);
    send(queue, "urgent", 9);
    workload_ready();
    workload_wait();
    workload_equal(status_of(child), 0);
    expect(queue, "answer", 1);
    expect_empty(queue);
    workload_check(mq_unlink(name) == 0);
}

// Numbers go round between two processes while checkpoints are taken: none is lost, doubled or overtaken.
static void check_tokens(void) {
    mqd_t there = make(O_RDWR, 5, 16);
    char second[80];
    struct mq_attr shape = {.mq_maxmsg = 5, .mq_msgsize = 16};
    snprintf(second, sizeof second, "%s-back", name);
    mqd_t back = mq_open(second, O_RDWR | O_CREAT | O_EXCL, 0600, &shape);
    workload_check(back >= 0);
    uint64_t number = 0, expected = 0;
    pid_t child = fork();
    if (child == 0) {
        char bytes[16];
        for (;;) {
            workload_equal(mq_receive(there, bytes, sizeof bytes, NULL), sizeof number);
            memcpy(&number, bytes, sizeof number);
            workload_equal(number, expected++);
            workload_check(mq_send(back, bytes, sizeof number, 0) == 0);
        }
    }
    workload_ready();
    for (; workload_waiting() || number % 8 != 0; number++) {
        char bytes[16];
        uint64_t found;
        workload_check(mq_send(there, (char *)&number, sizeof number, 0) == 0);
        if (number < 4)
            continue; // four are always on their way
        workload_equal(mq_receive(back, bytes, sizeof bytes, NULL), sizeof found);
        memcpy(&found, bytes, sizeof found);
        workload_equal(found, number - 4);
    }
    workload_check(kill(child, SIGKILL) == 0);
    workload_equal(WTERMSIG(status_of(child)), SIGKILL);
    workload_check(mq_unlink(name) == 0 && mq_unlink(second) == 0);
}

// A receiver and a sender that stand in their calls.
static void check_waiting(void) {
    mqd_t empty = make(O_RDWR, 2, 16), full;
    char second[80], first[64];
    snprintf(first, sizeof first, "%s", name);
    snprintf(second, sizeof second, "%s-full", name);
    struct mq_attr shape = {.mq_maxmsg = 1, .mq_msgsize = 16};
    full = mq_open(second, O_RDWR | O_CREAT | O_EXCL, 0600, &shape);
    workload_check(full >= 0);
    send(full, "blocks", 0);
    pid_t reader = fork();
    if (reader == 0) {
        expect(empty, "woken", 4);
        _exit(0);
    }
    pid_t writer = fork();
    if (writer == 0) {
        send(full, "through", 1);
        _exit(0);
    }
    workload_ready();
    workload_wait();
    send(empty, "woken", 4);
    workload_equal(status_of(reader), 0);
    expect(full, "blocks", 0);
    expect(full, "through", 1);
    workload_equal(status_of(writer), 0);
    workload_check(mq_unlink(first) == 0 && mq_unlink(second) == 0);
}

WORKLOAD_CASES({"order", check_order}, {"unlinked", check_unlinked}, {"flags", check_flags}, {"full", check_full},
               {"gone_name", check_gone_name}, {"twice", check_twice}, {"shared", check_shared},
               {"tokens", check_tokens}, {"waiting", check_waiting})
