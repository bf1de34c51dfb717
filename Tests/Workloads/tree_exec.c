// Children that run other programs, started in every way there is.
// @cases exec exec_clean vfork spawn system popen
#include "workload_cases.h"

#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/wait.h>

static void nap(void) {
    nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static void expect_exit(pid_t pid, int code) {
    int status = 0;
    workload_equal(waitpid(pid, &status, 0), pid);
    workload_check(WIFEXITED(status));
    workload_equal(WEXITSTATUS(status), code);
}

// A shell that waits for its stdin and ends with what it read there.
static void waiting_shell(bool clean, bool spawned, bool by_vfork) {
    int ends[2];
    char name[] = "/bin/sh", flag[] = "-c", script[] = "read code; exit $code";
    char *words[] = {name, flag, script, NULL}, *nothing[] = {NULL};
    extern char **environ;
    char **variables = clean ? nothing : environ;
    workload_check(pipe2(ends, O_CLOEXEC) == 0);
    pid_t child;
    if (spawned) {
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, ends[0], 0);
        workload_check(posix_spawn(&child, name, &actions, NULL, words, variables) == 0);
    } else {
        child = by_vfork ? vfork() : fork();
        if (child == 0) {
            dup2(ends[0], 0);
            execve(name, words, variables);
            _exit(99);
        }
    }
    close(ends[0]);
    char link[64], target[64];
    snprintf(link, sizeof link, "/proc/%d/exe", (int)child);
    for (ssize_t length = 0; length <= 0 || !strstr(target, "sh"); nap()) {
        length = readlink(link, target, sizeof target - 1);
        target[length > 0 ? length : 0] = 0;
    }
    workload_ready();
    workload_wait();
    workload_equal(write(ends[1], "42\n", 3), 3);
    expect_exit(child, 42);
}

static void execed(void) {
    waiting_shell(false, false, false);
}
static void execed_clean(void) {
    waiting_shell(true, false, false);
}
static void vforked(void) {
    waiting_shell(false, false, true);
}
static void spawned(void) {
    waiting_shell(false, true, false);
}

static void *command_thread(void *result) {
    *(int *)result = system("while [ ! -e \"$SCP_TEST_GO\" ]; do sleep 0.01; done; exit 6");
    return NULL;
}

static void by_system(void) {
    pthread_t thread;
    int result = -1;
    workload_check(pthread_create(&thread, NULL, command_thread, &result) == 0);
    workload_ready();
    workload_wait();
    pthread_join(thread, NULL);
    workload_check(WIFEXITED(result));
    workload_equal(WEXITSTATUS(result), getenv("SCP_TEST_GO") ? 6 : WEXITSTATUS(result));
}

static void by_popen(void) {
    FILE *tr = popen("tr a-z A-Z | cat > popen.out", "w");
    workload_check(tr != NULL);
    fputs("first\n", tr);
    fflush(tr);
    workload_ready();
    workload_wait();
    fputs("second\n", tr);
    workload_equal(pclose(tr), 0);
    char text[64] = "";
    FILE *out = fopen("popen.out", "r");
    workload_check(out != NULL);
    size_t length = fread(text, 1, sizeof text - 1, out);
    text[length] = 0;
    if (strcmp(text, "FIRST\nSECOND\n") != 0)
        workload_fail("popen.out holds \"%s\"", text);
}

WORKLOAD_CASES({"exec", execed}, {"exec_clean", execed_clean}, {"vfork", vforked}, {"spawn", spawned},
               {"system", by_system}, {"popen", by_popen})
