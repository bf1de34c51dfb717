// A TCP connection whose other end another process on this host may hold: sock_diag(7) knows it by its addresses, tells who it
// is and what it has sent that has not been taken yet.
#include "descriptors_sockets.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

struct request {
    struct nlmsghdr header;
    struct inet_diag_req_v2 internet;
};

// The address as the kernel looks it up: one of IPv4 in the clothes of IPv6 is one of IPv4. Returns the family.
static int put_address(const struct sockaddr_storage *address, uint32_t out[4], uint16_t *port) {
    const struct sockaddr_in *four = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
    if (address->ss_family == AF_INET) {
        *port = four->sin_port;
        memcpy(out, &four->sin_addr, 4);
        return AF_INET;
    }
    *port = six->sin6_port;
    bool mapped = IN6_IS_ADDR_V4MAPPED(&six->sin6_addr);
    memcpy(out, (const char *)&six->sin6_addr + (mapped ? 12 : 0), mapped ? 4 : 16);
    return mapped ? AF_INET : AF_INET6;
}

// Asks for the socket whose own address is our peer's, and whose peer is us.
static int fill_request(int descriptor, struct request *request) {
    struct sockaddr_storage own, peer;
    uint32_t own_length = sizeof own, peer_length = sizeof peer;
    long result = scp_call(SYS_getsockname, descriptor, &own, &own_length);
    if (result == 0)
        result = scp_call(SYS_getpeername, descriptor, &peer, &peer_length);
    if (result < 0)
        return (int)result;
    struct inet_diag_req_v2 *internet = &request->internet;
    *request = (struct request){.header = {sizeof *request, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0}};
    internet->sdiag_protocol = IPPROTO_TCP;
    internet->idiag_states = UINT32_MAX;
    internet->id.idiag_cookie[0] = internet->id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    internet->sdiag_family = (uint8_t)put_address(&peer, internet->id.idiag_src, &internet->id.idiag_sport);
    put_address(&own, internet->id.idiag_dst, &internet->id.idiag_dport);
    return 0;
}

int scp_tcp_find_remote(struct scp_descriptor_work *work, int descriptor, struct scp_tcp_remote *out) {
    struct request request;
    union {
        struct nlmsghdr header;
        char bytes[4096];
    } answer;
    *out = (struct scp_tcp_remote){0, 0};
    int result = fill_request(descriptor, &request), socket = scp_diagnosis_open(work);
    if (result < 0 || socket < 0)
        return result < 0 ? result : socket;
    long length = scp_call(SYS_sendto, socket, &request, sizeof request, 0, NULL, 0);
    if (length >= 0)
        length = scp_call(SYS_recvfrom, socket, &answer, sizeof answer, 0, NULL, NULL);
    if (length < 0)
        return (int)length;
    if (!NLMSG_OK(&answer.header, (uint32_t)length))
        return -EIO;
    if (answer.header.nlmsg_type == NLMSG_ERROR)
        return ((const struct nlmsgerr *)NLMSG_DATA(&answer.header))->error;
    const struct inet_diag_msg *message = NLMSG_DATA(&answer.header);
    if (message->id.idiag_dport != request.internet.id.idiag_dport)
        return -ENOENT; // the lookup falls back on whoever listens there
    out->inode = message->idiag_inode;
    out->unacknowledged = message->idiag_wqueue;
    return 0;
}
