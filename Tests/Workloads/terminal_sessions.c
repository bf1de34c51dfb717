// Sessions on pseudo-terminals of the computation: controlling terminal, foreground group, signals from the keyboard, and
// masters that several processes share.
// @cases own jobs background only_controlling shared_master many
// @limit 60
#include "shared.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>

static int master = -1;

static void open_master(void) {
    workload_check((master = posix_openpt(O_RDWR | O_NOCTTY)) >= 0);
    workload_check(grantpt(master) == 0 && unlockpt(master) == 0);
}

// Reads what comes from the master until the text has been in it.
static void await_text(const char *text) {
    static char seen[8192];
    size_t used = 0;
    struct pollfd entry = {master, POLLIN, 0};
    memset(seen, 0, sizeof seen);
    while (strstr(seen, text) == NULL) {
        workload_check(poll(&entry, 1, 20000) > 0);
        ssize_t got = read(master, seen + used, sizeof seen - 1 - used);
        if (got <= 0)
            workload_fail("the terminal ended before \"%s\": \"%s\"", text, seen);
        used += (size_t)got;
    }
}

static void type(const char *text) {
    workload_equal(write(master, text, strlen(text)), (long)strlen(text));
}

// In a child: a session of its own on the slave, 0 to 2 on it.
static int enter(bool keep) {
    const char *name = ptsname(master);
    workload_check(setsid() >= 0);
    int slave = open(name, O_RDWR);
    if (slave < 0)
        _exit(70);
    close(master);
    if (keep)
        for (int i = 0; i <= 2; i++)
            dup2(slave, i);
    return slave;
}

static void await_exit(pid_t pid, int wanted) {
    int status = 0;
    workload_equal(waitpid(pid, &status, 0), pid);
    workload_equal(status, wanted);
}

// The process itself leads a session on the slave of its own master.
static volatile sig_atomic_t interrupted;
static void on_interrupt(int signal) {
    (void)signal;
    interrupted++;
}
static void own(void) {
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGINT, on_interrupt);
        open_master();
        workload_check(setsid() >= 0);
        int slave = open(ptsname(master), O_RDWR);
        workload_check(tcgetsid(slave) == getpid());
        workload_ready();
        workload_wait();
        workload_check(tcgetsid(slave) == getpid() && tcgetpgrp(slave) == getpid());
        int again = open("/dev/tty", O_RDWR);
        workload_check(again >= 0);
        type("\003");
        for (double end = workload_seconds() + 10; !interrupted;)
            workload_check(workload_seconds() < end);
        _exit(0);
    }
    await_exit(pid, 0);
}

// A small shell: prints what it finds when it is asked to.
static void say(const char *format, long a, long b) {
    char line[128];
    int length = snprintf(line, sizeof line, format, a, b);
    if (write(1, line, (size_t)length) != length)
        _exit(71);
}

static void serve_lines(pid_t job) {
    char line[128];
    for (;;) {
        ssize_t got = read(0, line, sizeof line);
        if (got <= 0) { // EIO: it is behind now, and nobody would continue it
            int status = 0;
            _exit(waitpid(job, &status, 0) == job && WIFSIGNALED(status) ? WTERMSIG(status) : 72);
        }
        if (line[0] == 'w') // who is in front, whose session is it
            say("<%ld %ld>", tcgetpgrp(0), tcgetsid(0));
        if (line[0] == 'f') // the job comes to the front
            say("<f%ld>", tcsetpgrp(0, job), 0);
    }
}

// A leader in front, a job behind: which is which is as it was, and the job can be brought to the front.
static void jobs(void) {
    open_master();
    pid_t pid = fork();
    if (pid == 0) {
        enter(true);
        signal(SIGTTOU, SIG_IGN);
        pid_t job = fork();
        if (job == 0) {
            setpgid(0, 0);
            signal(SIGINT, SIG_DFL);
            for (;;)
                pause();
        }
        setpgid(job, job);
        say("<job %ld>", job, 0);
        serve_lines(job);
    }
    char text[64];
    await_text("<job ");
    workload_ready();
    workload_wait();
    snprintf(text, sizeof text, "<%d %d>", pid, pid);
    type("w\n");
    await_text(text);
    type("f\n");
    await_text("<f0>");
    workload_check(tcgetpgrp(master) != pid);
    type("\003"); // ends the job, not the shell
    await_exit(pid, SIGINT << 8);
}

