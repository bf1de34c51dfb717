// A thread that writes one batch of a round while the checkpoint thread gathers the next: reading memory and writing the disk
// take about the same time each.
#include "memory.h"
#include "worker.h"

enum scp_writer_state { SCP_WRITER_IDLE, SCP_WRITER_BUSY, SCP_WRITER_LEAVES };

static void work(void *argument) {
    struct scp_writer *writer = argument;
    struct scp_memory *memory = writer->checkpoint->image_private;
    uint32_t state;
    while ((state = atomic_load(&writer->state)) != SCP_WRITER_LEAVES) {
        if (state == SCP_WRITER_IDLE) {
            scp_futex_wait(&writer->state, state, -1);
            continue;
        }
        writer->result = scp_sink_write(writer->checkpoint, &memory->writing);
        atomic_store(&writer->state, SCP_WRITER_IDLE);
        scp_futex_wake(&writer->state, 1);
    }
}

void scp_writer_open(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    struct scp_writer *writer = &memory->writer;
    if (scp_writer_runs(memory) || scp_helper_thread_map(&writer->thread, 0) == NULL)
        return;
    writer->checkpoint = checkpoint;
    atomic_store(&writer->state, SCP_WRITER_IDLE);
    scp_helper_thread_start(&writer->thread, work, writer);
}

bool scp_writer_runs(const struct scp_memory *memory) {
    return memory->writer.thread.memory != NULL;
}

void scp_writer_pass(struct scp_memory *memory) {
    atomic_store(&memory->writer.state, SCP_WRITER_BUSY);
    scp_futex_wake(&memory->writer.state, 1);
}

int scp_writer_await(struct scp_memory *memory) {
    struct scp_writer *writer = &memory->writer;
    while (atomic_load(&writer->state) == SCP_WRITER_BUSY)
        scp_futex_wait(&writer->state, SCP_WRITER_BUSY, -1);
    int result = writer->result;
    writer->result = 0;
    return result;
}

void scp_writer_close(struct scp_memory *memory) {
    struct scp_writer *writer = &memory->writer;
    if (!scp_writer_runs(memory))
        return;
    scp_writer_await(memory);
    atomic_store(&writer->state, SCP_WRITER_LEAVES);
    scp_futex_wake(&writer->state, 1);
    scp_helper_thread_end(&writer->thread);
    atomic_store(&writer->state, SCP_WRITER_IDLE);
    memory->filling.bytes = memory->sink;
}
