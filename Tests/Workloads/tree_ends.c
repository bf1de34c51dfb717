// Ends of pipes and sockets that are in different processes, with something in them, or with nobody left: each process
// checks its own when the go file is there.
// @cases pipe_full pipe_writer_gone pipe_reader_gone fifo seqpacket_rights dgram_named shared_epoll
// @limit 60
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "workload.h"

// The child runs `check` after the go file; its end must be 0.
static pid_t start(void (*check)(void *), void *argument) {
    pid_t pid = fork();
    workload_check(pid >= 0);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    workload_wait();
    check(argument);
    _exit(0);
}

static void finish(pid_t pid) {
    int status;
    workload_check(waitpid(pid, &status, 0) == pid);
    workload_equal(status, 0);
    workload_pass();
}

static int *ends_of(void *argument) {
    return argument;
}

// ---- pipes -------------------------------------------------------------------------------------------------------------

static void read_counted(void *argument) {
    int *ends = ends_of(argument), value;
    close(ends[1]);
    for (int expected = 0; expected < 4096; expected++) {
        workload_equal(read(ends[0], &value, sizeof value), sizeof value);
        workload_equal(value, expected);
    }
    workload_equal(read(ends[0], &value, sizeof value), 0);
}

static void pipe_full(void) {
    int ends[2];
    workload_check(pipe(ends) == 0);
    for (int value = 0; value < 4096; value++)
        workload_check(write(ends[1], &value, sizeof value) == sizeof value);
    pid_t pid = start(read_counted, ends);
    close(ends[0]);
    workload_ready();
    workload_wait();
    close(ends[1]);
    finish(pid);
}

static void read_to_end(void *argument) {
    char text[8] = "";
    workload_equal(read(ends_of(argument)[0], text, sizeof text), 5);
    workload_check(memcmp(text, "hello", 5) == 0);
    workload_equal(read(ends_of(argument)[0], text, sizeof text), 0);
}

static void pipe_writer_gone(void) {
    int ends[2];
    workload_check(pipe(ends) == 0 && write(ends[1], "hello", 5) == 5);
    close(ends[1]);
    pid_t pid = start(read_to_end, ends);
    close(ends[0]);
    workload_ready();
    workload_wait();
    finish(pid);
}

static void write_broken(void *argument) {
    signal(SIGPIPE, SIG_IGN);
    workload_equal(write(ends_of(argument)[1], "x", 1), -1);
    workload_equal(errno, EPIPE);
}

static void pipe_reader_gone(void) {
    int ends[2];
    workload_check(pipe(ends) == 0);
    close(ends[0]);
    pid_t pid = start(write_broken, ends);
    close(ends[1]);
    workload_ready();
    workload_wait();
    finish(pid);
}

static void write_answer(void *argument) {
    workload_equal(write(ends_of(argument)[1], "answer", 6), 6);
}

static void fifo(void) {
    char text[16];
    workload_check(mkfifo("fifo", 0600) == 0);
    int ends[2] = {open("fifo", O_RDONLY | O_NONBLOCK), open("fifo", O_WRONLY)};
    workload_check(ends[0] >= 0 && ends[1] >= 0 && fcntl(ends[0], F_SETFL, 0) == 0);
    pid_t pid = start(write_answer, ends);
    close(ends[1]);
    workload_ready();
    workload_wait();
    workload_equal(read(ends[0], text, sizeof text), 6);
    workload_equal(read(ends[0], text, sizeof text), 0);
    finish(pid);
}

// ---- sockets -----------------------------------------------------------------------------------------------------------

static void send_right(int socket, int right) {
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr header;
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    struct iovec vector = {"r", 1};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    memcpy(CMSG_DATA(&control.header), &right, sizeof right);
    workload_check(sendmsg(socket, &message, 0) == 1);
}

static int receive_right(int socket) {
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr header;
    } control;
    char byte;
    int right;
    struct iovec vector = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    workload_equal(recvmsg(socket, &message, 0), 1);
    workload_equal(message.msg_controllen, CMSG_SPACE(sizeof(int)));
    memcpy(&right, CMSG_DATA(&control.header), sizeof right);
    return right;
}

