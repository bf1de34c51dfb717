// What the files around descriptors share. Everything here runs on the checkpoint thread while the program is parked.
//
// The checkpoint thread has a descriptor table of its own. The program's is read through
// /proc/self/task/<leader>/fd and fdinfo; one of its descriptors is borrowed with pidfd_getfd, which leaves
// record locks and the program's table alone.
#ifndef SWIFTCP_DESCRIPTORS_INTERNAL_H
#define SWIFTCP_DESCRIPTORS_INTERNAL_H

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "shim.h"

#define SCP_COPY_BYTES (1u << 20) // bytes copied at a time

// One descriptor number of the program, or one open file description that stands in a socket's queue alone.
struct scp_entry {
    int32_t number; // of the program; in flight: of the checkpoint thread
    uint32_t in_flight;
    uint32_t object; // index into the objects
    uint32_t mode; // st_mode
    uint64_t device, inode, rdev;
    uint32_t is_queue; // a POSIX message queue
    uint32_t reserved;
    uint64_t links; // st_nlink
    uint64_t size; // bytes
    uint64_t mtime; // ns
};

struct scp_descriptor_work {
    struct scp_checkpoint *checkpoint;
    int pidfd; // of this process
    uint32_t program; // a thread that has the program's table
    uint32_t own; // the checkpoint thread
    struct scp_vector entries; // struct scp_entry; the numbers of the program first, ascending
    struct scp_vector first; // uint32_t: object -> its first entry
    struct scp_vector order; // uint32_t: entries by device, inode and description
    struct scp_vector fdinfo; // bytes: the file being looked at
    struct scp_vector members; // uint32_t: pids of the computation's other processes, once they are needed
    struct scp_vector names; // descriptors_sockets.c: hashes of addresses, by object
    char *buffer; // SCP_COPY_BYTES
    char link[4096]; // text of the descriptor being looked at
    int scratch[2]; // a pipe to tee into
    int links, information; // open folders fd/ and fdinfo/ of the program's table, -1 = not open
    uint64_t spare_bytes; // of files taken along in case they go
    int diagnosis; // netlink socket for sock_diag, -1 = not opened yet
};

// One open file description that is being looked at.
struct scp_source {
    uint32_t object; // index
    int descriptor; // borrowed, in the checkpoint thread's table
    struct scp_entry *entry;
};

static inline struct scp_entry *scp_entry_at(const struct scp_descriptor_work *work, uint32_t index) {
    return scp_vector_at(&work->entries, index);
}

static inline struct scp_entry *scp_entry_of(const struct scp_descriptor_work *work, uint32_t object) {
    return scp_entry_at(work, *(uint32_t *)scp_vector_at(&work->first, object));
}

static inline uint32_t scp_entry_table(const struct scp_descriptor_work *work, const struct scp_entry *entry) {
    return entry->in_flight ? work->own : work->program;
}

// ---- descriptors_numbers.c ------------------------------------------------------------------------------------------
// Fills entries, first, and the checkpoint's descriptors; makes an empty object for each description.
int scp_descriptors_list(struct scp_descriptor_work *work);
uint32_t scp_fdinfo_flags(const struct scp_descriptor_work *work); // of the fdinfo read last
bool scp_close_on_exec(const struct scp_entry *entry, uint32_t flags); // flags: of its fdinfo

// ---- descriptors_holders.c: what stands in a queue of this process and another process of the computation holds, too --------
bool scp_is_member(uint64_t pid, char *buffer); // SCP_COPY_BYTES
// Marks the object of such an entry: the process that holds it saves it.
void scp_find_holder(struct scp_descriptor_work *work, const struct scp_entry *entry);

