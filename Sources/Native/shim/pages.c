// Which pages of a region have content. By PAGEMAP_SCAN (Linux 6.7), else by /proc/self/pagemap; shared memory by
// mincore and by the holes of its file, because the page tables of one process do not show all of it.
// Sources: Linux include/uapi/linux/fs.h, Documentation/admin-guide/mm/pagemap.rst.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "pages.h"

// What a scan looks for: pages with content, but those whose category says that they are not wanted.
struct wanted {
    struct scp_checkpoint *checkpoint;
    struct scp_memory *memory;
    const struct scp_region *region;
    scp_run_sink *sink;
    uint64_t unwanted; // SCP_CATEGORY_ZERO or SCP_CATEGORY_FILE
    struct scp_run open; // the run that may still grow; end 0 = none
    uint64_t kept_from; // by_change: what was found neither written nor gone begins here
    uint64_t clean_from, clean_end; // mapping of a file: what it covers and was not found modified so far
};

void scp_pages_probe(struct scp_memory *memory) {
    uint64_t here = (uintptr_t)memory & ~(uint64_t)(SCP_PAGE - 1);
    struct scp_scan_range range;
    struct scp_scan_request request = {.start = here,
                                       .end = here + SCP_PAGE,
                                       .ranges = (uintptr_t)&range,
                                       .range_count = 1,
                                       .any_of = SCP_CATEGORY_PRESENT | SCP_CATEGORY_GUARD,
                                       .returned = SCP_CATEGORY_PRESENT | SCP_CATEGORY_GUARD};
    if (scp_scan_once(memory, &request)) {
        memory->scan_works = true;
        memory->guard_category = SCP_CATEGORY_GUARD;
        return;
    }
    request.any_of = request.returned = SCP_CATEGORY_PRESENT;
    memory->scan_works = scp_scan_once(memory, &request);
}

// ---- runs ------------------------------------------------------------------------------------------------------------

static int emit(struct wanted *wanted, uint64_t start, uint64_t end, enum scp_run_class class) {
    struct scp_run run = {.start = start, .end = end, .class = class};
    return start < end ? wanted->sink(wanted->checkpoint, wanted->region, &run) : 0;
}

static int clean_until(struct wanted *wanted, uint64_t end) {
    if (end > wanted->clean_end)
        end = wanted->clean_end;
    return emit(wanted, wanted->clean_from, end, SCP_RUN_CLEAN);
}

static int close_run(struct wanted *wanted) {
    struct scp_run run = wanted->open;
    wanted->open.end = 0;
    if (run.end == 0)
        return 0;
    int result = clean_until(wanted, run.start);
    if (result < 0)
        return result;
    wanted->clean_from = run.end;
    return wanted->sink(wanted->checkpoint, wanted->region, &run);
}

// Hands the last run on unless this one continues it.
static int add(struct wanted *wanted, uint64_t start, uint64_t end, enum scp_run_class class, bool unchanged) {
    struct scp_run *open = &wanted->open;
    if (open->end == start && open->class == class && open->unchanged == unchanged && open->end != 0) {
        open->end = end;
        return 0;
    }
    int result = close_run(wanted);
    *open = (struct scp_run){.start = start, .end = end, .class = class, .unchanged = unchanged};
    return result;
}

static int add_run(struct wanted *wanted, uint64_t start, uint64_t end, enum scp_run_class class) {
    return add(wanted, start, end, class, false);
}

static enum scp_run_class class_of(const struct wanted *wanted, uint64_t categories) {
    if (categories & SCP_CATEGORY_GUARD)
        return SCP_RUN_GUARD;
    if (categories & SCP_CATEGORY_SWAPPED)
        return wanted->memory->guard_category ? SCP_RUN_READ : SCP_RUN_SWAPPED;
    return wanted->region->protection & PROT_READ ? SCP_RUN_PRESENT : SCP_RUN_READ;
}

// Hands all ranges of the region that fit the request to `read`. A failure of the scan itself leaves checkpoint->error alone.
static int scan(struct wanted *wanted, struct scp_scan_request *request, scp_range_reader *read) {
    request->start = wanted->region->start;
    request->end = wanted->region->end;
    return scp_scan(wanted->memory, request, read, wanted);
}

static int scan_failed(struct wanted *wanted, int result) {
    return scp_fail(wanted->checkpoint, result, "cannot scan the page tables (PAGEMAP_SCAN)", NULL);
}

static int read_content(void *argument, const struct scp_scan_range *range) {
    struct wanted *wanted = argument;
    return add_run(wanted, range->start, range->end, class_of(wanted, range->categories));
}

