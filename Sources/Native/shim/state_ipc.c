// SysV message queues, semaphore sets, and segments that nobody has attached. They belong to nobody: what a process of the
// computation has asked for by msgget, semget or shmget (wrapped here: the kernel does not tell later) counts as the
// computation's, and one of its processes saves it. Segments that are attached are memory (regions.c); state_segments.c.
// Messages are looked at with MSG_COPY, which takes none away. Ids are kept: /proc/sys/kernel/{msg,sem}_next_id.
// Lost: SEM_UNDO lists and the pids of last operations, which the kernel keeps to itself.
#define _GNU_SOURCE
#include "state.h"
#include "state_ipc.h"
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/msg.h>
#include <sys/sem.h>

#define EXPORT __attribute__((visibility("default")))
#define KNOWN 1024
#ifndef MSG_COPY
#define MSG_COPY 040000
#endif

// Ids that this process, or one it is a fork of, was given: kind << 32 | id, 0 = free. Only ever added.
static _Atomic uint64_t known[KNOWN];
static bool foreign[KNOWN]; // another process of the computation saves it

static struct scp_ipc_object *saved;

// ---- wrappers ---------------------------------------------------------------------------------------------------------

static void note(enum scp_ipc_kind kind, long id) {
    uint64_t word = (uint64_t)kind << 32 | (uint32_t)id;
    for (size_t i = 0; i < KNOWN; i++) {
        uint64_t none = 0;
        if (atomic_load(&known[i]) == word)
            return;
        if (atomic_load(&known[i]) == 0 && atomic_compare_exchange_strong(&known[i], &none, word))
            return;
        if (none == word)
            return;
    }
}

static int answer(enum scp_ipc_kind kind, long result) {
    if (result < 0) {
        errno = (int)-result;
        return -1;
    }
    note(kind, result);
    return (int)result;
}

EXPORT int msgget(key_t key, int flags) {
    return answer(SCP_IPC_QUEUE, scp_call(SYS_msgget, key, flags));
}

EXPORT int semget(key_t key, int count, int flags) {
    return answer(SCP_IPC_SEMAPHORES, scp_call(SYS_semget, key, count, flags));
}

EXPORT int shmget(key_t key, size_t size, int flags) {
    return answer(SCP_IPC_SEGMENT, scp_call(SYS_shmget, key, size, flags));
}

// ---- the survey -------------------------------------------------------------------------------------------------------

bool scp_ipc_known(size_t index, uint32_t *kind, uint32_t *id) {
    uint64_t word = index < KNOWN ? atomic_load(&known[index]) : 0;
    *kind = (uint32_t)(word >> 32);
    *id = (uint32_t)word;
    foreign[index < KNOWN ? index : 0] = false;
    return word != 0;
}

void scp_ipc_assign(size_t index, bool own) {
    foreign[index] = !own;
}

// ---- examine ----------------------------------------------------------------------------------------------------------

static long queue_state(int32_t id, struct msqid_ds *out) {
    return scp_call(SYS_msgctl, id, IPC_STAT, out);
}

static long semaphore_state(int32_t id, struct semid_ds *out) {
    return scp_call(SYS_semctl, id, 0, IPC_STAT, out);
}

// Bytes that may be needed of the carry area: at most as many messages as a queue has bytes.
size_t scp_ipc_prepare(void) {
    size_t bytes = 0;
    uint32_t kind, id;
    for (size_t i = 0; scp_ipc_known(i, &kind, &id); i++) {
        struct msqid_ds queue;
        struct semid_ds set;
        if (kind == SCP_IPC_QUEUE && queue_state((int32_t)id, &queue) == 0)
            bytes += sizeof(struct scp_ipc_object) + queue.msg_qbytes * (sizeof(struct scp_ipc_message) + 32) + 64;
        if (kind == SCP_IPC_SEMAPHORES && semaphore_state((int32_t)id, &set) == 0)
            bytes += sizeof(struct scp_ipc_object) + set.sem_nsems * 2 + 64;
        if (kind == SCP_IPC_SEGMENT)
            bytes += scp_segment_room(id);
    }
    return bytes;
}

