#include "swiftcp_sys.h"
#include "swiftcp_format.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t scp_xxh3(const void *bytes, size_t length, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes, length, seed);
}

uint64_t scp_block_checksum(const void *bytes, size_t length) {
    uint64_t sums[SCP_BLOCK_MAXIMUM / SCP_SUM_BYTES];
    size_t count = 0;
    for (size_t at = 0; at < length && count < sizeof sums / sizeof *sums; at += SCP_SUM_BYTES)
        sums[count++] =
            XXH3_64bits((const char *)bytes + at, length - at < SCP_SUM_BYTES ? length - at : SCP_SUM_BYTES);
    return XXH3_64bits(sums, count * sizeof *sums);
}

// ---- files ---------------------------------------------------------------------------------------------------------

static int result(int value) {
    return value < 0 ? -errno : value;
}

int scp_open(const char *path, int flags, uint32_t mode) {
    int descriptor;
    do {
        descriptor = open(path, flags | O_CLOEXEC, (mode_t)mode);
    } while (descriptor < 0 && errno == EINTR);
    return result(descriptor);
}

static uint64_t nanoseconds(struct timespec time) {
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static int convert_stat(int status, const struct stat *in, struct scp_stat *out) {
    if (status < 0)
        return -errno;
    *out = (struct scp_stat){
        .device = in->st_dev,
        .inode = in->st_ino,
        .rdev = in->st_rdev,
        .size = in->st_size,
        .blocks = (uint64_t)in->st_blocks,
        .mtime = nanoseconds(in->st_mtim),
        .ctime = nanoseconds(in->st_ctim),
        .mode = in->st_mode,
        .uid = in->st_uid,
        .gid = in->st_gid,
        .links = (uint32_t)in->st_nlink,
    };
    return 0;
}

int scp_stat(const char *path, struct scp_stat *out) {
    struct stat in;
    return convert_stat(stat(path, &in), &in, out);
}

int scp_lstat(const char *path, struct scp_stat *out) {
    struct stat in;
    return convert_stat(lstat(path, &in), &in, out);
}

int scp_fstat(int descriptor, struct scp_stat *out) {
    struct stat in;
    return convert_stat(fstat(descriptor, &in), &in, out);
}

int scp_rename(const char *from, const char *to, uint32_t flags) {
    if (flags == 0)
        return result(rename(from, to));
    return result(renameat2(AT_FDCWD, from, AT_FDCWD, to, flags));
}

int scp_lock_exclusive(int descriptor) {
    return result(flock(descriptor, LOCK_EX | LOCK_NB));
}

static int change_flag(int descriptor, int get, int set, int flag, int on) {
    int flags = fcntl(descriptor, get);
    if (flags < 0)
        return -errno;
    return result(fcntl(descriptor, set, on ? flags | flag : flags & ~flag)) < 0 ? -errno : 0;
}

int scp_set_close_on_exec(int descriptor, int on) {
    return change_flag(descriptor, F_GETFD, F_SETFD, FD_CLOEXEC, on);
}

int scp_set_nonblocking(int descriptor, int on) {
    return change_flag(descriptor, F_GETFL, F_SETFL, O_NONBLOCK, on);
}

int scp_duplicate(int descriptor, int minimum) {
    return result(fcntl(descriptor, F_DUPFD_CLOEXEC, minimum));
}

int scp_pipe(int ends[2]) {
    return result(pipe2(ends, O_CLOEXEC));
}

// ---- sockets -------------------------------------------------------------------------------------------------------

static int unix_address(const char *path, struct sockaddr_un *address) {
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof address->sun_path)
        return -ENAMETOOLONG;
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, length);
    return 0;
}

// Closes after a failed step and keeps that step's errno.
static int give_up(int descriptor) {
    int error = errno;
    close(descriptor);
    return -error;
}

int scp_unix_connect(const char *path, int limit_ms) {
    struct sockaddr_un address;
    int status = unix_address(path, &address);
    if (status < 0)
        return status;
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0)
        return -errno;
    // A full backlog makes connect wait; it obeys the limit for sending (net/unix/af_unix.c, unix_stream_connect).
    struct timeval limit = {.tv_sec = limit_ms / 1000, .tv_usec = limit_ms % 1000 * 1000};
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(descriptor, (struct sockaddr *)&address, sizeof address) < 0)
        return give_up(descriptor);
    scp_set_nonblocking(descriptor, 1);
    return descriptor;
}

int scp_unix_bind(const char *path) {
    struct sockaddr_un address;
    int status = unix_address(path, &address);
    if (status < 0)
        return status;
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0)
        return -errno;
    if (bind(descriptor, (struct sockaddr *)&address, sizeof address) < 0)
        return give_up(descriptor);
    return descriptor;
}

static int tcp_connect_one(const struct addrinfo *target, int limit_ms) {
    int descriptor = socket(target->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, target->ai_protocol);
    if (descriptor < 0)
        return -errno;
    if (connect(descriptor, target->ai_addr, target->ai_addrlen) < 0) {
        if (errno != EINPROGRESS)
            return give_up(descriptor);
        int error = ETIMEDOUT;
        socklen_t size = sizeof error;
        if (scp_poll(descriptor, POLLOUT, limit_ms) > 0)
            getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) {
            close(descriptor);
            return -error;
        }
    }
    int one = 1;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return descriptor;
}

int scp_tcp_connect(const char *host, uint16_t port, int limit_ms, char *error_text, size_t error_size) {
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
    int status = getaddrinfo(host, service, &hints, &list);
    if (error_size > 0)
        snprintf(error_text, error_size, "%s", status ? gai_strerror(status) : "");
    if (status)
        return status == EAI_SYSTEM ? -errno : -EHOSTUNREACH;
    int descriptor = -EHOSTUNREACH;
    for (struct addrinfo *entry = list; entry && descriptor < 0; entry = entry->ai_next)
        descriptor = tcp_connect_one(entry, limit_ms);
    freeaddrinfo(list);
    return descriptor;
}

