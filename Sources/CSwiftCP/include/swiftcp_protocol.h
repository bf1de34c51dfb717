// The wire between coordinator, workers (the shim's checkpoint threads) and commands.
// Bump SCP_PROTOCOL_VERSION when a message changes; the coordinator refuses other versions by name.
//
// A frame is a scp_frame followed by length - sizeof(struct scp_frame) bytes of payload. Frames above
// SCP_FRAME_MAXIMUM, of another version or of an unknown type close that connection alone.
// Strings are NUL-terminated inside fixed arrays.
//
//   worker                          coordinator                       command
//   HELLO ------------------------>  (SO_PEERCRED says who)
//                         <-------- WELCOME
//                                     <------------------------------ REQUEST (checkpoint)
//                         <-------- CHECKPOINT
//   STAGE running ---------------->  (only with SCP_CHECKPOINT_TOGETHER: memory has been saved as far as it can be meanwhile)
//                         <-------- GO running (when all have: now everybody stops)
//   CHILDREN, STAGE quiesced ----->
//                         <-------- GO quiesced (when all have reported and every child is one of them)
//   SURVEY, STAGE surveyed ------->  (only when GO quiesced counted more than one process)
//                         <-------- ASSIGNMENT, GO surveyed
//   … examined, snapshotted (the pause ends at GO snapshotted), written …
//   STAGE written   -------------->
//                         <-------- GO committed (the generation is durable)
//                                     -------------------------------> REPLY (JSON)
//   FAILED (any time) ------------>
//                         <-------- ABORT (any time before committed): resume, remove the file
#ifndef SWIFTCP_PROTOCOL_H
#define SWIFTCP_PROTOCOL_H

#include <stdint.h>

#define SCP_PROTOCOL_VERSION 7u
#define SCP_FRAME_MAXIMUM (16u << 20)

struct scp_frame {
    uint32_t length; // bytes, this header included
    uint16_t version; // SCP_PROTOCOL_VERSION
    uint16_t type; // enum scp_message
};
_Static_assert(sizeof(struct scp_frame) == 8, "frame crosses a process");

enum scp_message {
    SCP_MESSAGE_HELLO = 1, // worker -> coordinator: scp_hello
    SCP_MESSAGE_WELCOME = 2, // coordinator -> worker: scp_welcome
    SCP_MESSAGE_CHECKPOINT = 3, // coordinator -> worker: scp_checkpoint_order
    SCP_MESSAGE_STAGE = 4, // worker -> coordinator: scp_stage_report
    SCP_MESSAGE_GO = 5, // coordinator -> worker: scp_stage_go
    SCP_MESSAGE_ABORT = 6, // coordinator -> worker: scp_text
    SCP_MESSAGE_FAILED = 7, // worker -> coordinator: scp_text
    SCP_MESSAGE_KILL = 8, // coordinator -> worker: end the process (no payload)
    SCP_MESSAGE_ASK = 9, // worker -> coordinator: scp_ask (the program itself wants a checkpoint)
    SCP_MESSAGE_ANSWER = 10, // coordinator -> worker: scp_text, error 0 = done, resumed
    SCP_MESSAGE_CHILDREN = 11, // worker -> coordinator: scp_children, then its scp_child_process records
    SCP_MESSAGE_SURVEY = 12, // worker -> coordinator: scp_survey, then its scp_survey_entry records
    SCP_MESSAGE_ASSIGNMENT = 13, // coordinator -> worker: scp_assignment, then its tables
    SCP_MESSAGE_SNAPSHOT = 14, // worker -> coordinator, before STAGE snapshotted: scp_text, why that way
    SCP_MESSAGE_ANCESTORS = 15, // worker -> coordinator, before STAGE snapshotted: scp_ancestors, then uint32_t numbers
    SCP_MESSAGE_LAUNCH = 16, // launch or restart -> coordinator: scp_launch
    SCP_MESSAGE_LAUNCHED = 17, // coordinator -> launch: scp_launched
    SCP_MESSAGE_REQUEST = 18, // command -> coordinator: scp_request
    SCP_MESSAGE_REPLY = 19, // coordinator -> command: JSON text (the whole object of the contract)
};

