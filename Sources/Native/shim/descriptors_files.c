// Regular files, directories, character devices, O_PATH descriptors and memfds.
//
// The link text of a descriptor lies (" (deleted)" may be part of a name, a path may have been taken over by another
// file), so a path counts only if stat(path) has the descriptor's device and inode. Otherwise the file's content travels in
// the image.
#include "descriptors.h"

#include <linux/major.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <termios.h>

#define DELETED_MARK " (deleted)"
#define GET_SEALS 1034 /* F_GET_SEALS */
#define SPARE_MAXIMUM (1u << 20) // bytes of one file
#define SPARE_TOTAL (8u << 20) // bytes of all of one process

// File systems whose files are made up by the kernel (linux/magic.h).
static const uint32_t pseudo_systems[] = {
    0x9fa0, // procfs
    0x62656572, // sysfs
    0x64626720, // debugfs
    0x74726163, // tracefs
    0x0027e0eb, // cgroup
    0x63677270, // cgroup2
    0x73636673, // securityfs
    0x62656570, // configfs
    0xf97cff8c, // selinuxfs
};
// Files that look regular and are something else.
static const struct {
    uint32_t magic;
    const char *what;
} special_systems[] = {
    {0x19800202, "is a POSIX message queue in a socket's queue: try again when it has been received"},
    {0x6e736673, "is a namespace file (setns), which cannot be saved"},
    {0x5345434d, "is secret memory (memfd_secret), which cannot be saved"},
    {0x444d4142, "is a DMA buffer, which cannot be saved"},
};

static void set_path(struct scp_descriptor_work *work, struct scp_object *object, size_t length) {
    object->path = scp_string(&work->checkpoint->strings, work->link, length);
}

// Does the link text name this very file?
static bool path_is_file(const struct scp_descriptor_work *work, const struct scp_object *object, int flags) {
    struct stat status;
    return work->link[0] == '/' && scp_call(SYS_newfstatat, AT_FDCWD, work->link, &status, flags) == 0 &&
           status.st_dev == object->device && status.st_ino == object->inode;
}

static size_t length_without_mark(const char *link) {
    size_t length = strlen(link), mark = sizeof DELETED_MARK - 1;
    return length > mark && strcmp(link + length - mark, DELETED_MARK) == 0 ? length - mark : length;
}

// ---- content ---------------------------------------------------------------------------------------------------------------

static int copy_bytes(struct scp_descriptor_work *work, int descriptor, uint64_t size) {
    struct scp_checkpoint *checkpoint = work->checkpoint;
    for (uint64_t done = 0; done < size;) {
        uint64_t wanted = size - done < SCP_COPY_BYTES ? size - done : SCP_COPY_BYTES;
        long got = scp_call(SYS_pread64, descriptor, work->buffer, wanted, done);
        if (got == -EINTR)
            continue;
        if (got < 0)
            return (int)got;
        if (got == 0)
            break; // cut short by somebody else meanwhile; the blob's length says how much there is
        int result = scp_blob_append(checkpoint, work->buffer, (size_t)got);
        if (result < 0)
            return result;
        done += (uint64_t)got;
    }
    return 0;
}

// A readable description of a file that the program can only write. A lease would be broken by opening it.
static int open_readable(struct scp_descriptor_work *work, struct scp_source *source, bool *opened) {
    struct scp_object *object = scp_object_at(work, source->object);
    *opened = false;
    if ((object->status & O_ACCMODE) != O_WRONLY)
        return source->descriptor;
    if (strstr(work->fdinfo.base, "LEASE") != NULL)
        return -EWOULDBLOCK;
    int result = scp_descriptor_reopen(work, source->descriptor, O_RDONLY);
    if (result == -EACCES && scp_call(SYS_fchmod, source->descriptor, (object->mode & 07777) | S_IRUSR) == 0) {
        result = scp_descriptor_reopen(work, source->descriptor, O_RDONLY);
        scp_call(SYS_fchmod, source->descriptor, object->mode & 07777);
    }
    *opened = result >= 0;
    return result;
}

