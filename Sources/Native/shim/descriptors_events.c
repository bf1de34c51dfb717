// eventfd, timerfd, signalfd, pidfd and epoll: all in fdinfo. Other anonymous inodes are refused by name.
#include "descriptors.h"

#include <linux/kcmp.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

static bool is_link(const struct scp_descriptor_work *work, const char *name) {
    return strcmp(work->link, name) == 0;
}

static uint64_t decimal_of(const struct scp_descriptor_work *work, const char *name, uint64_t otherwise) {
    const char *text = scp_fdinfo_find(work, name);
    return text == NULL ? otherwise : scp_parse_decimal(&text);
}

static uint64_t hexadecimal_of(const struct scp_descriptor_work *work, const char *name) {
    const char *text = scp_fdinfo_find(work, name);
    return text == NULL ? 0 : scp_parse_hex(&text);
}

// "eventfd-semaphore" came with Linux 5.11. Before, only reading would tell; libc's own semaphores do not use it.
static int examine_eventfd(struct scp_descriptor_work *work, struct scp_source *source) {
    struct scp_object *object = scp_object_at(work, source->object);
    object->kind = SCP_OBJECT_EVENTFD;
    object->value[0] = hexadecimal_of(work, "eventfd-count");
    object->value[1] = decimal_of(work, "eventfd-semaphore", 0);
    return 0;
}

