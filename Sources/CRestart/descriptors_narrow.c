// Puts numbers in place when the table has no room for two descriptors of everything (more than half of RLIMIT_NOFILE). Each
// object goes to its home, the lowest number that refers to it; what stands there moves to the one spare number, which is
// given back by the object that left for its home: at most two moves for each.
#include "call.h"
#include "descriptors_placing.h"

#include <sys/mman.h>

struct narrow {
    struct placing *placing;
    int32_t *home; // by object; -1 = not of this process, -2 = none of its numbers, but an epoll set wants it
    int32_t
        *occupant; // by number up to the highest: the object that stands there, -1 = none, -2 - n = kept descriptor n
    int32_t numbers; // entries of occupant
};

static int control(int descriptor, int command, long argument) {
    return (int)crestart_call3(SYS_fcntl, descriptor, command, argument);
}

static void find_homes(const struct narrow *narrow) {
    const struct placing *placing = narrow->placing;
    const struct crestart_descriptors *made = placing->made;
    for (uint32_t i = 0; i < made->tables.object_count; i++)
        narrow->home[i] = -1;
    for (size_t i = 0; i < made->watch_order_count; i++) {
        const struct scp_watch *watch = &made->tables.watches[made->watch_order[i]];
        if (made->tables.object_members[watch->object] != placing->member)
            continue;
        narrow->home[watch->object] = -2;
        narrow->home[watch->target_object] = -2;
    }
    for (uint32_t i = placing->descriptor_count; i-- > 0;) // the lowest comes last
        narrow->home[placing->descriptors[i].object] = placing->descriptors[i].number;
}

static void note(const struct narrow *narrow, uint32_t object, int number) {
    int before = narrow->placing->working[object];
    if (before >= 0 && before < narrow->numbers && narrow->occupant[before] == (int32_t)object)
        narrow->occupant[before] = -1;
    narrow->placing->working[object] = number;
    if (number >= 0 && number < narrow->numbers)
        narrow->occupant[number] = (int32_t)object;
}

static void close_foreign(const struct narrow *narrow) {
    struct placing *placing = narrow->placing;
    for (int32_t i = 0; i < narrow->numbers; i++)
        narrow->occupant[i] = -1;
    for (uint32_t i = 0; i < placing->made->tables.object_count; i++) {
        int number = placing->working[i];
        if (number > 2 && narrow->home[i] == -1) {
            crestart_call1(SYS_close, number);
            placing->working[i] = -1;
        } else if (number >= 0) {
            note(narrow, i, number);
        }
    }
}

static void note_kept(const struct narrow *narrow, int32_t kept, int number) {
    int before = narrow->placing->keep[kept];
    if (before >= 0 && before < narrow->numbers && narrow->occupant[before] == -2 - kept)
        narrow->occupant[before] = -1;
    narrow->placing->keep[kept] = number;
    if (number >= 0 && number < narrow->numbers)
        narrow->occupant[number] = -2 - kept;
}

// To any free number above the standard streams; the one it stood on becomes free.
static int move_to_spare(const struct narrow *narrow, int32_t occupant, int before) {
    int flags = control(before, F_GETFD, 0);
    int spare = control(before, F_DUPFD_CLOEXEC, 3);
    if (spare < 0)
        return spare;
    if (occupant >= 0)
        note(narrow, (uint32_t)occupant, spare);
    else
        note_kept(narrow, -2 - occupant, spare);
    if (occupant < 0 && !(flags & FD_CLOEXEC))
        control(spare, F_SETFD, 0);
    if (before > 2)
        crestart_call1(SYS_close, before);
    return 0;
}

static int go_home(const struct narrow *narrow, uint32_t object) {
    int home = narrow->home[object], before = narrow->placing->working[object];
    if (home < 0 || before < 0 || before == home)
        return 0;
    int32_t other = narrow->occupant[home];
    if (other != -1) {
        int result = move_to_spare(narrow, other, home);
        if (result < 0)
            return result;
    }
    int result = (int)crestart_call3(SYS_dup3, before, home, 0);
    if (result < 0)
        return result;
    note(narrow, object, home);
    if (before > 2)
        crestart_call1(SYS_close, before);
    return 0;
}

// A kept one, or one that only an epoll set wants, off the process's numbers: when all homes are taken there is room above.
static int move_off(const struct placing *placing, int *descriptor) {
    if (*descriptor < 0 || !crestart_is_target(placing, *descriptor))
        return 0;
    int flags = control(*descriptor, F_GETFD, 0);
    int moved = control(*descriptor, F_DUPFD_CLOEXEC, 3);
    while (moved >= 0 && crestart_is_target(placing, moved)) {
        crestart_call1(SYS_close, moved);
        moved = control(*descriptor, F_DUPFD_CLOEXEC, moved + 1);
    }
    if (moved < 0)
        return moved;
    if (!(flags & FD_CLOEXEC))
        control(moved, F_SETFD, 0);
    crestart_call1(SYS_close, *descriptor);
    *descriptor = moved;
    return 0;
}

static int settle(const struct narrow *narrow) {
    struct placing *placing = narrow->placing;
    int result = 0;
    find_homes(narrow);
    close_foreign(narrow);
    for (size_t i = 0; i < placing->keep_count; i++)
        note_kept(narrow, (int32_t)i, placing->keep[i]);
    for (uint32_t i = 0; result == 0 && i < placing->made->tables.object_count; i++)
        result = go_home(narrow, i);
    for (size_t i = 0; result == 0 && i < placing->keep_count; i++)
        result = move_off(placing, &placing->keep[i]);
    // What has no number of its own here must not stand on one that a duplicate wants.
    for (uint32_t i = 0; result == 0 && i < placing->made->tables.object_count; i++)
        if (narrow->home[i] == -2 && placing->working[i] >= 0 && crestart_is_target(placing, placing->working[i]))
            result = move_off(placing, &placing->working[i]);
    return result;
}

int crestart_place_narrowly(struct placing *placing) {
    struct narrow narrow = {.placing = placing, .numbers = placing->made->highest + 2};
    size_t bytes = ((size_t)placing->made->tables.object_count + (size_t)narrow.numbers + 1) * sizeof(int32_t);
    long memory = scp_call6(SYS_mmap, 0, (long)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory < 0 && memory > -4096)
        return (int)memory;
    narrow.home = (int32_t *)memory;
    narrow.occupant = narrow.home + placing->made->tables.object_count;
    int result = settle(&narrow);
    crestart_call2(SYS_munmap, memory, (long)bytes);
    return result;
}
