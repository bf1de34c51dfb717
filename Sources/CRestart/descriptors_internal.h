// What the files around descriptors share. Ordinary C in swiftcp_restart; descriptors_place.c runs in the new processes.
#ifndef CRESTART_DESCRIPTORS_INTERNAL_H
#define CRESTART_DESCRIPTORS_INTERNAL_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crestart_descriptors.h"

// A file without a name, made anew: several open file descriptions may stand on it.
struct crestart_inode {
    uint64_t device, inode; // as the image has them
    int descriptor; // open for reading and writing, close-on-exec
    mode_t mode; // set at the end: it may forbid our own reopening
};
// What can be opened in the new process only. If working[object] is there, it stands in for what is not found then.
struct crestart_late {
    uint32_t object;
    int flags; // for open; -1: a pidfd
    int pid; // of the pidfd, 0 = the process itself
    int64_t position; // bytes
    char *path;
};
// The other end of something whose other end is gone: closed when the queues are full.
struct crestart_extra {
    uint32_t object; // the end that stays
    int descriptor;
};

struct crestart_descriptors {
    struct crestart_tables tables;
    struct crestart_descriptor_options options;
    struct crestart_message *message; // while making
    int *working; // by object; -1 = none (yet)
    int32_t *lowest; // by object: its lowest number in any process, -1 = none
    struct crestart_inode *inodes;
    struct crestart_late *late;
    struct crestart_extra *extras;
    uint32_t *pipes; // objects that are ends of pipes, those of one pipe in a row
    uint32_t *watch_order; // epoll entries: used-up one-shots first
    uint32_t *terminal_flags; // by object, of masters: enum scp_terminal_flag
    size_t pipe_count, inode_count, late_count, extra_count, watch_order_count;
    int32_t highest; // number of any process
    bool gone; // let go
    struct crestart_message own_message; // for making again
    char warnings[4096];
};

// ---- descriptors.c ---------------------------------------------------------------------------------------------------
// Fills message with the sentence and ": ERRNO text"; returns -error.
int crestart_fail(struct crestart_message *message, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void crestart_warn(struct crestart_descriptors *made, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *crestart_string(const struct crestart_tables *tables, uint32_t offset);
// "descriptor 5 (PATH)", for messages. Points into a buffer of the thread that is overwritten by the next call.
const char *crestart_name(const struct crestart_tables *tables, uint32_t object);
// The lowest number that refers to the object in any process, -1 = none.
int32_t crestart_number(const struct crestart_tables *tables, uint32_t object);
// Which of swiftcp_restart's 0, 1, 2 takes the place of an object that leads outside; -1 = none.
int crestart_stream(const struct crestart_descriptors *made, uint32_t object);
// The object whose blob is the content of the object's file: itself, or another description of the same path; -1 = none.
int64_t crestart_content_of(const struct crestart_tables *tables, uint32_t object);
// Is the object at number 1 or 2 of any process, or was it at the launch?
bool crestart_is_output(const struct crestart_tables *tables, uint32_t object);
// The process whose image the object is taken from.
const struct crestart_member *crestart_member_of(const struct crestart_tables *tables, uint32_t object);
// Reads length bytes at offset of a blob. 0 or -errno.
int crestart_blob_read(const struct crestart_tables *tables, uint32_t blob, uint64_t offset, void *bytes,
                       size_t length);
uint64_t crestart_blob_length(const struct crestart_tables *tables, uint32_t blob);
// Writes all of it. 0 or -errno.
int crestart_write_at(int descriptor, const void *bytes, size_t length, uint64_t offset);
// Opens /proc/self/fd/descriptor: a new description of the same file. Descriptor or -errno.
int crestart_reopen(int descriptor, int flags);
// Status flags that open(2) takes.
int crestart_open_flags(const struct scp_object *object);
// Makes the folders above an absolute path that are missing, for their owner alone: a session's files often go together with
// their folder. 0 or -errno.
int crestart_make_folders(const char *path);
int crestart_add_extra(struct crestart_descriptors *made, uint32_t object, int descriptor);

// ---- descriptors_check.c ------------------------------------------------------------------------------------------------
// Every index, string and blob that the tables name lies inside them.
int crestart_validate(const struct crestart_tables *tables, struct crestart_message *message);

// ---- makers: set made->working[object]; 0 or -errno with the sentence -----------------------------------------------------
int crestart_make_file(struct crestart_descriptors *made, uint32_t object);
// descriptors_procfs.c, for a file of /proc: it is opened in the new process.
int crestart_open_later(struct crestart_descriptors *made, uint32_t object, const char *path);
int crestart_make_directory(struct crestart_descriptors *made, uint32_t object);
int crestart_make_device(struct crestart_descriptors *made, uint32_t object);
int crestart_make_path(struct crestart_descriptors *made, uint32_t object);
int crestart_make_memfd(struct crestart_descriptors *made, uint32_t object);
int crestart_make_terminal(struct crestart_descriptors *made, uint32_t object);
int crestart_make_outside(struct crestart_descriptors *made, uint32_t object);
int crestart_make_pipe(struct crestart_descriptors *made, uint32_t object);
void crestart_list_pipes(struct crestart_descriptors *made); // before any is made
int crestart_make_socket(struct crestart_descriptors *made, uint32_t object);
int crestart_make_pair(struct crestart_descriptors *made, uint32_t object);
int crestart_make_eventfd(struct crestart_descriptors *made, uint32_t object);
int crestart_make_timerfd(struct crestart_descriptors *made, uint32_t object);
int crestart_make_signalfd(struct crestart_descriptors *made, uint32_t object);
int crestart_make_epoll(struct crestart_descriptors *made, uint32_t object);
int crestart_make_inotify(struct crestart_descriptors *made, uint32_t object);
int crestart_make_pidfd(struct crestart_descriptors *made, uint32_t object);
int crestart_make_message_queue_later(struct crestart_descriptors *made, uint32_t object); // looks only
// Later passes, when all objects exist.
int crestart_fill_socket(struct crestart_descriptors *made, uint32_t object);
int crestart_finish_socket(struct crestart_descriptors *made, uint32_t object); // shutdown, hindering options
// In the program's ipc namespace.
int crestart_make_message_queues(struct crestart_descriptors *made);
int crestart_set_locks(struct crestart_descriptors *made);

// descriptors_terminals.c: first of all the terminals whose masters are inside, with what they hold; and last their locks.
int crestart_make_terminals(struct crestart_descriptors *made);
int crestart_make_slave(struct crestart_descriptors *made, uint32_t object);
void crestart_seal_terminals(struct crestart_descriptors *made);

// Gives the terminal the modes the program had set, when this command has it in the foreground.
void crestart_set_terminal(struct crestart_descriptors *made);

// descriptors_sockets.c: a connection whose other end is gone, its queue as in the image.
int crestart_make_reset(struct crestart_descriptors *made, uint32_t object);
// A file on the blob of an object that has no name. Index into made->inodes, or -errno with the sentence.
int crestart_nameless(struct crestart_descriptors *made, uint32_t object);

#endif
