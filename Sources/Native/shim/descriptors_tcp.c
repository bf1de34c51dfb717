// TCP connections whose both ends are in the computation: what one end has sent and the other has not taken yet.
//
// A full receiver never drains by itself while both are parked. It can be made to take more without giving a byte to anybody:
// a huge SO_RCVLOWAT opens the window at the next look (MSG_PEEK), a larger SO_RCVBUF where the program has set it.
// Everything is put back; the data stays in the receive queue, where the program would have had it a moment later.
#include "descriptors_sockets.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define BUFFER_LOCK 72 /* SO_BUF_LOCK, Linux 5.14 */
#define LOOK_NS 1000000 /* between looks */
#define LOOKS 120 /* at each of the two measures: 0.12 s */

static int get(int descriptor, int level, int name) {
    int value = 0;
    uint32_t length = sizeof value;
    return scp_call(SYS_getsockopt, descriptor, level, name, &value, &length) == 0 ? value : -1;
}

static void set(int descriptor, int level, int name, int value) {
    if (value >= 0)
        scp_call(SYS_setsockopt, descriptor, level, name, &value, sizeof value);
}

// Bytes that have been sent and not acknowledged. A FIN counts as one, and stays when both sides have closed.
static int unacknowledged(int sender) {
    int bytes = 0;
    struct tcp_info info;
    uint32_t length = sizeof info;
    memset(&info, 0, sizeof info);
    scp_call(SYS_ioctl, sender, SIOCOUTQ, &bytes);
    scp_call(SYS_getsockopt, sender, IPPROTO_TCP, TCP_INFO, &info, &length);
    return bytes == 1 && info.tcpi_state == 7 ? 0 : bytes;
}

static int on_its_way(const struct scp_tcp_pull *pull) {
    struct scp_tcp_remote remote;
    if (pull->sender >= 0)
        return unacknowledged(pull->sender);
    return scp_tcp_find_remote(pull->work, pull->receiver, &remote) == 0 ? (int)remote.unacknowledged : 0;
}

static bool wait_until_taken(const struct scp_tcp_pull *pull) {
    for (int i = 0; i < LOOKS; i++) {
        char byte;
        scp_call(SYS_recvfrom, pull->receiver, &byte, 1, MSG_PEEK | MSG_DONTWAIT, NULL, NULL);
        if (on_its_way(pull) == 0)
            return true;
        struct timespec moment = {0, LOOK_NS};
        scp_call(SYS_nanosleep, &moment, NULL);
    }
    return false;
}

// What another process's end has corked it sends by itself within 200 ms, which the two measures last.
void scp_tcp_pull_begin(struct scp_tcp_pull *pull) {
    int receiver = pull->receiver;
    pull->taken = on_its_way(pull) == 0;
    if (pull->taken)
        return;
    pull->changed = true;
    pull->no_delay = pull->sender < 0 ? -1 : get(pull->sender, IPPROTO_TCP, TCP_NODELAY);
    pull->low = get(receiver, SOL_SOCKET, SO_RCVLOWAT);
    pull->clamp = get(receiver, IPPROTO_TCP, TCP_WINDOW_CLAMP);
    pull->buffer = get(receiver, SOL_SOCKET, SO_RCVBUF);
    pull->lock = get(receiver, SOL_SOCKET, BUFFER_LOCK);
    if (pull->sender >= 0)
        set(pull->sender, IPPROTO_TCP, TCP_NODELAY, 1); // pushes what is corked
    set(receiver, SOL_SOCKET, SO_RCVLOWAT, 1 << 30);
    pull->taken = wait_until_taken(pull);
    if (pull->taken)
        return;
    pull->widened = true;
    set(receiver, SOL_SOCKET, SO_RCVBUF, 1 << 30);
    pull->taken = wait_until_taken(pull);
}

void scp_tcp_pull_end(const struct scp_tcp_pull *pull) {
    if (!pull->changed)
        return;
    set(pull->receiver, SOL_SOCKET, SO_RCVLOWAT, pull->low);
    set(pull->receiver, IPPROTO_TCP, TCP_WINDOW_CLAMP, pull->clamp);
    if (pull->widened) {
        set(pull->receiver, SOL_SOCKET, SO_RCVBUF, pull->buffer / 2); // the call doubles
        set(pull->receiver, SOL_SOCKET, BUFFER_LOCK, pull->lock);
    }
    if (pull->sender >= 0)
        set(pull->sender, IPPROTO_TCP, TCP_NODELAY, pull->no_delay);
}
