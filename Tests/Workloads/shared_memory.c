// Memory that processes have in common, and memory that only looks so.
// @cases anonymous anonymous_part memfd memfd_sealed posix_shm posix_shm_unlinked sysv sysv_removed file_mapping copy_on_write
// @flags -lrt
#include "shared.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>

static _Atomic long *cells;
static long memory_act(int step) {
    if (step < 1000)
        return atomic_fetch_add(&cells[step], 1) + 1;
    return atomic_load(&cells[step - 1000]);
}

static void share_memory(void *memory) {
    cells = memory;
    workload_check(memory != MAP_FAILED);
    atomic_store(&cells[1], 100);
    start_child(memory_act);
    workload_equal(ask(1), 101);
}

static void check_memory(void) {
    pause_here();
    workload_equal(cells[1], 101);
    workload_equal(ask(1), 102);
    workload_equal(cells[1], 102);
    atomic_store(&cells[2], 55);
    workload_equal(ask(1002), 55);
    end_child();
}

static void anonymous(void) {
    share_memory(mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    check_memory();
}

// Each process has only a part of it mapped.
static long part_act(int step) {
    return step == 1 ? ((long *)cells)[512] : (((long *)cells)[512] = step);
}

static void anonymous_part(void) {
    char *memory = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    workload_check(memory != MAP_FAILED);
    cells = (void *)memory;
    memory[2 * 4096] = 'z';
    ((long *)cells)[512] = 77;
    start_child(part_act);
    munmap(memory + 2 * 4096, 4096);
    workload_equal(ask(9), 9);
    pause_here();
    workload_equal(ask(1), 9);
    workload_equal(((long *)cells)[512], 9);
    workload_equal(ask(12), 12);
    workload_equal(((long *)cells)[512], 12);
    end_child();
}

static int memory_file(unsigned how) {
    int made = (int)syscall(SYS_memfd_create, "shared", how);
    workload_check(made >= 0 && ftruncate(made, 1 << 16) == 0);
    return made;
}

static void memfd(void) {
    share_memory(mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_SHARED, file = memory_file(0), 0));
    check_memory();
    long value = 0;
    workload_equal(pread(file, &value, sizeof value, 8), (long)sizeof value);
    workload_equal(value, 102);
}

static void memfd_sealed(void) {
    share_memory(mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_SHARED, file = memory_file(MFD_ALLOW_SEALING), 0));
    workload_check(fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
    check_memory();
    workload_equal(fcntl(file, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW);
    workload_check(ftruncate(file, 1) != 0);
}

static void posix_memory(bool unlinked) {
    char name[40];
    snprintf(name, sizeof name, "/scp-shared-%d", (int)getpid());
    int made = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (made < 0)
        workload_skip("no POSIX shared memory here: %s", strerror(errno));
    workload_check(ftruncate(made, 1 << 16) == 0);
    share_memory(mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_SHARED, made, 0));
    close(made);
    if (unlinked)
        shm_unlink(name);
    check_memory();
    if (!unlinked)
        workload_check(shm_unlink(name) == 0);
}
static void posix_shm(void) {
    posix_memory(false);
}
static void posix_shm_unlinked(void) {
    posix_memory(true);
}

static void sysv_memory(bool removed) {
    int id = shmget(IPC_PRIVATE, 1 << 16, 0600);
    workload_check(id >= 0);
    void *memory = shmat(id, NULL, 0);
    if (removed)
        workload_check(shmctl(id, IPC_RMID, NULL) == 0);
    share_memory(memory);
    check_memory();
    struct shmid_ds status;
    if (!removed) {
        workload_check(shmctl(id, IPC_STAT, &status) == 0);
        workload_check(shmctl(id, IPC_RMID, NULL) == 0);
    }
}
static void sysv(void) {
    sysv_memory(false);
}
static void sysv_removed(void) {
    sysv_memory(true);
}

static void file_mapping(void) {
    open_file(0);
    workload_check(ftruncate(file, 1 << 16) == 0);
    share_memory(mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
    check_memory();
}

// Private pages are each process's own, even those that were one before the first write.
static long own_act(int step) {
    long before = ((long *)cells)[step];
    ((long *)cells)[step] = 1000 + step;
    return before;
}

static void copy_on_write(void) {
    long *own = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    workload_check(own != MAP_FAILED);
    for (int i = 0; i < 1 << 17; i++)
        own[i] = i;
    cells = (void *)own;
    start_child(own_act);
    workload_equal(ask(3), 3);
    own[4] = -4;
    pause_here();
    workload_equal(own[3], 3);
    workload_equal(ask(3), 1003);
    workload_equal(ask(4), 4);
    workload_equal(own[4], -4);
    for (int i = 5; i < 1 << 17; i++)
        workload_check(own[i] == i);
    end_child();
}

WORKLOAD_CASES({"anonymous", anonymous}, {"anonymous_part", anonymous_part}, {"memfd", memfd},
               {"memfd_sealed", memfd_sealed}, {"posix_shm", posix_shm}, {"posix_shm_unlinked", posix_shm_unlinked},
               {"sysv", sysv}, {"sysv_removed", sysv_removed}, {"file_mapping", file_mapping},
               {"copy_on_write", copy_on_write})
