// What the memory half of the shim shares: regions*.c, pages.c, image*.c, blobs.c, core_notes.c.
//
//   regions.c         /proc/self/maps -> checkpoint->regions      region_marks.c  VmFlags from smaps
//   region_kinds.c    what a line of maps is; refusals            pages.c, page_scan.c  which pages have content: runs
//   image_read.c      memory that must not be touched directly    image_blocks.c  runs -> zero filter -> blocks -> file
//   image_layout.c    blocks -> ELF program headers               core_notes.c    the notes gdb reads, and ours
//   image.c           open, memory, finish, abandon               blobs.c         bytes that are not memory
//   tracker.c         which pages were written since they were    precopy.c       memory is written while the program runs
//                     saved (userfaultfd, PAGEMAP_SCAN)           image_saved.c   what is saved, pass after pass
//   image_sink.c      bytes on their way to the file              snapshot_child.c  a copy of the process that writes
//   image_writer.c    a thread that writes them                   image_spill.c     scattered ones wait in another file
//   snapshot.c        which way the instant is taken, and why     encode.h          compression
//   file_pages.c      pages of files, once for all processes      image_same.c      is it still what was saved?
//   parent.c          what the next image need not hold again     helper_thread.c   threads beside the checkpoint thread
#ifndef SWIFTCP_MEMORY_H
#define SWIFTCP_MEMORY_H

#include "shim.h"

#define SCP_SINK_WRITE SCP_BLOCK_MAXIMUM // gathered for one write; more would not stay in the processor's cache
#define SCP_SINK_DIRECT (16u << 20) // the same past the page cache
#define SCP_SINK_BYTES (64u << 20) // what the pause may leave in memory, to be written after it
#define SCP_DIRECT_FROM (128ull << 20) // bytes; what is less is read again soon, from the page cache
#define SCP_GAP_PAGES 64u // a smaller gap between blocks of a region stays a hole of the file

enum scp_trouble {
    SCP_TROUBLE_NONE,
    SCP_TROUBLE_DEVICE,
    SCP_TROUBLE_USERFAULT,
    SCP_TROUBLE_SHADOW_STACK,
    SCP_TROUBLE_PROTECTION_KEY,
};

// What smaps said about [start, end) before the pause.
struct scp_mark {
    uint64_t start, end;
    uint32_t flags; // enum scp_region_flag
    uint16_t trouble; // enum scp_trouble
    uint8_t huge_shift; // hugetlb: log2 of the page size
    bool execute_only;
    bool droppable; // MAP_DROPPABLE: content may vanish at any time, so it does
    bool tracked; // registered with a userfaultfd for write protection
};

// region_marks.c: all of them, and what else smaps has told.
struct scp_marks {
    struct scp_vector all; // struct scp_mark, ascending
    uint64_t huge_bytes; // of private memory in huge pages
    int64_t took; // ns
    bool grows; // is read by the checkpoint thread, which may map more memory for the table
    bool old; // read by an earlier checkpoint: good enough for the first round of this one
};

// scp_region.vm_flags: what enum scp_region_flag has no bit for.
#define SCP_VM_HUGE_SHIFT 0xffull // hugetlb: log2 of the page size in bytes
#define SCP_VM_DROPPABLE (1ull << 8)
#define SCP_VM_LAZY (1ull << 9) // restored lazily: a private mapping of an image, to the program anonymous memory
#define SCP_VM_ORIGIN_SHIFT 16 // the bits from here on: of which image, and where in it; of a file: its ctime

// What the name of the last file mapping led to: many regions in a row have the same.
struct scp_file_identity {
    const char *name; // in the text of maps; NULL = none yet
    size_t length;
    uint64_t maps_inode;
    uint64_t device, inode, size, mtime, ctime;
    uint32_t path, mode;
    bool deleted;
};

// tracker.c: knows which pages were written since they were saved. descriptor -1: there is none.
struct scp_tracker {
    int descriptor; // userfaultfd, in the checkpoint thread's private table
    struct scp_vector lost; // struct scp_span: where a scan failed half-way; all of it counts as written
    struct scp_vector fresh; // struct scp_span: what a round has found untracked
};
struct scp_span {
    uint64_t start, end; // bytes, end exclusive
};

