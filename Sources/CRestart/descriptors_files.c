// Files, directories, devices, O_PATH descriptors, memfds, and the locks that stand on open file descriptions.
#include "descriptors_internal.h"

#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#define COPY_BYTES (256u << 10)
#define TEMPORARY_MODE 0600

static int mapped_path(struct crestart_descriptors *made, uint32_t object, char out[4096]) {
    const char *path = crestart_string(&made->tables, made->tables.objects[object].path);
    int result = crestart_map_path(&made->options, path, out, 4096);
    return result == 0 ? 0 : crestart_fail(made->message, -result, "--map makes the path %s too long", path);
}

static int failed(struct crestart_descriptors *made, uint32_t object, int error, const char *what) {
    return crestart_fail(made->message, error, "%s %s", crestart_name(&made->tables, object), what);
}

static int open_again(struct crestart_descriptors *made, uint32_t object, const char *path, int flags) {
    int descriptor = open(path, flags);
    if (descriptor < 0 && errno == EPERM && (flags & O_NOATIME))
        descriptor = open(path, flags & ~O_NOATIME);
    if (descriptor < 0)
        return crestart_fail(made->message, errno, "%s: %s cannot be opened again",
                             crestart_name(&made->tables, object), path);
    made->working[object] = descriptor;
    return 0;
}

static int seek(struct crestart_descriptors *made, uint32_t object) {
    int64_t position = made->tables.objects[object].position;
    if (position == 0 || lseek(made->working[object], position, SEEK_SET) == position)
        return 0;
    return failed(made, object, errno, "cannot be put at its old position");
}

// ---- content from the image --------------------------------------------------------------------------------------------------

