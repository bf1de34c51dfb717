// Whether a page that counts as not written is what was saved of it.
//
// In a mapping of a file the tracker's mark outlives the page: after MADV_DONTNEED Linux keeps a marker in its place, and
// the fault that brings the file's page back gives it the mark again. Only when the instruction that faulted is repeated
// is the mark taken away; where a thread was stopped in between, a page stands marked that was never saved. So there the
// sums of the pages tell.
#include <string.h>
#include <sys/mman.h>

#include "memory.h"

bool scp_same_must_be_shown(const struct scp_memory *memory, const struct scp_region *region,
                            const struct scp_run *run) {
    bool file = region->kind == SCP_REGION_FILE || region->vm_flags & SCP_VM_LAZY;
    return memory->pass == SCP_PASS_LAST && file && run->unchanged;
}

static bool is_same(struct scp_memory *memory, const struct scp_region *region, const struct scp_block *block,
                    uint64_t at) {
    static const uint8_t zeros[SCP_PAGE];
    const void *page = (const void *)(uintptr_t)at;
    if (!(region->protection & PROT_READ)) {
        if (scp_read_memory(memory, at, memory->staging, SCP_PAGE) != (int64_t)SCP_PAGE)
            return false;
        page = memory->staging;
    }
    if (block->stored_length == 0)
        return memcmp(page, zeros, SCP_PAGE) == 0;
    const uint64_t *sums = memory->sums.base;
    return scp_checksum(page, SCP_PAGE, 0) == sums[block->checksum + (at - block->address) / SCP_PAGE];
}

uint64_t scp_same_length(struct scp_memory *memory, const struct scp_region *region, const struct scp_block *block,
                         bool *same) {
    uint64_t length = SCP_PAGE;
    *same = is_same(memory, region, block, block->address);
    while (length < block->length && is_same(memory, region, block, block->address + length) == *same)
        length += SCP_PAGE;
    return length;
}