static int fail(struct scp_checkpoint *checkpoint, const char *what, uint32_t id, long error) {
    return scp_fail(checkpoint, (int)-error, what, scp_number(id).text, " cannot be saved", (char *)NULL);
}

struct scp_ipc_object *scp_ipc_add(enum scp_ipc_kind kind, uint32_t id, const struct ipc_perm *rights, size_t more) {
    struct scp_ipc_object *object = scp_carry(sizeof *object + more);
    if (!object)
        return NULL;
    *object = (struct scp_ipc_object){.next = saved,
                                      .kind = kind,
                                      .id = (int32_t)id,
                                      .key = rights->__key,
                                      .mode = rights->mode & 0777,
                                      .uid = rights->uid,
                                      .gid = rights->gid};
    saved = object;
    return object;
}

static long copy_messages(struct scp_ipc_object *object, uint64_t count, char *buffer, size_t room) {
    struct scp_ipc_message **end = &object->messages;
    for (uint64_t i = 0; i < count; i++) {
        long length = scp_call(SYS_msgrcv, object->id, buffer, room, i, IPC_NOWAIT | MSG_COPY);
        if (length < 0)
            return length;
        struct scp_ipc_message *message = scp_carry(sizeof *message + (size_t)length);
        if (!message)
            return -ENOMEM;
        message->next = NULL;
        message->length = (uint64_t)length;
        memcpy(&message->type, buffer, sizeof(long) + (size_t)length);
        *end = message;
        end = &message->next;
    }
    return 0;
}

static int save_queue(struct scp_checkpoint *checkpoint, uint32_t id) {
    struct msqid_ds queue;
    if (queue_state((int32_t)id, &queue) != 0)
        return 0; // removed
    struct scp_ipc_object *object = scp_ipc_add(SCP_IPC_QUEUE, id, &queue.msg_perm, 0);
    size_t room = queue.__msg_cbytes + 1;
    char *buffer = scp_scratch_map(room + sizeof(long));
    long result = object && buffer ? 0 : -ENOMEM;
    if (result == 0) {
        object->room = queue.msg_qbytes;
        result = copy_messages(object, queue.msg_qnum, buffer, room);
    }
    scp_scratch_unmap(buffer);
    return result < 0 ? fail(checkpoint, "the SysV message queue ", id, result) : 0;
}

static int save_semaphores(struct scp_checkpoint *checkpoint, uint32_t id) {
    struct semid_ds set;
    if (semaphore_state((int32_t)id, &set) != 0)
        return 0;
    struct scp_ipc_object *object =
        scp_ipc_add(SCP_IPC_SEMAPHORES, id, &set.sem_perm, set.sem_nsems * sizeof(unsigned short));
    long result = object ? scp_call(SYS_semctl, id, 0, GETALL, object->values) : -ENOMEM;
    if (object)
        object->count = set.sem_nsems;
    return result < 0 ? fail(checkpoint, "the set of SysV semaphores ", id, result) : 0;
}

static int save(struct scp_checkpoint *checkpoint, uint64_t word) {
    switch (word >> 32) {
    case SCP_IPC_QUEUE:
        return save_queue(checkpoint, (uint32_t)word);
    case SCP_IPC_SEMAPHORES:
        return save_semaphores(checkpoint, (uint32_t)word);
    default:
        return scp_segment_save(checkpoint, (uint32_t)word);
    }
}

int scp_ipc_examine(const struct scp_examination *examination) {
    int result = 0;
    saved = NULL;
    for (size_t i = 0; result == 0 && i < KNOWN; i++) {
        uint64_t word = atomic_load(&known[i]);
        if (word == 0)
            break;
        if (!foreign[i])
            result = save(examination->checkpoint, word);
    }
    return result;
}

// ---- restore ----------------------------------------------------------------------------------------------------------

// Whoever may read the file can lock it, and keep the lock: it is not waited for longer than this.
#define LOCK_ATTEMPTS 5000
#define LOCK_PAUSE_NS 200000

