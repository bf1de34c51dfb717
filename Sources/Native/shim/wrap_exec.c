// The exec family, interposed for two reasons.
//
// 1. A quiesce signal that is pending when exec succeeds meets the default action in the new program and kills it. So exec
//    and quiesce exclude each other: exec waits while the gate is closed, quiesce waits while an exec is under way.
// 2. A program that cleans the environment for its child would lose us: what makes a process a worker is put back.
//
// Every member is here, since libc's own call each other internally. A child of vfork shares its parent's memory: it skips
// the guard (nobody signals it: it has no checkpoint thread) and works on its stack alone. Raw system calls stay unguarded.
#include "worker.h"

#include <alloca.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <paths.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

extern char **environ;

SCP_FORK_DATA static _Atomic uint32_t under_way; // execs of this process, futex of the checkpoint thread
SCP_FORK_DATA static _Atomic uint32_t
    barred; // 1 while a checkpoint is under way, futex of the threads that want to exec

// "NAME=value" as a new program is to have it; the preload entry first.
#define KEPT 8
static char found_text[2 * 4096 + 1024]; // one behind the other: no more pages are written than needed
static char renewed_text[4096 + 1024];
SCP_FORK_DATA static const char *found[KEPT]; // by the constructor; NULL: was not there, or too long for what was left
SCP_FORK_DATA static const char *kept[KEPT]; // the same until a restart
static const char *const kept_names[KEPT] = {"LD_PRELOAD=",       SCP_ENV_COORDINATOR "=", SCP_ENV_COMPUTATION "=",
                                             SCP_ENV_CKPTDIR "=", SCP_ENV_SIGNAL "=",      SCP_ENV_AUTO "=",
                                             SCP_ENV_STREAMS "=", SCP_ENV_SURROUNDINGS "="};

// Which of the names the entry has; KEPT = none.
SCP_FORK_CODE static int which_of(const char *entry) {
    int i = 0;
    while (i < KEPT && (*entry != *kept_names[i] || strncmp(entry, kept_names[i], strlen(kept_names[i])) != 0))
        i++;
    return i;
}

SCP_FORK_CODE void scp_exec_setup(void) {
    size_t used = 0;
    for (char **entry = environ; entry && *entry; entry++) {
        int i = which_of(*entry);
        size_t size = i < KEPT ? strlen(*entry) + 1 : 0;
        if (i == KEPT || found[i] || size > sizeof found_text - used)
            continue;
        kept[i] = found[i] = memcpy(found_text + used, *entry, size);
        used += size;
    }
}

static size_t renew(int which, const char *value, size_t used) {
    if (used + strlen(kept_names[which]) + strlen(value) + 1 > sizeof renewed_text)
        return used;
    kept[which] = renewed_text + used;
    scp_concat(renewed_text + used, sizeof renewed_text - used, kept_names[which], value, NULL);
    return used + strlen(kept[which]) + 1;
}

// The program's environment still says what it said before the restart: what it starts is to hear the truth.
void scp_exec_renew(const char *surroundings) {
    char streams[6 * 24] = "";
    size_t length = 0;
    for (int i = 0; i < 6; i++) {
        length += scp_decimal(streams + length, scp_settings.streams[i]);
        streams[length++] = i % 2 == 0 ? ':' : ',';
    }
    streams[length - 1] = '\0';
    size_t used = renew(1, scp_settings.coordinator, 0);
    used = renew(2, scp_settings.computation, used);
    used = renew(3, scp_settings.checkpoint_directory, used);
    used = renew(6, streams, used);
    if (surroundings)
        renew(7, surroundings, used);
}

SCP_FORK_CODE void scp_exec_forget(void) {
    atomic_store(&under_way, 0);
    atomic_store(&barred, 0);
}

bool scp_exec_bar(int64_t deadline) {
    atomic_store(&barred, 1);
    for (uint32_t count; (count = atomic_load(&under_way)) > 0;) {
        int64_t left = deadline - scp_now();
        if (left <= 0)
            return false;
        scp_futex_wait(&under_way, count, left);
    }
    return true;
}

