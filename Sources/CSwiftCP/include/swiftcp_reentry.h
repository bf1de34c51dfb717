// The hand-over from the restorer to the shim's code inside the restored address space.
// Bump SCP_FORMAT_VERSION when this changes: old images hold old shim code.
//
// The restorer creates every thread of the image (clone3, own tid, TLS, clear_child_tid) and jumps:
//   user threads       header.thread_entry(thread.slot, arrival)            on thread.stack, fs = thread.fs_base
//   checkpoint thread  header.checkpoint_entry(header.checkpoint_argument, arrival) on its thread.stack
// with all signals blocked. The checkpoint thread is created without CLONE_FILES (a table of its own).
// In the shim: user threads restore what only a thread can for itself (robust list, rseq, name …), count
// in and wait; the checkpoint thread restores what belongs to the process, unmaps the blob, tells
// swiftcp_restart "restored" over status_descriptor, connects to the coordinator and releases all. Where go_descriptor
// is given it first says "arrived" and waits for that pipe: no process of a set runs before all are there.
#ifndef SWIFTCP_REENTRY_H
#define SWIFTCP_REENTRY_H

#include <stdint.h>

enum scp_arrival_flag {
    SCP_ARRIVAL_DROP_CAPABILITIES = 1u << 0, // each thread: capset(0) when it has arrived
    SCP_ARRIVAL_PATCHED_TIDS = 1u << 1, // tids are new: write gettid() to clear_child_tid's word
    SCP_ARRIVAL_LAZY = 1u << 2, // some regions are mapped from the image
};
struct scp_arrival {
    uint64_t blob_start, blob_length; // the checkpoint thread unmaps this when all have arrived
    uint32_t flags; // enum scp_arrival_flag
    uint32_t user_threads; // how many will arrive, the leader included
    int32_t status_descriptor; // write end of a pipe to swiftcp_restart: scp_arrival_report records
    int32_t working_descriptors[7]; // numbers the leader closes in the program's table; -1 = none
    uint32_t interval_set; // 1 = the three below replace what the image's environment said
    // Read end of a pipe that all processes of a set share; -1 = do not wait. A byte in it (which nobody takes out), or the
    // end of its writers, lets all run.
    int32_t go_descriptor;
    char coordinator[256]; // address, "" = stay without a coordinator
    char computation[64];
    char checkpoint_directory[4096];
    uint64_t streams[6]; // device and inode of 0, 1 and 2 of swiftcp_restart, 0 0 = closed
};
_Static_assert(sizeof(struct scp_arrival) == 64 + 256 + 64 + 4096 + 48, "arrival crosses a process");

// What the checkpoint thread writes to status_descriptor.
enum scp_arrival_state {
    SCP_ARRIVAL_WARNING = 1, // something of lesser weight could not be restored; text says what
    SCP_ARRIVAL_RESTORED = 2, // all threads are about to run
    SCP_ARRIVAL_FAILED = 3, // the process ends itself; text says why
    SCP_ARRIVAL_ARRIVED = 4, // everything is restored; waits for go_descriptor
};
struct scp_arrival_report {
    uint32_t state; // enum scp_arrival_state
    int32_t error; // errno value or 0
    char text[248]; // NUL-terminated
};
_Static_assert(sizeof(struct scp_arrival_report) == 256, "report crosses a process");

#endif
