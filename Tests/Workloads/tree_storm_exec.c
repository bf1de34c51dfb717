// @cases exec again vfork spawn system popen threads
// @runs plain 0 resume1 resume3
// @limit 60
// Processes that replace their program as fast as they can while checkpoints are taken: fork and exec, programs that exec
// themselves several times, vfork, posix_spawn, system and popen (with a shell between), and all that from two threads.
#include "tree_storm.h"

#include <pthread.h>
#include <spawn.h>

extern char **environ;
static char own[4096];

// The words of this program as a child: "exit CODE LEFT" execs itself LEFT times more, then ends with CODE.
struct child_words {
    char code[16], left[16];
    char *words[5];
};

static char **child_words(struct child_words *out, int code, int left) {
    snprintf(out->code, sizeof out->code, "%d", code);
    snprintf(out->left, sizeof out->left, "%d", left);
    char *words[5] = {own, (char *)"exit", out->code, out->left, NULL};
    memcpy(out->words, words, sizeof words);
    return out->words;
}

static int code_of(int worker, long round) {
    return (int)((round * 11 + worker * 3) % 100);
}

static void exec_times(int worker, long round, int left) {
    struct child_words words;
    pid_t pid = fork();
    if (pid < 0)
        storm_fail("fork: %s", strerror(errno));
    if (pid == 0) {
        execv(own, child_words(&words, code_of(worker, round), left));
        _exit(121);
    }
    storm_reap(pid, code_of(worker, round));
}

static void exec_once(int worker, long round) {
    exec_times(worker, round, 0);
}

static void again_once(int worker, long round) {
    exec_times(worker, round, 4);
}

static void vfork_once(int worker, long round) {
    struct child_words words;
    char **list = child_words(&words, code_of(worker, round), 0);
    pid_t pid = vfork();
    if (pid == 0) {
        execve(own, list, environ);
        _exit(121);
    }
    if (pid < 0)
        storm_fail("vfork: %s", strerror(errno));
    storm_reap(pid, code_of(worker, round));
}

static void spawn_once(int worker, long round) {
    struct child_words words;
    pid_t pid;
    char *nothing[] = {NULL}; // a cleaned environment
    int error = posix_spawn(&pid, own, NULL, NULL, child_words(&words, code_of(worker, round), 1), nothing);
    if (error)
        storm_fail("posix_spawn: %s", strerror(error));
    storm_reap(pid, code_of(worker, round));
}

static void system_once(int worker, long round) {
    char line[4200];
    snprintf(line, sizeof line, "'%s' exit %d 0; exit $?", own, code_of(worker, round));
    int status = system(line);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != code_of(worker, round))
        storm_fail("system gave %#x instead of exit code %d", status, code_of(worker, round));
}

static void popen_once(int worker, long round) {
    char line[4200], answer[64] = "";
    long token = round * STORM_WORKERS + worker;
    snprintf(line, sizeof line, "'%s' say %ld | cat", own, token);
    FILE *stream = popen(line, "r");
    if (!stream)
        storm_fail("popen: %s", strerror(errno));
    if (!fgets(answer, sizeof answer, stream) || atol(answer) != token)
        storm_fail("the pipeline said \"%s\" instead of %ld", answer, token);
    int status = pclose(stream);
    if (status != 0)
        storm_fail("pclose gave %#x", status);
}

struct half {
    int worker;
    long round;
};

static void *second_half(void *argument) {
    const struct half *half = argument;
    spawn_once(half->worker + 7, half->round);
    return NULL;
}

static void threads_once(int worker, long round) {
    pthread_t thread;
    struct half half = {worker, round};
    if (pthread_create(&thread, NULL, second_half, &half) != 0)
        storm_fail("pthread_create");
    exec_once(worker, round);
    pthread_join(thread, NULL);
}

static int child(char **words) {
    if (strcmp(words[1], "say") == 0)
        return printf("%s\n", words[2]) < 0;
    int left = atoi(words[3]);
    if (left == 0)
        return atoi(words[2]);
    struct child_words next;
    execv(words[0], child_words(&next, atoi(words[2]), left - 1));
    return 122;
}

int main(int count, char **words) {
    const struct {
        const char *name;
        void (*once)(int, long);
    } cases[] = {{"exec", exec_once},     {"again", again_once}, {"vfork", vfork_once},    {"spawn", spawn_once},
                 {"system", system_once}, {"popen", popen_once}, {"threads", threads_once}};
    ssize_t length = readlink("/proc/self/exe", own, sizeof own - 1);
    workload_check(length > 0);
    if (count > 2)
        return child(words);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (count == 2 && strcmp(words[1], cases[i].name) == 0)
            storm_run(cases[i].once);
    workload_fail("no such case");
}