int scp_take_content(struct scp_descriptor_work *work, struct scp_source *source, uint64_t size) {
    if (scp_object_at(work, source->object)->flags & SCP_OBJECT_BORROWED)
        return 0;
    bool opened;
    int descriptor = open_readable(work, source, &opened);
    if (descriptor < 0)
        return scp_refuse(work, source->object, -descriptor, "is to travel in the image, but cannot be read");
    int64_t blob = scp_blob_begin(work->checkpoint);
    int result = blob < 0 ? (int)blob : copy_bytes(work, descriptor, size);
    if (result == 0)
        blob = scp_blob_end(work->checkpoint);
    if (opened)
        scp_call(SYS_close, descriptor);
    return scp_object_keep(work, source->object, result < 0 ? result : blob);
}

// ---- regular files -----------------------------------------------------------------------------------------------------------

static int examine_system(struct scp_descriptor_work *work, struct scp_source *source) {
    struct statfs system;
    if (scp_call(SYS_fstatfs, source->descriptor, &system) < 0)
        return 0;
    for (size_t i = 0; i < sizeof pseudo_systems / sizeof pseudo_systems[0]; i++)
        if ((uint32_t)system.f_type == pseudo_systems[i])
            scp_object_at(work, source->object)->flags |= SCP_OBJECT_PSEUDO;
    for (size_t i = 0; i < sizeof special_systems / sizeof special_systems[0]; i++)
        if ((uint32_t)system.f_type == special_systems[i].magic)
            return scp_refuse(work, source->object, ENOTSUP, special_systems[i].what);
    return 0;
}

static bool is_in(const char *path, const char *folder) {
    size_t length = strlen(folder);
    while (length > 1 && folder[length - 1] == '/')
        length--;
    return length > 1 && strncmp(path, folder, length) == 0 && path[length] == '/' &&
           strchr(path + length + 1, '/') == NULL;
}

// Is the path that of a file directly in a folder for temporary ones?
static bool is_temporary(const char *path) {
    static const char *const folders[] = {"/tmp", "/var/tmp", "/dev/shm", scp_settings.temporary_folder};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
        if (is_in(path, folders[i]))
            return true;
    return false;
}

// Programs remove their temporary files as soon as they like; and what they write, they often write under another name, which
// is renamed when all is there. So a small file of these two kinds travels in the image, for a restart that does not find it.
// Not where the program has watches: it would be told that the file was read.
static bool may_go(const struct scp_descriptor_work *work, const struct scp_object *object) {
    bool writes = (object->status & O_ACCMODE) != O_RDONLY;
    return object->size <= SPARE_MAXIMUM && object->size <= SPARE_TOTAL - work->spare_bytes &&
           (writes || is_temporary(work->link)) && !(object->status & O_DIRECT) &&
           !(object->flags & SCP_OBJECT_BORROWED) && !scp_inotify_is_used() &&
           strstr(work->fdinfo.base, "LEASE") == NULL;
}

// What cannot be read is not taken along: the file itself is there, most probably.
static int take_spare(struct scp_descriptor_work *work, struct scp_source *source) {
    struct scp_object *object = scp_object_at(work, source->object);
    bool opened = false;
    int descriptor = (object->status & O_ACCMODE) == O_WRONLY
                         ? scp_descriptor_reopen(work, source->descriptor, O_RDONLY)
                         : source->descriptor;
    if (descriptor < 0)
        return 0;
    opened = descriptor != source->descriptor;
    int64_t blob = scp_blob_begin(work->checkpoint);
    int result = blob < 0 ? (int)blob : copy_bytes(work, descriptor, object->size);
    if (blob >= 0 && (blob = scp_blob_end(work->checkpoint)) >= 0 && result == 0) {
        object->blob = (uint32_t)blob;
        object->flags |= SCP_OBJECT_HAS_CONTENT | SCP_OBJECT_WHEN_MISSING;
        work->spare_bytes += object->size;
    }
    if (opened)
        scp_call(SYS_close, descriptor);
    return blob < 0 ? (int)blob : 0;
}