static int by_scan(struct wanted *wanted) {
    uint64_t told = SCP_CATEGORY_PRESENT | SCP_CATEGORY_SWAPPED | wanted->memory->guard_category;
    struct scp_scan_request request = {
        .inverted = wanted->unwanted, .all_of = wanted->unwanted, .any_of = told, .returned = told};
    int result = scan(wanted, &request, read_content);
    return result < 0 ? scan_failed(wanted, result) : close_run(wanted);
}

// ---- what was written ------------------------------------------------------------------------------------------------

static struct scp_scan_request written(const struct wanted *wanted) {
    uint64_t guards = wanted->memory->guard_category,
             content = SCP_CATEGORY_PRESENT | (guards ? SCP_CATEGORY_SWAPPED : 0);
    return (struct scp_scan_request){.inverted = wanted->unwanted | guards,
                                     .all_of = wanted->unwanted | guards | SCP_CATEGORY_WRITTEN,
                                     .any_of = content,
                                     .returned = content};
}

// A round: what was written is found and armed in one step. Guard pages are left alone, and where the kernel does not
// tell them, all that is not present (they look swapped); memory that is not tracked is passed over.
static int by_arming(struct wanted *wanted) {
    struct scp_scan_request request = written(wanted);
    request.flags = SCP_SCAN_ARM;
    int result = scan(wanted, &request, read_content);
    if (result < 0 && wanted->checkpoint->error == 0) // armed, perhaps, and not told
        scp_tracker_lose(wanted->memory, wanted->region->start, wanted->region->end);
    return wanted->checkpoint->error ? -wanted->checkpoint->error : close_run(wanted);
}

static int keep_until(struct wanted *wanted, uint64_t end) {
    uint64_t from = wanted->kept_from;
    return from < end ? add(wanted, from, end, class_of(wanted, SCP_CATEGORY_PRESENT), true) : 0;
}

// Of a page in swap or in migration the kernel's word is good where it can't be a guard page in truth.
static int read_change(void *argument, const struct scp_scan_range *range) {
    struct wanted *wanted = argument;
    uint64_t categories = range->categories, content = SCP_CATEGORY_PRESENT | SCP_CATEGORY_SWAPPED | SCP_CATEGORY_GUARD;
    int result = keep_until(wanted, range->start);
    wanted->kept_from = range->end;
    if (result < 0 || !(categories & content) || categories & SCP_CATEGORY_ZERO)
        return result;
    bool unchanged = !(categories & SCP_CATEGORY_WRITTEN) && wanted->memory->guard_category != 0;
    return add(wanted, range->start, range->end, class_of(wanted, categories), unchanged);
}

// The last pass over private anonymous memory: only what was written or is not present is told, which is five times as
// quick as to be told everything. The rest is present and unchanged. -EPERM: not tracked.
// (A page that was given up has lost its mark, or its whole page table: so it is never taken for unchanged.)
static int by_change(struct wanted *wanted) {
    uint64_t guards = wanted->memory->guard_category;
    struct scp_scan_request request = {.flags = SCP_SCAN_CHECK,
                                       .inverted = SCP_CATEGORY_PRESENT,
                                       .any_of = SCP_CATEGORY_PRESENT | SCP_CATEGORY_WRITTEN,
                                       .returned = SCP_CATEGORY_PRESENT | SCP_CATEGORY_SWAPPED | SCP_CATEGORY_WRITTEN |
                                                   SCP_CATEGORY_ZERO | guards};
    wanted->kept_from = wanted->region->start;
    int result = scan(wanted, &request, read_change);
    if (result == 0)
        result = keep_until(wanted, wanted->region->end);
    return result < 0 ? result : close_run(wanted);
}

static int read_state(void *argument, const struct scp_scan_range *range) {
    struct wanted *wanted = argument;
    bool unchanged = !(range->categories & (SCP_CATEGORY_WRITTEN | SCP_CATEGORY_SWAPPED));
    return add(wanted, range->start, range->end, class_of(wanted, range->categories), unchanged);
}

// The same over a private mapping of a file, where the mark survives that the page is given up (Linux keeps a marker in
// its place): which page is the file's must be looked at one by one, and what is not present counts as written.
static int by_state(struct wanted *wanted) {
    uint64_t told = SCP_CATEGORY_PRESENT | SCP_CATEGORY_SWAPPED | wanted->memory->guard_category;
    struct scp_scan_request request = {.flags = SCP_SCAN_CHECK,
                                       .inverted = wanted->unwanted,
                                       .all_of = wanted->unwanted,
                                       .any_of = told,
                                       .returned = told | SCP_CATEGORY_WRITTEN};
    int result = scan(wanted, &request, read_state);
    return result < 0 ? result : close_run(wanted);
}

