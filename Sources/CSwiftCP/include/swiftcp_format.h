// What a checkpoint image holds: the one description that shim (writer), image library and
// restart (readers) share.
//
// Bump SCP_FORMAT_VERSION when a record changes its size, a field its meaning, or a note its number.
// A reader refuses any other version (exit status 4).
//
//   offset 0      ELF64 header (ET_CORE), rest of the first page zero
//   4096          data: blocks and blobs, each starting on a page; what no block covers is zero (holes). In a compressed
//                 image chunks in place of the blocks: see scp_chunk
//   metadata      program headers, then one PT_NOTE segment: the kernel's core notes (for gdb) and ours
//   (end)         nothing follows the metadata
//
// Data first, metadata last: a round of writing may add blocks until the very end, and nothing has to
// be known in advance. e_phoff points at the metadata. Every multi-byte number is little-endian.
#ifndef SWIFTCP_FORMAT_H
#define SWIFTCP_FORMAT_H

#include <stdint.h>

#define SCP_FORMAT_VERSION 6u
#define SCP_NOTE_OWNER "SWIFTCP"
#define SCP_IMAGE_MAGIC 0x0150435446495753ull /* "SWIFTCP\1" */
#define SCP_DATA_OFFSET 4096u
#define SCP_SUM_BYTES 4096u /* bytes of one sum below a block's checksum */
#define SCP_BLOCK_MAXIMUM (1u << 20) /* bytes of memory in one block */
#define SCP_ANCESTORS_MAXIMUM 63u /* files that an image may need beside itself */
#define SCP_FILE_PAGES_NAME "file-pages" /* in the folder of a generation: scp_file_pages_header */
#define SCP_FILE_PAGES_EARLIER "file-pages-" /* with a generation's number: a link to what that has made */
#define SCP_FILE_PAGES_MAGIC 0x3153475046504353ull /* "SCPFPGS1" */
#define SCP_FILE_RECORD_PAGES (SCP_BLOCK_MAXIMUM / SCP_SUM_BYTES)

// Types of the notes whose owner is SCP_NOTE_OWNER. Each descriptor is an array of the named record.
enum scp_note_type {
    SCP_NOTE_IMAGE = 1, // one scp_image_header, always the first note of ours
    SCP_NOTE_STRINGS = 2, // NUL-terminated UTF-8 or raw path bytes; offset 0 is the empty string
    SCP_NOTE_REGIONS = 3, // scp_region, ascending, not overlapping
    SCP_NOTE_BLOCKS = 4, // scp_block, ascending, each inside one region
    SCP_NOTE_BLOBS = 5, // scp_blob, index = blob number
    SCP_NOTE_THREADS = 6, // scp_thread, the leader first, the checkpoint thread last
    SCP_NOTE_PROCESS = 7, // one scp_process
    SCP_NOTE_ACTIONS = 8, // 64 scp_action, index = signal - 1
    SCP_NOTE_PENDING = 9, // scp_pending
    SCP_NOTE_TIMERS = 10, // scp_timer
    SCP_NOTE_DESCRIPTORS = 11, // scp_descriptor  (swiftcp_descriptors.h)
    SCP_NOTE_OBJECTS = 12, // scp_object      (swiftcp_descriptors.h), index = object number
    SCP_NOTE_WATCHES = 13, // scp_watch       (swiftcp_descriptors.h)
    SCP_NOTE_LOCKS = 14, // scp_lock        (swiftcp_descriptors.h)
    SCP_NOTE_AUXV = 15, // the process's auxiliary vector, raw
    SCP_NOTE_ZOMBIES = 16, // scp_zombie: children that have ended and wait to be waited for
    SCP_NOTE_ANCESTORS = 17, // scp_ancestor: files beside the image that hold blocks of it
    SCP_NOTE_CHUNKS = 20, // scp_chunk, ascending by place; only in a compressed image
};

