// Guard pages (MADV_GUARD_INSTALL, Linux 6.13) fault after a restart as before, their neighbours keep their content.
#include "memory.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

enum { PAGES = 64 };

int main(void) {
    char *memory = map_anonymous(PAGES * PAGE), *untouched = map_anonymous(PAGES * PAGE);
    fill(memory, PAGES * PAGE, 1);
    if (madvise(memory + 8 * PAGE, 4 * PAGE, MADV_GUARD_INSTALL) != 0)
        workload_skip("this kernel has no guard pages");
    workload_check(madvise(memory + (PAGES - 1) * PAGE, PAGE, MADV_GUARD_INSTALL) == 0);
    workload_check(madvise(untouched, PAGE, MADV_GUARD_INSTALL) == 0);
    workload_ready();
    workload_wait();
    for (size_t i = 0; i < PAGES; i++) {
        bool guard = (i >= 8 && i < 12) || i == PAGES - 1;
        int signal = fault_of(memory + i * PAGE, true);
        if (signal != (guard ? SIGSEGV : 0))
            workload_fail("page %zu: signal %d, guard: %d", i, signal, guard);
    }
    workload_equal(fault_of(untouched, false), SIGSEGV);
    check_zero("behind a guard page", untouched + PAGE, (PAGES - 1) * PAGE);
    check_filled("before", memory, 8 * PAGE, 1);
    check_permissions(memory + 9 * PAGE, "rw-p"); // a guard page is no mapping of its own
    workload_check(madvise(memory + 8 * PAGE, 4 * PAGE, MADV_GUARD_REMOVE) == 0);
    check_zero("guard pages removed", memory + 8 * PAGE, 4 * PAGE);
    workload_pass();
}
