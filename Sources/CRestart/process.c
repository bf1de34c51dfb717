// A process of the program, from a skeleton with the right identity to the restorer.
//
//   capabilities, working directory, descriptors, numbers into the plan, exec of swiftcp_restorer
// Skeletons may share swiftcp_restart's memory until they execute: system calls alone, no lock, no heap, no errno, and
// nothing that all see is changed.
#include "crestart_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/uio.h>
#include <unistd.h>

#include "call.h"
#include "swiftcp_plan.h"

int crestart_plan_create(const void *bytes, size_t length) {
    int file = memfd_create("swiftcp_plan", MFD_CLOEXEC);
    if (file < 0)
        return -errno;
    int result = crestart_plan_change(file, 0, bytes, length);
    if (result < 0) {
        close(file);
        return result;
    }
    return file;
}

int crestart_plan_change(int plan, uint64_t offset, const void *bytes, size_t length) {
    size_t done = 0;
    while (done < length) {
        long count = crestart_call4(SYS_pwrite64, plan, crestart_pointer((const char *)bytes + done),
                                    (long)(length - done), (long)(offset + done));
        if (count == -EINTR)
            continue;
        if (count < 0)
            return (int)count;
        done += (size_t)count;
    }
    return 0;
}

// ---- in the new process ----------------------------------------------------------------------------------------------

static _Noreturn void give_up(int status, int error, const char *why) {
    struct scp_arrival_report report = {.state = SCP_ARRIVAL_FAILED, .error = error};
    strncpy(report.text, why, sizeof report.text - 1);
    crestart_call3(SYS_write, status, crestart_pointer(&report), sizeof report);
    for (;;)
        crestart_call1(SYS_exit_group, 122);
}

static int place(const struct crestart_set *set, uint32_t process, int *keep, size_t count, int *failed) {
    int result = crestart_descriptors_place(set->made, process, keep, count, failed);
    for (size_t i = 0; i < count && result >= 0; i++)
        if (keep[i] >= 0)
            result = (int)crestart_call3(SYS_fcntl, keep[i], F_SETFD, 0);
    return result;
}

static void decimal(char *out, unsigned value) {
    char digits[12];
    int length = 0;
    do
        digits[length++] = (char)('0' + value % 10);
    while (value /= 10);
    while (length > 0)
        *out++ = digits[--length];
    *out = 0;
}

static _Noreturn void exec_restorer(const struct crestart_set *set, const int *keep) {
    char number[12];
    decimal(number, (unsigned)keep[SCP_PLAN_DESCRIPTOR_PLAN]);
    char name[] = "swiftcp_restorer", *words[] = {name, number, NULL}, *environment[] = {NULL};
    long result = crestart_call3(SYS_execve, crestart_pointer(set->restorer), crestart_pointer(words),
                                 crestart_pointer(environment));
    give_up(keep[SCP_PLAN_DESCRIPTOR_STATUS], (int)-result, "cannot execute swiftcp_restorer");
}

// In a user namespace whose user is not root an exec drops all capabilities but the ambient ones; the restorer needs
// two for thread ids and /proc/self/exe (before Linux 5.9 the one, since then the other). The shim drops all of them.
static int keep_capabilities(void) {
    static const int kept[] = {21, 40}; // CAP_SYS_ADMIN, CAP_CHECKPOINT_RESTORE
    struct {
        uint32_t version;
        int pid;
    } header = {0x20080522, 0}; // _LINUX_CAPABILITY_VERSION_3
    struct {
        uint32_t effective, permitted, inheritable;
    } data[2];
    long result = crestart_call2(SYS_capget, crestart_pointer(&header), crestart_pointer(data));
    if (result < 0)
        return (int)result;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        data[kept[i] / 32].inheritable |= data[kept[i] / 32].permitted & 1u << kept[i] % 32;
    result = crestart_call2(SYS_capset, crestart_pointer(&header), crestart_pointer(data));
    if (result < 0)
        return (int)result;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (data[kept[i] / 32].inheritable & 1u << kept[i] % 32)
            crestart_call5(SYS_prctl, 47, 2, kept[i], 0, 0); // PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE
    return 0;
}

static size_t list_kept(const struct crestart_process *process, int *keep) {
    keep[SCP_PLAN_DESCRIPTOR_PLAN] = process->plan;
    keep[SCP_PLAN_DESCRIPTOR_IMAGE] = process->image;
    keep[SCP_PLAN_DESCRIPTOR_STATUS] = process->status;
    keep[SCP_PLAN_DESCRIPTOR_EXECUTABLE] = process->executable;
    keep[SCP_PLAN_DESCRIPTOR_GO] = process->go;
    keep[SCP_PLAN_DESCRIPTOR_PROGRESS] = process->progress;
    for (size_t i = 0; i < process->object_count; i++)
        keep[SCP_PLAN_DESCRIPTOR_OBJECTS + i] = process->objects[i];
    return SCP_PLAN_DESCRIPTOR_OBJECTS + process->object_count;
}

