// The program's descriptors at a checkpoint, as a whole: prepare, list them (descriptors_numbers.c), examine each open file
// description, finish. The families (descriptors_*.c) fill one scp_object each; what needs to know all objects (ends of
// pipes, peers, epoll sets) comes last.
#include "descriptors.h"

#include <linux/kcmp.h>
#include <sys/wait.h>

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

static struct {
    uint32_t owner; // the checkpoint thread that opened them; another one (child, restart) has none
    int pidfd, scratch[2];
} prepared = {0, -1, {-1, -1}};

// ---- small things --------------------------------------------------------------------------------------------------------

struct scp_object *scp_object_at(const struct scp_descriptor_work *work, uint32_t object) {
    return scp_vector_at(&work->checkpoint->objects, object);
}

int scp_object_keep(struct scp_descriptor_work *work, uint32_t object, int64_t blob) {
    if (blob < 0)
        return scp_refuse(work, object, (int)-blob, "could not be copied to the image");
    struct scp_object *record = scp_object_at(work, object);
    record->blob = (uint32_t)blob;
    record->flags |= SCP_OBJECT_HAS_CONTENT;
    return 0;
}

const char *scp_string_at(const struct scp_checkpoint *checkpoint, uint32_t offset) {
    return offset < checkpoint->strings.count ? (const char *)checkpoint->strings.base + offset : "";
}

void scp_descriptor_path(char out[64], uint32_t tid, const char *folder, int number) {
    char task[24] = "", digits[24] = "";
    task[scp_decimal(task, tid)] = '\0';
    digits[scp_decimal(digits, (uint64_t)number)] = '\0';
    scp_concat(out, 64, "/proc/self/task/", task, folder, digits, NULL);
}

// An entry's file in fd/ or fdinfo/ of its table: from the open folder, which saves the way there.
struct place {
    int folder;
    char path[64];
};

static struct place place_of(const struct scp_descriptor_work *work, const struct scp_entry *entry, bool information) {
    struct place place = {information ? work->information : work->links, ""};
    if (entry->in_flight) {
        place.folder = AT_FDCWD;
        scp_descriptor_path(place.path, work->own, information ? "/fdinfo/" : "/fd/", entry->number);
    } else {
        place.path[scp_decimal(place.path, (uint64_t)entry->number)] = '\0';
    }
    return place;
}

static long read_link(const struct scp_descriptor_work *work, const struct scp_entry *entry, char *out, size_t size) {
    struct place place = place_of(work, entry, false);
    long length = scp_call(SYS_readlinkat, place.folder, place.path, out, size - 1);
    out[length > 0 ? length : 0] = '\0';
    return length;
}

int scp_object_borrow(struct scp_descriptor_work *work, uint32_t object) {
    struct scp_entry *entry = scp_entry_of(work, object);
    if (entry->in_flight)
        return entry->number;
    return (int)scp_call(SYS_pidfd_getfd, work->pidfd, entry->number, 0);
}

void scp_object_return(struct scp_descriptor_work *work, uint32_t object, int descriptor) {
    if (!scp_entry_of(work, object)->in_flight)
        scp_call(SYS_close, descriptor);
}

