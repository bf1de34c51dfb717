// Carries out what swiftcp_restart has planned: namespaces, their first process, the program's process.
// All functions return what they say or -errno. The caller has one thread.
#ifndef CRESTART_PROCESS_H
#define CRESTART_PROCESS_H

#include <stddef.h>
#include <stdint.h>

#include "crestart_descriptors.h"
#include "swiftcp_reentry.h"

// ---- namespaces ------------------------------------------------------------------------------------------------------

enum crestart_space {
    CRESTART_SPACE_USER = 1u << 0,
    CRESTART_SPACE_PID = 1u << 1, // with a mount namespace and a /proc of its own
    CRESTART_SPACE_IPC = 1u << 2,
    CRESTART_SPACE_TIME = 1u << 3, // clocks go on from the image's values
};
struct crestart_spaces {
    uint32_t flags; // enum crestart_space
    uint32_t user, group; // the ids to keep in a user namespace
    int64_t monotonic, boottime; // ns: what the program shall read now
    uint32_t last_pid; // the highest number of the program's: the next new process gets one above
    uint32_t reserved;
};

// Would entering the namespaces and starting a first process in them work? Tried in a child. 0 or -errno.
int crestart_spaces_probe(const struct crestart_spaces *spaces);
// The same in two steps, so that something else is done meanwhile: 0 or -errno, then the answer, once.
struct crestart_trial {
    int32_t pid, answer;
};
int crestart_trial_begin(const struct crestart_spaces *spaces, struct crestart_trial *trial);
int crestart_trial_end(const struct crestart_trial *trial);
// Moves this process into new namespaces (PID and TIME: its later children). Not undone by anything.
int crestart_spaces_enter(const struct crestart_spaces *spaces);

// The first process of a pid namespace: reaps orphans; ends, and with it everything in the namespace, when
// swiftcp_restart is gone, unless told to linger.
struct crestart_reaper {
    int32_t pid; // 0 = there is none
    int32_t channel; // socket to it; close-on-exec
};
int crestart_reaper_start(const struct crestart_spaces *spaces, struct crestart_reaper *reaper);
// It stays until its last process has ended, whether swiftcp_restart lives or not. Returns when it has said so.
int crestart_reaper_linger(struct crestart_reaper *reaper, int limit_ms);

// True when a process, thread, process group or session of this number exists in this pid namespace.
int crestart_number_taken(int number);
// True when this process has CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN (capability numbers 40, 21).
int crestart_has_capability(int number);

// ---- the plan's file and the process ---------------------------------------------------------------------------------

// A memfd with the bytes, close-on-exec.
int crestart_plan_create(const void *bytes, size_t length);
// pwrite of everything.
int crestart_plan_change(int plan, uint64_t offset, const void *bytes, size_t length);

// What one process of the set needs beside its plan. Descriptors are swiftcp_restart's.
struct crestart_process {
    const char *directory; // working directory of the program
    int32_t plan, image, status, go, executable, progress; // executable, progress -1 = none
    const int32_t *objects; // descriptors that regions are mapped from
    uint32_t object_count;
    uint64_t numbers_offset; // of the plan's table of descriptors, for the numbers after placing
    uint64_t terminal; // of a session leader: number of its inner terminal
};
struct crestart_set {
    const char *restorer; // absolute path
    const struct crestart_process *processes; // as the members of the tables
    const struct crestart_descriptors *made;
    int32_t keep_capabilities; // 1 = in a user namespace: what the restorer needs survives the exec
    uint32_t process_count;
};
#define CRESTART_KEEP_MAXIMUM 1024 // descriptors handed to the restorer

// In a new process whose identity stands (crestart_tree_context.finish; the argument is a struct crestart_set): working
// directory, descriptors, numbers into the plan, exec of the restorer. Does not return; a failure is told over `status`.
// Other processes may do the same in the same memory.
void crestart_process_finish(void *argument, uint32_t process);

// For crestart_tree_context.terminal and .foreground; the argument is a struct crestart_set.
int crestart_process_terminal(void *argument, uint32_t process);
int crestart_process_foreground(void *argument, uint32_t process, uint32_t group);

// Makes sure that there is a SysV shared memory segment of this number: the one that is there, else a new one. 0 or -errno;
// EEXIST = its number is taken by another.
int crestart_segment_ensure(int32_t id, int32_t key, uint64_t size);
// A memfd of that size (bytes), close-on-exec, or -errno.
int crestart_memory_create(const char *name, uint64_t size);

// ---- the parent ------------------------------------------------------------------------------------------------------

// The controlling terminal, close-on-exec, or -errno.
int crestart_terminal_open(void);
// Ends this process by the signal, without a core file; exit status 128 + signal if it does not.
void crestart_die_by(int signal) __attribute__((noreturn));
// Maps [address, address + length) of this process's own memory for reading: copies out.
void crestart_copy_memory(void *out, uint64_t address, size_t length);
// 1 when the first and last page and some in between of the file's range are in the page cache, 0 when not.
int crestart_is_cached(int file, uint64_t offset, uint64_t length);
int crestart_personality(void);
// Names of the processor features that an image wants (scp_image_header.cpu_features, xfeatures) and this processor
// lacks, separated by commas; returns how many there are.
int crestart_missing_features(const uint32_t *wanted, uint64_t xfeatures, char *out, size_t size);

#endif