void scp_exec_unbar(void) {
    atomic_store(&barred, 0);
    scp_futex_wake(&barred, INT_MAX);
}

static bool guard_enter(void) {
    if (!scp_enabled || (uint32_t)scp_call(SYS_getpid) != scp_own_pid)
        return false;
    for (;;) {
        atomic_fetch_add(&under_way, 1);
        if (atomic_load(&barred) == 0)
            return true;
        atomic_fetch_sub(&under_way, 1);
        scp_futex_wake(&under_way, 1);
        scp_futex_wait(&barred, 1, -1);
    }
}

static void guard_leave(void) {
    atomic_fetch_sub(&under_way, 1);
    scp_futex_wake(&under_way, 1);
}

static const char *find(char *const *environment, const char *name) {
    for (; environment && *environment; environment++)
        if (strncmp(*environment, name, strlen(name)) == 0)
            return *environment;
    return NULL;
}

static size_t count_of(char *const *list) {
    size_t count = 0;
    while (list && list[count])
        count++;
    return count;
}

// An environment that was made before a restart may come by another process, which cannot tell (a JVM's helper). Of the same
// computation our surroundings are the newest known.
static bool is_outdated(char *const *environment, const char *surroundings) {
    const char *computation = find(environment, kept_names[2]);
    return kept[7] && strcmp(surroundings, kept[7]) != 0 && computation && kept[2] && strcmp(computation, kept[2]) == 0;
}

// Which of our entries the environment lacks, or has as they were before a restart, as bits; 0 = it can be used as it is. What
// the program has set itself (it starts swiftcp_launch, perhaps) stays.
static unsigned missing(char *const *environment) {
    unsigned bits = 0;
    for (int i = 0; scp_enabled && i < KEPT; i++) {
        const char *there = find(environment, kept_names[i]);
        bool stale = there && kept[i] != found[i] && found[i] && strcmp(there, found[i]) == 0;
        stale = stale || (i == 7 && there && is_outdated(environment, there));
        if (kept[i] && (!there || stale || (i == 0 && !strstr(there, "libswiftcp.so"))))
            bits |= 1u << i;
    }
    return bits;
}

// Is the entry one of those that are put in anew?
static bool is_replaced(const char *entry, unsigned bits) {
    for (int i = 0; i < KEPT; i++)
        if ((bits >> i & 1) && strncmp(entry, kept_names[i], strlen(kept_names[i])) == 0)
            return true;
    return false;
}

static int run(int folder, const char *path, char *const *words, char *const *environment, int flags) {
    bool guarded = guard_enter();
    long result = flags < 0 ? scp_call(SYS_execve, path, words, environment)
                            : scp_call(SYS_execveat, folder, path, words, environment, flags);
    if (guarded)
        guard_leave();
    errno = (int)-result;
    return -1;
}

// Puts back what is missing, on this stack. flags < 0: execve.
static int complete_and_run(int folder, const char *path, char *const *words, char *const *environment, int flags) {
    unsigned bits = missing(environment);
    if (!bits)
        return run(folder, path, words, environment, flags);
    size_t count = count_of(environment), used = 0;
    char **copy = alloca((count + KEPT + 1) * sizeof *copy);
    const char *preload = find(environment, kept_names[0]);
    for (size_t i = 0; i < count; i++)
        if (!is_replaced(environment[i], bits))
            copy[used++] = environment[i];
    for (int i = 0; i < KEPT; i++)
        if (bits >> i & 1)
            copy[used++] = (char *)kept[i];
    if ((bits & 1) && preload) {
        size_t size = strlen(kept[0]) + strlen(preload) + 2;
        char *joined = alloca(size);
        scp_concat(joined, size, kept[0], ":", preload + strlen(kept_names[0]), (char *)NULL);
        for (size_t i = 0; i < used; i++)
            if (copy[i] == kept[0])
                copy[i] = joined;
    }
    copy[used] = NULL;
    return run(folder, path, words, copy, flags);
}

