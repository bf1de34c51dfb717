// Whether memory to come is locked (mlockall with MCL_FUTURE). Locks and advice of the memory there is stand in the
// regions' flags, and the restorer restores them.
#define _GNU_SOURCE
#include "state.h"

#include <errno.h>
#include <sys/mman.h>

static enum { FUTURE_PLAIN, FUTURE_LOCKED, FUTURE_LOCKED_ON_FAULT } future;

// ---- examine --------------------------------------------------------------------------------------------------------

// A new page says it: msync(MS_INVALIDATE) refuses locked memory, and locked memory is present unless it is locked on
// fault. Source: msync(2), mlock(2).
static void find_future(void) {
    unsigned char present = 0;
    future = FUTURE_PLAIN;
    long page = scp_call(SYS_mmap, scp_lasting_place(SCP_PAGE), SCP_PAGE, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == -EAGAIN) // no more may be locked: so it would have been
        future = FUTURE_LOCKED;
    if (scp_failed(page))
        return;
    if (scp_call(SYS_msync, page, SCP_PAGE, MS_INVALIDATE) == -EBUSY) {
        scp_call(SYS_mincore, page, SCP_PAGE, &present);
        future = present & 1 ? FUTURE_LOCKED : FUTURE_LOCKED_ON_FAULT;
    }
    scp_call(SYS_munmap, page, SCP_PAGE);
}

void scp_memory_prepare(void) {
    find_future();
}

int32_t scp_memory_lock_future(void) {
    return (int32_t)future;
}

// ---- restore --------------------------------------------------------------------------------------------------------

void scp_memory_restore(void) {
    if (future == FUTURE_PLAIN)
        return;
    long result = scp_call(SYS_mlockall, MCL_FUTURE | (future == FUTURE_LOCKED_ON_FAULT ? MCL_ONFAULT : 0));
    if (result < 0)
        scp_arrival_warn((int)-result, "could not restore the lock of memory to come (mlockall)", NULL);
}
