// Pseudo-terminals whose master and slave this process has: settings, what waits for either side, states of both ends.
// @cases lines lines_many raw raw_full output both_full master_only slave_closed packets locked exclusive stopped flags
// @limit 60
#include "workload_cases.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>

static int master = -1, slave = -1;

static void open_terminal(void) {
    struct winsize size = {33, 123, 5, 6};
    workload_check((master = posix_openpt(O_RDWR | O_NOCTTY)) >= 0);
    workload_check(grantpt(master) == 0 && unlockpt(master) == 0);
    workload_check(ioctl(master, TIOCSWINSZ, &size) == 0);
}

static void open_slave(void) {
    workload_check((slave = open(ptsname(master), O_RDWR | O_NOCTTY)) >= 0);
}

static void make_raw(void) {
    struct termios settings;
    workload_check(tcgetattr(slave, &settings) == 0);
    cfmakeraw(&settings);
    workload_check(tcsetattr(slave, TCSANOW, &settings) == 0);
}

static void put(int terminal, const char *text) {
    workload_equal(write(terminal, text, strlen(text)), (long)strlen(text));
}

static bool is_ready(int terminal, int limit_ms) {
    struct pollfd entry = {terminal, POLLIN, 0};
    return poll(&entry, 1, limit_ms) > 0 && (entry.revents & POLLIN);
}

// One read gives exactly this.
static void expect(int terminal, const char *text) {
    char found[5000] = "";
    workload_check(is_ready(terminal, 5000));
    ssize_t got = read(terminal, found, sizeof found - 1);
    if (got != (ssize_t)strlen(text) || memcmp(found, text, strlen(text)) != 0)
        workload_fail("read %zd bytes, \"%s\", instead of \"%s\"", got, found, text);
}

// Bytes in whatever pieces they come, then no more.
static void expect_all(int terminal, const char *text) {
    char found[100000];
    size_t length = strlen(text), used = 0;
    while (used < length && is_ready(terminal, 5000)) {
        ssize_t got = read(terminal, found + used, sizeof found - used);
        workload_check(got > 0);
        used += (size_t)got;
    }
    found[used] = '\0';
    if (used != length || memcmp(found, text, length) != 0)
        workload_fail("%zu bytes came instead of %zu: \"%.60s\"", used, length, found);
    workload_check(!is_ready(terminal, 20));
}

static void forget(int terminal) {
    char found[5000];
    while (is_ready(terminal, 100))
        workload_check(read(terminal, found, sizeof found) > 0);
}

static void check_plain(const struct termios *before) {
    struct termios now;
    struct winsize size;
    memset(&now, 0, sizeof now);
    workload_check(tcgetattr(slave, &now) == 0 && memcmp(&now, before, sizeof now) == 0);
    workload_check(ioctl(slave, TIOCGWINSZ, &size) == 0);
    workload_equal(size.ws_row * 1000 + size.ws_col, 33123);
    workload_equal(size.ws_xpixel * 10 + size.ws_ypixel, 56);
}

// ---- lines ------------------------------------------------------------------------------------------------------------

// Two lines, one ended by VEOF, one with characters that mean something (typed behind VLNEXT), an end of the file, half a line.
static void lines(void) {
    struct termios settings;
    memset(&settings, 0, sizeof settings);
    open_terminal();
    open_slave();
    workload_check(tcgetattr(slave, &settings) == 0);
    settings.c_cc[VERASE] = '#';
    settings.c_cc[VEOL] = '!';
    workload_check(tcsetattr(slave, TCSANOW, &settings) == 0);
    put(master, "one\rtwo\nend\004\026\003\026\n\026!x\n\004bang!");
    put(master, "hai");
    forget(master); // the echo
    workload_ready();
    workload_wait();
    check_plain(&settings);
    workload_check(!is_ready(master, 20)); // not echoed again
    expect(slave, "one\n");
    expect(slave, "two\n");
    expect(slave, "end");
    expect(slave, "\003\n!x\n");
    expect(slave, "");
    expect(slave, "bang!");
    workload_check(!is_ready(slave, 20));
    put(master, "#lf\n");
    expect(slave, "half\n");
}

