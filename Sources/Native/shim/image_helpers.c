// Threads that compress: made by a raw clone, like the checkpoint thread, and gone again before the threads are stopped, so
// that no checkpoint ever meets them. They touch nothing but the packs and scratch memory of their own.
#include <errno.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/resource.h>

#include "encode.h"
#include "worker.h"

#define STACK_BYTES (64u << 10)
#define MEMORY_MAXIMUM (48ull << 20) // bytes, of all of them
#define POLITE 5 // nice levels below the program's threads

// ---- in a helper ---------------------------------------------------------------------------------------------------------

static void work(struct scp_helper *helper) {
    struct scp_helpers *helpers = &helper->encoder->helpers;
    while (!atomic_load(&helpers->stop)) {
        uint32_t seen = atomic_load(&helpers->events);
        if (atomic_load(&helpers->stop) || scp_encode_one(helper->encoder, helper->codec))
            continue;
        scp_futex_wait(&helpers->events, seen, -1);
    }
}

static void begin(void *argument) {
    struct scp_helper *helper = argument;
    long nice = 20 - scp_call(SYS_getpriority, PRIO_PROCESS, 0); // the system call answers 20 - nice
    scp_call(SYS_setpriority, PRIO_PROCESS, 0, nice + POLITE > 19 ? 19 : nice + POLITE);
    work(helper);
    for (;;)
        scp_call(SYS_exit, 0);
}

// ---- start and end -------------------------------------------------------------------------------------------------------

static uint32_t processors(void) {
    uint64_t mask[128];
    long bytes = scp_call(SYS_sched_getaffinity, 0, sizeof mask, mask);
    uint32_t count = 0;
    for (long i = 0; i < bytes / 8; i++)
        count += (uint32_t)__builtin_popcountll(mask[i]);
    return count > 0 ? count : 1;
}

//   stack | page: where fs points | codec
static int start(struct scp_encoder *encoder, struct scp_helper *helper, size_t codec_bytes) {
    helper->encoder = encoder;
    helper->bytes = STACK_BYTES + SCP_PAGE + codec_bytes;
    helper->memory = scp_scratch_map(helper->bytes);
    if (helper->memory == NULL)
        return -ENOMEM;
    uint8_t *base = helper->memory + STACK_BYTES;
    memcpy(base, &base, sizeof base); // libc's block begins with its own address
    helper->codec = scp_codec_open(base + SCP_PAGE, codec_bytes);
    atomic_store(&helper->tid, 1); // until the kernel clears it
    long tid = scp_arch_clone(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                                  CLONE_SETTLS | CLONE_CHILD_CLEARTID,
                              base, base, (uint32_t *)&helper->tid, begin, helper);
    if (tid >= 0)
        return 0;
    scp_scratch_unmap(helper->memory);
    helper->memory = NULL;
    return (int)tid;
}

void scp_helpers_start(struct scp_encoder *encoder) {
    struct scp_helpers *helpers = &encoder->helpers;
    struct scp_method largest = scp_choice_largest(&encoder->choice);
    size_t bytes = scp_codec_bytes(&largest);
    uint32_t wanted = processors();
    wanted = wanted < SCP_HELPERS_MAXIMUM ? wanted : SCP_HELPERS_MAXIMUM;
    while (wanted > 1 && wanted * (uint64_t)bytes > MEMORY_MAXIMUM)
        wanted--;
    atomic_store(&helpers->stop, 0);
    while (helpers->count < wanted && start(encoder, &helpers->one[helpers->count], bytes) == 0)
        helpers->count++;
}

// The kernel clears the number when the thread does not use its memory any more, and wakes by a futex that is not private.
static void await_end(struct scp_helper *helper) {
    uint32_t tid;
    while ((tid = atomic_load(&helper->tid)) != 0)
        scp_call(SYS_futex, &helper->tid, FUTEX_WAIT, tid, NULL, NULL, 0);
}

void scp_helpers_stop(struct scp_encoder *encoder) {
    struct scp_helpers *helpers = &encoder->helpers;
    atomic_store(&helpers->stop, 1);
    atomic_fetch_add(&helpers->events, 1);
    scp_futex_wake(&helpers->events, SCP_HELPERS_MAXIMUM);
    for (; helpers->count > 0; helpers->count--) {
        struct scp_helper *helper = &helpers->one[helpers->count - 1];
        await_end(helper);
        scp_scratch_unmap(helper->memory);
        helper->memory = NULL;
    }
}
