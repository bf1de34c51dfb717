// Maps what the image maps, and gives it its final properties.
#include "restorer.h"

#include <asm/stat.h>
#include <asm/errno.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/time.h>

#define MEMFD_CLOEXEC 1u
// Private memory up to this size (bytes) is writable as a whole while it is filled, so that it stays one mapping (what has
// been writable counts as memory, and does not merge with what has not; the program's had been so as a whole).
// Larger ones only piece by piece: making a huge reservation writable counts against the overcommit limit.
#define FILL_WHOLE (1ull << 30)

// ---- files -----------------------------------------------------------------------------------------------------------

static long open_path(struct restorer *restorer, uint32_t path, bool writable) {
    const char *name = restorer_plan_string(restorer->plan, path);
    long descriptor = -EACCES;
    restorer->open_writable = writable;
    if (writable) // a shared mapping made for writing keeps the right to become writable
        descriptor = call(openat, AT_FDCWD, name, O_RDWR | O_CLOEXEC, 0);
    return descriptor >= 0 ? descriptor : call(openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC, 0);
}

// The descriptor of the region's file; that of the region before where it is the same.
static int region_file(struct restorer *restorer, const struct scp_plan_region *region) {
    bool writable = region->source == SCP_PLAN_SHARED_FILE && !(region->options & SCP_PLAN_READ_ONLY);
    if (restorer->open_file >= 0 && restorer->open_path == region->path && restorer->open_writable == writable)
        return restorer->open_file;
    if (restorer->open_file >= 0)
        call(close, restorer->open_file);
    restorer->open_file = -1;
    long descriptor = open_path(restorer, region->path, writable);
    if (descriptor < 0)
        restorer_fail(restorer, descriptor, "cannot open a mapped file", region);
    restorer->open_file = (int)descriptor;
    restorer->open_path = region->path;
    return restorer->open_file;
}

// swiftcp_restart found the file unchanged; it must still be that one.
static void check_unchanged(struct restorer *restorer, const struct scp_plan_region *region, int file) {
    struct stat status;
    long result = call(fstat, file, &status);
    if (result < 0)
        restorer_fail(restorer, result, "cannot look at a mapped file", region);
    uint64_t mtime = (uint64_t)status.st_mtime * 1000000000u + (uint64_t)status.st_mtime_nsec;
    if (status.st_dev != region->device || status.st_ino != region->inode ||
        (uint64_t)status.st_size != region->file_size || mtime != region->file_mtime)
        restorer_fail(restorer, 0, "a mapped file has changed while the restart was under way", region);
}

// ---- one region ------------------------------------------------------------------------------------------------------

static long common_flags(const struct scp_plan_region *region) {
    long flags = MAP_FIXED_NOREPLACE;
    if (region->flags & SCP_REGION_NORESERVE)
        flags |= MAP_NORESERVE;
    if (region->flags & SCP_REGION_HUGETLB)
        flags |= MAP_HUGETLB;
    return flags;
}

int restorer_first_protection(const struct scp_plan_region *region) {
    bool fill = region->source == SCP_PLAN_ANONYMOUS || region->source == SCP_PLAN_PRIVATE_FILE;
    if (fill && region->piece_count > 0 && region->end - region->start <= FILL_WHOLE)
        return PROT_READ | PROT_WRITE;
    return (int)region->protection;
}

static long map(const struct scp_plan_region *region, long flags, int descriptor) {
    return call(mmap, region->start, region->end - region->start, restorer_first_protection(region),
                flags | common_flags(region), descriptor, descriptor < 0 ? 0 : region->file_offset);
}

static long map_anonymous(struct restorer *restorer, const struct scp_plan_region *region) {
    long flags = MAP_PRIVATE | MAP_ANONYMOUS;
    if (region->flags & SCP_REGION_GROWSDOWN)
        flags |= MAP_GROWSDOWN;
    long result = map(region, flags, -1);
    if (result >= 0 || result < -4095 || !(region->flags & SCP_REGION_HUGETLB))
        return result;
    restorer_warn(restorer, result, "no huge pages left, ordinary ones are used for the memory", region);
    struct scp_plan_region plain = *region;
    plain.flags &= ~(uint32_t)SCP_REGION_HUGETLB;
    return map(&plain, flags, -1);
}

