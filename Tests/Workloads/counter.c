// The counter of the demonstration, quickly: its variable and its position in time go on where they were.
#include "workload.h"

int main(void) {
    long count = 0;
    workload_ready();
    volatile long *seen = &count;
    do
        (*seen)++;
    while (workload_waiting());
    long before = count;
    for (int i = 0; i < 1000; i++)
        (*seen)++;
    workload_equal(count, before + 1000);
    workload_check(count > 1000);
    workload_pass();
}
