// A file cut shorter than its mappings: what is left is there, the rest raises SIGBUS, private changes before the cut
// stay only where the file still is.
#include "memory.h"

enum { PAGES = 16, LEFT = 6 };

int main(void) {
    int file = make_file("truncated.dat", PAGES * PAGE, 1);
    char *read_only = map_at(NULL, PAGES * PAGE, PROT_READ, MAP_PRIVATE, file, 0);
    char *shared = map_at(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    char *private = map_at(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    fill(private + 2 * PAGE, PAGE, 2);
    workload_check(ftruncate(file, LEFT * PAGE) == 0);
    workload_ready();
    workload_wait();
    char *mappings[] = {read_only, shared, private};
    for (size_t i = 0; i < 3; i++) {
        check_filled("what is left", mappings[i], 2 * PAGE, 1);
        for (size_t page = LEFT; page < PAGES; page += 3)
            workload_equal(fault_of(mappings[i] + page * PAGE, false), SIGBUS);
    }
    check_filled("changed", private + 2 * PAGE, PAGE, 2);
    workload_check(ftruncate(file, PAGES * PAGE) == 0);
    check_zero("grown again", shared + LEFT * PAGE, (PAGES - LEFT) * PAGE);
    check_zero("grown again, read-only", read_only + LEFT * PAGE, (PAGES - LEFT) * PAGE);
    workload_pass();
}