static long map_file(struct restorer *restorer, const struct scp_plan_region *region) {
    int file = region_file(restorer, region);
    if (region->source == SCP_PLAN_SHARED_FILE)
        return map(region, MAP_SHARED, file);
    check_unchanged(restorer, region, file);
    return map(region, MAP_PRIVATE, file);
}

// Asks for `id` as the number of the next segment. Where that is not permitted, the comparison later tells. Returns what keeps
// others that ask away until it is closed; anybody may hold the lock, so that it is not waited for longer than a second.
static long ask_for_segment(const struct scp_plan_object *object) {
    struct timespec moment = {0, 200000};
    char digits[12] = {0};
    struct restorer_text text = {digits, digits + sizeof digits - 1};
    restorer_text_decimal(&text, (uint32_t)object->id);
    long file = call(openat, AT_FDCWD, "/proc/sys/kernel/shm_next_id", O_WRONLY | O_CLOEXEC, 0);
    for (int i = 0; file >= 0 && i < 5000 && call(flock, file, LOCK_EX | LOCK_NB) == -EWOULDBLOCK; i++)
        call(nanosleep, &moment, 0);
    if (file >= 0)
        call(write, file, digits, restorer_length(digits));
    return file;
}

// A SysV segment: the one that still is there under its number, else a new one with that number.
static long attach_segment(struct restorer *restorer, const struct scp_plan_region *region,
                           const struct scp_plan_object *object) {
    long read_only = region->protection & PROT_WRITE ? 0 : 010000; // SHM_RDONLY
    long result = call(shmat, object->id, region->start, read_only);
    if (result == (long)region->start)
        return result;
    long asked = ask_for_segment(object);
    long id = call(shmget, object->key, object->size, 03000 | 0600); // IPC_CREAT | IPC_EXCL
    if (asked >= 0)
        call(close, asked);
    if (id < 0)
        return id;
    if (id != object->id)
        restorer_fail(restorer, -EEXIST, "the number of a SysV shared memory segment is taken", region);
    return call(shmat, id, region->start, read_only);
}

// The memfd of an object that several regions show; made at the first one.
static int object_file(struct restorer *restorer, const struct scp_plan_region *region) {
    int32_t *numbers = (int32_t *)restorer_plan_table(restorer->plan, &restorer->plan->descriptors);
    const struct scp_plan_object *objects = restorer_plan_table(restorer->plan, &restorer->plan->objects);
    const struct scp_plan_object *object = &objects[region->object];
    // The numbers of objects follow those of the descriptors handed over.
    int32_t *number = &numbers[restorer->plan->descriptors.count - restorer->plan->objects.count + region->object];
    if (*number >= 0)
        return *number;
    long file = call(memfd_create, restorer_plan_string(restorer->plan, object->name), MEMFD_CLOEXEC);
    long result = file < 0 ? file : call(ftruncate, file, object->size);
    if (result < 0)
        restorer_fail(restorer, result, "cannot make shared memory", region);
    return *number = (int32_t)file;
}

