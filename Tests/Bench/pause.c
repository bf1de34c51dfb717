// pause MEGABYTES PERCENT [KIND]: fills so much memory (contents.h; random), prints READY, then writes to PERCENT of its
// pages each second, in random order, and looks at the clock all the time. To each line on stdin it answers "LONGEST", the
// answer's number (from 1 on), the longest time that it has not run since the last answer, how often it has looked at the clock
// since, and how long that is. Times in ns.
#include "contents.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int main(int argc, char **argv) {
    size_t size = (size_t)(argc > 1 ? atol(argv[1]) : 64) << 20, pages = size / 4096;
    double per_second = argc > 2 ? atof(argv[2]) / 100 * (double)pages : 0;
    uint64_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return 1;
    if (contents_fill(memory, size, argc > 3 ? argv[3] : "random") != 0)
        return 2;
    uint64_t random = 1;
    fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
    puts("READY");
    fflush(stdout);
    double due = 0;
    int answers = 0;
    int64_t longest = 0, looked = 0, looks = 0, since = now();
    for (int64_t last = since;; looks++) {
        int64_t time = now(), gap = time - last;
        longest = gap > longest ? gap : longest;
        due += (double)gap / 1e9 * per_second;
        for (last = time; due >= 1 && now() - time < 100000; due--) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            memory[(random >> 20) % pages * 512]++;
        }
        due = due > 1000 ? 1000 : due; // what it missed while it did not run is not made up for
        char line[64];
        if (time - looked < 10000000)
            continue;
        looked = time;
        if (read(0, line, sizeof line) > 0) {
            printf("LONGEST %d %lld %lld %lld\n", ++answers, (long long)longest, (long long)looks,
                   (long long)(time - since));
            fflush(stdout);
            longest = looks = 0;
            since = last = now();
        }
    }
}
