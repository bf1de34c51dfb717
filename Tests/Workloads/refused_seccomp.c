// A program that confines itself with a seccomp filter, or was started by one that had, cannot be saved: the filter would be
// gone after a restart.
// @cases own exec
// @refused confined itself with seccomp
#include "workload.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

int main(int count, char **words) {
    bool exec = count > 1 && strcmp(words[1], "exec") == 0, again = getenv("CONFINED") != NULL;
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {1, &allow};
    workload_check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    if (!again && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        workload_skip("seccomp: %s", strerror(errno));
    if (exec && !again) {
        setenv("CONFINED", "1", 1);
        execv("/proc/self/exe", words);
        workload_fail("execv: %s", strerror(errno));
    }
    workload_ready();
    workload_wait();
    workload_pass();
}
