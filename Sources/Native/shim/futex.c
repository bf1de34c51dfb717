// Waiting and waking, and the clock: by system call, for use without libc.
#include "worker.h"

#include <linux/futex.h>
#include <time.h>

long scp_futex_wait(_Atomic uint32_t *word, uint32_t expected, int64_t limit_ns) {
    struct timespec limit = {limit_ns / 1000000000, limit_ns % 1000000000};
    return scp_call(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, limit_ns < 0 ? NULL : &limit, NULL, 0);
}

void scp_futex_wake(_Atomic uint32_t *word, int count) {
    scp_call(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

int64_t scp_now(void) {
    struct timespec now;
    scp_call(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000 + now.tv_nsec;
}
