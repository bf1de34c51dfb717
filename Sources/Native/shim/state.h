// What state_*.c share, and what the files around the checkpoint thread call of them besides shim.h.
//
//   state.c            the order of things; memory that travels in the image (the carry area)
//   state_thread.c     on the thread itself: registers, robust list, rseq, name, timer slack, parent-death signal …
//   state_schedule.c   per thread, from outside: CPU affinity, scheduling, I/O priority
//   state_signals.c    dispositions, pending signals
//   state_timers.c     interval timers, POSIX timers
//   state_limits.c     resource limits, umask, nice, out-of-memory score, core filter
//   state_process.c    identity, paths, addresses, PR_* flags; refusals
//   state_surroundings.c  seccomp, landlock, keyrings: refused where the program has added to what it was started with
//   state_memory.c     mlockall(MCL_FUTURE)
//   state_ipc.c        SysV message queues and semaphores; state_segments.c: shared memory that nobody has attached
//   state_named.c      POSIX shared memory that no process has open
//   state_undo.c       SEM_UNDO
//   state_stops.c      this process or children of it stopped by job control
//   state_children.c   children: told to the coordinator; ended ones; refusals
//
// A restart finds static memory and the carry area as they were while all threads stood still: what examine leaves
// there is what restore reads. Scratch memory does not travel.
#ifndef SWIFTCP_STATE_H
#define SWIFTCP_STATE_H

#include "shim.h"

// ---- called from constructor.c, worker.c, reentry.c -----------------------------------------------------------------

// In the constructor: what is only to be seen before the program's own code runs.
void scp_state_thread_setup(void);
// When a checkpoint has ended, either way: gives the carry area back. (The next scp_state_prepare does so, too.)
void scp_state_finish(void);
// Sets the calling thread's capabilities to none.
void scp_state_thread_drop_capabilities(void);
// quiesce.c: 1 when `signal` has our handler at the moment; out = the program's own disposition.
int scp_quiesce_program_action(int signal, struct scp_action *out);

// ---- per-thread state that struct scp_thread has no field for: scp_slot.state_private -------------------------------

struct scp_thread_private {
    uint32_t tid; // as recorded, also where a restart has changed slot->tid
    uint32_t personality;
    uint64_t timer_slack; // ns
    uint64_t capabilities[3]; // effective, permitted, inheritable
    int32_t parent_death_signal, no_new_privileges, security_bits, time_stamp_counter;
    int32_t io_priority; // ioprio_get(2); < 0 = not known
    int32_t memory_policy; // MPOL_* with mode flags; < 0 = not known
    uint64_t memory_nodes[8];
    uint64_t schedule_flags, runtime, deadline, period; // struct sched_attr; ns
    uint64_t pending; // signals seen pending by the thread itself
    uint32_t session_keyring; // serial number, 0 = none
    bool own_keyring; // of the thread or the process
    uint64_t free_layers; // that landlock would still allow
    uint32_t affinity; // bytes from the start of the table of CPU sets; SCP_AFFINITY_ANY = not restricted
    int32_t error; // of the first thing the thread could not restore for itself
    const char *what; // its name
};
#define SCP_AFFINITY_ANY UINT32_MAX
_Static_assert(sizeof(struct scp_thread_private) <= sizeof((struct scp_slot *)0)->state_private, "fits its slot");

static inline struct scp_thread_private *scp_thread_private(struct scp_slot *slot) {
    return (struct scp_thread_private *)(void *)slot->state_private;
}
// Gives up what of the thread's capabilities the recorded one did not have. On the thread itself.
void scp_thread_reduce_capabilities(struct scp_slot *slot);
// The slot of the thread that had this tid when it was recorded; NULL = none.
struct scp_slot *scp_slot_of_recorded(uint32_t tid);

// ---- state.c --------------------------------------------------------------------------------------------------------

// The carry area: ordinary memory, part of the image. Reserved before the pause, taken from in examine, unmapped by
// scp_state_finish or at the end of scp_state_restore. Returns zeroed memory, 16-byte aligned; NULL when it is used up.
void *scp_carry(size_t bytes);
// The text of /proc/self/status read at the start of the examination. Value of a field, after the tab; "" = not there.
const char *scp_status_field(const char *status, const char *name);
// What examine functions are handed.
struct scp_examination {
    struct scp_checkpoint *checkpoint;
    const char *status; // /proc/self/status
};
// Number as text, for messages.
struct scp_number {
    char text[24];
};
struct scp_number scp_number(uint64_t value);
struct scp_number scp_signed_number(int64_t value);
static inline bool scp_failed(long result) {
    return result < 0 && result >= -4095;
}

// ---- the aspects: bytes each may need of the carry area, examine, restore -------------------------------------------

