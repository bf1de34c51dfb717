// A child that is no thread and shares its parent's memory, or its table of descriptors: refused by name.
// @cases memory files
// @refused (shares its memory \(CLONE_VM\)|shares its table of descriptors \(CLONE_FILES\)) with process
#include "workload.h"
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

static char stack[64 << 10];
static int ends[2];

// System calls alone: memory, and errno with it, may be the parent's.
static int wait_for_end(void *argument) {
    char byte;
    (void)argument;
    return read(ends[0], &byte, 1) == 1 ? 0 : 1;
}

int main(int count, char **words) {
    int flags = count > 1 && strcmp(words[1], "files") == 0 ? CLONE_FILES : CLONE_VM, status;
    workload_check(pipe(ends) == 0);
    pid_t child = clone(wait_for_end, stack + sizeof stack, flags | SIGCHLD, NULL);
    workload_check(child > 0);
    workload_ready();
    workload_wait();
    workload_check(write(ends[1], "", 1) == 1);
    workload_check(waitpid(child, &status, 0) == child);
    workload_equal(status, 0);
    workload_pass();
}
