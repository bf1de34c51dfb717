#include "crestart_progress.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include "crestart_process.h"
#include "swiftcp_plan.h"

int crestart_progress_open(struct crestart_progress *progress) {
    *progress = (struct crestart_progress){.memory = -1};
    int memory = crestart_memory_create("swiftcp_progress", sizeof(struct scp_plan_progress));
    if (memory < 0)
        return memory;
    void *page = mmap(NULL, sizeof(struct scp_plan_progress), PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (page == MAP_FAILED) {
        int error = errno;
        close(memory);
        return -error;
    }
    *progress = (struct crestart_progress){memory, &((struct scp_plan_progress *)page)->done};
    return 0;
}

void crestart_progress_close(struct crestart_progress *progress) {
    if (progress->memory < 0)
        return;
    munmap(progress->done, sizeof(struct scp_plan_progress));
    close(progress->memory);
    *progress = (struct crestart_progress){.memory = -1};
}

void crestart_progress_reset(struct crestart_progress *progress) {
    if (progress->done)
        __atomic_store_n(progress->done, 0, __ATOMIC_RELAXED);
}

void crestart_progress_add(const struct crestart_progress *progress, uint64_t bytes) {
    if (progress->done)
        __atomic_fetch_add(progress->done, bytes, __ATOMIC_RELAXED);
}

uint64_t crestart_progress_done(const struct crestart_progress *progress) {
    return progress->done ? __atomic_load_n(progress->done, __ATOMIC_RELAXED) : 0;
}
