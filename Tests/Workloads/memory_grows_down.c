// Stacks that grow: the main stack goes on growing after a restart, and so does a mapping with MAP_GROWSDOWN.
#include "memory.h"

enum { DEPTH = 3 << 20 };

__attribute__((noinline)) static unsigned descend(size_t left) {
    volatile char frame[8192];
    for (size_t i = 0; i < sizeof frame; i += 512)
        frame[i] = (char)left;
    unsigned sum = left > sizeof frame ? descend(left - sizeof frame) : 0;
    return sum + (unsigned char)frame[512];
}

int main(void) {
    char *place = map_anonymous(600 * PAGE);
    munmap(place, 600 * PAGE);
    char *mapping = map_at(place + 590 * PAGE, 10 * PAGE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE, -1, 0);
    char *stack = mapping + 10 * PAGE;
    fill(stack - 5 * PAGE, 5 * PAGE, 1);
    stack[-(long)(12 * PAGE)] = 1; // grows
    unsigned before = descend(1 << 20);
    workload_ready();
    workload_wait();
    check_filled("growing mapping", stack - 5 * PAGE, 5 * PAGE, 1);
    workload_equal(stack[-(long)(12 * PAGE)], 1);
    for (long page = 13; page < 200; page++)
        workload_equal(fault_of(stack - page * (long)PAGE, true), 0);
    workload_equal(descend(1 << 20), before);
    descend(DEPTH);
    workload_pass();
}
