// Mappings of files that have no name any more: content and sharing are kept; one replaced by a new file of the same name
// is not mistaken for it.
#include "memory.h"

enum { PAGES = 12 };

int main(void) {
    int file = make_file("deleted.dat", PAGES * PAGE, 1);
    char *private = map_at(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    char *first = map_at(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    char *second = map_at(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 4 * PAGE);
    close(file);
    unlink("deleted.dat");
    file = make_file("replaced.dat", PAGES * PAGE, 3);
    char *replaced = map_at(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    close(file);
    close(make_file("new.dat", PAGES * PAGE, 4));
    workload_check(rename("new.dat", "replaced.dat") == 0);
    fill(private + PAGE, PAGE, 2);
    fill(first + 5 * PAGE, PAGE, 5);
    fill(replaced + PAGE, PAGE, 6);
    workload_ready();
    workload_wait();
    check_filled("private, clean", private, PAGE, 1);
    check_filled("private, changed", private + PAGE, PAGE, 2);
    check_filled("shared, clean", first, 5 * PAGE, 1);
    check_filled("shared, changed", first + 5 * PAGE, PAGE, 5);
    check_filled("shared, second window", second + PAGE, PAGE, 5);
    check_filled("replaced, clean", replaced, PAGE, 3);
    check_filled("replaced, changed", replaced + PAGE, PAGE, 6);
    strcpy(first + 4 * PAGE, "one memory");
    workload_check(strcmp(second, "one memory") == 0);
    workload_pass();
}
