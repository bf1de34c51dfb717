// SysV shared memory that nobody has attached: it is in no process's memory, and waits for somebody to attach it by its number
// or key. Attached for the moment in which all threads stand still; what it holds travels in the carry area.
// Lost: times, the pids of creator and last user, locked pages (SHM_LOCK), huge pages.
#define _GNU_SOURCE
#include "state_ipc.h"

#include <errno.h>
#include <string.h>
#include <sys/shm.h>

#define LIMIT (256ull << 20) // bytes of one segment

static long state_of(uint32_t id, struct shmid_ds *out) {
    return scp_call(SYS_shmctl, id, IPC_STAT, out);
}

size_t scp_segment_room(uint32_t id) {
    struct shmid_ds state;
    if (state_of(id, &state) != 0 || state.shm_nattch > 0 || state.shm_segsz > LIMIT)
        return 0;
    return sizeof(struct scp_ipc_object) + state.shm_segsz + 64;
}

// Pages without content stay pages that nobody has touched, here and in the image.
static void copy_pages(char *to, const char *from, size_t size) {
    static const char zeros[SCP_PAGE];
    for (size_t done = 0; done < size; done += SCP_PAGE) {
        size_t part = size - done < SCP_PAGE ? size - done : SCP_PAGE;
        if (memcmp(from + done, zeros, part) != 0)
            memcpy(to + done, from + done, part);
    }
}

static int fail(struct scp_checkpoint *checkpoint, uint32_t id, long error, const char *why) {
    return scp_fail(checkpoint, (int)-error, "the SysV shared memory segment ", scp_number(id).text,
                    ", which no process has attached, ", why, (char *)NULL);
}

int scp_segment_save(struct scp_checkpoint *checkpoint, uint32_t id) {
    struct shmid_ds state;
    if (state_of(id, &state) != 0 || state.shm_nattch > 0)
        return 0; // removed; or memory of one of the processes
    if (state.shm_segsz > LIMIT)
        return fail(checkpoint, id, -E2BIG, "is larger than 256 MiB and cannot be saved: attach or remove it");
    struct scp_ipc_object *object = scp_ipc_add(SCP_IPC_SEGMENT, id, &state.shm_perm, state.shm_segsz);
    if (!object)
        return fail(checkpoint, id, -EAGAIN, "has just been detached: try again");
    object->room = state.shm_segsz;
    long memory = scp_call(SYS_shmat, id, NULL, SHM_RDONLY);
    if (scp_failed(memory))
        return fail(checkpoint, id, memory, "cannot be read");
    copy_pages((char *)object->values, (const char *)memory, state.shm_segsz);
    scp_call(SYS_shmdt, memory);
    return 0;
}

static long make(const struct scp_ipc_object *object) {
    struct shmid_ds state;
    if (state_of((uint32_t)object->id, &state) == 0 && state.shm_perm.__key == object->key &&
        state.shm_segsz == object->room)
        return object->id; // the same namespace: it has outlived the processes
    return scp_ipc_make("/proc/sys/kernel/shm_next_id", object->id, SYS_shmget, object->key, (long)object->room,
                        IPC_CREAT | IPC_EXCL | (int)object->mode);
}

long scp_segment_restore(const struct scp_ipc_object *object) {
    long id = make(object);
    if (id >= 0 && id != object->id) {
        scp_call(SYS_shmctl, id, IPC_RMID, NULL);
        return -EEXIST;
    }
    if (id < 0)
        return id;
    long memory = scp_call(SYS_shmat, id, NULL, 0);
    if (scp_failed(memory))
        return memory;
    memcpy((void *)memory, object->values, object->room);
    scp_call(SYS_shmdt, memory);
    return 0;
}
