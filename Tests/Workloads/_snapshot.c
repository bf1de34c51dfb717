// For Tests/EndToEnd/snapshot_test.py: MEGABYTES that it knows, which it leaves alone ("idle") or rewrites all the time
// ("busy"). SIGUSR1 makes it end, or, started with "exec", become another program: itself, with one megabyte.
#include <signal.h>
#include <sys/wait.h>

#include "memory.h"

static volatile sig_atomic_t told;

static void on_word(int number) {
    (void)number;
    told = 1;
}

static void write_all(uint64_t *memory, size_t bytes, uint64_t round) {
    for (size_t page = 0; page < bytes / PAGE; page++)
        memory[page * (PAGE / 8) + round % 512] = (page << 32 | round) * 0x9e3779b97f4a7c15u | 1;
}

static void check_all(const uint64_t *memory, size_t bytes, uint64_t rounds) {
    for (size_t page = 0; page < bytes / PAGE; page++)
        for (uint64_t word = 0; word < 512; word++) {
            uint64_t back = (rounds + 512 - word) % 512, round = rounds > back ? rounds - back : 0;
            uint64_t wanted = round ? (page << 32 | round) * 0x9e3779b97f4a7c15u | 1 : 0;
            if (memory[page * 512 + word] != wanted)
                workload_fail("page %zu, word %llu is not that of round %llu", page, (unsigned long long)word,
                              (unsigned long long)round);
        }
}

int main(int argc, char **argv) {
    const char *mode = argc > 2 ? argv[1] : "idle";
    size_t bytes = (size_t)(argc > 2 ? atoi(argv[2]) : 1) << 20;
    uint64_t *memory = (uint64_t *)map_anonymous(bytes), round = 0;
    signal(SIGUSR1, on_word);
    while (round < 3)
        write_all(memory, bytes, ++round);
    workload_ready();
    while (workload_waiting() && !told)
        if (strcmp(mode, "busy") == 0)
            write_all(memory, bytes, ++round);
        else
            usleep(1000);
    if (told && strcmp(mode, "exec") == 0) {
        execl("/proc/self/exe", argv[0], "idle", "1", (char *)NULL);
        workload_fail("exec: %s", strerror(errno));
    }
    check_all(memory, bytes, round);
    errno = 0;
    if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD)
        workload_fail("there is a child to wait for");
    workload_pass();
}
