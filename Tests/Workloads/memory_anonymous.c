// Private anonymous memory: written, read only, never touched, written with zeros, given back; with the protections
// it had. What was never written is zero.
#include "memory.h"

enum { PAGES = 600 };

int main(void) {
    char *all = map_anonymous(PAGES * PAGE), *some = map_anonymous(PAGES * PAGE), *zeros = map_anonymous(PAGES * PAGE);
    char *untouched = map_anonymous(PAGES * PAGE), *read_only = map_anonymous(3 * PAGE);
    char *given_back = map_anonymous(PAGES * PAGE);
    fill(all, PAGES * PAGE, 1);
    for (size_t i = 0; i < PAGES; i += 3)
        fill(some + i * PAGE, PAGE, i);
    memset(zeros, 0, PAGES * PAGE);
    volatile char sum = 0;
    for (size_t i = 0; i < PAGES / 2; i++)
        sum = (char)(sum + untouched[i * PAGE]); // the kernel's zero page
    fill(read_only, 3 * PAGE, 5);
    workload_check(mprotect(read_only, 3 * PAGE, PROT_READ) == 0);
    fill(given_back, PAGES * PAGE, 6);
    workload_check(madvise(given_back + 10 * PAGE, 100 * PAGE, MADV_DONTNEED) == 0);
    workload_ready();
    workload_wait();
    check_filled("all", all, PAGES * PAGE, 1);
    for (size_t i = 0; i < PAGES; i++)
        if (i % 3 == 0)
            check_filled("some", some + i * PAGE, PAGE, i);
        else
            check_zero("some", some + i * PAGE, PAGE);
    check_zero("zeros", zeros, PAGES * PAGE);
    check_zero("untouched", untouched, PAGES * PAGE);
    check_filled("read_only", read_only, 3 * PAGE, 5);
    check_permissions(read_only, "r--p");
    workload_equal(fault_of(read_only, true), SIGSEGV);
    check_zero("given_back", given_back + 10 * PAGE, 100 * PAGE);
    char *kept = given_back + 110 * PAGE;
    uint64_t expected = (6ull << 32 | (uint64_t)(kept - given_back) / 8) * 0x9e3779b97f4a7c15u | 1;
    workload_check(*(uint64_t *)kept == expected);
    fill(untouched, PAGES * PAGE, 9);
    check_filled("untouched, later", untouched, PAGES * PAGE, 9);
    workload_pass();
}