// An entry of /proc/self/pagemap in the words of PAGEMAP_SCAN.
static uint64_t categories_of(uint64_t entry) {
    return (entry >> 63 & 1 ? SCP_CATEGORY_PRESENT : 0) | (entry >> 62 & 1 ? SCP_CATEGORY_SWAPPED : 0) |
           (entry >> 61 & 1 ? SCP_CATEGORY_FILE : 0) | (entry >> 58 & 1 ? SCP_CATEGORY_GUARD : 0);
}

static int by_pagemap(struct wanted *wanted) {
    uint64_t *entries = (uint64_t *)wanted->memory->ranges;
    size_t room = SCP_SCAN_RANGES * sizeof *wanted->memory->ranges / sizeof *entries;
    for (uint64_t at = wanted->region->start; at < wanted->region->end;) {
        size_t pages = (wanted->region->end - at) / SCP_PAGE;
        long got = scp_call(SYS_pread64, wanted->memory->pagemap, entries, (pages < room ? pages : room) * 8,
                            at / SCP_PAGE * 8);
        if (got == -EINTR)
            continue;
        if (got < 8)
            return scp_fail(wanted->checkpoint, got < 0 ? (int)got : EIO, "cannot read /proc/self/pagemap", NULL);
        for (long i = 0; i < got / 8; i++, at += SCP_PAGE) {
            uint64_t categories = categories_of(entries[i]);
            bool content = categories & (SCP_CATEGORY_PRESENT | SCP_CATEGORY_SWAPPED | SCP_CATEGORY_GUARD);
            if (!content || categories & wanted->unwanted)
                continue;
            int result = add_run(wanted, at, at + SCP_PAGE, class_of(wanted, categories));
            if (result < 0)
                return result;
        }
    }
    return close_run(wanted);
}

static int scan_private(struct wanted *wanted) {
    struct scp_memory *memory = wanted->memory;
    const struct scp_region *region = wanted->region;
    if (!memory->scan_works)
        return by_pagemap(wanted);
    if (memory->tracker.descriptor < 0 || !scp_tracker_wants(region))
        return by_scan(wanted);
    if (memory->pass == SCP_PASS_ROUND)
        return by_arming(wanted);
    if (scp_tracker_has_lost(memory, region->start, region->end))
        return by_scan(wanted);
    // EPERM: a mapping that is newer than the last round. All of a region is one mapping: nothing was found before that.
    int result = wanted->unwanted == SCP_CATEGORY_FILE ? by_state(wanted) : by_change(wanted);
    if (result == -EPERM && wanted->checkpoint->error == 0 && wanted->open.end == 0 &&
        wanted->kept_from <= region->start)
        return by_scan(wanted);
    return result < 0 && wanted->checkpoint->error == 0 ? scan_failed(wanted, result) : result;
}

// ---- private mappings of files -----------------------------------------------------------------------------------------

// Modified pages are anonymous; the rest of the file follows between them.
static int scan_file(struct wanted *wanted) {
    const struct scp_region *region = wanted->region;
    wanted->unwanted = SCP_CATEGORY_FILE;
    wanted->clean_from = region->start;
    wanted->clean_end = region->end;
    if (!(region->flags & SCP_REGION_DELETED) && !(region->vm_flags & SCP_VM_LAZY)) {
        uint64_t left = region->file_size > region->file_offset ? region->file_size - region->file_offset : 0;
        uint64_t pages = (left + SCP_PAGE - 1) / SCP_PAGE;
        if (pages < (region->end - region->start) / SCP_PAGE)
            wanted->clean_end = region->start + pages * SCP_PAGE;
    }
    int result = scan_private(wanted);
    return result < 0 ? result : clean_until(wanted, region->end);
}

// ---- shared memory -----------------------------------------------------------------------------------------------------

// Pages of shared memory that are resident, in whomever's page table. (The kernel calls every page resident to those
// who may not ask.) Pages in swap are shown by nothing: while swap is in use, all pages are read.
static int scan_resident(struct wanted *wanted) {
    const struct scp_region *region = wanted->region;
    for (uint64_t at = region->start; at < region->end;) {
        uint64_t pages = (region->end - at) / SCP_PAGE;
        if (pages > SCP_BLOCK_MAXIMUM)
            pages = SCP_BLOCK_MAXIMUM;
        long result = wanted->memory->swap_in_use
                          ? -ENOSYS
                          : scp_call(SYS_mincore, at, pages * SCP_PAGE, wanted->memory->residency);
        for (uint64_t i = 0; i < pages; i++, at += SCP_PAGE) {
            if (result == 0 && !(wanted->memory->residency[i] & 1))
                continue;
            int added = add_run(wanted, at, at + SCP_PAGE, SCP_RUN_MAYBE);
            if (added < 0)
                return added;
        }
    }
    return close_run(wanted);
}