size_t scp_schedule_prepare(void);
int scp_schedule_examine(const struct scp_examination *examination);
void scp_schedule_restore(void);

size_t scp_signals_prepare(const char *status);
int scp_actions_examine(const struct scp_examination *examination);
// Fills the table of pending signals anew, from process and threads, and leaves them as they were.
int scp_pending_examine(const struct scp_examination *examination);
int scp_pending_carry(struct scp_checkpoint *checkpoint); // the table, when it is final, for the restart
int scp_actions_restore(void);
int scp_pending_restore(void);

size_t scp_timers_prepare(void);
// Timers and pending signals: an expiry must be seen as one of them, not as none or as both.
int scp_timers_examine(const struct scp_examination *examination);
int scp_timers_create(void); // after a restart: the timers, not running
int scp_timers_start(void); // last of all

int scp_limits_examine(const struct scp_examination *examination);
void scp_limits_widen(void); // as far as allowed, for the restore of what they would forbid
void scp_limits_restore(void);

// Field n of the text of /proc/PID/stat (proc(5) counts from 1), from 4 on: behind the name, which may hold anything.
uint64_t scp_stat_field(const char *text, int field);
char scp_stat_state(const char *text); // the letter; 0: it is no such text
// rt_sigaction, past libc: the kernel's own structure, also for libc's signals.
static inline long scp_signal_action(int signal, const struct scp_action *new, struct scp_action *old) {
    return scp_call(SYS_rt_sigaction, signal, new, old, 8);
}
uint64_t scp_process_filters(void); // seccomp filters in force for the calling process
int scp_process_prepare(struct scp_checkpoint *checkpoint, const char *status); // refusals that need no pause
int scp_process_examine(const struct scp_examination *examination);
void scp_process_restore(void);
void scp_process_seal(void); // what cannot be undone and may stand in the way: write-exec refusal, dumpable

// In the constructor. variable: the value of SCP_ENV_SURROUNDINGS, in place; NULL = there is none.
void scp_surroundings_setup(char *variable);
void scp_surroundings_renew(char *out,
                            size_t size); // after a restart, when all threads of the set exist: the new value
uint64_t scp_surroundings_filters(void);
void scp_surroundings_prepare(void); // before the pause
void scp_surroundings_examine_thread(struct scp_thread_private *own); // on the thread itself
int scp_surroundings_examine(const struct scp_examination *examination);

int scp_children_examine(const struct scp_examination *examination); // fills the table of zombies
// worker.c: when quiesced, tells the coordinator of the children; refuses what parents and children cannot be saved with.
int scp_children_report(struct scp_checkpoint *checkpoint);
// Calls `visit` for every child until one returns other than 0. *count: how many there are.
int scp_children_visit(struct scp_checkpoint *checkpoint, uint32_t *count,
                       int (*visit)(struct scp_checkpoint *, uint32_t pid));
void scp_children_setup(void); // in the constructor
void scp_children_discount(int64_t faults); // page faults of a child of ours
void scp_children_note_fork(void); // constructor.c: in parent and child of fork

// ---- stopped by job control ---------------------------------------------------------------------------------------------
void scp_stops_note(int signal); // this process is, by that signal; 0: it is not
size_t scp_stops_prepare(const struct scp_checkpoint *checkpoint); // bytes that the examination will carry at most
int scp_stops_examine(const struct scp_examination *examination);
// The order of a restart: the first before anybody goes on, the second before this process says "restored", the third after that.
void scp_stops_hush(void); // no SIGCHLD for the stops that come now
void scp_stops_await(void); // until the children stand again; takes the reports away that the program has had
void scp_stops_stop(void); // stops this process, if it was; returns when it has been continued

size_t scp_ipc_prepare(void);
int scp_ipc_examine(const struct scp_examination *examination);
int scp_ipc_restore(void);

size_t scp_named_prepare(void);
int scp_named_examine(const struct scp_examination *examination);
int scp_named_restore(void);

int scp_undo_examine(const struct scp_examination *examination);
void scp_undo_restore(void); // when all processes of the set have their semaphores
void scp_undo_forget(void); // in a child of fork

void scp_memory_prepare(void);
void scp_memory_restore(void);
int32_t scp_memory_lock_future(void); // 0 = memory to come is not locked, 1 = it is, 2 = on fault

// ---- arch/<name>/thread_state.c -------------------------------------------------------------------------------------

// fs_base, gs_base, registers, stack of the record, from the frame.
void scp_arch_thread_examine(struct scp_slot *slot);
void scp_arch_thread_restore(struct scp_slot *slot); // gs base
// What of the CPU's state is beyond us: the name of it, or NULL.
const char *scp_arch_refusal(void);
void scp_arch_process_examine(void);
int scp_arch_process_restore(void); // permission to use large register files

#endif