// snapshot_child.c: the copy of the process that writes the image.
struct scp_child {
    uint32_t pid; // 0 = there is none
    int process; // pidfd, in the checkpoint thread's private table
    struct scp_child_word *word; // what it tells
};

// A file beside the image in progress that holds pages of it: an earlier image, or file pages.
struct scp_parent_file {
    uint32_t generation;
    bool grows; // file pages: others may add to them
    uint32_t maker; // of those, the generation that has made them
    uint64_t metadata_checksum; // of scp_ancestor
    uint64_t device, inode, size; // as stat(2) has them
    char name[256];
};

// file_pages.c: pages of mapped files that stand once in the generation.
struct scp_file_pages {
    int descriptor; // of the file that this generation makes; -1 = not open
    bool ready; // the tables are there, with what earlier generations have left
    bool useless; // it has failed
    uint64_t known_end; // bytes: the records of that file up to here are in the table
    struct scp_vector sources; // struct scp_file_source
    struct scp_vector pieces; // struct scp_file_piece
    size_t next; // behind the one that was found last
};

// Bytes gathered for one write, and where in the image they belong.
struct scp_batch {
    uint8_t *bytes; // of the sink, or of the encoder
    size_t used;
    struct scp_vector parts; // struct scp_sink_part
    bool spilled; // goes to the spill first
    bool waits; // until the disk has it
    int64_t took; // ns that it took to write
};

// helper_thread.c: a thread beside the checkpoint thread.
struct scp_helper_thread {
    _Atomic uint32_t tid; // 0 = has ended; futex, woken by the kernel
    uint8_t *memory; // stack, a stand-in for the thread's block of libc's, what the owner wants; NULL = there is none
};

// region_marks.c: a thread that reads smaps during the first round.
struct scp_marks_reader {
    struct scp_helper_thread thread;
    int smaps; // the open file
    char *text; // its buffer
    struct scp_marks marks;
    int result; // 0 or -errno
};

// image_writer.c
struct scp_writer {
    struct scp_helper_thread thread;
    struct scp_checkpoint *checkpoint;
    _Atomic uint32_t state; // enum scp_writer_state; futex
    int result; // of the last batch: 0 or -errno
};

// image_spill.c
struct scp_spill {
    bool allowed; // by the round that is under way
    bool useless; // it has failed
    int file; // without a name, past the page cache; -1 = not made
    uint64_t length; // bytes
    struct scp_vector parts; // struct scp_sink_part, as they follow one another in the file
};

// What the pause would have to take, and how quickly the program makes more of it.
struct scp_left {
    uint64_t bytes;
    bool known; // written and disk were measured
    uint64_t written, disk; // bytes/s
};

// What a pass over memory is for.
enum scp_pass {
    SCP_PASS_ROUND, // the program runs: what was written since the last round is saved (again)
    SCP_PASS_LAST, // the program stands still: what is left; the table of blocks becomes that of the image
};

