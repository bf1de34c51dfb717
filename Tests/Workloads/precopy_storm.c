// Threads write, map, move, give up and protect memory as fast as they can, while it is saved. Of every page it is known
// what must stand in it, to the last word: a write that the image misses is found after the restart.
// @cases words huge file refault kernel discard remap regrow protect mix
// @limit 120
#include "memory.h"
#include <pthread.h>

enum { THREADS = 3, PAGES = 2048, WORDS = 512, CHUNK = 64 };

// Write number g (from 1 on) to a page goes to its word g % WORDS. A page that was given up has had none.
struct area {
    uint64_t *memory;
    uint32_t *writes; // of each page
    uint64_t seed;
    int file; // what lies beneath; -1 = zeros
    int pipe[2];
    const char *mode;
};

static uint64_t value_of(const struct area *area, size_t page, uint32_t number) {
    return (area->seed << 56 | (uint64_t)page << 32 | number) * 0x9e3779b97f4a7c15u | 1;
}

static uint64_t beneath(const struct area *area, size_t page, size_t word) {
    return area->file < 0 ? 0 : (page * WORDS + word) * 0xc2b2ae3d27d4eb4fu | 1;
}

static void check_page(const struct area *area, size_t page) {
    uint32_t writes = area->writes[page];
    for (size_t word = 0; word < WORDS; word++) {
        uint32_t back = (writes + WORDS - (uint32_t)word) % WORDS, number = writes > back ? writes - back : 0;
        uint64_t wanted = number ? value_of(area, page, number) : beneath(area, page, word);
        uint64_t found = area->memory[page * WORDS + word];
        if (found != wanted)
            workload_fail("%s: page %zu at %p, word %zu after %u writes: %llx, not %llx", area->mode, page,
                          (void *)(area->memory + page * WORDS), word, writes, (unsigned long long)found,
                          (unsigned long long)wanted);
    }
}

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void write_page(struct area *area, size_t page, bool by_kernel) {
    uint32_t number = area->writes[page] + 1;
    uint64_t value = value_of(area, page, number), *word = &area->memory[page * WORDS + number % WORDS];
    if (by_kernel) {
        workload_check(write(area->pipe[1], &value, sizeof value) == sizeof value);
        workload_check(read(area->pipe[0], word, sizeof value) == sizeof value);
    } else
        *word = value;
    area->writes[page] = number;
}

static char *at(const struct area *area, size_t page) {
    return (char *)(area->memory + page * WORDS);
}

static void forget(struct area *area, size_t page) {
    memset(area->writes + page, 0, CHUNK * sizeof *area->writes);
}

static void map_again(struct area *area, size_t page, size_t pages) {
    int flags = MAP_PRIVATE | MAP_FIXED | (area->file < 0 ? MAP_ANONYMOUS : 0);
    map_at(at(area, page), pages * PAGE, PROT_READ | PROT_WRITE, flags, area->file, (off_t)(page * PAGE));
}

// Away to another place, with nothing left behind; no hole, where others would map something.
static char *move_away(struct area *area, size_t page) {
    char *place = map_anonymous(CHUNK * PAGE);
    int flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
    workload_check(mremap(at(area, page), CHUNK * PAGE, CHUNK * PAGE, flags, place) == place);
    return place;
}

static void move_back(struct area *area, size_t page, char *place, size_t bytes) {
    void *back = mremap(place, bytes, CHUNK * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at(area, page));
    workload_check(back == at(area, page));
}

// Half of it is cut off, and comes back empty.
static void regrow(struct area *area, size_t page) {
    char *place = move_away(area, page);
    workload_check(munmap(place + CHUNK / 2 * PAGE, CHUNK / 2 * PAGE) == 0);
    move_back(area, page, place, CHUNK / 2 * PAGE);
    memset(area->writes + page + CHUNK / 2, 0, CHUNK / 2 * sizeof *area->writes);
}

static void protect(struct area *area, size_t page) {
    workload_check(mprotect(at(area, page), CHUNK * PAGE, PROT_NONE) == 0);
    workload_check(mprotect(at(area, page), CHUNK * PAGE, PROT_READ) == 0);
    check_page(area, page);
    workload_check(mprotect(at(area, page), CHUNK * PAGE, PROT_READ | PROT_WRITE) == 0);
}