// From the descriptor itself, or from a read-only one of the same file: such a mapping does not stand in a seal's way.
static long map_descriptor(struct restorer *restorer, const struct scp_plan_region *region) {
    int file = restorer_plan_descriptor(restorer->plan, region->object);
    if (!(region->options & SCP_PLAN_READ_ONLY))
        return map(region, MAP_SHARED, file);
    char path[32];
    struct restorer_text text = {path, path + sizeof path - 1};
    memset(path, 0, sizeof path);
    restorer_text_add(&text, "/proc/self/fd/");
    restorer_text_decimal(&text, (uint32_t)file);
    long descriptor = call(openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (descriptor < 0)
        return descriptor;
    long result = map(region, MAP_SHARED, (int)descriptor);
    call(close, descriptor);
    return result;
}

static long map_region(struct restorer *restorer, const struct scp_plan_region *region) {
    const struct scp_plan *plan = restorer->plan;
    const struct scp_plan_object *objects = restorer_plan_table(plan, &plan->objects);
    switch (region->source) {
    case SCP_PLAN_NOTHING:
        return (long)region->start;
    case SCP_PLAN_PRIVATE_FILE:
    case SCP_PLAN_SHARED_FILE:
        return map_file(restorer, region);
    case SCP_PLAN_SHARED_ANONYMOUS:
        return map(region, MAP_SHARED | MAP_ANONYMOUS, -1);
    case SCP_PLAN_SHARED_OBJECT:
        return map(region, MAP_SHARED, object_file(restorer, region));
    case SCP_PLAN_SHARED_DESCRIPTOR:
        return map_descriptor(restorer, region);
    case SCP_PLAN_PRIVATE_DESCRIPTOR:
        return map(region, MAP_PRIVATE, restorer_plan_descriptor(plan, region->object));
    case SCP_PLAN_SYSV:
        return attach_segment(restorer, region, &objects[region->object]);
    default:
        return map_anonymous(restorer, region);
    }
}

void restorer_regions_map(struct restorer *restorer) {
    const struct scp_plan *plan = restorer->plan;
    const struct scp_plan_region *regions = restorer_plan_table(plan, &plan->regions);
    for (uint64_t i = 0; i < plan->regions.count; i++) {
        long result = map_region(restorer, &regions[i]);
        if (result != (long)regions[i].start)
            restorer_fail(restorer, result < 0 ? result : -EEXIST, "cannot map memory", &regions[i]);
        if (regions[i].options & SCP_PLAN_HUGE) // before it is filled; where there are none, it is as right
            call(madvise, regions[i].start, regions[i].end - regions[i].start, MADV_HUGEPAGE);
    }
    if (restorer->open_file >= 0)
        call(close, restorer->open_file);
    restorer->open_file = -1;
}

// ---- final properties ------------------------------------------------------------------------------------------------

static void advise(struct restorer *restorer, const struct scp_plan_region *region, uint32_t flag, int advice) {
    if (!(region->flags & flag))
        return;
    long result = call(madvise, region->start, region->end - region->start, advice);
    if (result < 0)
        restorer_warn(restorer, result, "an madvise of the program could not be repeated for the memory", region);
}

static void lock(struct restorer *restorer, const struct scp_plan_region *region) {
    if (!(region->flags & (SCP_REGION_LOCKED | SCP_REGION_LOCK_ON_FAULT)))
        return;
    long on_fault = region->flags & SCP_REGION_LOCK_ON_FAULT ? 1 : 0; // MLOCK_ONFAULT
    long result = call(mlock2, region->start, region->end - region->start, on_fault);
    if (result < 0)
        restorer_warn(restorer, result, "memory that was locked could not be locked again", region);
}

static void finish_region(struct restorer *restorer, const struct scp_plan_region *region) {
    long result = 0;
    if (region->piece_count && region->source != SCP_PLAN_NOTHING)
        result = call(mprotect, region->start, region->end - region->start, region->protection);
    if (result < 0)
        restorer_fail(restorer, result, "cannot protect memory", region);
    advise(restorer, region, SCP_REGION_DONTDUMP, MADV_DONTDUMP);
    advise(restorer, region, SCP_REGION_DONTFORK, MADV_DONTFORK);
    advise(restorer, region, SCP_REGION_WIPEONFORK, MADV_WIPEONFORK);
    advise(restorer, region, SCP_REGION_HUGEPAGE, MADV_HUGEPAGE);
    advise(restorer, region, SCP_REGION_NOHUGEPAGE, MADV_NOHUGEPAGE);
    advise(restorer, region, SCP_REGION_MERGEABLE, MADV_MERGEABLE);
    advise(restorer, region, SCP_REGION_SEQUENTIAL, MADV_SEQUENTIAL);
    advise(restorer, region, SCP_REGION_RANDOM, MADV_RANDOM);
    restorer_content_guard(restorer, region); // before the lock, which forbids it; after mprotect, its substitute
    lock(restorer, region);
}

void restorer_regions_protect(struct restorer *restorer) {
    const struct scp_plan *plan = restorer->plan;
    const struct scp_plan_region *regions = restorer_plan_table(plan, &plan->regions);
    for (uint64_t i = 0; i < plan->regions.count; i++)
        if (regions[i].source != SCP_PLAN_NOTHING)
            finish_region(restorer, &regions[i]);
}