struct scp_memory { // checkpoint->image_private
    struct scp_vector maps; // bytes: text of /proc/self/maps
    struct scp_vector lazy_parts; // struct scp_lazy_part, ascending
    struct scp_marks marks;
    struct scp_marks_reader marks_reader;
    struct scp_vector loads; // Elf64_Phdr
    struct scp_vector metadata; // bytes
    struct scp_vector thread_notes; // bytes: core notes of the threads, made in the pause
    struct scp_file_identity identity;
    uint64_t unheeded; // bytes saved by a round since it last looked for the coordinator's word
    int pagemap, memory; // /proc/self/pagemap, /proc/self/mem
    int pipe[2]; // for pages that only a system call may look at
    uint64_t guard_category; // PAGE_IS_GUARD when this kernel knows it, else 0
    bool scan_works; // PAGEMAP_SCAN
    bool swap_in_use; // pages of shared memory may be in swap, where nothing shows them
    uint8_t *staging; // SCP_BLOCK_MAXIMUM bytes
    uint8_t *residency; // SCP_BLOCK_MAXIMUM bytes: mincore's answer
    struct scp_scan_range *ranges; // SCP_SCAN_RANGES
    struct scp_scanner *scanner; // page_scan.c; NULL: there is no thread
    enum scp_pass pass;
    int64_t round_deadline; // ns, CLOCK_MONOTONIC: the first round ends there; 0 = none
    int64_t writing_since; // ns: --io-limit; 0 = not limited now
    uint64_t written_since; // bytes
    uint64_t resident; // bytes of memory without a file, when the rounds began
    struct scp_left left; // by the last round
    struct scp_tracker tracker;
    struct scp_child child;
    bool defers; // the pause leaves private memory to a child
    uint64_t deferred_bytes; // what it has left so far
    struct scp_vector files; // struct scp_parent_file: where blocks lead whose file is not 0
    struct scp_file_pages file_pages;
    bool builds_on; // the image leaves out what the parent's table knows (parent.c)
    bool whole; // no pass is under way: every page that carries the tracker's mark is as its block says, or has none
    bool finished; // saved, and not the checkpoint's blocks, is the table of the last pass
    // image_saved.c. A block of these tables has the index of its first page's sum in place of the checksum.
    struct scp_vector saved; // struct scp_block, ascending: what the last pass has left
    struct scp_vector sums; // uint64_t: xxh3_64 of each saved page
    struct scp_vector dropped; // struct scp_span of the file: was saved, and is no more
    uint64_t saved_region; // start of the region that the pass is at: no block reaches over it
    size_t saved_next; // the first of saved that this pass has not come to
    struct scp_block saved_head; // that one, without what was used of it; length 0 = not begun
    int direct; // the image once more, past the page cache; -1 = not
    struct scp_encoder *encoder; // encode.h; NULL: content is written as it is
    // The sink: bytes on their way to the file.
    uint8_t *sink;
    size_t sink_limit; // bytes; at the limit they are written
    struct scp_batch filling, writing; // the second is the writer's
    struct scp_writer writer;
    struct scp_spill spill;
    // The blob that is open.
    bool blob_open;
    uint64_t blob_offset, blob_length, blob_checksum;
    size_t blob_fill; // bytes of the current piece in staging
    // Of the instant of the checkpoint.
    size_t leader_end; // bytes of thread_notes: the leader's NT_PRSTATUS
    uint64_t created_realtime, created_monotonic, created_boottime; // ns
    uint32_t xstate_size;
    size_t header_at; // bytes of metadata: the image header
};

// The checkpoint's struct scp_memory, made on first use. NULL: memory or /proc is short, and scp_fail says so.
struct scp_memory *scp_memory_get(struct scp_checkpoint *checkpoint);
// Closes and unmaps all of it.
void scp_memory_close(struct scp_checkpoint *checkpoint);
// Opens a vector that the owner of the checkpoint has not opened yet.
int scp_memory_vector(struct scp_vector *vector, size_t element, size_t capacity);
// "7f00-7f01 (path)" for messages.
void scp_memory_name(const struct scp_checkpoint *checkpoint, const struct scp_region *region, char out[512]);

// ---- region_marks.c, region_kinds.c ----------------------------------------------------------------------------------
int scp_marks_read(struct scp_checkpoint *checkpoint);
// Those of an earlier checkpoint, if there are any, are read anew beside what the caller goes on with.
void scp_marks_read_beside(struct scp_checkpoint *checkpoint);
int scp_marks_await(struct scp_checkpoint *checkpoint); // from then on they are this checkpoint's
void scp_marks_close(struct scp_memory *memory);
// The regions and their marks as they are now: smaps is read again only where mappings have changed.
int scp_regions_again(struct scp_checkpoint *checkpoint);
// A line of maps while its region is being made out.
struct scp_line {
    uint64_t start, end, offset, device, inode;
    uint32_t protection;
    bool shared;
    const char *path; // in the text, not NUL-terminated
    size_t path_length;
};
// Fills kind, path, file identity and flags; or refuses by name.
int scp_region_classify(struct scp_checkpoint *checkpoint, struct scp_region *region, const struct scp_line *line,
                        const struct scp_mark *mark);
void scp_regions_mark_shim(struct scp_checkpoint *checkpoint); // sets SCP_REGION_SHIM on ours

