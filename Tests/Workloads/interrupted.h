// The table of system calls that a checkpoint interrupts: see _interrupted.c.
#ifndef SWIFTCP_INTERRUPTED_H
#define SWIFTCP_INTERRUPTED_H

#include "workload.h"
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>

// How a call ended.
struct ending {
    long result;
    int error; // errno, 0 when result >= 0
};

struct call {
    const char *name;
    void (*prepare)(void); // may be NULL
    struct ending (*enter)(void);
    void (*wake)(void); // makes it end; NULL: it ends when its time is up
    long result; // what it must return
    int error; // and the errno, 0 = none
};

// The time a timed call takes, in seconds; main sets it.
extern double interrupted_time;

static inline struct ending interrupted_end(long result) {
    return (struct ending){result, result < 0 ? errno : 0};
}
static inline struct ending interrupted_code(int code) { // of the pthread_* functions
    return (struct ending){code ? -1 : 0, code};
}
static inline struct timespec interrupted_relative(void) {
    return (struct timespec){(time_t)interrupted_time,
                             (long)((interrupted_time - (double)(time_t)interrupted_time) * 1e9)};
}
static inline struct timespec interrupted_absolute(clockid_t clock) {
    struct timespec now, add = interrupted_relative();
    clock_gettime(clock, &now);
    now.tv_sec += add.tv_sec + (now.tv_nsec + add.tv_nsec) / 1000000000;
    now.tv_nsec = (now.tv_nsec + add.tv_nsec) % 1000000000;
    return now;
}
static inline int interrupted_milliseconds(void) {
    return (int)(interrupted_time * 1000);
}
// The thread that is in the call, for signals.
extern pthread_t interrupted_thread;

extern const struct call interrupted_timed[], interrupted_waits[], interrupted_locks[], interrupted_transfers[];

#endif
