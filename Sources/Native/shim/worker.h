// What the files around the checkpoint thread share: constructor.c, worker.c, link.c, quiesce.c, interrupted.c,
// reentry.c, api.c, automatic.c.
#ifndef SWIFTCP_WORKER_H
#define SWIFTCP_WORKER_H

#include "shim.h"

// ---- futexes (system calls only; limits in ns, < 0 = none) ---------------------------------------------------------
long scp_futex_wait(_Atomic uint32_t *word, uint32_t expected, int64_t limit_ns);
void scp_futex_wake(_Atomic uint32_t *word, int count);

// ---- the checkpoint thread -------------------------------------------------------------------------------------------
extern bool scp_enabled; // the environment made this process a worker
extern uint32_t scp_own_pid; // getpid() as the program sees it
extern _Atomic uint32_t scp_checkpoint_thread_tid;
// Makes the control area and starts the checkpoint thread; all signals are blocked in it. Returns 0 or -errno.
int scp_checkpoint_thread_start(void);
void scp_worker_newborn(void); // before that in a new process: waits for a moment, since most have gone by then
void scp_worker_run(bool restarted) __attribute__((noreturn));
// In a child of fork, before its checkpoint thread is started: a checkpoint of the parent is under way, which this process
// will have to be part of. After that: waits until it has been, or none is to be expected. Bounded.
void scp_worker_expect_checkpoint(void);
void scp_worker_await_checkpoint(void);
// Wakes the checkpoint thread from any thread or signal handler: it then looks at what is asked (api.c).
void scp_poke(void);

// ---- link.c: the coordinator's socket, in the checkpoint thread's table -----------------------------------------------
struct scp_link {
    int socket; // -1 = not connected
    int poke[2]; // pipe: scp_poke writes to [1] through /proc
};
extern struct scp_link scp_link;
int scp_link_open_poke(void);
int scp_link_connect(bool restarted);
void scp_link_close(void);
int scp_link_peer(void); // pid of the coordinator, 0 = it is in another namespace
// Sends one message; on failure the link is closed.
int scp_link_send(uint16_t type, const void *payload, size_t length);
// Receives one message within the limit (ms, -1 = none). -ETIMEDOUT; -EPIPE: the link is closed; -EINTR: poked.
// payload has room for `size` bytes; returns the payload's length.
int scp_link_receive(uint16_t *type, void *payload, size_t size, int limit_ms);

// ---- survey.c ----------------------------------------------------------------------------------------------------------
// Lists regions and descriptors and tells the coordinator; takes its answer.
int scp_survey_send(struct scp_checkpoint *checkpoint);
int scp_survey_accept(struct scp_checkpoint *checkpoint, const void *payload, size_t length);

// state_ipc.c: the SysV queues and semaphores this process may use, by index (false: no more); who saves one.
bool scp_ipc_known(size_t index, uint32_t *kind, uint32_t *id);
void scp_ipc_assign(size_t index, bool own);
void scp_named_assign(bool own); // state_named.c: who saves the shared memory objects that nobody has open

// ---- quiesce.c ---------------------------------------------------------------------------------------------------------
void scp_quiesce_forget(void); // in a child of fork: nobody is parked
bool scp_gate_is_closed(void); // a checkpoint is stopping the threads, or has
void scp_slot_wait(struct scp_slot *slot); // serves scp_on_thread until released
int scp_quiesce_program_action(int signal, struct scp_action *out); // 1: out = the program's own disposition

// ---- interrupted.c -----------------------------------------------------------------------------------------------------
// Reads TID/syscall, before the signal. tasks: /proc/self/task, open.
void scp_interrupted_note(struct scp_slot *slot, int tasks);
void scp_interrupted_repair(struct scp_slot *slot); // on the thread itself, just before it returns to the program

// ---- reentry.c, scratch.c ------------------------------------------------------------------------------------------------
void scp_reentry_prepare(void); // before memory is written: what a restart relies on to find there
void scp_scratch_forget(void); // the scratch memory of the image's checkpoint does not exist here
void scp_scratch_release(void); // in a child of fork: a copy of the parent's, of use to nobody

// ---- api.c -------------------------------------------------------------------------------------------------------------
bool scp_critical_enter_closing(int64_t deadline); // waits until no thread is in a critical section
void scp_critical_leave_closing(void);
enum scp_event { SCP_EVENT_QUIESCED = 1, SCP_EVENT_RESUMED = 2, SCP_EVENT_RESTARTED = 3 }; // as in swiftcp.h
#define SCP_CALLBACK_LIMIT_NS 10000000000ll // a callback that takes longer is left behind
void scp_callbacks_run(int event); // on the callback thread, if the program registered any
bool scp_ask_pending(struct scp_ask *ask); // what the program wants from the coordinator, once each
void scp_ask_answer(int result); // 0 < result: 1 resumed, 2 restarted; < 0: -errno
void scp_api_forget(void); // in a child of fork

// ---- wrap_exec.c ---------------------------------------------------------------------------------------------------------
void scp_exec_setup(void);
void scp_exec_forget(void); // in a child of fork, and after a restart
// After a restart: scp_settings has changed, and the value of SCP_ENV_SURROUNDINGS (NULL = not known yet).
void scp_exec_renew(const char *surroundings);
bool scp_exec_bar(int64_t deadline); // no exec from here on; false: one is under way beyond the deadline
void scp_exec_unbar(void);

// ---- wrap_memory.c ---------------------------------------------------------------------------------------------------------
bool scp_names_image(const char *path); // a path as /proc/self/maps has it
extern _Atomic bool scp_lazy_regions; // this process was restarted with regions mapped from its image
extern _Atomic uint32_t scp_memory_restarts; // how many: what was known of mappings before does not hold
extern _Atomic bool scp_memory_tracked; // mappings that were there at a checkpoint do not merge with newer ones

// ---- automatic.c: --auto's signals --------------------------------------------------------------------------------------
void scp_automatic_setup(void);
void scp_automatic_forget(void); // after a restart: the signal has had its effect
void scp_automatic_deliver(void); // the checkpoint was refused: the program gets the signal after all
bool scp_automatic_guards(int signal); // it means checkpoint, then end
int scp_automatic_pending(void); // the signal that came, 0 = none

// While memory is saved before the pause: -errno when the coordinator has given the checkpoint up. KILL ends the process.
int scp_worker_heed(void);
// Until all are prepared to be stopped: 1, or 0 when the limit is over first; -errno as above.
int scp_worker_await_start(int64_t limit_ns);

// ---- worker_tables.c -----------------------------------------------------------------------------------------------------
int scp_tables_open(struct scp_checkpoint *checkpoint);
int scp_tables_threads(struct scp_checkpoint *checkpoint); // fills the table of threads, which stand still
void scp_tables_close(struct scp_checkpoint *checkpoint);

#endif
