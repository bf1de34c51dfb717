// SysV shared memory that nobody has attached: one known by its number, one by its key, one that a child has made and filled and
// that is larger than what it holds. Removed ones stay removed.
#include "memory.h"
#include <sys/shm.h>
#include <sys/wait.h>

enum { PAGES = 16, SPARSE = 4096 };

static int make(key_t key, size_t pages) {
    int id = shmget(key, pages * PAGE, IPC_CREAT | IPC_EXCL | 0640);
    if (id < 0)
        workload_skip("no SysV shared memory: %s", strerror(errno));
    return id;
}

static char *attach(int id) {
    char *memory = shmat(id, NULL, 0);
    workload_check(memory != (void *)-1);
    return memory;
}

static void put(int id, size_t page, int seed) {
    char *memory = attach(id);
    fill(memory + page * PAGE, 2 * PAGE, seed);
    workload_check(shmdt(memory) == 0);
}

static void check_segment(const char *name, int id, size_t pages, size_t page, int seed) {
    struct shmid_ds status;
    workload_check(shmctl(id, IPC_STAT, &status) == 0);
    workload_equal(status.shm_segsz, pages * PAGE);
    workload_equal(status.shm_nattch, 0);
    workload_equal(status.shm_perm.mode & 0777, 0640);
    char *memory = attach(id);
    check_filled(name, memory + page * PAGE, 2 * PAGE, seed);
    check_zero(name, memory, page * PAGE);
    workload_check(shmdt(memory) == 0 && shmctl(id, IPC_RMID, NULL) == 0);
}

int main(void) {
    key_t key = 0x5c000000 | (getpid() & 0xffffff);
    int told[2], numbered = make(IPC_PRIVATE, PAGES), keyed = make(key, PAGES), removed = make(IPC_PRIVATE, PAGES),
                 sparse;
    put(numbered, 3, 1);
    put(keyed, 0, 2);
    workload_check(shmctl(removed, IPC_RMID, NULL) == 0);
    workload_check(pipe(told) == 0);
    pid_t child = fork();
    if (child == 0) {
        sparse = make(IPC_PRIVATE, SPARSE);
        put(sparse, SPARSE - 2, 3);
        workload_check(write(told[1], &sparse, sizeof sparse) == sizeof sparse);
        workload_wait();
        _exit(0);
    }
    workload_check(read(told[0], &sparse, sizeof sparse) == sizeof sparse);
    workload_ready();
    workload_wait();
    workload_check(waitpid(child, NULL, 0) == child);
    workload_equal(shmget(key, 0, 0), keyed);
    check_segment("by number", numbered, PAGES, 3, 1);
    check_segment("by key", keyed, PAGES, 0, 2);
    check_segment("of a child", sparse, SPARSE, SPARSE - 2, 3);
    struct shmid_ds status;
    workload_check(shmctl(removed, IPC_STAT, &status) != 0);
    workload_pass();
}
