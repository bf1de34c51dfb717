// Calls that end when their time is up.
#include "interrupted.h"
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <poll.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

static int ends[2], number;
static uint32_t word = 1;
static sem_t semaphore;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t other = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;

static void make_pipe(void) {
    workload_check(pipe(ends) == 0);
}

static struct ending enter_nanosleep(void) {
    struct timespec time = interrupted_relative();
    return interrupted_end(nanosleep(&time, NULL));
}
static struct ending enter_nanosleep_remainder(void) {
    struct timespec time = interrupted_relative(), rest;
    return interrupted_end(nanosleep(&time, &rest));
}
static struct ending enter_nanosleep_same(void) { // the loop many programs write
    struct timespec time = interrupted_relative();
    return interrupted_end(nanosleep(&time, &time));
}
static struct ending enter_clock_nanosleep(void) {
    struct timespec time = interrupted_relative();
    return interrupted_code(clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL));
}
static struct ending enter_clock_nanosleep_absolute(void) {
    struct timespec time = interrupted_absolute(CLOCK_MONOTONIC);
    return interrupted_code(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL));
}
static struct ending enter_poll(void) {
    struct pollfd wanted = {.fd = ends[0], .events = POLLIN};
    return interrupted_end(poll(&wanted, 1, interrupted_milliseconds()));
}
static struct ending enter_ppoll(void) {
    struct pollfd wanted = {.fd = ends[0], .events = POLLIN};
    struct timespec time = interrupted_relative();
    sigset_t mask;
    sigemptyset(&mask);
    return interrupted_end(ppoll(&wanted, 1, &time, &mask));
}
static struct ending enter_select(void) {
    struct timespec time = interrupted_relative();
    struct timeval limit = {time.tv_sec, time.tv_nsec / 1000};
    fd_set wanted;
    FD_ZERO(&wanted);
    FD_SET(ends[0], &wanted);
    return interrupted_end(select(ends[0] + 1, &wanted, NULL, NULL, &limit));
}
static struct ending enter_pselect(void) {
    struct timespec time = interrupted_relative();
    sigset_t mask;
    fd_set wanted;
    sigemptyset(&mask);
    FD_ZERO(&wanted);
    FD_SET(ends[0], &wanted);
    return interrupted_end(pselect(ends[0] + 1, &wanted, NULL, NULL, &time, &mask));
}
static void make_epoll(void) {
    struct epoll_event wanted = {.events = EPOLLIN};
    make_pipe();
    workload_check((number = epoll_create1(0)) >= 0);
    workload_check(epoll_ctl(number, EPOLL_CTL_ADD, ends[0], &wanted) == 0);
}
static struct ending enter_epoll_wait(void) {
    struct epoll_event found;
    return interrupted_end(epoll_wait(number, &found, 1, interrupted_milliseconds()));
}
static struct ending enter_epoll_pwait(void) {
    struct epoll_event found;
    sigset_t mask;
    sigemptyset(&mask);
    return interrupted_end(epoll_pwait(number, &found, 1, interrupted_milliseconds(), &mask));
}
static struct ending enter_futex(void) {
    struct timespec time = interrupted_relative();
    return interrupted_end(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, &time, NULL, 0));
}
static struct ending enter_futex_bitset(void) {
    struct timespec time = interrupted_absolute(CLOCK_MONOTONIC);
    return interrupted_end(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 1, &time, NULL, 1));
}
static struct ending enter_sem_timedwait(void) {
    struct timespec time = interrupted_absolute(CLOCK_REALTIME);
    return interrupted_end(sem_timedwait(&semaphore, &time));
}
static struct ending enter_cond_timedwait(void) {
    struct timespec time = interrupted_absolute(CLOCK_REALTIME);
    pthread_mutex_lock(&mutex);
    int code = pthread_cond_timedwait(&condition, &mutex, &time);
    pthread_mutex_unlock(&mutex);
    return interrupted_code(code);
}
static void hold_mutex(void) {
    pthread_mutex_lock(&other);
}
static void hold_inheriting_mutex(void) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(&other, &attributes);
    pthread_mutex_lock(&other);
}
static struct ending enter_mutex_timedlock(void) {
    struct timespec time = interrupted_absolute(CLOCK_REALTIME);
    return interrupted_code(pthread_mutex_timedlock(&other, &time));
}
static void set_limit(int descriptor, int option) {
    struct timespec time = interrupted_relative();
    struct timeval limit = {time.tv_sec, time.tv_nsec / 1000};
    workload_check(setsockopt(descriptor, SOL_SOCKET, option, &limit, sizeof limit) == 0);
}
static void make_limited_pair(void) {
    workload_check(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    set_limit(ends[0], SO_RCVTIMEO);
    set_limit(ends[0], SO_SNDTIMEO);
}
static struct ending enter_receive(void) {
    char byte;
    return interrupted_end(recv(ends[0], &byte, 1, 0));
}
static struct ending enter_read_socket(void) {
    char byte;
    return interrupted_end(read(ends[0], &byte, 1));
}
static void fill_limited_pair(void) {
    char bytes[4096] = {0};
    make_limited_pair();
    while (send(ends[0], bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        ;
}
static struct ending enter_send(void) {
    char bytes[4096] = {0};
    return interrupted_end(send(ends[0], bytes, sizeof bytes, 0));
}
static void make_limited_listener(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "listener"};
    workload_check((number = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0);
    workload_check(bind(number, (struct sockaddr *)&address, sizeof address) == 0 && listen(number, 1) == 0);
    set_limit(number, SO_RCVTIMEO);
}
static struct ending enter_accept(void) {
    return interrupted_end(accept(number, NULL, NULL));
}
static struct ending enter_semtimedop(void) {
    struct timespec time = interrupted_relative();
    struct sembuf down = {0, -1, 0};
    workload_check((number = semget(IPC_PRIVATE, 1, 0600)) >= 0);
    struct ending ending = interrupted_end(semtimedop(number, &down, 1, &time));
    semctl(number, 0, IPC_RMID);
    return ending;
}
static struct ending enter_sigtimedwait(void) {
    struct timespec time = interrupted_relative();
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGUSR1);
    return interrupted_end(sigtimedwait(&wanted, NULL, &time));
}
static aio_context_t context;
static void make_aio(void) {
    workload_check(syscall(SYS_io_setup, 4, &context) == 0);
}
static struct ending enter_io_getevents(void) {
    struct timespec time = interrupted_relative();
    struct io_event event;
    return interrupted_end(syscall(SYS_io_getevents, context, 1, 1, &event, &time));
}
static void make_queue(void) {
    char name[64];
    struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = 8};
    snprintf(name, sizeof name, "/scp-test-%d", getpid());
    number = (int)mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
    workload_check(number >= 0);
    mq_unlink(name);
}
static struct ending enter_mq_timedreceive(void) {
    struct timespec time = interrupted_absolute(CLOCK_REALTIME);
    char bytes[8];
    return interrupted_end(mq_timedreceive((mqd_t)number, bytes, sizeof bytes, NULL, &time));
}

const struct call interrupted_timed[] = {
    {"nanosleep", NULL, enter_nanosleep, NULL, 0, 0},
    {"nanosleep_remainder", NULL, enter_nanosleep_remainder, NULL, 0, 0},
    {"nanosleep_same", NULL, enter_nanosleep_same, NULL, 0, 0},
    {"clock_nanosleep", NULL, enter_clock_nanosleep, NULL, 0, 0},
    {"clock_nanosleep_absolute", NULL, enter_clock_nanosleep_absolute, NULL, 0, 0},
    {"poll", make_pipe, enter_poll, NULL, 0, 0},
    {"ppoll", make_pipe, enter_ppoll, NULL, 0, 0},
    {"select", make_pipe, enter_select, NULL, 0, 0},
    {"pselect", make_pipe, enter_pselect, NULL, 0, 0},
    {"epoll_wait", make_epoll, enter_epoll_wait, NULL, 0, 0},
    {"epoll_pwait", make_epoll, enter_epoll_pwait, NULL, 0, 0},
    {"futex_timeout", NULL, enter_futex, NULL, -1, ETIMEDOUT},
    {"futex_bitset_timeout", NULL, enter_futex_bitset, NULL, -1, ETIMEDOUT},
    {"sem_timedwait", NULL, enter_sem_timedwait, NULL, -1, ETIMEDOUT},
    {"cond_timedwait", NULL, enter_cond_timedwait, NULL, -1, ETIMEDOUT},
    {"mutex_timedlock", hold_mutex, enter_mutex_timedlock, NULL, -1, ETIMEDOUT},
    {"mutex_inherit_timedlock", hold_inheriting_mutex, enter_mutex_timedlock, NULL, -1, ETIMEDOUT},
    {"recv_timeout", make_limited_pair, enter_receive, NULL, -1, EAGAIN},
    {"read_socket_timeout", make_limited_pair, enter_read_socket, NULL, -1, EAGAIN},
    {"send_timeout", fill_limited_pair, enter_send, NULL, -1, EAGAIN},
    {"accept_timeout", make_limited_listener, enter_accept, NULL, -1, EAGAIN},
    {"semtimedop", NULL, enter_semtimedop, NULL, -1, EAGAIN},
    {"sigtimedwait", NULL, enter_sigtimedwait, NULL, -1, EAGAIN},
    {"io_getevents", make_aio, enter_io_getevents, NULL, 0, 0},
    {"mq_timedreceive", make_queue, enter_mq_timedreceive, NULL, -1, ETIMEDOUT},
    {0},
};
