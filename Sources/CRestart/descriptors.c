// Makes the open file descriptions of a set of images, in passes: objects, queues, what would have hindered these.
#include "descriptors_internal.h"

#include <stdarg.h>
#include <sys/resource.h>

// ---- messages and small things ---------------------------------------------------------------------------------------------

int crestart_fail(struct crestart_message *message, int error, const char *format, ...) {
    va_list list;
    va_start(list, format);
    int used = vsnprintf(message->text, sizeof message->text, format, list);
    va_end(list);
    if (error != 0 && used >= 0 && (size_t)used < sizeof message->text)
        snprintf(message->text + used, sizeof message->text - (size_t)used, ": %s", strerror(error));
    return error == 0 ? -EINVAL : -error;
}

void crestart_warn(struct crestart_descriptors *made, const char *format, ...) {
    size_t used = strlen(made->warnings), room = sizeof made->warnings - used;
    va_list list;
    va_start(list, format);
    int length = vsnprintf(made->warnings + used, room, format, list);
    va_end(list);
    if (length < 0 || (size_t)length + 2 > room)
        made->warnings[used] = '\0'; // whole sentences only
    else
        strcat(made->warnings, "\n");
}

const char *crestart_descriptors_warnings(const struct crestart_descriptors *made) {
    return made->warnings;
}

const char *crestart_descriptors_problem(const struct crestart_descriptors *made) {
    return made->own_message.text;
}

const char *crestart_string(const struct crestart_tables *tables, uint32_t offset) {
    return offset < tables->strings_length ? tables->strings + offset : "";
}

int32_t crestart_number(const struct crestart_tables *tables, uint32_t object) {
    int32_t lowest = -1;
    for (uint32_t i = 0; i < tables->descriptor_count; i++)
        if (tables->descriptors[i].object == object && (lowest < 0 || tables->descriptors[i].number < lowest))
            lowest = tables->descriptors[i].number;
    return lowest;
}

int crestart_stream(const struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    int lowest = made->lowest[object] <= 2 ? made->lowest[object] : -1;
    uint64_t bits = entry->kind == SCP_OBJECT_OUTSIDE ? scp_stream_bits(entry) : 0;
    uint64_t fitting = bits & ((entry->status & O_ACCMODE) == O_RDONLY   ? 1
                               : (entry->status & O_ACCMODE) == O_WRONLY ? 6
                                                                         : 7);
    if (fitting == 0 || (lowest >= 0 && (fitting >> lowest & 1)))
        return lowest;
    return __builtin_ctzll(fitting);
}

int64_t crestart_content_of(const struct crestart_tables *tables, uint32_t object) {
    const struct scp_object *entry = &tables->objects[object];
    if (entry->flags & SCP_OBJECT_HAS_CONTENT)
        return object;
    for (uint32_t i = 0; i < tables->object_count; i++) {
        const struct scp_object *other = &tables->objects[i];
        if ((other->flags & SCP_OBJECT_HAS_CONTENT) && other->kind == SCP_OBJECT_FILE && other->inode == entry->inode &&
            other->device == entry->device &&
            strcmp(crestart_string(tables, other->path), crestart_string(tables, entry->path)) == 0)
            return i;
    }
    return -1;
}

bool crestart_is_output(const struct crestart_tables *tables, uint32_t object) {
    if (tables->objects[object].kind == SCP_OBJECT_FILE && (tables->objects[object].value[SCP_STREAM_VALUE] & 6))
        return true;
    for (uint32_t m = 0; m < tables->member_count; m++) {
        const struct scp_descriptor *descriptors = tables->descriptors + tables->members[m].first_descriptor;
        // They come in ascending order.
        for (uint32_t i = 0; i < tables->members[m].descriptor_count && descriptors[i].number <= 2; i++)
            if (descriptors[i].object == object && descriptors[i].number > 0)
                return true;
    }
    return false;
}

const struct crestart_member *crestart_member_of(const struct crestart_tables *tables, uint32_t object) {
    return &tables->members[tables->object_members[object]];
}

const char *crestart_name(const struct crestart_tables *tables, uint32_t object) {
    static _Thread_local char text[512];
    const char *path = crestart_string(tables, tables->objects[object].path);
    int32_t number = crestart_number(tables, object);
    if (number < 0)
        snprintf(text, sizeof text, "a descriptor in a socket's queue%s%.400s", path[0] ? " " : "", path);
    else if (path[0] != '\0')
        snprintf(text, sizeof text, "descriptor %d (%.400s)", number, path);
    else
        snprintf(text, sizeof text, "descriptor %d", number);
    return text;
}

