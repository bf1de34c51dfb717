// MADV_WIPEONFORK and MADV_DONTFORK: a child of the restarted program finds zeros, or nothing.
#include "memory.h"
#include <sys/wait.h>

int main(void) {
    char *wiped = map_anonymous(8 * PAGE), *left_out = map_anonymous(8 * PAGE), *plain = map_anonymous(8 * PAGE);
    fill(wiped, 8 * PAGE, 1);
    fill(left_out, 8 * PAGE, 2);
    fill(plain, 8 * PAGE, 3);
    workload_check(madvise(wiped, 8 * PAGE, MADV_WIPEONFORK) == 0);
    workload_check(madvise(left_out, 8 * PAGE, MADV_DONTFORK) == 0);
    workload_ready();
    workload_wait();
    check_filled("wiped", wiped, 8 * PAGE, 1);
    check_filled("left_out", left_out, 8 * PAGE, 2);
    pid_t child = fork();
    workload_check(child >= 0);
    if (child == 0) {
        for (size_t i = 0; i < 8 * PAGE; i++)
            if (wiped[i])
                _exit(1);
        if (fault_of(left_out, false) != SIGSEGV)
            _exit(2);
        check_filled("plain, in the child", plain, 8 * PAGE, 3);
        _exit(0);
    }
    int status;
    workload_check(waitpid(child, &status, 0) == child);
    workload_equal(status, 0);
    workload_pass();
}
