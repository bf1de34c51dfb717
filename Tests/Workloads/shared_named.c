// POSIX shared memory that no process has open: made and filled by a process that has ended, one with content at its end alone,
// one that holds nothing, one that only its owner may read; beside them one that is mapped. A removed one stays removed.
#include "memory.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { PAGES = 16, SPARSE = 4096 };

static char names[5][64]; // whole, sparse, empty, private, mapped

static char *open_object(const char *name, int flags, mode_t mode, size_t size) {
    int descriptor = shm_open(name, flags, mode);
    if (descriptor < 0)
        workload_fail("%s: %s", name, strerror(errno));
    if (flags & O_CREAT)
        workload_check(ftruncate(descriptor, (off_t)size) == 0);
    bool writes = (flags & O_ACCMODE) == O_RDWR;
    char *memory =
        size == 0 ? NULL : mmap(NULL, size, PROT_READ | (writes ? PROT_WRITE : 0), MAP_SHARED, descriptor, 0);
    workload_check(memory != MAP_FAILED && close(descriptor) == 0);
    return memory;
}

static void make_all(void) {
    const int create = O_RDWR | O_CREAT | O_EXCL;
    fill(open_object(names[0], create, 0640, PAGES * PAGE), PAGES * PAGE, 1);
    fill(open_object(names[1], create, 0600, SPARSE * PAGE) + (SPARSE - 2) * PAGE, 2 * PAGE, 2);
    open_object(names[2], create, 0600, 0);
    fill(open_object(names[3], create, 0400, PAGE), PAGE, 3);
    _exit(0);
}

static void check_state(const char *name, off_t size, mode_t mode) {
    struct stat status;
    int descriptor = shm_open(name, O_RDONLY, 0);
    if (descriptor < 0)
        workload_fail("%s: %s", name, strerror(errno));
    workload_check(fstat(descriptor, &status) == 0 && close(descriptor) == 0);
    workload_equal(status.st_size, size);
    workload_equal(status.st_mode & 07777, mode);
}

int main(void) {
    static const char *const kinds[] = {"whole", "sparse", "empty", "private", "mapped"};
    for (size_t i = 0; i < 5; i++)
        snprintf(names[i], sizeof names[i], "/scp-workload-%s-%d", kinds[i], getpid());
    umask(0);
    char *mapped = open_object(names[4], O_RDWR | O_CREAT | O_EXCL, 0600, PAGES * PAGE);
    fill(mapped, PAGES * PAGE, 4);
    pid_t child = fork();
    if (child == 0)
        make_all();
    workload_check(waitpid(child, NULL, 0) == child);
    workload_check(shm_open("/", O_RDWR, 0) == -1 && errno == EINVAL);
    workload_check(shm_open("/scp/none", O_RDWR, 0) == -1 && errno == EINVAL);
    workload_check(shm_open("/scp-workload-none", O_RDWR, 0) == -1 && errno == ENOENT);
    child = fork();
    workload_check(child >= 0);
    if (child > 0)
        workload_ready();
    workload_wait();
    if (child == 0)
        _exit(0);
    workload_check(waitpid(child, NULL, 0) == child);
    check_state(names[0], PAGES * PAGE, 0640);
    check_state(names[1], SPARSE * PAGE, 0600);
    check_state(names[2], 0, 0600);
    check_state(names[3], PAGE, 0400);
    check_filled("whole", open_object(names[0], O_RDWR, 0, PAGES * PAGE), PAGES * PAGE, 1);
    char *sparse = open_object(names[1], O_RDONLY, 0, SPARSE * PAGE);
    check_zero("sparse", sparse, (SPARSE - 2) * PAGE);
    check_filled("sparse", sparse + (SPARSE - 2) * PAGE, 2 * PAGE, 2);
    check_filled("private", open_object(names[3], O_RDONLY, 0, PAGE), PAGE, 3);
    check_filled("mapped", mapped, PAGES * PAGE, 4);
    for (size_t i = 0; i < 5; i++)
        workload_check(shm_unlink(names[i]) == 0);
    workload_pass();
}
