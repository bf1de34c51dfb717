// POSIX message queues. They are made when this process has entered the namespaces of the program: a queue's name belongs to
// an ipc namespace.
#include "descriptors_internal.h"

#include <limits.h>
#include <mqueue.h>

static int failed(struct crestart_descriptors *made, uint32_t object, int error, const char *what) {
    return crestart_fail(made->message, error, "%s: the message queue %s", crestart_name(&made->tables, object), what);
}

int crestart_make_message_queue_later(struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    const uint64_t largest = 1u << 24; // ipc/mqueue.c: HARD_MSGMAX, HARD_MSGSIZEMAX
    const char *path = crestart_string(&made->tables, entry->path);
    bool sound = path[0] == '/' && path[1] != '\0' && strlen(path) <= NAME_MAX && strchr(path + 1, '/') == NULL &&
                 entry->value[SCP_QUEUE_MESSAGES] <= largest && entry->value[SCP_QUEUE_BYTES] <= largest;
    return sound ? 0 : failed(made, object, EBADMSG, "is damaged in the image");
}

static bool is_same_queue(const struct scp_object *a, const struct scp_object *b) {
    return a->kind == SCP_OBJECT_MESSAGE_QUEUE && b->kind == SCP_OBJECT_MESSAGE_QUEUE && a->device == b->device &&
           a->inode == b->inode;
}

// A queue that is being made.
struct making {
    char name[NAME_MAX + 2];
    mqd_t queue;
    bool
        nameless; // the name goes when everything is open: /proc shows this process no more, so nothing is reopened there
};

static mqd_t open_queue(const char *name, int flags, struct mq_attr *shape) {
    mode_t mask = umask(0);
    mqd_t queue = mq_open(name, flags, S_IRUSR | S_IWUSR, shape); // close-on-exec always
    int error = errno;
    umask(mask);
    errno = error;
    return queue;
}

// One of that name that is there already has outlived the program (no namespace of its own), or belongs to somebody else:
// what has come since the checkpoint goes.
static int take_over(struct crestart_descriptors *made, uint32_t object, struct making *making,
                     const struct mq_attr *shape) {
    struct mq_attr found;
    making->queue = open_queue(making->name, O_RDWR | O_NONBLOCK, NULL);
    if (making->queue < 0)
        return failed(made, object, errno, "exists already, and cannot be opened");
    if (mq_getattr(making->queue, &found) != 0 || found.mq_maxmsg != shape->mq_maxmsg ||
        found.mq_msgsize != shape->mq_msgsize)
        return failed(made, object, EEXIST, "exists already, with other limits (remove it: mq_unlink)");
    char *bytes = malloc((size_t)found.mq_msgsize + 1);
    while (bytes != NULL && mq_receive(making->queue, bytes, (size_t)found.mq_msgsize, NULL) >= 0)
        continue;
    free(bytes);
    return 0;
}

static int create(struct crestart_descriptors *made, uint32_t object, struct making *making) {
    const struct scp_object *entry = &made->tables.objects[object];
    struct mq_attr shape = {.mq_maxmsg = (long)entry->value[SCP_QUEUE_MESSAGES],
                            .mq_msgsize = (long)entry->value[SCP_QUEUE_BYTES]};
    making->nameless = entry->flags & SCP_OBJECT_DELETED;
    if (making->nameless)
        snprintf(making->name, sizeof making->name, "/swiftcp-%d-%u", (int)getpid(), object);
    else
        snprintf(making->name, sizeof making->name, "%s", crestart_string(&made->tables, entry->path));
    making->queue = open_queue(making->name, O_RDWR | O_NONBLOCK | O_CREAT | O_EXCL, &shape);
    if (making->queue < 0 && errno == EEXIST && !making->nameless)
        return take_over(made, object, making, &shape);
    if (making->queue < 0)
        return failed(made, object, errno,
                      "cannot be made again (limits: /proc/sys/fs/mqueue; for too many open files also ulimit -q)");
    return 0;
}

static int send_all(const struct crestart_descriptors *made, uint32_t blob, mqd_t queue) {
    uint64_t length = crestart_blob_length(&made->tables, blob);
    char *bytes = malloc(length + 1);
    int result = bytes == NULL ? -ENOMEM : crestart_blob_read(&made->tables, blob, 0, bytes, length);
    for (uint64_t at = 0; result == 0 && at < length;) {
        struct scp_queue_message head;
        if (length - at < sizeof head) {
            result = -EBADMSG;
            break;
        }
        memcpy(&head, bytes + at, sizeof head);
        at += sizeof head;
        uint64_t room = ((uint64_t)head.length + 7) & ~UINT64_C(7);
        if (room > length - at)
            result = -EBADMSG;
        else if (mq_send(queue, bytes + at, head.length, head.priority) != 0)
            result = -errno;
        at += room;
    }
    free(bytes);
    return result;
}

static int fill(struct crestart_descriptors *made, uint32_t object, mqd_t queue) {
    const struct scp_object *objects = made->tables.objects;
    for (uint32_t i = 0; i < made->tables.object_count; i++) {
        if (!is_same_queue(&objects[i], &objects[object]) || !(objects[i].flags & SCP_OBJECT_HAS_CONTENT))
            continue;
        int result = send_all(made, objects[i].blob, queue);
        return result == 0 ? 0 : failed(made, object, -result, "cannot be filled from the image");
    }
    return failed(made, object, ENOENT, "has no messages in any image of the set; name the whole generation");
}

// All descriptions of the queue that `object` is the first of.
static int open_all(struct crestart_descriptors *made, uint32_t object, const struct making *making) {
    const struct scp_object *objects = made->tables.objects;
    for (uint32_t i = object; i < made->tables.object_count; i++) {
        if (!is_same_queue(&objects[i], &objects[object]))
            continue;
        made->working[i] = open_queue(making->name, (int)objects[i].status & (O_ACCMODE | O_NONBLOCK), NULL);
        if (made->working[i] < 0)
            return failed(made, i, errno, "cannot be opened again");
        if (objects[i].signal != 0)
            fcntl(made->working[i], F_SETSIG, objects[i].signal);
    }
    if (fchmod(making->queue, objects[object].mode & 07777) == 0)
        return 0;
    return failed(made, object, errno, "refuses its old mode");
}

static int make_queue(struct crestart_descriptors *made, uint32_t object) {
    struct making making = {.queue = -1};
    int result = create(made, object, &making);
    if (result == 0)
        result = fill(made, object, making.queue);
    if (result == 0)
        result = open_all(made, object, &making);
    if (making.queue >= 0 && making.nameless)
        mq_unlink(making.name);
    if (making.queue >= 0)
        close(making.queue);
    return result;
}

int crestart_make_message_queues(struct crestart_descriptors *made) {
    int result = 0;
    for (uint32_t i = 0; result == 0 && i < made->tables.object_count; i++)
        if (made->tables.objects[i].kind == SCP_OBJECT_MESSAGE_QUEUE && made->working[i] < 0)
            result = make_queue(made, i);
    return result;
}
