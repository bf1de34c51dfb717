// Calls that wait for an event, which main makes after the go file.
#include "interrupted.h"
#include <mqueue.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>

static int ends[2], number, second;

static void make_pipe(void) {
    workload_check(pipe(ends) == 0);
}
static struct ending enter_read(void) {
    char bytes[256];
    return interrupted_end(read(ends[0], bytes, sizeof bytes));
}
static void write_byte(void) {
    workload_equal(write(ends[1], "x", 1), 1);
}
static struct ending enter_poll_infinite(void) {
    struct pollfd wanted = {.fd = ends[0], .events = POLLIN};
    return interrupted_end(poll(&wanted, 1, -1));
}
static void make_eventfd(void) {
    workload_check((ends[0] = ends[1] = eventfd(0, 0)) >= 0);
}
static void write_event(void) {
    workload_equal(write(ends[1], &(uint64_t){3}, 8), 8);
}
static void make_timerfd(void) {
    workload_check((ends[0] = timerfd_create(CLOCK_MONOTONIC, 0)) >= 0);
}
static void start_timer(void) {
    struct itimerspec soon = {.it_value.tv_nsec = 1000000};
    workload_check(timerfd_settime(ends[0], 0, &soon, NULL) == 0);
}
static void make_inotify(void) {
    workload_check((ends[0] = inotify_init1(0)) >= 0);
    workload_check(inotify_add_watch(ends[0], ".", IN_CREATE) == 1);
}
static void create_file(void) {
    workload_check((number = open("event", O_CREAT | O_WRONLY, 0600)) >= 0);
}
// The harness holds the master of the terminal and types when this makes the file "type".
static void use_standard_input(void) {
    workload_check(isatty(0));
    ends[0] = 0;
}
static void let_harness_type(void) {
    workload_check(close(open("type", O_CREAT | O_WRONLY, 0600)) == 0);
}
static void make_pair(void) {
    workload_check(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
}
static struct ending enter_receive(void) {
    char bytes[16];
    return interrupted_end(recv(ends[0], bytes, sizeof bytes, 0));
}
static struct ending enter_receive_message(void) {
    char bytes[16];
    struct iovec vector = {bytes, sizeof bytes};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    return interrupted_end(recvmsg(ends[0], &message, 0));
}
static struct ending enter_readv(void) {
    char bytes[16];
    struct iovec vector[2] = {{bytes, 8}, {bytes + 8, 8}};
    return interrupted_end(readv(ends[0], vector, 2));
}
static const struct sockaddr_un listener_address = {.sun_family = AF_UNIX, .sun_path = "listener"};
static void make_listener(void) {
    workload_check((number = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0);
    workload_check(bind(number, (const struct sockaddr *)&listener_address, sizeof listener_address) == 0);
    workload_check(listen(number, 0) == 0);
}
static int connect_one(void) {
    int client = socket(AF_UNIX, SOCK_STREAM, 0);
    workload_check(client >= 0);
    workload_check(connect(client, (const struct sockaddr *)&listener_address, sizeof listener_address) == 0);
    return client;
}
static struct ending enter_accept(void) {
    int accepted = accept4(number, NULL, NULL, SOCK_CLOEXEC);
    return interrupted_end(accepted < 0 ? -1 : 0);
}
static void connect_to_it(void) {
    connect_one();
}
static void fill_backlog(void) {
    make_listener();
    connect_one(); // a backlog of 0 takes one
    workload_check((second = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0);
}
static struct ending enter_connect(void) {
    return interrupted_end(connect(second, (const struct sockaddr *)&listener_address, sizeof listener_address));
}
static void accept_one(void) {
    workload_check(accept(number, NULL, NULL) >= 0);
}
// A child that ends with status 7 when its pipe closes.
static pid_t child;
static void make_child(void) {
    make_pipe();
    child = fork();
    workload_check(child >= 0);
    if (child == 0) {
        char byte;
        close(ends[1]);
        _exit(read(ends[0], &byte, 1) == 0 ? 7 : 8);
    }
}
static void end_child(void) {
    close(ends[1]);
}
static struct ending enter_wait4(void) {
    int status = 0;
    if (wait4(child, &status, 0, NULL) < 0)
        return interrupted_end(-1);
    return interrupted_end(WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status);
}
static struct ending enter_waitid(void) {
    siginfo_t info = {0};
    if (waitid(P_PID, (id_t)child, &info, WEXITED) < 0)
        return interrupted_end(-1);
    return interrupted_end(info.si_status);
}
static void make_fifo(void) {
    workload_check(mkfifo("fifo", 0600) == 0);
}
static struct ending enter_open_fifo(void) {
    int opened = open("fifo", O_RDONLY);
    return interrupted_end(opened < 0 ? -1 : 0);
}
static void open_other_end(void) {
    workload_check(open("fifo", O_WRONLY) >= 0);
}
static void make_queue(void) {
    char name[64];
    struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = 8};
    snprintf(name, sizeof name, "/scp-test-%d", getpid());
    number = (int)mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
    workload_check(number >= 0);
    mq_unlink(name);
}
static struct ending enter_mq_receive(void) {
    char bytes[8];
    return interrupted_end(mq_receive((mqd_t)number, bytes, sizeof bytes, NULL));
}
static void send_to_queue(void) {
    workload_check(mq_send((mqd_t)number, "abc", 3, 0) == 0);
}
struct text_message {
    long kind;
    char text[8];
};
static void make_message_queue(void) {
    workload_check((number = msgget(IPC_PRIVATE, 0600)) >= 0);
}
static struct ending enter_msgrcv(void) {
    struct text_message message;
    struct ending ending = interrupted_end(msgrcv(number, &message, sizeof message.text, 0, 0));
    msgctl(number, IPC_RMID, NULL);
    return ending;
}
static void send_message(void) {
    struct text_message message = {1, "abc"};
    workload_check(msgsnd(number, &message, 3, 0) == 0);
}
static void make_semaphore_set(void) {
    workload_check((number = semget(IPC_PRIVATE, 1, 0600)) >= 0);
}
static struct ending enter_semop(void) {
    struct sembuf down = {0, -1, 0};
    struct ending ending = interrupted_end(semop(number, &down, 1));
    semctl(number, 0, IPC_RMID);
    return ending;
}
static void raise_semaphore(void) {
    struct sembuf up = {0, 1, 0};
    workload_check(semop(number, &up, 1) == 0);
}
static void block_user_signal(void) { // inherited by the thread that waits for it
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    workload_check(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
}
static struct ending enter_sigwaitinfo(void) {
    siginfo_t info;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    return interrupted_end(sigwaitinfo(&set, &info));
}
static void send_signal(void) {
    workload_check(pthread_kill(interrupted_thread, SIGUSR1) == 0);
}
static void handle(int signal) {
    (void)signal;
}
static void catch_user_signal(void) {
    struct sigaction action = {.sa_handler = handle};
    workload_check(sigaction(SIGUSR1, &action, NULL) == 0);
}
static void catch_and_block(void) {
    catch_user_signal();
    block_user_signal();
}
static struct ending enter_pause(void) {
    return interrupted_end(pause());
}
static struct ending enter_sigsuspend(void) {
    sigset_t none;
    sigemptyset(&none);
    return interrupted_end(sigsuspend(&none));
}
static void make_epoll(void) {
    struct epoll_event wanted = {.events = EPOLLIN};
    make_pipe();
    workload_check((number = epoll_create1(0)) >= 0);
    workload_check(epoll_ctl(number, EPOLL_CTL_ADD, ends[0], &wanted) == 0);
}
static struct ending enter_epoll(void) {
    struct epoll_event found;
    return interrupted_end(epoll_wait(number, &found, 1, -1));
}

const struct call interrupted_waits[] = {
    {"read_pipe", make_pipe, enter_read, write_byte, 1, 0},
    {"readv_pipe", make_pipe, enter_readv, write_byte, 1, 0},
    {"poll_infinite", make_pipe, enter_poll_infinite, write_byte, 1, 0},
    {"epoll_infinite", make_epoll, enter_epoll, write_byte, 1, 0},
    {"read_eventfd", make_eventfd, enter_read, write_event, 8, 0},
    {"read_timerfd", make_timerfd, enter_read, start_timer, 8, 0},
    {"read_inotify", make_inotify, enter_read, create_file, 32, 0}, // sizeof(struct inotify_event) + 16 for the name
    {"read_terminal", use_standard_input, enter_read, let_harness_type, 6, 0},
    {"recv", make_pair, enter_receive, write_byte, 1, 0},
    {"recvmsg", make_pair, enter_receive_message, write_byte, 1, 0},
    {"accept", make_listener, enter_accept, connect_to_it, 0, 0},
    {"connect", fill_backlog, enter_connect, accept_one, 0, 0},
    {"wait4", make_child, enter_wait4, end_child, 7, 0},
    {"waitid", make_child, enter_waitid, end_child, 7, 0},
    {"open_fifo", make_fifo, enter_open_fifo, open_other_end, 0, 0},
    {"mq_receive", make_queue, enter_mq_receive, send_to_queue, 3, 0},
    {"msgrcv", make_message_queue, enter_msgrcv, send_message, 3, 0},
    {"semop", make_semaphore_set, enter_semop, raise_semaphore, 0, 0},
    {"sigwaitinfo", block_user_signal, enter_sigwaitinfo, send_signal, SIGUSR1, 0},
    {"pause", catch_user_signal, enter_pause, send_signal, -1, EINTR},
    {"sigsuspend", catch_and_block, enter_sigsuspend, send_signal, -1, EINTR},
    {0},
};
