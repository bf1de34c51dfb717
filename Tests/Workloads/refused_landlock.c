// Landlock rules that the program has set itself, in a thread, or before it started this program: they would be gone after a
// restart.
// @cases own thread exec
// @refused restricted by landlock rules
#include "workload.h"
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define CREATE_RULESET 444
#define RESTRICT_SELF 446

static void confine(void) {
    uint64_t rights[1] = {1 << 6}; // devices may not be made
    long ruleset = syscall(CREATE_RULESET, rights, sizeof rights, 0);
    if (ruleset < 0)
        workload_skip("landlock: %s", strerror(errno));
    workload_check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    workload_check(syscall(RESTRICT_SELF, ruleset, 0) == 0);
    close((int)ruleset);
}

static void *confined(void *argument) {
    pthread_barrier_t *barrier = argument;
    confine();
    pthread_barrier_wait(barrier); // confined
    pthread_barrier_wait(barrier); // the end
    return NULL;
}

static void run_thread(void) {
    pthread_barrier_t barrier;
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);
    workload_check(pthread_create(&thread, NULL, confined, &barrier) == 0);
    pthread_barrier_wait(&barrier);
    workload_ready();
    workload_wait();
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    workload_pass();
}

int main(int count, char **words) {
    const char *word = count > 1 ? words[1] : "own";
    if (strcmp(word, "thread") == 0)
        run_thread();
    bool again = getenv("CONFINED") != NULL;
    if (!again)
        confine();
    if (strcmp(word, "exec") == 0 && !again) {
        setenv("CONFINED", "1", 1);
        execv("/proc/self/exe", words);
        workload_fail("execv: %s", strerror(errno));
    }
    workload_ready();
    workload_wait();
    workload_pass();
}