struct scp_image_header {
    uint64_t magic; // SCP_IMAGE_MAGIC
    uint32_t format_version; // SCP_FORMAT_VERSION
    uint32_t header_size; // sizeof(struct scp_image_header)
    uint32_t machine; // ELF e_machine
    uint32_t page_size; // bytes
    uint64_t metadata_offset; // = e_phoff
    uint64_t metadata_length; // bytes to the end of the file
    uint64_t metadata_checksum; // xxh3_64(metadata with this field zero, seed = xxh3_64(first 4096 bytes))
    uint64_t created_realtime; // ns
    uint64_t created_monotonic; // ns, CLOCK_MONOTONIC as the program saw it
    uint64_t created_boottime; // ns, CLOCK_BOOTTIME as the program saw it
    uint64_t thread_entry; // address of the shim's code for a recreated user thread (swiftcp_reentry.h)
    uint64_t checkpoint_entry; // address of the shim's code for the recreated checkpoint thread
    uint64_t checkpoint_argument; // first argument of checkpoint_entry
    uint64_t vdso_start; // address and bytes of [vdso]; 0 = none
    uint64_t vdso_length;
    uint64_t vvar_start; // address and bytes of [vvar] with [vvar_vclock], which precede or follow [vdso]
    uint64_t vvar_length;
    uint64_t xfeatures; // XCR0 at checkpoint time
    uint32_t xstate_size; // bytes of the XSAVE area in a signal frame (enabled features)
    uint32_t generation;
    uint32_t cpu_features[16]; // arch/<name>/cpu.h says what each word holds; a restart needs every bit
    uint32_t kernel_release; // string
    uint32_t host_name; // string
    uint32_t computation; // string: computation id
    uint32_t libc_version; // string
    uint64_t flags; // SCP_IMAGE_*
    // What the order of the checkpoint asked for (scp_checkpoint_order): a restart goes on with it.
    uint32_t compression, snapshot, io_limit, incremental;
    uint32_t checkpoint_flags; // those of SCP_CHECKPOINT_BY_USER
    uint32_t reserved;
};
_Static_assert(sizeof(struct scp_image_header) == 256, "image header crosses a file");

// A region of the address space: one line of /proc/PID/maps, after the shim's scratch is taken out.
enum scp_region_kind {
    SCP_REGION_ANONYMOUS = 1, // private anonymous memory, also heap, stacks and brk
    SCP_REGION_FILE = 2, // private mapping of a file
    SCP_REGION_SHARED_FILE = 3, // MAP_SHARED of a file with a name
    SCP_REGION_SHARED_ANONYMOUS = 4, // MAP_SHARED|MAP_ANONYMOUS, /dev/zero shared, unlinked shm and memfd (see object)
    SCP_REGION_VDSO = 5, // content kept for gdb and for a restart under another vdso
    SCP_REGION_VVAR = 6,
    SCP_REGION_SYSV = 7, // a SysV shared memory segment
    SCP_REGION_DEVICE_ZERO = 8, // private mapping of /dev/zero: anonymous in all but name
};
enum scp_region_flag {
    SCP_REGION_GROWSDOWN = 1u << 0,
    SCP_REGION_MAIN_STACK = 1u << 1,
    SCP_REGION_HEAP = 1u << 2, // the brk heap
    SCP_REGION_LOCKED = 1u << 3, // mlock
    SCP_REGION_LOCK_ON_FAULT = 1u << 4,
    SCP_REGION_NORESERVE = 1u << 5,
    SCP_REGION_DONTDUMP = 1u << 6,
    SCP_REGION_DONTFORK = 1u << 7,
    SCP_REGION_WIPEONFORK = 1u << 8,
    SCP_REGION_HUGEPAGE = 1u << 9,
    SCP_REGION_NOHUGEPAGE = 1u << 10,
    SCP_REGION_MERGEABLE = 1u << 11,
    SCP_REGION_SEQUENTIAL = 1u << 12,
    SCP_REGION_RANDOM = 1u << 13,
    SCP_REGION_HUGETLB = 1u << 14,
    SCP_REGION_DELETED = 1u << 15, // the file has no name any more
    SCP_REGION_GUARDS = 1u << 16, // holds MADV_GUARD_INSTALL pages: blocks of kind SCP_BLOCK_GUARD
    SCP_REGION_SHIM = 1u << 17, // belongs to libswiftcp.so
    SCP_REGION_MAY_WRITE = 1u << 18, // shared file: was opened for writing, the mapping may become writable
    SCP_REGION_ELSEWHERE = 1u << 19, // shared memory whose content another image of the generation holds
};
struct scp_region {
    uint64_t start, end; // bytes, page-aligned, end exclusive
    uint32_t kind; // enum scp_region_kind
    uint32_t protection; // PROT_*
    uint32_t flags; // enum scp_region_flag
    uint32_t path; // string, "" = none; without the " (deleted)" mark
    uint64_t file_offset; // bytes
    uint64_t file_size; // bytes, at checkpoint time
    uint64_t file_mtime; // ns
    uint64_t device, inode; // as stat(2) has them (makedev form)
    uint64_t object; // SHARED_ANONYMOUS, SYSV: regions with equal numbers share memory; SYSV: shmid. In a generation of
        // several processes the coordinator's identity, so that numbers mean the same in all images
    uint64_t vm_flags; // bits 0-7: HUGETLB: log2 of the page size in bytes (0 = not known); others: the shim's own
};
_Static_assert(sizeof(struct scp_region) == 88, "region crosses a file");

