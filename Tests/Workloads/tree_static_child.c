// @refused a child of process \d+ \(tree_static.*statically linked
// @limit 60
// A statically linked child has no SwiftCP library in it: the checkpoint fails by name, and both run on.
#include "static_program.h"
#include "workload.h"

#include <signal.h>
#include <sys/wait.h>

int main(void) {
    int ends[2];
    char byte;
    static_program("static_child");
    workload_check(pipe2(ends, O_CLOEXEC) == 0);
    pid_t child = vfork(); // which never connects
    workload_check(child >= 0);
    if (child == 0) {
        execl("./static_child", "static_child", (char *)NULL);
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
