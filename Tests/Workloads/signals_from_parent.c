// Signals that a parent sends to its children, which end them: one that is sent while they stand still is not lost.
// @limit 60
#include "workload.h"

#include <signal.h>
#include <sys/wait.h>

static pid_t start(void) {
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    workload_check(pid > 0);
    return pid;
}

static void end(pid_t pid, int signal) {
    int status = 0;
    workload_equal(kill(pid, signal), 0);
    workload_equal(waitpid(pid, &status, 0), pid);
    workload_equal(status, signal);
}

// A child that is told to end a moment later, so that a checkpoint falls between birth and signal, or signal and end.
static void end_one(int signal) {
    pid_t pid = start();
    usleep(3000);
    end(pid, signal);
    usleep(3000);
}

int main(void) {
    pid_t bystander = start(); // the harness sees a tree at every moment
    workload_ready();
    do {
        end_one(SIGTERM);
        end_one(SIGUSR1);
        end_one(SIGKILL);
    } while (workload_waiting());
    end(bystander, SIGTERM);
    workload_pass();
}
