// A child made by a raw clone system call, past libc's fork handlers: SwiftCP has no thread in it.
// @refused raw clone system call
#include "workload.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

int main(void) {
    int ends[2], status = 0;
    char byte;
    workload_check(pipe(ends) == 0);
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    workload_check(child >= 0);
    if (child == 0) {
        syscall(SYS_close, ends[1]);
        syscall(SYS_exit_group, syscall(SYS_read, ends[0], &byte, 1) == 0 ? 7 : 8);
    }
    close(ends[0]);
    workload_ready();
    workload_wait();
    close(ends[1]);
    workload_equal(waitpid(child, &status, 0), child);
    workload_check(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    workload_pass();
}