enum scp_block_encoding { SCP_ENCODING_RAW = 0 };
enum scp_block_flag {
    SCP_BLOCK_CLEAN = 1u << 0, // equals the content of the region's file at checkpoint time
    SCP_BLOCK_GUARD = 1u << 1, // guard pages: nothing stored (stored_length 0, checksum 0)
};
// A run of pages with content. Pages of a region that no block covers are zero (anonymous) or as the file has them.
struct scp_block {
    uint64_t address; // bytes, page-aligned
    uint64_t length; // bytes of memory, whole pages, 1 .. SCP_BLOCK_MAXIMUM (guards: any)
    // Bytes from the start of the image, page-aligned. In a compressed image (one with SCP_NOTE_CHUNKS): from the start of
    // its content, which the chunks hold.
    uint64_t offset;
    uint64_t stored_length; // bytes in the image, or its content; RAW: = length
    // Of the stored bytes: xxh3_64 of the row of the xxh3_64s of their SCP_SUM_BYTES pieces (the last may be shorter), so
    // that a page that is saved again needs no other page to be read again.
    uint64_t checksum;
    uint32_t encoding; // enum scp_block_encoding
    uint32_t flags; // enum scp_block_flag
    uint32_t file; // 0 = offset leads into this image, n = into the file of ancestor n - 1
    uint32_t reserved;
};
_Static_assert(sizeof(struct scp_block) == 56, "block crosses a file");

// An incremental image: pages that were not written since an earlier image of the process was made stand in that one. It
// is found in its generation's folder, beside that of this image's generation (../gen-000007/NAME), and must be the very
// file: its metadata has this checksum. Blocks lead to where the bytes are, never to another reference: each page is read
// from one place, and no table but that of the image itself counts. So no ancestor is needed for the sake of another one.
//
// Likewise the pages of mapped files that several processes of a generation share: in the file SCP_FILE_PAGES_NAME of this
// generation, or an earlier one.
struct scp_ancestor {
    uint32_t generation; // lower than the image's own; of file pages also that
    uint32_t name; // string: the file's name, without a folder
    uint64_t metadata_checksum; // of scp_image_header; of scp_file_pages_header the identity
};
_Static_assert(sizeof(struct scp_ancestor) == 16, "ancestor crosses a file");

// What the processes of a generation have of mapped files as those are: once for all of them, in a file beside their images,
// to which whoever meets a piece of a file first adds it. Blocks lead into the content. The records are for those who write
// the generation alone: readers need no more than the header and what blocks say, which have checksums. A later generation
// has links to what earlier ones have made, and makes a file only of what is new.
//
//   | header | record | content | record | content | ...     header, record: a page; content: up to SCP_BLOCK_MAXIMUM
struct scp_file_pages_header {
    uint64_t magic; // SCP_FILE_PAGES_MAGIC
    uint32_t format_version; // SCP_FORMAT_VERSION
    uint32_t generation;
    uint64_t identity; // random, not 0
};
_Static_assert(sizeof(struct scp_file_pages_header) == 24, "file pages cross a file");
struct scp_file_record {
    uint64_t checksum; // xxh3_64 of the rest of the record
    uint64_t device, inode, file_size, file_mtime; // as scp_region has them
    uint64_t file_ctime; // ns, the lower 48 bits
    uint64_t offset; // bytes from the start of the mapped file, page-aligned
    uint64_t length; // bytes of content that follow, whole pages, 1 .. SCP_BLOCK_MAXIMUM
    uint64_t sums[SCP_FILE_RECORD_PAGES]; // xxh3_64 of each page
};
_Static_assert(sizeof(struct scp_file_record) <= SCP_DATA_OFFSET, "a record is a page");

// A compressed image: what blocks hold stands in chunks, one behind the other in the file, on no particular boundary. The
// content is what an image that is not compressed would be, between its first page and its metadata, but for the blobs,
// which stand in the file itself, as ever; offsets of blocks lead into it. Bytes of the content that no block has are
// nobody's: what they unpack to means nothing.
//
//   content   |     chunk 0      |   chunk 1    |      chunk 2      | ...       place, length: whole pages
//   file      | chunk 0 | chunk 1 | chunk 2 |  blob  | ... metadata             offset, stored_length
enum scp_chunk_encoding { SCP_CHUNK_RAW = 0, SCP_CHUNK_LZ4 = 1, SCP_CHUNK_ZSTD = 2 };
struct scp_chunk {
    uint64_t place; // bytes from the start of the content, page-aligned, SCP_DATA_OFFSET and more
    uint64_t length; // bytes of content, whole pages, 1 .. SCP_BLOCK_MAXIMUM
    uint64_t offset; // bytes from the start of the file
    uint64_t stored_length; // bytes in the file; RAW: = length, else less
    uint64_t checksum; // xxh3_64 of the stored bytes
    uint32_t encoding; // enum scp_chunk_encoding: an LZ4 block, a zstd frame that tells its length
    uint32_t reserved;
};
_Static_assert(sizeof(struct scp_chunk) == 48, "chunk crosses a file");