static bool is(const struct area *area, const char *mode) {
    return strcmp(area->mode, mode) == 0 || strcmp(area->mode, "mix") == 0;
}

static void disturb(struct area *area, size_t page, unsigned kind) {
    bool file = area->file >= 0;
    if (kind == 0 && (is(area, "discard") || is(area, "file") || is(area, "huge"))) {
        forget(area, page);
        workload_check(madvise(at(area, page), CHUNK * PAGE, MADV_DONTNEED) == 0);
    } else if (kind == 1 && (is(area, "discard") || is(area, "file"))) {
        forget(area, page);
        map_again(area, page, CHUNK);
    } else if (kind == 2 && is(area, "remap") && !file)
        move_back(area, page, move_away(area, page), CHUNK * PAGE);
    else if (kind == 3 && is(area, "regrow") && !file)
        regrow(area, page);
    else if (kind == 4 && is(area, "protect"))
        protect(area, page);
}

// Most of the time in page faults: the stop comes between the fault that brings a page of the file back and the write.
static void refault(struct area *area, size_t page, uint64_t *random) {
    forget(area, page);
    workload_check(madvise(at(area, page), CHUNK * PAGE, MADV_DONTNEED) == 0);
    for (size_t i = 0; i < CHUNK; i++)
        for (uint64_t writes = next_random(random) % 8 + 1; writes > 0; writes--)
            write_page(area, page + i, false);
}

static void *storm(void *argument) {
    struct area *area = argument;
    uint64_t random = area->seed + 88172645463325252u;
    size_t rounds = strcmp(area->mode, "refault") == 0 ? 400 : 20000;
    for (size_t round = 0; round < rounds || workload_waiting(); round++) {
        if (strcmp(area->mode, "refault") == 0)
            refault(area, next_random(&random) % (PAGES / CHUNK) * CHUNK, &random);
        for (int i = 0; i < 40 && strcmp(area->mode, "refault") != 0; i++)
            write_page(area, next_random(&random) % PAGES, is(area, "kernel") && i % 4 == 0);
        check_page(area, next_random(&random) % PAGES);
        if (round % 8 == 0)
            disturb(area, next_random(&random) % (PAGES / CHUNK) * CHUNK, (unsigned)(next_random(&random) % 5));
    }
    for (size_t page = 0; page < PAGES; page++)
        check_page(area, page);
    return NULL;
}

static int file_beneath(const struct area *area) {
    int file = open("beneath", O_RDWR | O_CREAT, 0600);
    workload_check(file >= 0 && ftruncate(file, PAGES * PAGE) == 0);
    uint64_t *content = (uint64_t *)map_at(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    for (size_t i = 0; i < PAGES * WORDS; i++)
        content[i] = beneath(area, i / WORDS, i % WORDS);
    workload_check(munmap(content, PAGES * PAGE) == 0);
    return file;
}

static void prepare(struct area *area, const char *mode, int number) {
    *area = (struct area){.seed = (uint64_t)number + 1, .mode = mode, .file = -1};
    bool file = strcmp(mode, "file") == 0 || strcmp(mode, "refault") == 0 || (strcmp(mode, "mix") == 0 && number == 1);
    bool huge = strcmp(mode, "huge") == 0 || (strcmp(mode, "mix") == 0 && number == 2);
    workload_check(pipe(area->pipe) == 0);
    if (file) {
        area->file = 0;
        area->file = file_beneath(area);
    }
    size_t huge_page = 2u << 20;
    char *place = map_anonymous(PAGES * PAGE + huge_page);
    place = (char *)(((uintptr_t)place + huge_page - 1) & ~(huge_page - 1));
    area->memory = (uint64_t *)place;
    map_again(area, 0, PAGES);
    madvise(place, PAGES * PAGE, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    area->writes = (uint32_t *)map_anonymous(PAGES * sizeof *area->writes);
    for (size_t page = 0; page < PAGES; page++)
        for (int i = 0; i < 3; i++)
            if (page % 3) // every third stays untouched for now
                write_page(area, page, false);
}

int main(int argc, char **argv) {
    static struct area areas[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        prepare(&areas[i], argc > 1 ? argv[1] : "mix", i);
    workload_ready();
    for (size_t i = 0; i < THREADS; i++)
        workload_check(pthread_create(&threads[i], NULL, storm, &areas[i]) == 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    workload_pass();
}