static int64_t nanoseconds(const struct timespec *time) {
    return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

// timerfd_gettime first: it brings ticks of a periodic timer up to date, which the program cannot notice.
static int examine_timerfd(struct scp_descriptor_work *work, struct scp_source *source) {
    struct scp_object *object = scp_object_at(work, source->object);
    struct itimerspec times = {{0, 0}, {0, 0}};
    struct timespec now = {0, 0};
    long result = scp_call(SYS_timerfd_gettime, source->descriptor, &times);
    if (result == 0)
        result = scp_fdinfo_read(work, source);
    if (result != 0)
        return scp_refuse(work, source->object, (int)-result, "is a timer that does not tell its state");
    object->kind = SCP_OBJECT_TIMERFD;
    object->value[SCP_TIMERFD_CLOCK] = decimal_of(work, "clockid", 0);
    object->value[SCP_TIMERFD_TICKS] = decimal_of(work, "ticks", 0);
    const char *flags = scp_fdinfo_find(work, "settime flags");
    uint64_t value = 0;
    for (; flags != NULL && *flags >= '0' && *flags <= '7'; flags++)
        value = value << 3 | (uint64_t)(*flags - '0');
    object->value[SCP_TIMERFD_FLAGS] = value;
    object->value[SCP_TIMERFD_VALUE] = (uint64_t)nanoseconds(&times.it_value);
    object->value[SCP_TIMERFD_INTERVAL] = (uint64_t)nanoseconds(&times.it_interval);
    scp_call(SYS_clock_gettime, object->value[SCP_TIMERFD_CLOCK], &now);
    object->value[SCP_TIMERFD_NOW] = (uint64_t)nanoseconds(&now);
    return 0;
}

static int examine_signalfd(struct scp_descriptor_work *work, struct scp_source *source) {
    struct scp_object *object = scp_object_at(work, source->object);
    object->kind = SCP_OBJECT_SIGNALFD;
    object->value[0] = hexadecimal_of(work, "sigmask");
    return 0;
}

static int examine_pidfd(struct scp_descriptor_work *work, struct scp_source *source) {
    struct scp_object *object = scp_object_at(work, source->object);
    object->kind = SCP_OBJECT_PIDFD;
    object->value[0] = decimal_of(work, "Pid", 0);
    object->value[1] = object->status & O_NONBLOCK;
    bool own = object->value[0] == (uint64_t)scp_call(SYS_getpid);
    if (!own && (work->checkpoint->processes <= 1 || !scp_is_member(object->value[0], work->buffer)))
        return scp_refuse(
            work, source->object, ENOTSUP,
            "is a pidfd of a process that is no part of the computation, or has ended: it cannot be saved");
    return 0;
}

// ---- epoll -----------------------------------------------------------------------------------------------------------------

static int examine_epoll(struct scp_descriptor_work *work, struct scp_source *source) {
    scp_object_at(work, source->object)->kind = SCP_OBJECT_EPOLL;
    for (const char *line = work->fdinfo.base; line != NULL && *line != '\0';) {
        if (strncmp(line, "tfd:", 4) == 0) {
            struct scp_watch *watch = scp_vector_add(&work->checkpoint->watches);
            if (watch == NULL)
                return scp_fail(work->checkpoint, ENOMEM, "no memory for the entries of epoll sets", NULL);
            const char *at = line + 4, *events = strstr(line, "events:"), *data = strstr(line, "data:");
            while (*at == ' ' || *at == '\t')
                at++;
            watch->object = source->object;
            watch->target = (int32_t)scp_parse_decimal(&at);
            for (events += events ? 7 : 0; events != NULL && *events == ' ';)
                events++;
            watch->events = events == NULL ? 0 : (uint32_t)scp_parse_hex(&events);
            for (data += data ? 5 : 0; data != NULL && *data == ' ';)
                data++;
            watch->data = data == NULL ? 0 : scp_parse_hex(&data);
            watch->target_object = -1;
        }
        line = strchr(line, '\n');
        line = line == NULL ? NULL : line + 1;
    }
    return 0;
}

static const struct scp_entry *entry_of_number(const struct scp_descriptor_work *work, int32_t number) {
    size_t low = 0, high = work->checkpoint->descriptors.count; // the program's numbers come first, ascending
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct scp_entry *entry = scp_vector_at(&work->entries, middle);
        if (entry->number == number)
            return entry;
        if (entry->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

// Is the entry (set, watch->target, occurrence) the file of this descriptor?
static bool watches_entry(const struct scp_descriptor_work *work, int32_t set, const struct scp_watch *watch,
                          uint32_t occurrence, const struct scp_entry *entry) {
    struct kcmp_epoll_slot slot = {(uint32_t)set, (uint32_t)watch->target, occurrence};
    uint32_t table = entry->in_flight ? work->own : work->program;
    return scp_call(SYS_kcmp, table, work->program, KCMP_EPOLL_TFD, entry->number, &slot) == 0;
}

// Several entries may stand under one number, each for a file that has left it (but one). kcmp counts them in the order
// in which fdinfo lists them.
static uint32_t occurrence_of(const struct scp_descriptor_work *work, size_t index) {
    const struct scp_watch *watch = scp_vector_at(&work->checkpoint->watches, index);
    uint32_t occurrence = 0;
    for (size_t i = index; i-- > 0;) {
        const struct scp_watch *other = scp_vector_at(&work->checkpoint->watches, i);
        if (other->object != watch->object)
            break;
        occurrence += other->target == watch->target;
    }
    return occurrence;
}

// Does any number occur twice in the set whose first entry this is? A bitmap of numbers in the copy buffer tells.
static bool has_repeated_numbers(struct scp_descriptor_work *work, size_t index) {
    const struct scp_vector *watches = &work->checkpoint->watches;
    const struct scp_watch *first = scp_vector_at(watches, index), *watch = first;
    memset(work->buffer, 0, SCP_COPY_BYTES);
    for (; watch != NULL && watch->object == first->object; watch = scp_vector_at(watches, ++index)) {
        uint32_t byte = (uint32_t)watch->target / 8, bit = 1u << (uint32_t)watch->target % 8;
        if (byte >= SCP_COPY_BYTES || ((unsigned char)work->buffer[byte] & bit))
            return true;
        work->buffer[byte] = (char)((unsigned char)work->buffer[byte] | bit);
    }
    return false;
}

static int find_target(struct scp_descriptor_work *work, size_t index, uint32_t occurrence, int32_t set, bool exact) {
    struct scp_watch *watch = scp_vector_at(&work->checkpoint->watches, index);
    const struct scp_entry *usual = entry_of_number(work, watch->target);
    // Without kcmp an entry is taken for what stands under its number now.
    if (usual != NULL && (!exact || watches_entry(work, set, watch, occurrence, usual))) {
        watch->target_object = (int32_t)usual->object;
        return 0;
    }
    for (size_t i = 0; i < work->entries.count; i++) {
        const struct scp_entry *entry = scp_vector_at(&work->entries, i);
        if (exact && watches_entry(work, set, watch, occurrence, entry)) {
            watch->target_object = (int32_t)entry->object;
            return 0;
        }
    }
    if (work->checkpoint->processes > 1) // another process that has the set knows, or none: told at the restart
        return 0;
    return scp_refuse(work, watch->object, ENOTSUP,
                      "is an epoll set that watches a file which only another process still has open");
}

int scp_finish_epoll(struct scp_descriptor_work *work) {
    struct scp_vector *watches = &work->checkpoint->watches;
    bool exact = scp_call(SYS_kcmp, work->own, work->own, KCMP_FILE, work->pidfd, work->pidfd) == 0;
    uint32_t current = UINT32_MAX;
    bool repeated = false;
    for (size_t i = 0; i < watches->count; i++) {
        struct scp_watch *watch = scp_vector_at(watches, i);
        if (scp_object_at(work, watch->object)->kind != SCP_OBJECT_EPOLL)
            continue;
        const struct scp_entry *set =
            scp_vector_at(&work->entries, *(uint32_t *)scp_vector_at(&work->first, watch->object));
        if (set->in_flight)
            return scp_refuse(work, watch->object, ENOTSUP,
                              "is an epoll set in a socket's queue, which cannot be saved");
        if (watch->object != current) {
            current = watch->object;
            repeated = has_repeated_numbers(work, i);
        }
        int result = find_target(work, i, repeated ? occurrence_of(work, i) : 0, set->number, exact);
        if (result != 0)
            return result;
    }
    return 0;
}

// ---- dispatch -------------------------------------------------------------------------------------------------------------------

static const struct {
    const char *link;
    const char *what;
} refused[] = {
    {"anon_inode:[io_uring]", "is an io_uring instance, which cannot be saved: close it before the checkpoint"},
    {"anon_inode:[userfaultfd]", "is a userfaultfd, which cannot be saved: close it before the checkpoint"},
    {"anon_inode:[fanotify]", "is a fanotify group, which cannot be saved: close it before the checkpoint"},
    {"anon_inode:[perf_event]", "is a performance counter (perf_event_open), which cannot be saved: close it before"},
    {"anon_inode:bpf-map", "is a bpf map, which cannot be saved: close it before the checkpoint"},
    {"anon_inode:bpf-prog", "is a bpf program, which cannot be saved: close it before the checkpoint"},
    {"anon_inode:bpf_link", "is a bpf link, which cannot be saved: close it before the checkpoint"},
    {"anon_inode:seccomp notify", "is a seccomp listener, which cannot be saved"},
    {"anon_inode:[landlock-ruleset]", "is a landlock rule set, which cannot be saved: close it before the checkpoint"},
    {"anon_inode:kvm-vm", "is a virtual machine (kvm), which cannot be saved"},
};

int scp_examine_anonymous(struct scp_descriptor_work *work, struct scp_source *source) {
    if (is_link(work, "anon_inode:[eventfd]"))
        return examine_eventfd(work, source);
    if (is_link(work, "anon_inode:[eventpoll]"))
        return examine_epoll(work, source);
    if (is_link(work, "anon_inode:[timerfd]"))
        return examine_timerfd(work, source);
    if (is_link(work, "anon_inode:[signalfd]"))
        return examine_signalfd(work, source);
    if (is_link(work, "anon_inode:inotify"))
        return scp_examine_inotify(work, source);
    if (is_link(work, "anon_inode:[pidfd]") || strncmp(work->link, "pidfd:", 6) == 0)
        return examine_pidfd(work, source);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (is_link(work, refused[i].link))
            return scp_refuse(work, source->object, ENOTSUP, refused[i].what);
    return scp_refuse(work, source->object, ENOTSUP,
                      "is of a kind that SwiftCP does not know how to save: close it before the checkpoint");
}
