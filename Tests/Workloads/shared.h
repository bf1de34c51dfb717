// For workloads about what two processes have in common: a child that does one thing each time its parent asks for it.
#ifndef SWIFTCP_WORKLOAD_SHARED_H
#define SWIFTCP_WORKLOAD_SHARED_H

#include "workload_cases.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>

static int talk = -1;
static pid_t child;

// Forks a child that answers each ask(step) with act(step).
__attribute__((unused)) static void start_child(long (*act)(int step)) {
    int ends[2];
    workload_check(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    child = fork();
    workload_check(child >= 0);
    if (child == 0) {
        close(ends[0]);
        int step;
        while (read(ends[1], &step, sizeof step) == sizeof step) {
            long result = act(step);
            if (write(ends[1], &result, sizeof result) != sizeof result)
                _exit(1);
        }
        _exit(0);
    }
    close(ends[1]);
    talk = ends[0];
}

__attribute__((unused)) static long ask(int step) {
    long result = -1;
    workload_equal(write(talk, &step, sizeof step), (long)sizeof step);
    workload_equal(read(talk, &result, sizeof result), (long)sizeof result);
    return result;
}

// Here checkpoints are taken.
__attribute__((unused)) static void pause_here(void) {
    workload_ready();
    workload_wait();
}

// The child must have ended well.
__attribute__((unused)) static void end_child(void) {
    int status = 0;
    close(talk);
    workload_equal(waitpid(child, &status, 0), child);
    workload_check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int file = -1; // of ten bytes

__attribute__((unused)) static void open_file(int flags) {
    file = open("data", O_RDWR | O_CREAT | O_TRUNC | flags, 0600);
    workload_check(file >= 0);
    workload_equal(write(file, "0123456789", 10), 10);
}

#endif
