// The plan: what swiftcp_restart tells the restorer (Native/restorer) of one process, in a memfd.
// Bump SCP_PLAN_VERSION when a record changes its size or a field its meaning. Both sides come from one build; the
// version guards against a stray mixture of builds.
//
// The plan is mapped at an address nobody knows beforehand: it holds offsets from its own start, never pointers to
// itself. Tables follow the header, each starting on a multiple of 16 bytes.
#ifndef SWIFTCP_PLAN_H
#define SWIFTCP_PLAN_H

#include <stdint.h>

#define SCP_PLAN_VERSION 5u
#define SCP_PLAN_MAGIC 0x014e414c50504353ull /* "SCPPLAN\1" */

enum scp_plan_flag {
    SCP_PLAN_SET_TIDS = 1u << 0, // threads get the recorded tids (else new ones: SCP_ARRIVAL_PATCHED_TIDS)
    SCP_PLAN_TRAMPOLINES = 1u << 1, // the image's vdso differs from this kernel's: see symbols
    SCP_PLAN_COLD = 1u << 3, // the images are not in the page cache, and need not get there
};

// Places in the table of descriptors; the numbers are filled in by the new process, when it has placed its own.
enum scp_plan_descriptor {
    SCP_PLAN_DESCRIPTOR_PLAN = 0,
    SCP_PLAN_DESCRIPTOR_IMAGE = 1,
    SCP_PLAN_DESCRIPTOR_STATUS = 2, // write end of the pipe of scp_arrival_report records
    SCP_PLAN_DESCRIPTOR_EXECUTABLE = 3, // for /proc/self/exe; -1 = none
    SCP_PLAN_DESCRIPTOR_GO =
        4, // read end of the pipe that lets all processes of the set run (scp_arrival.go_descriptor)
    SCP_PLAN_DESCRIPTOR_PROGRESS = 5, // a struct scp_plan_progress; -1 = nobody looks
    SCP_PLAN_DESCRIPTOR_OBJECTS = 6, // the first of those that regions are mapped from
};

struct scp_plan_table {
    uint64_t offset; // bytes from the start of the plan
    uint64_t count; // records
};

struct scp_plan {
    uint64_t magic; // SCP_PLAN_MAGIC
    uint32_t version; // SCP_PLAN_VERSION
    uint32_t size; // sizeof(struct scp_plan)
    uint64_t length; // bytes, everything
    uint32_t flags; // enum scp_plan_flag
    uint32_t personality; // set when the memory stands
    uint32_t ancestors; // place of the first of their descriptors in the table of those
    uint32_t ancestor_count;
    struct scp_plan_table regions; // scp_plan_region, ascending, not overlapping
    struct scp_plan_table pieces; // scp_plan_piece, those of a region in a row
    struct scp_plan_table objects; // scp_plan_object
    struct scp_plan_table threads; // scp_plan_thread, the checkpoint thread first, the leader last
    struct scp_plan_table descriptors; // int32_t, see enum scp_plan_descriptor; the last objects.count are -1
    struct scp_plan_table on_exec; // int32_t: numbers that become close-on-exec
    struct scp_plan_table symbols; // scp_plan_symbol
    struct scp_plan_table auxiliary; // bytes: the auxiliary vector
    struct scp_plan_table strings; // bytes: NUL-terminated
    struct scp_plan_table arrival; // one scp_arrival (swiftcp_reentry.h)
    uint64_t vdso_start, vdso_length; // where the image had them; 0 = none
    uint64_t vvar_start, vvar_length;
    // PR_SET_MM_MAP
    uint64_t start_code, end_code, start_data, end_data, start_brk, brk, start_stack;
    uint64_t arguments_start, arguments_end, environment_start, environment_end;
};
_Static_assert(sizeof(struct scp_plan) == 40 + 160 + 32 + 88, "plan crosses a process");