uint64_t crestart_blob_length(const struct crestart_tables *tables, uint32_t blob) {
    return blob < tables->blob_count ? tables->blobs[blob].length : 0;
}

int crestart_blob_read(const struct crestart_tables *tables, uint32_t blob, uint64_t offset, void *bytes,
                       size_t length) {
    if (blob >= tables->blob_count)
        return -EINVAL;
    const struct scp_blob *entry = &tables->blobs[blob];
    int image = tables->members[tables->blob_members[blob]].image;
    if (offset > entry->length || length > entry->length - offset)
        return -EINVAL;
    for (size_t done = 0; done < length;) {
        ssize_t got = pread(image, (char *)bytes + done, length - done, (off_t)(entry->offset + offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : -EIO;
        done += (size_t)got;
    }
    return 0;
}

int crestart_reopen(int descriptor, int flags) {
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    int result = open(path, flags | O_CLOEXEC | O_NOCTTY);
    return result < 0 ? -errno : result;
}

int crestart_open_flags(const struct scp_object *object) {
    const int taken = O_ACCMODE | O_APPEND | O_DIRECT | O_SYNC | O_DSYNC | O_NOATIME | O_NOFOLLOW | O_NONBLOCK | O_PATH;
    return ((int)object->status & taken) | O_CLOEXEC | O_NOCTTY;
}

int crestart_add_extra(struct crestart_descriptors *made, uint32_t object, int descriptor) {
    made->extras[made->extra_count++] = (struct crestart_extra){object, descriptor};
    return 0;
}

int crestart_map_path(const struct crestart_descriptor_options *options, const char *path, char *out, size_t size) {
    for (size_t i = 0; i < options->map_count; i++) {
        const char *from = options->maps[i].from;
        size_t length = strlen(from);
        while (length > 1 && from[length - 1] == '/')
            length--;
        if (strncmp(path, from, length) != 0 || (path[length] != '\0' && path[length] != '/'))
            continue;
        int used = snprintf(out, size, "%s%s", options->maps[i].to, path + length);
        return used < 0 || (size_t)used >= size ? -ENAMETOOLONG : 0;
    }
    int used = snprintf(out, size, "%s", path);
    return used < 0 || (size_t)used >= size ? -ENAMETOOLONG : 0;
}

// ---- makers ------------------------------------------------------------------------------------------------------------------

typedef int maker(struct crestart_descriptors *made, uint32_t object);

static maker *const makers[] = {
    [SCP_OBJECT_FILE] = crestart_make_file,
    [SCP_OBJECT_DIRECTORY] = crestart_make_directory,
    [SCP_OBJECT_DEVICE] = crestart_make_device,
    [SCP_OBJECT_TERMINAL] = crestart_make_terminal,
    [SCP_OBJECT_PIPE] = crestart_make_pipe,
    [SCP_OBJECT_FIFO] = crestart_make_pipe,
    [SCP_OBJECT_SOCKET_PAIR] = crestart_make_pair,
    [SCP_OBJECT_SOCKET] = crestart_make_socket,
    [SCP_OBJECT_EVENTFD] = crestart_make_eventfd,
    [SCP_OBJECT_EPOLL] = crestart_make_epoll,
    [SCP_OBJECT_TIMERFD] = crestart_make_timerfd,
    [SCP_OBJECT_SIGNALFD] = crestart_make_signalfd,
    [SCP_OBJECT_INOTIFY] = crestart_make_inotify,
    [SCP_OBJECT_MEMFD] = crestart_make_memfd,
    [SCP_OBJECT_PIDFD] = crestart_make_pidfd,
    [SCP_OBJECT_OUTSIDE] = crestart_make_outside,
    [SCP_OBJECT_PATH] = crestart_make_path,
    [SCP_OBJECT_TERMINAL_SLAVE] = crestart_make_slave,
    [SCP_OBJECT_MESSAGE_QUEUE] = crestart_make_message_queue_later,
};

static int make_object(struct crestart_descriptors *made, uint32_t object) {
    uint32_t kind = made->tables.objects[object].kind;
    if (made->working[object] >= 0)
        return 0; // came with its other end
    if (kind >= sizeof makers / sizeof makers[0] || makers[kind] == NULL)
        return crestart_fail(made->message, ENOTSUP, "%s is of kind %u, which this version cannot restore",
                             crestart_name(&made->tables, object), kind);
    return makers[kind](made, object);
}

static bool is_socket(const struct scp_object *object) {
    return object->kind == SCP_OBJECT_SOCKET || object->kind == SCP_OBJECT_SOCKET_PAIR ||
           (object->kind == SCP_OBJECT_OUTSIDE && S_ISSOCK(object->mode));
}

// Replaced descriptors (terminals, standard streams) are shared with others: their flags are not ours to set.
static bool is_borrowed(const struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    if (entry->kind == SCP_OBJECT_TERMINAL || entry->kind == SCP_OBJECT_PATH)
        return true;
    return entry->kind == SCP_OBJECT_OUTSIDE && crestart_stream(made, object) >= 0;
}

static int set_flags(struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    int descriptor = made->working[object];
    if (descriptor < 0 || is_borrowed(made, object))
        return 0;
    const int settable = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME;
    int flags = fcntl(descriptor, F_GETFL), wanted = (flags & ~settable) | ((int)entry->status & settable);
    if (flags != wanted && fcntl(descriptor, F_SETFL, wanted) != 0 &&
        fcntl(descriptor, F_SETFL, wanted & ~O_NOATIME) != 0)
        return crestart_fail(made->message, errno, "the flags of %s cannot be set",
                             crestart_name(&made->tables, object));
    if (entry->signal != 0)
        fcntl(descriptor, F_SETSIG, entry->signal);
    return 0;
}

static int close_extras(struct crestart_descriptors *made) {
    for (size_t i = 0; i < made->extra_count; i++)
        close(made->extras[i].descriptor);
    made->extra_count = 0;
    return 0;
}

// Above all numbers of the program, where the limit has room: nothing stands in the way of the processes then.
static void lift(struct crestart_descriptors *made) {
    for (uint32_t i = 0; i < made->tables.object_count; i++) {
        if (made->working[i] < 0 || made->working[i] > made->highest)
            continue;
        int lifted = fcntl(made->working[i], F_DUPFD_CLOEXEC, made->highest + 1);
        if (lifted < 0)
            return;
        close(made->working[i]);
        made->working[i] = lifted;
    }
}

static int make_passes(struct crestart_descriptors *made) {
    uint32_t count = made->tables.object_count;
    const struct scp_object *objects = made->tables.objects;
    int result = crestart_make_terminals(made);
    for (uint32_t i = 0; result == 0 && i < count; i++)
        result = make_object(made, i);
    for (uint32_t i = 0; result == 0 && i < count; i++)
        if (is_socket(&objects[i]) && !is_borrowed(made, i))
            result = crestart_fill_socket(made, i);
    if (result == 0)
        result = close_extras(made);
    for (uint32_t i = 0; result == 0 && i < count; i++)
        if (is_socket(&objects[i]) && !is_borrowed(made, i))
            result = crestart_finish_socket(made, i);
    for (uint32_t i = 0; result == 0 && i < count; i++)
        result = set_flags(made, i);
    for (size_t i = 0; result == 0 && i < made->inode_count; i++)
        fchmod(made->inodes[i].descriptor, made->inodes[i].mode);
    if (result == 0)
        result = crestart_set_locks(made);
    if (result == 0)
        lift(made);
    return result;
}

// ---- the whole -----------------------------------------------------------------------------------------------------------------

// Only bits that belong to the set itself are left of a one-shot entry that has fired: wake-up, one-shot, edge, exclusive.
static bool is_used_up(const struct scp_watch *watch) {
    const uint32_t private_bits = 1u << 28 | 1u << 29 | 1u << 30 | 1u << 31;
    return (watch->events & 1u << 30) && (watch->events & ~private_bits) == 0;
}

static void order_watches(struct crestart_descriptors *made) {
    const struct crestart_tables *tables = &made->tables;
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < tables->watch_count; i++)
            if (tables->objects[tables->watches[i].object].kind == SCP_OBJECT_EPOLL &&
                is_used_up(&tables->watches[i]) == (pass == 0))
                made->watch_order[made->watch_order_count++] = i;
}

static void list_numbers(struct crestart_descriptors *made) {
    made->highest = -1;
    for (uint32_t i = 0; i < made->tables.descriptor_count; i++) {
        const struct scp_descriptor *descriptor = &made->tables.descriptors[i];
        if (descriptor->number > made->highest)
            made->highest = descriptor->number;
        int32_t *lowest = &made->lowest[descriptor->object];
        if (*lowest < 0 || descriptor->number < *lowest)
            *lowest = descriptor->number;
    }
}

static struct crestart_descriptors *allocate(const struct crestart_tables *tables) {
    struct crestart_descriptors *made = calloc(1, sizeof *made);
    if (made == NULL)
        return NULL;
    size_t objects = (size_t)tables->object_count + 1;
    made->working = malloc(objects * sizeof *made->working);
    made->lowest = malloc(objects * sizeof *made->lowest);
    made->inodes = calloc(objects, sizeof *made->inodes);
    made->late = calloc(objects, sizeof *made->late);
    made->extras = calloc(objects, sizeof *made->extras);
    made->pipes = calloc(objects, sizeof *made->pipes);
    made->watch_order = calloc((size_t)tables->watch_count + 1, sizeof *made->watch_order);
    made->terminal_flags = calloc(objects, sizeof *made->terminal_flags);
    for (size_t i = 0; made->working != NULL && made->lowest != NULL && i < objects; i++)
        made->working[i] = made->lowest[i] = -1;
    if (made->working == NULL || made->lowest == NULL || made->inodes == NULL || made->late == NULL ||
        made->extras == NULL || made->pipes == NULL || made->watch_order == NULL || made->terminal_flags == NULL) {
        made->tables.object_count = 0; // nothing is open yet
        crestart_descriptors_release(made);
        return NULL;
    }
    return made;
}

static void raise_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int crestart_descriptors_make(const struct crestart_tables *tables, const struct crestart_descriptor_options *options,
                              struct crestart_descriptors **out, struct crestart_message *message) {
    *out = NULL;
    int result = crestart_validate(tables, message);
    if (result != 0)
        return result;
    struct crestart_descriptors *made = allocate(tables);
    if (made == NULL)
        return crestart_fail(message, ENOMEM, "no memory for %u descriptors", tables->descriptor_count);
    made->tables = *tables;
    made->options = *options;
    made->message = message;
    raise_limit();
    list_numbers(made);
    order_watches(made);
    crestart_list_pipes(made);
    result = make_passes(made);
    if (result != 0) {
        crestart_descriptors_release(made);
        return result;
    }
    *out = made;
    return 0;
}

int crestart_descriptors_find(const struct crestart_descriptors *made, uint64_t device, uint64_t inode) {
    for (size_t i = 0; i < made->inode_count; i++)
        if (made->inodes[i].device == device && made->inodes[i].inode == inode)
            return made->inodes[i].descriptor;
    return -1;
}

static void close_working(struct crestart_descriptors *made) {
    for (uint32_t i = 0; made->working != NULL && i < made->tables.object_count; i++) {
        if (made->working[i] >= 0)
            close(made->working[i]);
        made->working[i] = -1;
    }
}

static void forget_late(struct crestart_descriptors *made) {
    for (size_t i = 0; i < made->late_count; i++)
        free(made->late[i].path);
    made->late_count = 0;
}

void crestart_descriptors_let_go(struct crestart_descriptors *made) {
    if (made == NULL)
        return;
    crestart_seal_terminals(made);
    crestart_set_terminal(made); // not before: a restart that fails leaves the terminal as it is
    close_working(made);
    made->gone = true;
}

int crestart_descriptors_again(struct crestart_descriptors *made) {
    if (made == NULL)
        return 0;
    int result = 0;
    made->message = &made->own_message;
    if (made->gone) {
        forget_late(made);
        made->gone = false;
        result = make_passes(made);
    }
    if (result == 0)
        result = crestart_make_message_queues(made);
    if (result == 0)
        lift(made);
    return result;
}

void crestart_descriptors_release(struct crestart_descriptors *made) {
    if (made == NULL)
        return;
    close_working(made);
    for (size_t i = 0; i < made->inode_count; i++)
        close(made->inodes[i].descriptor);
    for (size_t i = 0; i < made->extra_count; i++)
        close(made->extras[i].descriptor);
    forget_late(made);
    free(made->working);
    free(made->lowest);
    free(made->inodes);
    free(made->late);
    free(made->extras);
    free(made->pipes);
    free(made->watch_order);
    free(made->terminal_flags);
    free(made);
}
