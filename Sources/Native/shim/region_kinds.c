// What a line of /proc/self/maps is: private or shared, of what, and whether it can be saved at all.
// Names of kernel objects: Linux mm/shmem.c ("/dev/zero", "memfd:"), ipc/shm.c ("SYSV"), fs/aio.c ("[aio]"),
// fs/hugetlbfs/inode.c ("anon_hugepage"), mm/secretmem.c ("secretmem").
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "memory.h"
#include "worker.h"

static const char deleted_mark[] = " (deleted)";
static char in_our_data[1]; // its address tells our .bss

static bool begins(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

static bool ends(const char *text, const char *with) {
    size_t length = strlen(text), tail = strlen(with);
    return length >= tail && memcmp(text + length - tail, with, tail) == 0;
}

static int refuse(struct scp_checkpoint *checkpoint, const struct scp_region *region, const char *why) {
    char name[512];
    scp_memory_name(checkpoint, region, name);
    return scp_fail(checkpoint, ENOTSUP, "the memory at ", name, " ", why, NULL);
}

// ---- names -----------------------------------------------------------------------------------------------------------

// Only a newline is written in another way in maps: \012. Returns the string's number.
static uint32_t keep_path(struct scp_vector *strings, const char *text, size_t length) {
    char path[4200];
    size_t used = 0;
    for (size_t i = 0; i < length && used < sizeof path - 1; i++) {
        if (length - i >= 4 && memcmp(text + i, "\\012", 4) == 0) {
            path[used++] = '\n';
            i += 3;
        } else
            path[used++] = text[i];
    }
    return scp_string(strings, path, used);
}

static bool same_file(const char *path, uint64_t inode, struct stat *out) {
    return scp_call(SYS_newfstatat, AT_FDCWD, path, out, 0) == 0 && out->st_ino == inode;
}

// Finds out whether the file still has its name, and what stat says of it. Device numbers of maps are those of the
// superblock, which stat's are not everywhere (btrfs, overlayfs): stat's count.
static void identify(struct scp_checkpoint *checkpoint, const struct scp_line *line, struct scp_file_identity *out) {
    *out = (struct scp_file_identity){.name = line->path,
                                      .length = line->path_length,
                                      .maps_inode = line->inode,
                                      .device = line->device,
                                      .inode = line->inode};
    out->path = keep_path(&checkpoint->strings, line->path, line->path_length);
    char *path = (char *)checkpoint->strings.base + out->path;
    struct stat status;
    bool found = same_file(path, line->inode, &status);
    if (!found && ends(path, deleted_mark))
        path[strlen(path) - strlen(deleted_mark)] = '\0';
    out->deleted = !found;
    if (!found)
        return;
    out->device = status.st_dev;
    out->mode = status.st_mode;
    out->size = (uint64_t)status.st_size;
    out->mtime = scp_ns_of(status.st_mtim);
    out->ctime = scp_ns_of(status.st_ctim);
}

static const struct scp_file_identity *identity_of(struct scp_checkpoint *checkpoint, const struct scp_line *line) {
    struct scp_file_identity *last = &((struct scp_memory *)checkpoint->image_private)->identity;
    bool same = last->name != NULL && last->maps_inode == line->inode && last->length == line->path_length &&
                memcmp(last->name, line->path, line->path_length) == 0;
    if (!same)
        identify(checkpoint, line, last);
    return last;
}

// ---- kinds -----------------------------------------------------------------------------------------------------------

static uint64_t object_number(uint64_t device, uint64_t inode) {
    uint64_t pair[2] = {device, inode};
    return scp_checksum(pair, sizeof pair, 1) | 1; // never 0
}

static void set_shared_object(struct scp_region *region) {
    region->kind = SCP_REGION_SHARED_ANONYMOUS;
    region->object = object_number(region->device, region->inode);
}

// "[heap]", "[anon:name]" and the like.
static int classify_bracket(struct scp_checkpoint *checkpoint, struct scp_region *region, const char *name,
                            bool shared) {
    region->kind = SCP_REGION_ANONYMOUS;
    if (strcmp(name, "[heap]") == 0)
        region->flags |= SCP_REGION_HEAP;
    else if (strcmp(name, "[stack]") == 0)
        region->flags |= SCP_REGION_MAIN_STACK | SCP_REGION_GROWSDOWN;
    else if (strcmp(name, "[vdso]") == 0)
        region->kind = SCP_REGION_VDSO;
    else if (begins(name, "[vvar"))
        region->kind = SCP_REGION_VVAR;
    else if (begins(name, "[anon_shmem:") && shared)
        set_shared_object(region);
    else if (!begins(name, "[anon") && !begins(name, "[stack:"))
        return refuse(checkpoint, region,
                      "belongs to the kernel (a tracer's probes, perhaps) and cannot be saved; "
                      "remove what put it there");
    return 0;
}

// Kinds of file that are no files. NULL = can be saved.
static const char *unsavable_name(const char *path) {
    if (begins(path, "/[aio]"))
        return "is the ring of an asynchronous I/O context (io_setup), which cannot be saved; the program must "
               "destroy it before a checkpoint";
    if (begins(path, "anon_inode:[io_uring]"))
        return "is the ring of an io_uring, which cannot be saved; let the program use another I/O method "
               "(for libuv: UV_USE_IO_URING=0)";
    if (begins(path, "/secretmem"))
        return "is secret memory (memfd_secret), which the kernel shows to nobody";
    if (begins(path, "anon_inode:") || begins(path, "socket:") || begins(path, "/dmabuf:"))
        return "is a kernel object's, which cannot be saved; close it before a checkpoint";
    return NULL;
}

static void classify_shared(struct scp_region *region, const char *path, bool deleted) {
    if (deleted && begins(path, "/SYSV")) {
        region->kind = SCP_REGION_SYSV;
        region->object = region->inode; // the inode number of a segment is its id
    } else if (deleted)
        set_shared_object(region);
    else
        region->kind = SCP_REGION_SHARED_FILE;
}

static void classify_private(struct scp_region *region, const char *path, bool deleted) {
    region->kind = SCP_REGION_FILE;
    if (!deleted && strcmp(path, "/dev/zero") == 0)
        region->kind = SCP_REGION_DEVICE_ZERO;
    else if (deleted && strcmp(path, "/anon_hugepage") == 0) {
        region->kind = SCP_REGION_ANONYMOUS;
        region->flags |= SCP_REGION_HUGETLB;
    } else if (scp_names_image(path)) {
        region->kind = SCP_REGION_ANONYMOUS;
        region->vm_flags |= SCP_VM_LAZY;
    }
}

// A clean page of memory restored lazily is told from others by this.
static uint64_t lazy_origin(const struct scp_region *region) {
    uint64_t origin[] = {region->device, region->inode, region->file_offset - region->start};
    return scp_checksum(origin, sizeof origin, 0) << SCP_VM_ORIGIN_SHIFT;
}

static int classify_file(struct scp_checkpoint *checkpoint, struct scp_region *region, const struct scp_line *line) {
    const struct scp_file_identity *file = identity_of(checkpoint, line);
    const char *path = (const char *)checkpoint->strings.base + file->path;
    region->path = file->path;
    region->device = file->device;
    region->inode = file->inode;
    region->file_size = file->size;
    region->file_mtime = file->mtime;
    const char *why = unsavable_name(path);
    bool zero = strcmp(path, "/dev/zero") == 0;
    if (why == NULL && !zero && !file->deleted && (S_ISCHR(file->mode) || S_ISBLK(file->mode)))
        why = "is a device's, which cannot be saved; let the program close it before a checkpoint";
    if (why != NULL)
        return refuse(checkpoint, region, why);
    if (file->deleted)
        region->flags |= SCP_REGION_DELETED;
    if (line->shared)
        classify_shared(region, path, file->deleted);
    else
        classify_private(region, path, file->deleted);
    if (region->vm_flags & SCP_VM_LAZY) {
        region->vm_flags |= lazy_origin(region);
        if (scp_lazy_note(checkpoint->image_private, region, path) < 0)
            return scp_fail(checkpoint, ENOMEM, "no memory for the table of memory restored lazily", NULL);
    }
    if (region->kind == SCP_REGION_FILE)
        region->vm_flags |= file->ctime << SCP_VM_ORIGIN_SHIFT;
    if (region->kind == SCP_REGION_ANONYMOUS) { // in all but name
        region->path = 0;
        region->flags &= ~(uint32_t)SCP_REGION_DELETED;
        region->device = region->inode = region->file_size = region->file_mtime = region->file_offset = 0;
    }
    return 0;
}

static int apply_mark(struct scp_checkpoint *checkpoint, struct scp_region *region, const struct scp_mark *mark) {
    if (region->kind == SCP_REGION_VVAR || region->kind == SCP_REGION_VDSO)
        return 0; // the kernel's own pages carry flags of their own
    if (mark->trouble == SCP_TROUBLE_DEVICE)
        return refuse(checkpoint, region,
                      "is mapped from a device, which cannot be saved; let the program close it "
                      "before a checkpoint");
    if (mark->trouble == SCP_TROUBLE_USERFAULT)
        return refuse(checkpoint, region, "is registered with a userfaultfd, whose state cannot be saved");
    if (mark->trouble == SCP_TROUBLE_SHADOW_STACK)
        return refuse(checkpoint, region,
                      "is a shadow stack, which cannot be saved; start the program with "
                      "GLIBC_TUNABLES=glibc.cpu.x86_shstk=off");
    if (mark->trouble == SCP_TROUBLE_PROTECTION_KEY)
        return refuse(checkpoint, region, "has a protection key (pkey_mprotect), which cannot be saved");
    region->flags |= mark->flags;
    if (mark->flags & SCP_REGION_HUGETLB)
        region->vm_flags |= mark->huge_shift;
    if (mark->droppable)
        region->vm_flags |= SCP_VM_DROPPABLE;
    return 0;
}

int scp_region_classify(struct scp_checkpoint *checkpoint, struct scp_region *region, const struct scp_line *line,
                        const struct scp_mark *mark) {
    int result = 0;
    region->protection = line->protection;
    region->file_offset = line->offset;
    region->device = line->device;
    region->inode = line->inode;
    if (line->path_length == 0) {
        region->kind = SCP_REGION_ANONYMOUS;
        region->file_offset = 0;
    } else if (line->path[0] == '[') {
        region->path = keep_path(&checkpoint->strings, line->path, line->path_length);
        result =
            classify_bracket(checkpoint, region, (const char *)checkpoint->strings.base + region->path, line->shared);
    } else
        result = classify_file(checkpoint, region, line);
    return result < 0 || mark == NULL ? result : apply_mark(checkpoint, region, mark);
}

static bool holds(const struct scp_region *region, const void *address) {
    return (uintptr_t)address >= region->start && (uintptr_t)address < region->end;
}

void scp_regions_mark_shim(struct scp_checkpoint *checkpoint) {
    const struct scp_region *code = NULL;
    for (size_t i = 0; i < checkpoint->regions.count && code == NULL; i++) {
        const struct scp_region *region = scp_vector_at(&checkpoint->regions, i);
        if (holds(region, (const void *)(uintptr_t)scp_regions_mark_shim))
            code = region;
    }
    for (size_t i = 0; i < checkpoint->regions.count && code != NULL; i++) {
        struct scp_region *region = scp_vector_at(&checkpoint->regions, i);
        bool of_file = region->inode == code->inode && region->device == code->device && region->inode != 0;
        if (of_file || holds(region, in_our_data))
            region->flags |= SCP_REGION_SHIM;
    }
}
