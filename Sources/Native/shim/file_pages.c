// Pages of mapped files that are as the files have them: once for all processes of a generation.
//
// What a hundred processes of a program have of its libraries is the same in all of them. So it stands in a file beside their
// images (scp_file_pages_header), to which whoever meets a piece first adds it, while the program runs; all others find it
// there and need only its sums. A piece is at most SCP_BLOCK_MAXIMUM of a mapping, cut at multiples of that in the file.
//
// Earlier generations' files are in the folder as links, with what they have; only what is new goes to a new one.
//
// Added is under a lock that goes with the descriptor, and so with its process; content before the record that tells of it, so
// that what is cut short is never seen. Nobody waits long: who can't have the lock saves the pages in its own image. The
// generation's folder is new: what a crash of the machine leaves is never built on. The coordinator makes the file durable.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "memory.h"

#define WORTH_BYTES (32u << 10) // less is saved as quickly as it is looked for
#define LOCK_TRIES 5000 // 200 us apart

// One of the files: what this generation makes, or an earlier one has made.
struct scp_file_source {
    struct scp_parent_file file;
    uint32_t number; // scp_block.file of blocks that lead there; 0 = none does yet
};

// A record in memory: a piece of a mapped file, and where its content is.
struct scp_file_piece {
    uint64_t device, inode, file_size, file_mtime, file_ctime, offset, length;
    uint64_t place; // bytes from the start of the source
    uint64_t sums; // index of the first page's in memory->sums
    size_t source;
};

// ---- the file ---------------------------------------------------------------------------------------------------------------