// Bytes that are not memory: what stood in a pipe, a deleted file.
struct scp_blob {
    uint64_t offset; // bytes from the start of the image, page-aligned
    uint64_t length; // bytes; in the file the rest of the last page is zero
    uint64_t checksum; // xxh3_64 of the bytes, as a chain: seed of each SCP_BLOCK_MAXIMUM piece = result of the last
    uint64_t reserved;
};
_Static_assert(sizeof(struct scp_blob) == 32, "blob crosses a file");

enum scp_thread_flag {
    SCP_THREAD_LEADER = 1u << 0,
    SCP_THREAD_CHECKPOINT = 1u << 1, // ours: no frame; entry, stack and fs_base alone count
};
struct scp_thread {
    uint32_t tid;
    uint32_t flags; // enum scp_thread_flag
    uint64_t slot; // first argument of the entry
    uint64_t stack; // stack pointer for the entry, 16-byte aligned, below the thread's signal frame
    uint64_t frame; // address of the ucontext of the parked thread
    uint64_t fs_base, gs_base;
    uint64_t clear_child_tid; // address, 0 = none
    uint64_t robust_list, robust_length;
    uint64_t rseq, rseq_length; // 0 = not registered
    uint64_t signal_mask; // of the program
    uint64_t alternate_stack, alternate_stack_length;
    uint64_t registers[27]; // struct user_regs_struct of the interrupted program, as NT_PRSTATUS has it
    uint32_t rseq_signature;
    uint32_t alternate_stack_flags;
    int32_t policy, priority, nice;
    uint32_t system_call; // the interrupted system call, UINT32_MAX = none
    char name[16];
};
_Static_assert(sizeof(struct scp_thread) == 368, "thread crosses a file");

struct scp_process {
    uint32_t pid, ppid, pgid, sid; // as the program sees them
    uint32_t uid, euid, gid, egid;
    uint32_t umask, personality;
    uint32_t command; // string: comm
    uint32_t executable; // string: path of the program
    uint32_t directory; // string: working directory
    uint32_t root; // string: root directory
    uint32_t terminal; // string: path of the controlling terminal, "" = none
    uint32_t foreground; // 1 = its group was the terminal's foreground group
    uint64_t executable_device, executable_inode;
    uint64_t start_code, end_code, start_data, end_data, start_brk, brk, start_stack;
    uint64_t arguments_start, arguments_end, environment_start, environment_end;
    uint64_t limits[16][2]; // RLIMIT_*: soft, hard
    int64_t interval_timers[3][4]; // ITIMER_*: interval s, us; value s, us
    int32_t dumpable, no_new_privileges, child_subreaper, transparent_huge_pages_disabled;
    int32_t parent_death_signal, keep_capabilities, nice, io_priority;
    int32_t out_of_memory_score_adjust, lock_future, core_filter, write_exec_refused;
    uint32_t exit_signal; // what its parent gets at its end (field 38 of /proc/PID/stat)
    uint32_t root_process; // 1 = the one that swiftcp_launch started
    uint32_t terminal_device; // of the controlling terminal, as field 7 of /proc/PID/stat; 0 = none
    uint32_t terminal_group; // its foreground group, 0 = none or not of this pid namespace
    uint64_t reserved[2];
};
_Static_assert(sizeof(struct scp_process) == 64 + 13 * 8 + 256 + 96 + 48 + 32, "process crosses a file");

// A child that has ended and has not been waited for.
struct scp_zombie {
    uint32_t pid, pgid, sid; // as the program sees them
    uint32_t exit_signal;
    int32_t status; // as wait(2) will give it
    uint32_t reserved;
    char name[16];
};
_Static_assert(sizeof(struct scp_zombie) == 40, "zombie crosses a file");

struct scp_action {
    uint64_t handler, flags, restorer, mask; // as rt_sigaction(2) has them
};
struct scp_pending {
    uint32_t tid; // 0 = the process as a whole
    uint32_t reserved;
    uint8_t info[128]; // siginfo_t
};
_Static_assert(sizeof(struct scp_pending) == 136, "pending signal crosses a file");

// A POSIX timer (timer_create).
struct scp_timer {
    int32_t id; // the kernel's number
    int32_t clock;
    int32_t notify; // SIGEV_*
    int32_t signal;
    uint64_t value; // sigev_value
    int32_t target; // SIGEV_THREAD_ID: tid
    int32_t overrun;
    int64_t interval_s, interval_ns, value_s, value_ns;
};
_Static_assert(sizeof(struct scp_timer) == 64, "timer crosses a file");

#endif
