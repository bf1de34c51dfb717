// @cases fork several orphan chain killed
// @runs plain 0 resume1 resume3
// @limit 60
// Processes that fork as fast as they can while checkpoints are taken: children that end at once, several at a time,
// orphans whose parent ends first, chains in which each generation ends before the next one, children that are killed.
#include "tree_storm.h"

#include <signal.h>

static void fork_once(int worker, long round) {
    int code = (int)((round * 7 + worker) & 0x7f);
    pid_t pid = fork();
    if (pid == 0)
        _exit(code);
    if (pid < 0)
        storm_fail("fork: %s", strerror(errno));
    storm_reap(pid, code);
}

static void several_once(int worker, long round) {
    pid_t pids[5];
    for (int i = 0; i < 5; i++) {
        pids[i] = fork();
        if (pids[i] < 0)
            storm_fail("fork: %s", strerror(errno));
        if (pids[i] == 0) {
            volatile long sum = 0;
            for (long k = 0; k < 20000 * i; k++)
                sum += k;
            _exit((i + worker) & 0x7f);
        }
    }
    for (int i = 4; i >= 0; i--)
        storm_reap(pids[(i + round) % 5], (int)((i + round) % 5 + worker) & 0x7f);
}

// A token comes back through a pipe from whoever is the last.
static void token_once(int worker, long round, int generations) {
    int ends[2];
    long token = round * STORM_WORKERS + worker, got = -1;
    if (pipe(ends) < 0)
        storm_fail("pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid < 0)
        storm_fail("fork: %s", strerror(errno));
    if (pid == 0) {
        for (int i = 0; i < generations; i++) {
            pid_t next = fork();
            if (next < 0)
                _exit(90);
            if (next > 0)
                _exit(i == 0 ? 17 : 0); // the first one is waited for, the others are orphans
        }
        _exit(write(ends[1], &token, sizeof token) == sizeof token ? 0 : 91);
    }
    close(ends[1]);
    storm_reap(pid, 17);
    ssize_t count = read(ends[0], &got, sizeof got);
    if (count != sizeof got || got != token)
        storm_fail("the token %ld came back as %ld (%zd bytes)", token, got, count);
    if (read(ends[0], &got, sizeof got) != 0)
        storm_fail("a second token came back: %ld", got);
    close(ends[0]);
}

static void orphan_once(int worker, long round) {
    token_once(worker, round, 1);
}

static void chain_once(int worker, long round) {
    token_once(worker, round, 6);
}

static void killed_once(int worker, long round) {
    (void)worker, (void)round;
    pid_t pid = fork();
    if (pid < 0)
        storm_fail("fork: %s", strerror(errno));
    if (pid == 0)
        for (;;)
            pause();
    int status;
    kill(pid, SIGKILL);
    if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        storm_fail("process %d was killed and ended with status %#x", pid, status);
}

int main(int count, char **words) {
    const struct {
        const char *name;
        void (*once)(int, long);
    } cases[] = {{"fork", fork_once},
                 {"several", several_once},
                 {"orphan", orphan_once},
                 {"chain", chain_once},
                 {"killed", killed_once}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (count == 2 && strcmp(words[1], cases[i].name) == 0)
            storm_run(cases[i].once);
    workload_fail("no such case");
}