enum scp_stage {
    SCP_STAGE_RUNNING = 0, // as a report: prepared to be stopped; as GO: all are
    SCP_STAGE_QUIESCED = 1, // all user threads parked
    SCP_STAGE_SURVEYED = 2, // what it may share with other processes is told; skipped by a process that is alone
    SCP_STAGE_SNAPSHOTTED = 3, // everything is known, memory taken; GO lets the threads run
    SCP_STAGE_WRITTEN = 4, // image complete and fsynced
    SCP_STAGE_COMMITTED = 5, // only as GO: manifest and folder are durable
};

struct scp_hello {
    uint32_t own_pid; // as the program sees it
    uint32_t own_ppid;
    uint32_t restarted; // 1 = after a restart
    uint32_t generation; // restarted from this one
    char name[64]; // comm
    char computation[64];
    char checkpoint_directory[4096];
    char reserved[64];
};
struct scp_welcome {
    uint32_t error; // 0, or errno: the coordinator refuses this worker; text says why
    uint32_t reserved;
    char text[248];
};
enum scp_snapshot_mode { SCP_SNAPSHOT_AUTO = 0, SCP_SNAPSHOT_PRECOPY = 1, SCP_SNAPSHOT_COW = 2, SCP_SNAPSHOT_STOP = 3 };
#define SCP_REASON_BYTES 248 // of the sentence that says why
enum scp_checkpoint_flag {
    SCP_CHECKPOINT_OPEN_FILES = 1u << 0,
    SCP_CHECKPOINT_REFUSE_OUTSIDE = 1u << 1,
    SCP_CHECKPOINT_BY_USER = SCP_CHECKPOINT_OPEN_FILES | SCP_CHECKPOINT_REFUSE_OUTSIDE, // all that the launch decides
    // The end follows: the threads stay parked after GO snapshotted and GO committed, until KILL or ABORT comes (or the
    // coordinator goes), so that the program does nothing that its image does not know of.
    SCP_CHECKPOINT_STAY_STOPPED = 1u << 2,
    SCP_CHECKPOINT_SEAL = 1u << 3, // complete the image in the pause: processes have ended before theirs were written
    // Others take part: nobody stops before GO running, so that who is prepared first does not stand still for the last one.
    // It may come before this process is prepared, if it has joined later: nobody waits for it then.
    SCP_CHECKPOINT_TOGETHER = 1u << 4,
    SCP_CHECKPOINT_ALONE = 1u << 5, // when this order was sent nobody else was there, or about to come
};
enum scp_compression {
    SCP_COMPRESSION_NONE = 0,
    SCP_COMPRESSION_LZ4 = 1,
    SCP_COMPRESSION_ZSTD = 2,
    SCP_COMPRESSION_AUTO = 3
};
// Incremental images: 0 = every image is a full one; else every so many one is, and this flag says that the user wants it
// so. Without the flag an image is incremental where that costs the program next to nothing.
#define SCP_INCREMENTAL_ASKED (1u << 31)
#define SCP_INCREMENTAL_DEFAULT 10u
struct scp_checkpoint_order {
    uint32_t generation;
    uint32_t flags; // enum scp_checkpoint_flag
    uint32_t stage_limit_ms; // a worker that waits longer than this for GO resumes by itself
    uint32_t quiesce_limit_ms;
    uint32_t snapshot; // enum scp_snapshot_mode
    uint32_t compression; // enum scp_compression, level << 8 (0 = its own)
    uint32_t io_limit; // MB/s (10^6 bytes), 0 = none
    uint32_t incremental; // SCP_INCREMENTAL_*
    uint32_t
        stopped_by; // the process is stopped, by this signal: a tracer leads its threads (swiftcp_tracer.h); else 0
    uint32_t stopped_among; // how many of the processes are, children of this one perhaps
    char path[4096]; // the image to create (absolute, under the generation's temporary folder)
};
struct scp_stage_report {
    uint32_t stage; // enum scp_stage
    uint32_t generation;
    uint64_t pause_ns; // from SNAPSHOTTED's GO on: how long the threads stood still; else 0
    uint64_t bytes_written;
    uint64_t memory_bytes; // memory that has content
    uint64_t
        metadata_checksum; // of the image, at WRITTEN; at SNAPSHOTTED if it is complete (though not durable) already
    uint32_t threads, regions, descriptors;
    uint32_t snapshot; // enum scp_snapshot_mode that was used
};
struct scp_stage_go {
    uint32_t stage;
    uint32_t generation;
    uint32_t processes; // members of this checkpoint; final from GO quiesced on
    uint32_t reserved;
};
// The children of a quiesced process, zombies included. A live one that is no member keeps the barrier closed until it
// has said HELLO and is quiesced, or the time limit names it. Who has never had a child (no HAS_FORKED) need not tell.
struct scp_child_process {
    uint32_t pid; // as the worker sees it
    uint32_t flags; // enum scp_child_flag
};
enum scp_child_flag { SCP_CHILD_ZOMBIE = 1u << 0 };
enum scp_children_flag {
    SCP_CHILDREN_HAS_FORKED = 1u << 0
}; // this process, or the one it is a fork of, ever had a child
struct scp_children {
    uint32_t generation;
    uint32_t flags; // enum scp_children_flag
    uint32_t count;
    uint32_t reserved;
};
// What a process holds that another one may hold too. The coordinator compares the descriptions of equal device and
// inode by kcmp(2), numbers them, and makes one process the owner of each: it alone looks into queues and saves content.
enum scp_survey_kind {
    SCP_SURVEY_DESCRIPTION = 1, // an open file description: number
    SCP_SURVEY_MEMORY = 2, // a shared mapping whose content an image must hold: offset, length
};
struct scp_survey_entry {
    uint32_t kind; // enum scp_survey_kind
    int32_t number; // a descriptor of the process's main thread; -1 for memory
    uint64_t device, inode; // as stat(2) has them (makedev form); of memory: what /proc/PID/maps shows
    uint64_t offset, length; // bytes, of memory; else 0
};
struct scp_survey {
    uint32_t generation;
    uint32_t count;
};
enum scp_assigned_flag {
    SCP_ASSIGNED_OWNER = 1u << 0, // this process saves the content
    SCP_ASSIGNED_SHARED = 1u << 1, // another member has it too
};
struct scp_assigned {
    uint64_t identity; // equal for the same thing in all processes of the generation, > 0
    uint32_t flags; // enum scp_assigned_flag
    uint32_t reserved;
};
// One scp_assigned for each entry of the survey follows, then the pids (uint32_t) of those children that are stopped and led:
// their threads run through the checkpoint, so that nobody else can tell.
struct scp_assignment {
    uint32_t generation;
    uint32_t count; // as in the survey
    uint32_t stopped; // children, order.stopped_among at most
    uint32_t reserved;
};
// What the image needs beside itself. Two rows of numbers follow, each ascending: generations, lower than its own; and those,
// its own at most, that have made the file pages in its folder that it leads to. Not sent for an image that stands alone.
struct scp_ancestors {
    uint32_t generation;
    uint32_t count; // of generations, up to SCP_ANCESTORS_MAXIMUM
    uint32_t file_pages; // of the others, likewise
    uint32_t reserved;
};
struct scp_text {
    int32_t error; // errno value
    uint32_t generation;
    char text[1016];
};
enum scp_ask_kind {
    SCP_ASK_CHECKPOINT = 1, // swiftcp_checkpoint()
    SCP_ASK_CHECKPOINT_AND_END = 2, // --auto: a signal that means so has come
};
struct scp_ask {
    uint32_t kind; // enum scp_ask_kind
    int32_t signal;
};
enum scp_launch_flag {
    SCP_LAUNCH_JOIN = 1u << 0, // become part of the computation that runs at this coordinator
    SCP_LAUNCH_RESTART = 1u << 1, // swiftcp_restart brings the computation back
    SCP_LAUNCH_AUTO = 1u << 2,
};
// launch sends this before it execs: a checkpoint asked for meanwhile waits until pid has said HELLO or is gone.
struct scp_launch {
    uint32_t pid; // that will say HELLO; restart: own pid of the computation's root, 0 = not known
    uint32_t flags; // enum scp_launch_flag
    uint32_t processes; // how many will say HELLO (restart: of the set)
    uint32_t generation; // restart: the newest generation in the folder, the next one is above it
    uint32_t keep; // generations kept, 0 = default
    uint32_t snapshot; // enum scp_snapshot_mode
    uint32_t checkpoint_flags; // enum scp_checkpoint_flag
    uint32_t interval_set; // 1 = interval_us counts
    uint64_t interval_us; // 0 = never
    uint32_t compression, io_limit, incremental; // as in scp_checkpoint_order
    uint32_t reserved;
    char name[64];
    char computation[64]; // wanted id
    char checkpoint_directory[4096]; // absolute
    char command[4096]; // for the manifest: the words, NUL between them, two at the end
    char directory[4096]; // working directory
};
struct scp_launched {
    int32_t error; // 0 or errno
    uint32_t coordinator_pid;
    char computation[64]; // the id to use
    char text[440];
};
enum scp_verb {
    SCP_VERB_STATUS = 1,
    SCP_VERB_LIST = 2,
    SCP_VERB_CHECKPOINT = 3,
    SCP_VERB_KCHECKPOINT = 4,
    SCP_VERB_INTERVAL = 5,
    SCP_VERB_KILL = 6,
    SCP_VERB_QUIT = 7,
};
enum scp_request_flag { SCP_REQUEST_NO_WAIT = 1u << 0 };
struct scp_request {
    uint32_t verb; // enum scp_verb
    uint32_t flags; // enum scp_request_flag
    uint64_t interval_us;
    char computation[64]; // "" = all
};
_Static_assert(sizeof(struct scp_hello) == 16 + 128 + 4096 + 64, "hello crosses a process");
_Static_assert(sizeof(struct scp_welcome) == 256, "welcome crosses a process");
_Static_assert(sizeof(struct scp_checkpoint_order) == 4136, "order crosses a process");
_Static_assert(sizeof(struct scp_stage_report) == 56, "report crosses a process");
_Static_assert(sizeof(struct scp_survey_entry) == 40, "survey crosses a process");
_Static_assert(sizeof(struct scp_assigned) == 16, "assignment crosses a process");
_Static_assert(sizeof(struct scp_text) == 1024, "text crosses a process");
_Static_assert(sizeof(struct scp_launch) == 56 + 128 + 3 * 4096, "launch crosses a process");
_Static_assert(sizeof(struct scp_launched) == 512, "launched crosses a process");
_Static_assert(sizeof(struct scp_request) == 80, "request crosses a process");

