// Refuses early: everything that can be known to fail is found before anything is changed.
#include "descriptors_internal.h"

#include <sys/resource.h>
#include <sys/sysmacros.h>

// ---- the tables themselves ---------------------------------------------------------------------------------------------

static int damaged(struct crestart_message *message, const char *what, uint32_t index) {
    return crestart_fail(message, EBADMSG, "the image's %s %u is damaged", what, index);
}

static bool blob_fits(const struct crestart_tables *tables, uint32_t blob) {
    if (blob == SCP_NO_BLOB)
        return true;
    if (blob >= tables->blob_count)
        return false;
    const struct scp_blob *entry = &tables->blobs[blob];
    if (tables->blob_members[blob] >= tables->member_count)
        return false;
    uint64_t length = tables->members[tables->blob_members[blob]].image_length;
    return entry->offset <= length && entry->length <= length - entry->offset;
}

static bool object_fits(const struct crestart_tables *tables, const struct scp_object *object) {
    return object->path < tables->strings_length && object->socket < tables->strings_length &&
           blob_fits(tables, object->blob) &&
           (!(object->flags & SCP_OBJECT_HAS_CONTENT) || object->blob != SCP_NO_BLOB) && object->position >= 0;
}

static bool watch_fits(const struct crestart_tables *tables, const struct scp_watch *watch) {
    if (watch->object >= tables->object_count || watch->path >= tables->strings_length || watch->target < 0)
        return false;
    return tables->objects[watch->object].kind != SCP_OBJECT_EPOLL ||
           (watch->target_object >= 0 && (uint32_t)watch->target_object < tables->object_count);
}

static int validate_numbers(const struct crestart_tables *tables, const struct crestart_member *member,
                            struct crestart_message *message) {
    if (member->first_descriptor > tables->descriptor_count ||
        member->descriptor_count > tables->descriptor_count - member->first_descriptor)
        return damaged(message, "process", (uint32_t)(member - tables->members));
    const struct scp_descriptor *descriptors = tables->descriptors + member->first_descriptor;
    for (uint32_t i = 0; i < member->descriptor_count; i++)
        if (descriptors[i].object >= tables->object_count || descriptors[i].number < 0 ||
            (i > 0 && descriptors[i].number <= descriptors[i - 1].number))
            return damaged(message, "descriptor", i);
    for (uint32_t i = 0; i < member->object_count; i++)
        if (member->objects[i] >= tables->object_count)
            return damaged(message, "open file", i);
    return 0;
}

int crestart_validate(const struct crestart_tables *tables, struct crestart_message *message) {
    if (tables->strings_length == 0 || tables->strings[tables->strings_length - 1] != '\0')
        return crestart_fail(message, EBADMSG, "the image's strings are damaged");
    for (uint32_t i = 0; i < tables->object_count; i++)
        if (tables->object_members[i] >= tables->member_count || !object_fits(tables, &tables->objects[i]))
            return damaged(message, "open file", i);
    for (uint32_t i = 0; i < tables->member_count; i++) {
        int result = validate_numbers(tables, &tables->members[i], message);
        if (result != 0)
            return result;
    }
    for (uint32_t i = 0; i < tables->watch_count; i++)
        if (!watch_fits(tables, &tables->watches[i]))
            return damaged(message, "watch", i);
    for (uint32_t i = 0; i < tables->lock_count; i++)
        if (tables->locks[i].object >= tables->object_count)
            return damaged(message, "lock", i);
    return 0;
}

// ---- files ---------------------------------------------------------------------------------------------------------------

struct place {
    const struct crestart_tables *tables;
    const struct crestart_descriptor_options *options;
    struct crestart_message *message;
    uint32_t object;
    const struct scp_object *entry;
    char path[4096]; // after --map
};

static int access_wanted(const struct scp_object *entry) {
    uint32_t mode = entry->status & O_ACCMODE;
    return mode == O_RDONLY ? R_OK : mode == O_WRONLY ? W_OK : R_OK | W_OK;
}

static bool brings_content(const struct place *place, const struct stat *there) {
    int64_t content = crestart_content_of(place->tables, place->object);
    const struct scp_object *entry = content < 0 ? place->entry : &place->tables->objects[content];
    bool needed = !(entry->flags & SCP_OBJECT_WHEN_MISSING) || there == NULL || (uint64_t)there->st_size < entry->size;
    return (entry->flags & SCP_OBJECT_HAS_CONTENT) && needed;
}

// The folder, or the first one above it that is still there.
static int check_folder(const struct place *place) {
    char folder[4096];
    snprintf(folder, sizeof folder, "%s", place->path);
    do {
        char *slash = strrchr(folder, '/');
        if (slash != NULL)
            slash[slash == folder ? 1 : 0] = '\0';
        if (faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) == 0)
            return 0;
    } while (errno == ENOENT && strlen(folder) > 1);
    return crestart_fail(place->message, errno, "%s is to be made again, but not in its folder",
                         crestart_name(place->tables, place->object));
}

static bool appends_to_standard_stream(const struct crestart_tables *tables, uint32_t object) {
    return (tables->objects[object].status & O_APPEND) && crestart_is_output(tables, object);
}

