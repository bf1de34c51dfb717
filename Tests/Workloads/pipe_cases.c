// Pipes and named pipes: what stands in them, sizes, flags, ends that are gone.
// @cases bytes empty full large packets slots reader_gone writer_gone shared both_ways nonblock many fifo fifo_gone fifo_reader
#include "workload_cases.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static int ends[2];

static void fill(int pipe, long bytes) {
    static char block[1 << 20];
    for (long i = 0; i < bytes; i++)
        block[i] = (char)(i * 7 + i / 251);
    workload_equal(write(pipe, block, (size_t)bytes), bytes);
}

static void drain(int pipe, long bytes) {
    static char block[1 << 20];
    for (long at = 0, got; at < bytes; at += got) {
        got = read(pipe, block + at, (size_t)(bytes - at));
        workload_check(got > 0);
    }
    for (long i = 0; i < bytes; i++)
        if (block[i] != (char)(i * 7 + i / 251))
            workload_fail("byte %ld is wrong", i);
}

static int waiting(int pipe) {
    int bytes = -1;
    workload_check(ioctl(pipe, FIONREAD, &bytes) == 0);
    return bytes;
}

static int events(int descriptor) {
    struct pollfd poll_one = {descriptor, POLLIN | POLLOUT, 0};
    workload_check(poll(&poll_one, 1, 0) >= 0);
    return poll_one.revents;
}

static void check_bytes(void) {
    workload_check(pipe(ends) == 0);
    fill(ends[1], 5000);
    workload_ready();
    workload_wait();
    workload_equal(waiting(ends[0]), 5000);
    drain(ends[0], 5000);
    fill(ends[1], 100);
    drain(ends[0], 100);
    close(ends[1]);
    workload_equal(read(ends[0], (char[1]){0}, 1), 0);
}

