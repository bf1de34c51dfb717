// The shim: what runs inside the user's program. Internal interface of libswiftcp.so.
//
// Laws of the shim
//  1. After the constructor no libc lock is taken and no heap is used: the user's threads may be stopped
//     while they hold any of them. System calls go through arch/<name>/system_call.h, never through libc's
//     wrappers (errno is thread-local, and the checkpoint thread has no TLS of libc's).
//     Of libc only mem*/str* functions that neither allocate nor lock are called (memcpy, memset, strlen …).
//  2. It never ends the user's process, but when the coordinator orders it or a restart cannot be completed.
//  3. It writes nothing to the user's descriptors; its own live in the checkpoint thread's private table.
//  4. A signal handler leaves errno alone.
//  5. Whatever fails, the user's threads run on as they were: functions return -errno, and scp_fail() keeps the sentence.
//  6. libc alone, nothing newer than glibc 2.31; exported names are those in exports.map.
//
// Files: constructor.c (start), worker.c (the checkpoint thread's loop), link.c (coordinator socket),
// quiesce.c, park.c, slots.c, force.c (stop and go), interrupted.c (system calls cut short), reentry.c (after a restart), state_*.c (one
// aspect of kernel state each: examine and restore), regions.c, pages.c, image.c, core_notes.c (the image),
// descriptors*.c, api.c (swiftcp.h), wrap_*.c (the few interposed functions), scratch.c, text.c (helpers).
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifndef SWIFTCP_SHIM_H
#define SWIFTCP_SHIM_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdatomic.h>
#include <signal.h>
#include <time.h>
#include <sys/ucontext.h>

#include "swiftcp_format.h"
#include "swiftcp_descriptors.h"
#include "swiftcp_protocol.h"
#include "swiftcp_reentry.h"
#include "arch.h" // arch/<name>/arch.h: system calls
#include "entry.h" // arch/<name>/entry.h: frames, trampolines

#define SCP_PAGE 4096u // bytes; checked against AT_PAGESZ in the constructor

// What each child of fork and each program that starts runs, and what it reads and writes then, stands side by side: each page
// that it touches is a fault, each one that it writes a copy.
#define SCP_FORK_CODE __attribute__((section(".text.hot.fork")))
#define SCP_FORK_DATA __attribute__((section("scp_fork_data")))

// ---- scratch.c: memory of a checkpoint in progress. Never part of an image; given back when it ends. -------------

// An array that grows. Elements may move when it grows: keep indices, not pointers.
struct scp_vector {
    void *base;
    size_t count, capacity; // elements
    size_t element; // bytes
    int range; // its entry in the table of scratch ranges
};
int scp_vector_open(struct scp_vector *vector, size_t element, size_t capacity);
// Appends one zeroed element; NULL when memory is short.
void *scp_vector_add(struct scp_vector *vector);
void *scp_vector_at(const struct scp_vector *vector, size_t index);
void scp_vector_close(struct scp_vector *vector);
// Makes room for `more` further elements (-ENOMEM when short); appends `count` elements.
int scp_vector_reserve(struct scp_vector *vector, size_t more);
int scp_vector_append(struct scp_vector *vector, const void *elements, size_t count);
// Plain scratch memory of whole pages (NULL when short), and its return.
void *scp_scratch_map(size_t bytes);
void scp_scratch_unmap(void *memory);
// Where the kernel is asked to map memory of ours that is no scratch.
uintptr_t scp_lasting_place(size_t bytes);
// Before the pause: what the pause needs, so that it maps nothing. Short memory is no error.
void scp_scratch_stock(void);
// The checkpoint is over: what was kept for later goes back to the kernel.
void scp_scratch_end(void);
// The same, one with a child that is made while scratch is inherited (all of it, or none again).
void *scp_scratch_map_shared(size_t bytes);
void scp_scratch_inherit(bool inherited);
// True and the overlap's bounds when [start, end) touches a scratch range (lowest first).
bool scp_scratch_overlap(uintptr_t start, uintptr_t end, uintptr_t *from, uintptr_t *to);
// After a restart (first thing) and in a forked child: the ranges of the table do not exist in this process. Without it
// memory that the program maps at such a place later would be left out of the next image.
void scp_scratch_forget(void);

// String table of the image being made: returns the offset; equal strings may or may not be shared.
uint32_t scp_string(struct scp_vector *strings, const char *text, size_t length);

