// Which descriptor numbers the program has, and which of them share an open file description: kcmp(2) among those of equal
// device and inode tells.
#include "descriptors.h"

#include <linux/kcmp.h>

// ---- which numbers there are -----------------------------------------------------------------------------------------------

static int order_numbers(const struct scp_descriptor_work *work, uint32_t a, uint32_t b) {
    (void)work;
    return a < b ? -1 : a > b;
}

// Through a borrowed descriptor: a quarter of what the way through /proc takes.
static int fill_entry(const struct scp_descriptor_work *work, struct scp_entry *entry) {
    struct stat status;
    long descriptor = entry->number;
    if (!entry->in_flight)
        descriptor = scp_call(SYS_pidfd_getfd, work->pidfd, entry->number, 0);
    if (descriptor < 0)
        return (int)descriptor;
    long result = scp_call(SYS_fstat, descriptor, &status);
    if (result < 0) {
        if (!entry->in_flight)
            scp_call(SYS_close, descriptor);
        return (int)result;
    }
    entry->mode = status.st_mode;
    entry->device = status.st_dev;
    entry->inode = status.st_ino;
    entry->rdev = status.st_rdev;
    entry->links = status.st_nlink;
    entry->size = (uint64_t)status.st_size;
    entry->mtime = scp_ns_of(status.st_mtim);
    return entry->in_flight ? 0 : scp_message_queue_return(work, entry, (int)descriptor);
}

static int keep_number(void *argument, uint32_t number) {
    uint32_t *kept = scp_vector_add(argument);
    if (kept == NULL)
        return -ENOMEM;
    *kept = number;
    return 0;
}

static int list_numbers(struct scp_descriptor_work *work, struct scp_vector *numbers) {
    int result = scp_visit_numbers(work->links, keep_number, numbers);
    if (result == 0)
        scp_sort(work, numbers->base, numbers->count, order_numbers);
    return result;
}

static int list_entries(struct scp_descriptor_work *work) {
    struct scp_vector numbers;
    int result = scp_vector_open(&numbers, sizeof(uint32_t), 1024);
    if (result == 0)
        result = list_numbers(work, &numbers);
    for (size_t i = 0; result == 0 && i < numbers.count; i++) {
        struct scp_entry *entry = scp_vector_add(&work->entries);
        if (entry == NULL) {
            result = -ENOMEM;
            break;
        }
        entry->number = *(int32_t *)scp_vector_at(&numbers, i);
        result = fill_entry(work, entry);
    }
    scp_vector_close(&numbers);
    return result < 0 ? scp_fail(work->checkpoint, -result, "the program's descriptors cannot be listed in /proc", NULL)
                      : 0;
}

// ---- which of them are the same -----------------------------------------------------------------------------------------------

// Without kcmp (not built into the kernel, or filtered): an owner set on one shows on the other.
static bool same_owner_word(struct scp_descriptor_work *work, struct scp_entry *a, struct scp_entry *b) {
    long x = scp_call(SYS_pidfd_getfd, work->pidfd, a->number, 0);
    long y = scp_call(SYS_pidfd_getfd, work->pidfd, b->number, 0);
    struct f_owner_ex old = {0, 0}, mark = {F_OWNER_TID, (pid_t)work->own}, seen = {0, 0}, before = {0, 0};
    bool same = false;
    if (x >= 0 && y >= 0 && scp_call(SYS_fcntl, x, F_GETOWN_EX, &old) == 0 &&
        scp_call(SYS_fcntl, y, F_GETOWN_EX, &before) == 0 && scp_call(SYS_fcntl, x, F_SETOWN_EX, &mark) == 0) {
        scp_call(SYS_fcntl, y, F_GETOWN_EX, &seen);
        same = seen.type == mark.type && seen.pid == mark.pid;
        scp_call(SYS_fcntl, x, F_SETOWN_EX, &old);
    }
    if (x >= 0)
        scp_call(SYS_close, x);
    if (y >= 0)
        scp_call(SYS_close, y);
    return same;
}

static int compare_file(const struct scp_descriptor_work *work, const struct scp_entry *a, const struct scp_entry *b) {
    long order =
        scp_call(SYS_kcmp, scp_entry_table(work, a), scp_entry_table(work, b), KCMP_FILE, a->number, b->number);
    return order == 0 ? 0 : order == 1 ? -1 : order == 2 ? 1 : (int)order * 16;
}

static int order_entries(const struct scp_descriptor_work *work, uint32_t x, uint32_t y) {
    const struct scp_entry *a = scp_entry_at(work, x), *b = scp_entry_at(work, y);
    if (a->device != b->device)
        return a->device < b->device ? -1 : 1;
    if (a->inode != b->inode)
        return a->inode < b->inode ? -1 : 1;
    int order = x == y ? 0 : compare_file(work, a, b);
    return order == 1 || order == -1 ? order : x < y ? -1 : x > y;
}

static bool kcmp_works(const struct scp_descriptor_work *work) {
    return scp_call(SYS_kcmp, work->own, work->own, KCMP_FILE, work->pidfd, work->pidfd) == 0;
}

