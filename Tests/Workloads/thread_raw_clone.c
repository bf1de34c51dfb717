// A thread made by clone(2) without libc: no id word to clear, no robust list, the thread pointer of another thread.
#include "workload.h"
#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum { STACK = 256 << 10 };
static _Atomic int ticks, stop, ended;
static _Atomic pid_t tid;

static int run(void *argument) {
    tid = (pid_t)syscall(SYS_gettid);
    while (!stop) {
        struct timespec pause = {0, 1000000};
        syscall(SYS_futex, argument, FUTEX_WAIT_PRIVATE, 0, &pause, NULL, 0);
        ticks++;
    }
    ended = tid == (pid_t)syscall(SYS_gettid) ? 1 : 2;
    syscall(SYS_exit, 0);
    return 0;
}

static void await(_Atomic int *value, int above, const char *what) {
    for (double limit = workload_seconds() + 10; *value <= above; usleep(1000))
        if (workload_seconds() > limit)
            workload_fail("%s", what);
}

int main(void) {
    static int word;
    char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    workload_check(stack != MAP_FAILED);
    int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    pid_t child = clone(run, stack + STACK, flags, &word);
    workload_check(child > 0);
    await(&ticks, 0, "the thread does not start");
    workload_equal(tid, child);
    workload_ready();
    workload_wait();
    await(&ticks, ticks + 5, "the thread does not run on");
    stop = 1;
    await(&ended, 0, "the thread does not end");
    workload_equal(ended, 1);
    workload_pass();
}
