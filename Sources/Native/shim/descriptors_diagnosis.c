// What sock_diag(7) tells about a Unix socket: its peer, what has been shut down, who waits in its backlog.
#include "descriptors_sockets.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sys/socket.h>

struct request {
    struct nlmsghdr header;
    struct unix_diag_req unix_request;
};

int scp_diagnosis_open(struct scp_descriptor_work *work) {
    if (work->diagnosis < 0)
        work->diagnosis =
            (int)scp_call(SYS_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
    return work->diagnosis;
}

static void read_attribute(const struct rtattr *attribute, struct scp_unix_state *state) {
    size_t length = RTA_PAYLOAD(attribute);
    const void *data = RTA_DATA(attribute);
    if (attribute->rta_type == UNIX_DIAG_PEER && length >= sizeof state->peer) {
        memcpy(&state->peer, data, sizeof state->peer);
        state->has_peer = true;
    } else if (attribute->rta_type == UNIX_DIAG_SHUTDOWN && length >= 1) {
        state->shutdown = *(const uint8_t *)data;
    } else if (attribute->rta_type == UNIX_DIAG_RQLEN && length >= sizeof(struct unix_diag_rqlen)) {
        const struct unix_diag_rqlen *queue = data;
        state->waiting = queue->udiag_rqueue;
        state->backlog = queue->udiag_wqueue;
    }
}

static int read_answer(char *answer, long length, struct scp_unix_state *state) {
    const struct nlmsghdr *header = (const struct nlmsghdr *)answer;
    if (!NLMSG_OK(header, (uint32_t)length))
        return -EIO;
    if (header->nlmsg_type == NLMSG_ERROR)
        return ((const struct nlmsgerr *)NLMSG_DATA(header))->error;
    const struct unix_diag_msg *message = NLMSG_DATA(header);
    state->connected = message->udiag_state == 1; // TCP_ESTABLISHED
    long rest = (long)header->nlmsg_len - (long)NLMSG_LENGTH(sizeof *message);
    for (const struct rtattr *attribute = (const struct rtattr *)(message + 1); RTA_OK(attribute, rest);
         attribute = RTA_NEXT(attribute, rest))
        read_attribute(attribute, state);
    return 0;
}

int scp_unix_diagnose(struct scp_descriptor_work *work, uint64_t inode, struct scp_unix_state *state) {
    int socket = scp_diagnosis_open(work);
    if (socket < 0)
        return socket;
    struct request request = {.header = {sizeof request, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0},
                              .unix_request = {.sdiag_family = AF_UNIX,
                                               .udiag_states = UINT32_MAX,
                                               .udiag_ino = (uint32_t)inode,
                                               .udiag_show = UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN,
                                               .udiag_cookie = {UINT32_MAX, UINT32_MAX}}};
    memset(state, 0, sizeof *state);
    long result = scp_call(SYS_sendto, socket, &request, sizeof request, 0, NULL, 0);
    if (result < 0)
        return (int)result;
    result = scp_call(SYS_recvfrom, socket, work->buffer, SCP_COPY_BYTES, 0, NULL, NULL);
    return result < 0 ? (int)result : read_answer(work->buffer, result, state);
}
