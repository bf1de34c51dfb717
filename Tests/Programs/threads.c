// threads N: N threads, each with a sequence of its own, meet at a barrier and mix their states under a mutex.
#include "program.h"
#include <pthread.h>
#include <time.h>

static uint64_t total, work;
static int count, rounds;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t barrier;

static void *run(void *argument) {
    uint64_t state = (uint64_t)(uintptr_t)argument + 1;
    for (int round = 0; round < rounds; round++) {
        state = program_steps(state, work);
        pthread_mutex_lock(&mutex);
        total += state;
        pthread_mutex_unlock(&mutex);
        pthread_barrier_wait(&barrier);
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    return NULL;
}

int main(int words, char **word) {
    count = words > 1 ? atoi(word[1]) : 64;
    rounds = (int)(50 * program_scale());
    work = 600000000ull / 50 / (uint64_t)count;
    pthread_t *threads = calloc((size_t)count, sizeof *threads);
    pthread_attr_t attributes;
    if (!threads)
        return 1;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 * 1024);
    pthread_barrier_init(&barrier, NULL, (unsigned)count);
    for (long i = 0; i < count; i++)
        if (pthread_create(&threads[i], &attributes, run, (void *)i) != 0)
            return 1;
    program_start();
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    return program_result(total);
}
