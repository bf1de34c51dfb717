// A private mapping of /dev/zero is anonymous memory in all but name.
#include "memory.h"

int main(void) {
    int zero = open("/dev/zero", O_RDWR | O_CLOEXEC);
    workload_check(zero >= 0);
    char *memory = map_at(NULL, 20 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
    close(zero);
    fill(memory + 4 * PAGE, 8 * PAGE, 1);
    workload_ready();
    workload_wait();
    check_zero("before", memory, 4 * PAGE);
    check_filled("written", memory + 4 * PAGE, 8 * PAGE, 1);
    fill(memory, 20 * PAGE, 2);
    workload_check(madvise(memory, 20 * PAGE, MADV_DONTNEED) == 0);
    check_zero("given back", memory, 20 * PAGE);
    workload_pass();
}