// ---- pages.c: which pages have content ---------------------------------------------------------------------------------
enum scp_run_class {
    SCP_RUN_PRESENT, // in memory and readable: may be copied directly
    SCP_RUN_READ, // to be read by system call; an unreadable page is an error
    SCP_RUN_MAYBE, // likewise; an unreadable page is none (past the end of its file)
    SCP_RUN_SWAPPED, // likewise; an unreadable page is a guard page, where the kernel can't tell us those
    SCP_RUN_CLEAN, // as the file has it; the first unreadable page ends the file
    SCP_RUN_GUARD,
};
struct scp_run {
    uint64_t start, end; // bytes, page-aligned
    enum scp_run_class class;
    bool unchanged; // not written since it was saved
};
typedef int scp_run_sink(struct scp_checkpoint *checkpoint, const struct scp_region *region, const struct scp_run *run);
#define SCP_SCAN_RANGES 4096
struct scp_scan_range { // struct page_region of linux/fs.h (6.7)
    uint64_t start, end, categories;
};
void scp_pages_probe(struct scp_memory *memory);
// While the program stands still: a thread helps with the page tables of large memory.
void scp_scanner_open(struct scp_checkpoint *checkpoint);
void scp_scanner_close(struct scp_memory *memory);
// Calls sink for every run of the region that has content, ascending.
int scp_pages_scan(struct scp_checkpoint *checkpoint, const struct scp_region *region, scp_run_sink *sink);

// How many pages of the region were written since the last round.
uint64_t scp_pages_written(struct scp_checkpoint *checkpoint, const struct scp_region *region);
uint64_t scp_pages_written_in_all(struct scp_checkpoint *checkpoint);
// Whether the mapping at the address is tracked.
bool scp_pages_tracked(const struct scp_memory *memory, uint64_t address);

// ---- image_read.c --------------------------------------------------------------------------------------------------------
// Opens a file of /proc/self that a process that is not dumpable may not open without more ado.
int scp_open_own(const char *path, int flags);
// The region's file, if it is still under that name and may be read; else -1.
int scp_open_mapped(const struct scp_region *region, const char *path);
// Copies up to length bytes from address by system call. Returns how many (whole pages), or -errno for the first page.
int64_t scp_read_memory(struct scp_memory *memory, uint64_t address, void *out, size_t length);
// One page of [vvar]: only a system call may look. 0 or -errno.
int scp_read_special_page(struct scp_memory *memory, uint64_t address, void *out);

// ---- lazy_content.c: memory restored lazily that nobody has written since -------------------------------------------------
struct scp_lazy_part { // a region that is mapped from an image
    uint64_t start, offset; // of the region, and of its first byte in the image
    int descriptor; // of the image; -1 = it cannot be opened
};
// For each such region in ascending order, while it is made out. 0 or -errno.
void scp_lazy_forget(void); // as scp_image_forget
int scp_lazy_note(struct scp_memory *memory, const struct scp_region *region, const char *path);
// Whether its clean pages can be read from the image itself.
bool scp_lazy_readable(const struct scp_memory *memory, const struct scp_region *region);
// Up to length bytes (whole pages) that stand in the image for the region's address. Returns how many, or -errno.
int64_t scp_lazy_read(const struct scp_memory *memory, const struct scp_region *region, uint64_t at, void *out,
                      size_t length);

// ---- tracker.c -----------------------------------------------------------------------------------------------------------
// Begins to track: 0, or -errno with *why (static text) when this program or this kernel does not allow it.
int scp_tracker_open(struct scp_memory *memory, const char **why);
// NULL, or what of the program stands in the way now.
const char *scp_tracker_obstacle(void);
int scp_tracker_ready(struct scp_memory *memory); // opens its tables
void scp_tracker_close(struct scp_checkpoint *checkpoint);
bool scp_tracker_wants(const struct scp_region *region);
// Registers what is new among the regions.
int scp_tracker_register(struct scp_checkpoint *checkpoint);
bool scp_tracker_has_lost(const struct scp_memory *memory, uint64_t start, uint64_t end);
void scp_tracker_lose(struct scp_memory *memory, uint64_t start, uint64_t end);

// ---- file_pages.c --------------------------------------------------------------------------------------------------------
// A block for pages of the region from `at` on, up to `end` at most, that stand among the file pages of the generation: in a
// round they are added where need be. False: they are not there, and belong into the image itself.
bool scp_file_pages_find(struct scp_checkpoint *checkpoint, const struct scp_region *region, uint64_t at, uint64_t end,
                         struct scp_block *block);
