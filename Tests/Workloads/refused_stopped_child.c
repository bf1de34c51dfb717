// A child that is stopped: refused by name, and it stays stopped. Its parent sees its stop and its going on once each, as
// always, and the child's handler of SIGCONT runs once.
// @refused is stopped
#include "workload.h"
#include <signal.h>
#include <sys/wait.h>

static volatile sig_atomic_t continued;

static void count(int signal) {
    (void)signal;
    continued++;
}

static void expect(pid_t child, int options, int code) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    workload_check(waitid(P_PID, (id_t)child, &info, options) == 0);
    workload_equal(info.si_pid, child);
    workload_equal(info.si_code, code);
}

static void run_child(void) {
    signal(SIGCONT, count);
    raise(SIGSTOP);
    _exit(continued == 1 ? 17 : 18);
}

int main(void) {
    siginfo_t info;
    pid_t child = fork();
    if (child == 0)
        run_child();
    expect(child, WSTOPPED | WNOWAIT, CLD_STOPPED);
    workload_ready();
    workload_wait();
    expect(child, WSTOPPED, CLD_STOPPED);
    memset(&info, 0, sizeof info);
    workload_check(waitid(P_PID, (id_t)child, &info, WSTOPPED | WCONTINUED | WNOHANG) == 0);
    workload_equal(info.si_pid, 0);
    workload_check(kill(child, SIGCONT) == 0);
    expect(child, WEXITED, CLD_EXITED);
    int again = waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG);
    workload_equal(again, -1);
    workload_pass();
}
