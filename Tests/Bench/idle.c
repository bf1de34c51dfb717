// idle THREADS [MEGABYTES KIND]: so many threads that sleep for ever, with memory of that content (contents.h).
#include "bench.h"
#include "contents.h"

#include <pthread.h>
#include <sys/mman.h>

// Seen from outside, or a compiler leaves out what nobody reads.
void *memory;

static void fill(size_t size, const char *kind) {
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bench_need(memory != MAP_FAILED && contents_fill(memory, size, kind) == 0, "memory");
}

int main(int argc, char **argv) {
    pthread_t thread;
    for (int i = 1; i < (argc > 1 ? atoi(argv[1]) : 1); i++)
        if (pthread_create(&thread, NULL, bench_rest, NULL) != 0)
            return 1;
    if (argc > 3)
        fill((size_t)atol(argv[2]) << 20, argv[3]);
    bench_ready();
    bench_rest(NULL);
}