// Gives every entry the smallest index among those that share its description (kept in `object` for now).
static int group_entries(struct scp_descriptor_work *work) {
    size_t count = work->entries.count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t *slot = scp_vector_add(&work->order);
        if (slot == NULL)
            return -ENOMEM;
        *slot = i;
    }
    uint32_t *order = work->order.base;
    bool exact = kcmp_works(work);
    scp_sort(work, order, count, order_entries);
    for (size_t i = 0; i < count; i++) {
        struct scp_entry *entry = scp_entry_at(work, order[i]);
        entry->object = order[i];
        for (size_t back = i; back-- > 0;) {
            struct scp_entry *other = scp_entry_at(work, order[back]);
            if (other->device != entry->device || other->inode != entry->inode)
                break;
            if (exact ? compare_file(work, other, entry) == 0 : same_owner_word(work, other, entry)) {
                entry->object = other->object;
                break;
            }
            if (exact)
                break; // the order puts equal ones side by side
        }
    }
    return 0;
}

static int add_object(struct scp_descriptor_work *work, uint32_t entry) {
    struct scp_object *object = scp_vector_add(&work->checkpoint->objects);
    uint32_t *first = scp_vector_add(&work->first);
    if (object == NULL || first == NULL)
        return -ENOMEM;
    object->blob = SCP_NO_BLOB;
    *first = entry;
    return 0;
}

// Equal ones stand in `order` by index, so the group's smallest index is its first: objects come in order of number.
static int number_objects(struct scp_descriptor_work *work) {
    for (uint32_t i = 0; i < work->entries.count; i++) {
        struct scp_entry *entry = scp_entry_at(work, i);
        if (entry->object == i) {
            if (add_object(work, i) != 0)
                return -ENOMEM;
            entry->object = (uint32_t)work->checkpoint->objects.count - 1;
        } else {
            entry->object = scp_entry_at(work, entry->object)->object;
        }
    }
    return 0;
}

uint32_t scp_fdinfo_flags(const struct scp_descriptor_work *work) {
    const char *flags = scp_fdinfo_find(work, "flags");
    uint32_t value = 0;
    for (; flags != NULL && *flags >= '0' && *flags <= '7'; flags++)
        value = value << 3 | (uint32_t)(*flags - '0');
    return value;
}

static int64_t read_descriptor_flags(void *number) {
    return scp_call(SYS_fcntl, *(int32_t *)number, F_GETFD);
}

// Of a terminal that has been opened by TIOCGPTPEER with O_CLOEXEC, or a message queue, every copy seems to have it: its own
// process knows.
bool scp_close_on_exec(const struct scp_entry *entry, uint32_t flags) {
    int32_t number = entry->number;
    if (!(flags & O_CLOEXEC) || !(S_ISCHR(entry->mode) || entry->is_queue) || entry->in_flight)
        return flags & O_CLOEXEC;
    int64_t own = scp_on_thread(scp_slot_at(0), read_descriptor_flags, &number);
    return own < 0 || (own & FD_CLOEXEC);
}

// An object's first descriptor tells its flags when the object is examined: reading fdinfo is the dearest part.
static int list_descriptors(struct scp_descriptor_work *work) {
    for (uint32_t i = 0; i < work->entries.count; i++) {
        struct scp_entry *entry = scp_entry_at(work, i);
        struct scp_descriptor *descriptor = scp_vector_add(&work->checkpoint->descriptors);
        if (descriptor == NULL)
            return -ENOMEM;
        descriptor->number = entry->number;
        descriptor->object = entry->object;
        if (scp_entry_of(work, entry->object) == entry)
            continue;
        struct scp_source source = {entry->object, -1, entry};
        int result = scp_fdinfo_read(work, &source);
        if (result != 0)
            return result;
        descriptor->close_on_exec = scp_close_on_exec(entry, scp_fdinfo_flags(work));
        scp_object_at(work, entry->object)->status = scp_fdinfo_flags(work) & ~(uint32_t)O_CLOEXEC;
    }
    return 0;
}

int64_t scp_object_of_flight(struct scp_descriptor_work *work, int descriptor) {
    struct scp_entry entry = {.number = descriptor, .in_flight = 1};
    int result = fill_entry(work, &entry);
    if (result != 0)
        return result;
    for (uint32_t i = 0; i < work->entries.count; i++) {
        struct scp_entry *other = scp_entry_at(work, i);
        if (other->device != entry.device || other->inode != entry.inode || compare_file(work, other, &entry) != 0)
            continue;
        scp_call(SYS_close, descriptor);
        return other->object;
    }
    struct scp_entry *kept = scp_vector_add(&work->entries);
    if (kept == NULL || add_object(work, (uint32_t)work->entries.count - 1) != 0)
        return -ENOMEM;
    entry.object = (uint32_t)work->checkpoint->objects.count - 1;
    *kept = entry;
    scp_object_at(work, entry.object)->flags = SCP_OBJECT_IN_FLIGHT;
    scp_find_holder(work, kept);
    return entry.object;
}

int scp_descriptors_list(struct scp_descriptor_work *work) {
    int result = list_entries(work);
    if (result == 0 && (group_entries(work) != 0 || number_objects(work) != 0))
        result = scp_fail(work->checkpoint, ENOMEM, "no memory for the list of descriptors", NULL);
    return result == 0 ? list_descriptors(work) : result;
}
