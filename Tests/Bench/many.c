// many KIND N: N of a kind, then READY and the time; then RAN and the time as soon as everything runs again after having stood
// still. KIND: descriptors, pipes, threads, or processes that pass a number round through pipes.
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

static void need(int good, const char *what) {
    if (good)
        return;
    perror(what);
    exit(1);
}

static void *rest(void *argument) {
    for (;;)
        pause();
    return argument;
}

static void make_threads(int count) {
    pthread_attr_t small;
    pthread_t thread;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    for (int i = 1; i < count; i++)
        need(pthread_create(&thread, &small, rest, NULL) == 0, "thread");
}

static void make_pipes(int count) {
    int ends[2];
    for (int i = 0; i < count; i++)
        need(pipe(ends) == 0 && (i % 10 != 0 || write(ends[1], "x", 1) == 1), "pipe");
}

// A ring: each process reads from the one before and writes to the next. `in` and `out` are the ends of this one.
static void make_ring(int count, int *in, int *out) {
    int first[2], last[2];
    need(pipe(first) == 0, "pipe");
    *in = first[0];
    for (int i = 1; i < count; i++) {
        need(pipe(last) == 0, "pipe");
        int child = fork();
        need(child >= 0, "fork");
        if (child == 0) {
            char token[8];
            close(last[0]);
            for (ssize_t got; (got = read(*in, token, sizeof token)) > 0;)
                need(write(last[1], token, (size_t)got) == got, "write");
            _exit(0);
        }
        close(*in);
        close(last[1]);
        *in = last[0];
    }
    *out = first[1];
}

int main(int words, char **word) {
    int count = words > 2 ? atoi(word[2]) : 1, in = -1, out = -1;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (int i = 0; words > 2 && strcmp(word[1], "descriptors") == 0 && i < count; i++)
        need(open("/dev/null", O_RDWR) >= 0, "open");
    if (words > 2 && strcmp(word[1], "pipes") == 0)
        make_pipes(count);
    if (words > 2 && strcmp(word[1], "threads") == 0)
        make_threads(count);
    if (words > 2 && strcmp(word[1], "processes") == 0)
        make_ring(count, &in, &out);
    printf("READY\n");
    fflush(stdout);
    for (long long before = now();;) {
        char token[8] = "token";
        if (in >= 0)
            need(write(out, token, 1) == 1 && read(in, token, 1) == 1, "ring");
        else
            usleep(1000);
        long long time = now();
        if (time - before > 200000000) { // stood still
            printf("RAN %lld\n", time);
            fflush(stdout);
        }
        before = time;
    }
}
