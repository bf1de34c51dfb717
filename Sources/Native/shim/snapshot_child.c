// The copy-on-write child: a copy of the process that holds memory as it was at the instant, and writes it while the
// program runs on. For programs that write faster than the disk takes, and for kernels that do not tell what was written.
//
//   the pause    a pass over all memory; what is private is only noted (deferred): no byte of it is copied
//                clone: no exit signal, so that the program's wait does not see it; the page tables are copied
//   child        lets go of all that it does not need, writes what was deferred, completes the image, ends
//   we           wait for its end; then the image is ours again
//
// It is a copy of the checkpoint thread, so it has that one's table of descriptors and none of the program's: no end of a
// pipe, no lock, no description outlives its close because of it. Docs/decisions/0010-copy-on-write-child.md has the rest.
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "memory.h"
#include "state.h"
#include "worker.h"

#define LARGE_FILE_REGION (16ull << 20) // bytes; smaller ones are copied in the pause, so that their files are not held
#define LARGE_REGION (1ull << 20) // bytes; holding smaller ones costs nobody anything
#define MANY_DESCRIPTORS 65536
#define LOOK_MS 500 // how often the coordinator's word is looked for at least

// What the child tells. Shared with it.
struct scp_child_word {
    int32_t error; // errno value; 0 = the image is complete
    uint64_t bytes_written, memory_bytes, metadata_checksum, file_position;
    char error_text[1016];
};

static struct scp_memory *memory_of(const struct scp_checkpoint *checkpoint) {
    return checkpoint->image_private;
}

// ---- what is left to it -----------------------------------------------------------------------------------------------

bool scp_child_defers(const struct scp_memory *memory, const struct scp_region *region, enum scp_run_class class) {
    const uint32_t never = SCP_REGION_HUGETLB | SCP_REGION_SHIM | SCP_REGION_DONTFORK | SCP_REGION_WIPEONFORK;
    if (!memory->defers || region->flags & never || region->vm_flags & SCP_VM_DROPPABLE)
        return false;
    if (class == SCP_RUN_CLEAN || class == SCP_RUN_GUARD || class == SCP_RUN_MAYBE)
        return false; // who reads the file later reads what others have made of it
    if (region->kind == SCP_REGION_FILE)
        return region->end - region->start >= LARGE_FILE_REGION;
    return region->kind == SCP_REGION_ANONYMOUS || region->kind == SCP_REGION_DEVICE_ZERO;
}

// ---- in the child -----------------------------------------------------------------------------------------------------

static bool holds_address(const struct scp_region *region, const void *address) {
    return (uintptr_t)address >= region->start && (uintptr_t)address < region->end;
}

static bool has_deferred(const struct scp_checkpoint *checkpoint, const struct scp_region *region, size_t *cursor) {
    const struct scp_block *block;
    bool found = false;
    while ((block = scp_vector_at(&checkpoint->blocks, *cursor)) != NULL && block->address < region->end) {
        found = found || block->flags & SCP_SAVED_DEFERRED;
        ++*cursor;
    }
    return found;
}

// Shared memory, files and large memory that the image has already: an object lives as long as somebody maps it, and a
// page that somebody else has too is copied when the program writes to it.
static void let_go(const struct scp_checkpoint *checkpoint) {
    const struct scp_region *libc = NULL;
    size_t cursor = 0;
    for (size_t i = 0; i < checkpoint->regions.count && libc == NULL; i++) {
        const struct scp_region *region = scp_vector_at(&checkpoint->regions, i);
        libc = holds_address(region, (const void *)(uintptr_t)&memcpy) ? region : NULL;
    }
    for (size_t i = 0; i < checkpoint->regions.count; i++) {
        const struct scp_region *region = scp_vector_at(&checkpoint->regions, i);
        bool of_libc = libc != NULL && region->inode == libc->inode && region->device == libc->device;
        bool own = region->flags & SCP_REGION_SHIM || of_libc || holds_address(region, &cursor);
        bool kernels = region->kind == SCP_REGION_VDSO || region->kind == SCP_REGION_VVAR;
        bool small = region->kind == SCP_REGION_ANONYMOUS && region->end - region->start < LARGE_REGION;
        if (!has_deferred(checkpoint, region, &cursor) && !own && !kernels && !small)
            scp_call(SYS_munmap, region->start, region->end - region->start);
    }
}