// ---- text.c: numbers, /proc files, messages ------------------------------------------------------------------------

size_t scp_decimal(char *out, uint64_t value); // no NUL; returns the length (<= 20)
uint64_t scp_parse_decimal(const char **cursor);
uint64_t scp_parse_hex(const char **cursor);
// Concatenates the NULL-terminated list of strings into out (always NUL-terminated). Returns the length.
size_t scp_concat(char *out, size_t size, ...);
// Reads a whole /proc file into a growing byte vector (NUL-terminated, count excludes the NUL). -errno on failure.
int scp_read_file(const char *path, struct scp_vector *bytes);
int scp_read_file_at(int folder, const char *path, struct scp_vector *bytes); // as openat(2)
// Reads up to size - 1 bytes, NUL-terminates. Returns the length or -errno.
long scp_read_small(const char *path, char *out, size_t size);
long scp_read_small_at(int folder, const char *path, char *out, size_t size);
// Calls `visit` for each entry of a folder, "." and ".." too. Returns the sum of what it returned, or -errno: the first error,
// its own or getdents64's. The folder is read from where it stands.
typedef int scp_name_visitor(void *argument, const char *name);
int scp_visit_names(int folder, scp_name_visitor *visit, void *argument);
// The same for those that are named by a number, as in /proc: threads, descriptors, processes.
typedef int scp_number_visitor(void *argument, uint32_t number);
int scp_visit_numbers(int folder, scp_number_visitor *visit, void *argument);
int scp_visit_threads(scp_number_visitor *visit, void *argument); // of /proc/self/task, the checkpoint thread too
const char *scp_error_name(int error); // "ENOSPC (No space left on device)" for a positive errno value

// ---- the checkpoint in progress --------------------------------------------------------------------------------------

// Everything that is gathered for one image. Lives in scratch memory of the checkpoint thread.
struct scp_checkpoint {
    const struct scp_checkpoint_order *order;
    char error_text[1016]; // what failed, on what, why, what to do
    int error; // positive errno value of the first scp_fail
    int64_t pause_start; // ns, CLOCK_MONOTONIC

    struct scp_vector strings; // bytes
    struct scp_vector regions; // struct scp_region
    struct scp_vector blocks; // struct scp_block
    struct scp_vector blobs; // struct scp_blob
    struct scp_vector threads; // struct scp_thread
    struct scp_vector pending; // struct scp_pending
    struct scp_vector timers; // struct scp_timer
    struct scp_vector descriptors; // struct scp_descriptor
    struct scp_vector objects; // struct scp_object
    struct scp_vector watches; // struct scp_watch
    struct scp_vector locks; // struct scp_lock
    struct scp_vector zombies; // struct scp_zombie
    struct scp_vector stopped; // uint32_t: pids of children that are, as the coordinator says; not in the image
    struct scp_process process;
    struct scp_action actions[64];

    uint32_t processes; // members of this checkpoint; 0 = not known yet
    bool childless; // the process never had a child
    uint32_t surveyed_count; // entries of the survey
    bool surveyed; // regions and descriptors are listed, and the coordinator has said who saves what is shared
    void *descriptor_work; // descriptors.c's own, from the list to the end of the examination
    int image; // descriptor in the checkpoint thread's table
    uint64_t file_position; // next free page-aligned offset
    uint64_t bytes_written, memory_bytes, metadata_checksum;
    uint32_t ancestor_count; // images that this one needs
    uint32_t ancestors[SCP_ANCESTORS_MAXIMUM]; // their generations, ascending
    uint32_t file_page_count; // files with pages of mapped files, in the generation's folder, that it needs
    uint32_t file_pages[SCP_ANCESTORS_MAXIMUM]; // the generations that have made them, ascending
    uint32_t snapshot; // enum scp_snapshot_mode: how memory is taken
    char snapshot_why[SCP_REASON_BYTES];
    void *image_private; // image.c's own
};
// Notes the reason (the first one stays) and returns -error, so that callers can `return scp_fail(…)`. The strings are
// joined; ": NAME (text)" of the error and what the user can do follow from the caller's words. NULL ends the list.
int scp_fail(struct scp_checkpoint *checkpoint, int error, ...);

// ---- quiesce.c: stop and go --------------------------------------------------------------------------------------------

