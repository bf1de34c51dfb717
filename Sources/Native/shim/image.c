// The checkpoint image as a file: created before the pause, memory in the pause, metadata and fsync after it.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "memory.h"

// ---- what a checkpoint's image needs while it is made -------------------------------------------------------------------

static bool swap_in_use(void) {
    char text[2048];
    if (scp_read_small("/proc/meminfo", text, sizeof text) < 0)
        return true; // not known: the careful way
    const char *total = strstr(text, "SwapTotal:"), *unused = strstr(text, "SwapFree:");
    if (total == NULL || unused == NULL)
        return total != NULL;
    for (total += 10; *total == ' ';)
        total++;
    for (unused += 9; *unused == ' ';)
        unused++;
    return scp_parse_decimal(&total) != scp_parse_decimal(&unused);
}

static int open_vectors(struct scp_checkpoint *checkpoint, struct scp_memory *memory) {
    int result = scp_vector_open(&memory->maps, 1, 256u << 10);
    if (result == 0)
        result = scp_vector_open(&memory->marks.all, sizeof(struct scp_mark), 1024);
    if (result == 0)
        result = scp_vector_open(&memory->thread_notes, 1, 64u << 10);
    memory->staging = scp_scratch_map(SCP_BLOCK_MAXIMUM);
    memory->residency = scp_scratch_map(SCP_BLOCK_MAXIMUM);
    memory->ranges = scp_scratch_map(SCP_SCAN_RANGES * sizeof *memory->ranges);
    memory->sink = memory->filling.bytes = scp_scratch_map(SCP_SINK_BYTES);
    memory->sink_limit = SCP_SINK_WRITE;
    const struct {
        struct scp_vector *vector;
        size_t element, capacity;
    } tables[] = {{&memory->saved, sizeof(struct scp_block), 4096},
                  {&memory->sums, sizeof(uint64_t), 65536},
                  {&memory->dropped, sizeof(struct scp_span), 256},
                  {&memory->files, sizeof(struct scp_parent_file), 16},
                  {&memory->lazy_parts, sizeof(struct scp_lazy_part), 16},
                  {&memory->filling.parts, sizeof(struct scp_sink_part), 4096},
                  {&memory->writing.parts, sizeof(struct scp_sink_part), 4096}};
    for (size_t i = 0; result == 0 && i < sizeof tables / sizeof *tables; i++)
        result = scp_vector_open(tables[i].vector, tables[i].element, tables[i].capacity);
    if (result == 0 && scp_encode_open(checkpoint) < 0)
        return -ENOMEM;
    bool all = memory->staging && memory->residency && memory->ranges && memory->sink;
    return all ? result : -ENOMEM;
}

static int open_own_files(struct scp_checkpoint *checkpoint, struct scp_memory *memory) {
    memory->pagemap = scp_open_own("/proc/self/pagemap", O_RDONLY);
    if (memory->pagemap < 0)
        return scp_fail(checkpoint, memory->pagemap, "cannot open /proc/self/pagemap", NULL);
    memory->memory = scp_open_own("/proc/self/mem", O_RDONLY);
    if (memory->memory < 0)
        return scp_fail(checkpoint, memory->memory, "cannot open /proc/self/mem", NULL);
    long result = scp_call(SYS_pipe2, memory->pipe, O_CLOEXEC | O_NONBLOCK);
    return result < 0 ? scp_fail(checkpoint, (int)result, "cannot make a pipe", NULL) : 0;
}

struct scp_memory *scp_memory_get(struct scp_checkpoint *checkpoint) {
    if (checkpoint->image_private != NULL)
        return checkpoint->image_private;
    struct scp_memory *memory = scp_scratch_map(sizeof *memory);
    if (memory == NULL) {
        scp_fail(checkpoint, ENOMEM, "no memory to make an image", NULL);
        return NULL;
    }
    memory->pagemap = memory->memory = memory->pipe[0] = memory->pipe[1] = memory->tracker.descriptor = memory->direct =
        memory->child.process = memory->spill.file = memory->file_pages.descriptor = memory->marks_reader.smaps = -1;
    checkpoint->image_private = memory;
    if (open_vectors(checkpoint, memory) != 0)
        scp_fail(checkpoint, ENOMEM, "no memory to make an image", NULL);
    else if (open_own_files(checkpoint, memory) == 0) {
        scp_pages_probe(memory);
        memory->swap_in_use = swap_in_use();
        return memory;
    }
    scp_memory_close(checkpoint);
    return NULL;
}

static void close_descriptor(int *descriptor) {
    if (*descriptor >= 0)
        scp_call(SYS_close, *descriptor);
    *descriptor = -1;
}

void scp_memory_close(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    if (memory == NULL)
        return;
    scp_child_end(memory);
    scp_marks_close(memory);
    scp_writer_close(memory);
    scp_spill_close(memory);
    scp_tracker_close(checkpoint);
    scp_encode_close(memory);
    scp_file_pages_close(memory);
    scp_sink_close_direct(memory);
    struct scp_vector *vectors[] = {&memory->maps,          &memory->marks.all,    &memory->loads,
                                    &memory->metadata,      &memory->thread_notes, &memory->saved,
                                    &memory->sums,          &memory->dropped,      &memory->filling.parts,
                                    &memory->writing.parts, &memory->files,        &memory->lazy_parts};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        scp_vector_close(vectors[i]);
    int *descriptors[] = {&memory->pagemap, &memory->memory, &memory->pipe[0], &memory->pipe[1]};
    for (size_t i = 0; i < sizeof descriptors / sizeof *descriptors; i++)
        close_descriptor(descriptors[i]);
    scp_scratch_unmap(memory->staging);
    scp_scratch_unmap(memory->residency);
    scp_scratch_unmap(memory->ranges);
    scp_scratch_unmap(memory->sink);
    scp_scratch_unmap(memory);
    checkpoint->image_private = NULL;
}

