// Files being appended to, by O_APPEND, by position and through stdio: no line is lost, doubled or torn. Between the
// checkpoint and the kill the program goes on writing; the restart cuts that off, and it is written again.
// @cases append position stdio
#include "workload.h"
#include <fcntl.h>

static const char *const name = "lines";
static FILE *stream;
static int file = -1;

static void open_it(const char *how) {
    if (strcmp(how, "stdio") == 0) {
        stream = fopen(name, "w");
        workload_check(stream);
    } else {
        file = open(name, O_WRONLY | O_CREAT | O_TRUNC | (strcmp(how, "append") == 0 ? O_APPEND : 0), 0644);
        workload_check(file >= 0);
    }
}

static void write_line(long number) {
    char line[64];
    int length = snprintf(line, sizeof line, "line %08ld of the file\n", number);
    if (stream)
        workload_check(fwrite(line, 1, (size_t)length, stream) == (size_t)length);
    else
        workload_equal(write(file, line, (size_t)length), length);
}

static void check(long count) {
    FILE *written = fopen(name, "r");
    char line[64];
    long number = 0, found;
    workload_check(written);
    while (fgets(line, sizeof line, written)) {
        if (sscanf(line, "line %ld of the file", &found) != 1)
            workload_fail("line %ld is torn: %s", number, line);
        workload_equal(found, number);
        number++;
    }
    workload_equal(number, count);
}

int main(int words, char **word) {
    long number = 0;
    open_it(words > 1 ? word[1] : "append");
    while (number < 100)
        write_line(number++);
    workload_ready();
    while (workload_waiting()) {
        write_line(number++);
        nanosleep(&(struct timespec){0, 100000}, NULL);
    }
    while (number % 100 != 0)
        write_line(number++);
    if (stream)
        workload_check(fclose(stream) == 0);
    check(number);
    workload_pass();
}
