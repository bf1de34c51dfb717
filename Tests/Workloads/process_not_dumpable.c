// A process that has declared itself not dumpable: /proc/self belongs to root then, also for an ordinary user.
#include "workload.h"
#include <sys/prctl.h>

int main(void) {
    workload_check(prctl(PR_SET_DUMPABLE, 0) == 0);
    workload_ready();
    workload_wait();
    workload_equal(prctl(PR_GET_DUMPABLE), 0);
    workload_pass();
}