// ---- the file ---------------------------------------------------------------------------------------------------------

int scp_image_open(struct scp_checkpoint *checkpoint) {
    if (scp_memory_get(checkpoint) == NULL)
        return -checkpoint->error;
    const char *path = checkpoint->order->path;
    const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    long file = scp_call(SYS_openat, AT_FDCWD, path, flags, 0600);
    if (file == -EEXIST) { // a rest of one that was given up; an image is never written in place
        scp_call(SYS_unlinkat, AT_FDCWD, path, 0);
        file = scp_call(SYS_openat, AT_FDCWD, path, flags, 0600);
    }
    if (file < 0)
        return scp_image_fail(checkpoint, (int)file, "create");
    checkpoint->image = (int)file;
    scp_call(SYS_fchmod, file, 0600); // whatever the program's umask says
    checkpoint->file_position = SCP_DATA_OFFSET;
    if (scp_memory_vector(&checkpoint->blocks, sizeof(struct scp_block), 4096) != 0)
        return scp_fail(checkpoint, ENOMEM, "no memory for the table of blocks", NULL);
    return 0;
}

static uint64_t clock_ns(int clock) {
    struct timespec now = {0, 0};
    scp_call(SYS_clock_gettime, clock, &now);
    return scp_ns_of(now);
}

int scp_image_write_memory(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    memory->created_realtime = clock_ns(CLOCK_REALTIME);
    memory->created_monotonic = clock_ns(CLOCK_MONOTONIC);
    memory->created_boottime = clock_ns(CLOCK_BOOTTIME);
    int result = scp_notes_threads(checkpoint);
    // Who is to stand still until the image is complete needs no child.
    if (checkpoint->order->flags & (SCP_CHECKPOINT_SEAL | SCP_CHECKPOINT_STAY_STOPPED))
        memory->defers = false;
    scp_encode_plain(checkpoint, checkpoint->snapshot == SCP_SNAPSHOT_PRECOPY);
    scp_saved_begin(checkpoint, SCP_PASS_LAST);
    scp_scanner_open(checkpoint);
    for (size_t i = 0; result == 0 && i < checkpoint->regions.count; i++) {
        const struct scp_region *region = scp_vector_at(&checkpoint->regions, i);
        result = scp_pages_scan(checkpoint, region, scp_saved_run);
    }
    scp_scanner_close(memory);
    if (result == 0)
        result = scp_saved_end(checkpoint);
    if (result == 0)
        result = scp_parent_settle(checkpoint);
    if (result == 0)
        result = scp_snapshot_settle(checkpoint);
    return result < 0 || checkpoint->order->snapshot != SCP_SNAPSHOT_STOP ? result : scp_sink_flush(checkpoint);
}

// Network file systems tell at close what they could not write. The descriptor is gone whatever close says.
static int close_image(struct scp_checkpoint *checkpoint) {
    long result = scp_call(SYS_close, checkpoint->image);
    checkpoint->image = -1;
    return result < 0 && result != -EINTR ? scp_image_fail(checkpoint, (int)result, "write") : 0;
}

int scp_image_seal(struct scp_checkpoint *checkpoint) {
    if (checkpoint->metadata_checksum != 0)
        return 0;
    if (scp_child_runs(checkpoint))
        return scp_child_await(checkpoint);
    int result = scp_spill_empty(checkpoint, true);
    if (result == 0)
        result = scp_sink_flush(checkpoint);
    if (result == 0)
        result = scp_encode_rest(checkpoint);
    if (result == 0)
        result = scp_saved_finish(checkpoint);
    if (result == 0)
        result = scp_layout(checkpoint);
    if (result == 0)
        result = scp_metadata(checkpoint);
    if (result == 0)
        result = scp_metadata_write(checkpoint);
    return result;
}

int scp_image_sync(struct scp_checkpoint *checkpoint) {
    long synced = scp_call(SYS_fsync, checkpoint->image);
    return synced < 0 ? scp_image_fail(checkpoint, (int)synced, "write") : 0;
}

// The program runs again, and its tracker, if no other checkpoint needs it, is closed first: it makes first writes to pages
// dearer. But where several processes are to go on, their processors are not taken for that before the image is durable.
int scp_image_finish(struct scp_checkpoint *checkpoint) {
    if (checkpoint->processes <= 1 && !scp_parent_wanted(checkpoint))
        scp_tracker_close(checkpoint);
    scp_sink_limit(checkpoint, !(checkpoint->order->flags & SCP_CHECKPOINT_STAY_STOPPED));
    scp_encode_plain(checkpoint, false);
    int result = scp_image_seal(checkpoint);
    if (result == 0) {
        scp_call(SYS_sync_file_range, checkpoint->image, 0, 0, SYNC_FILE_RANGE_WRITE); // the disk begins meanwhile
        scp_parent_offer(checkpoint);
        result = scp_image_sync(checkpoint);
    }
    if (result == 0)
        result = close_image(checkpoint);
    if (result == 0)
        scp_memory_close(checkpoint);
    return result;
}

void scp_image_abandon(struct scp_checkpoint *checkpoint) {
    // bytes_written: finished and closed, and the checkpoint failed elsewhere.
    if (checkpoint->image >= 0 || checkpoint->bytes_written > 0)
        scp_call(SYS_unlinkat, AT_FDCWD, checkpoint->order->path, 0);
    close_descriptor(&checkpoint->image);
    scp_parent_reject(checkpoint);
    scp_memory_close(checkpoint);
}
