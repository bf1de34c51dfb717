// Files with names that /proc/self/maps writes in another way, or that look as if they were deleted.
#include "memory.h"

static const char *const names[] = {"with space", "with\nnewline", "looks gone (deleted)", "back\\slash", "tab\there"};
enum { NAMES = sizeof names / sizeof *names };

int main(void) {
    char *memory[NAMES], *shared[NAMES];
    for (size_t i = 0; i < NAMES; i++) {
        int file = make_file(names[i], 4 * PAGE, i);
        memory[i] = map_at(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
        shared[i] = map_at(NULL, 4 * PAGE, PROT_READ, MAP_SHARED, file, 0);
        close(file);
        fill(memory[i] + PAGE, PAGE, 20 + i);
    }
    workload_ready();
    workload_wait();
    for (size_t i = 0; i < NAMES; i++) {
        check_filled(names[i], memory[i], PAGE, i);
        check_filled(names[i], memory[i] + PAGE, PAGE, 20 + i);
        check_filled(names[i], shared[i], 4 * PAGE, i);
        int file = open(names[i], O_RDWR);
        workload_check(file >= 0);
        workload_check(pwrite(file, "still the file's", 16, 0) == 16);
        workload_check(memcmp(shared[i], "still the file's", 16) == 0);
        close(file);
    }
    workload_pass();
}
