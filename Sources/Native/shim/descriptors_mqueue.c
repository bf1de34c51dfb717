// POSIX message queues. The kernel shows no message without taking it, so one process of the computation, all of them standing
// still, receives all and sends them again: what comes out first goes in first, so priorities and order are as they were.
// That is done through a description of our own, which blocks never and leaves the program's flags alone.
#include "descriptors.h"
#include "worker.h"

#include <mqueue.h>
#include <signal.h>
#include <sys/statfs.h>

#define MESSAGE_QUEUE_MAGIC 0x19800202 // ipc/mqueue.c
#define DELETED_MARK " (deleted)"

struct messages {
    char *bytes; // struct scp_queue_message and payload, each on a multiple of 8
    size_t room, used;
    size_t largest; // bytes of one message
};

static size_t padded(size_t length) {
    return (length + 7) & ~(size_t)7;
}

static bool is_queue(int descriptor, uint64_t device) {
    static uint64_t known_device; // there is one for each ipc namespace, and a process has one of these
    struct statfs system;
    if (device >> 8 != 0) // on a disk
        return false;
    if (known_device != 0 && device == known_device)
        return true;
    if (scp_call(SYS_fstatfs, descriptor, &system) < 0 || (uint32_t)system.f_type != MESSAGE_QUEUE_MAGIC)
        return false;
    known_device = device;
    return true;
}

// ---- notifications ----------------------------------------------------------------------------------------------------

// Whoever closes a descriptor of a queue loses the notification (mq_notify) that this process has asked for, even when it is a
// borrowed one (mqueue_flush_file): descriptors of such queues stay open here until the notification has come or gone.
static struct {
    uint32_t owner; // the checkpoint thread that has them
    uint32_t count;
    int descriptors[8];
} kept;

#define PROBE_LIMIT_NS 200000000ll

// A queue reads as "QSIZE:N NOTIFY:N SIGNO:N NOTIFY_PID:N" (ipc/mqueue.c). The second is how somebody is told.
static bool is_notification_of_nothing(int queue) {
    char text[128];
    long length = scp_call(SYS_pread64, queue, text, sizeof text - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    const char *at = strstr(text, "NOTIFY:");
    return at != NULL && at[7] == '0' + SIGEV_NONE;
}

// Another notification is refused where there is one, so one of nothing is tried, and taken back. Another process of the
// computation may be trying just then: what it asks for tells, or, where the queue cannot be read, that it goes away.
static bool has_notification(int queue) {
    struct sigevent nothing = {.sigev_notify = SIGEV_NONE};
    struct timespec moment = {0, 1000000};
    int64_t limit = scp_now() + PROBE_LIMIT_NS;
    while (scp_call(SYS_mq_notify, queue, &nothing) == -EBUSY) {
        if (is_notification_of_nothing(queue))
            return false;
        if (scp_now() > limit)
            return true;
        scp_call(SYS_nanosleep, &moment, NULL);
    }
    scp_call(SYS_mq_notify, queue, NULL);
    return false;
}

static int refuse_notified(struct scp_checkpoint *checkpoint) {
    return scp_fail(
        checkpoint, EBUSY,
        "the program waits for a notification of a POSIX message queue (mq_notify), which cannot be saved: try"
        " again when it has come, or cancel it",
        (char *)NULL);
}

int scp_message_queues_prepare(struct scp_checkpoint *checkpoint) {
    uint32_t count = kept.owner == scp_checkpoint_tid() ? kept.count : 0;
    kept.owner = scp_checkpoint_tid();
    kept.count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (has_notification(kept.descriptors[i]))
            kept.descriptors[kept.count++] = kept.descriptors[i];
        else
            scp_call(SYS_close, kept.descriptors[i]);
    }
    return kept.count == 0 ? 0 : refuse_notified(checkpoint);
}

int scp_message_queue_return(const struct scp_descriptor_work *work, struct scp_entry *entry, int descriptor) {
    entry->is_queue = S_ISREG(entry->mode) && is_queue(descriptor, entry->device);
    if (!entry->is_queue || !has_notification(descriptor)) {
        scp_call(SYS_close, descriptor);
        return 0;
    }
    if (kept.count < sizeof kept.descriptors / sizeof kept.descriptors[0])
        kept.descriptors[kept.count++] = descriptor;
    return refuse_notified(work->checkpoint);
}

// ---- which process saves it -------------------------------------------------------------------------------------------

bool scp_is_message_queue(const struct scp_checkpoint *checkpoint, uint32_t object, uint64_t *device, uint64_t *inode) {
    const struct scp_entry *entry = scp_entry_of(checkpoint->descriptor_work, object);
    *device = entry->device;
    *inode = entry->inode;
    return entry->is_queue;
}

void scp_message_queue_assign(struct scp_checkpoint *checkpoint, uint32_t object, bool own) {
    struct scp_object *entry = scp_vector_at(&checkpoint->objects, object);
    entry->value[SCP_QUEUE_SAVED_HERE] = own;
}

// Alone, the first description of a queue saves its messages; among several processes the coordinator has said who does.
static bool saves_messages(const struct scp_descriptor_work *work, const struct scp_source *source) {
    const struct scp_object *own = scp_object_at(work, source->object);
    if (work->checkpoint->surveyed)
        return own->value[SCP_QUEUE_SAVED_HERE];
    for (uint32_t i = 0; i < source->object; i++) {
        const struct scp_object *other = scp_object_at(work, i);
        if (other->kind == SCP_OBJECT_MESSAGE_QUEUE && other->device == own->device && other->inode == own->inode)
            return false;
    }
    return true;
}