static bool all_zero(const char *bytes, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

int crestart_write_at(int descriptor, const void *bytes, size_t length, uint64_t offset) {
    for (size_t done = 0; done < length;) {
        ssize_t put = pwrite(descriptor, (const char *)bytes + done, length - done, (off_t)(offset + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put < 0 ? -errno : -EIO;
        done += (size_t)put;
    }
    return 0;
}

static bool holds_already(int descriptor, const char *bytes, size_t length, uint64_t offset, char *scratch) {
    return pread(descriptor, scratch, length, (off_t)offset) == (ssize_t)length && memcmp(scratch, bytes, length) == 0;
}

// Writes a blob into a file from its start; what is there already is left alone, zeros become holes in a new file.
static int write_content(struct crestart_descriptors *made, uint32_t object, int descriptor, bool fresh) {
    const struct scp_object *entry = &made->tables.objects[object];
    uint64_t length = crestart_blob_length(&made->tables, entry->blob);
    char *bytes = malloc(2 * (size_t)COPY_BYTES);
    if (bytes == NULL)
        return -ENOMEM;
    int result = 0;
    for (uint64_t at = 0; result == 0 && at < length;) {
        size_t piece = length - at < COPY_BYTES ? (size_t)(length - at) : COPY_BYTES;
        result = crestart_blob_read(&made->tables, entry->blob, at, bytes, piece);
        if (result == 0 &&
            !(fresh ? all_zero(bytes, piece) : holds_already(descriptor, bytes, piece, at, bytes + COPY_BYTES)))
            result = crestart_write_at(descriptor, bytes, piece, at);
        at += piece;
    }
    free(bytes);
    uint64_t size = entry->size > length ? entry->size : length;
    if (result == 0 && ftruncate(descriptor, (off_t)size) != 0)
        result = -errno;
    return result;
}

// ---- files without a name --------------------------------------------------------------------------------------------------------

static int create_nameless(const char *path) {
    char other[4200];
    int descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, TEMPORARY_MODE);
    if (descriptor >= 0) {
        unlink(path);
        return descriptor;
    }
    const char *slash = strrchr(path, '/');
    snprintf(other, sizeof other, "%.*s/.swiftcp-XXXXXX", (int)(slash == NULL ? 0 : slash - path), path);
    descriptor = mkostemp(other, O_CLOEXEC);
    if (descriptor < 0) {
        snprintf(other, sizeof other, "/tmp/.swiftcp-XXXXXX");
        descriptor = mkostemp(other, O_CLOEXEC);
    }
    if (descriptor < 0)
        return -errno;
    unlink(other);
    return descriptor;
}

static int create_memfd(struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | ((unsigned)entry->value[1] & ~(unsigned)MFD_CLOEXEC);
    int descriptor = memfd_create(crestart_string(&made->tables, entry->path), flags);
    return descriptor < 0 ? -errno : descriptor;
}

int crestart_nameless(struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    for (size_t i = 0; i < made->inode_count; i++)
        if (made->inodes[i].device == entry->device && made->inodes[i].inode == entry->inode)
            return (int)i;
    char path[4096];
    int result = mapped_path(made, object, path);
    if (result != 0)
        return result;
    int descriptor = entry->kind == SCP_OBJECT_MEMFD ? create_memfd(made, object) : create_nameless(path);
    if (descriptor < 0)
        return failed(made, object, -descriptor, "cannot be made again");
    made->inodes[made->inode_count] =
        (struct crestart_inode){entry->device, entry->inode, descriptor, entry->mode & 07777};
    result = write_content(made, object, descriptor, true);
    if (result != 0) {
        close(descriptor);
        return failed(made, object, -result, "cannot be filled from the image");
    }
    return (int)made->inode_count++;
}

static int open_nameless(struct crestart_descriptors *made, uint32_t object) {
    int index = crestart_nameless(made, object);
    if (index < 0)
        return index;
    int flags = crestart_open_flags(&made->tables.objects[object]) & ~O_NOFOLLOW;
    int descriptor = crestart_reopen(made->inodes[index].descriptor, flags);
    if (descriptor == -EINVAL && (flags & O_DIRECT)) // tmpfs of old kernels
        descriptor = crestart_reopen(made->inodes[index].descriptor, flags & ~O_DIRECT);
    if (descriptor < 0)
        return failed(made, object, -descriptor, "cannot be opened again");
    made->working[object] = descriptor;
    return seek(made, object);
}

// ---- regular files -----------------------------------------------------------------------------------------------------------------

// The program will write again what it had written since: without the cut it would stand there twice. A standard stream in
// append mode is the log of a job that others write, too: it is never cut.
static int cut_back(struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    struct stat status;
    bool writes = (entry->status & O_ACCMODE) != O_RDONLY;
    bool log = (entry->status & O_APPEND) && crestart_is_output(&made->tables, object);
    if (!writes || log || made->options.files == CRESTART_FILES_KEEP || fstat(made->working[object], &status) != 0 ||
        !S_ISREG(status.st_mode) || (uint64_t)status.st_size <= entry->size)
        return 0;
    if (ftruncate(made->working[object], (off_t)entry->size) == 0)
        return 0;
    return failed(made, object, errno,
                  "has grown and cannot be cut back to its length at the checkpoint (--files keep)");
}

int crestart_make_folders(const char *path) {
    char folder[4096];
    snprintf(folder, sizeof folder, "%s", path);
    for (char *slash = strchr(folder + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(folder, 0700) != 0 && errno != EEXIST)
            return -errno;
        *slash = '/';
    }
    return 0;
}

// A file that the program was writing is often finished under another name, and then begun anew: another one has its name.
// But the log of a job is the job's.
static bool is_replaced(const struct crestart_descriptors *made, uint32_t object, const struct stat *there) {
    const struct scp_object *entry = &made->tables.objects[object];
    bool log = (entry->status & O_APPEND) && crestart_is_output(&made->tables, object);
    return (uint64_t)there->st_ino != entry->inode && !log;
}

// The content travels in the image: files that are gone or too short are made again, those the program writes are rewound.
static int bring_content(struct crestart_descriptors *made, uint32_t object, const char *path) {
    const struct scp_object *entry = &made->tables.objects[object];
    struct stat status;
    bool exists = stat(path, &status) == 0, there = exists && (uint64_t)status.st_size >= entry->size;
    bool writes = (entry->status & O_ACCMODE) != O_RDONLY;
    bool spare = entry->flags & SCP_OBJECT_WHEN_MISSING;
    if (there && (!writes || made->options.files == CRESTART_FILES_KEEP))
        return 0;
    bool replaced = exists && is_replaced(made, object, &status);
    if (there && spare && !replaced)
        return 0;
    int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, entry->mode & 07777);
    if (descriptor < 0 && errno == ENOENT && crestart_make_folders(path) == 0)
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, entry->mode & 07777);
    if (descriptor < 0)
        return failed(made, object, errno, "cannot be made again");
    int result = write_content(made, object, descriptor, false);
    close(descriptor);
    if (result != 0)
        return failed(made, object, -result, "cannot be filled from the image");
    if (spare)
        crestart_warn(made, "%s %s: it has been made again as it was at the checkpoint",
                      crestart_name(&made->tables, object),
                      replaced ? "is another file now"
                      : exists ? "was shorter"
                               : "was not there any more");
    return 0;
}