static int check_file(const struct place *place) {
    const struct scp_object *entry = place->entry;
    struct stat status;
    if (entry->flags & SCP_OBJECT_DELETED)
        return 0; // comes from the image
    if ((entry->flags & SCP_OBJECT_PSEUDO) && strncmp(place->path, "/proc/", 6) == 0)
        return 0; // the process is not there yet
    const char *name = crestart_name(place->tables, place->object);
    if (stat(place->path, &status) != 0) {
        if (errno == ENOENT && brings_content(place, NULL))
            return check_folder(place);
        return crestart_fail(
            place->message, errno,
            "%s: the file %s cannot be found (if it has moved: --map OLD=NEW; for images that hold what "
            "is in open files: swiftcp_launch --ckpt-open-files)",
            name, place->path);
    }
    if (!S_ISREG(status.st_mode))
        return crestart_fail(place->message, EINVAL, "%s: %s is no regular file any more", name, place->path);
    if (faccessat(AT_FDCWD, place->path, access_wanted(entry), AT_EACCESS) != 0)
        return crestart_fail(place->message, errno, "%s: the file %s cannot be opened again", name, place->path);
    if (entry->flags & SCP_OBJECT_PSEUDO || appends_to_standard_stream(place->tables, place->object))
        return 0;
    if ((uint64_t)status.st_size < entry->size && !brings_content(place, &status))
        return crestart_fail(
            place->message, EINVAL,
            "%s: the file %s had %llu bytes at the checkpoint and has %llu now; what is missing is not in the image",
            name, place->path, (unsigned long long)entry->size, (unsigned long long)status.st_size);
    return 0;
}

static int check_named(const struct place *place, mode_t kind, const char *what) {
    struct stat status;
    if (place->entry->flags & SCP_OBJECT_DELETED)
        return 0;
    const char *name = crestart_name(place->tables, place->object);
    int result = kind == 0 ? lstat(place->path, &status) : stat(place->path, &status);
    if (result != 0 && errno == ENOENT && kind == S_IFIFO)
        return check_folder(place); // is made again
    if (result != 0)
        return crestart_fail(place->message, errno, "%s: %s cannot be found (if it has moved: --map OLD=NEW)", name,
                             place->path);
    if (kind != 0 && (status.st_mode & S_IFMT) != kind)
        return crestart_fail(place->message, EINVAL, "%s: %s is no %s any more", name, place->path, what);
    if (kind != 0 && faccessat(AT_FDCWD, place->path, access_wanted(place->entry), AT_EACCESS) != 0)
        return crestart_fail(place->message, errno, "%s: %s cannot be opened again", name, place->path);
    return 0;
}

static int check_terminal(const struct place *place) {
    if (place->options->terminal != CRESTART_TERMINAL_KEEP || place->entry->value[0] == 1)
        return 0;
    int result = check_named(place, S_IFCHR, "terminal");
    if (result != 0)
        return result;
    int descriptor = open(place->path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    bool terminal = descriptor >= 0 && isatty(descriptor);
    int error = descriptor < 0 ? errno : ENOTTY;
    if (descriptor >= 0)
        close(descriptor);
    return terminal ? 0
                    : crestart_fail(place->message, error,
                                    "%s cannot be kept (--tty current takes the terminal of this command)",
                                    crestart_name(place->tables, place->object));
}

static int check_master(const struct place *place) {
    const char *name = crestart_name(place->tables, place->object);
    if (!(place->entry->flags & SCP_OBJECT_HAS_CONTENT))
        return crestart_fail(place->message, EBADMSG, "%s: the image says nothing of the terminal", name);
    if (faccessat(AT_FDCWD, "/dev/ptmx", R_OK | W_OK, AT_EACCESS) == 0)
        return 0;
    return crestart_fail(place->message, errno, "%s: no pseudo-terminal can be made here (/dev/ptmx)", name);
}

static int check_object(const struct place *place) {
    switch (place->entry->kind) {
    case SCP_OBJECT_FILE:
        return check_file(place);
    case SCP_OBJECT_DIRECTORY:
        return check_named(place, S_IFDIR, "folder");
    case SCP_OBJECT_FIFO:
        return check_named(place, S_IFIFO, "named pipe");
    case SCP_OBJECT_PATH:
        return check_named(place, 0, "file");
    case SCP_OBJECT_TERMINAL:
        return check_terminal(place);
    case SCP_OBJECT_TERMINAL_MASTER:
        return check_master(place);
    }
    return 0;
}

static int check_limit(const struct crestart_tables *tables, struct crestart_message *message) {
    struct rlimit limit;
    int32_t highest = -1;
    for (uint32_t i = 0; i < tables->descriptor_count; i++)
        if (tables->descriptors[i].number > highest)
            highest = tables->descriptors[i].number;
    if (highest < 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    if ((rlim_t)highest < limit.rlim_max && tables->object_count + 64 < limit.rlim_max)
        return 0;
    return crestart_fail(
        message, EMFILE,
        "the program has %u open files and descriptors up to number %d, and the hard limit here is %llu (ulimit -Hn)",
        tables->object_count, highest, (unsigned long long)limit.rlim_max);
}

int crestart_descriptors_check(const struct crestart_tables *tables, const struct crestart_descriptor_options *options,
                               struct crestart_message *message) {
    int result = crestart_validate(tables, message);
    if (result == 0)
        result = check_limit(tables, message);
    for (uint32_t i = 0; result == 0 && i < tables->object_count; i++) {
        struct place place = {
            .tables = tables, .options = options, .message = message, .object = i, .entry = &tables->objects[i]};
        result = crestart_map_path(options, crestart_string(tables, place.entry->path), place.path, sizeof place.path);
        result = result != 0 ? crestart_fail(message, -result, "--map makes %s too long", crestart_name(tables, i))
                             : check_object(&place);
    }
    return result;
}
