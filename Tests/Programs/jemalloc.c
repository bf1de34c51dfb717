// Threads allocate, fill, check and free under jemalloc, with its background thread and its madvise habits.
#include "program.h"
#include <jemalloc/jemalloc.h>
#include <pthread.h>
#include <string.h>

enum { BLOCKS = 2000 };

static int wrong(const unsigned char *block, size_t size, unsigned char byte) {
    for (size_t i = 0; i < size; i += 61)
        if (block[i] != byte)
            return 1;
    return 0;
}

static void *run(void *argument) {
    uint64_t *state = argument;
    unsigned char *blocks[BLOCKS] = {0};
    size_t sizes[BLOCKS];
    for (int round = 0; round < (int)(50000 * program_scale()); round++) {
        uint64_t next = *state = program_step(*state);
        unsigned slot = (unsigned)(next % BLOCKS);
        if (blocks[slot] && wrong(blocks[slot], sizes[slot], (unsigned char)slot))
            *state = 0;
        free(blocks[slot]);
        sizes[slot] = 1 + (size_t)(next >> 20) % 20000;
        if (!(blocks[slot] = malloc(sizes[slot])))
            return NULL;
        memset(blocks[slot], (unsigned char)slot, sizes[slot]);
        // Fresh memory must be zero, whatever stood there before.
        unsigned char *fresh = calloc(1, 300000);
        if (round % 1000 == 0 && (!fresh || wrong(fresh, 300000, 0)))
            *state = 0;
        free(fresh);
    }
    return NULL;
}

int main(void) {
    uint64_t states[4] = {11, 12, 13, 14};
    pthread_t threads[4];
    const char *version;
    size_t size = sizeof version;
    if (mallctl("version", &version, &size, NULL, 0) != 0)
        return 1;
    for (int i = 0; i < 4; i++)
        if (pthread_create(&threads[i], NULL, run, &states[i]) != 0)
            return 1;
    program_start();
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++)
        if (states[i] == 0)
            return puts("FAIL memory has changed"), 1;
    return program_result(states[0] ^ states[1] ^ states[2] ^ states[3]);
}