void crestart_process_finish(void *argument, uint32_t index) {
    const struct crestart_set *set = argument;
    const struct crestart_process *process = &set->processes[index];
    int keep[CRESTART_KEEP_MAXIMUM], failed = -1;
    uint64_t all = ~0ull;
    crestart_call4(SYS_rt_sigprocmask, SIG_SETMASK, crestart_pointer(&all), 0, sizeof all);
    if (SCP_PLAN_DESCRIPTOR_OBJECTS + process->object_count > CRESTART_KEEP_MAXIMUM)
        give_up(process->status, EMFILE, "too many shared memories in one process");
    int result = set->keep_capabilities ? keep_capabilities() : 0;
    if (result < 0)
        give_up(process->status, -result, "cannot keep the capabilities that restoring thread ids needs");
    result = (int)crestart_call1(SYS_chdir, crestart_pointer(process->directory));
    if (result < 0)
        give_up(process->status, -result, "cannot enter the program's working directory");
    size_t count = list_kept(process, keep);
    result = place(set, index, keep, count, &failed);
    if (result < 0) {
        char why[64] = "cannot put the program's descriptors in place";
        if (failed >= 0)
            snprintf(why, sizeof why, "cannot put descriptor %d in place", failed);
        give_up(keep[SCP_PLAN_DESCRIPTOR_STATUS], -result, why);
    }
    result = crestart_plan_change(keep[SCP_PLAN_DESCRIPTOR_PLAN], process->numbers_offset, keep, count * sizeof *keep);
    if (result < 0)
        give_up(keep[SCP_PLAN_DESCRIPTOR_STATUS], -result, "cannot complete the plan");
    exec_restorer(set, keep);
}

int crestart_process_terminal(void *argument, uint32_t index) {
    const struct crestart_set *set = argument;
    return crestart_terminal_acquire(set->made, set->processes[index].terminal);
}

int crestart_process_foreground(void *argument, uint32_t index, uint32_t group) {
    const struct crestart_set *set = argument;
    return crestart_terminal_foreground(set->made, set->processes[index].terminal, group);
}

// ---- shared memory ---------------------------------------------------------------------------------------------------

int crestart_segment_ensure(int32_t id, int32_t key, uint64_t size) {
    struct shmid_ds state;
    if (shmctl(id, IPC_STAT, &state) == 0)
        return 0;
    int file = open("/proc/sys/kernel/shm_next_id", O_WRONLY | O_CLOEXEC);
    // Others ask, too. Anybody may hold the lock: it is not waited for longer than a second.
    for (int i = 0; file >= 0 && i < 5000 && flock(file, LOCK_EX | LOCK_NB) != 0; i++)
        usleep(200);
    if (file >= 0)
        dprintf(file, "%d", id);
    int made = shmget(key, size, IPC_CREAT | IPC_EXCL | 0600), error = errno;
    if (file >= 0)
        close(file);
    if (made < 0)
        return -error;
    if (made == id)
        return 0;
    shmctl(made, IPC_RMID, NULL);
    return -EEXIST;
}

int crestart_memory_create(const char *name, uint64_t size) {
    int file = memfd_create(name, MFD_CLOEXEC);
    if (file < 0)
        return -errno;
    if (ftruncate(file, (off_t)size) == 0)
        return file;
    int error = errno;
    close(file);
    return -error;
}

// ---- the parent ------------------------------------------------------------------------------------------------------

int crestart_terminal_open(void) {
    int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    return terminal < 0 ? -errno : terminal;
}

void crestart_die_by(int number) {
    struct rlimit none = {0, 0};
    sigset_t set;
    setrlimit(RLIMIT_CORE, &none); // the program may have left one, this one would say nothing
    signal(number, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, number);
    kill(getpid(), number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    _exit(128 + number);
}

void crestart_copy_memory(void *out, uint64_t address, size_t length) {
    memcpy(out, (const void *)(uintptr_t)address, length);
}

#define PROBES 64
int crestart_is_cached(int file, uint64_t offset, uint64_t length) {
    char byte;
    struct iovec part = {&byte, 1};
    for (uint64_t i = 0; i < PROBES; i++) {
        uint64_t at = offset + length / PROBES * i;
        if (preadv2(file, &part, 1, (off_t)at, RWF_NOWAIT) != 1)
            return 0;
    }
    return 1;
}

int crestart_personality(void) {
    return personality(0xffffffff);
}
