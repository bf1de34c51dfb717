// mlock, mlockall and madvise: the kernel's flags of every mapping are what they were.
#include "workload.h"
#include <sys/mman.h>
#include <sys/resource.h>

enum { PAGE = 4096, PIECES = 11 };
static char *pieces[PIECES];
static const char *const wanted[PIECES] = {"lo", "lo", "hg", "nh", "dc", "wf", "dd", "mg", "sr", "rr", "lo"};

static char *map(size_t bytes) {
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    workload_check(memory != MAP_FAILED);
    memset(memory, 7, bytes);
    // A neighbour of another protection keeps mappings apart.
    workload_check(mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
    return memory;
}

// The VmFlags line of the mapping that holds address.
static void flags_of(const char *address, char *out, size_t size) {
    char line[1024];
    int inside = 0;
    *out = 0;
    FILE *file = fopen("/proc/self/smaps", "r");
    workload_check(file != NULL);
    while (fgets(line, sizeof line, file)) {
        unsigned long start, end;
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            inside = (unsigned long)address >= start && (unsigned long)address < end;
        if (inside && strncmp(line, "VmFlags:", 8) == 0)
            snprintf(out, size, "%s", line + 8);
    }
    fclose(file);
}

static void must_have(int piece) {
    char flags[1024], word[8];
    flags_of(pieces[piece], flags, sizeof flags);
    snprintf(word, sizeof word, " %s", wanted[piece]);
    if (!strstr(flags, word))
        workload_fail("piece %d has %s, not %s", piece, flags, wanted[piece]);
    for (int other = 0; other < PIECES; other++) {
        snprintf(word, sizeof word, " %s", wanted[other]);
        if (strcmp(wanted[other], wanted[piece]) != 0 && strstr(flags, word) && strcmp(wanted[other], "sd") != 0)
            workload_fail("piece %d has %s, only %s was set", piece, flags, wanted[piece]);
    }
    if (piece == 1 && !strstr(flags, " lf"))
        workload_note("no 'lf' flag on this kernel");
    for (int i = 0; i < 2 * PAGE; i++)
        workload_equal(pieces[piece][i], 7);
}

int main(void) {
    static const int advice[PIECES] = {0,
                                       0,
                                       MADV_HUGEPAGE,
                                       MADV_NOHUGEPAGE,
                                       MADV_DONTFORK,
                                       MADV_WIPEONFORK,
                                       MADV_DONTDUMP,
                                       MADV_MERGEABLE,
                                       MADV_SEQUENTIAL,
                                       MADV_RANDOM,
                                       0};
    struct rlimit limit = {16 * PAGE, 16 * PAGE};
    setrlimit(RLIMIT_MEMLOCK, &limit);
    for (int i = 0; i < PIECES; i++) {
        pieces[i] = map(2 * PAGE);
        if (advice[i])
            workload_check(madvise(pieces[i], 2 * PAGE, advice[i]) == 0);
    }
    workload_check(mlock(pieces[0], 2 * PAGE) == 0);
    workload_check(mlock2(pieces[1], 2 * PAGE, MLOCK_ONFAULT) == 0);
    workload_check(mlock(pieces[10], 2 * PAGE) == 0);
    for (int i = 0; i < PIECES; i++)
        must_have(i);
    workload_ready();
    workload_wait();
    for (int i = 0; i < PIECES; i++)
        must_have(i);
    workload_pass();
}