void scp_file_pages_close(struct scp_memory *memory);

// ---- parent.c: the last committed image, and what of memory is as it was then -------------------------------------------
// The mappings that smaps shows as tracked are so for us.
bool scp_parent_tracks(void);
// What smaps has told the last checkpoint, if memory is tracked since.
bool scp_parent_marks(struct scp_memory *memory);
// Before the first round: true when the image is to be incremental. The tables and the tracker are then the checkpoint's.
bool scp_parent_adopt(struct scp_checkpoint *checkpoint);
// After the last pass: tells the checkpoint which files its blocks still lead to.
int scp_parent_settle(struct scp_checkpoint *checkpoint);
// Whether the tracker goes on, so that the next image can be incremental.
bool scp_parent_wanted(const struct scp_checkpoint *checkpoint);
// The image is complete: it will be the parent if it is committed. Takes tables and tracker.
void scp_parent_offer(struct scp_checkpoint *checkpoint);
// It was not committed: what stands in it counts as not saved. Before scp_memory_close.
void scp_parent_reject(struct scp_checkpoint *checkpoint);

// ---- snapshot.c, memory_left.c --------------------------------------------------------------------------------------------
// Before the pause: decides whether it leaves private memory to a child.
void scp_snapshot_choose(struct scp_checkpoint *checkpoint, const struct scp_left *left);
void scp_snapshot_because(struct scp_checkpoint *checkpoint, const char *why, const char *more);
// In the pause, after the last pass: what that has deferred is held by a child, or taken at once.
int scp_snapshot_settle(struct scp_checkpoint *checkpoint);
// A line "key number kB" of a file of /proc, in bytes; UINT64_MAX = not there.
uint64_t scp_memory_value(const char *path, const char *key);
// Bytes that this process may still take without harm to others; UINT64_MAX = not known.
uint64_t scp_memory_left(void);

// ---- snapshot_child.c ----------------------------------------------------------------------------------------------------
#define SCP_CHILD_NAME "swiftcp_writer" // at most 15 bytes
// Whether this part of memory is left to the child.
bool scp_child_defers(const struct scp_memory *memory, const struct scp_region *region, enum scp_run_class class);
// In the pause, when the table of blocks stands: 0, or -errno and nothing has changed.
int scp_child_start(struct scp_checkpoint *checkpoint);
bool scp_child_runs(const struct scp_checkpoint *checkpoint);
// Until its image is complete.
int scp_child_await(struct scp_checkpoint *checkpoint);
// In the child: the program's pages are its own again, and need not be copied when it writes.
void scp_child_give_back(uint64_t start, uint64_t end);
void scp_child_end(struct scp_memory *memory); // if there is one

// ---- image_sink.c --------------------------------------------------------------------------------------------------------
struct scp_sink_part {
    uint64_t offset; // bytes from the start of the image
    uint64_t length; // bytes; the parts follow one another in the sink
};
// Room for length (at most SCP_BLOCK_MAXIMUM) bytes that will stand at offset of the image; NULL when writing failed.
uint8_t *scp_sink_room(struct scp_checkpoint *checkpoint, size_t length, uint64_t offset);
int scp_sink_flush(struct scp_checkpoint *checkpoint); // all of it has been written, or stands in the spill
int scp_sink_await(struct scp_checkpoint *checkpoint); // all that has been passed on
// These bytes, which the caller leaves as they are until they have been awaited, to the writer, or to the file.
int scp_sink_pass(struct scp_checkpoint *checkpoint, uint8_t *bytes, size_t length, uint64_t offset, bool waits);
// Writes it where it belongs, or to the spill, without a word: 0 or -errno. For one thread at a time.
int scp_sink_write(struct scp_checkpoint *checkpoint, struct scp_batch *batch);
void scp_sink_open_direct(struct scp_checkpoint *checkpoint);
void scp_sink_close_direct(struct scp_memory *memory);
// From now on writing keeps to the order's limit, or not.
void scp_sink_limit(struct scp_checkpoint *checkpoint, bool limited);
// Writes bytes at offset; a failure names the image and what to do.
int scp_image_write(struct scp_checkpoint *checkpoint, const void *bytes, size_t length, uint64_t offset);
int scp_image_fail(struct scp_checkpoint *checkpoint, int error, const char *what);
// Writes all of it to any file, at offset: 0 or -errno. Without the checkpoint's books.
int scp_write_all(int descriptor, const void *bytes, size_t length, uint64_t offset);
void scp_sink_keep_limit(const struct scp_checkpoint *checkpoint, size_t length); // so many bytes were written
// The same without a word: 0 or -errno.
int scp_image_put(struct scp_checkpoint *checkpoint, const void *bytes, size_t length, uint64_t offset);

