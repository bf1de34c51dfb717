// Namespaces in which every number the program remembers is true again.
#include "crestart_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80 // Linux 5.6
#endif
#define SECOND 1000000000ll // ns

static int write_file(const char *path, const char *text) {
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0)
        return -errno;
    ssize_t count = write(file, text, strlen(text));
    int result = count < 0 ? -errno : 0;
    close(file);
    return result;
}

// user_namespaces(7): without a capability outside, setgroups must be denied before gid_map is written.
static int keep_ids(const struct crestart_spaces *spaces) {
    char text[64];
    int result = write_file("/proc/self/setgroups", "deny");
    if (result < 0 && result != -ENOENT)
        return result;
    snprintf(text, sizeof text, "%u %u 1", spaces->user, spaces->user);
    result = write_file("/proc/self/uid_map", text);
    if (result < 0)
        return result;
    snprintf(text, sizeof text, "%u %u 1", spaces->group, spaces->group);
    return write_file("/proc/self/gid_map", text);
}

static int64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

// "monotonic S NS" and "boottime S NS": what our clocks have more than the host's. The file tells of the namespace for
// children: ours until the first unshare.
static void read_offsets(int64_t *monotonic, int64_t *boottime) {
    char text[256] = "", *line;
    long long seconds, rest;
    *monotonic = *boottime = 0;
    int file = open("/proc/self/timens_offsets", O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return;
    ssize_t count = read(file, text, sizeof text - 1);
    close(file);
    text[count > 0 ? count : 0] = 0;
    if ((line = strstr(text, "monotonic")) && sscanf(line, "monotonic %lld %lld", &seconds, &rest) == 2)
        *monotonic = seconds * SECOND + rest;
    if ((line = strstr(text, "boottime")) && sscanf(line, "boottime %lld %lld", &seconds, &rest) == 2)
        *boottime = seconds * SECOND + rest;
}

static long long floor_seconds(int64_t time) {
    return time >= 0 ? time / SECOND : -((-time + SECOND - 1) / SECOND);
}

static int64_t own_monotonic, own_boottime;

static int set_clocks(const struct crestart_spaces *spaces) {
    char text[160];
    int64_t monotonic = own_monotonic + spaces->monotonic - clock_ns(CLOCK_MONOTONIC);
    int64_t boottime = own_boottime + spaces->boottime - clock_ns(CLOCK_BOOTTIME);
    snprintf(text, sizeof text, "monotonic %lld %lld\nboottime %lld %lld\n", floor_seconds(monotonic),
             monotonic - floor_seconds(monotonic) * SECOND, floor_seconds(boottime),
             boottime - floor_seconds(boottime) * SECOND);
    return write_file("/proc/self/timens_offsets", text);
}

int crestart_spaces_enter(const struct crestart_spaces *spaces) {
    static int offsets_known;
    int flags = 0;
    if (!offsets_known)
        read_offsets(&own_monotonic, &own_boottime);
    offsets_known = 1;
    if (spaces->flags & CRESTART_SPACE_USER)
        flags |= CLONE_NEWUSER;
    if (spaces->flags & CRESTART_SPACE_PID)
        flags |= CLONE_NEWPID | CLONE_NEWNS;
    if (spaces->flags & CRESTART_SPACE_IPC)
        flags |= CLONE_NEWIPC;
    if (spaces->flags & CRESTART_SPACE_TIME)
        flags |= CLONE_NEWTIME;
    if (unshare(flags) < 0)
        return -errno;
    int result = 0;
    if (spaces->flags & CRESTART_SPACE_USER)
        result = keep_ids(spaces);
    if (result == 0 && spaces->flags & CRESTART_SPACE_TIME)
        result = set_clocks(spaces);
    // Nothing that is mounted in here shows outside.
    if (result == 0 && spaces->flags & CRESTART_SPACE_PID && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        result = -errno;
    return result;
}

// ---- the first process -----------------------------------------------------------------------------------------------

static void close_all_but(int kept) {
    if (kept > 0)
        syscall(SYS_close_range, 0, kept - 1, 0);
    syscall(SYS_close_range, kept + 1, ~0u, 0);
}

// Everything that could wake it is awaited in one place; SIGCHLD interrupts the poll.
static void reaper_serve(int channel) {
    struct pollfd entry = {.fd = channel, .events = POLLIN};
    struct timespec limit = {.tv_sec = 1};
    sigset_t none;
    char word;
    int lingering = 0;
    sigemptyset(&none);
    for (;;) {
        pid_t gone;
        while ((gone = waitpid(-1, NULL, WNOHANG | __WALL)) > 0)
            continue;
        // The program itself is nobody's child in here: everybody counts (kill(2): -1 leaves the caller out).
        if (lingering && gone < 0 && errno == ECHILD && kill(-1, 0) < 0 && errno == ESRCH)
            _exit(0);
        if (ppoll(&entry, 1, lingering ? &limit : NULL, &none) <= 0 || entry.fd < 0)
            continue;
        if (read(channel, &word, 1) == 1 && word == 'L') {
            prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
            lingering = 1;
            if (write(channel, "A", 1) != 1)
                _exit(1);
            entry.fd = -1; // its end means nothing any more
        } else if (!lingering) {
            _exit(1); // swiftcp_restart ended without a word
        }
    }
}

static void on_child(int signal) {
    (void)signal;
}

// New processes get numbers above those the program knows. Where that is not permitted, they begin at 2.
static void continue_numbers(uint32_t last) {
    char text[16];
    snprintf(text, sizeof text, "%u", last);
    write_file("/proc/sys/kernel/ns_last_pid", text);
}

static void reaper_main(int channel, uint32_t last_pid) {
    sigset_t all;
    struct sigaction action = {.sa_handler = on_child};
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    for (int number = 1; number < 65; number++)
        signal(number, SIG_IGN);
    sigaction(SIGCHLD, &action, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    prctl(PR_SET_NAME, "swiftcp_reaper", 0, 0, 0);
    close_all_but(channel);
    setsid();
    int result = mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0 ? -errno : 0;
    continue_numbers(last_pid);
    if (chdir("/") < 0 || write(channel, &result, sizeof result) != sizeof result || result < 0)
        _exit(1);
    reaper_serve(channel);
}

// Reads exactly the bytes within the limit; the channel closed early is -EPIPE.
static int receive(int channel, void *out, size_t length, int limit_ms) {
    struct pollfd entry = {.fd = channel, .events = POLLIN};
    int ready = poll(&entry, 1, limit_ms);
    if (ready < 0)
        return -errno;
    if (ready == 0)
        return -ETIMEDOUT;
    ssize_t count = read(channel, out, length);
    return count < 0 ? -errno : count == (ssize_t)length ? 0 : -EPIPE;
}

int crestart_reaper_start(const struct crestart_spaces *spaces, struct crestart_reaper *reaper) {
    int ends[2], result;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        reaper_main(ends[1], spaces->last_pid);
    }
    int error = errno;
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return -error;
    }
    int received = receive(ends[0], &result, sizeof result, 10000);
    if (received < 0 || result < 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        close(ends[0]);
        return received < 0 ? received : result;
    }
    *reaper = (struct crestart_reaper){.pid = pid, .channel = ends[0]};
    return 0;
}

int crestart_reaper_linger(struct crestart_reaper *reaper, int limit_ms) {
    char answer;
    if (reaper->pid == 0)
        return 0;
    if (send(reaper->channel, "L", 1, MSG_NOSIGNAL) != 1)
        return -errno;
    return receive(reaper->channel, &answer, 1, limit_ms);
}

// ---- probing ---------------------------------------------------------------------------------------------------------

static void probe_child(const struct crestart_spaces *spaces, int answer) {
    struct crestart_reaper reaper = {0, -1};
    int result = crestart_spaces_enter(spaces);
    if (result == 0 && spaces->flags & CRESTART_SPACE_PID) {
        result = crestart_reaper_start(spaces, &reaper);
        if (result == 0) {
            kill(reaper.pid, SIGKILL);
            waitpid(reaper.pid, NULL, 0);
        }
    }
    if (write(answer, &result, sizeof result) != sizeof result)
        _exit(1);
    _exit(0);
}

int crestart_trial_begin(const struct crestart_spaces *spaces, struct crestart_trial *trial) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0)
        probe_child(spaces, ends[1]);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return -EAGAIN;
    }
    *trial = (struct crestart_trial){pid, ends[0]};
    return 0;
}

int crestart_trial_end(const struct crestart_trial *trial) {
    int result = -EPIPE;
    int received = receive(trial->answer, &result, sizeof result, 15000);
    close(trial->answer);
    kill(trial->pid, SIGKILL);
    while (waitpid(trial->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    return received < 0 ? received : result;
}

int crestart_spaces_probe(const struct crestart_spaces *spaces) {
    struct crestart_trial trial;
    int result = crestart_trial_begin(spaces, &trial);
    return result < 0 ? result : crestart_trial_end(&trial);
}

int crestart_number_taken(int number) {
    char path[32];
    snprintf(path, sizeof path, "/proc/%d", number);
    if (access(path, F_OK) == 0)
        return 1;
    return kill(-number, 0) == 0 || errno == EPERM;
}

int crestart_has_capability(int number) {
    struct {
        uint32_t version;
        int pid;
    } header = {0x20080522, 0}; // _LINUX_CAPABILITY_VERSION_3
    struct {
        uint32_t effective, permitted, inheritable;
    } data[2] = {{0, 0, 0}, {0, 0, 0}};
    if (syscall(SYS_capget, &header, data) < 0)
        return 0;
    return data[number / 32].effective >> (number % 32) & 1;
}
