// Children that job control has stopped: they stay stopped, over checkpoints and restarts; their parent learns of the stop
// once; SIGCONT lets them run on, and a handler of it runs once.
//   seen     the parent has waited for the report of the stop before the checkpoint
//   due      it has not
//   tstp     stopped by SIGTSTP, for which the child has a handler that stops it by the default action
//   threads  of several threads, in read, futex, nanosleep and at work
//   three    three children
//   nested   the stopped child has a stopped child of its own
// @cases seen due tstp threads three nested
#include "workload.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#define CHILDREN 3

static struct shared {
    volatile long steps[CHILDREN]; // that the program of a child makes
    _Atomic int threads; // that have begun
} * shared;
static volatile sig_atomic_t continued;

static void count(int signal) {
    (void)signal;
    continued++;
}

static void expect(pid_t child, int options, int code) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    while (waitid(P_PID, (id_t)child, &info, options) < 0)
        workload_equal(errno, EINTR);
    workload_equal(info.si_pid, child);
    workload_equal(info.si_code, code);
}

static void expect_nothing(pid_t child) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    workload_check(waitid(P_PID, (id_t)child, &info, WSTOPPED | WCONTINUED | WNOHANG) == 0);
    if (info.si_pid != 0)
        workload_fail("a report of %d: code %d, status %d", info.si_pid, info.si_code, info.si_status);
}

// ---- children ---------------------------------------------------------------------------------------------------------

static void stop_by_default(int number) {
    signal(number, SIG_DFL);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    raise(number);
    signal(number, stop_by_default);
}

static void run_plain(int number, int index) {
    signal(SIGCONT, count);
    signal(SIGTSTP, stop_by_default);
    // In an orphaned group, as that of a job in the background may be, the kernel drops the stop signals of terminals.
    workload_check(number == SIGSTOP || setpgid(0, 0) == 0);
    shared->steps[index]++;
    raise(number);
    shared->steps[index]++;
    struct sigaction kept;
    sigaction(SIGTSTP, NULL, &kept);
    _exit(continued == 1 && kept.sa_handler == stop_by_default ? 17 : 18);
}

static int pipe_ends[2];
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
static volatile bool ending;

static void *read_pipe(void *unused) {
    char byte = 0;
    shared->threads++;
    while (read(pipe_ends[0], &byte, 1) < 0) // a stop is no reason to come back from read
        workload_fail("read: %s", strerror(errno));
    return byte == 'x' ? unused : (void *)1;
}

static void *take_mutex(void *unused) {
    shared->threads++;
    pthread_mutex_lock(&held);
    pthread_mutex_unlock(&held);
    return unused;
}

static void *sleep_long(void *unused) {
    struct timespec rest = {0, 300000000};
    shared->threads++;
    while (nanosleep(&rest, &rest) < 0)
        workload_equal(errno, EINTR);
    return unused;
}

static void *work(void *unused) {
    shared->threads++;
    while (!ending)
        shared->steps[0]++;
    return unused;
}

static void run_threads(void) {
    void *(*const bodies[])(void *) = {read_pipe, take_mutex, sleep_long, work};
    pthread_t threads[4];
    workload_check(pipe(pipe_ends) == 0);
    pthread_mutex_lock(&held);
    for (int i = 0; i < 4; i++)
        workload_check(pthread_create(&threads[i], NULL, bodies[i], NULL) == 0);
    // A thread that is just being born has every signal blocked by libc: stopped there it would be refused.
    while (shared->threads < 4 || shared->steps[0] < 1000)
        continue;
    raise(SIGSTOP);
    pthread_mutex_unlock(&held);
    workload_check(write(pipe_ends[1], "x", 1) == 1);
    ending = true;
    for (int i = 0; i < 4; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        workload_check(result == NULL);
    }
    _exit(17);
}

static void run_nested(void) {
    pid_t child = fork();
    if (child == 0)
        run_plain(SIGSTOP, 1);
    expect(child, WSTOPPED, CLD_STOPPED);
    signal(SIGCONT, count);
    raise(SIGSTOP);
    expect_nothing(child);
    kill(child, SIGCONT);
    expect(child, WEXITED, CLD_EXITED);
    _exit(continued == 1 ? 17 : 18);
}

// ---- the parent -------------------------------------------------------------------------------------------------------

static void check_still(long before[CHILDREN]) {
    for (int i = 0; i < CHILDREN; i++)
        workload_equal(shared->steps[i], before[i]);
}

static void look_after(const char *name, const pid_t *children, int count_of_children) {
    long before[CHILDREN];
    bool due = strcmp(name, "due") == 0;
    for (int i = 0; i < count_of_children; i++)
        expect(children[i], WSTOPPED | (due ? WNOWAIT : 0), CLD_STOPPED);
    for (int i = 0; i < CHILDREN; i++)
        before[i] = shared->steps[i];
    workload_ready();
    while (workload_waiting()) {
        check_still(before);
        usleep(1000);
    }
    for (int i = 0; i < count_of_children; i++) {
        if (due)
            expect(children[i], WSTOPPED, CLD_STOPPED);
        expect_nothing(children[i]);
    }
    check_still(before);
    for (int i = 0; i < count_of_children; i++) {
        siginfo_t info;
        workload_check(kill(children[i], SIGCONT) == 0);
        workload_check(waitid(P_PID, (id_t)children[i], &info, WEXITED) == 0);
        workload_equal(info.si_code, CLD_EXITED);
        workload_equal(info.si_status, 17);
    }
}

int main(int count_of_arguments, char **arguments) {
    const char *name = count_of_arguments > 1 ? arguments[1] : "seen";
    int count_of_children = strcmp(name, "three") == 0 ? CHILDREN : 1;
    pid_t children[CHILDREN];
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    workload_check(shared != MAP_FAILED);
    for (int i = 0; i < count_of_children; i++) {
        children[i] = fork();
        if (children[i] != 0)
            continue;
        if (strcmp(name, "threads") == 0)
            run_threads();
        if (strcmp(name, "nested") == 0)
            run_nested();
        run_plain(strcmp(name, "tstp") == 0 ? SIGTSTP : SIGSTOP, i);
    }
    look_after(name, children, count_of_children);
    workload_pass();
}
