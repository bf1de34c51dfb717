// What only the process itself can put back: record locks (they belong to the process), leases and owners (they name it),
// seals (the region must be mapped and filled before) and inotify watches (they must not see the restart's own doings).
//
// The list is static memory of the shim, so it is in the image; examine fills it, the restored process works it off.
#include "descriptors.h"

#include <sys/inotify.h>
#include <sys/ioctl.h>

#define DEEDS 32768
#define SEALS_ADD 1033 /* F_ADD_SEALS */
#ifndef INOTIFY_IOC_SETNEXTWD
#define INOTIFY_IOC_SETNEXTWD _IOW('I', 0, int32_t)
#endif

static struct scp_deed deeds[DEEDS];
static uint32_t deed_count;

void scp_deeds_clear(void) {
    deed_count = 0;
}

struct scp_deed *scp_deed_add(struct scp_descriptor_work *work, enum scp_deed_kind kind, int number) {
    if (deed_count == DEEDS) {
        scp_fail(work->checkpoint, ENOSPC,
                 "more than 32768 record locks, inotify watches and descriptor owners cannot be saved", NULL);
        return NULL;
    }
    struct scp_deed *deed = &deeds[deed_count++];
    *deed = (struct scp_deed){.kind = kind, .number = number};
    return deed;
}

static long set_lock(const struct scp_deed *deed) {
    struct flock lock = {
        .l_type = (short)deed->type, .l_whence = SEEK_SET, .l_start = deed->start, .l_len = deed->length};
    return scp_call(SYS_fcntl, deed->number, F_SETLK, &lock);
}

static long set_owner(const struct scp_deed *deed) {
    struct f_owner_ex owner = {deed->type, (pid_t)deed->mask};
    if (deed->start == SCP_OWNER_PROCESS)
        owner.pid = (pid_t)scp_call(SYS_getpid);
    if (deed->start == SCP_OWNER_GROUP)
        owner.pid = (pid_t)scp_call(SYS_getpgid, 0);
    return scp_call(SYS_fcntl, deed->number, F_SETOWN_EX, &owner);
}

static long set_async(const struct scp_deed *deed) {
    long flags = scp_call(SYS_fcntl, deed->number, F_GETFL);
    return flags < 0 ? flags : scp_call(SYS_fcntl, deed->number, F_SETFL, flags | O_ASYNC);
}

// The wanted number is next (Linux 4.15, CONFIG_CHECKPOINT_RESTORE).
static long add_watch(const struct scp_deed *deed) {
    const char *path = (const char *)(uintptr_t)deed->start;
    scp_call(SYS_ioctl, deed->number, INOTIFY_IOC_SETNEXTWD, deed->type);
    long watch = scp_call(SYS_inotify_add_watch, deed->number, path, deed->mask);
    return watch < 0 || watch == deed->type ? watch : -ESTALE;
}

// Two descriptors of one memfd both ask for its seals: the second finds them there.
static long add_seals(const struct scp_deed *deed) {
    long seals = scp_call(SYS_fcntl, deed->number, SEALS_ADD + 1 /* F_GET_SEALS */);
    return seals == (long)deed->mask ? 0 : scp_call(SYS_fcntl, deed->number, SEALS_ADD, deed->mask);
}

// The terminal may have another size now: the program is told as it would have been told of the change.
static long tell_window(const struct scp_deed *deed) {
    struct winsize size = {0, 0, 0, 0};
    if (scp_call(SYS_ioctl, deed->number, TIOCGWINSZ, &size) != 0)
        return 0; // no terminal any more
    int64_t now = (int64_t)size.ws_row << 16 | size.ws_col;
    return now == deed->start ? 0 : scp_call(SYS_kill, scp_call(SYS_getpid), SIGWINCH);
}

static long do_deed(const struct scp_deed *deed) {
    switch (deed->kind) {
    case SCP_DEED_SEALS:
        return add_seals(deed);
    case SCP_DEED_OWNER:
        return set_owner(deed);
    case SCP_DEED_ASYNC:
        return set_async(deed);
    case SCP_DEED_LEASE:
        return scp_call(SYS_fcntl, deed->number, F_SETLEASE, deed->type);
    case SCP_DEED_POSIX_LOCK:
        return set_lock(deed);
    case SCP_DEED_WATCH:
        return add_watch(deed);
    case SCP_DEED_NEXT_WATCH:
        return scp_call(SYS_ioctl, deed->number, INOTIFY_IOC_SETNEXTWD, deed->type);
    case SCP_DEED_WINDOW:
        return tell_window(deed);
    }
    return -EINVAL;
}

static const char *deed_name(uint32_t kind) {
    static const char names[][40] = {
        "",
        "the seals of the memfd at",
        "the owner of",
        "signal-driven input at",
        "the lease at",
        "a record lock at",
        "an inotify watch of",
        "the next watch number of",
        "the window size of",
    };
    return kind < sizeof names / sizeof names[0] ? names[kind] : "";
}

// Runs on the leader, in the program's descriptor table. Seals come last of all: other processes of a set map the memory,
// too, and seals would not let them.
static void restore(bool seals) {
    for (uint32_t i = 0; i < deed_count; i++) {
        const struct scp_deed *deed = &deeds[i];
        if ((deed->kind == SCP_DEED_SEALS) != seals)
            continue;
        long result = do_deed(deed);
        if (result >= 0)
            continue;
        char what[128], number[24] = "";
        number[scp_decimal(number, (uint64_t)deed->number)] = '\0';
        scp_concat(what, sizeof what, deed_name(deed->kind), " descriptor ", number, NULL);
        scp_arrival_warn((int)-result, what, " cannot be restored");
    }
}

int scp_descriptors_restore(void) {
    restore(false);
    return 0;
}

int scp_descriptors_seal(void) {
    restore(true);
    return 0;
}
