// madvise and mremap, interposed for regions that a lazy restart has mapped from the image. To the program they are
// anonymous memory: MADV_DONTNEED and MADV_FREE must bring zeros, and what mremap adds must be zeros, not the next bytes
// of the image. In a program that was not restarted lazily this costs two comparisons.
//
// While what the program writes is tracked (tracker.c), a new mapping does not become one with its neighbour from before, and
// mremap fails across the seam: it is told here not to.
//
// *Source:* madvise(2), mremap(2); PROCMAP_QUERY: Linux include/uapi/linux/fs.h (6.11). libc's own calls do not come by
// here; they do not rely on zeros (malloc keeps book of what it has touched).
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>

#define EXPORT __attribute__((visibility("default")))

_Atomic bool scp_lazy_regions;
_Atomic uint32_t scp_memory_restarts;

// A restart may come between a look at the mappings and what follows from it: then they are others, and it is looked again.
static uint32_t restarts(void) {
    return atomic_load_explicit(&scp_memory_restarts, memory_order_relaxed);
}

// One mapping, and whether it shows a checkpoint image.
struct mapping {
    uint64_t start, end;
    int protection;
    bool image;
};

struct procmap_query {
    uint64_t size, query_flags, query_addr, vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
    uint32_t device_major, device_minor, name_size, build_id_size;
    uint64_t name_address, build_id_address;
};
#define PROCMAP_QUERY 0xc0686611ul
#define PROCMAP_COVERING_OR_NEXT 0x10u

// The kernel marks a file that has been removed, as an older generation is while its pages are still used.
bool scp_names_image(const char *path) {
    static const char suffix[] = ".swiftcp", mark[] = " (deleted)";
    size_t length = strlen(path), tail = sizeof suffix - 1;
    if (length > sizeof mark - 1 && strcmp(path + length - (sizeof mark - 1), mark) == 0)
        length -= sizeof mark - 1;
    return length > tail && memcmp(path + length - tail, suffix, tail) == 0;
}

static long query_kernel(long maps, uint64_t address, struct mapping *out) {
    char name[4096] = "";
    struct procmap_query query = {.size = sizeof query,
                                  .query_flags = PROCMAP_COVERING_OR_NEXT,
                                  .query_addr = address,
                                  .name_size = sizeof name,
                                  .name_address = (uint64_t)(uintptr_t)name};
    long result = scp_call(SYS_ioctl, maps, PROCMAP_QUERY, &query);
    if (result < 0)
        return result;
    *out = (struct mapping){query.vma_start, query.vma_end, (int)(query.vma_flags & 7), scp_names_image(name)};
    return 0;
}

static bool parse_line(const char *line, uint64_t address, struct mapping *out) {
    out->start = scp_parse_hex(&line);
    line++;
    out->end = scp_parse_hex(&line);
    if (out->end <= address)
        return false;
    out->protection =
        (line[1] == 'r' ? PROT_READ : 0) | (line[2] == 'w' ? PROT_WRITE : 0) | (line[3] == 'x' ? PROT_EXEC : 0);
    out->image = scp_names_image(line);
    return true;
}

// The older way: the text of maps, line by line.
static long query_text(long maps, uint64_t address, struct mapping *out) {
    char buffer[8192], line[4352];
    size_t used = 0;
    scp_call(SYS_lseek, maps, 0, SEEK_SET);
    for (long length; (length = scp_call(SYS_read, maps, buffer, sizeof buffer)) > 0;)
        for (long i = 0; i < length; i++) {
            if (buffer[i] != '\n') {
                if (used < sizeof line - 1)
                    line[used++] = buffer[i];
                continue;
            }
            line[used] = 0;
            used = 0;
            if (parse_line(line, address, out))
                return 0;
        }
    return -ENOENT;
}

