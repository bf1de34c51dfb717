// Program headers: what makes the image a core file.
//
//   region   |.... head ....[block][block]... gap ...[block]... tail ...|
//   PT_LOAD  |  p_filesz 0  |  two blocks, gap       |  block, tail     |   p_filesz: the blocks, p_memsz: all of it
//
// Blocks that are neighbours in memory are so in the file: one extent. What p_memsz has over p_filesz reads as zero. In a
// mapping of a file gaps have a header of their own, with p_filesz 0: there a debugger looks into that file.
#include <elf.h>
#include <errno.h>
#include <sys/mman.h>

#include "memory.h"

static int add_load(struct scp_checkpoint *checkpoint, const struct scp_region *region, uint64_t start, uint64_t offset,
                    uint64_t stored, uint64_t length) {
    struct scp_memory *memory = checkpoint->image_private;
    Elf64_Phdr *load = scp_vector_add(&memory->loads);
    if (load == NULL)
        return scp_fail(checkpoint, ENOMEM, "no memory for the program headers", NULL);
    *load = (Elf64_Phdr){.p_type = PT_LOAD,
                         .p_flags = (region->protection & PROT_READ ? PF_R : 0u) |
                                    (region->protection & PROT_WRITE ? PF_W : 0u) |
                                    (region->protection & PROT_EXEC ? PF_X : 0u),
                         .p_offset = offset,
                         .p_vaddr = start,
                         .p_filesz = stored,
                         .p_memsz = length,
                         .p_align = SCP_PAGE};
    return 0;
}

static const struct scp_block *block_number(const struct scp_checkpoint *checkpoint, size_t index) {
    return scp_vector_at(&checkpoint->blocks, index);
}

// The region's next block with bytes in the file, from *index on; NULL = none left. *index is then past it.
static const struct scp_block *next_stored(const struct scp_checkpoint *checkpoint, const struct scp_region *region,
                                           size_t *index) {
    for (;;) {
        const struct scp_block *block = block_number(checkpoint, *index);
        if (block == NULL || block->address >= region->end)
            return NULL;
        ++*index;
        if (block->stored_length != 0 && block->file == 0)
            return block;
    }
}

static bool continues(const struct scp_block *last, const struct scp_block *next) {
    return next->address == last->address + last->length && next->offset == last->offset + last->length;
}

// One region; *index moves over its blocks.
static int lay_region(struct scp_checkpoint *checkpoint, const struct scp_region *region, size_t *index) {
    const struct scp_block *first = next_stored(checkpoint, region, index);
    if (first == NULL || first->address > region->start) {
        uint64_t end = first == NULL ? region->end : first->address;
        int result = add_load(checkpoint, region, region->start, SCP_DATA_OFFSET, 0, end - region->start);
        if (result < 0)
            return result;
    }
    while (first != NULL) {
        const struct scp_block *last = first, *next;
        while ((next = next_stored(checkpoint, region, index)) != NULL && continues(last, next))
            last = next;
        uint64_t stored_end = last->address + last->length, end = next == NULL ? region->end : next->address;
        bool file = region->kind == SCP_REGION_FILE;
        int result = add_load(checkpoint, region, first->address, first->offset, stored_end - first->address,
                              (file ? stored_end : end) - first->address);
        if (result == 0 && file && stored_end < end)
            result = add_load(checkpoint, region, stored_end, SCP_DATA_OFFSET, 0, end - stored_end);
        if (result < 0)
            return result;
        first = next;
    }
    return 0;
}

int scp_layout(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    size_t index = 0;
    if (scp_memory_vector(&memory->loads, sizeof(Elf64_Phdr), checkpoint->regions.count * 2 + 16) != 0)
        return scp_fail(checkpoint, ENOMEM, "no memory for the program headers", NULL);
    for (size_t i = 0; i < checkpoint->regions.count; i++) {
        const struct scp_region *region = scp_vector_at(&checkpoint->regions, i);
        // Where not all that a debugger would read stands in the file, it finds nothing.
        int result = scp_encode_chunks(checkpoint) || checkpoint->ancestor_count > 0
                         ? add_load(checkpoint, region, region->start, SCP_DATA_OFFSET, 0, region->end - region->start)
                         : lay_region(checkpoint, region, &index);
        if (result < 0)
            return result;
    }
    return 0;
}
