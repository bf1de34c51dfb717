// many KIND N [MEGABYTES]: N of a kind, then READY; then RAN and the time as soon as everything runs again after having stood
// still. KIND: descriptors, pipes, threads, or processes that pass a number round through pipes, with so much memory in all;
// a time round is a look at the clock (bench.h).
#include "bench.h"
#include "contents.h"

#include <pthread.h>
#include <sys/resource.h>

static void make_threads(int count) {
    pthread_attr_t small;
    pthread_t thread;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    for (int i = 1; i < count; i++)
        bench_need(pthread_create(&thread, &small, bench_rest, NULL) == 0, "thread");
}

static void make_pipes(int count) {
    int ends[2];
    for (int i = 0; i < count; i++)
        bench_need(pipe(ends) == 0 && (i % 10 != 0 || write(ends[1], "x", 1) == 1), "pipe");
}

// Memory of one process. Seen from outside, or a compiler leaves out what nobody reads.
void *memory;

static void fill(size_t size) {
    memory = malloc(size);
    bench_need(memory != NULL && contents_fill(memory, size, "random") == 0, "memory");
}

static _Noreturn void pass_on(int in, int out, size_t size) {
    char token[8];
    fill(size);
    for (ssize_t got; (got = read(in, token, sizeof token)) > 0;)
        bench_need(write(out, token, (size_t)got) == got, "write");
    _exit(0);
}

// A ring: each process reads from the one before and writes to the next. `in` and `out` are the ends of this one.
static void make_ring(int count, size_t size, int *in, int *out) {
    int first[2], last[2];
    bench_need(pipe(first) == 0, "pipe");
    *in = first[0];
    for (int i = 1; i < count; i++) {
        bench_need(pipe(last) == 0, "pipe");
        int child = fork();
        bench_need(child >= 0, "fork");
        if (child == 0) {
            close(last[0]);
            pass_on(*in, last[1], size);
        }
        close(*in);
        close(last[1]);
        *in = last[0];
    }
    *out = first[1];
    fill(size);
}

// Without a ring: a rest.
static void go_round(int in, int out) {
    char token[8] = "token";
    if (in >= 0)
        bench_need(write(out, token, 1) == 1 && read(in, token, 1) == 1, "ring");
    else
        usleep(1000);
}

// A restart shows in this clock alone: the other goes on from where it was.
static int64_t tell_standstill(int64_t before) {
    int64_t time = bench_now(CLOCK_REALTIME);
    if (time - before > 200000000) {
        printf("RAN %lld\n", (long long)time);
        fflush(stdout);
    }
    return time;
}

static void make(const char *kind, int count, size_t size, int *in, int *out) {
    for (int i = 0; strcmp(kind, "descriptors") == 0 && i < count; i++)
        bench_need(open("/dev/null", O_RDWR) >= 0, "open");
    if (strcmp(kind, "pipes") == 0)
        make_pipes(count);
    if (strcmp(kind, "threads") == 0)
        make_threads(count);
    if (strcmp(kind, "processes") == 0)
        make_ring(count, size, in, out);
}

int main(int words, char **word) {
    int count = words > 2 ? atoi(word[2]) : 1, in = -1, out = -1;
    size_t size = words > 3 ? ((size_t)atol(word[3]) << 20) / (size_t)count / 4096 * 4096 : 0;
    struct rlimit limit;
    struct bench_gaps gaps;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    make(words > 1 ? word[1] : "", count, size, &in, &out);
    go_round(in, out); // all are there
    bench_ready();
    int64_t before = bench_now(CLOCK_REALTIME);
    for (bench_gaps_begin(&gaps);; bench_gaps_answer(&gaps)) {
        go_round(in, out);
        bench_gaps_look(&gaps);
        before = tell_standstill(before);
    }
}