// ---- descriptors.c ---------------------------------------------------------------------------------------------------
struct scp_object *scp_object_at(const struct scp_descriptor_work *work, uint32_t object);
// The blob of this number has the object's content. -errno for a number: it could not be copied, and is refused.
int scp_object_keep(struct scp_descriptor_work *work, uint32_t object, int64_t blob);
const char *scp_string_at(const struct scp_checkpoint *checkpoint, uint32_t offset);
// A descriptor of the object in the checkpoint thread's table, or -errno; scp_object_return gives it back.
int scp_object_borrow(struct scp_descriptor_work *work, uint32_t object);
void scp_object_return(struct scp_descriptor_work *work, uint32_t object, int descriptor);
// The object of this descriptor of the checkpoint thread; made anew when the program has no number for it. The
// descriptor then belongs to the work and is closed with it, else it is closed here. Returns the index or -errno.
int64_t scp_object_of_flight(struct scp_descriptor_work *work, int descriptor);
// Was it 0, 1 or 2 at the launch, or is it now? Then swiftcp_restart's own takes its place, if it leads out.
bool scp_is_standard_stream(const struct scp_descriptor_work *work, uint32_t object);
// "descriptor 5 (LINK) <what>": notes the refusal, returns -error.
int scp_refuse(struct scp_descriptor_work *work, uint32_t object, int error, const char *what);
// Appends "n=HEX " (word: the two characters in front) to the description of a socket or terminal. False: no memory.
bool scp_put_word(struct scp_vector *text, const char *word, const void *bytes, size_t length);
// Path of descriptor `number` under /proc, in the program's table or the checkpoint thread's.
void scp_descriptor_path(char out[64], uint32_t tid, const char *folder, int number);
// Reads fdinfo of the source into work->fdinfo, NUL-terminated. 0 or -errno.
int scp_fdinfo_read(struct scp_descriptor_work *work, const struct scp_source *source);
// The text behind "NAME:" and blanks, NULL when there is no such line.
const char *scp_fdinfo_find(const struct scp_descriptor_work *work, const char *name);
// Sorts indices by a total order. No memory, no recursion.
typedef int scp_order(const struct scp_descriptor_work *work, uint32_t a, uint32_t b);
void scp_sort(const struct scp_descriptor_work *work, uint32_t *indices, size_t count, scp_order *compare);
// A second description of the same file, with other flags, in the checkpoint thread's table. Descriptor or -errno.
int scp_descriptor_reopen(struct scp_descriptor_work *work, int descriptor, int flags);

// ---- one family each: fills the object; 0 or -errno with the reason noted -----------------------------------------------
int scp_examine_file(struct scp_descriptor_work *work, struct scp_source *source);
int scp_examine_directory(struct scp_descriptor_work *work, struct scp_source *source);
int scp_examine_path(struct scp_descriptor_work *work, struct scp_source *source);
int scp_examine_master(struct scp_descriptor_work *work, struct scp_source *source); // descriptors_terminals.c
int scp_examine_character(struct scp_descriptor_work *work, struct scp_source *source);
int scp_examine_memfd(struct scp_descriptor_work *work, struct scp_source *source);
int scp_examine_pipe(struct scp_descriptor_work *work, struct scp_source *source);
int scp_examine_socket(struct scp_descriptor_work *work, struct scp_source *source);
int scp_examine_anonymous(struct scp_descriptor_work *work, struct scp_source *source); // descriptors_events.c
// Gives a descriptor of the program back that was borrowed to look at its kind. A queue with a notification is refused.
int scp_message_queue_return(const struct scp_descriptor_work *work, struct scp_entry *entry, int descriptor);
int scp_message_queues_prepare(struct scp_checkpoint *checkpoint);
int scp_examine_message_queue(struct scp_descriptor_work *work, struct scp_source *source);
int scp_examine_inotify(struct scp_descriptor_work *work, struct scp_source *source);
int scp_examine_locks(struct scp_descriptor_work *work, struct scp_source *source);
// When all objects are known: ends inside or outside, contents, peers, entries of epoll sets.
int scp_finish_pipes(struct scp_descriptor_work *work);
int scp_finish_sockets(struct scp_descriptor_work *work);
int scp_finish_epoll(struct scp_descriptor_work *work);
// Copies the bytes of a file, `size` from its start, into the object's blob.
int scp_take_content(struct scp_descriptor_work *work, struct scp_source *source, uint64_t size);

// ---- descriptors_restore.c: what the process does itself after a restart -------------------------------------------------
enum scp_deed_kind {
    SCP_DEED_SEALS = 1,
    SCP_DEED_OWNER = 2,
    SCP_DEED_ASYNC = 3,
    SCP_DEED_LEASE = 4,
    SCP_DEED_POSIX_LOCK = 5,
    SCP_DEED_WATCH = 6,
    SCP_DEED_NEXT_WATCH = 7,
    SCP_DEED_WINDOW = 8,
};
struct scp_deed {
    uint32_t kind; // enum scp_deed_kind
    int32_t number;
    int32_t type; // lock type, owner type, watch descriptor
    uint32_t mask; // seals, pid, watch mask
    int64_t start; // lock; watch: address of the path; owner: enum scp_owner; window: rows << 16 | columns
    int64_t length;
};
enum scp_owner { SCP_OWNER_NUMBER = 0, SCP_OWNER_PROCESS = 1, SCP_OWNER_GROUP = 2 };
void scp_deeds_clear(void);
// NULL when the table is full (the reason is noted).
struct scp_deed *scp_deed_add(struct scp_descriptor_work *work, enum scp_deed_kind kind, int number);

// ---- wrap_inotify.c -------------------------------------------------------------------------------------------------------
bool scp_inotify_is_used(void); // a watch has been set at some time
// The latest path given to inotify_add_watch for which `fits(path, argument)` holds and that returned `watch`; NULL = none.
const char *scp_inotify_path(int watch, bool (*fits)(const char *path, void *argument), void *argument);

#endif
