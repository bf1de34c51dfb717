// A shared mapping of a file is one with the file again after a restart, and what was written through it is there.
#include "memory.h"

enum { PAGES = 20 };

int main(void) {
    int file = make_file("shared.dat", PAGES * PAGE, 1);
    char *memory = map_at(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    char *window = map_at(NULL, 4 * PAGE, PROT_READ, MAP_SHARED, file, 6 * PAGE);
    char *untouched = map_at(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    fill(memory + 7 * PAGE, PAGE, 2);
    memset(memory + 9 * PAGE, 0, PAGE);
    workload_ready();
    workload_wait();
    check_filled("before", memory, 7 * PAGE, 1);
    check_filled("written", memory + 7 * PAGE, PAGE, 2);
    check_filled("written, through the window", window + PAGE, PAGE, 2);
    check_filled("written, through the other mapping", untouched + 7 * PAGE, PAGE, 2);
    check_zero("zeros", memory + 9 * PAGE, PAGE);
    check_permissions(memory, "rw-s");
    check_permissions(window, "r--s");
    memcpy(memory + 6 * PAGE, "through memory", 15);
    workload_check(strcmp(window, "through memory") == 0);
    char word[15];
    workload_equal(pread(file, word, 15, 6 * (off_t)PAGE), 15);
    workload_check(strcmp(word, "through memory") == 0);
    workload_equal(pwrite(file, "through the file", 17, 0), 17);
    workload_check(strcmp(memory, "through the file") == 0);
    workload_check(strcmp(untouched, "through the file") == 0);
    workload_pass();
}
