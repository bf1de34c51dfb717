// Threads that compress (helper_thread.c). They touch nothing but the packs and scratch memory of their own.
#include <errno.h>
#include <sys/resource.h>

#include "encode.h"
#include "worker.h"

#define MEMORY_MAXIMUM (35ull << 20) // bytes, of all of them: with ring and outputs about 64 MiB
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

static int start(struct scp_encoder *encoder, struct scp_helper *helper, size_t codec_bytes) {
    helper->encoder = encoder;
    void *memory = scp_helper_thread_map(&helper->thread, codec_bytes);
    if (memory == NULL)
        return -ENOMEM;
    helper->codec = scp_codec_open(memory, codec_bytes);
    return scp_helper_thread_start(&helper->thread, begin, helper);
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

void scp_helpers_stop(struct scp_encoder *encoder) {
    struct scp_helpers *helpers = &encoder->helpers;
    atomic_store(&helpers->stop, 1);
    atomic_fetch_add(&helpers->events, 1);
    scp_futex_wake(&helpers->events, SCP_HELPERS_MAXIMUM);
    for (; helpers->count > 0; helpers->count--)
        scp_helper_thread_end(&helpers->one[helpers->count - 1].thread);
}