// Where a region's memory comes from.
enum scp_plan_source {
    SCP_PLAN_NOTHING = 0, // the range is only kept clear (vdso, vvar)
    SCP_PLAN_ANONYMOUS = 1, // private anonymous
    SCP_PLAN_PRIVATE_FILE = 2, // private mapping of the file at path, which has not changed
    SCP_PLAN_SHARED_FILE = 3, // shared mapping of the file at path
    SCP_PLAN_SHARED_ANONYMOUS = 4, // MAP_SHARED|MAP_ANONYMOUS of its own
    SCP_PLAN_SHARED_OBJECT = 5, // shared mapping of a memfd that the restorer makes: scp_plan_object
    SCP_PLAN_SHARED_DESCRIPTOR = 6, // shared mapping of a descriptor: number in the table of descriptors
    SCP_PLAN_PRIVATE_DESCRIPTOR = 7, // private mapping of a descriptor
    SCP_PLAN_SYSV = 8, // a SysV segment: scp_plan_object
};
enum scp_plan_region_option {
    SCP_PLAN_READ_ONLY = 1u << 0, // SHARED_FILE, SHARED_DESCRIPTOR: mapped so that it can never become writable
    SCP_PLAN_HUGE = 1u << 1, // ANONYMOUS: well filled; in huge pages, where there are some
};
struct scp_plan_region {
    uint64_t start, end; // bytes, page-aligned, end exclusive
    uint32_t source; // enum scp_plan_source
    uint32_t protection; // PROT_*
    uint32_t flags; // enum scp_region_flag (swiftcp_format.h)
    uint32_t path; // string
    uint64_t file_offset; // bytes
    uint64_t device, inode; // PRIVATE_FILE: checked again after opening
    uint64_t file_size, file_mtime; // the same; bytes, ns
    uint64_t first_piece, piece_count;
    uint32_t object; // index into objects, or into descriptors
    uint32_t options; // enum scp_plan_region_option
};
_Static_assert(sizeof(struct scp_plan_region) == 96, "region crosses a process");

enum scp_plan_piece_kind {
    SCP_PLAN_READ = 1, // read from the image, checksum verified
    SCP_PLAN_MAP = 2, // mapped private from the image (lazy); swiftcp_restart verifies it in the background
    SCP_PLAN_GUARD = 3, // MADV_GUARD_INSTALL
};
enum scp_plan_piece_option {
    SCP_PLAN_GIVE_BACK = 1u << 0, // READ: the descriptor is memory made for this alone, what was read is given back
};
struct scp_plan_piece {
    uint64_t address, length; // bytes, page-aligned
    uint64_t offset; // bytes from the start of the image
    uint64_t checksum; // READ: as scp_block has it
    uint32_t kind; // enum scp_plan_piece_kind
    uint16_t options; // enum scp_plan_piece_option
    uint16_t file; // 0 = the image, n = ancestor n - 1
};
_Static_assert(sizeof(struct scp_plan_piece) == 40, "piece crosses a process");

// Memory that swiftcp_restart shares with the restorers while they fill, if it shows how far they are. Of pieces with
// GIVE_BACK one half has been counted when they were unpacked.
struct scp_plan_progress {
    uint64_t done; // bytes of pieces read, by all together; atomic
};
_Static_assert(sizeof(struct scp_plan_progress) == 8, "progress crosses a process");

// Shared memory that several regions may show.
struct scp_plan_object {
    uint64_t size; // bytes
    uint32_t name; // string: of the memfd
    uint32_t sysv; // 1 = SysV segment
    int32_t id, key; // SysV
};
_Static_assert(sizeof(struct scp_plan_object) == 24, "object crosses a process");

struct scp_plan_thread {
    uint32_t tid;
    uint32_t flags; // enum scp_thread_flag
    uint64_t entry, argument; // it begins with entry(argument, arrival)
    uint64_t arrival; // address of the scp_arrival, filled in by the restorer
    uint64_t stack, fs_base, gs_base, clear_child_tid; // as in scp_thread
};
_Static_assert(sizeof(struct scp_plan_thread) == 64, "thread crosses a process");

// One entry of the old vdso that becomes a jump into the new one.
struct scp_plan_symbol {
    uint64_t old_offset, new_offset; // bytes from the start of the respective vdso
};

#endif
