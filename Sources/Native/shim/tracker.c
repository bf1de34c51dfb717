// Which pages were written since they were saved: userfaultfd in asynchronous write-protect mode, and PAGEMAP_SCAN.
//
// The kernel notes writes by itself, those of its own system calls too; nobody has to answer faults, and the program
// notices nothing but a little time at its first write to a page. What it does not see are writes through pages that
// were pinned before (direct reads, RDMA): programs that may do so are not tracked.
// Sources: Linux Documentation/admin-guide/mm/userfaultfd.rst, fs/proc/task_mmu.c (6.7).
#include <errno.h>
#include <fcntl.h>
#include <linux/ioctl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/mman.h>

#include "memory.h"
#include "state.h"
#include "worker.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#define FEATURE_ASYNC (1ull << 15) // UFFD_FEATURE_WP_ASYNC, 6.7
#define STEP (16ull << 20) // bytes whose marks are taken away at once
#define TRACKABLE_DESCRIPTORS 20000

// ---- who can be tracked --------------------------------------------------------------------------------------------------

static bool begins(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

// What a look at the program's descriptors knows.
struct look {
    char directory[64]; // of its main thread in /proc
    const char *why; // NULL, or what stands in the way
    size_t seen;
};

// NULL, or why this descriptor of the program stands in the way.
static const char *obstacle(const char *directory, uint32_t number) {
    char path[96], text[512];
    scp_concat(path, sizeof path, directory, "/fd/", scp_number(number).text, (char *)NULL);
    long length = scp_call(SYS_readlinkat, AT_FDCWD, path, text, sizeof text - 1);
    text[length < 0 ? 0 : length] = '\0';
    if (begins(text, "anon_inode:[userfaultfd]"))
        return "the program uses a userfaultfd itself";
    if (text[0] != '/')
        return NULL;
    scp_concat(path, sizeof path, directory, "/fdinfo/", scp_number(number).text, (char *)NULL);
    if (scp_read_small(path, text, sizeof text) < 0)
        return NULL; // closed meanwhile
    const char *flags = strstr(text, "flags:\t");
    uint64_t value = 0;
    for (flags = flags ? flags + 7 : ""; *flags >= '0' && *flags <= '7'; flags++)
        value = value << 3 | (uint64_t)(*flags - '0');
    return value & O_DIRECT ? "the program has a file open for direct reading" : NULL;
}

static int look_at(void *argument, uint32_t number) {
    struct look *look = argument;
    look->why = obstacle(look->directory, number);
    if (look->why == NULL && look->seen++ > TRACKABLE_DESCRIPTORS)
        look->why = "the program has too many descriptors to look at";
    return look->why != NULL ? -ECANCELED : 0;
}

static const char *descriptors_in_the_way(void) {
    struct look look = {.why = NULL};
    char list[72];
    scp_concat(look.directory, sizeof look.directory, "/proc/self/task/", scp_number(scp_own_pid).text, (char *)NULL);
    scp_concat(list, sizeof list, look.directory, "/fd", (char *)NULL);
    long descriptor = scp_open_own(list, O_RDONLY | O_DIRECTORY);
    if (descriptor < 0)
        return "its descriptors cannot be listed";
    int result = scp_visit_numbers((int)descriptor, look_at, &look);
    scp_call(SYS_close, descriptor);
    return result < 0 && look.why == NULL ? "its descriptors cannot be listed" : look.why;
}

static const char *status_in_the_way(void) {
    char text[4096];
    if (scp_read_small("/proc/self/status", text, sizeof text) < 0)
        return "/proc/self/status cannot be read";
    const char *pinned = strstr(text, "VmPin:");
    for (pinned = pinned ? pinned + 6 : "0"; *pinned == ' ' || *pinned == '\t';)
        pinned++;
    return *pinned == '0' ? NULL : "memory of the program is pinned for a device";
}

// ---- open and close ------------------------------------------------------------------------------------------------------

const char *scp_tracker_obstacle(void) {
    const char *why = status_in_the_way();
    return why == NULL ? descriptors_in_the_way() : why;
}

int scp_tracker_ready(struct scp_memory *memory) {
    int result = scp_memory_vector(&memory->tracker.lost, sizeof(struct scp_span), 64);
    return result == 0 ? scp_memory_vector(&memory->tracker.fresh, sizeof(struct scp_span), 256) : result;
}

int scp_tracker_open(struct scp_memory *memory, const char **why) {
    *why = scp_settings.untracked ? "SWIFTCP_TRACKER is off" : NULL;
    if (*why == NULL)
        *why = memory->scan_works ? scp_tracker_obstacle() : "this kernel has no PAGEMAP_SCAN (Linux 6.7)";
    if (*why != NULL)
        return -ENOTSUP;
    long descriptor = scp_call(SYS_userfaultfd, UFFD_USER_MODE_ONLY | O_CLOEXEC | O_NONBLOCK);
    struct uffdio_api api = {.api = UFFD_API, .features = FEATURE_ASYNC};
    long result = descriptor < 0 ? descriptor : scp_call(SYS_ioctl, descriptor, UFFDIO_API, &api);
    if (result == 0 && scp_tracker_ready(memory) == 0) {
        memory->tracker.descriptor = (int)descriptor;
        return 0;
    }
    *why = "this kernel has no asynchronous write protection (userfaultfd, Linux 6.7), or does not allow it";
    if (descriptor >= 0)
        scp_call(SYS_close, descriptor);
    return -ENOTSUP;
}

static uint64_t step_end(uint64_t at, uint64_t end) {
    uint64_t next = (at | (STEP - 1)) + 1;
    return next < end ? next : end;
}

static long clear_marks(int descriptor, uint64_t start, uint64_t end) {
    struct uffdio_writeprotect clear = {.range = {.start = start, .len = end - start}, .mode = 0};
    return scp_call(SYS_ioctl, descriptor, UFFDIO_WRITEPROTECT, &clear);
}

// The kernel stops at the first page that is not tracked (any more); what lies behind it has its marks taken away all the same.
static void clear_surely(int descriptor, uint64_t start, uint64_t end) {
    if (clear_marks(descriptor, start, end) == 0 || end - start <= SCP_PAGE)
        return;
    uint64_t middle = (start + (end - start) / 2) & ~(uint64_t)(SCP_PAGE - 1);
    clear_surely(descriptor, start, middle);
    clear_surely(descriptor, middle, end);
}

// The marks go step by step, while the program may fault. (Unregistering in steps would split mappings, and the
// program's mremap does not work across such a seam.) Closing then holds up new mappings and pages for 20 ms per GiB.
void scp_tracker_close(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    int descriptor = memory->tracker.descriptor;
    scp_vector_close(&memory->tracker.lost);
    scp_vector_close(&memory->tracker.fresh);
    if (descriptor < 0)
        return;
    for (size_t i = 0; i < checkpoint->regions.count; i++) {
        const struct scp_region *region = scp_vector_at(&checkpoint->regions, i);
        for (uint64_t at = region->start; scp_tracker_wants(region) && at < region->end; at = step_end(at, region->end))
            clear_marks(descriptor, at, step_end(at, region->end)); // what is no more has no marks
    }
    scp_call(SYS_close, descriptor);
    memory->tracker.descriptor = -1;
    atomic_store(&scp_memory_tracked, false);
}

// ---- regions -------------------------------------------------------------------------------------------------------------

bool scp_tracker_wants(const struct scp_region *region) {
    if (region->flags & (SCP_REGION_HUGETLB | SCP_REGION_SHIM) || region->vm_flags & SCP_VM_DROPPABLE)
        return false;
    return region->kind == SCP_REGION_ANONYMOUS || region->kind == SCP_REGION_FILE;
}

// Neighbours together. Only what is known to be new, though the program, which maps and unmaps meanwhile, may have made other
// mappings of it by now, and a seam in one: what has just lost its tracker (a move by mremap takes it from a neighbour that the
// kernel merges with) would have it again with marks of which nobody knows how old they are. Where it fails, the pause finds
// memory untracked.
static void register_fresh(const struct scp_memory *memory) {
    const struct scp_span *fresh = memory->tracker.fresh.base;
    for (size_t i = 0, next; i < memory->tracker.fresh.count; i = next) {
        for (next = i + 1; next < memory->tracker.fresh.count && fresh[next].start == fresh[next - 1].end;)
            next++;
        struct uffdio_register request = {.range = {fresh[i].start, fresh[next - 1].end - fresh[i].start},
                                          .mode = UFFDIO_REGISTER_MODE_WP};
        scp_call(SYS_ioctl, memory->tracker.descriptor, UFFDIO_REGISTER, &request);
    }
}

int scp_tracker_register(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    struct scp_vector *fresh = &memory->tracker.fresh;
    fresh->count = 0;
    for (size_t i = 0; i < checkpoint->regions.count; i++) {
        const struct scp_region *region = scp_vector_at(&checkpoint->regions, i);
        if (!scp_tracker_wants(region) || scp_pages_tracked(memory, region->start))
            continue;
        struct scp_span span = {region->start, region->end};
        if (scp_vector_append(fresh, &span, 1) != 0)
            return scp_fail(checkpoint, ENOMEM, "no memory for the table of new memory", NULL);
    }
    if (fresh->count == 0)
        return 0;
    atomic_store(&scp_memory_tracked, true);
    register_fresh(memory);
    // Marks of another time: kernels before 6.14 let pages keep them when mremap moves them.
    for (size_t i = 0; i < fresh->count; i++) {
        const struct scp_span *span = scp_vector_at(fresh, i);
        for (uint64_t at = span->start; at < span->end; at = step_end(at, span->end))
            clear_surely(memory->tracker.descriptor, at, step_end(at, span->end));
    }
    return 0;
}

bool scp_tracker_has_lost(const struct scp_memory *memory, uint64_t start, uint64_t end) {
    const struct scp_span *lost = memory->tracker.lost.base;
    for (size_t i = 0; i < memory->tracker.lost.count; i++)
        if (lost[i].start < end && start < lost[i].end)
            return true;
    return false;
}

void scp_tracker_lose(struct scp_memory *memory, uint64_t start, uint64_t end) {
    struct scp_span *last = scp_vector_add(&memory->tracker.lost);
    if (last == NULL) { // not even room for that: all of it counts as written
        last = memory->tracker.lost.base;
        start = 0;
        end = UINT64_MAX;
    }
    *last = (struct scp_span){start, end};
}
