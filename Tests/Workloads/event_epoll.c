// epoll sets: triggers, data, entries whose number has been closed or taken over, sets inside sets.
// @cases level edge oneshot stale reused nested many exclusive
#include "workload_cases.h"
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

static int set;

static void add(int descriptor, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data.u64 = data};
    workload_check(epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &event) == 0);
}

// The one event that is due, its data; 0 = none.
static uint64_t one(uint32_t *events) {
    struct epoll_event event[8];
    int count = epoll_wait(set, event, 8, 0);
    workload_check(count >= 0);
    if (count > 1)
        workload_fail("%d events instead of one", count);
    if (events != NULL)
        *events = count == 1 ? event[0].events : 0;
    return count == 1 ? event[0].data.u64 : 0;
}

static void check_level(void) {
    set = epoll_create1(EPOLL_CLOEXEC);
    int quiet = eventfd(0, 0), loud = eventfd(1, 0);
    add(quiet, EPOLLIN, 0x1111222233334444);
    add(loud, EPOLLIN | EPOLLRDHUP, 0xffffffff00000001);
    workload_ready();
    workload_wait();
    uint32_t events;
    workload_check(one(&events) == 0xffffffff00000001);
    workload_equal(events, EPOLLIN);
    workload_check(one(NULL) == 0xffffffff00000001); // level: still due
    workload_equal(eventfd_read(loud, &(eventfd_t){0}), 0);
    workload_check(one(NULL) == 0);
    workload_equal(eventfd_write(quiet, 1), 0);
    workload_check(one(NULL) == 0x1111222233334444);
    workload_equal(fcntl(set, F_GETFD), FD_CLOEXEC);
    workload_check(epoll_ctl(set, EPOLL_CTL_DEL, quiet, NULL) == 0 && epoll_ctl(set, EPOLL_CTL_DEL, loud, NULL) == 0);
}

// A ready edge-triggered entry may show once more than before, never once less.
static void check_edge(void) {
    set = epoll_create1(0);
    int seen = eventfd(1, EFD_NONBLOCK), fresh = eventfd(0, EFD_NONBLOCK);
    add(seen, EPOLLIN | EPOLLET, 1);
    add(fresh, EPOLLIN | EPOLLET, 2);
    workload_check(one(NULL) == 1);
    workload_ready();
    workload_wait();
    uint64_t spurious = one(NULL);
    workload_check(spurious == 0 || spurious == 1);
    workload_check(one(NULL) == 0);
    workload_equal(eventfd_write(fresh, 1), 0);
    workload_check(one(NULL) == 2);
    workload_check(one(NULL) == 0);
    workload_equal(eventfd_write(seen, 1), 0);
    workload_check(one(NULL) == 1);
}

static void check_oneshot(void) {
    set = epoll_create1(0);
    int used = eventfd(1, EFD_NONBLOCK), armed = eventfd(0, EFD_NONBLOCK), ends[2], unready[2];
    add(used, EPOLLIN | EPOLLONESHOT, 1);
    workload_check(one(NULL) == 1);
    workload_check(pipe(ends) == 0 && pipe(unready) == 0);
    add(ends[0], EPOLLIN | EPOLLONESHOT, 3);
    close(ends[1]);
    workload_check(one(NULL) == 3); // used up by HUP
    add(unready[0], EPOLLIN | EPOLLONESHOT, 4);
    workload_equal(write(unready[1], "x", 1), 1);
    workload_check(one(NULL) == 4);
    workload_equal(read(unready[0], (char[1]){0}, 1), 1);
    add(armed, EPOLLIN | EPOLLONESHOT, 2);
    workload_ready();
    workload_wait();
    workload_check(one(NULL) == 0); // none of the used ones
    workload_equal(write(unready[1], "x", 1), 1);
    workload_check(one(NULL) == 0);
    workload_equal(eventfd_write(armed, 1), 0);
    workload_check(one(NULL) == 2);
    workload_check(one(NULL) == 0);
    struct epoll_event again = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 11};
    workload_check(epoll_ctl(set, EPOLL_CTL_MOD, used, &again) == 0);
    workload_check(one(NULL) == 11);
}

// The number is closed, the file lives on under another: the entry stays and fires.
static void check_stale(void) {
    set = epoll_create1(0);
    int event = eventfd(0, 0), other = dup(event);
    add(event, EPOLLIN, 5);
    close(event);
    workload_ready();
    workload_wait();
    workload_check(one(NULL) == 0);
    workload_equal(fcntl(event, F_GETFD), -1);
    workload_equal(eventfd_write(other, 1), 0);
    workload_check(one(NULL) == 5);
    workload_equal(epoll_ctl(set, EPOLL_CTL_DEL, other, NULL), -1);
    workload_equal(errno, ENOENT);
    close(other);
    workload_check(one(NULL) == 0);
}

// The number belongs to another file now, which is in the set as well.
static void check_reused(void) {
    set = epoll_create1(0);
    int first = eventfd(0, 0), kept = dup(first);
    add(first, EPOLLIN, 1);
    close(first);
    int second = eventfd(0, 0);
    workload_equal(second, first);
    add(second, EPOLLIN, 2);
    workload_ready();
    workload_wait();
    workload_check(one(NULL) == 0);
    workload_equal(eventfd_write(kept, 1), 0);
    workload_check(one(NULL) == 1);
    workload_equal(eventfd_read(kept, &(eventfd_t){0}), 0);
    workload_equal(eventfd_write(second, 1), 0);
    workload_check(one(NULL) == 2);
    workload_check(epoll_ctl(set, EPOLL_CTL_DEL, second, NULL) == 0);
    workload_equal(eventfd_write(kept, 1), 0);
    workload_check(one(NULL) == 1);
}

static void check_nested(void) {
    int event = eventfd(0, 0), inner = epoll_create1(0), outer = epoll_create1(0);
    set = inner;
    add(event, EPOLLIN, 1);
    set = outer;
    add(inner, EPOLLIN, 2);
    workload_ready();
    workload_wait();
    workload_check(one(NULL) == 0);
    workload_equal(eventfd_write(event, 1), 0);
    workload_check(one(NULL) == 2);
    set = inner;
    workload_check(one(NULL) == 1);
}

#define MANY 500
static void check_many(void) {
    static int events[MANY];
    set = epoll_create1(0);
    for (uint64_t i = 0; i < MANY; i++)
        add(events[i] = eventfd(0, 0), EPOLLIN | (i % 3 == 0 ? EPOLLET : 0), i + 1);
    workload_ready();
    workload_wait();
    for (uint64_t i = 0; i < MANY; i++) {
        workload_equal(eventfd_write(events[i], 1), 0);
        workload_check(one(NULL) == i + 1);
        workload_equal(eventfd_read(events[i], &(eventfd_t){0}), 0);
    }
}

static void check_exclusive(void) {
    set = epoll_create1(0);
    int event = eventfd(0, 0);
    add(event, EPOLLIN | EPOLLEXCLUSIVE, 9);
    workload_ready();
    workload_wait();
    struct epoll_event changed = {.events = EPOLLIN};
    workload_equal(epoll_ctl(set, EPOLL_CTL_MOD, event, &changed), -1); // not allowed for an exclusive one
    workload_equal(eventfd_write(event, 1), 0);
    workload_check(one(NULL) == 9);
}

WORKLOAD_CASES({"level", check_level}, {"edge", check_edge}, {"oneshot", check_oneshot}, {"stale", check_stale},
               {"reused", check_reused}, {"nested", check_nested}, {"many", check_many}, {"exclusive", check_exclusive})