int scp_examine_file(struct scp_descriptor_work *work, struct scp_source *source) {
    struct scp_object *object = scp_object_at(work, source->object);
    if (source->entry->is_queue)
        return scp_examine_message_queue(work, source);
    object->kind = SCP_OBJECT_FILE;
    int result = examine_system(work, source);
    if (result != 0)
        return result;
    if (object->flags & SCP_OBJECT_PSEUDO) {
        set_path(work, object, strlen(work->link));
        if (strncmp(work->link, "/proc/", 6) == 0 && scp_call(SYS_faccessat, AT_FDCWD, work->link, F_OK) == -ENOENT)
            object->flags |= SCP_OBJECT_DELETED; // of a process that has ended
        return 0;
    }
    bool named = path_is_file(work, object, 0);
    set_path(work, object, named ? strlen(work->link) : length_without_mark(work->link));
    if (!named)
        object->flags |= SCP_OBJECT_DELETED | (source->entry->links > 0 ? SCP_OBJECT_LINKED_ELSEWHERE : 0);
    if (!named || (work->checkpoint->order->flags & SCP_CHECKPOINT_OPEN_FILES))
        return scp_take_content(work, source, object->size);
    return may_go(work, object) ? take_spare(work, source) : 0;
}

int scp_examine_directory(struct scp_descriptor_work *work, struct scp_source *source) {
    struct scp_object *object = scp_object_at(work, source->object);
    object->kind = SCP_OBJECT_DIRECTORY;
    if (object->signal != 0) // F_NOTIFY can be set, and not be read back
        return scp_refuse(work, source->object, ENOTSUP, "is a directory watched by F_NOTIFY, which cannot be saved");
    bool named = path_is_file(work, object, 0);
    set_path(work, object, named ? strlen(work->link) : length_without_mark(work->link));
    if (!named)
        object->flags |= SCP_OBJECT_DELETED;
    return 0;
}

int scp_examine_path(struct scp_descriptor_work *work, struct scp_source *source) {
    struct scp_object *object = scp_object_at(work, source->object);
    object->kind = SCP_OBJECT_PATH;
    if (!path_is_file(work, object, AT_SYMLINK_NOFOLLOW))
        return scp_refuse(work, source->object, ENOTSUP,
                          "was opened with O_PATH and its file has no name any more: it cannot be saved");
    set_path(work, object, strlen(work->link));
    return 0;
}

// ---- memfd ---------------------------------------------------------------------------------------------------------------------

// Seals against writing come after the region is mapped and filled; a descriptor that cannot write cannot seal.
#define LATE_SEALS (1u | 8u | 16u) /* F_SEAL_SEAL, F_SEAL_WRITE, F_SEAL_FUTURE_WRITE */

int scp_examine_memfd(struct scp_descriptor_work *work, struct scp_source *source) {
    struct scp_object *object = scp_object_at(work, source->object);
    struct stat status;
    object->kind = SCP_OBJECT_MEMFD;
    size_t prefix = sizeof "/memfd:" - 1;
    object->path =
        scp_string(&work->checkpoint->strings, work->link + prefix, length_without_mark(work->link) - prefix);
    long seals = scp_call(SYS_fcntl, source->descriptor, GET_SEALS);
    if (seals < 0)
        return scp_refuse(work, source->object, (int)-seals, "does not tell its seals");
    object->value[0] = (uint64_t)seals;
    if (scp_call(SYS_fstat, source->descriptor, &status) == 0 && status.st_blksize > SCP_PAGE)
        object->value[1] = 4u | (uint64_t)__builtin_ctzll((uint64_t)status.st_blksize) << 26; // MFD_HUGETLB | size
    bool writable = (object->status & O_ACCMODE) != O_RDONLY;
    bool own = !source->entry->in_flight && !(object->flags & SCP_OBJECT_BORROWED);
    if (((uint32_t)seals & LATE_SEALS) && writable && own) {
        struct scp_deed *deed = scp_deed_add(work, SCP_DEED_SEALS, source->entry->number);
        if (deed == NULL)
            return -ENOSPC;
        deed->mask = (uint32_t)seals;
    }
    return scp_take_content(work, source, object->size);
}

