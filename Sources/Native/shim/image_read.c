// Reading memory that must not be touched directly: pages past the end of a file (SIGBUS), PROT_NONE, guard pages.
#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "memory.h"

int scp_open_own(const char *path, int flags) {
    long file = scp_call(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0);
    if (file != -EACCES)
        return (int)file;
    // The files of a process that is not dumpable belong to root (proc(5)): be dumpable for the open.
    if (scp_call(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
        return (int)file;
    scp_call(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
    file = scp_call(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0);
    scp_call(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
    return (int)file;
}

int scp_open_mapped(const struct scp_region *region, const char *path) {
    struct stat status;
    long file = scp_call(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    if (file < 0)
        return -1;
    if (scp_call(SYS_fstat, file, &status) == 0 && status.st_ino == region->inode && status.st_dev == region->device)
        return (int)file;
    scp_call(SYS_close, file);
    return -1;
}

static int64_t whole_pages(long bytes) {
    return bytes & ~(int64_t)(SCP_PAGE - 1);
}

int64_t scp_read_memory(struct scp_memory *memory, uint64_t address, void *out, size_t length) {
    struct iovec local = {.iov_base = out, .iov_len = length};
    struct iovec remote = {.iov_base = (void *)(uintptr_t)address, .iov_len = length};
    long got = scp_call(SYS_process_vm_readv, scp_call(SYS_getpid), &local, 1, &remote, 1, 0);
    if (got >= (long)SCP_PAGE)
        return whole_pages(got);
    // PROT_NONE and execute-only memory: this file alone ignores protection.
    got = scp_call(SYS_pread64, memory->memory, out, length, address);
    if (got >= (long)SCP_PAGE)
        return whole_pages(got);
    return got < 0 ? got : -EFAULT;
}

int scp_read_special_page(struct scp_memory *memory, uint64_t address, void *out) {
    long put = scp_call(SYS_write, memory->pipe[1], address, SCP_PAGE);
    if (put <= 0)
        return put < 0 ? (int)put : -EFAULT;
    for (long taken = 0; taken < put;) {
        long got = scp_call(SYS_read, memory->pipe[0], (char *)out + taken, put - taken);
        if (got <= 0)
            return got < 0 ? (int)got : -EIO;
        taken += got;
    }
    return put == (long)SCP_PAGE ? 0 : -EFAULT;
}
