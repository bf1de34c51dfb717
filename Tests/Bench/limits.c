// What the machine can do at best. Each prints the milliseconds it took:
//   limits write FILE MEGABYTES   one direct write after the other, 16 MiB each, and fsync
//   limits read FILE              two threads read the file into fresh memory of huge pages
//   limits copy MEGABYTES         memcpy between memory that is there
// and
//   limits print MEGABYTES KIND   writes contents of that kind to stdout
#include "bench.h"
#include "contents.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define CHUNK ((size_t)16 << 20)

static double now(void) {
    return (double)bench_now(CLOCK_MONOTONIC) / 1e6;
}

static void *map(size_t size, int huge) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        abort();
    if (huge)
        madvise(memory, size, MADV_HUGEPAGE);
    return memory;
}

static int write_file(const char *path, size_t size) {
    char *memory = map(CHUNK, 0);
    contents_fill(memory, CHUNK, "random");
    double began = now();
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_DIRECT, 0600);
    for (size_t at = 0; at < size; at += CHUNK)
        if (write(file, memory, CHUNK) != (ssize_t)CHUNK)
            return 1;
    if (fsync(file) != 0 || close(file) != 0)
        return 1;
    printf("%.3f\n", now() - began);
    return 0;
}

struct half {
    int file;
    char *memory;
    size_t start, end;
};

static void *read_half(void *argument) {
    const struct half *half = argument;
    for (size_t at = half->start; at < half->end;) {
        size_t length = half->end - at < CHUNK ? half->end - at : CHUNK;
        ssize_t got = pread(half->file, half->memory + at, length, (off_t)at);
        if (got <= 0)
            abort();
        at += (size_t)got;
    }
    return NULL;
}

static int read_file(const char *path) {
    int file = open(path, O_RDONLY);
    struct stat status;
    if (file < 0 || fstat(file, &status) != 0)
        return 1;
    size_t size = (size_t)status.st_size;
    double began = now();
    struct half halves[2] = {{file, map(size, 1), 0, size / 2}, {file, NULL, size / 2, size}};
    halves[1].memory = halves[0].memory;
    pthread_t other;
    if (pthread_create(&other, NULL, read_half, &halves[1]) != 0)
        return 1;
    read_half(&halves[0]);
    pthread_join(other, NULL);
    printf("%.3f\n", now() - began);
    return 0;
}

static int copy(size_t size) {
    char *from = map(size, 1), *to = map(size, 1);
    memset(from, 1, size);
    memset(to, 2, size);
    double began = now();
    memcpy(to, from, size);
    double took = now() - began;
    if (to[size - 1] != 1)
        return 1;
    printf("%.3f\n", took);
    return 0;
}

static int print(size_t size, const char *kind) {
    char *memory = map(size, 0);
    if (contents_fill(memory, size, kind) != 0)
        return 1;
    for (size_t at = 0; at < size;) {
        ssize_t put = write(1, memory + at, size - at);
        if (put <= 0)
            return 1;
        at += (size_t)put;
    }
    return 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 2 ? argv[1] : "";
    if (strcmp(what, "write") == 0 && argc == 4)
        return write_file(argv[2], (size_t)atol(argv[3]) << 20);
    if (strcmp(what, "read") == 0)
        return read_file(argv[2]);
    if (strcmp(what, "copy") == 0)
        return copy((size_t)atol(argv[2]) << 20);
    if (strcmp(what, "print") == 0 && argc == 4)
        return print((size_t)atol(argv[2]) << 20, argv[3]);
    return 2;
}