// ---- helper_thread.c -----------------------------------------------------------------------------------------------------
// Its memory, with so many bytes for the owner, zero at first, which are returned; NULL = there is none.
void *scp_helper_thread_map(struct scp_helper_thread *thread, size_t bytes);
// 0, or -errno and its memory is gone. The thread ends when `work` returns.
int scp_helper_thread_start(struct scp_helper_thread *thread, void (*work)(void *), void *argument);
void scp_helper_thread_end(struct scp_helper_thread *thread); // waits for its end; unmaps
bool scp_helper_threads_may(const struct scp_checkpoint *checkpoint); // a stop by job control would hold new ones too

// ---- image_writer.c ------------------------------------------------------------------------------------------------------
// From now on memory->writing is written by a thread, if one can be made.
void scp_writer_open(struct scp_checkpoint *checkpoint);
bool scp_writer_runs(const struct scp_memory *memory);
void scp_writer_pass(struct scp_memory *memory); // memory->writing; the last one has been awaited
int scp_writer_await(struct scp_memory *memory); // what the last one came to: 0 or -errno
void scp_writer_close(struct scp_memory *memory); // awaits, too

// ---- image_spill.c -------------------------------------------------------------------------------------------------------
// Says whether the batch goes to the spill (`spilled`), which has then its parts in its table. When not, what the spill had is
// written before.
int scp_spill_offer(struct scp_checkpoint *checkpoint, struct scp_batch *batch);
int scp_spill_write(struct scp_checkpoint *checkpoint, const struct scp_batch *batch); // 0 or -errno, without a word
// The spill could not take the batch: what it had and these bytes go where they belong.
int scp_spill_refuse(struct scp_checkpoint *checkpoint, struct scp_batch *batch);
// Before anything else is written: what the spill has goes where it belongs, and there is none any more. Hears the
// coordinator's word, if it `heeds`.
int scp_spill_empty(struct scp_checkpoint *checkpoint, bool heeds);
void scp_spill_close(struct scp_memory *memory);

// ---- image_encode.c: where the order asks for compression, else without effect -------------------------------------------
int scp_encode_open(struct scp_checkpoint *checkpoint);
void scp_encode_close(struct scp_memory *memory);
// Where the next new page of content goes.
uint64_t *scp_content_end(struct scp_checkpoint *checkpoint);
// Takes content that has its place there; with an encoder only.
int scp_encode_write(struct scp_checkpoint *checkpoint, const void *bytes, size_t length, uint64_t place);
// Writes all that was taken; no helper is left. file_position is then the end of the file, a whole page.
int scp_encode_rest(struct scp_checkpoint *checkpoint);
// From now on content is stored as it is, because the program stands still for it; or not any more.
void scp_encode_plain(struct scp_checkpoint *checkpoint, bool plain);
// Bytes of content that nobody has any more; with an encoder only.
void scp_encode_dead(struct scp_checkpoint *checkpoint, uint64_t bytes);
// With `more` dead bytes they would be more than half of those that are not.
bool scp_encode_full(const struct scp_checkpoint *checkpoint, uint64_t more);
const struct scp_vector *scp_encode_chunks(const struct scp_checkpoint *checkpoint); // NULL: not compressed