// One user thread. Lives in the control area, which IS part of the image: a parked thread stands in it.
struct scp_slot {
    _Atomic uint32_t state; // enum scp_slot_state
    uint32_t tid;
    ucontext_t *frame; // on the thread's own stack
    struct scp_thread record; // filled by the thread itself, in its handler
    // The system call it was in, read from /proc before the signal was sent.
    int64_t call_number; // -1 = none
    uint64_t call_arguments[6];
    uint64_t call_stack, call_pc;
    // For interrupted.c: what was left of a relative timeout.
    int64_t parked_at; // ns, CLOCK_MONOTONIC
    int64_t timeout_deadline; // ns; 0 = none
    uint64_t timeout_pc, timeout_stack; // the call it belongs to
    int64_t timeout_value[2]; // struct timespec the repeated call reads
    struct scp_arch_transfer transfer; // a write or send being finished
    struct scp_arch_vector vector; // a writev, sendmsg or recvmsg being finished
    _Atomic uint32_t service; // enum scp_service, asked by the checkpoint thread, done by the parked thread
    _Atomic uint32_t service_done;
    int64_t service_argument[4];
    int64_t service_result;
    _Atomic uint32_t forced; // 1: the fallback signal was taken out of the thread's mask; its frame gets it back
    uint32_t ran; // 1: it was running, not waiting, when it was asked
    char state_private[256]; // state_thread.c: per-thread kernel state (affinity, scheduling, parent-death signal …)
};
enum scp_slot_state {
    SCP_SLOT_FREE = 0, // runs
    SCP_SLOT_ASKED = 1, // the signal is on its way
    SCP_SLOT_PARKED = 2,
    SCP_SLOT_LEAVING = 3, // told to go, has not looked yet
    SCP_SLOT_GONE = 4, // the thread has ended: the slot may be given to another
};

// Stops every user thread. On failure (time limit, thread in uninterruptible sleep) everything runs again.
void scp_quiesce_prepare(void); // before the pause: what it needs for as many threads as there are
int scp_quiesce(struct scp_checkpoint *checkpoint);
void scp_resume(void); // lets all parked threads go
size_t scp_slot_count(void);
struct scp_slot *scp_slot_at(size_t index); // the leader is number 0 while quiesced

// Runs `function(argument)` on a parked user thread (so in the program's descriptor table, with that thread's identity)
// and waits for its end. Only while quiesced or, after a restart, before release. Returns the function's result.
int64_t scp_on_thread(struct scp_slot *slot, int64_t (*function)(void *), void *argument);
// The same on all of them at once, each with its own slot as the argument.
void scp_on_every_thread(int64_t (*function)(void *slot));

// ---- state_*.c: kernel state, one aspect a file ------------------------------------------------------------------------

// Called while all threads are parked. Each keeps what it needs for its restore in static memory of the shim (which is
// in the image) and fills the checkpoint's tables for the notes.
int scp_state_prepare(struct scp_checkpoint *checkpoint); // before the pause: what may be slow and does not change
int scp_state_examine(struct scp_checkpoint *checkpoint);
// After a restart, on the checkpoint thread, all user threads parked in reentry.c. Reports through scp_arrival_warn.
int scp_state_restore(void);
// Last of all, when nothing else is waited for: time passes again for timers.
int scp_state_start(void);
// Per thread, on the thread itself: in the park handler (record half) and after a restart (restore half).
void scp_state_thread_examine(struct scp_slot *slot);
void scp_state_thread_restore(struct scp_slot *slot);

// ---- regions.c, pages.c, image.c, core_notes.c: memory and the file ----------------------------------------------------

