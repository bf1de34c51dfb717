// What the storms share: workers that start and end processes as fast as they can, while checkpoints are taken. Every exit
// status and every token must be right, and every worker must get on.
#ifndef SWIFTCP_TREE_STORM_H
#define SWIFTCP_TREE_STORM_H

#include "workload.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define STORM_WORKERS 4

struct storm {
    _Atomic int stop;
    _Atomic long rounds[STORM_WORKERS];
    char complaint[256]; // the first one; empty = none
    _Atomic int complaints;
};
static struct storm *storm;

// Notes what went wrong and ends the worker.
__attribute__((noreturn, format(printf, 1, 2), unused)) static void storm_fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (atomic_fetch_add(&storm->complaints, 1) == 0)
        vsnprintf(storm->complaint, sizeof storm->complaint, format, arguments);
    va_end(arguments);
    _exit(1);
}

// Waits for exactly this child, which must have ended with exactly this status.
__attribute__((unused)) static void storm_reap(pid_t pid, int code) {
    int status;
    pid_t found = waitpid(pid, &status, 0);
    if (found != pid)
        storm_fail("waitpid(%d) gave %d: %s", pid, found, strerror(errno));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
        storm_fail("process %d ended with status %#x instead of exit code %d", pid, status, code);
}

static void storm_worker(int number, void (*once)(int worker, long round)) {
    for (long round = 0; !atomic_load(&storm->stop); round++) {
        once(number, round);
        atomic_store(&storm->rounds[number], round + 1);
    }
    _exit(0);
}

static long storm_total(void) {
    long total = 0;
    for (int i = 0; i < STORM_WORKERS; i++)
        total += atomic_load(&storm->rounds[i]);
    return total;
}

// Runs `once` in every worker until the checkpoints are over, and then until each has done two rounds more.
__attribute__((noreturn, unused)) static void storm_run(void (*once)(int worker, long round)) {
    storm = mmap(NULL, sizeof *storm, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    workload_check(storm != MAP_FAILED);
    pid_t workers[STORM_WORKERS];
    for (int i = 0; i < STORM_WORKERS; i++) {
        workers[i] = fork();
        workload_check(workers[i] >= 0);
        if (workers[i] == 0)
            storm_worker(i, once);
    }
    while (storm_total() < 10 * STORM_WORKERS && !atomic_load(&storm->complaints))
        sched_yield();
    workload_ready();
    workload_wait();
    long before[STORM_WORKERS];
    for (int i = 0; i < STORM_WORKERS; i++)
        before[i] = atomic_load(&storm->rounds[i]);
    for (int i = 0; i < STORM_WORKERS; i++)
        while (atomic_load(&storm->rounds[i]) < before[i] + 2 && !atomic_load(&storm->complaints))
            sched_yield();
    atomic_store(&storm->stop, 1);
    for (int i = 0; i < STORM_WORKERS; i++) {
        int status;
        workload_equal(waitpid(workers[i], &status, 0), workers[i]);
        if (status != 0 && atomic_load(&storm->complaints) == 0)
            workload_fail("worker %d ended with status %#x", i, status);
    }
    if (atomic_load(&storm->complaints))
        workload_fail("%s", storm->complaint);
    workload_note("%ld rounds", storm_total());
    workload_pass();
}

#endif
