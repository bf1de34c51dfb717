// Open file descriptions that processes have in common: files, events, timers. What one does, the other sees.
// @cases offset append_offset flags rights_offset eventfd epoll timerfd signalfd pidfd socket_rights_queued file_deleted directory
// @flags -lrt
#include "shared.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

static long file_act(int step) {
    switch (step) {
    case 1:
        return lseek(file, 0, SEEK_CUR);
    case 2:
        return lseek(file, 3, SEEK_SET);
    case 3:
        return write(file, "ab", 2);
    case 4:
        return fcntl(file, F_GETFL) & (O_NONBLOCK | O_APPEND);
    case 5:
        return fcntl(file, F_SETFL, fcntl(file, F_GETFL) | O_NONBLOCK);
    }
    return -1;
}

static void offset(void) {
    open_file(0);
    start_child(file_act);
    lseek(file, 7, SEEK_SET);
    pause_here();
    workload_equal(ask(1), 7);
    workload_equal(ask(2), 3);
    workload_equal(lseek(file, 0, SEEK_CUR), 3);
    workload_equal(write(file, "x", 1), 1);
    workload_equal(ask(1), 4);
    end_child();
}

static void append_offset(void) {
    open_file(O_APPEND);
    start_child(file_act);
    pause_here();
    workload_equal(ask(3), 2);
    workload_equal(lseek(file, 0, SEEK_CUR), 12);
    struct stat status;
    workload_check(fstat(file, &status) == 0 && status.st_size == 12);
    end_child();
}

static void flags(void) {
    open_file(0);
    start_child(file_act);
    workload_equal(ask(5), 0);
    pause_here();
    workload_check(fcntl(file, F_GETFL) & O_NONBLOCK);
    workload_check(fcntl(file, F_SETFL, O_APPEND) == 0);
    workload_equal(ask(4), O_APPEND);
    end_child();
}

static void send_descriptor(int socket, int descriptor) {
    char byte = 'd', room[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &descriptor, sizeof(int));
    workload_equal(sendmsg(socket, &message, 0), 1);
}

