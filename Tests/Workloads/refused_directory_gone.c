// A program whose working directory has been removed: a restart would have none.
// @refused working directory has been removed
#include "workload.h"
#include <sys/stat.h>

int main(void) {
    workload_check(mkdir("gone", 0700) == 0 && chdir("gone") == 0 && rmdir("../gone") == 0);
    workload_ready();
    workload_wait();
    workload_pass();
}
