// What memory holds in a benchmark: the same for SwiftCP and for what it is set against.
#ifndef SWIFTCP_BENCH_CONTENTS_H
#define SWIFTCP_BENCH_CONTENTS_H

#include <stdint.h>
#include <string.h>

static uint64_t contents_next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

// Words of a small vocabulary, as in a log: gzip -1 makes it about a quarter.
static void contents_text(char *bytes, size_t size, uint64_t *state) {
    static const char *const words[] = {"the ",     "process ", "memory ",  "of ",   "checkpoint ", "written ",
                                        "restart ", "thread ",  "error: ",  "page ", "kernel ",     "signal ",
                                        "at ",      "cluster ", "step 17 ", "and ",  "energy=",     "converged\n"};
    for (size_t at = 0; at < size;) {
        uint64_t random = contents_next(state);
        char number[24];
        const char *word = words[random % (sizeof words / sizeof *words)];
        if (random >> 60 == 0) {
            size_t digits = 0;
            for (uint64_t value = random >> 20 & 0xfffff; value > 0; value /= 10)
                number[digits++] = (char)('0' + value % 10);
            number[digits++] = ' ';
            number[digits] = '\0';
            word = number;
        }
        size_t length = strlen(word);
        length = length < size - at ? length : size - at;
        memcpy(bytes + at, word, length);
        at += length;
    }
}

// kind: random, text, sparse (nine pages of ten are zero), untouched. Returns 0, or -1 for another word.
static int contents_fill(void *memory, size_t size, const char *kind) {
    uint64_t state = 88172645463325252u, *words = memory;
    size_t count = size / sizeof *words, page = 4096 / sizeof *words;
    if (strcmp(kind, "text") == 0)
        contents_text(memory, size, &state);
    else if (strcmp(kind, "random") == 0)
        for (size_t i = 0; i < count; i++)
            words[i] = contents_next(&state);
    else if (strcmp(kind, "sparse") == 0)
        for (size_t i = 0; i < count; i++)
            words[i] = i / page % 10 == 0 ? contents_next(&state) : 0;
    else
        return strcmp(kind, "untouched") == 0 ? 0 : -1;
    return 0;
}

#endif