// A signal to the program's group, its terminal's end or a lack of memory must not come between, nor it between others.
static void step_aside(uint32_t parent) {
    static const char most[] = "1000";
    uint64_t no_core[2] = {0, 0};
    scp_call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if ((uint32_t)scp_call(SYS_getppid) != parent)
        scp_call(SYS_exit_group, 1);
    scp_call(SYS_setsid);
    scp_call(SYS_prctl, PR_SET_NAME, SCP_CHILD_NAME, 0, 0, 0);
    scp_call(SYS_prlimit64, 0, RLIMIT_CORE, no_core, NULL);
    scp_call(SYS_chdir, "/");
    int file = scp_open_own("/proc/self/oom_score_adj", O_WRONLY);
    if (file >= 0) {
        scp_call(SYS_write, file, most, sizeof most - 1);
        scp_call(SYS_close, file);
    }
}

// All descriptors but one, or two.
static void close_but(int one, int other) {
    int low = other < 0 || one < other ? one : other, high = one < other ? other : one;
    bool known = scp_call(SYS_close_range, high + 1, ~0u, 0) != -ENOSYS;
    for (int descriptor = 0; descriptor < (known ? high : MANY_DESCRIPTORS); descriptor++)
        if (descriptor != low && descriptor != high)
            scp_call(SYS_close, descriptor);
}

// The program's pagemap and mem are open, and belong to the program's memory, not to this copy of it.
static int take_descriptors(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = memory_of(checkpoint);
    close_but(checkpoint->image, memory->spill.file);
    memory->pagemap = memory->pipe[0] = memory->pipe[1] = memory->tracker.descriptor = memory->direct = -1;
    memory->memory = scp_open_own("/proc/self/mem", O_RDONLY);
    return memory->memory < 0 ? scp_fail(checkpoint, memory->memory, "cannot open /proc/self/mem", (char *)NULL) : 0;
}

// Advice that was given after smaps was read last: such memory is zero here, or not here at all.
static int check_marks(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = memory_of(checkpoint);
    size_t cursor = 0, next = 0;
    int result = scp_marks_read(checkpoint);
    for (size_t i = 0; result == 0 && i < checkpoint->regions.count; i++) {
        const struct scp_region *region = scp_vector_at(&checkpoint->regions, i);
        if (!has_deferred(checkpoint, region, &cursor))
            continue;
        const struct scp_mark *mark;
        while ((mark = scp_vector_at(&memory->marks.all, next)) != NULL && mark->end <= region->start)
            next++;
        if (mark == NULL || mark->start > region->start || mark->end < region->end ||
            mark->flags & SCP_REGION_WIPEONFORK) {
            char name[512];
            scp_memory_name(checkpoint, region, name);
            result = scp_fail(checkpoint, EAGAIN, "the program has just kept memory from its children (madvise) at ",
                              name, "; try again", (char *)NULL);
        }
    }
    return result;
}

void scp_child_give_back(uint64_t start, uint64_t end) {
    uint64_t top = (uintptr_t)scp_checkpoint_stack_top; // of the stack that we stand on, with what lies around it
    if (end - start >= LARGE_REGION && (end <= top - LARGE_REGION || start >= top + LARGE_REGION))
        scp_call(SYS_madvise, start, end - start, MADV_DONTNEED);
}

static int complete_image(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = memory_of(checkpoint);
    int result = take_descriptors(checkpoint);
    if (result == 0) {
        let_go(checkpoint);
        result = check_marks(checkpoint);
    }
    if (result < 0)
        return result;
    scp_sink_limit(checkpoint, true);
    scp_encode_plain(checkpoint, false);
    if (memory->deferred_bytes >= SCP_DIRECT_FROM)
        scp_sink_open_direct(checkpoint);
    result = scp_spill_empty(checkpoint, false);
    if (result == 0)
        result = scp_sink_flush(checkpoint); // what the pause has copied
    memory->sink_limit = memory->direct >= 0 && memory->encoder == NULL ? SCP_SINK_DIRECT : SCP_SINK_WRITE;
    if (result == 0)
        result = scp_saved_settle(checkpoint, true);
    return result == 0 ? scp_image_seal(checkpoint) : result;
}

