// Per thread: CPU set, policy, nice value, I/O priority, timer slack, name, parent-death signal, personality.
#include "workload.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

enum { THREADS = 4 };
static pthread_barrier_t barrier;

struct state {
    cpu_set_t cpus;
    int policy, nice, io_priority, slack, death, personality;
    char name[16];
};

static void read_state(struct state *state) {
    memset(state, 0, sizeof *state);
    pid_t tid = (pid_t)syscall(SYS_gettid);
    workload_check(sched_getaffinity(0, sizeof state->cpus, &state->cpus) == 0);
    state->policy = sched_getscheduler(0);
    state->nice = getpriority(PRIO_PROCESS, (id_t)tid);
    state->io_priority = (int)syscall(SYS_ioprio_get, 1, 0);
    state->slack = prctl(PR_GET_TIMERSLACK);
    prctl(PR_GET_PDEATHSIG, &state->death);
    state->personality = personality(0xffffffff);
    prctl(PR_GET_NAME, state->name);
}

static void must_equal(const struct state *before, int number) {
    struct state now;
    read_state(&now);
    if (!CPU_EQUAL(&before->cpus, &now.cpus))
        workload_fail("thread %d: %d CPUs, were %d", number, CPU_COUNT(&now.cpus), CPU_COUNT(&before->cpus));
    workload_equal(now.policy, before->policy);
    workload_equal(now.nice, before->nice);
    workload_equal(now.io_priority, before->io_priority);
    workload_equal(now.slack, before->slack);
    workload_equal(now.death, before->death);
    workload_equal(now.personality, before->personality);
    workload_check(strcmp(now.name, before->name) == 0);
}

static void change(int number, const cpu_set_t *all) {
    struct sched_param none = {0};
    char name[16];
    cpu_set_t one;
    int wanted = number % CPU_COUNT(all);
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, all) && wanted-- == 0)
            CPU_SET(cpu, &one);
    workload_check(sched_setaffinity(0, sizeof one, &one) == 0);
    workload_check(sched_setscheduler(0, number % 2 ? SCHED_BATCH : SCHED_OTHER, &none) == 0);
    workload_check(setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), number * 3) == 0);
    workload_check(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | (number + 2)) == 0);
    workload_check(prctl(PR_SET_TIMERSLACK, 100000 + number) == 0);
    workload_check(prctl(PR_SET_PDEATHSIG, number % 2 ? SIGCONT : 0) == 0);
    snprintf(name, sizeof name, "schedule %d", number);
    workload_check(prctl(PR_SET_NAME, name) == 0);
    workload_check(personality((unsigned long)personality(0xffffffff) | (number % 2 ? ADDR_NO_RANDOMIZE : 0)) != -1);
}

static void *work(void *argument) {
    struct state state;
    cpu_set_t all;
    workload_check(sched_getaffinity(0, sizeof all, &all) == 0);
    if (argument)
        change((int)(long)argument, &all);
    read_state(&state);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    must_equal(&state, (int)(long)argument);
    return NULL;
}

int main(void) {
    pthread_t threads[THREADS];
    struct state own;
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (long i = 0; i < THREADS; i++)
        workload_check(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    pthread_barrier_wait(&barrier);
    prctl(PR_SET_NAME, "main (of) it");
    prctl(PR_SET_PDEATHSIG, SIGCONT);
    read_state(&own);
    workload_ready();
    workload_wait();
    must_equal(&own, -1);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    workload_pass();
}
