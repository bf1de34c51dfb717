// Parent-death signals (PR_SET_PDEATHSIG) of children: kept, and sent when the parent ends after a restart, as of each generation.
#include "workload.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static int told[2]; // what the grandchild has seen

static volatile sig_atomic_t parent_died;
static void on_death(int signal) {
    parent_died = signal;
}

static void grandchild(void) {
    int kept = 0;
    signal(SIGUSR1, on_death);
    if (prctl(PR_SET_PDEATHSIG, SIGUSR1) != 0 || write(told[1], "r", 1) != 1)
        _exit(1);
    while (!parent_died)
        usleep(1000);
    prctl(PR_GET_PDEATHSIG, &kept);
    _exit(write(told[1], kept == SIGUSR1 ? "d" : "?", 1) == 1 ? 0 : 1);
}

int main(void) {
    int go[2], status = 0;
    char byte = 0;
    workload_check(pipe(told) == 0 && pipe(go) == 0);
    workload_check(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    pid_t child = fork();
    if (child == 0) {
        if (fork() == 0)
            grandchild();
        _exit(read(go[0], &byte, 1) == 1 ? 7 : 1);
    }
    workload_equal(read(told[0], &byte, 1), 1);
    workload_ready();
    workload_wait();
    workload_equal(write(go[1], "x", 1), 1);
    workload_equal(waitpid(child, &status, 0), child);
    workload_equal(status, 7 << 8);
    workload_equal(read(told[0], &byte, 1), 1);
    workload_equal(byte, 'd');
    workload_check(wait(&status) > 0);
    workload_equal(status, 0);
    workload_pass();
}
