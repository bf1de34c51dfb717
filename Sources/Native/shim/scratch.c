// Scratch memory: what a checkpoint in progress needs, and no image ever holds.
//
// Only the checkpoint thread (or a parked thread that works for it) gets here, one at a time: no locks. The table of
// ranges is static memory of the shim, so it IS in the image, while the ranges are not: after a restart and in a forked
// child (scratch is MADV_DONTFORK) they do not exist, and scp_scratch_forget() says so before anything else is mapped.
#include <sys/mman.h>
#include <string.h>
#include <errno.h>

#include "shim.h"

#define SCRATCH_RANGES 1024
// Small ranges that are not needed any more are kept until the checkpoint ends: to map, touch and unmap others for the same
// purpose takes a third of the pause of a small program.
#define SPARE_BYTES (64ul << 10) // of one
#define SPARE_TOTAL (1ul << 20)

// Mapped before the pause, for the ranges of the pause: each map of its own is four system calls and a fault for each page.
// Its first pages are there: small ranges come from the front, others, of which less is used, from the end.
#define STOCK_BYTES (4ul << 20)
#define STOCK_FILLED (128ul << 10)

enum range_kind { RANGE_USED, RANGE_SHARED, RANGE_SPARE, RANGE_STOCK };

static struct {
    uintptr_t start, end; // end 0 = entry free
    enum range_kind kind;
} ranges[SCRATCH_RANGES];
SCP_FORK_DATA static size_t spare_bytes;
SCP_FORK_DATA static int ranges_used; // entries from here on were never used
SCP_FORK_DATA static int stock; // entry of the stock; kind RANGE_STOCK, if there is one

static bool call_failed(long result) {
    return result < 0 && result >= -4095;
}

static size_t whole_pages(size_t bytes) {
    return (bytes + SCP_PAGE - 1) & ~(size_t)(SCP_PAGE - 1);
}

// A fork may come at any moment, and the child unmaps what its copy of the table says (scp_scratch_release): an entry is
// free while it changes, and before its memory goes.
static void range_clear(int index) {
    ranges[index].end = 0;
    atomic_signal_fence(memory_order_seq_cst);
}

static void range_set(int index, uintptr_t start, size_t bytes, enum range_kind kind) {
    range_clear(index);
    ranges[index].kind = kind;
    ranges[index].start = start;
    atomic_signal_fence(memory_order_seq_cst);
    ranges[index].end = start + bytes;
}

static int range_enter(uintptr_t start, size_t bytes, enum range_kind kind) {
    int index = 0;
    while (index < ranges_used && ranges[index].end != 0)
        index++;
    if (index == SCRATCH_RANGES)
        return -1;
    if (index == ranges_used)
        ranges_used++;
    range_set(index, start, bytes, kind);
    return index;
}

// Far from where the kernel puts the program's mappings: a program may unmap something and map at its place again, or have a
// stack that grows, and must not meet us there. What images hold has places of its own, which are taken after a restart.
#define LASTING 0x3c0000000000ul
#define APART 0x3e0000000000ul
#define PLACES_BYTES (1ul << 41)
// Bytes used; only a hint, where it goes round. Atomic, since threads of the program need lasting memory too.
SCP_FORK_DATA static _Atomic uintptr_t lasting_used;
SCP_FORK_DATA static _Atomic uintptr_t apart_used;

static uintptr_t next_place(uintptr_t base, _Atomic uintptr_t *used, size_t bytes) {
    uintptr_t before = atomic_fetch_add(used, bytes);
    if (before + bytes <= PLACES_BYTES)
        return base + before;
    atomic_store(used, bytes);
    return base;
}

static uintptr_t apart(size_t bytes) {
    return next_place(APART, &apart_used, bytes);
}

uintptr_t scp_lasting_place(size_t bytes) {
    return next_place(LASTING, &lasting_used, whole_pages(bytes));
}

