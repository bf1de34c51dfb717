// inotify: watches with their numbers. fdinfo has number, inode, device and mask; the path is what wrap_inotify.c kept.
//   inotify wd:1 ino:2a sdev:800001 mask:2 ignored_mask:0 fhandle-bytes:8 …
// Events in its queue cannot be seen, and once read they cannot be given back.
#include "descriptors.h"

#include <sys/inotify.h>
#include <sys/ioctl.h>

struct target {
    uint64_t inode;
    uint32_t device; // kernel's own form: major << 20 | minor
};

static uint32_t kernel_device(uint64_t device) {
    uint32_t major = (uint32_t)((device >> 8 & 0xfff) | (device >> 32 & ~0xfffu));
    uint32_t minor = (uint32_t)((device & 0xff) | (device >> 12 & ~0xffu));
    return major << 20 | minor;
}

// Layered file systems (major 0) show another device to stat than to inotify: then the inode decides alone.
static bool matches(const char *path, int flags, const struct target *target) {
    struct stat status;
    return scp_call(SYS_newfstatat, AT_FDCWD, path, &status, flags) == 0 && status.st_ino == target->inode &&
           (kernel_device(status.st_dev) == target->device || kernel_device(status.st_dev) >> 20 == 0);
}

static bool is_target(const char *path, void *argument) {
    return matches(path, 0, argument) || matches(path, AT_SYMLINK_NOFOLLOW, argument);
}

static uint64_t number_after(const char *line, const char *name) {
    const char *at = strstr(line, name);
    if (at == NULL)
        return 0;
    at += strlen(name);
    return scp_parse_hex(&at);
}

static int add_watch(struct scp_descriptor_work *work, struct scp_source *source, const char *line, int32_t *highest) {
    const char *number = line + sizeof "inotify wd:" - 1;
    int32_t watch = (int32_t)scp_parse_hex(&number);
    struct target target = {number_after(line, " ino:"), (uint32_t)number_after(line, " sdev:")};
    const char *path = scp_inotify_path(watch, is_target, &target);
    if (path == NULL)
        return scp_refuse(
            work, source->object, ENOTSUP,
            "watches a file that has been renamed, or was added by a raw system call: its path is not known");
    struct scp_watch *kept = scp_vector_add(&work->checkpoint->watches);
    struct scp_deed *deed = scp_deed_add(work, SCP_DEED_WATCH, source->entry->number);
    if (kept == NULL || deed == NULL)
        return scp_fail(work->checkpoint, ENOMEM, "no memory for the list of inotify watches", NULL);
    kept->object = source->object;
    kept->target = watch;
    kept->events = (uint32_t)number_after(line, " mask:");
    if (!matches(path, 0, &target))
        kept->events |= IN_DONT_FOLLOW; // the symbolic link itself is watched; the kernel does not keep this flag
    kept->target_object = -1;
    kept->path = scp_string(&work->checkpoint->strings, path, strlen(path));
    deed->type = watch;
    deed->mask = kept->events;
    deed->start = (int64_t)(uintptr_t)path;
    *highest = watch > *highest ? watch : *highest;
    return 0;
}

int scp_examine_inotify(struct scp_descriptor_work *work, struct scp_source *source) {
    scp_object_at(work, source->object)->kind = SCP_OBJECT_INOTIFY;
    if (scp_object_at(work, source->object)->flags & SCP_OBJECT_BORROWED)
        return 0; // another process adds the watches again
    int waiting = 0, result = 0;
    int32_t highest = 0;
    scp_call(SYS_ioctl, source->descriptor, FIONREAD, &waiting);
    if (waiting > 0)
        return scp_refuse(
            work, source->object, EAGAIN,
            "is an inotify queue with unread events, which cannot be copied: try again when the program has read them");
    if (source->entry->in_flight)
        return scp_refuse(work, source->object, ENOTSUP, "is an inotify instance that nobody holds");
    for (const char *line = work->fdinfo.base; result == 0 && line != NULL && *line != '\0';) {
        if (strncmp(line, "inotify wd:", 11) == 0)
            result = add_watch(work, source, line, &highest);
        line = strchr(line, '\n');
        line = line == NULL ? NULL : line + 1;
    }
    if (result == 0 && highest > 0) {
        struct scp_deed *deed = scp_deed_add(work, SCP_DEED_NEXT_WATCH, source->entry->number);
        if (deed == NULL)
            return -ENOSPC;
        deed->type = highest + 1;
    }
    return result;
}