// The queue's mode may forbid what its owner may change.
static int open_own(struct scp_descriptor_work *work, const struct scp_source *source) {
    uint32_t mode = scp_object_at(work, source->object)->mode & 07777;
    int result = scp_descriptor_reopen(work, source->descriptor, O_RDWR);
    if (result != -EACCES || scp_call(SYS_fchmod, source->descriptor, mode | S_IRUSR | S_IWUSR) != 0)
        return result;
    result = scp_descriptor_reopen(work, source->descriptor, O_RDWR);
    scp_call(SYS_fchmod, source->descriptor, mode);
    return result;
}

static int take_messages(int queue, struct messages *messages) {
    for (;;) {
        if (messages->used + sizeof(struct scp_queue_message) + padded(messages->largest) > messages->room)
            return 0; // more than there were: somebody outside sends; what stays there keeps its place behind these
        struct scp_queue_message *head = (struct scp_queue_message *)(messages->bytes + messages->used);
        unsigned priority = 0;
        long length = scp_call(SYS_mq_timedreceive, queue, head + 1, messages->largest, &priority, NULL);
        if (length == -EAGAIN)
            return 0;
        if (length < 0)
            return (int)length;
        head->length = (uint32_t)length;
        head->priority = priority;
        messages->used += sizeof *head + padded((size_t)length);
    }
}

static int put_back(int queue, const struct messages *messages) {
    for (size_t at = 0; at < messages->used;) {
        const struct scp_queue_message *head = (const struct scp_queue_message *)(messages->bytes + at);
        long result = scp_call(SYS_mq_timedsend, queue, head + 1, head->length, head->priority, NULL);
        if (result < 0)
            return (int)result;
        at += sizeof *head + padded(head->length);
    }
    return 0;
}

static int keep_messages(struct scp_descriptor_work *work, struct scp_source *source, const struct messages *messages) {
    int64_t blob = scp_blob_begin(work->checkpoint);
    int result = blob < 0 ? (int)blob : scp_blob_append(work->checkpoint, messages->bytes, messages->used);
    if (result == 0)
        blob = scp_blob_end(work->checkpoint);
    return scp_object_keep(work, source->object, result < 0 ? result : blob);
}

static int save_through(struct scp_descriptor_work *work, struct scp_source *source, int queue,
                        const struct mq_attr *shape) {
    struct messages messages = {.largest = (size_t)shape->mq_msgsize};
    if (shape->mq_curmsgs == 0)
        return keep_messages(work, source, &messages);
    messages.room = (size_t)shape->mq_curmsgs * (sizeof(struct scp_queue_message) + padded((size_t)shape->mq_msgsize));
    messages.bytes = scp_scratch_map(messages.room);
    if (messages.bytes == NULL)
        return scp_refuse(work, source->object, ENOMEM, "has more messages than there is memory for");
    int taken = take_messages(queue, &messages);
    int result = put_back(queue, &messages);
    if (result < 0)
        result = scp_refuse(work, source->object, -result,
                            "is a POSIX message queue that could not be filled again: somebody outside uses it too");
    else if (taken < 0)
        result = scp_refuse(work, source->object, -taken, "is a POSIX message queue that cannot be read");
    else
        result = keep_messages(work, source, &messages);
    scp_scratch_unmap(messages.bytes);
    return result;
}

static int save_messages(struct scp_descriptor_work *work, struct scp_source *source, const struct mq_attr *shape) {
    int queue = open_own(work, source);
    if (queue < 0)
        return scp_refuse(work, source->object, -queue,
                          "is a POSIX message queue whose messages the program may not read: they cannot be saved");
    int result = save_through(work, source, queue, shape);
    scp_call(SYS_close, queue);
    return result;
}

int scp_examine_message_queue(struct scp_descriptor_work *work, struct scp_source *source) {
    struct scp_object *object = scp_object_at(work, source->object);
    struct mq_attr shape;
    object->kind = SCP_OBJECT_MESSAGE_QUEUE;
    long result = scp_call(SYS_mq_getsetattr, source->descriptor, NULL, &shape);
    if (result < 0)
        return scp_refuse(work, source->object, (int)-result, "is a POSIX message queue that does not tell its state");
    size_t length = strlen(work->link), mark = sizeof DELETED_MARK - 1;
    if (source->entry->links == 0) {
        object->flags |= SCP_OBJECT_DELETED;
        if (length > mark && strcmp(work->link + length - mark, DELETED_MARK) == 0)
            length -= mark;
    }
    size_t start = length; // opened below /dev/mqueue it has a longer path, and the same name
    while (start > 0 && work->link[start - 1] != '/')
        start--;
    start -= start > 0;
    object->path = scp_string(&work->checkpoint->strings, work->link + start, length - start);
    object->value[SCP_QUEUE_MESSAGES] = (uint64_t)shape.mq_maxmsg;
    object->value[SCP_QUEUE_BYTES] = (uint64_t)shape.mq_msgsize;
    return saves_messages(work, source) ? save_messages(work, source, &shape) : 0;
}
