// pause MEGABYTES PERCENT [KIND [PAGES [THREADS]]]: fills so much memory (contents.h; random) in pages of that size (huge, small;
// any), prints READY, then writes to PERCENT of its 4 KiB pages each second, in random order, and looks at the clock all the
// time (bench.h), beside so many threads that sleep, less one (1).
#include "bench.h"
#include "contents.h"

#include <pthread.h>
#include <sys/mman.h>

static uint64_t *fill(size_t size, const char *kind, const char *pages) {
    uint64_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bench_need(memory != MAP_FAILED, "mmap");
    if (strcmp(pages, "any") != 0)
        bench_need(madvise(memory, size, strcmp(pages, "huge") == 0 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) == 0, pages);
    bench_need(contents_fill(memory, size, kind) == 0, kind);
    return memory;
}

static void start_sleepers(int count) {
    pthread_t thread;
    while (count-- > 0)
        bench_need(pthread_create(&thread, NULL, bench_rest, NULL) == 0, "thread");
}

int main(int count, char **words) {
    size_t size = (size_t)(count > 1 ? atol(words[1]) : 64) << 20, pages = size / 4096;
    double per_second = count > 2 ? atof(words[2]) / 100 * (double)pages : 0, due = 0;
    uint64_t *memory = fill(size, count > 3 ? words[3] : "random", count > 4 ? words[4] : "any"), random = 1;
    struct bench_gaps gaps;
    start_sleepers(count > 5 ? atoi(words[5]) - 1 : 0);
    bench_ready();
    for (bench_gaps_begin(&gaps);; bench_gaps_answer(&gaps)) {
        due += (double)bench_gaps_look(&gaps) / 1e9 * per_second;
        for (; due >= 1 && bench_now(CLOCK_MONOTONIC) - gaps.last < 100000; due--) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            memory[(random >> 20) % pages * 512]++;
        }
        due = due > 1000 ? 1000 : due; // what it missed while it did not run is not made up for
    }
}
