/* progress_program FILE MEGABYTES: a process and its child, each with so much memory of its own. The child has FILE mapped: whoever
 * keeps FILE from being opened keeps it from being restored. At the end both check every word. */
#include "../Workloads/workload.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

static uint64_t word(uint64_t seed, size_t place) {
    return (seed << 32 | place) * 0x9e3779b97f4a7c15ull + 1;
}

static uint64_t *fill(size_t size, uint64_t seed) {
    uint64_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    workload_check(memory != MAP_FAILED);
    for (size_t i = 0; i < size / sizeof *memory; i++)
        memory[i] = word(seed, i);
    return memory;
}

static void check(const uint64_t *memory, size_t size, uint64_t seed) {
    for (size_t i = 0; i < size / sizeof *memory; i++)
        workload_check(memory[i] == word(seed, i));
}

static int child(const char *path, size_t size, int ready) {
    int file = open(path, O_RDONLY);
    workload_check(file >= 0);
    const char *mapped = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, file, 0);
    workload_check(mapped != MAP_FAILED && mapped[0] == 'x');
    close(file);
    uint64_t *memory = fill(size, 2);
    workload_check(write(ready, "x", 1) == 1);
    workload_wait();
    check(memory, size, 2);
    return mapped[0] == 'x' ? 0 : 1;
}

int main(int count, char **words) {
    int ready[2], status = -1;
    char byte;
    workload_equal(count, 3);
    size_t size = (size_t)atol(words[2]) << 20;
    workload_check(pipe(ready) == 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(child(words[1], size, ready[1]));
    uint64_t *memory = fill(size, 1);
    workload_check(pid > 0 && read(ready[0], &byte, 1) == 1);
    workload_ready();
    workload_wait();
    check(memory, size, 1);
    workload_check(waitpid(pid, &status, 0) == pid && status == 0);
    workload_pass();
}
