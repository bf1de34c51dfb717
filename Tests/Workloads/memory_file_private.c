// A private mapping of a file: pages that were changed are kept (also those changed to zeros), the others are the
// file's, the file itself is untouched, and what lies past its end raises SIGBUS.
#include "memory.h"

enum { PAGES = 40, FILE_PAGES = 30 };

int main(void) {
    int file = make_file("private.dat", FILE_PAGES * PAGE, 1);
    workload_check(ftruncate(file, (FILE_PAGES - 1) * (off_t)PAGE + 100) == 0);
    char *memory = map_at(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    char *window = map_at(NULL, 4 * PAGE, PROT_READ, MAP_PRIVATE, file, 8 * PAGE);
    char *code = map_at(NULL, 4 * PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0);
    close(file);
    fill(memory + 3 * PAGE, 2 * PAGE, 7);
    memset(memory + 6 * PAGE, 0, PAGE);
    workload_ready();
    workload_wait();
    check_filled("clean", memory, 3 * PAGE, 1);
    check_filled("changed", memory + 3 * PAGE, 2 * PAGE, 7);
    check_zero("changed to zeros", memory + 6 * PAGE, PAGE);
    check_zero("past the end, in the last page", memory + (FILE_PAGES - 1) * PAGE + 100, PAGE - 100);
    workload_equal(fault_of(memory + FILE_PAGES * PAGE, false), SIGBUS);
    workload_equal(fault_of(memory + (PAGES - 1) * PAGE, false), SIGBUS);
    workload_check(memcmp(window, memory + 8 * PAGE, 4 * PAGE) == 0);
    workload_check(memcmp(code, memory, 3 * PAGE) == 0);
    check_permissions(code, "r-xp");
    char *content = malloc(FILE_PAGES * PAGE);
    file = open("private.dat", O_RDONLY);
    workload_equal(read(file, content, FILE_PAGES * PAGE), (FILE_PAGES - 1) * PAGE + 100);
    check_filled("the file", content, (FILE_PAGES - 1) * PAGE, 1);
    workload_pass();
}
