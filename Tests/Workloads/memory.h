// What the memory_* workloads share: patterns that tell every page from every other, and faults that must come.
#ifndef SWIFTCP_WORKLOAD_MEMORY_H
#define SWIFTCP_WORKLOAD_MEMORY_H

#include "workload.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#define PAGE ((size_t)4096)

__attribute__((unused)) static char *map_at(void *place, size_t bytes, int protection, int flags, int file, off_t at) {
    char *memory = mmap(place, bytes, protection, flags, file, at);
    workload_check(memory != MAP_FAILED);
    return memory;
}

__attribute__((unused)) static char *map_anonymous(size_t bytes) {
    return map_at(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

// Fills whole pages with numbers that follow from seed and place; never zero.
__attribute__((unused)) static void fill(char *memory, size_t bytes, uint64_t seed) {
    uint64_t *words = (uint64_t *)memory;
    for (size_t i = 0; i < bytes / sizeof *words; i++)
        words[i] = (seed << 32 | i) * 0x9e3779b97f4a7c15u | 1;
}

__attribute__((unused)) static void check_filled(const char *what, const char *memory, size_t bytes, uint64_t seed) {
    const uint64_t *words = (const uint64_t *)memory;
    for (size_t i = 0; i < bytes / sizeof *words; i++)
        if (words[i] != ((seed << 32 | i) * 0x9e3779b97f4a7c15u | 1))
            workload_fail("%s: word %zu (page %zu) is %llx", what, i, i * 8 / PAGE, (unsigned long long)words[i]);
}

__attribute__((unused)) static void check_zero(const char *what, const char *memory, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        if (memory[i])
            workload_fail("%s: byte %zu (page %zu) is %d, not 0", what, i, i / PAGE, memory[i]);
}

static sigjmp_buf fault_place;
__attribute__((unused)) static void on_fault(int signal) {
    siglongjmp(fault_place, signal);
}

// Reads a byte; returns the signal that it raised, 0 = none.
__attribute__((unused)) static int fault_of(const volatile char *address, bool writing) {
    struct sigaction action = {.sa_handler = on_fault}, before[2];
    sigaction(SIGSEGV, &action, &before[0]);
    sigaction(SIGBUS, &action, &before[1]);
    volatile int signal = sigsetjmp(fault_place, 1);
    if (signal == 0) {
        char value = *address;
        if (writing)
            *(volatile char *)address = value;
    }
    sigaction(SIGSEGV, &before[0], NULL);
    sigaction(SIGBUS, &before[1], NULL);
    return signal;
}

// A file of whole pages in the working directory, filled with fill(…, seed). Open for reading and writing.
__attribute__((unused)) static int make_file(const char *name, size_t bytes, uint64_t seed) {
    int file = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    workload_check(file >= 0);
    char *content = malloc(bytes);
    workload_check(content != NULL);
    fill(content, bytes, seed);
    workload_check(write(file, content, bytes) == (ssize_t)bytes);
    free(content);
    return file;
}

// What /proc/self/maps says of the mapping that holds address: "rw-p", "---s" …
__attribute__((unused)) static void permissions_of(const void *address, char out[5]) {
    char line[5000];
    FILE *file = fopen("/proc/self/maps", "r");
    workload_check(file != NULL);
    strcpy(out, "none");
    while (fgets(line, sizeof line, file)) {
        unsigned long start, end;
        char permissions[5];
        if (sscanf(line, "%lx-%lx %4s", &start, &end, permissions) == 3 && (unsigned long)address >= start &&
            (unsigned long)address < end)
            strcpy(out, permissions);
    }
    fclose(file);
}

#define check_permissions(address, wanted)                                                                             \
    do {                                                                                                               \
        char permissions_now[5];                                                                                       \
        permissions_of(address, permissions_now);                                                                      \
        if (strcmp(permissions_now, wanted) != 0)                                                                      \
            workload_fail("%s:%d: %s has %s, not %s", __FILE__, __LINE__, #address, permissions_now, wanted);          \
    } while (0)

#endif
