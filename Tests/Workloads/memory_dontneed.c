// What anonymous memory promises holds after a restart too, however the pages came back: MADV_DONTNEED gives zeros,
// MADV_FREE is taken, mremap grows with zeros and moves with content, MADV_HUGEPAGE is taken.
#include "memory.h"

enum { PAGES = 3000 }; // large enough for a lazy restart to be worth while

int main(void) {
    char *dropped = map_anonymous(PAGES * PAGE), *freed = map_anonymous(PAGES * PAGE);
    char *grown = map_anonymous(PAGES * PAGE), *moved = map_anonymous(PAGES * PAGE),
         *large = map_anonymous(PAGES * PAGE);
    char *pieces[] = {dropped, freed, grown, moved, large};
    for (size_t i = 0; i < 5; i++)
        fill(pieces[i], PAGES * PAGE, i);
    workload_ready();
    workload_wait();
    workload_check(madvise(dropped + PAGE, 100 * PAGE, MADV_DONTNEED) == 0);
    check_filled("before what was dropped", dropped, PAGE, 0);
    check_zero("dropped", dropped + PAGE, 100 * PAGE);
    workload_check(madvise(dropped, PAGES * PAGE, MADV_DONTNEED) == 0);
    check_zero("all dropped", dropped, PAGES * PAGE);
    workload_check(madvise(freed, PAGES * PAGE, MADV_FREE) == 0);
    fill(freed, PAGES * PAGE, 11);
    check_filled("freed and written", freed, PAGES * PAGE, 11);
    grown = mremap(grown, PAGES * PAGE, 2 * PAGES * PAGE, MREMAP_MAYMOVE);
    workload_check(grown != MAP_FAILED);
    check_filled("grown", grown, PAGES * PAGE, 2);
    check_zero("grown", grown + PAGES * PAGE, PAGES * PAGE);
    char *place = map_anonymous(PAGES * PAGE);
    workload_check(mremap(moved, PAGES * PAGE, PAGES * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place) == place);
    check_filled("moved", place, PAGES * PAGE, 3);
    workload_check(madvise(large, PAGES * PAGE, MADV_HUGEPAGE) == 0 || errno == EINVAL); // EINVAL: not in this kernel
    check_filled("large", large, PAGES * PAGE, 4);
    workload_pass();
}
