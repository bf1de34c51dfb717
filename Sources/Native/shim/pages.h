// The kernel's scan of page tables (PAGEMAP_SCAN, Linux 6.7), used by pages.c. Source: Linux include/uapi/linux/fs.h.
#ifndef SWIFTCP_PAGES_H
#define SWIFTCP_PAGES_H

#include "memory.h"

#define SCP_CATEGORY_WRITTEN (1ull << 1) // not written since it was armed; without a tracker always set
#define SCP_CATEGORY_FILE (1ull << 2)
#define SCP_CATEGORY_PRESENT (1ull << 3)
#define SCP_CATEGORY_SWAPPED (1ull << 4)
#define SCP_CATEGORY_ZERO (1ull << 5)
#define SCP_CATEGORY_GUARD (1ull << 8) // 6.15

#define SCP_SCAN_ARM                                                                                                   \
    (1ull << 0) // PM_SCAN_WP_MATCHING: what is found counts as not written, and its next write is noted
#define SCP_SCAN_CHECK (1ull << 1) // PM_SCAN_CHECK_WPASYNC: -EPERM for memory that is not tracked
struct scp_scan_request { // struct pm_scan_arg
    uint64_t size, flags, start, end, walk_end, ranges, range_count, max_pages;
    uint64_t inverted, all_of, any_of, returned;
};
_Static_assert(sizeof(struct scp_scan_request) == 96, "PAGEMAP_SCAN's argument");

// ---- page_scan.c -----------------------------------------------------------------------------------------------------
typedef int scp_range_reader(void *argument, const struct scp_scan_range *range);
// Hands all ranges of [start, end) that fit the request to `read`, ascending. 0, or the first failure: the kernel's (-errno),
// or what `read` has returned.
int scp_scan(struct scp_memory *memory, struct scp_scan_request *request, scp_range_reader *read, void *argument);
// With a place for ranges of the caller's own: whether the kernel takes the request.
bool scp_scan_once(const struct scp_memory *memory, struct scp_scan_request *request);

#endif
