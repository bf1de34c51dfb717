// A SysV shared memory segment: content, both attachments one memory, and its number.
#include "memory.h"
#include <sys/shm.h>

enum { PAGES = 16 };

int main(void) {
    int id = shmget(IPC_PRIVATE, PAGES * PAGE, IPC_CREAT | 0600);
    if (id < 0)
        workload_skip("no SysV shared memory: %s", strerror(errno));
    char *first = shmat(id, NULL, 0), *second = shmat(id, NULL, 0);
    workload_check(first != (void *)-1 && second != (void *)-1);
    shmctl(id, IPC_RMID, NULL); // gone with its last user
    fill(first + 3 * PAGE, 4 * PAGE, 1);
    workload_ready();
    workload_wait();
    check_filled("first", first + 3 * PAGE, 4 * PAGE, 1);
    check_filled("second", second + 3 * PAGE, 4 * PAGE, 1);
    check_zero("untouched", first, 3 * PAGE);
    strcpy(first, "one memory");
    workload_check(strcmp(second, "one memory") == 0);
    struct shmid_ds status;
    workload_check(shmctl(id, IPC_STAT, &status) == 0);
    workload_equal(status.shm_segsz, PAGES * PAGE);
    workload_equal(status.shm_nattch, 2);
    workload_check(shmdt(second) == 0 && shmdt(first) == 0);
    workload_pass();
}
