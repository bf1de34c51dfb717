// Protections: content behind PROT_NONE, write-only and execute-only pages, code that runs, and faults as before.
#include "memory.h"

// Returns 40 + its argument. x86-64: lea 40(%rdi),%eax; ret
static const unsigned char code[] = {0x8d, 0x47, 0x28, 0xc3};

int main(void) {
#if !defined(__x86_64__)
    workload_skip("has code for x86-64 alone");
#endif
    char *none = map_anonymous(20 * PAGE), *stripes = map_anonymous(20 * PAGE), *writable = map_anonymous(2 * PAGE);
    char *runs = map_anonymous(PAGE),
         *reserved = map_at(NULL, 100 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fill(none, 20 * PAGE, 1);
    fill(stripes, 20 * PAGE, 2);
    fill(writable, 2 * PAGE, 3);
    memcpy(runs, code, sizeof code);
    workload_check(mprotect(none, 20 * PAGE, PROT_NONE) == 0);
    for (size_t i = 1; i < 20; i += 2)
        workload_check(mprotect(stripes + i * PAGE, PAGE, PROT_NONE) == 0);
    workload_check(mprotect(writable, 2 * PAGE, PROT_WRITE) == 0);
    workload_check(mprotect(runs, PAGE, PROT_EXEC) == 0);
    workload_ready();
    workload_wait();
    check_permissions(none, "---p");
    check_permissions(writable, "-w-p");
    check_permissions(runs, "--xp");
    check_permissions(reserved, "---p");
    workload_equal(fault_of(none, false), SIGSEGV);
    workload_equal(fault_of(stripes + PAGE, false), SIGSEGV);
    workload_equal(fault_of(stripes, true), 0);
    workload_equal(fault_of(reserved + 50 * PAGE, false), SIGSEGV);
    int (*function)(int) = (int (*)(int))(uintptr_t)runs;
    workload_equal(function(2), 42);
    workload_check(mprotect(none, 20 * PAGE, PROT_READ) == 0);
    workload_check(mprotect(stripes, 20 * PAGE, PROT_READ) == 0);
    workload_check(mprotect(writable, 2 * PAGE, PROT_READ) == 0);
    workload_check(mprotect(reserved, 100 * PAGE, PROT_READ | PROT_WRITE) == 0);
    check_filled("none", none, 20 * PAGE, 1);
    check_filled("stripes", stripes, 20 * PAGE, 2);
    check_filled("writable", writable, 2 * PAGE, 3);
    check_zero("reserved", reserved, 100 * PAGE);
    workload_pass();
}