int scp_regions_prepare(struct scp_checkpoint *checkpoint); // before the pause: VmFlags from smaps
int scp_regions_examine(struct scp_checkpoint *checkpoint); // in the pause: fills regions from /proc/self/maps
int scp_image_open(struct scp_checkpoint *checkpoint); // creates order->path, mode 0600
// Before the pause: saves memory while the program runs, and makes room for what the pause will find.
int scp_precopy(struct scp_checkpoint *checkpoint);
// Saves what the program has written since, while other processes are waited for.
int scp_precopy_again(struct scp_checkpoint *checkpoint);
int scp_image_write_memory(struct scp_checkpoint *checkpoint); // in the pause (snapshot "stop")
// Completes the file without waiting for the disk; nothing is left to be done if it has been.
int scp_image_seal(struct scp_checkpoint *checkpoint);
int scp_image_sync(struct scp_checkpoint *checkpoint); // fsync of what is written
int scp_image_finish(struct scp_checkpoint *checkpoint); // after the pause: metadata, fsync, close
void scp_image_abandon(struct scp_checkpoint *checkpoint); // close and unlink
void scp_image_committed(void); // it is part of a complete generation
void scp_image_forget(void); // after a restart, and in a child of fork: no earlier image is one of this memory
// Blobs, for descriptors: open one, append bytes, close; returns its number or -errno.
int scp_blob_begin(struct scp_checkpoint *checkpoint);
int scp_blob_append(struct scp_checkpoint *checkpoint, const void *bytes, size_t length);
int64_t scp_blob_end(struct scp_checkpoint *checkpoint);

// ---- descriptors*.c -----------------------------------------------------------------------------------------------------

int scp_descriptors_prepare(struct scp_checkpoint *checkpoint); // before the pause
// In the pause: numbers and an empty object for each description. The examination does it, if nobody has before.
int scp_descriptors_list_all(struct scp_checkpoint *checkpoint);
// Fills number, device and inode of an object that is listed. False: it has no state that could be shared.
bool scp_descriptors_describe(const struct scp_checkpoint *checkpoint, uint32_t object, struct scp_survey_entry *out);
// Is it a POSIX message queue? The answer to the survey says whether this process saves the messages.
bool scp_is_message_queue(const struct scp_checkpoint *checkpoint, uint32_t object, uint64_t *device, uint64_t *inode);
void scp_message_queue_assign(struct scp_checkpoint *checkpoint, uint32_t object, bool own);
void scp_descriptors_close(struct scp_checkpoint *checkpoint); // when the checkpoint ends, either way
// In the pause: fills descriptors, objects, watches, locks and their blobs; refuses by name what cannot be saved.
int scp_descriptors_examine(struct scp_checkpoint *checkpoint);
// After a restart: what only the process itself can put back (record locks …); runs on the leader's slot.
int scp_descriptors_restore(void);
int scp_descriptors_seal(void); // the same, when all processes of the set have mapped their memory

// ---- link.c, worker.c, reentry.c ---------------------------------------------------------------------------------------

// What the environment said, kept for children and restarts.
struct scp_settings {
    char coordinator[256];
    char computation[64];
    int quiesce_signal;
    bool untracked; // SWIFTCP_TRACKER=off
    uint64_t auto_signals; // bit n-1: signal n means checkpoint, then end
    char temporary_folder[256]; // TMPDIR; "" = none, or too long
    uint64_t streams[6]; // device and inode of what stood at 0, 1 and 2 at the launch or restart
    char checkpoint_directory[4096]; // last: a program that starts fills as few pages as it can
};
extern struct scp_settings scp_settings;

// After a restart: a line to swiftcp_restart's user that something of lesser weight could not be restored.
void scp_arrival_warn(int error, const char *what, const char *object);

// The code a restored thread is started at (addresses stand in the image header).
void scp_thread_entry(struct scp_slot *slot, const struct scp_arrival *arrival);
void scp_checkpoint_entry(void *argument, const struct scp_arrival *arrival);
extern void *scp_checkpoint_stack_top; // of the checkpoint thread, 16-byte aligned
extern uint64_t scp_checkpoint_fs_base; // its stand-in TLS block
uint32_t scp_checkpoint_tid(void);

int64_t scp_now(void); // CLOCK_MONOTONIC, ns, by system call
static inline uint64_t scp_ns_of(struct timespec time) {
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

// ---- pace.c, state_schedule.c --------------------------------------------------------------------------------------------
struct scp_schedule { // struct sched_attr, first version
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period; // ns
};
_Static_assert(sizeof(struct scp_schedule) == 48, "SCHED_ATTR_SIZE_VER0");

// How the scheduler takes the checkpoint thread beside the program's.
enum scp_pace {
    SCP_PACE_USUAL, // as any other
    SCP_PACE_PATIENT, // whoever wakes up goes first
    SCP_PACE_PROMPT, // it goes first itself
};
void scp_pace_set(enum scp_pace pace); // of the thread that asks; what does not do is left
// So many processes are let go at once, and the processors are theirs first: who has let its own go rests for a moment.
void scp_pace_make_way(uint32_t processes);

#endif
