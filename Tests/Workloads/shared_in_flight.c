// A description that stands in a socket's queue and that its sender keeps open: after a restart it is one still.
// @cases file socket pipe kept_by_child
#include "workload_cases.h"
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static void send_descriptor(int channel, int descriptor) {
    char byte = 'd', space[CMSG_SPACE(sizeof(int))] = "";
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    *head = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(head), &descriptor, sizeof descriptor);
    workload_check(sendmsg(channel, &message, 0) == 1);
}

static int receive_descriptor(int channel) {
    char byte, space[CMSG_SPACE(sizeof(int))] = "";
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    workload_equal(recvmsg(channel, &message, 0), 1);
    int descriptor;
    workload_check(CMSG_FIRSTHDR(&message) != NULL);
    memcpy(&descriptor, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof descriptor);
    return descriptor;
}

// This process has `descriptor`; a child, which has it not, finds it in its queue.
static void pass(int descriptor, int also_closed) {
    int channel[2], status;
    workload_check(socketpair(AF_UNIX, SOCK_STREAM, 0, channel) == 0);
    pid_t child = fork();
    workload_check(child >= 0);
    if (child == 0) {
        close(channel[0]);
        close(descriptor);
        if (also_closed >= 0)
            close(also_closed);
        workload_wait();
        int received = receive_descriptor(channel[1]);
        workload_equal(syscall(SYS_kcmp, getpid(), getppid(), KCMP_FILE, received, descriptor), 0);
        _exit(0);
    }
    close(channel[1]);
    send_descriptor(channel[0], descriptor);
    workload_ready();
    workload_wait();
    workload_equal(waitpid(child, &status, 0), child);
    workload_equal(status, 0);
}

static void check_file(void) {
    int file = open("file", O_RDWR | O_CREAT, 0600);
    workload_check(file >= 0 && write(file, "0123456789", 10) == 10 && lseek(file, 4, SEEK_SET) == 4);
    pass(file, -1);
    workload_equal(lseek(file, 0, SEEK_CUR), 4);
}

static void check_socket(void) {
    int pair[2];
    char bytes[4] = "";
    workload_check(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && write(pair[0], "ab", 2) == 2);
    pass(pair[0], pair[1]);
    workload_check(write(pair[0], "c", 1) == 1 && read(pair[1], bytes, 4) == 3 && strcmp(bytes, "abc") == 0);
}

static void check_pipe(void) {
    int ends[2];
    char bytes[4] = "";
    workload_check(pipe(ends) == 0 && write(ends[1], "xy", 2) == 2);
    pass(ends[1], ends[0]);
    workload_check(write(ends[1], "z", 1) == 1 && read(ends[0], bytes, 4) == 3 && strcmp(bytes, "xyz") == 0);
}

// The other way round: the child keeps it, and this process has it in its queue alone.
static void check_kept_by_child(void) {
    int channel[2], status;
    char byte;
    workload_check(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, channel) == 0);
    pid_t child = fork();
    workload_check(child >= 0);
    if (child == 0) {
        int file = open("file", O_RDWR | O_CREAT, 0600);
        workload_check(file >= 0 && ftruncate(file, 100) == 0);
        send_descriptor(channel[1], file);
        workload_equal(read(channel[1], &byte, 1), 1);
        workload_equal(lseek(file, 0, SEEK_CUR), 33);
        _exit(0);
    }
    while (recv(channel[0], &byte, 1, MSG_PEEK) != 1) // it is there: the descriptor that comes with it is not taken
        workload_check(errno == EINTR);
    workload_ready();
    workload_wait();
    int received = receive_descriptor(channel[0]);
    workload_equal(lseek(received, 33, SEEK_SET), 33);
    workload_check(write(channel[0], "g", 1) == 1);
    workload_equal(waitpid(child, &status, 0), child);
    workload_equal(status, 0);
}

WORKLOAD_CASES({"file", check_file}, {"socket", check_socket}, {"pipe", check_pipe},
               {"kept_by_child", check_kept_by_child})
