// Threads are made and end all the time, while a checkpoint looks for them.
// @limit 60
#include "workload.h"
#include <pthread.h>

static _Atomic unsigned long made, ended;

static void *brief(void *argument) {
    ended++;
    return argument;
}

static void *churn(void *argument) {
    while (workload_waiting()) {
        pthread_t threads[8];
        for (long i = 0; i < 8; i++) {
            workload_check(pthread_create(&threads[i], NULL, brief, (void *)i) == 0);
            made++;
        }
        for (long i = 0; i < 8; i++) {
            void *result;
            workload_check(pthread_join(threads[i], &result) == 0);
            workload_equal((long)result, i);
        }
    }
    return argument;
}

int main(void) {
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        workload_check(pthread_create(&threads[i], NULL, churn, NULL) == 0);
    while (made < 100)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    workload_ready();
    workload_wait();
    for (int i = 0; i < 3; i++)
        workload_check(pthread_join(threads[i], NULL) == 0);
    workload_equal(made, ended);
    workload_pass();
}
