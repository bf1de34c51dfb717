// What the C and C++ programs share: START when the work has begun, RESULT when it is done. SCALE multiplies the work.
#ifndef SWIFTCP_PROGRAM_H
#define SWIFTCP_PROGRAM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static inline void program_start(void) {
    puts("START");
    fflush(stdout);
}
static inline int program_result(uint64_t value) {
    printf("RESULT %llu\n", (unsigned long long)value);
    return fflush(stdout) != 0;
}
static inline double program_scale(void) {
    const char *text = getenv("SCALE");
    return text ? atof(text) : 1;
}
// One step of a sequence that shows every lost, doubled or changed step in its result.
static inline uint64_t program_step(uint64_t state) {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^ state << 17;
}
static inline uint64_t program_steps(uint64_t state, uint64_t count) {
    while (count-- > 0)
        state = program_step(state);
    return state;
}

#endif