static __attribute__((noreturn)) void live(struct scp_checkpoint *checkpoint, uint32_t parent) {
    struct scp_memory *memory = memory_of(checkpoint);
    struct scp_child_word *word = memory->child.word;
    memory->child = (struct scp_child){.process = -1};
    memory->defers = false;
    step_aside(parent);
    scp_pace_set(SCP_PACE_PATIENT);
    int result = complete_image(checkpoint);
    word->bytes_written = checkpoint->bytes_written;
    word->memory_bytes = checkpoint->memory_bytes;
    word->metadata_checksum = checkpoint->metadata_checksum;
    word->file_position = checkpoint->file_position;
    memcpy(word->error_text, checkpoint->error_text, sizeof word->error_text);
    word->error = result == 0 ? 0 : checkpoint->error ? checkpoint->error : -result;
    for (;;)
        scp_call(SYS_exit_group, 0);
}

// ---- in the program ---------------------------------------------------------------------------------------------------

int scp_child_start(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = memory_of(checkpoint);
    struct scp_child *child = &memory->child;
    uint32_t own = (uint32_t)scp_call(SYS_getpid);
    child->word = scp_scratch_map_shared(sizeof *child->word);
    if (child->word == NULL)
        return -ENOMEM;
    child->word->error = ECHILD; // until it says otherwise
    scp_scratch_inherit(true);
    // A tracer that follows the program's children does not get this one.
    long pid = scp_call(SYS_clone, CLONE_UNTRACED | CLONE_PIDFD, 0, &child->process, 0, 0);
    if (pid == 0)
        live(checkpoint, own);
    scp_scratch_inherit(false);
    if (pid < 0) {
        child->process = -1;
        return (int)pid;
    }
    child->pid = (uint32_t)pid;
    return 0;
}

bool scp_child_runs(const struct scp_checkpoint *checkpoint) {
    const struct scp_memory *memory = checkpoint->image_private;
    return memory != NULL && memory->child.pid != 0;
}

// Waits for its end and takes what the kernel keeps of it.
static int reap(struct scp_child *child) {
    struct rusage used;
    int status = 0;
    memset(&used, 0, sizeof used);
    while (scp_call(SYS_wait4, child->pid, &status, __WALL, &used) == -EINTR)
        ;
    scp_children_discount(used.ru_minflt);
    scp_call(SYS_close, child->process);
    child->process = -1;
    child->pid = 0;
    return status;
}

void scp_child_end(struct scp_memory *memory) {
    struct scp_child *child = &memory->child;
    if (child->pid != 0) {
        scp_call(SYS_kill, child->pid, SIGKILL);
        reap(child);
    }
    scp_scratch_unmap(child->word);
    child->word = NULL;
}

// Until it has ended, or the checkpoint is given up.
static int await_end(const struct scp_child *child) {
    for (;;) {
        struct pollfd events[] = {{child->process, POLLIN, 0}, {scp_link.socket, POLLIN, 0}};
        struct timespec limit = {0, LOOK_MS * 1000000l};
        scp_call(SYS_ppoll, events, 2, &limit, NULL, 8);
        if (events[0].revents != 0)
            return 0;
        int result = scp_worker_heed();
        if (result < 0)
            return result;
    }
}

int scp_child_await(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = memory_of(checkpoint);
    const struct scp_child_word *word = memory->child.word;
    int result = await_end(&memory->child);
    if (result < 0)
        return result; // scp_memory_close ends the child
    int status = reap(&memory->child);
    if (WIFSIGNALED(status))
        return scp_fail(checkpoint, EIO, "the copy of the process that wrote the image was killed by signal ",
                        scp_number((uint32_t)WTERMSIG(status)).text,
                        WTERMSIG(status) == SIGKILL ? " (is memory short?)" : "",
                        "; the program runs on; try again, or choose --snapshot stop", (char *)NULL);
    checkpoint->bytes_written = word->bytes_written;
    if (word->error != 0)
        return scp_fail(checkpoint, word->error,
                        word->error_text[0] ? word->error_text : "the copy of the process that wrote the image failed",
                        (char *)NULL);
    checkpoint->memory_bytes = word->memory_bytes;
    checkpoint->metadata_checksum = word->metadata_checksum;
    checkpoint->file_position = word->file_position;
    return 0;
}
