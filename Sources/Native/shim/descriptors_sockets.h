// What the files around sockets share: descriptors_sockets.c, _options.c, _queue.c, _diagnosis.c.
#ifndef SWIFTCP_DESCRIPTORS_SOCKETS_H
#define SWIFTCP_DESCRIPTORS_SOCKETS_H

#include "descriptors.h"

struct scp_unix_state {
    uint32_t peer; // inode, 0 = none
    uint32_t waiting; // listening: connections not accepted yet
    uint32_t backlog;
    uint8_t shutdown; // bit 0: receiving, bit 1: sending
    bool has_peer, connected;
};
// 0, or -errno (-ENOENT: the socket belongs to another network namespace, or sock_diag is not there).
int scp_unix_diagnose(struct scp_descriptor_work *work, uint64_t inode, struct scp_unix_state *state);

// Writes addresses and options into object->socket. 0 or -errno with the reason noted.
int scp_socket_describe(struct scp_descriptor_work *work, struct scp_source *source);

// Copies what waits in the socket's receive queue into the object's blob, without a trace.
int scp_socket_take_queue(struct scp_descriptor_work *work, struct scp_source *source);

// descriptors_multicast.c: memberships can be found by asking alone, and are not recorded yet.
int scp_refuse_multicast(struct scp_descriptor_work *work, struct scp_source *source);

// descriptors_diagnosis.c: the socket to ask sock_diag with, or -errno. It belongs to the work.
int scp_diagnosis_open(struct scp_descriptor_work *work);

// descriptors_tcp_remote.c: the other end of a connection, whoever on this host has it. -ENOENT: nobody.
struct scp_tcp_remote {
    uint32_t inode; // 0 = no process has it any more, or yet
    uint32_t unacknowledged; // bytes it has sent and this end has not taken
};
int scp_tcp_find_remote(struct scp_descriptor_work *work, int descriptor, struct scp_tcp_remote *out);

// descriptors_tcp.c: brings all that the other end has sent into the receive queue of `receiver`. `taken` tells whether it
// has. sender: its descriptor, or -1 when another process has it, which sock_diag then tells of.
struct scp_tcp_pull {
    struct scp_descriptor_work *work;
    int sender, receiver;
    bool taken, changed, widened;
    int no_delay, low, clamp, buffer, lock;
};
void scp_tcp_pull_begin(struct scp_tcp_pull *pull);
void scp_tcp_pull_end(const struct scp_tcp_pull *pull);

#endif