// Without access at first, so that mlockall(MCL_FUTURE) does not fill it.
static long map_unlocked(size_t bytes) {
    long address =
        scp_call(SYS_mmap, apart(bytes), bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (call_failed(address))
        return address;
    scp_call(SYS_munlock, address, bytes);
    // A child of fork would keep it for ever; and memory of other flags does not merge with the program's.
    scp_call(SYS_madvise, address, bytes, MADV_DONTFORK);
    long result = scp_call(SYS_mprotect, address, bytes, PROT_READ | PROT_WRITE);
    if (result == 0)
        return address;
    scp_call(SYS_munmap, address, bytes);
    return result;
}

static size_t range_bytes(int index) {
    return ranges[index].end - ranges[index].start;
}

// One of just this size, or -1.
static int take_spare(size_t bytes) {
    for (int i = 0; spare_bytes >= bytes && i < ranges_used; i++)
        if (ranges[i].end != 0 && ranges[i].kind == RANGE_SPARE && range_bytes(i) == bytes) {
            spare_bytes -= bytes;
            ranges[i].kind = RANGE_USED;
            return i;
        }
    return -1;
}

static void drop(int index) {
    uintptr_t start = ranges[index].start;
    size_t bytes = range_bytes(index);
    range_clear(index);
    scp_call(SYS_munmap, start, bytes);
}

// The range's memory is not needed any more.
static void give_back(int index) {
    size_t bytes = range_bytes(index);
    if (ranges[index].kind == RANGE_USED && bytes <= SPARE_BYTES && spare_bytes + bytes <= SPARE_TOTAL) {
        ranges[index].kind = RANGE_SPARE;
        spare_bytes += bytes;
        return;
    }
    drop(index);
}

void scp_scratch_end(void) {
    for (int i = 0; i < ranges_used; i++)
        if (ranges[i].end != 0 && (ranges[i].kind == RANGE_SPARE || ranges[i].kind == RANGE_STOCK))
            drop(i);
    spare_bytes = 0;
}

static bool has_stock(void) {
    return stock < ranges_used && ranges[stock].end != 0 && ranges[stock].kind == RANGE_STOCK;
}

void scp_scratch_stock(void) {
    if (has_stock())
        return;
    long address = map_unlocked(STOCK_BYTES);
    if (call_failed(address))
        return;
    int index = range_enter((uintptr_t)address, STOCK_BYTES, RANGE_STOCK);
    if (index < 0) {
        scp_call(SYS_munmap, address, STOCK_BYTES);
        return;
    }
    scp_call(SYS_madvise, address, STOCK_FILLED, MADV_POPULATE_WRITE); // before Linux 5.14 they come one by one
    stock = index;
}

// Cuts a range off, or -1.
static int take_stock(size_t bytes) {
    if (!has_stock() || range_bytes(stock) <= bytes)
        return -1;
    bool from_front = bytes <= SPARE_BYTES;
    uintptr_t start = ranges[stock].start, end = ranges[stock].end, place = from_front ? start : end - bytes;
    range_set(stock, from_front ? start + bytes : start, end - start - bytes, RANGE_STOCK);
    int index = range_enter(place, bytes, RANGE_USED);
    if (index < 0)
        range_set(stock, start, end - start, RANGE_STOCK);
    return index;
}

static void *map_pages(size_t bytes, int *index) {
    if ((*index = take_spare(bytes)) >= 0)
        return memset((void *)ranges[*index].start, 0, bytes);
    if ((*index = take_stock(bytes)) >= 0)
        return (void *)ranges[*index].start;
    long address = map_unlocked(bytes);
    if (call_failed(address))
        return NULL;
    *index = range_enter((uintptr_t)address, bytes, RANGE_USED);
    if (*index < 0) {
        scp_call(SYS_munmap, address, bytes);
        return NULL;
    }
    return (void *)address;
}

void *scp_scratch_map(size_t bytes) {
    int index;
    return bytes == 0 ? NULL : map_pages(whole_pages(bytes), &index);
}

void *scp_scratch_map_shared(size_t bytes) {
    const int flags = MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE;
    bytes = whole_pages(bytes);
    long address = scp_call(SYS_mmap, apart(bytes), bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (call_failed(address))
        return NULL;
    scp_call(SYS_madvise, address, bytes, MADV_DONTFORK);
    int index = range_enter((uintptr_t)address, bytes, RANGE_SHARED);
    if (index < 0) {
        scp_call(SYS_munmap, address, bytes);
        return NULL;
    }
    return (void *)address;
}

void scp_scratch_inherit(bool inherited) {
    for (int i = 0; i < ranges_used; i++)
        if (ranges[i].end != 0)
            scp_call(SYS_madvise, ranges[i].start, ranges[i].end - ranges[i].start,
                     inherited ? MADV_DOFORK : MADV_DONTFORK);
}

void scp_scratch_unmap(void *memory) {
    for (int i = 0; memory != NULL && i < ranges_used; i++)
        if (ranges[i].start == (uintptr_t)memory && ranges[i].end != 0)
            return give_back(i);
}

SCP_FORK_CODE void scp_scratch_forget(void) {
    if (ranges_used > 0) // in a child of fork each page written is a page copied
        memset(ranges, 0, (size_t)ranges_used * sizeof *ranges);
    ranges_used = 0;
    apart_used = 0;
    spare_bytes = 0;
}

SCP_FORK_CODE void scp_scratch_release(void) {
    for (int i = 0; i < ranges_used; i++)
        if (ranges[i].end != 0)
            scp_call(SYS_munmap, ranges[i].start, ranges[i].end - ranges[i].start);
    scp_scratch_forget();
}

bool scp_scratch_overlap(uintptr_t start, uintptr_t end, uintptr_t *from, uintptr_t *to) {
    bool found = false;
    for (int i = 0; i < ranges_used; i++) {
        if (ranges[i].start >= end || ranges[i].end <= start || (found && ranges[i].start >= *from))
            continue;
        found = true;
        *from = ranges[i].start;
        *to = ranges[i].end;
    }
    if (found && *from < start)
        *from = start;
    if (found && *to > end)
        *to = end;
    return found;
}

int scp_vector_open(struct scp_vector *vector, size_t element, size_t capacity) {
    memset(vector, 0, sizeof *vector);
    vector->range = -1;
    size_t bytes = whole_pages(element * (capacity ? capacity : 1));
    vector->base = map_pages(bytes, &vector->range);
    if (vector->base == NULL)
        return -ENOMEM;
    vector->element = element;
    vector->capacity = bytes / element;
    return 0;
}

static int vector_move(struct scp_vector *vector, size_t bytes) {
    int before = vector->range, range;
    void *base = map_pages(bytes, &range);
    if (base == NULL)
        return -ENOMEM;
    vector->base = memcpy(base, vector->base, range_bytes(before));
    vector->range = range;
    vector->capacity = bytes / vector->element;
    give_back(before);
    return 0;
}

int scp_vector_reserve(struct scp_vector *vector, size_t more) {
    if (vector->base == NULL || vector->element == 0)
        return -ENOMEM;
    if (vector->count + more <= vector->capacity)
        return 0;
    size_t old_bytes = range_bytes(vector->range), bytes = old_bytes;
    while (bytes / vector->element < vector->count + more)
        bytes *= 2;
    if (bytes <= SPARE_BYTES)
        return vector_move(vector, bytes);
    long address = map_unlocked(bytes);
    if (call_failed(address))
        return -ENOMEM;
    range_clear(vector->range);
    long moved = scp_call(SYS_mremap, vector->base, old_bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, address);
    if (call_failed(moved)) {
        scp_call(SYS_munmap, address, bytes);
        range_set(vector->range, (uintptr_t)vector->base, old_bytes, RANGE_USED);
        return -ENOMEM;
    }
    range_set(vector->range, (uintptr_t)address, bytes, RANGE_USED);
    vector->base = (void *)address;
    vector->capacity = bytes / vector->element;
    return 0;
}

void *scp_vector_add(struct scp_vector *vector) {
    if (vector->count == vector->capacity && scp_vector_reserve(vector, 1) != 0)
        return NULL;
    void *element = (char *)vector->base + vector->count++ * vector->element;
    return memset(element, 0, vector->element);
}

int scp_vector_append(struct scp_vector *vector, const void *elements, size_t count) {
    int result = scp_vector_reserve(vector, count);
    if (result != 0)
        return result;
    memcpy((char *)vector->base + vector->count * vector->element, elements, count * vector->element);
    vector->count += count;
    return 0;
}

void *scp_vector_at(const struct scp_vector *vector, size_t index) {
    return index < vector->count ? (char *)vector->base + index * vector->element : NULL;
}

void scp_vector_close(struct scp_vector *vector) {
    if (vector->base != NULL)
        give_back(vector->range);
    memset(vector, 0, sizeof *vector);
    vector->range = -1;
}

uint32_t scp_string(struct scp_vector *strings, const char *text, size_t length) {
    if (strings->count == 0 && scp_vector_append(strings, "", 1) != 0)
        return 0;
    if (length == 0)
        return 0;
    if (scp_vector_reserve(strings, length + 1) != 0)
        return 0;
    size_t offset = strings->count;
    scp_vector_append(strings, text, length);
    scp_vector_append(strings, "", 1);
    return (uint32_t)offset;
}
