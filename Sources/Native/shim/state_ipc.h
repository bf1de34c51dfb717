// What state_ipc.c and state_segments.c share: SysV objects that are saved, in the carry area.
#ifndef SWIFTCP_STATE_IPC_H
#define SWIFTCP_STATE_IPC_H

#include "state.h"

#include <sys/ipc.h>

enum scp_ipc_kind { SCP_IPC_QUEUE = 1, SCP_IPC_SEMAPHORES = 2, SCP_IPC_SEGMENT = 3 };

struct scp_ipc_message {
    struct scp_ipc_message *next;
    uint64_t length; // bytes of text
    long type;
    char text[];
};

struct scp_ipc_object {
    struct scp_ipc_object *next;
    enum scp_ipc_kind kind;
    int32_t id, key;
    uint32_t mode, uid, gid;
    uint64_t room; // bytes of a queue, or of a segment
    uint64_t count; // of semaphores
    struct scp_ipc_message *messages;
    unsigned short values[]; // of semaphores; of a segment: its content
};

// ---- state_ipc.c ----------------------------------------------------------------------------------------------------
// A new one, with room for `more` bytes of values; NULL when the carry area is used up.
struct scp_ipc_object *scp_ipc_add(enum scp_ipc_kind kind, uint32_t id, const struct ipc_perm *rights, size_t more);
// msgget, semget or shmget (the number of the call, and its arguments) of a new object, which gets this id if its place is free.
// next_id: /proc/sys/kernel/…_next_id. Several processes of a restart ask at the same time: each keeps the others away until it
// has made its object. The id, or -errno.
long scp_ipc_make(const char *next_id, int32_t id, long call, long key, long size, long flags);

// ---- state_segments.c: shared memory that nobody has attached --------------------------------------------------------
size_t scp_segment_room(uint32_t id); // bytes that may be needed of the carry area
int scp_segment_save(struct scp_checkpoint *checkpoint, uint32_t id);
long scp_segment_restore(const struct scp_ipc_object *object); // >= 0, or -errno

#endif
