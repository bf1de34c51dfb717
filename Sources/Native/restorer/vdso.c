// The kernel's own pages: [vvar], [vvar_vclock], [vdso]. Programs keep pointers into them, and the code in [vdso] finds
// the data by its distance: they move together, each mapping by itself (mremap takes no more than one).
//
// Another kernel's vdso is another program: then the image's old one is put back as plain memory, with its data pages
// (a thread may have stopped between its instructions), and its entries become jumps into the new one, which stays
// where it is parked.
#include "restorer.h"

#include <linux/mman.h>

static void move_all(struct restorer *restorer, uint64_t delta) {
    for (uint32_t i = 0; i < restorer->mapping_count; i++) {
        struct restorer_mapping *mapping = &restorer->mappings[i];
        if (!mapping->kernel)
            continue;
        uint64_t length = mapping->end - mapping->start, target = mapping->start + delta;
        long result = call(mremap, mapping->start, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, target);
        if (result != (long)target)
            restorer_fail(restorer, result, "cannot move the kernel's vdso", NULL);
        mapping->start += delta;
        mapping->end += delta;
    }
    restorer->vdso += delta;
    restorer->parked += delta;
}

void restorer_vdso_park(struct restorer *restorer) {
    if (restorer->parked_length)
        move_all(restorer, restorer->hole + restorer->hole_length - restorer->parked_length - restorer->parked);
}

static void write_jumps(struct restorer *restorer) {
    const struct scp_plan *plan = restorer->plan;
    const struct scp_plan_symbol *symbols = restorer_plan_table(plan, &plan->symbols);
    long result = call(mprotect, plan->vdso_start, plan->vdso_length, PROT_READ | PROT_WRITE);
    if (result < 0)
        restorer_fail(restorer, result, "cannot write to the image's vdso", NULL);
    for (uint64_t i = 0; i < plan->symbols.count; i++)
        if (symbols[i].old_offset + ARCH_JUMP_BYTES <= plan->vdso_length)
            arch_write_jump((uint8_t *)(plan->vdso_start + symbols[i].old_offset),
                            restorer->vdso + symbols[i].new_offset);
    result = call(mprotect, plan->vdso_start, plan->vdso_length, PROT_READ | PROT_EXEC);
    if (result < 0)
        restorer_fail(restorer, result, "cannot make the image's vdso executable", NULL);
}

void restorer_vdso_home(struct restorer *restorer) {
    const struct scp_plan *plan = restorer->plan;
    if (plan->flags & SCP_PLAN_TRAMPOLINES) {
        write_jumps(restorer);
        restorer->hole_length -= restorer->parked_length; // stays when the rest goes
    } else if (restorer->vdso && plan->vdso_start) {
        move_all(restorer, plan->vdso_start - restorer->vdso);
    }
}
