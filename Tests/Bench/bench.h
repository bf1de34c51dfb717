// What the programs of a benchmark share: the clock, giving up, and telling how long they have not run.
#ifndef SWIFTCP_BENCH_BENCH_H
#define SWIFTCP_BENCH_BENCH_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

// ns
static inline int64_t bench_now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static inline void bench_need(int good, const char *what) {
    if (good)
        return;
    perror(what);
    exit(1);
}

// Of a thread.
static inline void *bench_rest(void *argument) {
    for (;;)
        pause();
    return argument;
}

static inline void bench_ready(void) {
    puts("READY");
    fflush(stdout);
}

// A thread that looks at the clock all the time sees for how long it has not run. To each line on stdin it answers "LONGEST",
// the answer's number (from 1 on), the longest such time since the last answer, how often it has looked since, and how long
// that is. Times in ns.
struct bench_gaps {
    int answers;
    int64_t last, longest, looks, since, asked;
};

static inline void bench_gaps_begin(struct bench_gaps *gaps) {
    int64_t now = bench_now(CLOCK_MONOTONIC);
    *gaps = (struct bench_gaps){.last = now, .since = now};
    fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
}

// Returns how long ago the last look was.
static inline int64_t bench_gaps_look(struct bench_gaps *gaps) {
    int64_t now = bench_now(CLOCK_MONOTONIC), gap = now - gaps->last;
    gaps->last = now;
    gaps->longest = gap > gaps->longest ? gap : gaps->longest;
    gaps->looks++;
    return gap;
}

// Now and then: a question costs a system call.
static inline void bench_gaps_answer(struct bench_gaps *gaps) {
    char line[64];
    if (gaps->last - gaps->asked < 10000000)
        return;
    gaps->asked = gaps->last;
    if (read(0, line, sizeof line) <= 0)
        return;
    printf("LONGEST %d %lld %lld %lld\n", ++gaps->answers, (long long)gaps->longest, (long long)gaps->looks,
           (long long)(gaps->last - gaps->since));
    fflush(stdout);
    gaps->longest = gaps->looks = 0;
    gaps->since = gaps->last = bench_now(CLOCK_MONOTONIC);
}

#endif
