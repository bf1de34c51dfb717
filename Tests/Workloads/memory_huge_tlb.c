// Pages of the hugetlb pool, private and shared.
#include "memory.h"

enum { BYTES = 4 << 20 };

int main(void) {
    char *private = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    char *shared = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    if (private == MAP_FAILED || shared == MAP_FAILED)
        workload_skip("the pool of huge pages is empty (vm.nr_hugepages)");
    fill(private, 3 << 20, 1);
    fill(shared + 5 * PAGE, PAGE, 2);
    workload_ready();
    workload_wait();
    check_filled("private", private, 3 << 20, 1);
    check_filled("shared", shared + 5 * PAGE, PAGE, 2);
    check_zero("private, rest", private + (3 << 20), 1 << 20);
    workload_pass();
}
