// Real-time policies and priorities, with and without the reset-on-fork flag; a deadline policy.
// @needs root
#include "workload.h"
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>

struct attributes { // struct sched_attr
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};
enum { THREADS = 4 };
static const struct attributes wanted[THREADS] = {
    {48, SCHED_FIFO, 0, 0, 5, 0, 0, 0},
    {48, SCHED_RR, 1, 0, 7, 0, 0, 0}, // SCHED_FLAG_RESET_ON_FORK
    {48, SCHED_IDLE, 0, 0, 0, 0, 0, 0},
    {48, 6, 0, 0, 0, 1000000, 50000000, 100000000}, // SCHED_DEADLINE
};
static pthread_barrier_t barrier;
static int permitted[THREADS];

static void *work(void *argument) {
    long number = (long)argument;
    struct attributes now;
    permitted[number] = syscall(SYS_sched_setattr, 0, &wanted[number], 0) == 0;
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    workload_check(syscall(SYS_sched_getattr, 0, &now, sizeof now, 0) == 0);
    if (!permitted[number])
        return NULL;
    workload_equal(now.policy, wanted[number].policy);
    workload_equal(now.priority, wanted[number].priority);
    workload_equal(now.flags & 1, wanted[number].flags);
    if (wanted[number].runtime) {
        workload_equal(now.runtime, wanted[number].runtime);
        workload_equal(now.deadline, wanted[number].deadline);
        workload_equal(now.period, wanted[number].period);
    }
    return NULL;
}

int main(void) {
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (long i = 0; i < THREADS; i++)
        workload_check(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    pthread_barrier_wait(&barrier);
    if (!permitted[0] || !permitted[1])
        workload_skip("real-time policies are not permitted here");
    workload_note("deadline policy: %s", permitted[3] ? "yes" : "not permitted");
    workload_ready();
    workload_wait();
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    workload_pass();
}
