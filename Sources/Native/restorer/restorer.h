// The restorer: a static program that turns the process it runs in into the one of an image. Internal interface.
//
// Laws
//  1. No libc, no relocation, no static data that is written, no pointer in static data: the code is copied to
//     another address and goes on there. (A table of function pointers would need relocations nobody applies.)
//  2. One switch over enum restorer_stage drives it; each stage is a small function.
//  3. Whatever fails is told once over the status pipe (restorer_fail) and ends the process: the old program is gone
//     and the new one not there, nobody could go on. swiftcp_restart turns it into a sentence for the user.
//  4. It trusts the plan, which swiftcp_restart has made from a verified image, but no content: every block's checksum
//     is compared before the program can see it.
//
//        exec                      MOVE, PARK, CLEAR                  REGIONS … HOME                  (shim)
//   | restorer        |           |                |                | program     |               | program     |
//   | stack           |           |                |                | libraries   |               | libraries   |
//   |                 |           | hole:          |                | hole:       |               |             |
//   |                 |    ->     |  code, state,  |      ->        |  code, …    |      ->       |             |
//   |                 |           |  stack, plan,  |                |             |               |             |
//   |                 |           |  parked vdso   |                |             |               |             |
//   | vvar, vdso      |           |                |                | vvar, vdso  |               | vvar, vdso  |
//                                                                   | stacks      |               | stacks      |
#ifndef SWIFTCP_RESTORER_H
#define SWIFTCP_RESTORER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "swiftcp_format.h"
#include "swiftcp_plan.h"
#include "swiftcp_reentry.h"
#include "arch.h"

#define PAGE 4096u // bytes
#define RESTORER_STACK (64u << 10)

// Exit statuses, for the case that the status pipe is not there.
enum restorer_exit { RESTORER_EXIT_NO_PLAN = 121, RESTORER_EXIT_FAILED = 122 };

enum restorer_stage {
    STAGE_HOLE, // find addresses that neither the image nor this program uses
    STAGE_MOVE, // copy code, state, plan there and go on there
    STAGE_PARK, // move the kernel's vvar and vdso there too
    STAGE_CLEAR, // unmap everything else
    STAGE_REGIONS, // map what the image maps
    STAGE_CONTENT, // put the content in, compare checksums
    STAGE_PROTECT, // final protection, advice, locks
    STAGE_HOME, // vdso to where the image had it, or jumps into the new one
    STAGE_PROCESS, // brk, arguments, /proc/self/exe, personality
    STAGE_NUMBERS, // descriptors: close ours, close-on-exec of the program's
    STAGE_THREADS, // create all threads; the leader, this one, goes last and never returns
    STAGE_END,
};

struct restorer_mapping { // a line of /proc/self/maps
    uint64_t start, end;
    bool kernel; // [vvar], [vvar_vclock], [vdso]
    bool vdso; // [vdso]
};

#define RESTORER_MAPPINGS 32
struct restorer {
    enum restorer_stage stage;
    struct scp_plan *plan; // private copy-on-write mapping
    uint64_t hole, hole_length;
    uint64_t code, code_length; // where the copy runs
    uint64_t parked, parked_length; // lowest address of vvar … vdso now
    uint64_t vdso; // address of the vdso now
    uint64_t vdso_length;
    struct restorer_mapping mappings[RESTORER_MAPPINGS];
    uint32_t mapping_count;
    // The file opened last: neighbours in the address space mostly show the same one.
    uint32_t open_path;
    int open_file;
    bool open_writable;
    uint32_t failing; // atomic: a thread is telling what went wrong
    struct scp_arrival_report report;
};

// ---- report.c --------------------------------------------------------------------------------------------------------

struct restorer_text {
    char *at, *end;
};
struct restorer_text restorer_report_begin(struct restorer *restorer);
void restorer_text_add(struct restorer_text *text, const char *words);
void restorer_text_hex(struct restorer_text *text, uint64_t value);
void restorer_text_decimal(struct restorer_text *text, uint64_t value);
// Tells swiftcp_restart "WHAT [at START-END] [of PATH]" and ends the process. Zero and NULL leave parts out.
_Noreturn void restorer_fail(struct restorer *restorer, long error, const char *what,
                             const struct scp_plan_region *region);
// The same as a warning; goes on.
void restorer_warn(struct restorer *restorer, long error, const char *what, const struct scp_plan_region *region);

// ---- plan.c ----------------------------------------------------------------------------------------------------------

// Maps the plan from its descriptor; ends the process when it is none.
void restorer_plan_open(struct restorer *restorer, int descriptor);
const void *restorer_plan_table(const struct scp_plan *plan, const struct scp_plan_table *table);
const char *restorer_plan_string(const struct scp_plan *plan, uint32_t offset);
int restorer_plan_descriptor(const struct scp_plan *plan, uint32_t place);
// Of the image that a piece is in.
int restorer_plan_image(const struct scp_plan *plan, uint32_t file);

// ---- the stages ------------------------------------------------------------------------------------------------------

void restorer_maps_read(struct restorer *restorer);
void restorer_hole_find(struct restorer *restorer);
void restorer_move(struct restorer *restorer) __attribute__((noreturn)); // goes on in restorer_run at the new place
void restorer_vdso_park(struct restorer *restorer);
void restorer_clear(struct restorer *restorer);
void restorer_regions_map(struct restorer *restorer);
void restorer_content_fill(struct restorer *restorer);
void restorer_fill(struct restorer *restorer); // fill.c
void restorer_regions_protect(struct restorer *restorer);
// The protection a region is first mapped with (PROT_*), before it is filled.
int restorer_first_protection(const struct scp_plan_region *region);
void restorer_content_guard(struct restorer *restorer, const struct scp_plan_region *region);
void restorer_vdso_home(struct restorer *restorer);
void restorer_process_set(struct restorer *restorer);
void restorer_numbers_finish(struct restorer *restorer);
void restorer_threads_start(struct restorer *restorer) __attribute__((noreturn));

_Noreturn void restorer_run(struct restorer *restorer);
void restorer_enter(long *stack) __attribute__((noreturn)); // from _start: argc, argv …

// ---- memory.c --------------------------------------------------------------------------------------------------------

void *memcpy(void *to, const void *from, size_t length);
void *memset(void *to, int byte, size_t length);
size_t restorer_length(const char *text);
bool restorer_begins(const char *text, const char *prefix);
static inline uint64_t restorer_round_up(uint64_t value, uint64_t unit) {
    return (value + unit - 1) / unit * unit;
}

// ---- checksum.c ------------------------------------------------------------------------------------------------------

uint64_t restorer_checksum(const void *bytes, size_t length); // of a block: swiftcp_format.h

#endif
