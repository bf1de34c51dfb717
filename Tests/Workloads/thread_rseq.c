// Restartable sequences stay registered: sched_getcpu, which reads what the kernel writes there, follows the thread.
#include "workload.h"
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>

enum { THREADS = 3, ROUNDS = 50 };
static pthread_barrier_t barrier;

// Moves to each CPU in turn and compares with the system call.
static void follow(const cpu_set_t *all) {
    for (int round = 0; round < ROUNDS; round++)
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
            cpu_set_t one;
            unsigned kernel_says;
            if (!CPU_ISSET(cpu, all))
                continue;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            workload_check(sched_setaffinity(0, sizeof one, &one) == 0);
            workload_check(syscall(SYS_getcpu, &kernel_says, NULL, NULL) == 0);
            workload_equal(kernel_says, cpu);
            workload_equal(sched_getcpu(), cpu);
        }
    workload_check(sched_setaffinity(0, sizeof *all, all) == 0);
}

static void *work(void *argument) {
    cpu_set_t all;
    workload_check(sched_getaffinity(0, sizeof all, &all) == 0);
    follow(&all);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    follow(&all);
    return argument;
}

int main(void) {
    pthread_t threads[THREADS];
    cpu_set_t all;
    workload_check(sched_getaffinity(0, sizeof all, &all) == 0);
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        workload_check(pthread_create(&threads[i], NULL, work, NULL) == 0);
    pthread_barrier_wait(&barrier);
    workload_ready();
    workload_wait();
    follow(&all);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    workload_pass();
}
