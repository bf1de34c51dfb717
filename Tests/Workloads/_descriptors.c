// Helper of Tests/EndToEnd/descriptors_test.py: the word says which descriptors to hold and what to find after a restart.
#include "workload_cases.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>

static void check_content(int file, const char *wanted) {
    char found[64] = "";
    workload_check(pread(file, found, sizeof found - 1, 0) >= 0);
    if (strcmp(found, wanted) != 0)
        workload_fail("the file holds %s instead of %s", found, wanted);
}

// A file of 10 bytes open for reading and writing, position 10.
static int ten_bytes(void) {
    int file = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600);
    workload_check(file >= 0);
    workload_equal(write(file, "0123456789", 10), 10);
    return file;
}

static void hold_file(void) {
    int file = ten_bytes();
    workload_ready();
    workload_wait();
    check_content(file, "0123456789");
    workload_equal(write(file, "X", 1), 1);
    check_content(file, "0123456789X");
}

// --files keep: what has been appended meanwhile stays.
static void hold_grown(void) {
    int file = ten_bytes();
    workload_ready();
    workload_wait();
    check_content(file, "0123456789grown");
}

static void hold_reader(void) {
    close(ten_bytes());
    int file = open("file", O_RDONLY);
    workload_ready();
    workload_wait();
    check_content(file, "0123456789");
}

#define OUTSIDE 200

// A folder of the session's: a FIFO with three bytes in it, a mapped file.
static void hold_session(void) {
    char bytes[4] = "";
    workload_check(mkdir("session", 0700) == 0 && mkfifo("session/queue", 0640) == 0);
    int queue = open("session/queue", O_RDWR), file = open("session/memory", O_RDWR | O_CREAT, 0600);
    workload_equal(write(queue, "abc", 3), 3);
    workload_equal(ftruncate(file, 4096), 0);
    int *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    workload_check(memory != MAP_FAILED);
    close(file);
    memory[1000] = 17;
    workload_ready();
    workload_wait();
    workload_equal(read(queue, bytes, 3), 3);
    workload_check(strcmp(bytes, "abc") == 0);
    workload_equal(memory[1000], 17);
    workload_equal(write(queue, "d", 1), 1);
    workload_equal(read(queue, bytes, 3), 1);
}

// OUTSIDE is the file of a process outside, which has ended by the restart.
static void proc_outside(void) {
    char byte;
    workload_check(fcntl(OUTSIDE, F_GETFD) >= 0);
    workload_ready();
    workload_wait();
    workload_equal(read(OUTSIDE, &byte, 1), -1);
    workload_equal(errno, ESRCH);
}

// OUTSIDE was a pipe to a process outside.
static void pipe_outside(void) {
    char byte;
    workload_check(fcntl(OUTSIDE, F_GETFD) >= 0);
    workload_ready();
    workload_wait();
    workload_equal(read(OUTSIDE, &byte, 1), 1); // had been written before the checkpoint
    workload_equal(byte, 'p');
    workload_equal(read(OUTSIDE, &byte, 1), 0);
}

// OUTSIDE was a socket to a process outside: a reset, never a wait.
static void socket_outside(void) {
    char text[8] = "";
    signal(SIGPIPE, SIG_IGN);
    workload_ready();
    workload_wait();
    workload_equal(recv(OUTSIDE, text, 4, MSG_WAITALL), 4);
    workload_check(strcmp(text, "data") == 0);
    workload_equal(recv(OUTSIDE, text, 1, 0), -1);
    workload_equal(errno, ECONNRESET);
    workload_equal(send(OUTSIDE, "x", 1, 0), -1);
}

static volatile sig_atomic_t resized;

static void note(int number) {
    resized = number;
}

// In the foreground of a terminal, in raw mode.
static void raw_terminal(void) {
    struct termios settings;
    struct winsize before, after;
    signal(SIGWINCH, note);
    workload_check(tcgetattr(0, &settings) == 0 && ioctl(0, TIOCGWINSZ, &before) == 0);
    cfmakeraw(&settings);
    settings.c_cc[VMIN] = 3;
    workload_check(tcsetattr(0, TCSANOW, &settings) == 0);
    workload_ready();
    workload_wait();
    workload_check(tcgetattr(0, &settings) == 0 && ioctl(0, TIOCGWINSZ, &after) == 0);
    workload_equal(settings.c_lflag & (ICANON | ECHO), 0);
    workload_equal(settings.c_oflag & OPOST, 0);
    workload_equal(settings.c_cc[VMIN], 3);
    workload_check(before.ws_row != after.ws_row);
    workload_equal(resized, SIGWINCH);
}

static void no_terminal(void) {
    workload_check(isatty(0));
    workload_ready();
    workload_wait();
    char byte;
    workload_equal(read(0, &byte, 1), 0);
}

WORKLOAD_CASES({"file", hold_file}, {"grown", hold_grown}, {"reader", hold_reader}, {"session", hold_session},
               {"proc", proc_outside}, {"pipe", pipe_outside}, {"socket", socket_outside}, {"raw", raw_terminal},
               {"no_terminal", no_terminal})