int scp_listen(int descriptor, int backlog) {
    return result(listen(descriptor, backlog));
}

int scp_accept(int descriptor) {
    return result(accept4(descriptor, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

int scp_peer_credentials(int descriptor, struct scp_peer *out) {
    struct ucred credentials;
    socklen_t size = sizeof credentials;
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
        return -errno;
    *out = (struct scp_peer){.pid = credentials.pid, .uid = credentials.uid, .gid = credentials.gid};
    return 0;
}

int64_t scp_send(int descriptor, const void *bytes, size_t length) {
    ssize_t count = send(descriptor, bytes, length, MSG_NOSIGNAL);
    return count < 0 ? -errno : count;
}

int scp_poll(int descriptor, int events, int limit_ms) {
    struct pollfd entry = {.fd = descriptor, .events = (short)events};
    int count = poll(&entry, 1, limit_ms);
    return count < 0 ? -errno : count == 0 ? 0 : entry.revents;
}

// ---- event loop ----------------------------------------------------------------------------------------------------

int scp_epoll_create(void) {
    return result(epoll_create1(EPOLL_CLOEXEC));
}

int scp_epoll_control(int epoll, int operation, int descriptor, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data.u64 = data};
    return result(epoll_ctl(epoll, operation, descriptor, &event));
}

int scp_epoll_wait(int epoll, struct scp_event *out, int capacity, int limit_ms) {
    struct epoll_event events[64];
    int count = epoll_wait(epoll, events, capacity < 64 ? capacity : 64, limit_ms);
    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    for (int index = 0; index < count; index++)
        out[index] = (struct scp_event){.events = events[index].events, .data = events[index].data.u64};
    return count;
}

int scp_signalfd(const int *signals, size_t count) {
    sigset_t set;
    sigemptyset(&set);
    for (size_t index = 0; index < count; index++)
        sigaddset(&set, signals[index]);
    int error = pthread_sigmask(SIG_BLOCK, &set, NULL);
    return error ? -error : result(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

int scp_signalfd_read(int descriptor) {
    struct signalfd_siginfo information;
    ssize_t count = read(descriptor, &information, sizeof information);
    if (count == (ssize_t)sizeof information)
        return (int)information.ssi_signo;
    return count < 0 && errno != EAGAIN && errno != EINTR ? -errno : 0;
}

int scp_timerfd_create(void) {
    return result(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
}

int scp_timerfd_set(int descriptor, int64_t at) {
    struct itimerspec value = {.it_value = {.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000}};
    return result(timerfd_settime(descriptor, TFD_TIMER_ABSTIME, &value, NULL));
}

static int64_t clock_now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (int64_t)nanoseconds(time);
}

int64_t scp_monotonic(void) {
    return clock_now(CLOCK_MONOTONIC);
}

int64_t scp_realtime(void) {
    return clock_now(CLOCK_REALTIME);
}

// ---- processes -----------------------------------------------------------------------------------------------------

int scp_pidfd_open(int32_t pid) {
    return result((int)syscall(SYS_pidfd_open, pid, 0));
}

int scp_pidfd_signal(int descriptor, int signal) {
    return result((int)syscall(SYS_pidfd_send_signal, descriptor, signal, NULL, 0));
}

int scp_compare_files(int32_t pid, int32_t descriptor, int32_t other_pid, int32_t other_descriptor) {
    return result((int)syscall(SYS_kcmp, pid, other_pid, KCMP_FILE, descriptor, other_descriptor));
}

// A name of /proc as a pid, 0 = it is none.
static int32_t pid_of_name(const char *name) {
    int32_t pid = 0;
    for (; *name >= '0' && *name <= '9' && pid < 100000000; name++)
        pid = pid * 10 + (*name - '0');
    return *name ? 0 : pid;
}

int scp_list_processes(struct scp_process_entry *out, size_t capacity) {
    DIR *folder = opendir("/proc");
    if (!folder)
        return -errno;
    int count = 0;
    struct dirent *entry;
    while (errno = 0, (entry = readdir(folder))) {
        int32_t pid = pid_of_name(entry->d_name);
        if (pid == 0)
            continue;
        if ((size_t)count < capacity)
            out[count] = (struct scp_process_entry){.inode = entry->d_ino, .pid = pid};
        count++;
    }
    int error = errno;
    closedir(folder);
    return error ? -error : count;
}

int scp_raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -errno;
    limit.rlim_cur = limit.rlim_max;
    return result(setrlimit(RLIMIT_NOFILE, &limit));
}

int scp_fork(void) {
    return result(fork());
}

int scp_detach(void) {
    setsid(); // fails for a session leader, who has what is wanted
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || chdir("/") < 0)
        return -errno;
    for (int number = 0; number < 3; number++)
        if (dup2(null, number) < 0)
            return -errno;
    return null > 2 ? result(close(null)) : 0;
}

static int close_range_of(unsigned first, unsigned last) {
    if (first > last || syscall(SYS_close_range, first, last, 0) == 0) // Linux 5.9
        return 0;
    long limit = sysconf(_SC_OPEN_MAX);
    for (unsigned number = first; number <= last && (long)number < limit; number++)
        close((int)number);
    return 0;
}

int scp_close_from(int first, int kept) {
    if (kept < first)
        return close_range_of((unsigned)first, ~0u);
    close_range_of((unsigned)first, (unsigned)kept - 1);
    return close_range_of((unsigned)kept + 1, ~0u);
}
