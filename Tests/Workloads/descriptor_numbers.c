// Which number refers to what: gaps, high numbers, many of them, numbers in each other's place.
// @cases gaps many crossed closed
#include "workload_cases.h"
#include <fcntl.h>
#include <sys/resource.h>

static void write_number(int file, int number) {
    workload_equal(pwrite(file, &number, sizeof number, 0), (long)sizeof number);
}

static int read_number(int file) {
    int number = -1;
    workload_equal(pread(file, &number, sizeof number, 0), (long)sizeof number);
    return number;
}

static int file_of(int number) {
    char name[32];
    snprintf(name, sizeof name, "file-%d", number);
    int file = open(name, O_RDWR | O_CREAT, 0600);
    workload_check(file >= 0);
    write_number(file, number);
    return file;
}

static void check_gaps(void) {
    for (int i = 3; i < 1024; i++) // what whoever started us has left open
        close(i);
    static const int numbers[] = {5, 17, 100, 255, 256, 777, 1000};
    for (size_t i = 0; i < 7; i++) {
        int file = file_of(numbers[i]);
        workload_equal(dup3(file, numbers[i], i % 2 ? O_CLOEXEC : 0), numbers[i]);
        close(file);
    }
    workload_ready();
    workload_wait();
    for (size_t i = 0; i < 7; i++) {
        workload_equal(read_number(numbers[i]), numbers[i]);
        workload_equal(fcntl(numbers[i], F_GETFD), i % 2 ? FD_CLOEXEC : 0);
    }
    for (int i = 3, next = 0; i < 1024; i++) {
        if (next < 7 && i == numbers[next])
            next++;
        else if (fcntl(i, F_GETFD) >= 0)
            workload_fail("descriptor %d is open", i);
    }
    workload_equal(open("/dev/null", O_RDONLY), 3);
}

// As many as the soft limit allows, to the last number.
static void check_many(void) {
    struct rlimit limit;
    workload_check(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max < 1200 ? limit.rlim_max : 1200;
    workload_check(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    int highest = 2, file;
    while ((file = open("/dev/null", O_RDONLY)) >= 0)
        highest = file;
    workload_equal(errno, EMFILE);
    workload_equal(highest, (int)limit.rlim_cur - 1);
    close(highest);
    workload_ready();
    workload_wait();
    for (int i = 3; i < highest; i++)
        workload_check(fcntl(i, F_GETFD) == 0);
    workload_equal(open("/dev/null", O_RDONLY), highest);
    workload_equal(open("/dev/null", O_RDONLY), -1);
    workload_check(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    workload_equal(limit.rlim_cur, highest + 1);
}

// Opened in the order 0..63, standing in the order 63..0.
static void check_crossed(void) {
    int files[64];
    for (int i = 0; i < 64; i++) {
        int file = file_of(i);
        files[i] = fcntl(file, F_DUPFD, 500);
        close(file);
    }
    for (int i = 0; i < 64; i++) {
        workload_equal(dup2(files[i], 66 - i), 66 - i);
        close(files[i]);
    }
    workload_ready();
    workload_wait();
    for (int i = 0; i < 64; i++)
        workload_equal(read_number(66 - i), i);
}

// Without standard input and error.
static void check_closed(void) {
    close(0);
    close(2);
    int file = file_of(7);
    workload_equal(file, 0);
    workload_ready();
    workload_wait();
    workload_equal(read_number(0), 7);
    workload_equal(fcntl(2, F_GETFD), -1);
    workload_equal(open("/dev/null", O_RDONLY), 2);
}

WORKLOAD_CASES({"gaps", check_gaps}, {"many", check_many}, {"crossed", check_crossed}, {"closed", check_closed})
