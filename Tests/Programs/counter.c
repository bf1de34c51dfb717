// Counts with pauses: 100 numbers, each added to a sequence.
#include "program.h"
#include <time.h>

int main(void) {
    uint64_t state = 1;
    program_start();
    for (int count = 1; count <= (int)(100 * program_scale()); count++) {
        state = program_steps(state + (uint64_t)count, 100000);
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    return program_result(state);
}
