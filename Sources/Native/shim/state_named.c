// POSIX shared memory (shm_open) that no process has open or mapped: a file of /dev/shm that waits for somebody to open it by
// its name. Whoever made it may have ended, so the mark of the computation is on the file itself: an extended attribute with
// the computation's id, which shm_open (wrapped here) gives to what it creates; tmpfs has them since Linux 6.6. In the pause
// one process of the computation looks through the folder. What is mapped is memory (regions.c), what is open a descriptor.
// Lost: times, access control lists; objects that were made past shm_open.
#define _GNU_SOURCE
#include "state_ipc.h"
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define EXPORT __attribute__((visibility("default")))
#define FOLDER "/dev/shm/"
#define MARK "user.swiftcp.computation"
#define LIMIT (256ull << 20) // bytes of one object

struct named {
    struct named *next;
    uint64_t size; // bytes
    uint32_t mode;
    char name[NAME_MAX + 1];
    char content[];
};

static bool foreign; // another process of the computation looks
static struct named *saved;

// ---- the wrapper ------------------------------------------------------------------------------------------------------

static long set_mark(int file) {
    return scp_call(SYS_fsetxattr, file, MARK, scp_settings.computation, strlen(scp_settings.computation),
                    XATTR_CREATE);
}

// Who may write to the file may mark it, whatever the descriptor is open for. One that cannot be marked is the host's.
static void mark(int file, mode_t mode) {
    if (scp_settings.computation[0] == '\0' || set_mark(file) != -EACCES)
        return;
    if (scp_call(SYS_fchmod, file, (mode & 07777) | S_IWUSR) == 0)
        set_mark(file);
    scp_call(SYS_fchmod, file, mode & 07777);
}

// As libc does it (shm_open(3)), but for the mark.
EXPORT int shm_open(const char *name, int flags, mode_t mode) {
    char path[sizeof FOLDER + NAME_MAX];
    struct stat status;
    while (*name == '/')
        name++;
    if (*name == '\0' || strlen(name) > NAME_MAX || strchr(name, '/') != NULL) {
        errno = EINVAL;
        return -1;
    }
    scp_concat(path, sizeof path, FOLDER, name, (char *)NULL);
    long file = scp_call(SYS_openat, AT_FDCWD, path, flags | O_NOFOLLOW | O_CLOEXEC, mode);
    if (file < 0) {
        errno = file == -EISDIR ? EINVAL : (int)-file;
        return -1;
    }
    if (flags & O_CREAT && scp_call(SYS_fstat, file, &status) == 0 && status.st_size == 0)
        mark((int)file, status.st_mode);
    return (int)file;
}

// ---- the survey -------------------------------------------------------------------------------------------------------

void scp_named_assign(bool own) {
    foreign = !own;
}

// ---- examine ----------------------------------------------------------------------------------------------------------

static bool is_marked(const char *path) {
    char found[sizeof scp_settings.computation];
    long length = scp_call(SYS_lgetxattr, path, MARK, found, sizeof found);
    return length > 0 && (size_t)length == strlen(scp_settings.computation) &&
           memcmp(found, scp_settings.computation, (size_t)length) == 0;
}