// The file's offset moves for both: it is one description.
static void take_file(void *argument) {
    char text[4] = "";
    int file = receive_right(ends_of(argument)[1]);
    workload_equal(read(file, text, 3), 3);
    workload_check(memcmp(text, "abc", 3) == 0);
}

static void seqpacket_rights(void) {
    int ends[2], file = open("file.txt", O_RDWR | O_CREAT, 0600);
    workload_check(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
    workload_check(write(file, "abcdef", 6) == 6 && lseek(file, 0, SEEK_SET) == 0);
    send_right(ends[0], file);
    pid_t pid = start(take_file, ends);
    close(ends[1]);
    workload_ready();
    workload_wait();
    int status;
    workload_check(waitpid(pid, &status, 0) == pid);
    workload_equal(status, 0);
    workload_equal(lseek(file, 0, SEEK_CUR), 3);
    workload_pass();
}

static void answer_datagram(void *argument) {
    struct sockaddr_un from;
    socklen_t length = sizeof from;
    char text[16];
    workload_equal(recvfrom(ends_of(argument)[1], text, sizeof text, 0, (struct sockaddr *)&from, &length), 7);
    workload_check(sendto(ends_of(argument)[1], "answer", 6, 0, (struct sockaddr *)&from, length) == 6);
}

static void bind_name(int socket, const char *suffix, struct sockaddr_un *name, socklen_t *length) {
    *name = (struct sockaddr_un){.sun_family = AF_UNIX};
    int used = snprintf(name->sun_path + 1, sizeof name->sun_path - 1, "swiftcp-%d-%s", getpid(), suffix);
    *length = (socklen_t)(sizeof(sa_family_t) + 1 + (size_t)used);
    workload_check(bind(socket, (struct sockaddr *)name, *length) == 0);
}

static void dgram_named(void) {
    int ends[2] = {socket(AF_UNIX, SOCK_DGRAM, 0), socket(AF_UNIX, SOCK_DGRAM, 0)};
    struct sockaddr_un names[2];
    socklen_t lengths[2];
    char text[16];
    bind_name(ends[0], "parent", &names[0], &lengths[0]);
    bind_name(ends[1], "child", &names[1], &lengths[1]);
    workload_check(sendto(ends[0], "waiting", 7, 0, (struct sockaddr *)&names[1], lengths[1]) == 7);
    pid_t pid = start(answer_datagram, ends);
    close(ends[1]);
    workload_ready();
    workload_wait();
    workload_equal(recv(ends[0], text, sizeof text, 0), 6);
    finish(pid);
}

// ---- epoll -------------------------------------------------------------------------------------------------------------

struct watched {
    int set, event;
};

static void await_event(void *argument) {
    struct watched *watched = argument;
    struct epoll_event event;
    workload_equal(epoll_wait(watched->set, &event, 1, 10000), 1);
    workload_equal(event.data.u64, 77);
}

static void shared_epoll(void) {
    struct watched watched = {epoll_create1(0), eventfd(0, 0)};
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 77};
    workload_check(epoll_ctl(watched.set, EPOLL_CTL_ADD, watched.event, &event) == 0);
    pid_t pid = start(await_event, &watched);
    workload_ready();
    workload_wait();
    workload_equal(epoll_ctl(watched.set, EPOLL_CTL_ADD, watched.event, &event), -1);
    workload_equal(errno, EEXIST);
    workload_check(eventfd_write(watched.event, 1) == 0);
    finish(pid);
}

int main(int count, char **words) {
    static const struct {
        const char *name;
        void (*run)(void);
    } cases[] = {{"pipe_full", pipe_full},
                 {"pipe_writer_gone", pipe_writer_gone},
                 {"pipe_reader_gone", pipe_reader_gone},
                 {"fifo", fifo},
                 {"seqpacket_rights", seqpacket_rights},
                 {"dgram_named", dgram_named},
                 {"shared_epoll", shared_epoll}};
    for (size_t i = 0; count > 1 && i < sizeof cases / sizeof *cases; i++)
        if (strcmp(words[1], cases[i].name) == 0)
            cases[i].run();
    workload_fail("no such case");
}
