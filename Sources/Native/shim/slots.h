// The table of user threads (slots.c), used by park.c and quiesce.c alone.
#ifndef SWIFTCP_SLOTS_H
#define SWIFTCP_SLOTS_H

#include "worker.h"

#define SCP_SLOTS_MAXIMUM 65536u

size_t scp_slots_made(void);
struct scp_slot *scp_slot_number(size_t index);
// Maps memory for the slots of so many threads, as far as there is any: what is mapped in the pause has smaps read again.
void scp_slots_expect(size_t threads);
// Makes the index from tids to slots anew; slots of ended threads may then be given to others.
void scp_slots_reindex(void);
// Finds the thread's slot, or gives it one. NULL when memory is short.
struct scp_slot *scp_slot_for(uint32_t tid);

// ---- park.c --------------------------------------------------------------------------------------------------------------

#define SCP_FALLBACK_SIGNAL 33

enum scp_order { SCP_ORDER_WAIT, SCP_ORDER_SERVE, SCP_ORDER_GO }; // scp_slot.service: what a parked thread is to do

extern _Atomic uint32_t scp_arrived; // counts threads that have parked, futex of the checkpoint thread
void scp_gate_close(void); // from here on a request parks its thread
void scp_gate_open(void);
void scp_handlers_install(void);
void scp_handlers_remove(void);
// Sends the request. 0, or -errno (-ESRCH: the thread has ended).
int scp_request_park(struct scp_slot *slot, uint64_t blocked_signals);
// To one that is on its way out of the handler and stopped there: nothing but a signal that waits for it.
void scp_request_leave(struct scp_slot *slot);
// Makes a thread that blocks both signals take the request that is pending for it (force.c); nothing happens when the
// host forbids that.
void scp_force(struct scp_slot *slot);
void scp_request_lost(void); // a thread ended before it could park
// No request is on its way. In a child of fork our handlers are still there (true); after a restart they are not.
void scp_park_forget(bool handlers_stand);

#endif
