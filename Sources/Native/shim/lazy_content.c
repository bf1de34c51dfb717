// What a lazy restart has mapped from an image and nobody has written since is what stands in that image, which never changes.
// Before the pause it is read from there, not from memory: the program runs, and may have something else at the address for a
// moment (moved away by mremap, and back again), which nobody would notice.
//
// The images stay open from one checkpoint to the next, since older generations are removed. One that cannot be opened is
// read from memory, and compared in the pause (image_same.c).
#include <errno.h>

#include "memory.h"

#define FILES_MAXIMUM (SCP_ANCESTORS_MAXIMUM + 1) // an image and those it needs

static struct lazy_file {
    uint64_t device, inode;
    int descriptor; // in the checkpoint thread's private table
} files[FILES_MAXIMUM];
SCP_FORK_DATA static size_t file_count;

SCP_FORK_CODE void scp_lazy_forget(void) {
    file_count = 0;
}

static int descriptor_of(const struct scp_region *region, const char *path) {
    for (size_t i = 0; i < file_count; i++)
        if (files[i].inode == region->inode && files[i].device == region->device)
            return files[i].descriptor;
    int descriptor = file_count < FILES_MAXIMUM ? scp_open_mapped(region, path) : -1;
    if (descriptor >= 0)
        files[file_count++] = (struct lazy_file){region->device, region->inode, descriptor};
    return descriptor;
}

int scp_lazy_note(struct scp_memory *memory, const struct scp_region *region, const char *path) {
    struct scp_lazy_part part = {region->start, region->file_offset, descriptor_of(region, path)};
    return scp_vector_append(&memory->lazy_parts, &part, 1);
}

static const struct scp_lazy_part *part_of(const struct scp_memory *memory, const struct scp_region *region) {
    const struct scp_lazy_part *parts = memory->lazy_parts.base;
    size_t low = 0, high = memory->lazy_parts.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (parts[middle].start < region->start)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < memory->lazy_parts.count && parts[low].start == region->start && parts[low].descriptor >= 0;
    return found ? &parts[low] : NULL;
}

bool scp_lazy_readable(const struct scp_memory *memory, const struct scp_region *region) {
    return region->vm_flags & SCP_VM_LAZY && part_of(memory, region) != NULL;
}

int64_t scp_lazy_read(const struct scp_memory *memory, const struct scp_region *region, uint64_t at, void *out,
                      size_t length) {
    const struct scp_lazy_part *part = part_of(memory, region);
    if (part == NULL)
        return -ENOENT;
    long got = scp_call(SYS_pread64, part->descriptor, out, length, part->offset + (at - region->start));
    if (got < 0)
        return got;
    return got >= (long)SCP_PAGE ? got & ~(int64_t)(SCP_PAGE - 1) : -EIO;
}
