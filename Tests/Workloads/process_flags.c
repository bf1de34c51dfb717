// What prctl sets for a process or thread, working directory, and the addresses the kernel keeps of a program.
#include "workload.h"
#include <fcntl.h>
#include <limits.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#define PR_GET_MEMORY_MERGE 68
#endif

static int flags[8];
static char where[PATH_MAX];

static void read_flags(int *out) {
    out[0] = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    prctl(PR_GET_CHILD_SUBREAPER, &out[1]);
    out[2] = prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0);
    out[3] = prctl(PR_GET_KEEPCAPS);
    out[4] = prctl(PR_GET_DUMPABLE);
    out[5] = prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0);
    out[6] = prctl(PR_GET_SECUREBITS);
}

static size_t read_file(const char *path, char *out, size_t size) {
    int file = open(path, O_RDONLY);
    workload_check(file >= 0);
    ssize_t length = read(file, out, size);
    close(file);
    workload_check(length > 0);
    return (size_t)length;
}

// Fields 26 to 28 and 45 to 51 of /proc/self/stat: code, data, brk, arguments, environment.
static void read_addresses(char *out) {
    char text[2048];
    text[read_file("/proc/self/stat", text, sizeof text - 1)] = 0;
    char *cursor = strrchr(text, ')'), *rest = NULL;
    *out = 0;
    cursor = strtok_r(cursor + 2, " \n", &rest);
    for (int field = 3; cursor; field++, cursor = strtok_r(NULL, " \n", &rest))
        if ((field >= 26 && field <= 28) || (field >= 45 && field <= 51))
            strcat(strcat(out, cursor), " ");
}

int main(int count, char **words) {
    char line[4096], line_now[4096], addresses[512], addresses_now[512], here[PATH_MAX];
    (void)count;
    workload_check(mkdir("inner", 0700) == 0 && chdir("inner") == 0);
    workload_check(getcwd(where, sizeof where) != NULL);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    prctl(PR_SET_KEEPCAPS, 1);
    prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0);
    strcpy(words[0], "renamed"); // shows in /proc/self/cmdline
    read_flags(flags);
    workload_equal(flags[0], 1);
    workload_equal(flags[1], 1);
    size_t length = read_file("/proc/self/cmdline", line, sizeof line);
    read_addresses(addresses);
    void *top = sbrk(0);
    workload_ready();
    workload_wait();
    int now[8] = {0};
    read_flags(now);
    for (int i = 0; i < 7; i++)
        if (now[i] != flags[i])
            workload_fail("flag %d is %d, was %d", i, now[i], flags[i]);
    workload_check(getcwd(here, sizeof here) != NULL && strcmp(here, where) == 0);
    workload_equal(read_file("/proc/self/cmdline", line_now, sizeof line_now), length);
    workload_check(memcmp(line, line_now, length) == 0);
    read_addresses(addresses_now);
    if (strcmp(addresses, addresses_now) != 0)
        workload_fail("addresses %s, were %s", addresses_now, addresses);
    workload_check(sbrk(0) == top && sbrk(8192) == top);
    memset(top, 1, 8192);
    workload_pass();
}
