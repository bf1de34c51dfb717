// Many of one kind. `make bench` has the full sizes (10,000 pipes, 1,000 processes, 5,000 threads).
// @cases descriptors pipes processes inherited
// @runs plain 0 resume1 restart1
// @limit 120
#include "workload_cases.h"
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void raise_limit(rlim_t wanted) {
    struct rlimit limit;
    workload_check(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_max < wanted)
        workload_skip("no more than %llu descriptors here", (unsigned long long)limit.rlim_max);
    if (limit.rlim_cur < wanted)
        limit.rlim_cur = wanted;
    workload_check(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

// More than half of what the limit allows, on this kind of machine: each on another place of one file.
static void check_descriptors(void) {
    enum { COUNT = 10100 };
    static int numbers[COUNT];
    raise_limit(COUNT + 200);
    int file = open("file", O_RDWR | O_CREAT, 0600);
    workload_check(file >= 0 && ftruncate(file, COUNT) == 0);
    for (int i = 0; i < COUNT; i++) {
        numbers[i] = i % 100 == 99 ? dup(numbers[i - 1]) : open("file", O_RDONLY);
        workload_check(numbers[i] >= 0 && lseek(numbers[i], i, SEEK_SET) == i);
    }
    for (int i = 0; i < COUNT; i += 7)
        workload_check(i % 100 >= 98 || close(numbers[i]) == 0);
    workload_ready();
    workload_wait();
    for (int i = 0; i < COUNT; i++) {
        long expected = i % 100 == 98 ? i + 1 : i;
        if (i % 7 == 0 && i % 100 < 98)
            workload_check(lseek(numbers[i], 0, SEEK_CUR) < 0 && errno == EBADF);
        else
            workload_equal(lseek(numbers[i], 0, SEEK_CUR), expected);
    }
}

static void check_pipes(void) {
    enum { COUNT = 3000 };
    static int ends[COUNT][2];
    raise_limit(2 * COUNT + 200);
    for (int i = 0; i < COUNT; i++)
        workload_check(pipe(ends[i]) == 0 && write(ends[i][1], &i, sizeof i) == sizeof i);
    workload_ready();
    workload_wait();
    for (int i = 0; i < COUNT; i++) {
        int found = -1;
        workload_equal(read(ends[i][0], &found, sizeof found), sizeof found);
        workload_equal(found, i);
        workload_check(write(ends[i][1], &i, sizeof i) == sizeof i);
    }
}

// Children that answer what they are sent, each through its own pipe, all into one.
static void talk(int count, bool inherit) {
    static int ends[400][2];
    static pid_t children[400];
    int answers[2];
    workload_check(pipe(answers) == 0);
    for (int i = 0; i < count; i++) {
        workload_check(pipe(ends[i]) == 0);
        children[i] = fork();
        workload_check(children[i] >= 0);
        if (children[i] == 0) {
            int number;
            for (int other = 0; other < i && !inherit; other++)
                close(ends[other][1]);
            close(ends[i][1]);
            while (read(ends[i][0], &number, sizeof number) == sizeof number) {
                int answer[2] = {i, number + (number == getpid())};
                workload_check(write(answers[1], answer, sizeof answer) == sizeof answer);
            }
            _exit(7);
        }
        close(ends[i][0]);
    }
    workload_ready();
    workload_wait();
    for (int i = 0; i < count; i++)
        workload_check(write(ends[i][1], &children[i], sizeof(int)) == sizeof(int));
    for (int i = 0; i < count; i++) {
        int answer[2];
        workload_equal(read(answers[0], answer, sizeof answer), sizeof answer);
        workload_check(answer[0] >= 0 && answer[0] < count && children[answer[0]] > 0);
        workload_equal(answer[1], children[answer[0]] + 1);
    }
    for (int i = count; i-- > 0;) // the last one holds no end of another's pipe that is open still
        close(ends[i][1]);
    for (int i = 0; i < count; i++) {
        int status;
        workload_equal(waitpid(children[i], &status, 0), children[i]);
        workload_check(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    }
}

static void check_processes(void) {
    talk(200, false);
}

// Every child holds the pipes of all that were there before it.
static void check_inherited(void) {
    talk(60, true);
}

WORKLOAD_CASES({"descriptors", check_descriptors}, {"pipes", check_pipes}, {"processes", check_processes},
               {"inherited", check_inherited})
