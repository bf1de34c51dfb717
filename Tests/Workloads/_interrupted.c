// _interrupted NAME SECONDS ROUNDS: a thread enters the call NAME; checkpoints come while it is there. A call that waits
// is woken after the go file; one that is timed ends by itself. It must not return EINTR that the program would not have
// seen, not early, not short. `_interrupted --list` prints the names with the table they are in.
//
// With ROUNDS > 0 the call, which must be a timed one, is made so many times after the go file: it may take at most
// twice its time, however often it is interrupted.
#include "interrupted.h"
#include <sys/syscall.h>

double interrupted_time = 1;
pthread_t interrupted_thread;

static const struct call *chosen;
static _Atomic pid_t entering;
static _Atomic int ended;
static struct ending ending;
static double took; // seconds

static double clock_seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void *enter(void *argument) {
    double monotonic = clock_seconds(CLOCK_MONOTONIC), wall = clock_seconds(CLOCK_REALTIME);
    entering = (pid_t)syscall(SYS_gettid);
    ending = chosen->enter();
    // After a restart CLOCK_MONOTONIC goes on where it was, CLOCK_REALTIME has advanced; a call may go by either.
    monotonic = clock_seconds(CLOCK_MONOTONIC) - monotonic;
    wall = clock_seconds(CLOCK_REALTIME) - wall;
    took = monotonic > wall ? monotonic : wall;
    ended = 1;
    return argument;
}

// Waits until the thread sleeps in a system call.
static void wait_until_inside(void) {
    char path[64], text[256];
    for (int polls = 0; polls < 5000; polls++) {
        nanosleep(&(struct timespec){0, 1000000}, NULL);
        if (!entering)
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%d/syscall", entering);
        FILE *file = fopen(path, "r");
        int got = file && fgets(text, sizeof text, file);
        if (file)
            fclose(file);
        if (ended || (got && text[0] >= '0' && text[0] <= '9'))
            return;
    }
    workload_fail("%s has not begun within 5 s", chosen->name);
}

static void check_ending(void) {
    if (ending.result != chosen->result || ending.error != chosen->error)
        workload_fail("%s returned %ld (%s) instead of %ld (%s) after %.3f s", chosen->name, ending.result,
                      strerror(ending.error), chosen->result, strerror(chosen->error), took);
    if (!chosen->wake && took < interrupted_time - 0.003)
        workload_fail("%s took %.3f s instead of %.3f: early", chosen->name, took, interrupted_time);
}

static void once(void) {
    workload_check(pthread_create(&interrupted_thread, NULL, enter, NULL) == 0);
    wait_until_inside();
    workload_ready();
    if (chosen->wake) {
        workload_wait();
        if (ended)
            workload_fail("%s returned %ld (%s) before it was woken", chosen->name, ending.result,
                          strerror(ending.error));
        chosen->wake();
    }
    workload_check(pthread_join(interrupted_thread, NULL) == 0);
    check_ending();
}

// One interruption may prolong the call by its full time, and the threads stand still meanwhile. On a busy machine a
// call may also simply be late, so the best of all must keep that limit and every one a looser one: a call that is
// begun anew by each checkpoint goes on until the checkpoints end.
static void repeatedly(int rounds) {
    double best = 1e9;
    workload_ready();
    workload_wait();
    for (int round = 0; round < rounds; round++) {
        workload_check(pthread_create(&interrupted_thread, NULL, enter, NULL) == 0);
        workload_check(pthread_join(interrupted_thread, NULL) == 0);
        check_ending();
        if (took > 5 * interrupted_time)
            workload_fail("%s took %.3f s instead of %.3f: starved", chosen->name, took, interrupted_time);
        best = took < best ? took : best;
    }
    if (best > 2 * interrupted_time)
        workload_fail("%s took %.3f s at best instead of %.3f: starved", chosen->name, best, interrupted_time);
}

static const struct call *find(const struct call *table, const char *name) {
    for (; table->name; table++)
        if (strcmp(table->name, name) == 0)
            return table;
    return NULL;
}

static void list(const char *title, const struct call *table) {
    for (; table->name; table++)
        printf("%s %s\n", title, table->name);
}

int main(int words, char **word) {
    if (words == 2 && strcmp(word[1], "--list") == 0) {
        list("timed", interrupted_timed);
        list("waits", interrupted_waits);
        list("locks", interrupted_locks);
        list("transfers", interrupted_transfers);
        return 0;
    }
    workload_check(words == 4);
    const struct call *const tables[] = {interrupted_timed, interrupted_waits, interrupted_locks,
                                         interrupted_transfers};
    for (int i = 0; i < 4 && !chosen; i++)
        chosen = find(tables[i], word[1]);
    if (!chosen)
        workload_fail("no call %s in the tables", word[1]);
    interrupted_time = atof(word[2]);
    if (chosen->prepare)
        chosen->prepare();
    if (atoi(word[3]) > 0)
        repeatedly(atoi(word[3]));
    else
        once();
    workload_pass();
}
