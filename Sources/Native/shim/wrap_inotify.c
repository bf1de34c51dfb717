// inotify_add_watch: the one thing about descriptors that cannot be learned later is the path a watch was set on.
//
// Paths are kept in mapped memory that is part of every image. Records are only ever added, by compare-and-swap: a thread
// may be stopped anywhere in here, a child may be forked meanwhile, and a signal handler may come back in.
// A path that was given before with the same result is not kept twice.
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "descriptors.h"

#define BUCKETS 1024
#define ARENA_BYTES (256u << 10)

struct record {
    struct record *next;
    int watch;
    char path[];
};
struct arena {
    _Atomic size_t used; // bytes, this header included
    char bytes[];
};

static _Atomic(struct record *) buckets[BUCKETS];
static _Atomic(struct arena *) arena;

static uint32_t bucket_of(int watch) {
    return (uint32_t)watch % BUCKETS;
}

static bool arena_renew(struct arena *full) {
    long memory = scp_call(SYS_mmap, scp_lasting_place(ARENA_BYTES), ARENA_BYTES, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory < 0 && memory >= -4095)
        return false;
    struct arena *fresh = (struct arena *)memory;
    atomic_store(&fresh->used, sizeof *fresh);
    if (!atomic_compare_exchange_strong(&arena, &full, fresh))
        scp_call(SYS_munmap, memory, ARENA_BYTES); // another thread was quicker
    return true;
}

static struct record *record_new(size_t bytes) {
    bytes = (bytes + 15) & ~(size_t)15;
    for (;;) {
        struct arena *current = atomic_load(&arena);
        size_t at = current == NULL ? ARENA_BYTES : atomic_fetch_add(&current->used, bytes);
        if (at + bytes <= ARENA_BYTES)
            return (struct record *)((char *)current + at);
        if (!arena_renew(current))
            return NULL;
    }
}

static bool known(int watch, const char *directory, const char *path) {
    size_t length = strlen(directory);
    for (struct record *record = atomic_load(&buckets[bucket_of(watch)]); record != NULL; record = record->next)
        if (record->watch == watch && strncmp(record->path, directory, length) == 0 &&
            strcmp(record->path + length, path) == 0)
            return true;
    return false;
}

// The latest record of a number comes first: a repeated path need not move up, its stat decides.
static void remember(int watch, const char *path) {
    char directory[4096] = "";
    if (path[0] != '/') {
        if (scp_call(SYS_getcwd, directory, sizeof directory - 1) < 0)
            return;
        strcat(directory, "/");
    }
    if (known(watch, directory, path))
        return;
    struct record *record = record_new(sizeof *record + strlen(directory) + strlen(path) + 1);
    if (record == NULL)
        return;
    record->watch = watch;
    strcpy(record->path, directory);
    strcat(record->path, path);
    _Atomic(struct record *) *head = &buckets[bucket_of(watch)];
    record->next = atomic_load(head);
    while (!atomic_compare_exchange_weak(head, &record->next, record))
        ;
}

const char *scp_inotify_path(int watch, bool (*fits)(const char *path, void *argument), void *argument) {
    for (struct record *record = atomic_load(&buckets[bucket_of(watch)]); record != NULL; record = record->next)
        if (record->watch == watch && fits(record->path, argument))
            return record->path;
    return NULL;
}

bool scp_inotify_is_used(void) {
    return atomic_load(&arena) != NULL;
}

// Exported in the place of libc's (inotify_add_watch(2)): same arguments, same result, same errno.
__attribute__((visibility("default"))) int inotify_add_watch(int descriptor, const char *path, uint32_t mask) {
    long watch = scp_call(SYS_inotify_add_watch, descriptor, path, mask);
    if (watch < 0) {
        errno = (int)-watch;
        return -1;
    }
    remember((int)watch, path);
    return (int)watch;
}