static int visit(scp_name_visitor *visitor, void *argument) {
    long folder = scp_call(SYS_openat, AT_FDCWD, FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (folder < 0)
        return 0;
    int result = scp_visit_names((int)folder, visitor, argument);
    scp_call(SYS_close, folder);
    return result;
}

static int add_room(void *argument, const char *name) {
    char path[sizeof FOLDER + NAME_MAX];
    struct stat status;
    size_t *room = argument;
    scp_concat(path, sizeof path, FOLDER, name, (char *)NULL);
    if (is_marked(path) && scp_call(SYS_newfstatat, AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        (uint64_t)status.st_size <= LIMIT)
        *room += sizeof(struct named) + (size_t)status.st_size + 64;
    return 0;
}

// Also for those that are mapped now: who knows of the pause?
size_t scp_named_prepare(void) {
    size_t room = 0;
    foreign = false;
    visit(add_room, &room);
    return room;
}

// The kernel grants a lease for writing if the description is the file's only one. Who opens the file meanwhile waits until
// the lease is given back; the signal that tells of it goes to this thread, which takes none.
static bool is_alone(int file) {
    struct f_owner_ex owner = {F_OWNER_TID, (pid_t)scp_checkpoint_tid()};
    return scp_call(SYS_fcntl, file, F_SETOWN_EX, &owner) == 0 && scp_call(SYS_fcntl, file, F_SETSIG, SIGURG) == 0 &&
           scp_call(SYS_fcntl, file, F_SETLEASE, F_WRLCK) == 0;
}

static int fail(struct scp_checkpoint *checkpoint, const char *path, int error, const char *why) {
    return scp_fail(checkpoint, error, "the shared memory object ", path, ", which no process has open, ", why,
                    (char *)NULL);
}

static int copy(struct scp_checkpoint *checkpoint, const char *path, const char *name, int file) {
    struct stat status;
    if (scp_call(SYS_fstat, file, &status) != 0 || !S_ISREG(status.st_mode))
        return 0;
    if ((uint64_t)status.st_size > LIMIT)
        return fail(checkpoint, path, E2BIG, "is larger than 256 MiB and cannot be saved: open or remove it");
    struct named *object = scp_carry(sizeof *object + (size_t)status.st_size);
    if (object == NULL)
        return fail(checkpoint, path, EAGAIN, "has just been made: try again");
    *object = (struct named){.next = saved, .size = (uint64_t)status.st_size, .mode = status.st_mode & 07777};
    scp_concat(object->name, sizeof object->name, name, (char *)NULL);
    saved = object;
    // What holds nothing is not read, and stays nothing in the image too.
    for (int64_t at = 0, end; at < status.st_size; at = end) {
        at = scp_call(SYS_lseek, file, at, SEEK_DATA);
        if (at < 0)
            break;
        end = scp_call(SYS_lseek, file, at, SEEK_HOLE);
        for (int64_t done = at; done < end;) {
            long got = scp_call(SYS_pread64, file, object->content + done, end - done, done);
            if (got <= 0)
                return fail(checkpoint, path, got < 0 ? (int)-got : EIO, "cannot be read");
            done += got;
        }
    }
    return 0;
}

static int examine(void *argument, const char *name) {
    struct scp_checkpoint *checkpoint = argument;
    char path[sizeof FOLDER + NAME_MAX];
    scp_concat(path, sizeof path, FOLDER, name, (char *)NULL);
    if (!is_marked(path))
        return 0;
    long file = scp_call(SYS_openat, AT_FDCWD, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0);
    if (file < 0)
        return file == -ENOENT ? 0 : fail(checkpoint, path, (int)-file, "cannot be opened");
    int result = 0;
    if (is_alone((int)file)) {
        result = copy(checkpoint, path, name, (int)file);
        scp_call(SYS_fcntl, file, F_SETLEASE, F_UNLCK);
    }
    scp_call(SYS_close, file);
    return result;
}

int scp_named_examine(const struct scp_examination *examination) {
    saved = NULL;
    return foreign ? 0 : visit(examine, examination->checkpoint);
}

// ---- restore ----------------------------------------------------------------------------------------------------------

// Pages of zeros stay holes.
static long write_content(int file, const struct named *object) {
    static const char zeros[SCP_PAGE];
    for (uint64_t done = 0, part; done < object->size; done += part) {
        part = object->size - done < SCP_PAGE ? object->size - done : SCP_PAGE;
        long put = memcmp(object->content + done, zeros, part) == 0
                       ? (long)part
                       : scp_call(SYS_pwrite64, file, object->content + done, part, done);
        if (put != (long)part)
            return put < 0 ? put : -ENOSPC;
    }
    return 0;
}

// What the killed processes have left under the name. Another one's, or one in use, stays.
static long remove_old(const char *path) {
    long file = scp_call(SYS_openat, AT_FDCWD, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0);
    if (file < 0)
        return file == -ENOENT ? 0 : file;
    long result = !is_marked(path) ? -EEXIST : !is_alone((int)file) ? -EBUSY : 0;
    scp_call(SYS_close, file);
    return result < 0 ? result : scp_call(SYS_unlink, path);
}

static long restore(const char *path, const struct named *object) {
    long result = remove_old(path);
    long file = result < 0 ? result
                           : scp_call(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                                      S_IRUSR | S_IWUSR);
    if (file < 0)
        return file;
    mark((int)file, S_IRUSR | S_IWUSR);
    result = scp_call(SYS_ftruncate, file, object->size);
    if (result == 0)
        result = write_content((int)file, object);
    if (result == 0)
        result = scp_call(SYS_fchmod, file, object->mode);
    scp_call(SYS_close, file);
    return result;
}

int scp_named_restore(void) {
    for (const struct named *object = saved; object != NULL; object = object->next) {
        char path[sizeof FOLDER + NAME_MAX];
        scp_concat(path, sizeof path, FOLDER, object->name, (char *)NULL);
        long result = restore(path, object);
        if (result < 0) {
            scp_arrival_warn((int)-result, "cannot restore the shared memory object ", path);
            return (int)result;
        }
    }
    return 0;
}
