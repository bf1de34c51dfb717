// gaps MEGABYTES: touches so much memory, prints READY, then looks at the clock all the time. Whenever it has not
// run for more than 20 ms it prints "GAP" and the wall-clock time, in ns, of the moment at which it ran again.
#include "bench.h"

#include <sys/mman.h>

int main(int argc, char **argv) {
    size_t size = (size_t)(argc > 1 ? atol(argv[1]) : 64) << 20;
    uint64_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return 1;
    for (size_t i = 0; i < size / sizeof *memory; i += 8)
        memory[i] = i * 0x9e3779b97f4a7c15ull + 1;
    bench_ready();
    for (int64_t last = bench_now(CLOCK_REALTIME);;) {
        int64_t time = bench_now(CLOCK_REALTIME);
        if (time - last > 20000000) {
            printf("GAP %lld\n", (long long)time);
            fflush(stdout);
        }
        last = time;
    }
}
