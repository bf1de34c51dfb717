// The tables of a checkpoint in progress: made before the pause, gone with the checkpoint.
#include <errno.h>

#include "slots.h"
#include "worker.h"

int scp_tables_open(struct scp_checkpoint *checkpoint) {
    const struct {
        struct scp_vector *vector;
        size_t element;
    } tables[] = {
        {&checkpoint->strings, 1},
        {&checkpoint->regions, sizeof(struct scp_region)},
        {&checkpoint->blocks, sizeof(struct scp_block)},
        {&checkpoint->blobs, sizeof(struct scp_blob)},
        {&checkpoint->threads, sizeof(struct scp_thread)},
        {&checkpoint->pending, sizeof(struct scp_pending)},
        {&checkpoint->timers, sizeof(struct scp_timer)},
        {&checkpoint->descriptors, sizeof(struct scp_descriptor)},
        {&checkpoint->objects, sizeof(struct scp_object)},
        {&checkpoint->watches, sizeof(struct scp_watch)},
        {&checkpoint->locks, sizeof(struct scp_lock)},
        {&checkpoint->zombies, sizeof(struct scp_zombie)},
        {&checkpoint->stopped, sizeof(uint32_t)},
    };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (scp_vector_open(tables[i].vector, tables[i].element, 64) < 0)
            return scp_fail(checkpoint, ENOMEM, "no memory for the tables of the checkpoint", (char *)NULL);
    scp_vector_add(&checkpoint->strings); // offset 0: the empty string
    return 0;
}

int scp_tables_threads(struct scp_checkpoint *checkpoint) {
    for (size_t i = 0; i < scp_slot_count(); i++) {
        struct scp_thread *thread = scp_vector_add(&checkpoint->threads);
        if (!thread)
            return scp_fail(checkpoint, ENOMEM, "no memory for the table of threads", (char *)NULL);
        *thread = scp_slot_at(i)->record;
        thread->slot = (uint64_t)(uintptr_t)scp_slot_at(i);
        thread->flags = i == 0 ? SCP_THREAD_LEADER : 0;
    }
    struct scp_thread *own = scp_vector_add(&checkpoint->threads);
    if (!own)
        return scp_fail(checkpoint, ENOMEM, "no memory for the table of threads", (char *)NULL);
    own->tid = scp_checkpoint_tid();
    own->flags = SCP_THREAD_CHECKPOINT;
    own->stack = (uint64_t)(uintptr_t)scp_checkpoint_stack_top;
    own->fs_base = scp_checkpoint_fs_base;
    own->system_call = UINT32_MAX;
    return 0;
}

void scp_tables_close(struct scp_checkpoint *checkpoint) {
    struct scp_vector *tables[] = {&checkpoint->strings, &checkpoint->regions,     &checkpoint->blocks,
                                   &checkpoint->blobs,   &checkpoint->threads,     &checkpoint->pending,
                                   &checkpoint->timers,  &checkpoint->descriptors, &checkpoint->objects,
                                   &checkpoint->watches, &checkpoint->locks,       &checkpoint->zombies,
                                   &checkpoint->stopped};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (tables[i]->base)
            scp_vector_close(tables[i]);
}