// The parts of a named file's mapping that are no holes.
static int scan_data(struct wanted *wanted) {
    const struct scp_region *region = wanted->region;
    uint64_t length = region->end - region->start, at = region->file_offset, end = region->file_offset + length;
    const char *path = (const char *)wanted->checkpoint->strings.base + region->path;
    int file = scp_open_mapped(region, path), result = 0;
    while (at < end && result == 0) {
        long data = file < 0 ? (long)at : scp_call(SYS_lseek, file, at, SEEK_DATA);
        if (data < 0 || (uint64_t)data >= end)
            break; // -ENXIO: only a hole is left
        long hole = file < 0 ? -1 : scp_call(SYS_lseek, file, data, SEEK_HOLE);
        uint64_t from = (uint64_t)data & ~(uint64_t)(SCP_PAGE - 1);
        uint64_t to = hole < 0 ? end : ((uint64_t)hole + SCP_PAGE - 1) & ~(uint64_t)(SCP_PAGE - 1);
        to = to < end ? to : end;
        from = from > at ? from : at;
        result = add_run(wanted, region->start + (from - region->file_offset),
                         region->start + (to - region->file_offset), SCP_RUN_MAYBE);
        at = to;
    }
    if (file >= 0)
        scp_call(SYS_close, file);
    return result < 0 ? result : close_run(wanted);
}

// ---- all kinds ----------------------------------------------------------------------------------------------------------

int scp_pages_scan(struct scp_checkpoint *checkpoint, const struct scp_region *region, scp_run_sink *sink) {
    struct wanted wanted = {.checkpoint = checkpoint,
                            .memory = checkpoint->image_private,
                            .region = region,
                            .sink = sink,
                            .unwanted = SCP_CATEGORY_ZERO};
    if (region->kind == SCP_REGION_VDSO)
        return emit(&wanted, region->start, region->end, SCP_RUN_READ);
    if (region->kind == SCP_REGION_VVAR)
        return emit(&wanted, region->start, region->end, SCP_RUN_MAYBE);
    if (region->flags & SCP_REGION_ELSEWHERE) // another process of the computation saves it
        return 0;
    if (region->vm_flags & SCP_VM_DROPPABLE) // may vanish at any time, so it does
        return 0;
    switch (region->kind) {
    case SCP_REGION_FILE:
        return scan_file(&wanted);
    case SCP_REGION_SHARED_FILE:
        return region->protection & PROT_WRITE ? scan_data(&wanted) : 0;
    case SCP_REGION_SHARED_ANONYMOUS:
    case SCP_REGION_SYSV:
        return scan_resident(&wanted);
    default:
        return region->vm_flags & SCP_VM_LAZY ? scan_file(&wanted) : scan_private(&wanted);
    }
}

bool scp_pages_tracked(const struct scp_memory *memory, uint64_t address) {
    struct scp_scan_range range;
    struct scp_scan_request request = {.flags = SCP_SCAN_CHECK,
                                       .start = address,
                                       .end = address + SCP_PAGE,
                                       .ranges = (uintptr_t)&range,
                                       .range_count = 1,
                                       .any_of = SCP_CATEGORY_PRESENT,
                                       .returned = SCP_CATEGORY_PRESENT};
    return scp_scan_once(memory, &request);
}

static int add_pages(void *argument, const struct scp_scan_range *range) {
    struct wanted *wanted = argument;
    wanted->kept_from += (range->end - range->start) / SCP_PAGE;
    return 0;
}

uint64_t scp_pages_written(struct scp_checkpoint *checkpoint, const struct scp_region *region) {
    bool file = region->kind == SCP_REGION_FILE || region->vm_flags & SCP_VM_LAZY;
    struct wanted wanted = {.memory = checkpoint->image_private,
                            .region = region,
                            .unwanted = file ? SCP_CATEGORY_FILE : SCP_CATEGORY_ZERO};
    struct scp_scan_request request = written(&wanted);
    scan(&wanted, &request, add_pages);
    return wanted.kept_from;
}

uint64_t scp_pages_written_in_all(struct scp_checkpoint *checkpoint) {
    uint64_t pages = 0;
    for (size_t i = 0; i < checkpoint->regions.count; i++) {
        const struct scp_region *region = scp_vector_at(&checkpoint->regions, i);
        if (scp_tracker_wants(region))
            pages += scp_pages_written(checkpoint, region);
    }
    return pages;
}
