// The program break stands where it stood, what lies below it is kept, and it moves on from there.
#include "memory.h"

int main(void) {
    char *start = sbrk(0);
    workload_check(sbrk((intptr_t)(64 * PAGE)) == start);
    char *pages = (char *)(((uintptr_t)start + PAGE - 1) & ~(PAGE - 1));
    fill(pages, 60 * PAGE, 1);
    char *end = sbrk(0);
    workload_ready();
    workload_wait();
    workload_check(sbrk(0) == end);
    check_filled("below the break", pages, 60 * PAGE, 1);
    workload_check(sbrk((intptr_t)(256 * PAGE)) == end);
    char *more = (char *)(((uintptr_t)end + PAGE - 1) & ~(PAGE - 1));
    check_zero("above the old break", more, 250 * PAGE);
    fill(more, 250 * PAGE, 2);
    workload_check(brk(end) == 0);
    workload_check(sbrk(0) == end);
    check_filled("below the break, later", pages, 60 * PAGE, 1);
    workload_pass();
}