// An output that the shell of this command has since written to as well: it stands behind the recorded end, and goes on
// there. Both share its description, as they did at the launch; a cut would take the others' lines, and leave a hole.
static int shared_log(const struct crestart_descriptors *made, uint32_t object, const char *path) {
    const struct scp_object *entry = &made->tables.objects[object];
    struct stat there, own;
    if (!crestart_is_output(&made->tables, object) || stat(path, &there) != 0)
        return -1;
    for (int number = 1; number <= 2; number++) {
        int flags = fcntl(number, F_GETFL);
        if (flags >= 0 && (flags & O_ACCMODE) != O_RDONLY && !(flags & O_APPEND) && fstat(number, &own) == 0 &&
            own.st_dev == there.st_dev && own.st_ino == there.st_ino && lseek(number, 0, SEEK_CUR) > (off_t)entry->size)
            return fcntl(number, F_DUPFD_CLOEXEC, 3);
    }
    return -1;
}

int crestart_make_file(struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    char path[4096];
    int result = mapped_path(made, object, path);
    if (result == 0 && (entry->flags & SCP_OBJECT_PSEUDO) && strncmp(path, "/proc/", 6) == 0)
        return crestart_open_later(made, object, path);
    if (entry->flags & SCP_OBJECT_DELETED)
        return open_nameless(made, object);
    if (result == 0 && (made->working[object] = shared_log(made, object, path)) >= 0)
        return 0;
    struct stat status;
    bool own = entry->flags & SCP_OBJECT_HAS_CONTENT;
    bool fits = result == 0 && !own && stat(path, &status) == 0 && (uint64_t)status.st_size >= entry->size;
    int64_t content = fits || result != 0 ? -1 : crestart_content_of(&made->tables, object);
    if (content >= 0)
        result = bring_content(made, (uint32_t)content, path);
    if (result == 0)
        result = open_again(made, object, path, crestart_open_flags(entry));
    bool whole = (entry->flags & SCP_OBJECT_HAS_CONTENT) && !(entry->flags & SCP_OBJECT_WHEN_MISSING);
    if (result == 0 && !(entry->flags & SCP_OBJECT_PSEUDO) && !whole)
        result = cut_back(made, object);
    return result == 0 ? seek(made, object) : result;
}

// Seals that forbid writing come when the regions are mapped and filled: from the shim, if a number lets it write.
static bool shim_seals(const struct crestart_descriptors *made, const struct scp_object *entry) {
    const uint32_t late = F_SEAL_SEAL | F_SEAL_WRITE | 0x10 /* F_SEAL_FUTURE_WRITE */;
    for (uint32_t i = 0; (entry->value[0] & late) && i < made->tables.object_count; i++) {
        const struct scp_object *other = &made->tables.objects[i];
        if (other->kind == SCP_OBJECT_MEMFD && other->device == entry->device && other->inode == entry->inode &&
            (other->status & O_ACCMODE) != O_RDONLY && !(other->flags & SCP_OBJECT_IN_FLIGHT))
            return true;
    }
    return false;
}

