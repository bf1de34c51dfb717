// What every workload includes. A workload prepares some state, says that it is ready, waits while it is checkpointed,
// resumed or restarted, checks that everything is as it left it, and says PASS or FAIL. See ../EndToEnd/README.md.
#ifndef SWIFTCP_WORKLOAD_H
#define SWIFTCP_WORKLOAD_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// Prints one line in one write(2), whatever state stdio is in. Safe from any thread.
__attribute__((format(printf, 2, 0), unused)) static void workload_say(const char *word, const char *format,
                                                                       va_list arguments) {
    char line[512];
    int length = snprintf(line, sizeof line - 1, "%s%s", word, format && *format ? " " : "");
    if (format && *format)
        length += vsnprintf(line + length, sizeof line - 1 - (size_t)length, format, arguments);
    if (length > (int)sizeof line - 2)
        length = sizeof line - 2;
    line[length++] = '\n';
    if (write(1, line, (size_t)length) != length)
        _exit(99);
}

// Ends the workload successfully.
__attribute__((noreturn, unused)) static void workload_pass(void) {
    if (write(1, "PASS\n", 5) != 5)
        _exit(99);
    _exit(0);
}

// Ends it with "FAIL what".
__attribute__((noreturn, format(printf, 1, 2), unused)) static void workload_fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    workload_say("FAIL", format, arguments);
    va_end(arguments);
    _exit(1);
}

// Ends it with "SKIP why": what it needs is not there (kernel, processor, permission). Only before workload_ready().
__attribute__((noreturn, format(printf, 1, 2), unused)) static void workload_skip(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    workload_say("SKIP", format, arguments);
    va_end(arguments);
    _exit(0);
}

// Prints a line for whoever reads the log of a failure.
__attribute__((format(printf, 1, 2), unused)) static void workload_note(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    workload_say("note:", format, arguments);
    va_end(arguments);
}

// Fails with the condition's text and errno's when it does not hold.
#define workload_check(condition)                                                                                      \
    ((condition) ? (void)0                                                                                             \
                 : workload_fail("%s:%d: %s (errno %d: %s)", __FILE__, __LINE__, #condition, errno, strerror(errno)))
// The same with numbers that are shown.
#define workload_equal(left, right)                                                                                    \
    workload_same((long long)(left), (long long)(right), __FILE__, __LINE__, #left " == " #right)
__attribute__((unused)) static void workload_same(long long left, long long right, const char *file, int line,
                                                  const char *text) {
    if (left != right)
        workload_fail("%s:%d: %s: %lld is not %lld", file, line, text, left, right);
}

// Everything is prepared: from now on checkpoints are taken.
__attribute__((unused)) static void workload_ready(void) {
    if (write(1, "READY\n", 6) != 6)
        _exit(99);
}

// 1 while checkpoints go on; 0 as soon as the harness has made the file that SCP_TEST_GO names. For threads that work
// meanwhile. Without the variable (run by hand): 1 for three seconds from the first call.
__attribute__((unused)) static int workload_waiting(void) {
    static time_t start;
    const char *go = getenv("SCP_TEST_GO");
    if (go)
        return access(go, F_OK) != 0;
    time_t now = time(NULL);
    if (start == 0)
        start = now;
    return now - start < 3;
}

// Waits until then.
__attribute__((unused)) static void workload_wait(void) {
    while (workload_waiting())
        nanosleep(&(struct timespec){0, 2000000}, NULL);
}

// CLOCK_MONOTONIC in seconds.
__attribute__((unused)) static double workload_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

#endif
