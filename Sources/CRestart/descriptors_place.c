// Puts the numbers of one process in place. Runs in that process before exec. Its descriptor table is its own, its memory
// may be everybody's: nothing of `made` is changed, no heap, no errno; what changes stands in fresh pages of its own.
//
//   1. what can be opened here only (files of /proc/self, pidfds)
//   2. every working descriptor and every kept one that stands on a number of the process moves off it; where the limit leaves
//      no room for twice as many descriptors, they change places one by one (descriptors_narrow.c)
//   3. dup3 onto the process's numbers
//   4. epoll sets; entries under a number that has another file now are added under a borrowed number
//   5. everything else is closed
#include "call.h"
#include "descriptors_placing.h"

#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>

static int control(int descriptor, int command, long argument) {
    return (int)crestart_call3(SYS_fcntl, descriptor, command, argument);
}

static int duplicate_to(int from, int to, int flags) {
    return (int)crestart_call3(SYS_dup3, from, to, flags);
}

static void shut(int descriptor) {
    crestart_call1(SYS_close, descriptor);
}

static int raise_limit_to(int32_t highest) {
    struct rlimit limit = {0, 0};
    long result = crestart_call4(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, crestart_pointer(&limit));
    if (result != 0)
        return (int)result;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        crestart_call4(SYS_prlimit64, 0, RLIMIT_NOFILE, crestart_pointer(&limit), 0);
    }
    return highest >= 0 && (rlim_t)highest >= limit.rlim_cur ? -EMFILE : 0;
}