static int receive_descriptor(int socket) {
    char byte, room[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    int descriptor = -1;
    if (recvmsg(socket, &message, 0) != 1 || CMSG_FIRSTHDR(&message) == NULL)
        return -1;
    memcpy(&descriptor, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
    return descriptor;
}

static int rights[2];
static long rights_act(int step) {
    if (step == 10)
        return file = receive_descriptor(rights[1]);
    return file_act(step);
}

// Not inherited: handed over by SCM_RIGHTS.
static void rights_offset(void) {
    workload_check(socketpair(AF_UNIX, SOCK_STREAM, 0, rights) == 0);
    start_child(rights_act);
    open_file(0);
    send_descriptor(rights[0], file);
    workload_check(ask(10) >= 0);
    pause_here();
    workload_equal(lseek(file, 5, SEEK_SET), 5);
    workload_equal(ask(1), 5);
    end_child();
}

static void socket_rights_queued(void) {
    workload_check(socketpair(AF_UNIX, SOCK_STREAM, 0, rights) == 0);
    start_child(rights_act);
    open_file(0);
    send_descriptor(rights[0], file); // stands in the queue meanwhile
    pause_here();
    workload_check(ask(10) >= 0);
    workload_equal(lseek(file, 6, SEEK_SET), 6);
    workload_equal(ask(1), 6);
    end_child();
}

static void file_deleted(void) {
    open_file(0);
    unlink("data");
    start_child(file_act);
    pause_here();
    workload_equal(ask(2), 3);
    char text[8] = "";
    workload_equal(read(file, text, 7), 7);
    workload_check(memcmp(text, "3456789", 7) == 0);
    workload_equal(ask(1), 10);
    end_child();
}

static DIR *folder;
static long directory_act(int step) {
    (void)step;
    struct dirent *entry = readdir(folder);
    return entry ? (long)entry->d_ino : 0;
}

static void directory(void) {
    workload_check(mkdir("folder", 0700) == 0);
    workload_check((folder = opendir("folder")) != NULL);
    start_child(directory_act);
    pause_here();
    workload_check(ask(1) != 0); // "." or ".."
    end_child();
}

static int event = -1, set = -1;
static long event_act(int step) {
    uint64_t value = (uint64_t)step;
    if (step == 0)
        return read(event, &value, sizeof value) == sizeof value ? (long)value : -errno;
    return write(event, &value, sizeof value);
}

static void shared_eventfd(void) {
    workload_check((event = eventfd(0, EFD_NONBLOCK)) >= 0);
    start_child(event_act);
    workload_equal(ask(5), 8);
    pause_here();
    uint64_t value = 0;
    workload_equal(read(event, &value, sizeof value), (long)sizeof value);
    workload_equal(value, 5);
    workload_equal(ask(0), -EAGAIN);
    workload_equal(ask(9), 8);
    workload_equal(read(event, &value, sizeof value), (long)sizeof value);
    workload_equal(value, 9);
    end_child();
}

static long epoll_act(int step) {
    struct epoll_event found;
    if (step == 1)
        return epoll_wait(set, &found, 1, 0) == 1 ? (long)found.data.u64 : 0;
    return event_act(step - 10);
}

static void shared_epoll(void) {
    workload_check((event = eventfd(0, EFD_NONBLOCK)) >= 0 && (set = epoll_create1(0)) >= 0);
    struct epoll_event wanted = {.events = EPOLLIN, .data.u64 = 77};
    workload_check(epoll_ctl(set, EPOLL_CTL_ADD, event, &wanted) == 0);
    start_child(epoll_act);
    pause_here();
    workload_equal(ask(1), 0);
    workload_equal(ask(13), 8);
    struct epoll_event found;
    workload_equal(epoll_wait(set, &found, 1, 1000), 1);
    workload_equal(found.data.u64, 77);
    workload_equal(ask(1), 77);
    workload_check(epoll_ctl(set, EPOLL_CTL_DEL, event, NULL) == 0);
    workload_equal(ask(1), 0);
    end_child();
}

static long timer_act(int step) {
    struct itimerspec left;
    if (step == 1)
        return timerfd_gettime(event, &left) == 0 ? left.it_value.tv_sec : -errno;
    return timerfd_settime(event, 0, &(struct itimerspec){.it_value.tv_sec = step}, NULL);
}

static void shared_timerfd(void) {
    workload_check((event = timerfd_create(CLOCK_MONOTONIC, 0)) >= 0);
    start_child(timer_act);
    workload_equal(ask(5000), 0);
    pause_here();
    workload_check(ask(1) > 4000);
    workload_check(timerfd_settime(event, 0, &(struct itimerspec){.it_value.tv_sec = 100}, NULL) == 0);
    workload_check(ask(1) <= 100);
    end_child();
}

static long signal_act(int step) {
    struct signalfd_siginfo info;
    if (step == 1)
        return kill(getpid(), SIGUSR1);
    return read(event, &info, sizeof info) == sizeof info ? (long)info.ssi_signo : -errno;
}

// Whoever reads gets its own signals.
static void shared_signalfd(void) {
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    workload_check((event = signalfd(-1, &mask, SFD_NONBLOCK)) >= 0);
    start_child(signal_act);
    workload_equal(ask(1), 0);
    pause_here();
    struct signalfd_siginfo info;
    workload_equal(read(event, &info, sizeof info), -1);
    workload_equal(ask(2), SIGUSR1);
    end_child();
}

static long nothing_act(int step) {
    return step;
}

static void shared_pidfd(void) {
    start_child(nothing_act);
    int handle = (int)syscall(SYS_pidfd_open, child, 0);
    workload_check(handle >= 0);
    pause_here();
    workload_equal(ask(3), 3);
    struct pollfd waiting = {handle, POLLIN, 0};
    workload_equal(poll(&waiting, 1, 0), 0);
    close(talk);
    workload_equal(poll(&waiting, 1, 5000), 1);
    siginfo_t info = {0};
    workload_check(waitid(P_PIDFD, (id_t)handle, &info, WEXITED) == 0 && info.si_pid == child);
}

WORKLOAD_CASES({"offset", offset}, {"append_offset", append_offset}, {"flags", flags}, {"rights_offset", rights_offset},
               {"eventfd", shared_eventfd}, {"epoll", shared_epoll}, {"timerfd", shared_timerfd},
               {"signalfd", shared_signalfd}, {"pidfd", shared_pidfd}, {"socket_rights_queued", socket_rights_queued},
               {"file_deleted", file_deleted}, {"directory", directory})
