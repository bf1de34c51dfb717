// Record locks (POSIX), open file description locks, flock and leases, as fdinfo's "lock:" lines tell them:
//   lock:\t1: POSIX  ADVISORY  WRITE 1234 08:01:5678 0 EOF
// POSIX locks belong to the process: fdinfo shows them at every descriptor of the file, they count once.
// Source: Linux fs/locks.c, lock_get_status.
#include "descriptors.h"

#include <sys/file.h>

static const char *next_word(const char *text) {
    while (*text != ' ' && *text != '\n' && *text != '\0')
        text++;
    while (*text == ' ')
        text++;
    return text;
}

static bool starts(const char *text, const char *word) {
    return strncmp(text, word, strlen(word)) == 0;
}

static void parse_range(const char *text, struct scp_lock *lock) {
    lock->start = (int64_t)scp_parse_decimal(&text);
    text = next_word(text);
    if (!starts(text, "EOF"))
        lock->length = (int64_t)scp_parse_decimal(&text) - lock->start + 1;
}

// text stands behind "1: ". Returns false for what is no lock of ours (a delegation).
static bool parse_lock(const char *text, struct scp_lock *lock) {
    lock->kind = starts(text, "POSIX")    ? SCP_LOCK_POSIX
                 : starts(text, "OFDLCK") ? SCP_LOCK_OPEN_FILE
                 : starts(text, "FLOCK")  ? SCP_LOCK_FLOCK
                 : starts(text, "LEASE")  ? SCP_LOCK_LEASE
                                          : 0;
    text = next_word(next_word(text)); // ADVISORY, ACTIVE, BREAKING
    bool write = starts(text, "WRITE"), unlock = starts(text, "UNLCK");
    lock->type = lock->kind == SCP_LOCK_FLOCK ? (write ? LOCK_EX : LOCK_SH) : (write ? F_WRLCK : F_RDLCK);
    parse_range(next_word(next_word(next_word(text))), lock); // type, pid, device:inode
    return lock->kind != 0 && !unlock;
}

static bool known_already(struct scp_descriptor_work *work, const struct scp_lock *lock) {
    const struct scp_object *object = scp_object_at(work, lock->object);
    for (size_t i = 0; i < work->checkpoint->locks.count; i++) {
        struct scp_lock *other = scp_vector_at(&work->checkpoint->locks, i);
        const struct scp_object *file = scp_object_at(work, other->object);
        if (other->kind == lock->kind && other->start == lock->start && other->length == lock->length &&
            file->device == object->device && file->inode == object->inode)
            return true;
    }
    return false;
}

// A lock for writing needs a descriptor that can write, one for reading one that can read.
static bool can_hold(const struct scp_object *object, const struct scp_lock *lock) {
    uint32_t access = object->status & O_ACCMODE;
    return lock->type == F_WRLCK ? access != O_RDONLY : access != O_WRONLY;
}

static int add_deed(struct scp_descriptor_work *work, const struct scp_lock *lock) {
    enum scp_deed_kind kind = lock->kind == SCP_LOCK_POSIX ? SCP_DEED_POSIX_LOCK : SCP_DEED_LEASE;
    struct scp_deed *deed = scp_deed_add(work, kind, lock->number);
    if (deed == NULL)
        return -ENOSPC;
    deed->type = lock->type;
    deed->start = lock->start;
    deed->length = lock->length;
    return 0;
}

static int add_lock(struct scp_descriptor_work *work, struct scp_source *source, const struct scp_lock *lock) {
    const struct scp_object *object = scp_object_at(work, source->object);
    bool own = lock->kind == SCP_LOCK_POSIX || lock->kind == SCP_LOCK_LEASE; // set again by the process itself
    if (lock->kind != SCP_LOCK_POSIX && (object->flags & SCP_OBJECT_BORROWED))
        return 0; // it belongs to the description
    if (lock->kind == SCP_LOCK_POSIX && (!can_hold(object, lock) || known_already(work, lock)))
        return 0;
    if (own && source->entry->in_flight)
        return scp_refuse(work, source->object, ENOTSUP,
                          "holds a record lock or lease while it is in a socket's queue");
    struct scp_lock *kept = scp_vector_add(&work->checkpoint->locks);
    if (kept == NULL)
        return scp_fail(work->checkpoint, ENOMEM, "no memory for the list of file locks", NULL);
    *kept = *lock;
    return own ? add_deed(work, lock) : 0;
}

int scp_examine_locks(struct scp_descriptor_work *work, struct scp_source *source) {
    for (const char *line = work->fdinfo.base; line != NULL && *line != '\0';) {
        const char *next = strchr(line, '\n');
        if (starts(line, "lock:")) {
            struct scp_lock lock = {.object = source->object, .number = source->entry->number};
            line += 5;
            while (*line == ' ' || *line == '\t')
                line++;
            if (parse_lock(next_word(line), &lock)) {
                int result = add_lock(work, source, &lock);
                if (result != 0)
                    return result;
            }
        }
        line = next == NULL ? NULL : next + 1;
    }
    return 0;
}