// The tables are sorted by number: the shim writes them so, crestart_validate checks it. The first entry >= number.
static uint32_t first_from(const struct placing *placing, int number) {
    uint32_t low = 0, high = placing->descriptor_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (placing->descriptors[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct scp_descriptor *find_number(const struct placing *placing, int number) {
    uint32_t index = first_from(placing, number);
    const struct scp_descriptor *found = placing->descriptors + index;
    return index < placing->descriptor_count && found->number == number ? found : NULL;
}

bool crestart_is_target(const struct placing *placing, int number) {
    return find_number(placing, number) != NULL;
}

static bool fills_set(const struct placing *placing, const struct scp_watch *watch) {
    return placing->made->tables.object_members[watch->object] == placing->member;
}

// ---- what is opened here ---------------------------------------------------------------------------------------------

static bool has_object(const struct placing *placing, uint32_t object) {
    const struct crestart_descriptors *made = placing->made;
    for (uint32_t i = 0; i < placing->descriptor_count; i++)
        if (placing->descriptors[i].object == object)
            return true;
    for (size_t i = 0; i < made->watch_order_count; i++) {
        const struct scp_watch *watch = &made->tables.watches[made->watch_order[i]];
        if (fills_set(placing, watch) && (uint32_t)watch->target_object == object)
            return true;
    }
    return false;
}

static long open_one(const struct crestart_late *late) {
    if (late->flags != -1)
        return crestart_call4(SYS_openat, AT_FDCWD, crestart_pointer(late->path), late->flags | O_CLOEXEC, 0);
    return crestart_call2(SYS_pidfd_open, late->pid != 0 ? late->pid : crestart_call1(SYS_getpid, 0), 0);
}

static int open_late(struct placing *placing, int *failed) {
    const struct crestart_descriptors *made = placing->made;
    for (size_t i = 0; i < made->late_count; i++) {
        const struct crestart_late *late = &made->late[i];
        if (!has_object(placing, late->object))
            continue;
        long descriptor = open_one(late);
        if (descriptor == -ENOENT && placing->working[late->object] >= 0)
            continue;
        if (descriptor < 0) {
            *failed = made->lowest[late->object];
            return (int)descriptor;
        }
        placing->working[late->object] = (int)descriptor;
        if (late->flags == -1 && (made->tables.objects[late->object].status & O_NONBLOCK))
            control((int)descriptor, F_SETFL, O_NONBLOCK);
        if (late->position > 0)
            crestart_call3(SYS_lseek, descriptor, late->position, SEEK_SET);
    }
    return 0;
}

// ---- moving out of the way -------------------------------------------------------------------------------------------

// A free number that is none of the process's: above the highest, or in a gap when the limit is in the way.
static int move_off(const struct placing *placing, int descriptor) {
    int flags = control(descriptor, F_GETFD, 0);
    int moved = control(descriptor, F_DUPFD_CLOEXEC, placing->made->highest + 1);
    for (int from = 3; moved < 0 || crestart_is_target(placing, moved); from = moved + 1) {
        if (moved >= 0)
            shut(moved);
        moved = control(descriptor, F_DUPFD_CLOEXEC, from);
        if (moved < 0)
            return moved;
    }
    if (flags >= 0 && !(flags & FD_CLOEXEC))
        control(moved, F_SETFD, 0);
    shut(descriptor);
    return moved;
}

static int move_one(const struct placing *placing, int *descriptor) {
    if (*descriptor < 0 || *descriptor > placing->made->highest || !crestart_is_target(placing, *descriptor))
        return 0;
    int moved = move_off(placing, *descriptor);
    if (moved < 0)
        return moved;
    *descriptor = moved;
    return 0;
}

static int move_all(struct placing *placing) {
    int result = 0;
    for (size_t i = 0; result == 0 && i < placing->keep_count; i++)
        result = move_one(placing, &placing->keep[i]);
    for (uint32_t i = 0; result == 0 && i < placing->made->tables.object_count; i++)
        result = move_one(placing, &placing->working[i]);
    return result;
}

// ---- numbers ---------------------------------------------------------------------------------------------------------

static int status_of(int descriptor, struct stat *status) {
    return (int)crestart_call4(SYS_newfstatat, descriptor, crestart_pointer(""), crestart_pointer(status),
                               AT_EMPTY_PATH);
}

static bool is_same_file(int a, int b) {
    struct stat first = {0}, second = {0};
    return status_of(a, &first) == 0 && status_of(b, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino && first.st_rdev == second.st_rdev;
}

// A terminal stands at 0, 1 and 2 with one description. This command's may be three different files (output redirected, no
// terminal at all): then each number keeps its own, which is still in place when its turn comes.
static bool keeps_stream(const struct placing *placing, const struct scp_descriptor *descriptor) {
    const struct crestart_descriptors *made = placing->made;
    const struct scp_object *entry = &made->tables.objects[descriptor->object];
    bool terminal = entry->kind == SCP_OBJECT_TERMINAL && made->options.terminal == CRESTART_TERMINAL_CURRENT;
    if (!terminal && entry->kind != SCP_OBJECT_OUTSIDE)
        return false;
    uint64_t streams = terminal ? 0 : scp_stream_bits(entry);
    if (streams != 0 && descriptor->number <= 2 && !(streams >> descriptor->number & 1))
        return false; // it was put there by the program itself (2>&1)
    int lowest = terminal ? made->lowest[descriptor->object] : crestart_stream(made, descriptor->object);
    return descriptor->number <= 2 && lowest < descriptor->number && control(descriptor->number, F_GETFD, 0) >= 0 &&
           !is_same_file(descriptor->number, placing->working[descriptor->object]);
}

static int put_numbers(struct placing *placing, int *failed) {
    for (uint32_t i = 0; i < placing->descriptor_count; i++) {
        const struct scp_descriptor *descriptor = &placing->descriptors[i];
        if (keeps_stream(placing, descriptor))
            continue;
        if (placing->working[descriptor->object] == descriptor->number) { // narrow
            control(descriptor->number, F_SETFD, 0);
            continue;
        }
        int result = duplicate_to(placing->working[descriptor->object], descriptor->number, 0);
        if (result < 0) {
            *failed = descriptor->number;
            return result;
        }
    }
    return 0;
}

// ---- epoll -----------------------------------------------------------------------------------------------------------

static int add_event(int set, int number, uint32_t events, uint64_t data, int operation) {
    struct epoll_event event = {.events = events, .data.u64 = data};
    return (int)crestart_call4(SYS_epoll_ctl, set, operation, number, crestart_pointer(&event));
}

// A one-shot entry that has fired: fire it again if it can be, so that nothing is armed; else leave it with the two
// conditions that cannot be switched off. It stands first in the set, so that nothing else can come out.
static int add_used_up(int set, int number, const struct scp_watch *watch) {
    struct epoll_event event = {0};
    uint32_t wide = EPOLLONESHOT | EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP;
    int result = add_event(set, number, wide, watch->data, EPOLL_CTL_ADD);
    if (result != 0)
        return result;
    if (scp_call6(SYS_epoll_pwait, set, crestart_pointer(&event), 1, 0, 0, 8) == 1)
        return 0;
    return add_event(set, number, watch->events, watch->data, EPOLL_CTL_MOD);
}

static bool is_used_up(const struct scp_watch *watch) {
    return (watch->events & EPOLLONESHOT) &&
           (watch->events & ~(EPOLLONESHOT | EPOLLET | EPOLLWAKEUP | EPOLLEXCLUSIVE)) == 0;
}

static int add_watch(const struct placing *placing, const struct scp_watch *watch) {
    int set = placing->working[watch->object];
    return is_used_up(watch) ? add_used_up(set, watch->target, watch)
                             : add_event(set, watch->target, watch->events, watch->data, EPOLL_CTL_ADD);
}

static bool stands_there(const struct placing *placing, const struct scp_watch *watch) {
    const struct scp_descriptor *found = find_number(placing, watch->target);
    return found != NULL && found->object == (uint32_t)watch->target_object;
}

// The file has left the number it was added under: it gets it back for the moment of adding.
static int add_stale(const struct placing *placing, const struct scp_watch *watch) {
    bool occupied = crestart_is_target(placing, watch->target);
    int saved = occupied ? control(watch->target, F_DUPFD_CLOEXEC, 0) : -1;
    if (occupied && saved < 0)
        return saved;
    int result = duplicate_to(placing->working[watch->target_object], watch->target, O_CLOEXEC);
    if (result >= 0)
        result = add_watch(placing, watch);
    if (occupied) {
        duplicate_to(saved, watch->target, 0);
        shut(saved);
    } else {
        shut(watch->target);
    }
    return result;
}

// A working or kept descriptor may stand on the number of a stale entry: it has to be off it, too.
static int clear_number(struct placing *placing, int number) {
    int result = 0;
    for (size_t i = 0; result >= 0 && i < placing->keep_count; i++)
        if (placing->keep[i] == number)
            placing->keep[i] = result = move_off(placing, number);
    for (uint32_t i = 0; result >= 0 && i < placing->made->tables.object_count; i++)
        if (placing->working[i] == number && !crestart_is_target(placing, number))
            placing->working[i] = result = move_off(placing, number);
    return result < 0 ? result : 0;
}

static int fill_sets(struct placing *placing, int *failed) {
    const struct crestart_descriptors *made = placing->made;
    for (size_t i = 0; i < made->watch_order_count; i++) {
        const struct scp_watch *watch = &made->tables.watches[made->watch_order[i]];
        if (!fills_set(placing, watch))
            continue;
        *failed = watch->target;
        int result;
        if (stands_there(placing, watch)) {
            result = add_watch(placing, watch);
        } else {
            result = clear_number(placing, watch->target);
            if (result == 0)
                result = add_stale(placing, watch);
        }
        if (result != 0)
            return result;
    }
    *failed = -1;
    return 0;
}

// ---- closing ---------------------------------------------------------------------------------------------------------

static void close_between(unsigned first, unsigned last) {
    if (first > last || crestart_call3(SYS_close_range, first, last, 0) == 0)
        return;
    struct rlimit limit = {0, 0}; // before Linux 5.9
    crestart_call4(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, crestart_pointer(&limit));
    for (unsigned number = first; number <= last && number < limit.rlim_cur; number++)
        shut((int)number);
}

// The smallest number >= from that stays, or -1.
static int next_staying(const struct placing *placing, int from) {
    int lowest = -1;
    for (size_t i = 0; i < placing->keep_count; i++)
        if (placing->keep[i] >= from && (lowest < 0 || placing->keep[i] < lowest))
            lowest = placing->keep[i];
    uint32_t index = first_from(placing, from);
    if (index < placing->descriptor_count && (lowest < 0 || placing->descriptors[index].number < lowest))
        lowest = placing->descriptors[index].number;
    return lowest;
}

static void close_others(const struct placing *placing) {
    int from = 0;
    for (;;) {
        int staying = next_staying(placing, from);
        if (staying < 0)
            break;
        if (staying > from)
            close_between((unsigned)from, (unsigned)staying - 1);
        from = staying + 1;
    }
    close_between((unsigned)from, ~0u);
}

// ---- the whole -------------------------------------------------------------------------------------------------------

static int copy_working(struct placing *placing) {
    const struct crestart_descriptors *made = placing->made;
    placing->working_bytes = ((size_t)made->tables.object_count + 1) * sizeof *placing->working;
    long copy = scp_call6(SYS_mmap, 0, (long)placing->working_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (copy < 0 && copy > -4096)
        return (int)copy;
    placing->working = (int *)copy;
    for (uint32_t i = 0; i < made->tables.object_count; i++)
        placing->working[i] = made->working[i];
    return 0;
}

int crestart_descriptors_place(const struct crestart_descriptors *made, uint32_t member, int *keep, size_t keep_count,
                               int *failed) {
    *failed = -1;
    const struct crestart_member *entry = &made->tables.members[member];
    struct placing placing = {.made = made,
                              .member = member,
                              .descriptors = made->tables.descriptors + entry->first_descriptor,
                              .descriptor_count = entry->descriptor_count,
                              .keep = keep,
                              .keep_count = keep_count};
    int32_t highest = entry->descriptor_count > 0 ? placing.descriptors[entry->descriptor_count - 1].number : -1;
    int result = raise_limit_to(highest);
    if (result == 0)
        result = copy_working(&placing);
    if (result != 0)
        return result;
    result = open_late(&placing, failed);
    if (result == 0)
        result = move_all(&placing);
    if (result == -EMFILE)
        result = crestart_place_narrowly(&placing);
    if (result == 0)
        result = put_numbers(&placing, failed);
    if (result == 0)
        result = fill_sets(&placing, failed);
    if (result == 0)
        close_others(&placing);
    crestart_call2(SYS_munmap, crestart_pointer(placing.working), (long)placing.working_bytes);
    return result;
}
