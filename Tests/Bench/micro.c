// micro NAME: prints how long one operation takes, in nanoseconds: the best of several rounds.
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int zero, null, ends[2];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void read_write(void) {
    char bytes[64];
    if (read(zero, bytes, sizeof bytes) != sizeof bytes || write(null, bytes, sizeof bytes) != sizeof bytes)
        abort();
}
static void allocate(void) {
    void *volatile memory[8];
    for (int i = 0; i < 8; i++)
        memory[i] = malloc((size_t)(16 << i));
    for (int i = 0; i < 8; i++)
        free(memory[i]);
}
static void open_close(void) {
    close(open("/dev/null", O_RDONLY));
}
static void wait_for(pid_t child) {
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child)
        abort();
}
static void do_fork(void) {
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    wait_for(child);
}
static void fork_exec(void) {
    pid_t child = fork();
    if (child == 0) {
        execl("/bin/true", "true", (char *)NULL);
        _exit(1);
    }
    wait_for(child);
}
static void *nothing(void *argument) {
    return argument;
}
static void thread_create(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, nothing, NULL) != 0)
        abort();
    pthread_join(thread, NULL);
}
static void lock_unlock(void) {
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
}
static void through_pipe(void) {
    char byte = 1;
    if (write(ends[1], &byte, 1) != 1 || read(ends[0], &byte, 1) != 1)
        abort();
}
static void get_time(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
}
static void get_pid(void) {
    getpid();
}

static const struct {
    const char *name;
    void (*operation)(void);
    int count;
} table[] = {
    {"read+write", read_write, 200000},
    {"malloc+free x8", allocate, 200000},
    {"open+close", open_close, 100000},
    {"fork", do_fork, 300},
    {"fork+exec", fork_exec, 100},
    {"thread create+join", thread_create, 3000},
    {"mutex lock+unlock", lock_unlock, 2000000},
    {"pipe byte", through_pipe, 100000},
    {"clock_gettime", get_time, 1000000},
    {"getpid", get_pid, 1000000},
};

static double nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static double measure(void (*operation)(void), int count) {
    double best = 1e18;
    for (int round = 0; round < 5; round++) {
        double before = nanoseconds();
        for (int i = 0; i < count; i++)
            operation();
        double took = (nanoseconds() - before) / count;
        best = took < best ? took : best;
    }
    return best;
}

int main(int argc, char **argv) {
    zero = open("/dev/zero", O_RDONLY);
    null = open("/dev/null", O_WRONLY);
    if (zero < 0 || null < 0 || pipe(ends) != 0)
        return 1;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (argc < 2)
            puts(table[i].name);
        else if (strcmp(argv[1], table[i].name) == 0)
            printf("%.2f\n", measure(table[i].operation, table[i].count));
    return 0;
}