// More lines than the line discipline has room for.
static void lines_many(void) {
    struct termios settings;
    char line[32];
    open_terminal();
    open_slave();
    workload_check(tcgetattr(slave, &settings) == 0);
    settings.c_lflag &= ~(tcflag_t)ECHO;
    workload_check(tcsetattr(slave, TCSANOW, &settings) == 0);
    for (int i = 0; i < 900; i++) {
        snprintf(line, sizeof line, "line %d\n", i);
        put(master, line);
    }
    workload_ready();
    workload_wait();
    for (int i = 0; i < 900; i++) {
        snprintf(line, sizeof line, "line %d\n", i);
        expect(slave, line);
    }
    workload_check(!is_ready(slave, 20) && !is_ready(master, 20));
}

// ---- bytes ------------------------------------------------------------------------------------------------------------

static char pattern[60001];

static const char *fill_pattern(int length) {
    for (int i = 0; i < length; i++)
        pattern[i] = (char)(1 + i * 7 % 255);
    pattern[length] = '\0';
    return pattern;
}

static void raw(void) {
    struct termios settings;
    memset(&settings, 0, sizeof settings);
    open_terminal();
    open_slave();
    make_raw();
    workload_check(tcgetattr(slave, &settings) == 0);
    put(master, fill_pattern(3000));
    workload_ready();
    workload_wait();
    check_plain(&settings);
    expect_all(slave, fill_pattern(3000));
}

static void raw_full(void) {
    open_terminal();
    open_slave();
    make_raw();
    put(master, fill_pattern(10000));
    workload_ready();
    workload_wait();
    expect_all(slave, fill_pattern(10000));
    workload_check(!is_ready(master, 20));
}

static void output(void) {
    open_terminal();
    open_slave();
    put(slave, "one\ntwo"); // the terminal makes CR LF of LF, once
    workload_ready();
    workload_wait();
    expect_all(master, "one\r\ntwo");
}

// Everything that either side takes without blocking.
static size_t fill_up(int terminal) {
    size_t total = 0;
    fill_pattern(60000);
    fcntl(terminal, F_SETFL, fcntl(terminal, F_GETFL) | O_NONBLOCK);
    for (ssize_t put; total < 60000 && (put = write(terminal, pattern + total, 60000 - total)) > 0;)
        total += (size_t)put;
    return total;
}

static void drain(int terminal, size_t length) {
    char found[4096];
    fill_pattern(60000);
    for (size_t done = 0; done < length;) {
        workload_check(is_ready(terminal, 5000));
        ssize_t got = read(terminal, found, sizeof found);
        workload_check(got > 0 && memcmp(found, pattern + done, (size_t)got) == 0);
        done += (size_t)got;
    }
    workload_check(!is_ready(terminal, 20));
}

static void both_full(void) {
    open_terminal();
    open_slave();
    make_raw();
    size_t in = fill_up(master), out = fill_up(slave);
    workload_check(in > 4096 && out > 4096);
    workload_ready();
    workload_wait();
    drain(slave, in);
    drain(master, out);
}

// ---- ends -------------------------------------------------------------------------------------------------------------

static short master_events(void) {
    struct pollfd entry = {master, POLLIN, 0};
    poll(&entry, 1, 0);
    return entry.revents;
}

// Nobody has ever opened the slave: no hang-up, and what has been written waits for who does.
static void master_only(void) {
    open_terminal();
    put(master, "early\nbird");
    expect_all(master, "early\r\nbird");
    workload_ready();
    workload_wait();
    workload_equal(master_events(), 0);
    open_slave();
    expect(slave, "early\n");
    put(master, "s\n");
    expect(slave, "birds\n");
    expect_all(master, "s\r\n");
    close(slave);
    workload_equal(master_events(), POLLHUP);
}

// It has been closed by all: what was written is there, then the hang-up.
static void slave_closed(void) {
    char byte;
    open_terminal();
    open_slave();
    put(slave, "last words");
    put(master, "unheard\n");
    close(slave);
    workload_ready();
    workload_wait();
    workload_check(master_events() & POLLHUP);
    char found[32] = "";
    for (size_t used = 0; used < 19;) {
        ssize_t got = read(master, found + used, 19 - used);
        workload_check(got > 0);
        used += (size_t)got;
    }
    workload_check(strcmp(found, "last wordsunheard\r\n") == 0);
    workload_check(read(master, &byte, 1) == -1 && errno == EIO);
    open_slave();
    expect(slave, "unheard\n");
    workload_equal(master_events(), 0);
}