// A job is in front at the checkpoint, and gets Ctrl+C afterwards.
static void background(void) {
    open_master();
    pid_t pid = fork();
    if (pid == 0) {
        enter(true);
        signal(SIGTTOU, SIG_IGN);
        pid_t job = fork();
        if (job == 0) {
            setpgid(0, 0);
            tcsetpgrp(0, getpid());
            say("<front>", 0, 0);
            for (;;)
                pause();
        }
        setpgid(job, job);
        int status;
        if (waitpid(job, &status, 0) != job)
            _exit(73);
        _exit(WIFSIGNALED(status) ? WTERMSIG(status) : 74);
    }
    await_text("<front>");
    workload_ready();
    workload_wait();
    workload_check(tcgetpgrp(master) > 0 && tcgetpgrp(master) != pid);
    type("\003");
    await_exit(pid, SIGINT << 8);
}

// It is the controlling terminal, and nobody has it open.
static void only_controlling(void) {
    open_master();
    int pipe_ends[2], answer[2];
    workload_check(pipe(pipe_ends) == 0 && pipe(answer) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(enter(false));
        char byte = 0;
        if (write(answer[1], "r", 1) != 1 || read(pipe_ends[0], &byte, 1) != 1)
            _exit(75);
        int terminal = open("/dev/tty", O_RDWR);
        if (terminal < 0 || write(terminal, "<here>", 6) != 6 || write(answer[1], "o", 1) != 1 ||
            read(pipe_ends[0], &byte, 1) != 1)
            _exit(76);
        _exit(0);
    }
    char byte;
    workload_equal(read(answer[0], &byte, 1), 1);
    workload_ready();
    workload_wait();
    workload_equal(write(pipe_ends[1], "x", 1), 1);
    workload_equal(read(answer[0], &byte, 1), 1); // until then the master sees a hang-up
    await_text("<here>");
    workload_equal(write(pipe_ends[1], "x", 1), 1);
    await_exit(pid, 0);
}

// What one of two holders of the master writes or reads is gone for the other.
static long share(int step) {
    char text[16] = "";
    if (step == 1)
        return write(master, "second\n", 7);
    return read(master, text, sizeof text);
}
static void shared_master(void) {
    char line[16] = "";
    open_master();
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    struct termios settings;
    workload_check(tcgetattr(slave, &settings) == 0);
    settings.c_lflag &= ~(tcflag_t)ECHO;
    workload_check(tcsetattr(slave, TCSANOW, &settings) == 0);
    start_child(share);
    type("first\n");
    workload_equal(write(slave, "out", 3), 3);
    pause_here();
    workload_equal(ask(1), 7);
    workload_equal(read(slave, line, sizeof line), 6);
    workload_equal(read(slave, line, sizeof line), 7);
    workload_equal(ask(2), 3);
    end_child();
}

// Forty terminals, each with a session, each with half a line and unread output.
static void many(void) {
    enum { COUNT = 40 };
    int masters[COUNT];
    pid_t pids[COUNT];
    for (int i = 0; i < COUNT; i++) {
        open_master();
        masters[i] = fcntl(master, F_DUPFD_CLOEXEC, 300);
        pids[i] = fork();
        if (pids[i] == 0) {
            char line[64] = "";
            enter(true);
            say("<%ld>", i, 0);
            if (read(0, line, sizeof line) <= 0)
                _exit(77);
            _exit(atoi(line) == i * 1000 + i ? 0 : 78);
        }
        char text[16];
        close(master);
        master = masters[i];
        snprintf(text, sizeof text, "<%d>", i);
        await_text(text);
        snprintf(text, sizeof text, "%d", i);
        type(text);
    }
    workload_ready();
    workload_wait();
    for (int i = 0; i < COUNT; i++) {
        char text[16];
        master = masters[i];
        snprintf(text, sizeof text, i == 0 ? "000\n" : "%03d\n", i);
        type(text);
        await_exit(pids[i], 0);
    }
}

WORKLOAD_CASES({"own", own}, {"jobs", jobs}, {"background", background}, {"only_controlling", only_controlling},
               {"shared_master", shared_master}, {"many", many})
