// The heap: blocks of all sizes keep their content, and malloc, realloc and free go on working with them.
#include "memory.h"

enum { BLOCKS = 4000 };
static unsigned char *blocks[BLOCKS];
static size_t sizes[BLOCKS];

static size_t size_of(unsigned i) {
    return i % 97 == 0 ? 300000 : i % 13 == 0 ? 9000 : i % 700 + 1;
}

static void put(unsigned i) {
    sizes[i] = size_of(i * 7919u);
    blocks[i] = realloc(blocks[i], sizes[i]);
    workload_check(blocks[i] != NULL);
    memset(blocks[i], (int)(i % 251 + 1), sizes[i]);
}

static void verify(unsigned i) {
    for (size_t at = 0; at < sizes[i]; at++)
        if (blocks[i][at] != i % 251 + 1)
            workload_fail("block %u of %zu bytes: byte %zu is %d", i, sizes[i], at, blocks[i][at]);
}

int main(void) {
    for (unsigned i = 0; i < BLOCKS; i++)
        put(i);
    for (unsigned i = 0; i < BLOCKS; i += 3) { // holes for later blocks
        free(blocks[i]);
        blocks[i] = NULL;
    }
    for (unsigned i = 0; i < BLOCKS; i += 6)
        put(i);
    workload_ready();
    workload_wait();
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < BLOCKS; i++) {
            if (blocks[i])
                verify(i);
            put(i);
            verify(i);
        }
    for (unsigned i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    workload_pass();
}