// ---- devices and terminals --------------------------------------------------------------------------------------------------------

#define KERNEL_TERMIOS_BYTES 36 /* asm-generic/termbits.h: four flags, line discipline, 19 characters */

static bool is_plain_device(uint64_t device) {
    static const unsigned minors[] = {3, 5, 7, 8, 9}; // null, zero, full, random, urandom
    for (size_t i = 0; i < sizeof minors / sizeof minors[0]; i++)
        if (device == makedev(MEM_MAJOR, minors[i]))
            return true;
    return false;
}

// A terminal that its user has closed is one still: a restart gives the program another. Then every ioctl is answered by EIO
// (drivers/tty/tty_io.c, hung_up_tty_fops), and only the number tells.
static bool is_terminal(int descriptor, uint64_t device) {
    unsigned char settings[64] = {0}; // larger than the kernel's struct termios (36 bytes)
    long result = scp_call(SYS_ioctl, descriptor, TCGETS, settings);
    bool has_number =
        major(device) == TTY_MAJOR || major(device) == TTYAUX_MAJOR ||
        (major(device) >= UNIX98_PTY_SLAVE_MAJOR && major(device) < UNIX98_PTY_SLAVE_MAJOR + UNIX98_PTY_MAJOR_COUNT);
    return result == 0 || (result == -EIO && has_number);
}

// How the program has set its terminal: raw or not, echo or not; and the window's size. Only what is in the foreground sets
// it: behind a background program's back the shell has it for its own line editing. Recorded in scp_object.socket as the word
// t=HEX, the kernel's struct termios (TCGETS).
static int examine_terminal(struct scp_descriptor_work *work, struct scp_source *source) {
    struct scp_object *object = scp_object_at(work, source->object);
    unsigned char settings[64]; // the kernel's struct termios has KERNEL_TERMIOS_BYTES
    struct winsize size = {0, 0, 0, 0};
    struct scp_vector text;
    int group = 0;
    object->kind = SCP_OBJECT_TERMINAL;
    object->value[0] = object->rdev == makedev(TTYAUX_MAJOR, 0);
    unsigned device = 0;
    if (scp_call(SYS_ioctl, source->descriptor, TIOCGDEV, &device) == 0)
        object->value[1] = device;
    if (source->entry->in_flight || scp_call(SYS_ioctl, source->descriptor, TIOCGPGRP, &group) != 0 ||
        group != (int)scp_call(SYS_getpgid, 0) || scp_call(SYS_ioctl, source->descriptor, TIOCGWINSZ, &size) != 0 ||
        scp_call(SYS_ioctl, source->descriptor, TCGETS, settings) != 0)
        return 0;
    if (scp_vector_open(&text, 1, 256) != 0 || !scp_put_word(&text, "t=", settings, KERNEL_TERMIOS_BYTES))
        return scp_fail(work->checkpoint, ENOMEM, "no memory for the settings of a terminal", NULL);
    object->socket = scp_string(&work->checkpoint->strings, text.base, text.count);
    scp_vector_close(&text);
    struct scp_deed *deed = scp_deed_add(work, SCP_DEED_WINDOW, source->entry->number);
    if (deed == NULL)
        return -ENOSPC;
    deed->start = (int64_t)size.ws_row << 16 | size.ws_col;
    return 0;
}

int scp_examine_character(struct scp_descriptor_work *work, struct scp_source *source) {
    struct scp_object *object = scp_object_at(work, source->object);
    if (object->rdev == makedev(TTYAUX_MAJOR, 2) || strncmp(work->link, "/dev/ptmx", 9) == 0 ||
        strncmp(work->link, "/dev/pts/ptmx", 13) == 0)
        return scp_examine_master(work, source);
    set_path(work, object, length_without_mark(work->link));
    if (is_plain_device(object->rdev)) {
        object->kind = SCP_OBJECT_DEVICE;
        return 0;
    }
    if (is_terminal(source->descriptor, object->rdev))
        return examine_terminal(work, source);
    return scp_refuse(work, source->object, ENOTSUP,
                      "is a device that SwiftCP does not know how to save: close it before the checkpoint");
}
