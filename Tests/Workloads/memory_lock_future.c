// mlockall(MCL_FUTURE): memory mapped after the checkpoint is locked, too; with and without MCL_ONFAULT.
// @cases all onfault
// @needs root
#include "workload.h"
#include <sys/mman.h>

enum { PAGE = 4096 };

int main(int count, char **words) {
    int on_fault = count > 1 && strcmp(words[1], "onfault") == 0;
    if (mlockall(MCL_FUTURE | (on_fault ? MCL_ONFAULT : 0)) != 0)
        workload_skip("mlockall: %s", strerror(errno));
    workload_ready();
    workload_wait();
    unsigned char present = 0;
    char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    workload_check(page != MAP_FAILED);
    workload_check(msync(page, PAGE, MS_INVALIDATE) == -1 && errno == EBUSY);
    workload_check(mincore(page, PAGE, &present) == 0);
    workload_equal(present & 1, !on_fault);
    workload_pass();
}