static bool read_all(int descriptor, void *out, size_t length, uint64_t offset) {
    for (size_t done = 0; done < length;) {
        long got = scp_call(SYS_pread64, descriptor, (char *)out + done, length - done, offset + done);
        if (got == -EINTR)
            continue;
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

static bool write_all(struct scp_checkpoint *checkpoint, const void *bytes, size_t length, uint64_t offset) {
    const struct scp_memory *memory = checkpoint->image_private;
    if (scp_write_all(memory->file_pages.descriptor, bytes, length, offset) < 0)
        return false;
    checkpoint->bytes_written += length;
    return true;
}

static bool lock(const struct scp_file_pages *pages) {
    struct timespec moment = {0, 200000};
    for (int i = 0; i < LOCK_TRIES; i++) {
        long result = scp_call(SYS_flock, pages->descriptor, LOCK_EX | LOCK_NB);
        if (result == 0)
            return true;
        if (result != -EWOULDBLOCK && result != -EINTR)
            return false;
        scp_call(SYS_nanosleep, &moment, NULL);
    }
    return false;
}

static void unlock(const struct scp_file_pages *pages) {
    scp_call(SYS_flock, pages->descriptor, LOCK_UN);
}

// A new header. Locked.
static bool write_header(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    struct scp_file_pages_header header = {.magic = SCP_FILE_PAGES_MAGIC,
                                           .format_version = SCP_FORMAT_VERSION,
                                           .generation = checkpoint->order->generation};
    if (scp_call(SYS_getrandom, &header.identity, sizeof header.identity, 0) != sizeof header.identity)
        return false;
    memset(memory->staging, 0, SCP_DATA_OFFSET);
    memcpy(memory->staging, &header, sizeof header);
    return header.identity != 0 && write_all(checkpoint, memory->staging, SCP_DATA_OFFSET, 0);
}

// The open file becomes one of the sources.
static bool add_source(struct scp_checkpoint *checkpoint, int descriptor, const char *name) {
    struct scp_memory *memory = checkpoint->image_private;
    struct scp_file_pages_header header;
    struct scp_file_source source = {.number = 0};
    struct stat status;
    if (strlen(name) >= sizeof source.file.name || scp_call(SYS_fstat, descriptor, &status) < 0 ||
        !S_ISREG(status.st_mode) || !read_all(descriptor, &header, sizeof header, 0) ||
        header.magic != SCP_FILE_PAGES_MAGIC || header.format_version != SCP_FORMAT_VERSION)
        return false;
    source.file = (struct scp_parent_file){.generation = checkpoint->order->generation,
                                           .grows = true,
                                           .maker = header.generation,
                                           .metadata_checksum = header.identity,
                                           .device = status.st_dev,
                                           .inode = status.st_ino};
    memcpy(source.file.name, name, strlen(name) + 1);
    return scp_vector_append(&memory->file_pages.sources, &source, 1) == 0;
}

// Length of the path of the image's folder, with the slash; 0 = it has none.
static size_t folder_length(const struct scp_checkpoint *checkpoint) {
    const char *slash = strrchr(checkpoint->order->path, '/');
    return slash == NULL ? 0 : (size_t)(slash + 1 - checkpoint->order->path);
}

// The file that this generation makes.
static bool open_own(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    struct scp_file_pages *pages = &memory->file_pages;
    char path[sizeof checkpoint->order->path + sizeof SCP_FILE_PAGES_NAME];
    size_t folder = folder_length(checkpoint);
    memcpy(path, checkpoint->order->path, folder);
    memcpy(path + folder, SCP_FILE_PAGES_NAME, sizeof SCP_FILE_PAGES_NAME);
    long file = scp_call(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0)
        return false;
    pages->descriptor = (int)file;
    pages->known_end = SCP_DATA_OFFSET;
    scp_call(SYS_fchmod, file, 0600); // whatever the program's umask says
    struct stat status;
    if (!lock(pages))
        return false;
    bool sound = scp_call(SYS_fstat, file, &status) == 0 && (status.st_size > 0 || write_header(checkpoint));
    unlock(pages);
    return sound && add_source(checkpoint, (int)file, SCP_FILE_PAGES_NAME);
}

void scp_file_pages_close(struct scp_memory *memory) {
    if (memory->file_pages.descriptor >= 0)
        scp_call(SYS_close, memory->file_pages.descriptor);
    memory->file_pages.descriptor = -1;
    scp_vector_close(&memory->file_pages.sources);
    scp_vector_close(&memory->file_pages.pieces);
}

// What blocks call the source; 0 = there is no number left.
static uint32_t number_of(struct scp_memory *memory, size_t index) {
    struct scp_file_source *source = scp_vector_at(&memory->file_pages.sources, index);
    if (source->number == 0 && memory->files.count < SCP_ANCESTORS_MAXIMUM &&
        scp_vector_append(&memory->files, &source->file, 1) == 0)
        source->number = (uint32_t)memory->files.count;
    return source->number;
}

// ---- its records -------------------------------------------------------------------------------------------------------------

static uint64_t record_checksum(const struct scp_file_record *record) {
    return scp_checksum(&record->device, sizeof *record - offsetof(struct scp_file_record, device), 0);
}

// Of the source that was added last; its content is at `place`.
static struct scp_file_piece *keep_record(struct scp_memory *memory, const struct scp_file_record *record,
                                          uint64_t place) {
    struct scp_file_pages *pages = &memory->file_pages;
    struct scp_file_piece piece = {.device = record->device,
                                   .inode = record->inode,
                                   .file_size = record->file_size,
                                   .file_mtime = record->file_mtime,
                                   .file_ctime = record->file_ctime,
                                   .offset = record->offset,
                                   .length = record->length,
                                   .place = place,
                                   .sums = memory->sums.count,
                                   .source = pages->sources.count - 1};
    if (scp_vector_append(&memory->sums, record->sums, record->length / SCP_PAGE) < 0 ||
        scp_vector_append(&pages->pieces, &piece, 1) < 0)
        return NULL;
    return scp_vector_at(&pages->pieces, pages->pieces.count - 1);
}

// The records from `end` on go to the table. Returns where they end.
static uint64_t read_records(struct scp_memory *memory, int descriptor, uint64_t end) {
    struct scp_file_record record;
    while (read_all(descriptor, &record, sizeof record, end)) {
        bool possible = record.length > 0 && record.length <= SCP_BLOCK_MAXIMUM && record.length % SCP_PAGE == 0;
        if (!possible || record.checksum != record_checksum(&record) ||
            keep_record(memory, &record, end + SCP_DATA_OFFSET) == NULL)
            break;
        end += SCP_DATA_OFFSET + record.length;
    }
    return end;
}

// What others have added meanwhile to the file that this generation makes.
static void read_new(struct scp_memory *memory) {
    struct scp_file_pages *pages = &memory->file_pages;
    pages->known_end = read_records(memory, pages->descriptor, pages->known_end);
}

struct folder {
    struct scp_checkpoint *checkpoint;
    int descriptor;
};

// One entry of the generation's folder: what an earlier one has made was made durable with it.
static int read_earlier(void *argument, const char *name) {
    const struct folder *folder = argument;
    if (strncmp(name, SCP_FILE_PAGES_EARLIER, sizeof SCP_FILE_PAGES_EARLIER - 1) != 0)
        return 0;
    long file = scp_call(SYS_openat, folder->descriptor, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
    if (file < 0)
        return 0;
    if (add_source(folder->checkpoint, (int)file, name))
        read_records(folder->checkpoint->image_private, (int)file, SCP_DATA_OFFSET);
    scp_call(SYS_close, file);
    return 0;
}

static bool begin(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    struct scp_file_pages *pages = &memory->file_pages;
    char path[sizeof checkpoint->order->path];
    size_t length = folder_length(checkpoint);
    if (length == 0 || scp_vector_open(&pages->sources, sizeof(struct scp_file_source), 16) != 0 ||
        scp_vector_open(&pages->pieces, sizeof(struct scp_file_piece), 256) != 0)
        return false;
    memcpy(path, checkpoint->order->path, length);
    path[length] = '\0';
    struct folder folder = {.checkpoint = checkpoint};
    folder.descriptor = (int)scp_call(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (folder.descriptor < 0)
        return false;
    scp_visit_names(folder.descriptor, read_earlier, &folder);
    scp_call(SYS_close, folder.descriptor);
    pages->ready = true;
    return true;
}

static bool is_same(const struct scp_file_piece *one, const struct scp_file_piece *other) {
    return one->offset == other->offset && one->length == other->length && one->inode == other->inode &&
           one->device == other->device && one->file_size == other->file_size && one->file_mtime == other->file_mtime &&
           one->file_ctime == other->file_ctime;
}

static const struct scp_file_piece *found_at(struct scp_file_pages *pages, size_t at) {
    pages->next = at + 1;
    return scp_vector_at(&pages->pieces, at);
}

// Processes map much the same in much the same order: the next one is mostly the one behind the last.
static const struct scp_file_piece *look_up(struct scp_file_pages *pages, const struct scp_file_piece *wanted) {
    for (size_t i = 0; i < pages->pieces.count; i++) {
        size_t at = (pages->next + i) % pages->pieces.count;
        if (is_same(scp_vector_at(&pages->pieces, at), wanted))
            return found_at(pages, at);
    }
    return NULL;
}

// Among what others have added meanwhile.
static const struct scp_file_piece *look_up_new(struct scp_memory *memory, const struct scp_file_piece *wanted) {
    struct scp_file_pages *pages = &memory->file_pages;
    size_t known = pages->pieces.count;
    read_new(memory);
    for (size_t at = known; at < pages->pieces.count; at++)
        if (is_same(scp_vector_at(&pages->pieces, at), wanted))
            return found_at(pages, at);
    return NULL;
}

// ---- a piece is added --------------------------------------------------------------------------------------------------------

// Still the file that was mapped, and as it was when the regions were looked at.
static bool is_unchanged(int file, const struct scp_file_piece *piece) {
    struct stat status;
    return scp_call(SYS_fstat, file, &status) == 0 && (uint64_t)status.st_size == piece->file_size &&
           scp_ns_of(status.st_mtim) == piece->file_mtime &&
           scp_ns_of(status.st_ctim) << SCP_VM_ORIGIN_SHIFT >> SCP_VM_ORIGIN_SHIFT == piece->file_ctime;
}

// The piece from its file; what is past its end is zero. False also where all of it is zero: that is not worth storing.
static bool read_piece(struct scp_checkpoint *checkpoint, const struct scp_region *region,
                       const struct scp_file_piece *piece) {
    struct scp_memory *memory = checkpoint->image_private;
    int file = scp_open_mapped(region, (const char *)checkpoint->strings.base + region->path);
    if (file < 0)
        return false;
    uint64_t left = piece->file_size - piece->offset, length = left < piece->length ? left : piece->length;
    memset(memory->staging, 0, piece->length);
    bool sound = read_all(file, memory->staging, length, piece->offset) && is_unchanged(file, piece);
    scp_call(SYS_close, file);
    return sound && (memory->staging[0] != 0 || memcmp(memory->staging, memory->staging + 1, length - 1) != 0);
}

static const struct scp_file_piece *write_piece(struct scp_checkpoint *checkpoint, const struct scp_file_piece *piece) {
    struct scp_memory *memory = checkpoint->image_private;
    struct scp_file_pages *pages = &memory->file_pages;
    struct scp_file_record record;
    memset(&record, 0, sizeof record);
    record.device = piece->device;
    record.inode = piece->inode;
    record.file_size = piece->file_size;
    record.file_mtime = piece->file_mtime;
    record.file_ctime = piece->file_ctime;
    record.offset = piece->offset;
    record.length = piece->length;
    for (size_t i = 0; i < piece->length / SCP_PAGE; i++)
        record.sums[i] = scp_checksum(memory->staging + i * SCP_PAGE, SCP_PAGE, 0);
    record.checksum = record_checksum(&record);
    uint64_t at = pages->known_end, place = at + SCP_DATA_OFFSET;
    if (!write_all(checkpoint, memory->staging, piece->length, place) ||
        !write_all(checkpoint, &record, sizeof record, at)) {
        pages->useless = true; // the disk is full, perhaps: then the image will say so
        return NULL;
    }
    // The disk begins with it at once: the coordinator will wait for the whole.
    scp_call(SYS_sync_file_range, pages->descriptor, place, piece->length, SYNC_FILE_RANGE_WRITE);
    scp_sink_keep_limit(checkpoint, piece->length);
    pages->known_end = place + piece->length;
    return keep_record(memory, &record, place);
}

static const struct scp_file_piece *add_piece(struct scp_checkpoint *checkpoint, const struct scp_region *region,
                                              const struct scp_file_piece *wanted) {
    struct scp_memory *memory = checkpoint->image_private;
    struct scp_file_pages *pages = &memory->file_pages;
    if (pages->descriptor < 0 && !open_own(checkpoint)) {
        pages->useless = true;
        return NULL;
    }
    const struct scp_file_piece *found = look_up_new(memory, wanted);
    if (found != NULL)
        return found;
    if (!lock(pages)) {
        pages->useless = true;
        return NULL;
    }
    found = look_up_new(memory, wanted);
    if (found == NULL && read_piece(checkpoint, region, wanted))
        found = write_piece(checkpoint, wanted);
    unlock(pages);
    return found;
}

// ---- for the image -----------------------------------------------------------------------------------------------------------

static bool may_share(const struct scp_checkpoint *checkpoint, const struct scp_region *region) {
    const struct scp_memory *memory = checkpoint->image_private;
    return !(checkpoint->order->flags & SCP_CHECKPOINT_ALONE) && !memory->file_pages.useless &&
           memory->encoder == NULL && region->kind == SCP_REGION_FILE &&
           !(region->flags & (SCP_REGION_DELETED | SCP_REGION_HUGETLB)) && !(region->vm_flags & SCP_VM_LAZY);
}

// The piece of the region's file that has what is mapped at the address.
static struct scp_file_piece piece_at(const struct scp_region *region, uint64_t at) {
    uint64_t here = region->file_offset + (at - region->start), start = here & ~(uint64_t)(SCP_BLOCK_MAXIMUM - 1);
    uint64_t end = start + SCP_BLOCK_MAXIMUM, mapped_end = region->file_offset + (region->end - region->start);
    uint64_t file_end = (region->file_size + SCP_PAGE - 1) & ~(uint64_t)(SCP_PAGE - 1);
    if (start < region->file_offset)
        start = region->file_offset;
    if (end > mapped_end)
        end = mapped_end;
    if (end > file_end)
        end = file_end;
    return (struct scp_file_piece){.device = region->device,
                                   .inode = region->inode,
                                   .file_size = region->file_size,
                                   .file_mtime = region->file_mtime,
                                   .file_ctime = region->vm_flags >> SCP_VM_ORIGIN_SHIFT,
                                   .offset = start,
                                   .length = end > here ? end - start : 0};
}

bool scp_file_pages_find(struct scp_checkpoint *checkpoint, const struct scp_region *region, uint64_t at, uint64_t end,
                         struct scp_block *block) {
    struct scp_memory *memory = checkpoint->image_private;
    struct scp_file_pages *pages = &memory->file_pages;
    struct scp_file_piece wanted = piece_at(region, at);
    if (!may_share(checkpoint, region) || wanted.length < WORTH_BYTES)
        return false;
    bool round = memory->pass == SCP_PASS_ROUND;
    if (!pages->ready && (!round || !begin(checkpoint))) {
        pages->useless = true;
        return false;
    }
    const struct scp_file_piece *found = look_up(pages, &wanted);
    if (found == NULL && round)
        found = add_piece(checkpoint, region, &wanted);
    uint32_t number = found == NULL ? 0 : number_of(memory, found->source);
    if (number == 0)
        return false;
    uint64_t skip = region->file_offset + (at - region->start) - found->offset, rest = found->length - skip;
    uint64_t length = end - at < rest ? end - at : rest;
    *block = (struct scp_block){.address = at,
                                .length = length,
                                .offset = found->place + skip,
                                .stored_length = length,
                                .checksum = found->sums + skip / SCP_PAGE,
                                .file = number};
    return true;
}
