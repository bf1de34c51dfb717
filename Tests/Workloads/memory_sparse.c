// A huge reservation (MAP_NORESERVE, 1 TiB) with little in it, and a heap of which every third page has content.
#include "memory.h"

enum { STEPS = 2000 };
static const size_t SIZE = (size_t)1 << 40;

static size_t place(size_t step) {
    return (step * 0x9e3779b97f4a7c15u) % (SIZE / PAGE) * PAGE;
}

int main(void) {
    char *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        workload_skip("1 TiB cannot be reserved here: %s", strerror(errno));
    char *dense = map_anonymous(STEPS * PAGE);
    for (size_t i = 0; i < STEPS; i++)
        fill(memory + place(i), PAGE, i);
    for (size_t i = 0; i < STEPS; i += 3)
        fill(dense + i * PAGE, PAGE, i);
    workload_ready();
    workload_wait();
    for (size_t i = 0; i < STEPS; i++)
        check_filled("reservation", memory + place(i), PAGE, i);
    check_zero("reservation, first page", memory + PAGE, PAGE);
    for (size_t i = 0; i < STEPS; i++)
        if (i % 3 == 0)
            check_filled("dense", dense + i * PAGE, PAGE, i);
        else
            check_zero("dense", dense + i * PAGE, PAGE);
    workload_pass();
}
