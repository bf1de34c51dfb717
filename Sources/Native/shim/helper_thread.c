// Threads beside the checkpoint thread: made by a raw clone, like it, with its descriptors, and gone again before the
// threads are stopped, so that no checkpoint ever meets them.
#include <errno.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <string.h>

#include "memory.h"

#define STACK_BYTES (64u << 10)

//   stack | page: where fs points, what the thread does | the owner's
struct thread_page {
    void *own; // libc's block begins with its own address
    uint8_t libc[1016]; // the rest of it: zero
    void (*work)(void *);
    void *argument;
};

static struct thread_page *page_of(const struct scp_helper_thread *thread) {
    return (struct thread_page *)(thread->memory + STACK_BYTES);
}

void *scp_helper_thread_map(struct scp_helper_thread *thread, size_t bytes) {
    thread->memory = scp_scratch_map(STACK_BYTES + SCP_PAGE + bytes);
    return thread->memory ? thread->memory + STACK_BYTES + SCP_PAGE : NULL;
}

static void begin(void *argument) {
    const struct thread_page *page = argument;
    page->work(page->argument);
    for (;;)
        scp_call(SYS_exit, 0);
}

int scp_helper_thread_start(struct scp_helper_thread *thread, void (*work)(void *), void *argument) {
    struct thread_page *page = page_of(thread);
    *page = (struct thread_page){.own = page, .work = work, .argument = argument};
    atomic_store(&thread->tid, 1); // until the kernel clears it
    long tid = scp_arch_clone(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                                  CLONE_SETTLS | CLONE_CHILD_CLEARTID,
                              page, page, (uint32_t *)&thread->tid, begin, page);
    if (tid >= 0)
        return 0;
    atomic_store(&thread->tid, 0);
    scp_helper_thread_end(thread);
    return (int)tid;
}

// The kernel clears the number when the thread does not use its memory any more, and wakes by a futex that is not private.
void scp_helper_thread_end(struct scp_helper_thread *thread) {
    uint32_t tid;
    while ((tid = atomic_load(&thread->tid)) != 0)
        scp_call(SYS_futex, &thread->tid, FUTEX_WAIT, tid, NULL, NULL, 0);
    scp_scratch_unmap(thread->memory);
    thread->memory = NULL;
}

bool scp_helper_threads_may(const struct scp_checkpoint *checkpoint) {
    return checkpoint->order->stopped_by == 0;
}
