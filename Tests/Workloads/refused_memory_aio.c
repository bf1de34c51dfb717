// An asynchronous I/O context cannot be saved: refused by name, the program unharmed.
// @refused asynchronous I/O context
#include "memory.h"
#include <linux/aio_abi.h>
#include <sys/syscall.h>

int main(void) {
    aio_context_t context = 0;
    if (syscall(SYS_io_setup, 8, &context) != 0)
        workload_skip("no io_setup: %s", strerror(errno));
    workload_ready();
    workload_wait();
    workload_check(syscall(SYS_io_destroy, context) == 0);
    workload_pass();
}
