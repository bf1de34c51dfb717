// Whether a page that counts as not written is what was saved of it.
//
// In a mapping of a file the tracker's mark outlives the page: after MADV_DONTNEED Linux keeps a marker in its place, and
// the fault that brings the file's page back gives it the mark again. Only when the instruction that faulted is repeated
// is the mark taken away; where a thread was stopped in between, a page stands marked that was never saved. So there the
// sums of the pages tell.
//
// A page that is as its file has it need not have been so when it was saved: written then, and given up since; or something
// else stood at its address for a moment. So the sums tell there, too; but of memory that cannot be written they would only
// cost time (30 ms per GiB): it comes from its file.
#include <string.h>
#include <sys/mman.h>

#include "memory.h"

bool scp_same_must_be_shown(const struct scp_memory *memory, const struct scp_region *region,
                            const struct scp_run *run) {
    bool lazy = region->vm_flags & SCP_VM_LAZY, file = region->kind == SCP_REGION_FILE;
    if (memory->pass != SCP_PASS_LAST)
        return false;
    if (run->class == SCP_RUN_CLEAN)
        return lazy ? !scp_lazy_readable(memory, region) : file && region->protection & PROT_WRITE;
    return (file || lazy) && run->unchanged;
}

// `touched`: the page is there, and may be looked at directly. Else it may lie past the end of its file.
static bool is_same(struct scp_memory *memory, bool touched, const struct scp_block *block, uint64_t at) {
    static const uint8_t zeros[SCP_PAGE];
    const void *page = (const void *)(uintptr_t)at;
    if (!touched) {
        if (scp_read_memory(memory, at, memory->staging, SCP_PAGE) != (int64_t)SCP_PAGE)
            return false;
        page = memory->staging;
    }
    if (block->stored_length == 0)
        return memcmp(page, zeros, SCP_PAGE) == 0;
    const uint64_t *sums = memory->sums.base;
    return scp_checksum(page, SCP_PAGE, 0) == sums[block->checksum + (at - block->address) / SCP_PAGE];
}

uint64_t scp_same_length(struct scp_memory *memory, const struct scp_region *region, const struct scp_run *run,
                         const struct scp_block *block, bool *same) {
    bool touched = region->protection & PROT_READ && run->class != SCP_RUN_CLEAN;
    uint64_t length = SCP_PAGE;
    *same = is_same(memory, touched, block, block->address);
    while (length < block->length && is_same(memory, touched, block, block->address + length) == *same)
        length += SCP_PAGE;
    return length;
}
