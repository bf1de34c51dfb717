// Blocking transfers of more than fits: a part has moved when the checkpoint comes, and the whole must arrive.
#include "interrupted.h"
#include <sys/socket.h>
#include <sys/uio.h>

enum { SIZE = 3 << 20 };
static int ends[2];
static unsigned char *sent;
static pthread_t reader;

static void make_bytes(void) {
    workload_check((sent = malloc(SIZE)) != NULL);
    for (int i = 0; i < SIZE; i++)
        sent[i] = (unsigned char)(i * 2654435761u >> 24);
}
static void make_pipe(void) {
    make_bytes();
    workload_check(pipe(ends) == 0);
}
static void make_pair(void) {
    make_bytes();
    workload_check(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
}
static struct ending enter_write(void) {
    return interrupted_end(write(ends[1], sent, SIZE));
}
static struct ending enter_send(void) {
    return interrupted_end(send(ends[1], sent, SIZE, MSG_NOSIGNAL));
}
static struct ending enter_writev(void) {
    struct iovec parts[3] = {{sent, 100000}, {sent + 100000, 1000000}, {sent + 1100000, SIZE - 1100000}};
    return interrupted_end(writev(ends[1], parts, 3));
}
static struct ending enter_sendmsg(void) {
    struct iovec parts[2] = {{sent, 100000}, {sent + 100000, SIZE - 100000}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    return interrupted_end(sendmsg(ends[1], &message, MSG_NOSIGNAL));
}
// Reads everything in pieces and compares.
static void *read_all(void *argument) {
    unsigned char piece[10000];
    for (int at = 0; at < SIZE;) {
        long got = read(ends[0], piece, sizeof piece);
        if (got <= 0)
            workload_fail("the reader got %ld (%s) at %d of %d bytes", got, strerror(errno), at, SIZE);
        if (memcmp(piece, sent + at, (size_t)got) != 0)
            workload_fail("other bytes have arrived at %d", at);
        at += (int)got;
    }
    return argument;
}
static void read_it(void) {
    workload_check(pthread_create(&reader, NULL, read_all, NULL) == 0);
}
// Receiving of a fixed amount: half of it is there before the checkpoint.
enum { HALF = 50000 };
static void send_half(void) {
    make_pair();
    workload_equal(send(ends[1], sent, HALF, 0), HALF);
}
static void send_rest(void) {
    workload_equal(send(ends[1], sent + HALF, HALF, 0), HALF);
}
static struct ending received(long result, const unsigned char *bytes) {
    if (result == 2 * HALF && memcmp(bytes, sent, 2 * HALF) != 0)
        workload_fail("other bytes have arrived");
    return interrupted_end(result);
}
static struct ending enter_receive_all(void) {
    unsigned char *bytes = malloc(2 * HALF);
    workload_check(bytes);
    return received(recv(ends[0], bytes, 2 * HALF, MSG_WAITALL), bytes);
}
static struct ending enter_receive_message_all(void) {
    unsigned char *bytes = malloc(2 * HALF);
    struct iovec parts[2] = {{bytes, 60000}, {bytes + 60000, 2 * HALF - 60000}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    workload_check(bytes);
    return received(recvmsg(ends[0], &message, MSG_WAITALL), bytes);
}

const struct call interrupted_transfers[] = {
    {"write_pipe_whole", make_pipe, enter_write, read_it, SIZE, 0},
    {"write_socket_whole", make_pair, enter_write, read_it, SIZE, 0},
    {"send_whole", make_pair, enter_send, read_it, SIZE, 0},
    {"writev_whole", make_pipe, enter_writev, read_it, SIZE, 0},
    {"sendmsg_whole", make_pair, enter_sendmsg, read_it, SIZE, 0},
    {"recv_waitall", send_half, enter_receive_all, send_rest, 2 * HALF, 0},
    {"recvmsg_waitall", send_half, enter_receive_message_all, send_rest, 2 * HALF, 0},
    {0},
};