int crestart_make_memfd(struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    int result = open_nameless(made, object);
    if (result != 0 || entry->value[0] == 0 || shim_seals(made, entry))
        return result;
    int descriptor = made->inodes[crestart_nameless(made, object)].descriptor;
    int seals = fcntl(descriptor, F_GET_SEALS);
    if (seals != (int)entry->value[0] && fcntl(descriptor, F_ADD_SEALS, (int)entry->value[0]) != 0)
        return failed(made, object, errno, "cannot be sealed again");
    return 0;
}

// ---- directories, devices, O_PATH ----------------------------------------------------------------------------------------------------

// A directory that had been removed is empty for ever: a new one, removed as well, is its equal.
static int open_removed_directory(struct crestart_descriptors *made, uint32_t object) {
    char path[] = "/tmp/.swiftcp-XXXXXX";
    if (mkdtemp(path) == NULL)
        return failed(made, object, errno, "was a removed folder, which cannot be made again");
    int result = open_again(made, object, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rmdir(path);
    return result;
}

int crestart_make_directory(struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    char path[4096];
    if (entry->flags & SCP_OBJECT_DELETED)
        return open_removed_directory(made, object);
    int result = mapped_path(made, object, path);
    if (result == 0)
        result = open_again(made, object, path, crestart_open_flags(entry) | O_DIRECTORY);
    return result == 0 ? seek(made, object) : result;
}

int crestart_make_device(struct crestart_descriptors *made, uint32_t object) {
    static const char *const names[] = {
        [3] = "/dev/null", [5] = "/dev/zero", [7] = "/dev/full", [8] = "/dev/random", [9] = "/dev/urandom"};
    const struct scp_object *entry = &made->tables.objects[object];
    unsigned number = minor(entry->rdev);
    if (major(entry->rdev) != 1 || number >= sizeof names / sizeof names[0] || names[number] == NULL)
        return failed(made, object, ENOTSUP, "is a device that this version does not know");
    return open_again(made, object, names[number], crestart_open_flags(entry) & ~O_NOFOLLOW);
}

int crestart_make_path(struct crestart_descriptors *made, uint32_t object) {
    char path[4096];
    int result = mapped_path(made, object, path);
    int kept = (int)made->tables.objects[object].status & (O_NOFOLLOW | O_DIRECTORY);
    return result == 0 ? open_again(made, object, path, O_PATH | O_NOFOLLOW | kept | O_CLOEXEC) : result;
}

// ---- locks -------------------------------------------------------------------------------------------------------------------------------

static int set_lock(int descriptor, const struct scp_lock *lock) {
    if (lock->kind == SCP_LOCK_FLOCK)
        return flock(descriptor, lock->type | LOCK_NB) == 0 ? 0 : -errno;
    struct flock range = {
        .l_type = (short)lock->type, .l_whence = SEEK_SET, .l_start = lock->start, .l_len = lock->length};
    return fcntl(descriptor, F_OFD_SETLK, &range) == 0 ? 0 : -errno;
}

// POSIX locks and leases belong to the process: its shim sets them.
int crestart_set_locks(struct crestart_descriptors *made) {
    for (uint32_t i = 0; i < made->tables.lock_count; i++) {
        const struct scp_lock *lock = &made->tables.locks[i];
        if ((lock->kind != SCP_LOCK_FLOCK && lock->kind != SCP_LOCK_OPEN_FILE) || made->working[lock->object] < 0)
            continue;
        int result = set_lock(made->working[lock->object], lock);
        if (result != 0)
            return failed(
                made, lock->object, -result,
                "was locked, and somebody else holds a lock on it now (is the original program still running?)");
    }
    return 0;
}