// What a shell does with a file the kernel does not know (POSIX, execvp).
static int run_as_script(const char *path, char *const *words, char *const *environment) {
    size_t count = count_of(words);
    char **shell = alloca((count + 3) * sizeof *shell);
    shell[0] = (char *)_PATH_BSHELL;
    shell[1] = (char *)path;
    for (size_t i = 1; i <= count; i++)
        shell[i + 1] = words[i];
    if (count <= 1)
        shell[2] = NULL;
    return complete_and_run(AT_FDCWD, _PATH_BSHELL, shell, environment, -1);
}

static int try_path(const char *path, char *const *words, char *const *environment) {
    complete_and_run(AT_FDCWD, path, words, environment, -1);
    return errno == ENOEXEC ? run_as_script(path, words, environment) : -1;
}

static int search(const char *file, char *const *words, char *const *environment) {
    const char *path = find(environ, "PATH=");
    int denied = 0;
    if (!*file) {
        errno = ENOENT;
        return -1;
    }
    if (strchr(file, '/'))
        return try_path(file, words, environment);
    for (path = path ? path + 5 : "/bin:/usr/bin";; path++) {
        size_t length = strcspn(path, ":");
        char candidate[PATH_MAX + 1];
        if (length + strlen(file) + 2 <= sizeof candidate) {
            memcpy(candidate, path, length);
            scp_concat(candidate + length, sizeof candidate - length, length ? "/" : "", file, (char *)NULL);
            try_path(candidate, words, environment);
            if (errno == EACCES)
                denied = 1;
            else if (errno != ENOENT && errno != ENOTDIR && errno != ESTALE && errno != ENODEV && errno != ETIMEDOUT)
                return -1;
        }
        path += length;
        if (!*path)
            break;
    }
    errno = denied ? EACCES : ENOENT;
    return -1;
}

EXPORT int execve(const char *path, char *const words[], char *const environment[]) {
    return complete_and_run(AT_FDCWD, path, words, environment, -1);
}

EXPORT int execv(const char *path, char *const words[]) {
    return complete_and_run(AT_FDCWD, path, words, environ, -1);
}

EXPORT int execvp(const char *file, char *const words[]) {
    return search(file, words, environ);
}

EXPORT int execvpe(const char *file, char *const words[], char *const environment[]) {
    return search(file, words, environment);
}

EXPORT int fexecve(int descriptor, char *const words[], char *const environment[]) {
    return complete_and_run(descriptor, "", words, environment, AT_EMPTY_PATH);
}

EXPORT int execveat(int folder, const char *path, char *const words[], char *const environment[], int flags) {
    return complete_and_run(folder, path, words, environment, flags);
}

// Gathers the words of the execl functions, on the caller's stack; `rest` stands behind the NULL afterwards.
#define GATHER(first, rest)                                                                                            \
    size_t count = 1;                                                                                                  \
    va_start(rest, first);                                                                                             \
    while (va_arg(rest, char *))                                                                                       \
        count++;                                                                                                       \
    va_end(rest);                                                                                                      \
    char **words = alloca((count + 1) * sizeof *words);                                                                \
    words[0] = (char *)first;                                                                                          \
    va_start(rest, first);                                                                                             \
    for (size_t i = 1; i <= count; i++)                                                                                \
        words[i] = va_arg(rest, char *);

EXPORT int execl(const char *path, const char *first, ...) {
    va_list rest;
    GATHER(first, rest)
    va_end(rest);
    return complete_and_run(AT_FDCWD, path, words, environ, -1);
}

EXPORT int execlp(const char *file, const char *first, ...) {
    va_list rest;
    GATHER(first, rest)
    va_end(rest);
    return search(file, words, environ);
}

EXPORT int execle(const char *path, const char *first, ...) {
    va_list rest;
    GATHER(first, rest)
    char *const *environment = va_arg(rest, char *const *);
    va_end(rest);
    return complete_and_run(AT_FDCWD, path, words, environment, -1);
}