long scp_ipc_make(const char *next_id, int32_t id, long call, long key, long size, long flags) {
    struct scp_number text = scp_number((uint64_t)id);
    struct timespec moment = {0, LOCK_PAUSE_NS};
    long file = scp_call(SYS_openat, AT_FDCWD, next_id, O_WRONLY | O_CLOEXEC, 0);
    for (int i = 0; file >= 0 && i < LOCK_ATTEMPTS && scp_call(SYS_flock, file, LOCK_EX | LOCK_NB) == -EWOULDBLOCK; i++)
        scp_call(SYS_nanosleep, &moment, NULL);
    if (file >= 0) // else the id that the object gets will tell
        scp_call(SYS_write, file, text.text, strlen(text.text));
    long made = call == SYS_msgget ? scp_call(call, key, flags) : scp_call(call, key, size, flags);
    if (file >= 0)
        scp_call(SYS_close, file);
    return made;
}

static long make_queue(const struct scp_ipc_object *object) {
    struct msqid_ds queue;
    if (queue_state(object->id, &queue) == 0 && queue.msg_perm.__key == object->key)
        return object->id; // the same namespace: it has outlived the processes
    return scp_ipc_make("/proc/sys/kernel/msg_next_id", object->id, SYS_msgget, object->key, 0,
                        IPC_CREAT | IPC_EXCL | (int)object->mode);
}

static long make_semaphores(const struct scp_ipc_object *object) {
    struct semid_ds set;
    if (semaphore_state(object->id, &set) == 0 && set.sem_perm.__key == object->key && set.sem_nsems == object->count)
        return object->id;
    return scp_ipc_make("/proc/sys/kernel/sem_next_id", object->id, SYS_semget, object->key, (long)object->count,
                        IPC_CREAT | IPC_EXCL | (int)object->mode);
}

// What came after the checkpoint goes; what was in it comes back.
static long fill_queue(const struct scp_ipc_object *object) {
    struct msqid_ds queue;
    char nothing[sizeof(long) + 1];
    while (scp_call(SYS_msgrcv, object->id, nothing, 1, 0, IPC_NOWAIT | MSG_NOERROR) >= 0)
        continue;
    if (queue_state(object->id, &queue) == 0 && queue.msg_qbytes != object->room) {
        queue.msg_qbytes = object->room;
        scp_call(SYS_msgctl, object->id, IPC_SET, &queue); // a larger one than usual needs a right
    }
    for (const struct scp_ipc_message *message = object->messages; message; message = message->next) {
        long result = scp_call(SYS_msgsnd, object->id, &message->type, message->length, IPC_NOWAIT);
        if (result < 0)
            return result;
    }
    return 0;
}

static long restore_object(const struct scp_ipc_object *object) {
    if (object->kind == SCP_IPC_SEGMENT)
        return scp_segment_restore(object);
    long id = object->kind == SCP_IPC_QUEUE ? make_queue(object) : make_semaphores(object);
    if (id >= 0 && id != object->id) {
        scp_call(object->kind == SCP_IPC_QUEUE ? SYS_msgctl : SYS_semctl, id, 0, 0, 0);
        return -EEXIST;
    }
    if (id < 0)
        return id;
    return object->kind == SCP_IPC_QUEUE ? fill_queue(object) : scp_call(SYS_semctl, id, 0, SETALL, object->values);
}

int scp_ipc_restore(void) {
    for (const struct scp_ipc_object *object = saved; object; object = object->next) {
        long result = restore_object(object);
        if (result >= 0)
            continue;
        static const char *const what[] = {[SCP_IPC_QUEUE] = "cannot restore the SysV message queue ",
                                           [SCP_IPC_SEMAPHORES] = "cannot restore the SysV semaphores ",
                                           [SCP_IPC_SEGMENT] = "cannot restore the SysV shared memory segment "};
        scp_arrival_warn((int)-result, what[object->kind], scp_number((uint64_t)object->id).text);
        return (int)result;
    }
    return 0;
}
