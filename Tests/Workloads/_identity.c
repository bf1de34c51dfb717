// Who the process is: pid, tids, /proc, clocks, and what libc makes of them. The argument says what a restart promises:
// "kept" (the numbers are what they were) or "new" (they are others, but everything in the process agrees on them).
#include "workload.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

enum { THREADS = 6 };

static struct {
    pthread_t thread;
    pid_t tid;
    volatile sig_atomic_t signalled;
} threads[THREADS];
static pthread_barrier_t started;
static pthread_mutex_t checked, shared = PTHREAD_MUTEX_INITIALIZER;
static int rounds, kept;
static __thread int own_number = -1;

static void on_signal(int signal) {
    (void)signal;
    if (own_number >= 0)
        threads[own_number].signalled = 1;
}

// The Pid line of a status file.
static int pid_in(const char *path) {
    char line[256];
    int pid = -1;
    FILE *file = fopen(path, "r");
    workload_check(file != NULL);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "Pid: %d", &pid) == 1)
            break;
    fclose(file);
    return pid;
}

static void check_thread(int number) {
    char path[64];
    pid_t tid = (pid_t)syscall(SYS_gettid);
    if (kept)
        workload_equal(tid, threads[number].tid);
    workload_equal(syscall(SYS_tgkill, getpid(), tid, 0), 0);
    snprintf(path, sizeof path, "/proc/self/task/%d/status", tid);
    workload_equal(pid_in(path), tid);
    clockid_t clock;
    workload_equal(pthread_getcpuclockid(pthread_self(), &clock), 0);
    struct timespec used;
    workload_equal(clock_gettime(clock, &used), 0); // libc makes the clock from the tid it keeps
    workload_equal(pthread_mutex_lock(&checked), 0);
    workload_equal(pthread_mutex_lock(&checked), EDEADLK); // the owner is a tid
    workload_equal(pthread_mutex_unlock(&checked), 0);
}

static void *work(void *argument) {
    int number = (int)(intptr_t)argument;
    own_number = number;
    threads[number].tid = (pid_t)syscall(SYS_gettid);
    pthread_barrier_wait(&started);
    while (workload_waiting()) {
        pthread_mutex_lock(&shared);
        rounds++;
        pthread_mutex_unlock(&shared);
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    check_thread(number);
    return NULL;
}

static void *idle(void *argument) {
    return argument;
}

int main(int count, char **words) {
    pthread_mutexattr_t attributes;
    workload_check(count == 2);
    kept = strcmp(words[1], "kept") == 0;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&checked, &attributes);
    pthread_barrier_init(&started, NULL, THREADS + 1);
    signal(SIGUSR1, on_signal);
    pid_t pid = getpid();
    double before = workload_seconds();
    for (intptr_t i = 0; i < THREADS; i++)
        workload_equal(pthread_create(&threads[i].thread, NULL, work, (void *)i), 0);
    pthread_barrier_wait(&started);
    workload_ready();
    while (workload_waiting())
        for (int i = 0; i < THREADS; i++)
            if (workload_waiting() && !threads[i].signalled)
                pthread_kill(threads[i].thread, SIGUSR1);
    if (kept)
        workload_equal(getpid(), pid);
    workload_equal(pid_in("/proc/self/status"), getpid());
    workload_equal(syscall(SYS_gettid), getpid());
    workload_equal(kill(getpid(), 0), 0);
    workload_check(workload_seconds() - before < 60); // no jump of the monotonic clock
    for (int i = 0; i < THREADS; i++) {
        workload_equal(pthread_join(threads[i].thread, NULL), 0);
        workload_check(threads[i].signalled);
    }
    pthread_t late;
    workload_equal(pthread_create(&late, NULL, idle, NULL), 0);
    workload_equal(pthread_join(late, NULL), 0);
    workload_check(rounds > 0);
    workload_pass();
}
