// For Tests/EndToEnd/compress_test.py: MEGABYTES of text, of noise, of zeros, a third each, and pages of all three in turn.
#include "memory.h"

static uint64_t state = 88172645463325252u;

static uint64_t next(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

// Page number `page` of kind 0 (text), 1 (noise) or 2 (zeros).
static void fill_page(char *to, size_t page, size_t kind) {
    static const char words[] = "the image of a process holds what its memory held when it was taken ";
    memset(to, 0, PAGE);
    state = page * 0x9e3779b97f4a7c15u + 1;
    if (kind == 1)
        for (size_t i = 0; i < PAGE; i += sizeof(uint64_t))
            *(uint64_t *)(to + i) = next();
    if (kind == 0)
        for (size_t i = 0; i < PAGE; i++)
            to[i] = words[(i + page % 61 * (i >> 6)) % (sizeof words - 1)];
}

static size_t kind_of(size_t page, size_t pages) {
    return page < pages / 4 * 3 ? page / (pages / 4) : page % 3;
}

int main(int argc, char **argv) {
    size_t pages = ((size_t)(argc > 1 ? atoi(argv[1]) : 1) << 20) / PAGE;
    char *memory = map_anonymous(pages * PAGE), wanted[PAGE];
    for (size_t page = 0; page < pages; page++)
        fill_page(memory + page * PAGE, page, kind_of(page, pages));
    workload_ready();
    workload_wait();
    for (size_t page = 0; page < pages; page++) {
        fill_page(wanted, page, kind_of(page, pages));
        if (memcmp(memory + page * PAGE, wanted, PAGE) != 0)
            workload_fail("page %zu of kind %zu is another", page, kind_of(page, pages));
    }
    workload_pass();
}