static void check_empty(void) {
    workload_check(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    workload_ready();
    workload_wait();
    workload_equal(read(ends[0], (char[1]){0}, 1), -1);
    workload_equal(errno, EAGAIN);
    workload_equal(fcntl(ends[0], F_GETFD), FD_CLOEXEC);
    fill(ends[1], 10);
    drain(ends[0], 10);
}

static void check_full(void) {
    workload_check(pipe2(ends, O_NONBLOCK) == 0);
    int size = fcntl(ends[1], F_GETPIPE_SZ);
    fill(ends[1], size);
    workload_ready();
    workload_wait();
    workload_equal(fcntl(ends[1], F_GETPIPE_SZ), size);
    workload_equal(write(ends[1], "x", 1), -1);
    workload_equal(errno, EAGAIN);
    drain(ends[0], size);
}

static void check_large(void) {
    workload_check(pipe2(ends, 0) == 0);
    int size = fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
    if (size < 1 << 20)
        workload_skip("no pipe of 1 MiB: %s", strerror(errno));
    fill(ends[1], size);
    workload_ready();
    workload_wait();
    workload_equal(fcntl(ends[1], F_GETPIPE_SZ), size);
    drain(ends[0], size);
}

static void check_packets(void) {
    static const int sizes[] = {3, 5, 4000, 1, 4096};
    char block[8192];
    memset(block, 'p', sizeof block);
    workload_check(pipe2(ends, O_DIRECT) == 0);
    for (int i = 0; i < 5; i++)
        workload_equal(write(ends[1], block, (size_t)sizes[i]), sizes[i]);
    workload_ready();
    workload_wait();
    workload_check(fcntl(ends[1], F_GETFL) & O_DIRECT);
    for (int i = 0; i < 5; i++)
        workload_equal(read(ends[0], block, sizeof block), sizes[i]);
    workload_equal(write(ends[1], block, 2), 2);
    workload_equal(write(ends[1], block, 2), 2);
    workload_equal(read(ends[0], block, sizeof block), 2);
}

// Sixteen half-filled slots: full by slots, not by bytes.
static void check_slots(void) {
    char block[3000];
    workload_check(pipe2(ends, O_NONBLOCK) == 0);
    for (int i = 0; i < 16; i++) {
        memset(block, 'a' + i, sizeof block);
        workload_equal(write(ends[1], block, sizeof block), (long)sizeof block);
    }
    workload_ready();
    workload_wait();
    for (int i = 0; i < 16; i++) {
        workload_equal(read(ends[0], block, sizeof block), (long)sizeof block);
        workload_equal(block[0], 'a' + i);
        workload_equal(block[2999], 'a' + i);
    }
    workload_equal(waiting(ends[0]), 0);
}

static void check_reader_gone(void) {
    signal(SIGPIPE, SIG_IGN);
    workload_check(pipe(ends) == 0);
    close(ends[0]);
    workload_ready();
    workload_wait();
    workload_check(events(ends[1]) & POLLERR);
    workload_equal(write(ends[1], "x", 1), -1);
    workload_equal(errno, EPIPE);
}

static void check_writer_gone(void) {
    workload_check(pipe(ends) == 0);
    fill(ends[1], 300);
    close(ends[1]);
    workload_ready();
    workload_wait();
    workload_equal(events(ends[0]), POLLIN | POLLHUP);
    drain(ends[0], 300);
    workload_equal(read(ends[0], (char[1]){0}, 1), 0);
}

// A duplicate shares O_NONBLOCK, an end opened again does not.
static void check_shared(void) {
    char path[40];
    workload_check(pipe(ends) == 0);
    int copy = dup(ends[0]);
    snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
    int again = open(path, O_RDONLY), both = open(path, O_RDWR);
    workload_check(again >= 0 && both >= 0);
    fill(ends[1], 10);
    workload_ready();
    workload_wait();
    workload_check(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
    workload_check(fcntl(copy, F_GETFL) & O_NONBLOCK);
    workload_check(!(fcntl(again, F_GETFL) & O_NONBLOCK));
    workload_equal(fcntl(both, F_GETFL) & O_ACCMODE, O_RDWR);
    drain(again, 10);
    workload_equal(write(both, "ab", 2), 2);
    workload_equal(waiting(copy), 2);
    close(ends[1]);
    workload_check(!(events(ends[0]) & POLLHUP)); // both can still write
}

static void check_both_ways(void) {
    char path[40];
    workload_check(pipe(ends) == 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
    int both = open(path, O_RDWR);
    workload_check(both >= 0);
    close(ends[0]);
    close(ends[1]);
    fill(both, 77);
    workload_ready();
    workload_wait();
    drain(both, 77);
}

static void check_nonblock(void) {
    workload_check(pipe(ends) == 0);
    workload_check(fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
    workload_ready();
    workload_wait();
    workload_equal(fcntl(ends[0], F_GETFL), O_RDONLY);
    workload_equal(fcntl(ends[1], F_GETFL), O_WRONLY | O_NONBLOCK);
}

#define MANY 200
static void check_many(void) {
    static int all[MANY][2];
    for (int i = 0; i < MANY; i++) {
        workload_check(pipe(all[i]) == 0);
        workload_equal(write(all[i][1], &i, sizeof i), (long)sizeof i);
    }
    workload_ready();
    workload_wait();
    for (int i = MANY; i-- > 0;) {
        int number = -1;
        workload_equal(read(all[i][0], &number, sizeof number), (long)sizeof number);
        workload_equal(number, i);
        close(all[i][1]);
        workload_equal(read(all[i][0], &number, sizeof number), 0);
    }
}

static void check_fifo(void) {
    workload_check(mkfifo("queue", 0600) == 0);
    int reader = open("queue", O_RDONLY | O_NONBLOCK), writer = open("queue", O_WRONLY);
    fill(writer, 1234);
    workload_ready();
    workload_wait();
    workload_equal(waiting(reader), 1234);
    drain(reader, 1234);
    int other = open("queue", O_WRONLY);
    fill(other, 10);
    drain(reader, 10);
}

static void check_fifo_gone(void) {
    workload_check(mkfifo("queue", 0600) == 0);
    int reader = open("queue", O_RDONLY | O_NONBLOCK), writer = open("queue", O_WRONLY);
    workload_check(unlink("queue") == 0);
    fill(writer, 99);
    workload_ready();
    workload_wait();
    drain(reader, 99);
    close(writer);
    workload_equal(read(reader, (char[1]){0}, 1), 0);
    workload_equal(access("queue", F_OK), -1);
}

// A daemon's command pipe: open for reading, no writer ever.
static void check_fifo_reader(void) {
    workload_check(mkfifo("queue", 0600) == 0);
    int reader = open("queue", O_RDONLY | O_NONBLOCK);
    workload_equal(events(reader), 0);
    workload_ready();
    workload_wait();
    workload_equal(events(reader), 0);
    int writer = open("queue", O_WRONLY | O_NONBLOCK);
    workload_check(writer >= 0);
    fill(writer, 20);
    drain(reader, 20);
}

WORKLOAD_CASES({"bytes", check_bytes}, {"empty", check_empty}, {"full", check_full}, {"large", check_large},
               {"packets", check_packets}, {"slots", check_slots}, {"reader_gone", check_reader_gone},
               {"writer_gone", check_writer_gone}, {"shared", check_shared}, {"both_ways", check_both_ways},
               {"nonblock", check_nonblock}, {"many", check_many}, {"fifo", check_fifo}, {"fifo_gone", check_fifo_gone},
               {"fifo_reader", check_fifo_reader})
