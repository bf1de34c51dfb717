// MADV_FREE: the kernel may drop the pages at any time; each is its old content or zeros, and what is written is kept.
#include "memory.h"

enum { PAGES = 2000 };

int main(void) {
    char *memory = map_anonymous(PAGES * PAGE);
    fill(memory, PAGES * PAGE, 1);
    workload_check(madvise(memory, PAGES * PAGE, MADV_FREE) == 0);
    for (size_t i = 0; i < PAGES; i += 4)
        fill(memory + i * PAGE, PAGE, i);
    workload_ready();
    workload_wait();
    for (size_t i = 0; i < PAGES; i++) {
        const uint64_t *words = (const uint64_t *)(memory + i * PAGE);
        uint64_t old = (1ull << 32 | i * PAGE / 8) * 0x9e3779b97f4a7c15u | 1;
        if (i % 4 == 0)
            check_filled("written", memory + i * PAGE, PAGE, i);
        else if (words[0] != 0 && words[0] != old)
            workload_fail("page %zu is neither old nor zero: %llx", i, (unsigned long long)words[0]);
        else if (words[0] == 0)
            check_zero("dropped", memory + i * PAGE, PAGE);
    }
    workload_pass();
}
