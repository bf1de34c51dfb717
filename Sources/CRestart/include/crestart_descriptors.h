// Descriptors at a restart: checks, makes and places what the tables of a set of images describe.
//
//   crestart_descriptors_check    nothing is changed: a sentence for the first thing that would not work
//   crestart_descriptors_make     in swiftcp_restart: one working descriptor (close-on-exec) per open file description
//   crestart_descriptors_place    in a new process, before exec: that process's numbers, nothing else
//   crestart_descriptors_release  in swiftcp_restart, when all processes have their own
//
// What only the process itself can do (record locks, owners, seals of mapped memfds, inotify watches) its shim does.
#ifndef CRESTART_DESCRIPTORS_H
#define CRESTART_DESCRIPTORS_H

#include <stddef.h>
#include <stdint.h>

#include "swiftcp_descriptors.h"
#include "swiftcp_format.h"

// One process of the set, and its image.
struct crestart_member {
    uint32_t pid; // as the image has it, 0 = not known: /proc/PID/… then means the new process
    uint32_t first_descriptor, descriptor_count; // its part of the descriptors
    int image; // descriptor of the image, for the blobs; their checksums have been verified
    uint64_t image_length; // bytes
    const char *directory; // working directory of the process: Unix sockets may have relative names. NULL = not known
    // What a number of an open file in the image (in the packets of a blob) is in the objects below; object_count of them.
    const uint32_t *objects;
    uint32_t object_count;
};

// The tables of a set of images, made one (Restart's MergedTables). All memory is borrowed until
// crestart_descriptors_release.
struct crestart_tables {
    const struct scp_object *objects;
    const uint32_t *object_members; // by object: the process whose image it is taken from
    const struct scp_descriptor *descriptors; // those of a process in a row, ascending by number
    const struct scp_watch *watches; // the target is a number of the process that has the epoll set
    const struct scp_lock *locks;
    const struct scp_blob *blobs;
    const uint32_t *blob_members; // by blob: the process whose image holds it
    const struct crestart_member *members;
    const char *strings; // as SCP_NOTE_STRINGS, ends with a NUL
    uint64_t strings_length; // bytes
    uint32_t object_count, descriptor_count, watch_count, lock_count, blob_count, member_count;
};

enum crestart_files { CRESTART_FILES_REWIND = 0, CRESTART_FILES_KEEP = 1 };
enum crestart_terminal { CRESTART_TERMINAL_CURRENT = 0, CRESTART_TERMINAL_KEEP = 1, CRESTART_TERMINAL_NONE = 2 };

// Paths equal to `from` or below it are looked for below `to`. The first that fits is taken.
struct crestart_path_map {
    const char *from, *to;
};
struct crestart_descriptor_options {
    enum crestart_files files; // --files
    enum crestart_terminal terminal; // --tty
    const struct crestart_path_map *maps; // --map
    size_t map_count;
};

// A sentence for the user: what failed, on what, why, what to do.
struct crestart_message {
    char text[1024];
};

struct crestart_descriptors; // what crestart_descriptors_make has made

// Writes the path to use for `path` under the maps into out (NUL-terminated). 0, or -ENAMETOOLONG.
int crestart_map_path(const struct crestart_descriptor_options *options, const char *path, char *out, size_t size);

// Would the descriptors come back? Opens and changes nothing. 0, or -errno with the sentence in message.
int crestart_descriptors_check(const struct crestart_tables *tables, const struct crestart_descriptor_options *options,
                               struct crestart_message *message);

// Makes everything that does not need the process to exist, and cuts grown files back. 0 with *made set, or -errno with
// the sentence. Call it before the working directory or the standard descriptors of the caller change.
int crestart_descriptors_make(const struct crestart_tables *tables, const struct crestart_descriptor_options *options,
                              struct crestart_descriptors **made, struct crestart_message *message);

// When the new processes have been cloned (they have copies), this process lets go of its own: an end of a pipe that lived
// on here would keep the program from seeing the end of the file. Those of crestart_descriptors_find stay.
void crestart_descriptors_let_go(struct crestart_descriptors *made);
// When this process has entered the program's namespaces: makes what belongs to them (POSIX message queues), and again what was
// let go for an attempt that has failed. 0, or -errno with the sentence in crestart_descriptors_problem.
int crestart_descriptors_again(struct crestart_descriptors *made);
const char *crestart_descriptors_problem(const struct crestart_descriptors *made);

// What could not be brought back exactly and is of lesser weight: sentences, each ended by a newline; "" = nothing.
const char *crestart_descriptors_warnings(const struct crestart_descriptors *made);

// A descriptor of the file or memfd with this device and inode (as the image has them), to map regions from: borrowed,
// -1 = none. Deleted files and memfds have new inodes now; this is the way to find them.
int crestart_descriptors_find(const struct crestart_descriptors *made, uint64_t device, uint64_t inode);

// In the new process of that member (its own descriptor table; memory may be shared with others that do the same): puts
// every number in place, fills the epoll sets that are its image's, closes everything else but the `keep` descriptors,
// which are moved out of the way where need be: keep[] has their new numbers afterwards (negative entries stay). Nothing
// is close-on-exec afterwards but what stays in keep[] as it was: that is for the code after the exec. Raises the soft
// RLIMIT_NOFILE where a number needs it. Takes no lock, uses no heap, leaves errno alone. 0, or -errno: *failed is then
// the number it happened at (-1 = none in particular).
int crestart_descriptors_place(const struct crestart_descriptors *made, uint32_t member, int *keep, size_t keep_count,
                               int *failed);

// In a new process that leads its session, before the processes have been told to finish: the inner terminal of that number
// (as the image has it) becomes its own (TIOCSCTTY), and the group the terminal's foreground group. 0 or -errno.
int crestart_terminal_acquire(const struct crestart_descriptors *made, uint64_t number);
int crestart_terminal_foreground(const struct crestart_descriptors *made, uint64_t number, uint32_t group);

// Closes the working descriptors and frees the rest. NULL is fine.
void crestart_descriptors_release(struct crestart_descriptors *made);

#endif
