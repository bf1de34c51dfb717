// Memory advised to be in huge pages, filled in part, and with pages given back inside.
#include "memory.h"

enum { BYTES = 16 << 20 };

int main(void) {
    char *memory = map_anonymous(BYTES);
    if (madvise(memory, BYTES, MADV_HUGEPAGE) != 0)
        workload_skip("this kernel has no transparent huge pages");
    fill(memory, 9 << 20, 1);
    workload_check(madvise(memory + (4 << 20), 7 * PAGE, MADV_DONTNEED) == 0);
    workload_ready();
    workload_wait();
    check_filled("first half", memory, 4 << 20, 1);
    check_zero("given back", memory + (4 << 20), 7 * PAGE);
    check_zero("never touched", memory + (9 << 20), BYTES - (9 << 20));
    fill(memory, BYTES, 2);
    check_filled("all", memory, BYTES, 2);
    workload_pass();
}
