// MAP_SHARED|MAP_ANONYMOUS, /dev/zero and memfd: content, and what was one piece of memory at two addresses is so again.
#include "memory.h"
#include <sys/wait.h>

enum { PAGES = 300 };

int main(void) {
    char *anonymous = map_at(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int zero = open("/dev/zero", O_RDWR);
    char *device = map_at(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, zero, 0);
    close(zero);
    int file = memfd_create("workload", MFD_CLOEXEC);
    workload_check(ftruncate(file, PAGES * PAGE) == 0);
    char *first = map_at(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    char *second = map_at(NULL, 100 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 50 * PAGE);
    char *private = map_at(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    close(file);
    fill(anonymous + 5 * PAGE, 10 * PAGE, 1);
    fill(device, PAGE, 2);
    fill(first + 60 * PAGE, 10 * PAGE, 3);
    fill(private + 61 * PAGE, PAGE, 4);
    workload_ready();
    workload_wait();
    check_zero("anonymous, untouched", anonymous, 5 * PAGE);
    check_filled("anonymous", anonymous + 5 * PAGE, 10 * PAGE, 1);
    check_filled("/dev/zero", device, PAGE, 2);
    check_zero("/dev/zero, untouched", device + PAGE, PAGE);
    check_filled("memfd", first + 60 * PAGE, 10 * PAGE, 3);
    check_filled("memfd, second window", second + 10 * PAGE, 10 * PAGE, 3);
    check_filled("memfd, private, changed", private + 61 * PAGE, PAGE, 4);
    check_filled("memfd, private, clean", private + 60 * PAGE, PAGE, 3);
    strcpy(first + 50 * PAGE, "one memory");
    workload_check(strcmp(second, "one memory") == 0);
    pid_t child = fork();
    workload_check(child >= 0);
    if (child == 0) {
        strcpy(anonymous, "the child was here");
        strcpy(device, "here too");
        _exit(0);
    }
    int status;
    workload_check(waitpid(child, &status, 0) == child && status == 0);
    workload_check(strcmp(anonymous, "the child was here") == 0);
    workload_check(strcmp(device, "here too") == 0);
    workload_pass();
}
