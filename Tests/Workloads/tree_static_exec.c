// @refused process \d+ \(.*\) has replaced its program by static_child, which cannot be checkpointed: .*statically linked|process \d+ \(static_child\).*statically linked
// @limit 25
// A child of fork that executes a statically linked program leaves its connection for ever: the checkpoint fails by name within
// seconds (25 is less than what an exec is waited for), whatever its environment; both run on.
// @cases exec cleaned
#include "static_program.h"
#include "workload.h"

#include <signal.h>
#include <sys/wait.h>

int main(int words, char **word) {
    char *none[] = {NULL}, *name[] = {"static_child", NULL};
    int ends[2];
    char byte;
    bool cleaned = words > 1 && strcmp(word[1], "cleaned") == 0;
    static_program("static_child");
    workload_check(pipe2(ends, O_CLOEXEC) == 0);
    pid_t child = fork();
    workload_check(child >= 0);
    if (child == 0) {
        if (cleaned)
            execve("./static_child", name, none);
        else
            execv("./static_child", name);
        _exit(121);
    }
    close(ends[1]);
    workload_equal(read(ends[0], &byte, 1), 0); // its exec has closed the other end
    workload_ready();
    workload_wait();
    int status;
    workload_equal(waitpid(child, &status, WNOHANG), 0);
    workload_check(kill(child, SIGKILL) == 0);
    workload_equal(waitpid(child, &status, 0), child);
    workload_check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    workload_pass();
}
