// PAGEMAP_SCAN over an address range, and a thread that takes half of it: scanning what is written in 4 GiB of small pages
// is most of their pause (1 ms per GiB), and the processors have nothing else to do while the program stands still.
//
//   start          middle          end
//     |-- this one --|-- the thread --|    what the thread has found is read after what comes before it
//
// A thread that was given no processor yet has its half taken from it again.
#include <errno.h>

#include "pages.h"
#include "worker.h"

#define PAGEMAP_SCAN 0xc0606610u // _IOWR('f', 16, struct pm_scan_arg)
#define HALVED_FROM (512ull << 20) // bytes
#define HALF_ALIGNMENT (2ull << 20) // bytes: no page table is walked by both
#define WORTH_BYTES (1ull << 30) // of memory; a thread costs 0.1 ms
#define HALF_RANGES 16384u

enum scanner_state { SCANNER_IDLE, SCANNER_READY, SCANNER_TAKEN, SCANNER_DONE, SCANNER_LEAVES };

struct scp_scanner {
    struct scp_helper_thread thread;
    int pagemap;
    _Atomic uint32_t state; // enum scanner_state; futex
    struct scp_scan_request request;
    struct scp_scan_range *ranges; // HALF_RANGES
    long found; // ranges, or -errno
};

static long call(int pagemap, struct scp_scan_request *request) {
    long found;
    request->size = sizeof *request;
    do
        found = scp_call(SYS_ioctl, pagemap, PAGEMAP_SCAN, request);
    while (found == -EINTR);
    return found;
}

bool scp_scan_once(const struct scp_memory *memory, struct scp_scan_request *request) {
    return call(memory->pagemap, request) >= 0;
}

// ---- the thread ------------------------------------------------------------------------------------------------------------

static bool change(struct scp_scanner *scanner, uint32_t from, uint32_t to) {
    return atomic_compare_exchange_strong(&scanner->state, &from, to);
}

static void tell(struct scp_scanner *scanner, uint32_t state) {
    atomic_store(&scanner->state, state);
    scp_futex_wake(&scanner->state, 1);
}

static void work(void *argument) {
    struct scp_scanner *scanner = argument;
    for (uint32_t state; (state = atomic_load(&scanner->state)) != SCANNER_LEAVES;) {
        if (!change(scanner, SCANNER_READY, SCANNER_TAKEN)) {
            scp_futex_wait(&scanner->state, state, -1);
            continue;
        }
        scanner->found = call(scanner->pagemap, &scanner->request);
        tell(scanner, SCANNER_DONE);
    }
}

void scp_scanner_open(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    bool alone = checkpoint->processes <= 1; // else the others have the processors
    if (!alone || !scp_helper_threads_may(checkpoint) || memory->tracker.descriptor < 0 ||
        memory->resident < WORTH_BYTES)
        return;
    struct scp_scanner *scanner = memory->scanner = scp_scratch_map(sizeof *scanner);
    if (scanner == NULL)
        return;
    scanner->pagemap = memory->pagemap;
    scanner->ranges = scp_helper_thread_map(&scanner->thread, HALF_RANGES * sizeof *scanner->ranges);
    if (scanner->ranges == NULL || scp_helper_thread_start(&scanner->thread, work, scanner) < 0)
        scp_scanner_close(memory);
}

void scp_scanner_close(struct scp_memory *memory) {
    struct scp_scanner *scanner = memory->scanner;
    if (scanner == NULL)
        return;
    if (scanner->thread.memory != NULL) {
        tell(scanner, SCANNER_LEAVES);
        scp_helper_thread_end(&scanner->thread);
    }
    scp_scratch_unmap(scanner);
    memory->scanner = NULL;
}

static void give_half(struct scp_scanner *scanner, const struct scp_scan_request *request, uint64_t middle) {
    scanner->request = *request;
    scanner->request.start = middle;
    scanner->request.ranges = (uintptr_t)scanner->ranges;
    scanner->request.range_count = HALF_RANGES;
    tell(scanner, SCANNER_READY);
}

// Whether the thread has done it. If it has not begun, it will not.
static bool take_back(struct scp_scanner *scanner) {
    if (change(scanner, SCANNER_READY, SCANNER_IDLE))
        return false;
    for (uint32_t state; (state = atomic_load(&scanner->state)) != SCANNER_DONE;)
        scp_futex_wait(&scanner->state, state, -1);
    atomic_store(&scanner->state, SCANNER_IDLE);
    return scanner->found >= 0;
}

// ---- a range ---------------------------------------------------------------------------------------------------------------

// Returns where the scan goes on, in *next.
static int read_found(const struct scp_scan_request *request, long found, scp_range_reader *read, void *argument,
                      uint64_t *next) {
    const struct scp_scan_range *ranges = (const struct scp_scan_range *)(uintptr_t)request->ranges;
    for (long i = 0; i < found; i++) {
        int result = read(argument, &ranges[i]);
        if (result < 0)
            return result;
    }
    // When the last range is the last the table had room for, walk_end may lie before it (seen on 6.18).
    uint64_t told_until = found > 0 ? ranges[found - 1].end : 0;
    *next = told_until > request->walk_end ? told_until : request->walk_end;
    return 0;
}

static int scan_until(struct scp_memory *memory, struct scp_scan_request *request, uint64_t end, scp_range_reader *read,
                      void *argument) {
    request->end = end;
    request->ranges = (uintptr_t)memory->ranges;
    request->range_count = SCP_SCAN_RANGES;
    while (request->start < end) {
        long found = call(memory->pagemap, request);
        int result = found < 0 ? (int)found : read_found(request, found, read, argument, &request->start);
        if (result < 0)
            return result;
    }
    return 0;
}

int scp_scan(struct scp_memory *memory, struct scp_scan_request *request, scp_range_reader *read, void *argument) {
    struct scp_scanner *scanner = memory->scanner;
    uint64_t end = request->end, length = end - request->start;
    if (scanner == NULL || length < HALVED_FROM)
        return scan_until(memory, request, end, read, argument);
    uint64_t middle = (request->start + length / 2) & ~(HALF_ALIGNMENT - 1);
    give_half(scanner, request, middle);
    int result = scan_until(memory, request, middle, read, argument);
    bool done = take_back(scanner);
    request->start = middle;
    if (result == 0 && done)
        result = read_found(&scanner->request, scanner->found, read, argument, &request->start);
    return result < 0 ? result : scan_until(memory, request, end, read, argument);
}
