// Makes the checkpoint thread.
//
// It is made by a raw clone, unknown to libc, so that a program with one thread stays one in libc's eyes. It has a
// descriptor table of its own, all signals blocked, and a stand-in block of memory where fs points.
#include "swiftcp_tracer.h"
#include "worker.h"

#include <errno.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#define STACK_SIZE (256u << 10)

SCP_FORK_DATA void *scp_checkpoint_stack_top;
SCP_FORK_DATA uint64_t scp_checkpoint_fs_base;
SCP_FORK_DATA _Atomic uint32_t scp_checkpoint_thread_tid;

uint32_t scp_checkpoint_tid(void) {
    return atomic_load(&scp_checkpoint_thread_tid);
}

SCP_FORK_CODE static void begin(void *argument) {
    (void)argument;
    atomic_store(&scp_checkpoint_thread_tid, (uint32_t)scp_call(SYS_gettid));
    scp_call(SYS_prctl, PR_SET_NAME, SCP_THREAD_NAME, 0, 0, 0);
    if (scp_call(SYS_close_range, 0, ~0u, 0) == -ENOSYS)
        for (int descriptor = 0; descriptor < 65536; descriptor++)
            scp_call(SYS_close, descriptor);
    scp_link = (struct scp_link){-1, {-1, -1}};
    scp_link_open_poke();
    scp_worker_newborn();
    scp_worker_run(false);
}

// Among the libraries, as it is made before the program begins: at a place of its own it would have page tables of its own, which
// each fork copies.
SCP_FORK_CODE static int make_stack(void) {
    long memory = scp_call(SYS_mmap, NULL, STACK_SIZE + SCP_PAGE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (memory < 0 && memory > -4096)
        return (int)memory;
    scp_checkpoint_stack_top = (char *)memory + STACK_SIZE;
    scp_checkpoint_fs_base = (uint64_t)memory + STACK_SIZE;
    memcpy((void *)scp_checkpoint_fs_base, &scp_checkpoint_fs_base, sizeof scp_checkpoint_fs_base);
    return 0;
}

SCP_FORK_CODE int scp_checkpoint_thread_start(void) {
    uint64_t all = ~0ull, before;
    int result = scp_checkpoint_stack_top ? 0 : make_stack();
    if (result < 0)
        return result;
    scp_call(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, 8);
    long tid = scp_arch_clone(CLONE_VM | CLONE_FS | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS,
                              scp_checkpoint_stack_top, (void *)scp_checkpoint_fs_base, NULL, begin, NULL);
    scp_call(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, 8);
    if (tid < 0)
        return (int)tid;
    atomic_store(&scp_checkpoint_thread_tid, (uint32_t)tid);
    return 0;
}
