// Puts the content of the regions in place: what is mapped from the image here, what is read from it in fill.c.
#include "restorer.h"

#include <asm/errno.h>
#include <linux/mman.h>

#define MADV_GUARD_INSTALL_ 102 // Linux 6.13

static void map_from_image(struct restorer *restorer, const struct scp_plan_region *region,
                           const struct scp_plan_piece *piece) {
    int image = restorer_plan_image(restorer->plan, piece->file);
    long flags = MAP_PRIVATE | MAP_FIXED | (region->flags & SCP_REGION_NORESERVE ? MAP_NORESERVE : 0);
    long result = call(mmap, piece->address, piece->length, region->protection, flags, image, piece->offset);
    if (result != (long)piece->address)
        restorer_fail(restorer, result, "cannot map from the image the memory", region);
}

// Before 6.13 there are no guard pages; an inaccessible piece behaves the same.
static void guard(struct restorer *restorer, const struct scp_plan_region *region, const struct scp_plan_piece *piece) {
    long result = call(madvise, piece->address, piece->length, MADV_GUARD_INSTALL_);
    if (result < 0)
        result = call(mprotect, piece->address, piece->length, PROT_NONE);
    if (result < 0)
        restorer_fail(restorer, result, "cannot make guard pages in the memory", region);
}

void restorer_content_fill(struct restorer *restorer) {
    const struct scp_plan *plan = restorer->plan;
    const struct scp_plan_region *regions = restorer_plan_table(plan, &plan->regions);
    const struct scp_plan_piece *pieces = restorer_plan_table(plan, &plan->pieces);
    for (uint64_t i = 0; i < plan->regions.count; i++)
        for (uint64_t k = 0; k < regions[i].piece_count; k++)
            if (pieces[regions[i].first_piece + k].kind == SCP_PLAN_MAP)
                map_from_image(restorer, &regions[i], &pieces[regions[i].first_piece + k]);
    restorer_fill(restorer);
}

void restorer_content_guard(struct restorer *restorer, const struct scp_plan_region *region) {
    const struct scp_plan_piece *pieces = restorer_plan_table(restorer->plan, &restorer->plan->pieces);
    for (uint64_t k = 0; k < region->piece_count && region->flags & SCP_REGION_GUARDS; k++)
        if (pieces[region->first_piece + k].kind == SCP_PLAN_GUARD)
            guard(restorer, region, &pieces[region->first_piece + k]);
}