// The mapping that covers the address, or the next above it.
static bool find_mapping(uint64_t address, struct mapping *out) {
    long maps = scp_call(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
    if (maps < 0)
        return false;
    long result = query_kernel(maps, address, out);
    if (result == -ENOTTY || result == -EINVAL)
        result = query_text(maps, address, out);
    scp_call(SYS_close, maps);
    return result == 0;
}

static uint64_t whole_pages(uint64_t bytes) {
    return (bytes + SCP_PAGE - 1) & ~(uint64_t)(SCP_PAGE - 1);
}

static long fresh_pages(uint64_t start, uint64_t end, int protection) {
    return scp_call(SYS_mmap, start, end - start, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE,
                    -1, 0);
}

static long fail(long result) {
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

// Throws away [start, end): pieces of the image become fresh anonymous memory, the rest goes to the kernel.
static int discard(uint64_t start, uint64_t end, int advice) {
    while (start < end) {
        struct mapping here;
        uint32_t before = restarts();
        if (!find_mapping(start, &here) || here.start > start)
            return (int)fail(scp_call(SYS_madvise, start, end - start, advice)); // a hole: the kernel says so
        uint64_t stop = here.end < end ? here.end : end;
        long result =
            here.image ? fresh_pages(start, stop, here.protection) : scp_call(SYS_madvise, start, stop - start, advice);
        if (restarts() != before)
            continue;
        if (result < 0 && result > -4096)
            return (int)fail(result);
        start = stop;
    }
    return 0;
}

EXPORT int madvise(void *address, size_t length, int advice) {
    uint64_t start = (uint64_t)(uintptr_t)address;
    uint64_t end = whole_pages(start + length);
    if (!atomic_load_explicit(&scp_lazy_regions, memory_order_relaxed) || start % SCP_PAGE || end < start ||
        (advice != MADV_DONTNEED && advice != MADV_FREE))
        return (int)fail(scp_call(SYS_madvise, address, length, advice));
    return discard(start, end, advice);
}

// Of an image, what was added shows the image's next bytes, and what MREMAP_DONTUNMAP has left behind its old ones.
static void give_zeros(const struct mapping *image, uint64_t from, uint64_t length, uint64_t to, uint64_t new_length,
                       int flags) {
    if (whole_pages(to + new_length) > whole_pages(to + length))
        fresh_pages(whole_pages(to + length), whole_pages(to + new_length), image->protection);
    if (flags & MREMAP_DONTUNMAP)
        fresh_pages(from, whole_pages(from + length), image->protection);
}

// What was one mapping to the program is several since the restart: each is moved by itself, the last one with the change of
// size. Never several at once: the kernel does not move them before 6.17, and since then, while they are tracked for a
// checkpoint, it moves the first and then fails.
static long move(uint64_t address, uint64_t length, uint64_t new_length, int flags, uint64_t wanted) {
    uint64_t end = whole_pages(address + length);
    for (uint64_t at = address;;) {
        struct mapping here = {.image = false};
        uint32_t before = restarts();
        bool known = find_mapping(at, &here) && here.start <= at, pieces = flags & MREMAP_FIXED && new_length >= length;
        bool last = !known || !pieces || here.end >= end;
        uint64_t part = last ? length - (at - address) : here.end - at;
        uint64_t new_part = last ? new_length - (at - address) : part;
        long result = scp_call(SYS_mremap, at, part, new_part, flags, wanted + (at - address));
        bool failed = result < 0 && result > -4096;
        if (failed && restarts() != before)
            continue;
        if (failed)
            return result;
        struct mapping moved;
        bool again = restarts() != before && find_mapping((uint64_t)result, &moved);
        if (again && moved.start <= (uint64_t)result && moved.image) // it was moved after the restart
            known = true, here = moved;
        if (known && here.image)
            give_zeros(&here, at, part, (uint64_t)result, new_part, flags);
        if (last)
            return result - (long)(at - address);
        at += part;
    }
}

// Grown or moved to wherever there is room, piece by piece, since the kernel does not take several mappings.
static long move_anywhere(uint64_t address, uint64_t length, uint64_t new_length, int flags) {
    long place = scp_call(SYS_mmap, 0, new_length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place < 0 && place > -4096)
        return place;
    return move(address, length, new_length, flags | MREMAP_FIXED, (uint64_t)place);
}

// In place the last of the mappings alone has to grow.
static long grow(uint64_t address, uint64_t length, uint64_t new_length, int flags) {
    struct mapping here = {.end = 0};
    uint64_t at = address, end = whole_pages(address + length);
    while (find_mapping(at, &here) && here.start <= at && here.end < end)
        at = here.end;
    if (here.start > at || here.end < end)
        return -EFAULT; // there is a hole
    long result = move(at, length - (at - address), new_length - (at - address), 0, 0);
    if (result >= 0 || result <= -4096)
        return (long)address;
    return flags & MREMAP_MAYMOVE ? move_anywhere(address, length, new_length, flags) : result;
}

// EFAULT: the memory is of several mappings.
static long remap_tracked(uint64_t address, uint64_t length, uint64_t new_length, int flags, uint64_t wanted) {
    if (flags & MREMAP_FIXED)
        return move(address, length, new_length, flags, wanted);
    long result = atomic_load_explicit(&scp_lazy_regions, memory_order_relaxed)
                      ? move(address, length, new_length, flags, wanted)
                      : scp_call(SYS_mremap, address, length, new_length, flags, wanted);
    bool grows = length > 0 && new_length >= length && !(flags & ~MREMAP_MAYMOVE);
    return result == -EFAULT && grows ? grow(address, length, new_length, flags) : result;
}

EXPORT void *mremap(void *address, size_t length, size_t new_length, int flags, ...) {
    void *wanted = NULL;
    if (flags & MREMAP_FIXED) {
        va_list rest;
        va_start(rest, flags);
        wanted = va_arg(rest, void *);
        va_end(rest);
    }
    uint64_t from = (uint64_t)(uintptr_t)address, to = (uint64_t)(uintptr_t)wanted;
    uint32_t before = restarts();
    long result;
    if (atomic_load_explicit(&scp_memory_tracked, memory_order_relaxed))
        result = remap_tracked(from, length, new_length, flags, to);
    else if (atomic_load_explicit(&scp_lazy_regions, memory_order_relaxed))
        result = move(from, length, new_length, flags, to);
    else
        result = scp_call(SYS_mremap, address, length, new_length, flags, wanted);
    if (result == -EFAULT && restarts() != before)
        result = move(from, length, new_length, flags, to);
    return (void *)fail(result);
}
