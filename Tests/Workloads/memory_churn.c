// Threads map, fill, check, protect and unmap memory all the time, also at the instant of the checkpoint.
// @limit 60
#include "memory.h"
#include <pthread.h>

enum { THREADS = 6 };

static void *churn(void *argument) {
    uint64_t seed = (uintptr_t)argument, rounds = 0;
    for (; workload_waiting() || rounds < 50; rounds++) {
        size_t pages = 1 + (rounds * 7 + seed) % 40;
        char *memory = map_anonymous(pages * PAGE);
        fill(memory, pages * PAGE, seed << 16 | rounds);
        workload_check(mprotect(memory, pages * PAGE, PROT_READ) == 0);
        check_filled("mapping", memory, pages * PAGE, seed << 16 | rounds);
        workload_check(munmap(memory, pages * PAGE) == 0);
        char *block = malloc(pages * 1000);
        memset(block, (int)rounds, pages * 1000);
        for (size_t i = 0; i < pages * 1000; i++)
            if (block[i] != (char)rounds)
                workload_fail("thread %d, round %d: heap byte %zu is %d", (int)seed, (int)rounds, i, block[i]);
        free(block);
    }
    return NULL;
}

int main(void) {
    pthread_t threads[THREADS];
    workload_ready();
    for (uintptr_t i = 0; i < THREADS; i++)
        workload_check(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)) == 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    workload_pass();
}