// Environment between swiftcp_launch and the shim.
#define SCP_ENV_COORDINATOR "SWIFTCP_COORDINATOR" // unix:PATH or tcp:HOST:PORT
#define SCP_ENV_COMPUTATION "SWIFTCP_COMPUTATION" // id; its presence is what makes a process a worker
#define SCP_ENV_CKPTDIR "SWIFTCP_CKPTDIR" // absolute
#define SCP_ENV_SIGNAL "SWIFTCP_SIGNAL" // number
#define SCP_ENV_TRACKER "SWIFTCP_TRACKER" // "off": what the program writes is not tracked, as on kernels before 6.7
#define SCP_ENV_AUTO "SWIFTCP_AUTO_SIGNALS" // numbers, comma-separated: checkpoint, then end
// What stood at 0, 1 and 2 at the launch: DEVICE:INODE of each, as stat(2) has them, comma-separated; 0:0 = nothing. A shell
// moves its streams to other numbers while a command with a redirection runs.
#define SCP_ENV_STREAMS "SWIFTCP_STREAMS"
// What the launched program was confined by: seccomp filters, landlock layers that may still be added, session keyring, decimal,
// with colons. Unknown when it is started: its shim writes over it.
#define SCP_ENV_SURROUNDINGS "SWIFTCP_SURROUNDINGS"
#define SCP_SURROUNDINGS_UNKNOWN "?????????????????????????????????????????????"
// To a coordinator that is loaded before it is known whether it is wanted: its standard input is a pipe. It opens its address
// once there is a byte in it, and ends without a trace when it is closed instead.
#define SCP_ENV_GATE "SWIFTCP_START_GATE"

#endif