// ---- image_saved.c -------------------------------------------------------------------------------------------------------
// Flags of blocks that have not become the image's yet.
#define SCP_SAVED_DEFERRED (1u << 29) // its bytes are taken later; the encoding is an enum scp_run_class
#define SCP_SAVED_ZERO (1u << 30) // was zero: nothing is stored
#define SCP_SAVED_CLEAN (1u << 31) // was as the file has it; the block's encoding tells which file
void scp_saved_begin(struct scp_checkpoint *checkpoint, enum scp_pass pass);
// One run of a region, in ascending order.
int scp_saved_run(struct scp_checkpoint *checkpoint, const struct scp_region *region, const struct scp_run *run);
int scp_saved_end(struct scp_checkpoint *checkpoint); // of a pass
// Takes what was deferred; as the child (`gives_back`) it lets go of what is taken.
int scp_saved_settle(struct scp_checkpoint *checkpoint, bool gives_back);
int scp_saved_finish(struct scp_checkpoint *checkpoint); // after the pause: checksums; what was dropped becomes zero
// Appends a block to the pass's table, or makes the last one longer.
int scp_saved_keep(struct scp_checkpoint *checkpoint, const struct scp_block *block);

// ---- image_same.c --------------------------------------------------------------------------------------------------------
bool scp_same_must_be_shown(const struct scp_memory *memory, const struct scp_region *region,
                            const struct scp_run *run);
// How many bytes from the block's first page on are all as they were saved (*same), or all not.
uint64_t scp_same_length(struct scp_memory *memory, const struct scp_region *region, const struct scp_run *run,
                         const struct scp_block *block, bool *same);

// ---- image_blocks.c ------------------------------------------------------------------------------------------------------
// Saves a run anew, at the end of the file; or again in the place that it has (`place`, whose pages become its).
int scp_blocks_new(struct scp_checkpoint *checkpoint, const struct scp_region *region, const struct scp_run *run);
int scp_blocks_again(struct scp_checkpoint *checkpoint, const struct scp_region *region, const struct scp_run *run,
                     const struct scp_block *place);
int scp_blocks_guard(struct scp_checkpoint *checkpoint, uint64_t start, uint64_t end);
// Notes that bytes of the file are nobody's any more.
int scp_blocks_drop(struct scp_checkpoint *checkpoint, const struct scp_block *block);
// Which file a clean page came from: equal numbers mean that it has not changed since.
uint32_t scp_blocks_origin(const struct scp_region *region);

// ---- image_layout.c, core_notes.c ------------------------------------------------------------------------------------------
int scp_layout(struct scp_checkpoint *checkpoint); // fills memory->loads
int scp_notes_threads(struct scp_checkpoint *checkpoint); // in the pause: fills threads and memory->thread_notes
int scp_notes_process(struct scp_checkpoint *checkpoint, struct scp_vector *out); // all that debuggers know
int scp_note_own_auxv(struct scp_vector *out);
int scp_note(struct scp_vector *out, const char *owner, uint32_t type, const void *bytes, size_t length);
int scp_metadata(struct scp_checkpoint *checkpoint); // fills memory->metadata from everything; needs file_position
int scp_metadata_write(struct scp_checkpoint *checkpoint); // with its checksum and the ELF header's page

// ---- checksum.c -------------------------------------------------------------------------------------------------------------
uint64_t scp_checksum(const void *bytes, size_t length, uint64_t seed); // xxh3_64

// ---- arch/<name>/xstate.c, checksum_wide.c -----------------------------------------------------------------------------------
// user_regs_struct of the interrupted program.
void scp_arch_registers(const ucontext_t *frame, uint64_t fs_base, uint64_t gs_base, uint64_t out[27]);
// NT_FPREGSET and NT_X86_XSTATE (the latter in Intel's layout). Return bytes; 0 = the frame has none.
#define SCP_ARCH_FPREGS_BYTES 512
#define SCP_ARCH_XSTATE_BYTES 2696
size_t scp_arch_fpregs(const ucontext_t *frame, uint8_t out[SCP_ARCH_FPREGS_BYTES]);
size_t scp_arch_xstate(const ucontext_t *frame, uint8_t out[SCP_ARCH_XSTATE_BYTES]);
uint32_t scp_arch_xstate_frame_size(const ucontext_t *frame);
uint16_t scp_arch_machine(void); // ELF e_machine
bool scp_arch_wide(void); // scp_arch_checksum_wide may be called
uint64_t scp_arch_checksum_wide(const void *bytes, size_t length, uint64_t seed);

#endif