int scp_descriptor_reopen(struct scp_descriptor_work *work, int descriptor, int flags) {
    char path[64];
    scp_descriptor_path(path, work->own, "/fd/", descriptor);
    return (int)scp_call(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
}

int scp_refuse(struct scp_descriptor_work *work, uint32_t object, int error, const char *what) {
    struct scp_entry *entry = scp_entry_of(work, object);
    char link[256], digits[24] = "";
    read_link(work, entry, link, sizeof link);
    digits[scp_decimal(digits, (uint64_t)entry->number)] = '\0';
    const char *name = entry->in_flight ? "a descriptor that stands in a socket's queue" : "descriptor ";
    return scp_fail(work->checkpoint, error, name, entry->in_flight ? "" : digits, " (", link, ") ", what, NULL);
}

int scp_fdinfo_read(struct scp_descriptor_work *work, const struct scp_source *source) {
    struct place place = place_of(work, source->entry, true);
    int result = scp_read_file_at(place.folder, place.path, &work->fdinfo);
    return result < 0 ? scp_refuse(work, source->object, -result, "cannot be read in /proc (fdinfo)") : 0;
}

const char *scp_fdinfo_find(const struct scp_descriptor_work *work, const char *name) {
    size_t length = strlen(name);
    const char *text = work->fdinfo.base;
    while (*text != '\0') {
        if (strncmp(text, name, length) == 0 && text[length] == ':') {
            text += length + 1;
            while (*text == ' ' || *text == '\t')
                text++;
            return text;
        }
        text = strchr(text, '\n');
        if (text == NULL)
            return NULL;
        text++;
    }
    return NULL;
}

static void sift(const struct scp_descriptor_work *work, uint32_t *v, size_t root, size_t end, scp_order *compare) {
    for (size_t child; (child = 2 * root + 1) < end; root = child) {
        if (child + 1 < end && compare(work, v[child], v[child + 1]) < 0)
            child++;
        if (compare(work, v[root], v[child]) >= 0)
            return;
        uint32_t held = v[root];
        v[root] = v[child];
        v[child] = held;
    }
}

void scp_sort(const struct scp_descriptor_work *work, uint32_t *indices, size_t count, scp_order *compare) {
    for (size_t i = count / 2; i-- > 0;)
        sift(work, indices, i, count, compare);
    for (size_t end = count; end-- > 1;) {
        uint32_t held = indices[0];
        indices[0] = indices[end];
        indices[end] = held;
        sift(work, indices, 0, end, compare);
    }
}

// ---- what each is ------------------------------------------------------------------------------------------------------------------

static int examine_kind(struct scp_descriptor_work *work, struct scp_source *source) {
    struct scp_object *object = scp_object_at(work, source->object);
    if (object->status & O_PATH)
        return scp_examine_path(work, source);
    if (strncmp(work->link, "anon_inode:", 11) == 0 || strncmp(work->link, "pidfd:", 6) == 0)
        return scp_examine_anonymous(work, source);
    switch (object->mode & S_IFMT) {
    case S_IFREG:
        if (strncmp(work->link, "/memfd:", 7) == 0 && source->entry->links == 0)
            return scp_examine_memfd(work, source);
        return scp_examine_file(work, source);
    case S_IFDIR:
        return scp_examine_directory(work, source);
    case S_IFCHR:
        return scp_examine_character(work, source);
    case S_IFIFO:
        return scp_examine_pipe(work, source);
    case S_IFSOCK:
        return scp_examine_socket(work, source);
    case S_IFBLK:
        return scp_refuse(work, source->object, ENOTSUP, "is a block device, which cannot be saved");
    }
    return scp_refuse(work, source->object, ENOTSUP, "is of a kind that SwiftCP does not know");
}

// The program's descriptor that the object is looked at through; NULL when it stands in a queue.
static struct scp_descriptor *first_descriptor(const struct scp_descriptor_work *work,
                                               const struct scp_source *source) {
    uint32_t first = *(uint32_t *)scp_vector_at(&work->first, source->object);
    return source->entry->in_flight ? NULL : scp_vector_at(&work->checkpoint->descriptors, first);
}

static void examine_flags(struct scp_descriptor_work *work, const struct scp_source *source) {
    struct scp_object *object = scp_object_at(work, source->object);
    const char *position = scp_fdinfo_find(work, "pos");
    uint32_t flags = scp_fdinfo_flags(work);
    struct scp_descriptor *descriptor = first_descriptor(work, source);
    if (descriptor != NULL)
        descriptor->close_on_exec = scp_close_on_exec(source->entry, flags);
    object->status = flags & ~(uint32_t)O_CLOEXEC;
    if (position != NULL)
        object->position = (int64_t)scp_parse_decimal(&position);
}

// Who gets SIGIO, and which signal. O_PATH has no such state (EBADF).
static int examine_owner(struct scp_descriptor_work *work, struct scp_source *source) {
    struct scp_object *object = scp_object_at(work, source->object);
    struct f_owner_ex owner = {0, 0};
    if (scp_call(SYS_fcntl, source->descriptor, F_GETOWN_EX, &owner) == 0) {
        object->owner = owner.pid;
        object->owner_type = (int32_t)owner.type;
    }
    long signal = scp_call(SYS_fcntl, source->descriptor, F_GETSIG);
    object->signal = signal > 0 ? (int32_t)signal : 0;
    if (source->entry->in_flight || (object->flags & SCP_OBJECT_BORROWED)) // else set again by the process itself
        return 0;
    if (object->owner != 0) {
        struct scp_deed *deed = scp_deed_add(work, SCP_DEED_OWNER, source->entry->number);
        if (deed == NULL)
            return -ENOSPC;
        deed->type = object->owner_type;
        deed->mask = (uint32_t)object->owner;
        // The process, or its group, may have another number after a restart.
        if (object->owner_type != F_OWNER_PGRP && object->owner == (int32_t)scp_call(SYS_getpid))
            deed->start = SCP_OWNER_PROCESS;
        if (object->owner_type == F_OWNER_PGRP && object->owner == (int32_t)scp_call(SYS_getpgid, 0))
            deed->start = SCP_OWNER_GROUP;
    }
    if ((object->status & O_ASYNC) && scp_deed_add(work, SCP_DEED_ASYNC, source->entry->number) == NULL)
        return -ENOSPC;
    return 0;
}

// Which standard streams of the launch the file is, as SCP_STREAM_VALUE.
static uint64_t stream_bits(const struct scp_object *object) {
    uint64_t bits = 0;
    bool can_be = S_ISREG(object->mode) || S_ISFIFO(object->mode) || S_ISSOCK(object->mode);
    for (size_t i = 0; can_be && i < 3; i++)
        if (object->inode != 0 && scp_settings.streams[2 * i] == object->device &&
            scp_settings.streams[2 * i + 1] == object->inode)
            bits |= 1u << i;
    return bits;
}

bool scp_is_standard_stream(const struct scp_descriptor_work *work, uint32_t object) {
    if (scp_stream_bits(scp_object_at(work, object)) != 0)
        return true;
    for (size_t i = 0; i < work->entries.count; i++) {
        const struct scp_entry *entry = scp_vector_at(&work->entries, i);
        if (entry->object == object && !entry->in_flight && entry->number <= 2)
            return true;
    }
    return false;
}

static int examine_source(struct scp_descriptor_work *work, struct scp_source *source) {
    struct scp_object *object = scp_object_at(work, source->object);
    struct scp_entry *entry = source->entry;
    object->mode = entry->mode;
    object->device = entry->device;
    object->inode = entry->inode;
    object->rdev = entry->rdev;
    object->size = entry->size;
    object->mtime = entry->mtime;
    object->value[SCP_STREAM_VALUE] = stream_bits(object);
    long length = read_link(work, entry, work->link, sizeof work->link);
    if (length < 0)
        return scp_refuse(work, source->object, (int)-length, "cannot be read in /proc");
    int result = scp_fdinfo_read(work, source);
    if (result != 0)
        return result;
    examine_flags(work, source);
    if (!(object->status & O_PATH) && (result = examine_owner(work, source)) != 0)
        return result;
    result = examine_kind(work, source);
    return result != 0 ? result : scp_examine_locks(work, source);
}

static int examine_object(struct scp_descriptor_work *work, uint32_t index) {
    if (scp_object_at(work, index)->flags & SCP_OBJECT_HELD)
        return 0;
    struct scp_entry entry =
        *scp_entry_of(work, index); // a copy: looking into queues adds entries, which may move them
    int descriptor = scp_object_borrow(work, index);
    if (descriptor < 0)
        return scp_refuse(work, index, -descriptor, "cannot be borrowed (pidfd_getfd)");
    struct scp_source source = {index, descriptor, &entry};
    int result = examine_source(work, &source);
    scp_object_return(work, index, descriptor);
    return result;
}

// A thread that called unshare(CLONE_FILES) has descriptors that nobody would see.
static int refuse_other_tables(struct scp_descriptor_work *work) {
    for (size_t i = 0; i < scp_slot_count(); i++) {
        uint32_t tid = scp_slot_at(i)->tid;
        if (tid == work->program || scp_call(SYS_kcmp, work->program, tid, KCMP_FILES, 0, 0) <= 0)
            continue;
        char digits[24] = "";
        digits[scp_decimal(digits, tid)] = '\0';
        return scp_fail(work->checkpoint, ENOTSUP, "thread ", digits,
                        " has a descriptor table of its own (unshare(CLONE_FILES)), which cannot be saved", NULL);
    }
    return 0;
}

// ---- the whole -----------------------------------------------------------------------------------------------------------------------

static void close_prepared(void) {
    if (prepared.owner == scp_checkpoint_tid()) {
        if (prepared.pidfd >= 0)
            scp_call(SYS_close, prepared.pidfd);
        if (prepared.scratch[0] >= 0) {
            scp_call(SYS_close, prepared.scratch[0]);
            scp_call(SYS_close, prepared.scratch[1]);
        }
    }
    prepared.owner = 0;
    prepared.pidfd = prepared.scratch[0] = prepared.scratch[1] = -1;
}

int scp_descriptors_prepare(struct scp_checkpoint *checkpoint) {
    close_prepared();
    int result = scp_message_queues_prepare(checkpoint);
    if (result < 0)
        return result;
    long pid = scp_call(SYS_getpid);
    long pidfd = scp_call(SYS_pidfd_open, pid, 0);
    if (pidfd < 0)
        return scp_fail(checkpoint, (int)-pidfd, "no pidfd of the process itself: Linux 5.6 or newer is needed", NULL);
    prepared.owner = scp_checkpoint_tid();
    prepared.pidfd = (int)pidfd;
    // A user who has used up the allowance for pipes gets none: pipes are then drained and refilled.
    if (scp_call(SYS_pipe2, prepared.scratch, O_CLOEXEC | O_NONBLOCK) < 0)
        prepared.scratch[0] = prepared.scratch[1] = -1;
    return 0;
}

static int open_folder(const struct scp_descriptor_work *work, const char *name) {
    char path[64], task[24] = "";
    task[scp_decimal(task, work->program)] = '\0';
    scp_concat(path, sizeof path, "/proc/self/task/", task, name, NULL);
    return (int)scp_call(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
}

static int open_folders(struct scp_descriptor_work *work) {
    work->links = open_folder(work, "/fd");
    work->information = work->links < 0 ? -1 : open_folder(work, "/fdinfo");
    int result = work->links < 0 ? work->links : work->information;
    if (result >= 0)
        return 0;
    return scp_fail(work->checkpoint, -result, "the program's descriptors cannot be listed in /proc", NULL);
}

static int open_work(struct scp_descriptor_work *work, struct scp_checkpoint *checkpoint) {
    work->checkpoint = checkpoint;
    work->pidfd = prepared.pidfd;
    work->program = scp_slot_at(0)->tid;
    work->own = scp_checkpoint_tid();
    work->scratch[0] = prepared.scratch[0];
    work->scratch[1] = prepared.scratch[1];
    work->spare_bytes = 0;
    work->diagnosis = work->links = work->information = -1;
    work->buffer = scp_scratch_map(SCP_COPY_BYTES);
    if (work->buffer == NULL || scp_vector_open(&work->entries, sizeof(struct scp_entry), 256) != 0 ||
        scp_vector_open(&work->first, sizeof(uint32_t), 1024) != 0 ||
        scp_vector_open(&work->order, sizeof(uint32_t), 1024) != 0 ||
        scp_vector_open(&work->fdinfo, 1, SCP_PAGE * 4) != 0)
        return scp_fail(checkpoint, ENOMEM, "no memory to look at the descriptors", NULL);
    return open_folders(work);
}

static void close_work(struct scp_descriptor_work *work) {
    for (uint32_t i = 0; i < work->entries.count; i++)
        if (scp_entry_at(work, i)->in_flight)
            scp_call(SYS_close, scp_entry_at(work, i)->number);
    const int open[] = {work->diagnosis, work->links, work->information};
    for (size_t i = 0; i < sizeof open / sizeof *open; i++)
        if (open[i] >= 0)
            scp_call(SYS_close, open[i]);
    if (work->members.base != NULL)
        scp_vector_close(&work->members);
    scp_vector_close(&work->entries);
    scp_vector_close(&work->first);
    scp_vector_close(&work->order);
    scp_vector_close(&work->fdinfo);
    scp_scratch_unmap(work->buffer);
    close_prepared();
}

static int examine_all(struct scp_descriptor_work *work) {
    int result = 0;
    // Sockets' queues may bring further objects while we go.
    for (uint32_t i = 0; result == 0 && i < work->checkpoint->objects.count; i++)
        result = examine_object(work, i);
    if (result == 0)
        result = scp_finish_pipes(work);
    if (result == 0)
        result = scp_finish_sockets(work);
    if (result == 0)
        result = scp_finish_epoll(work);
    return result;
}

int scp_descriptors_list_all(struct scp_checkpoint *checkpoint) {
    struct scp_descriptor_work *work = scp_scratch_map(sizeof *work);
    if (work == NULL)
        return scp_fail(checkpoint, ENOMEM, "no memory to look at the descriptors", NULL);
    checkpoint->descriptor_work = work;
    scp_deeds_clear();
    int result = open_work(work, checkpoint);
    if (result == 0)
        result = refuse_other_tables(work);
    return result == 0 ? scp_descriptors_list(work) : result;
}

bool scp_descriptors_describe(const struct scp_checkpoint *checkpoint, uint32_t object, struct scp_survey_entry *out) {
    const struct scp_descriptor_work *work = checkpoint->descriptor_work;
    const struct scp_entry *entry = scp_entry_of(work, object);
    if (scp_object_at(work, object)->status & O_PATH)
        return false;
    out->number = entry->number;
    out->device = entry->device;
    out->inode = entry->inode;
    return true;
}

void scp_descriptors_close(struct scp_checkpoint *checkpoint) {
    struct scp_descriptor_work *work = checkpoint->descriptor_work;
    if (work == NULL)
        return;
    checkpoint->descriptor_work = NULL;
    close_work(work);
    scp_scratch_unmap(work);
}

int scp_descriptors_examine(struct scp_checkpoint *checkpoint) {
    int result = checkpoint->descriptor_work == NULL ? scp_descriptors_list_all(checkpoint) : 0;
    if (result == 0)
        result = examine_all(checkpoint->descriptor_work);
    scp_descriptors_close(checkpoint);
    return result;
}
