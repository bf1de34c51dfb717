// SEM_UNDO: what the kernel will add to SysV semaphores when the process ends. It tells nobody, so semop and semtimedop are
// wrapped and count along; operations without SEM_UNDO go straight through. After a restart, when all processes have their
// semaphores back, an operation that leaves the value alone brings each adjustment back: one half of it with SEM_UNDO.
//
// Not seen: adjustments taken over from the program before an exec, and those that somebody clears by SETVAL or SETALL.
#define _GNU_SOURCE
#include "state.h"
#include "worker.h"

#include <errno.h>
#include <string.h>
#include <sys/sem.h>

#define EXPORT __attribute__((visibility("default")))
#define KNOWN 1024

// Of this process: id << 32 | number in the set, plus 1 (0 = free), only ever added; and the adjustments.
static _Atomic uint64_t places[KNOWN];
static _Atomic int32_t adjustments[KNOWN];
SCP_FORK_DATA static _Atomic uint32_t under_way; // calls with SEM_UNDO that have not counted yet
SCP_FORK_DATA static _Atomic bool overflowed;
SCP_FORK_DATA static _Atomic bool known; // there is a place

// ---- wrappers ---------------------------------------------------------------------------------------------------------

static void count(int id, const struct sembuf *operation) {
    uint64_t place = ((uint64_t)(uint32_t)id << 32 | operation->sem_num) + 1;
    atomic_store(&known, true);
    for (size_t i = 0; i < KNOWN; i++) {
        uint64_t found = 0;
        if (atomic_load(&places[i]) != place && !atomic_compare_exchange_strong(&places[i], &found, place) &&
            found != place)
            continue;
        atomic_fetch_sub(&adjustments[i], operation->sem_op);
        return;
    }
    atomic_store(&overflowed, true);
}

static bool has_undo(const struct sembuf *operations, size_t number) {
    for (size_t i = 0; i < number; i++)
        if (operations[i].sem_flg & SEM_UNDO)
            return true;
    return false;
}

static long operate(int id, const struct sembuf *operations, size_t number, const struct timespec *limit) {
    return limit ? scp_call(SYS_semtimedop, id, operations, number, limit)
                 : scp_call(SYS_semop, id, operations, number);
}

static long counted(int id, const struct sembuf *operations, size_t number, const struct timespec *limit) {
    atomic_fetch_add(&under_way, 1);
    long result = operate(id, operations, number, limit);
    for (size_t i = 0; result == 0 && i < number; i++)
        if (operations[i].sem_flg & SEM_UNDO)
            count(id, &operations[i]);
    atomic_fetch_sub(&under_way, 1);
    return result;
}

static int answer(long result) {
    if (result >= 0)
        return (int)result;
    errno = (int)-result;
    return -1;
}

// Exported in the place of libc's (semop(2)): same arguments, same result, same errno. The kernel takes 500 operations.
EXPORT int semtimedop(int id, struct sembuf *operations, size_t number, const struct timespec *limit) {
    if (operations && number <= 500 && has_undo(operations, number))
        return answer(counted(id, operations, number, limit));
    return answer(operate(id, operations, number, limit));
}

EXPORT int semop(int id, struct sembuf *operations, size_t number) {
    return semtimedop(id, operations, number, NULL);
}

// A child of fork has none.
SCP_FORK_CODE void scp_undo_forget(void) {
    for (size_t i = 0; atomic_load(&known) && i < KNOWN && atomic_load(&places[i]) != 0; i++) {
        atomic_store(&places[i], 0);
        atomic_store(&adjustments[i], 0);
    }
    atomic_store(&under_way, 0);
    atomic_store(&overflowed, false);
}

// ---- examine ----------------------------------------------------------------------------------------------------------

// Threads that stand in such a call and wait: nothing has been done for them.
static uint32_t waiting(void) {
    uint32_t found = 0;
    for (size_t i = 0; i < scp_slot_count(); i++) {
        const struct scp_slot *slot = scp_slot_at(i);
        int64_t result = scp_arch_call_read(slot->frame).result;
        if ((slot->call_number == SYS_semtimedop || slot->call_number == SYS_semop) &&
            (result == -EINTR || result == slot->call_number) &&
            has_undo((const struct sembuf *)slot->call_arguments[1], slot->call_arguments[2]))
            found++;
    }
    return found;
}

int scp_undo_examine(const struct scp_examination *examination) {
    if (atomic_load(&overflowed))
        return scp_fail(examination->checkpoint, ENOTSUP, "the process uses more than ", scp_number(KNOWN).text,
                        " SysV semaphores with SEM_UNDO, which cannot be saved", (char *)NULL);
    uint32_t calls = atomic_load(&under_way);
    if (calls != 0 && calls != waiting())
        return scp_fail(examination->checkpoint, EAGAIN,
                        "a thread is in the middle of an operation on SysV semaphores with SEM_UNDO: try again",
                        (char *)NULL);
    return 0;
}

// ---- restore ----------------------------------------------------------------------------------------------------------

// The half that gives comes first, so the other one never waits.
static long adjust(int id, uint32_t number, int32_t adjustment) {
    int32_t size = adjustment < 0 ? -adjustment : adjustment;
    struct sembuf both[2] = {{(unsigned short)number, (short)size, IPC_NOWAIT},
                             {(unsigned short)number, (short)-size, IPC_NOWAIT}};
    both[adjustment < 0 ? 0 : 1].sem_flg |= SEM_UNDO;
    return scp_call(SYS_semop, id, both, 2);
}

static int64_t adjust_all(void *unused) {
    (void)unused;
    int64_t first = 0;
    for (size_t i = 0; i < KNOWN && atomic_load(&places[i]) != 0; i++) {
        uint64_t place = atomic_load(&places[i]) - 1;
        int32_t adjustment = atomic_load(&adjustments[i]);
        struct semid_ds set;
        if (adjustment == 0 || scp_call(SYS_semctl, place >> 32, 0, IPC_STAT, &set) < 0)
            continue; // balanced, or the set has been removed
        long result = adjust((int)(place >> 32), (uint32_t)place, adjustment);
        if (result < 0 && first == 0)
            first = result;
    }
    return first;
}

void scp_undo_restore(void) {
    int64_t result = scp_on_thread(scp_slot_at(0), adjust_all, NULL);
    if (result < 0)
        scp_arrival_warn((int)-result, "cannot restore what SEM_UNDO is to give back at the end of the process", NULL);
}
