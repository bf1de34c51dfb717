// Memory registered with a userfaultfd cannot be saved: refused by name, the program unharmed.
// @refused userfaultfd
#include "memory.h"
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

int main(void) {
    int file = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    struct uffdio_api api = {.api = UFFD_API};
    if (file < 0 || ioctl(file, UFFDIO_API, &api) != 0)
        workload_skip("no userfaultfd: %s", strerror(errno));
    char *memory = map_anonymous(4 * PAGE);
    struct uffdio_register range = {.range = {(uintptr_t)memory, 4 * PAGE}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    workload_check(ioctl(file, UFFDIO_REGISTER, &range) == 0);
    workload_ready();
    workload_wait();
    workload_check(ioctl(file, UFFDIO_UNREGISTER, &range.range) == 0);
    fill(memory, 4 * PAGE, 1);
    check_filled("memory", memory, 4 * PAGE, 1);
    workload_pass();
}
