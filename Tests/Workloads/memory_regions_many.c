// As many regions as the kernel allows (vm.max_map_count, up to 100,000 here) with content in every second one.
// @limit 120
#include "memory.h"

enum { WANTED = 100000, ROOM = 2000 };

static size_t allowed(void) {
    size_t count = 65530;
    FILE *file = fopen("/proc/sys/vm/max_map_count", "r");
    if (file && fscanf(file, "%zu", &count) != 1)
        count = 65530;
    if (file)
        fclose(file);
    return count - ROOM < WANTED ? count - ROOM : WANTED;
}

int main(void) {
    size_t pages = allowed();
    char *memory = map_anonymous(pages * PAGE);
    for (size_t i = 0; i < pages; i += 2) {
        *(uint64_t *)(memory + i * PAGE) = i + 1;
        if (i + 1 < pages)
            workload_check(mprotect(memory + (i + 1) * PAGE, PAGE, PROT_NONE) == 0);
    }
    workload_ready();
    workload_wait();
    for (size_t i = 0; i < pages; i += 2)
        workload_equal(*(uint64_t *)(memory + i * PAGE), i + 1);
    for (size_t i = 1; i < pages; i += pages / 50 | 1)
        if (i % 2 == 1)
            workload_equal(fault_of(memory + i * PAGE, false), SIGSEGV);
    workload_check(mprotect(memory, pages * PAGE, PROT_READ | PROT_WRITE) == 0);
    for (size_t i = 1; i < pages; i += 2)
        workload_equal(*(uint64_t *)(memory + i * PAGE), 0);
    workload_pass();
}
