// Many threads, each with a number of its own that it carries through its registers and its stack.
// @cases 64 2000
// @limit 90
#include "workload.h"
#include <pthread.h>
#include <sys/syscall.h>

struct worker {
    pthread_t thread;
    pid_t tid;
    unsigned long rounds, sum;
    int wrong;
};
static int count;
static pthread_barrier_t barrier;
static volatile int stop;

static void *work(void *argument) {
    struct worker *self = argument;
    unsigned long value = (unsigned long)(uintptr_t)self, sum = 0, rounds = 0;
    self->tid = (pid_t)syscall(SYS_gettid);
    pthread_barrier_wait(&barrier);
    do {
        for (int i = 0; i < 100; i++)
            sum += value ^ rounds++;
        // Few threads compute all the time, many mostly sleep: two such programs must leave room on two cores.
        nanosleep(&(struct timespec){0, count > 100 ? 200000000 : 200000}, NULL);
    } while (!stop);
    self->sum = sum;
    self->rounds = rounds;
    self->wrong = self->tid != (pid_t)syscall(SYS_gettid);
    return NULL;
}

static void check(const struct worker *worker) {
    unsigned long sum = 0;
    for (unsigned long round = 0; round < worker->rounds; round++)
        sum += (unsigned long)(uintptr_t)worker ^ round;
    workload_check(worker->sum == sum);
    workload_check(worker->rounds > 0);
    workload_equal(worker->wrong, 0);
}

int main(int words, char **word) {
    count = words > 1 ? atoi(word[1]) : 64;
    struct worker *workers = calloc((size_t)count, sizeof *workers);
    pthread_attr_t attributes;
    workload_check(workers);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 * 1024);
    pthread_barrier_init(&barrier, NULL, (unsigned)count + 1);
    for (int i = 0; i < count; i++)
        if (pthread_create(&workers[i].thread, &attributes, work, &workers[i]) != 0)
            workload_skip("no more than %d threads can be made here", i);
    pthread_barrier_wait(&barrier);
    workload_ready();
    workload_wait();
    stop = 1;
    for (int i = 0; i < count; i++)
        workload_check(pthread_join(workers[i].thread, NULL) == 0);
    for (int i = 0; i < count; i++)
        check(&workers[i]);
    workload_pass();
}