static void packets(void) {
    int on = 1;
    char status;
    open_terminal();
    open_slave();
    workload_check(ioctl(master, TIOCPKT, &on) == 0);
    struct termios settings;
    workload_check(tcgetattr(slave, &settings) == 0);
    settings.c_iflag &= ~(tcflag_t)IXON;
    workload_check(tcsetattr(slave, TCSANOW, &settings) == 0);
    put(slave, "data");
    workload_ready();
    workload_wait();
    on = 0;
    workload_check(ioctl(master, TIOCGPKT, &on) == 0 && on == 1);
    workload_equal(read(master, &status, 1), 1);
    workload_equal(status, TIOCPKT_NOSTOP);
    char found[16] = "";
    workload_equal(read(master, found, sizeof found), 5);
    workload_check(memcmp(found, "\0data", 5) == 0);
    workload_check(tcflow(slave, TCOOFF) == 0);
    workload_equal(read(master, &status, 1), 1);
    workload_equal(status, TIOCPKT_STOP);
}

static void locked(void) {
    int lock = 1;
    open_terminal();
    open_slave();
    put(master, "x\n");
    workload_check(ioctl(master, TIOCSPTLCK, &lock) == 0);
    workload_ready();
    workload_wait();
    expect(slave, "x\n"); // before the open that fails, which leaves the terminal broken (TTY_IO_ERROR)
    workload_check(open(ptsname(master), O_RDWR | O_NOCTTY) == -1 && errno == EIO);
    workload_check(unlockpt(master) == 0);
    workload_check(open(ptsname(master), O_RDWR | O_NOCTTY) >= 0);
}

static void exclusive(void) {
    int on = 0;
    open_terminal();
    open_slave();
    workload_check(ioctl(slave, TIOCEXCL) == 0);
    put(master, "x\n");
    workload_ready();
    workload_wait();
    workload_check(ioctl(slave, TIOCGEXCL, &on) == 0 && on == 1);
    expect(slave, "x\n");
    if (geteuid() != 0)
        workload_check(open(ptsname(master), O_RDWR | O_NOCTTY) == -1 && errno == EBUSY);
}

// Ctrl+S: nothing can be written until Ctrl+Q, and then it can.
static void stopped(void) {
    struct pollfd writable;
    open_terminal();
    open_slave();
    put(slave, "before");
    put(master, "\023");
    writable = (struct pollfd){slave, POLLOUT, 0};
    for (double end = workload_seconds() + 5; poll(&writable, 1, 0) != 0;)
        workload_check(workload_seconds() < end);
    workload_ready();
    workload_wait();
    expect_all(master, "before");
    writable = (struct pollfd){slave, POLLOUT, 0};
    workload_equal(poll(&writable, 1, 20), 0);
    put(master, "\021");
    workload_equal(poll(&writable, 1, 5000), 1);
    put(slave, "after");
    expect_all(master, "after");
}

static void flags(void) {
    open_terminal();
    open_slave();
    int other = open(ptsname(master), O_RDONLY | O_NOCTTY | O_NONBLOCK), copy = dup(slave);
    int peer = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC), peers_copy = dup(peer);
    workload_check(other >= 0 && copy >= 0 && peer >= 0 && peers_copy >= 0);
    fcntl(master, F_SETFL, fcntl(master, F_GETFL) | O_NONBLOCK);
    workload_ready();
    workload_wait();
    workload_check(fcntl(master, F_GETFL) & O_NONBLOCK);
    workload_equal(fcntl(other, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDONLY | O_NONBLOCK);
    workload_check(!(fcntl(slave, F_GETFL) & O_NONBLOCK));
    workload_equal(fcntl(slave, F_GETFD), 0);
    workload_equal(fcntl(peer, F_GETFD), FD_CLOEXEC);
    workload_equal(fcntl(peers_copy, F_GETFD), 0);
    fcntl(copy, F_SETFL, fcntl(copy, F_GETFL) | O_NONBLOCK);
    workload_check(fcntl(slave, F_GETFL) & O_NONBLOCK);
    char byte;
    workload_check(read(other, &byte, 1) == -1 && errno == EAGAIN);
    workload_check(isatty(slave) && strcmp(ttyname(slave), ptsname(master)) == 0);
}

WORKLOAD_CASES({"lines", lines}, {"lines_many", lines_many}, {"raw", raw}, {"raw_full", raw_full}, {"output", output},
               {"both_full", both_full}, {"master_only", master_only}, {"slave_closed", slave_closed},
               {"packets", packets}, {"locked", locked}, {"exclusive", exclusive}, {"stopped", stopped},
               {"flags", flags})
