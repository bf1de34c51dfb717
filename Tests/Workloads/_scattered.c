// For Tests/EndToEnd/spill_test.py: writes to every second page of MEGABYTES, PER_SECOND of them, in an order that looks like
// chance, each time the number of the write. All pages must then be as the writes up to the last one have left them.
#include "memory.h"

static uint64_t page_of(uint64_t number, uint64_t pages) {
    return (number * 0x9e3779b97f4a7c15u >> 32) % (pages / 2) * 2 + 1;
}

static void check_all(const uint64_t *memory, uint64_t pages, uint64_t writes) {
    uint64_t *wanted = calloc(pages, sizeof *wanted);
    for (uint64_t number = 1; number <= writes; number++)
        wanted[page_of(number, pages)] = number;
    for (uint64_t page = 0; page < pages; page++)
        if (memory[page * 512 + 1] != page || memory[page * 512] != wanted[page])
            workload_fail("page %llu has write %llu and not %llu", (unsigned long long)page,
                          (unsigned long long)memory[page * 512], (unsigned long long)wanted[page]);
    free(wanted);
}

int main(int argc, char **argv) {
    uint64_t pages = (uint64_t)(argc > 1 ? atoi(argv[1]) : 1) << 8, writes = 0;
    double per_second = argc > 2 ? atof(argv[2]) : 1000, last, now, due = 0;
    uint64_t *memory = (uint64_t *)map_anonymous(pages * PAGE);
    for (uint64_t page = 0; page < pages; page++)
        memory[page * 512 + 1] = page;
    workload_ready();
    for (last = workload_seconds(); workload_waiting(); last = now) {
        now = workload_seconds();
        due += (now - last) * per_second;
        for (int some = 0; due >= 1 && some < 1000; due--, some++) {
            writes++;
            memory[page_of(writes, pages) * 512] = writes;
        }
        due = due < per_second ? due : per_second; // after a restart the time before it does not count
    }
    check_all(memory, pages, writes);
    workload_pass();
}
