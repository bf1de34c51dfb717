// The process as a whole: identity, paths, addresses, PR_* flags; and what cannot be saved yet, refused by name.
#define _GNU_SOURCE
#include "state.h"
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#define PR_GET_IO_FLUSHER 58
#endif
#define PR_SET_MDWE_ 65
#define PR_GET_MDWE_ 66
#define PR_SET_MEMORY_MERGE_ 67
#define PR_GET_MEMORY_MERGE_ 68
#define PR_GET_TID_ADDRESS_ 40
#define PATH_BYTES 4200

static struct { // for the restart
    uint32_t personality;
    int32_t dumpable, child_subreaper, transparent_huge_pages_disabled, write_exec_refused, memory_merge, io_flusher;
    uint32_t euid, egid;
} kept;

static char path_text[PATH_BYTES]; // of the checkpoint thread alone

static int32_t flag(int option) {
    return (int32_t)scp_call(SYS_prctl, option, 0, 0, 0, 0);
}

// ---- refusals -------------------------------------------------------------------------------------------------------

// Filters in force, as far as the kernel counts them (5.9), else one.
static uint32_t filters(const char *status) {
    const char *mode = scp_status_field(status, "Seccomp"), *count = scp_status_field(status, "Seccomp_filters");
    if (*mode != '2')
        return 0;
    return *count ? (uint32_t)scp_parse_decimal(&count) : 1;
}

uint64_t scp_process_filters(void) {
    char status[4096];
    return scp_read_small("/proc/self/status", status, sizeof status) > 0 ? filters(status) : 0;
}

static int refuse_thread(struct scp_checkpoint *checkpoint, uint32_t tid, const char *why) {
    return scp_fail(checkpoint, ENOTSUP, "thread ", scp_number(tid).text, why, (char *)NULL);
}

static int refuse_traced(struct scp_checkpoint *checkpoint, uint32_t tid, uint64_t tracer) {
    char path[64], name[64];
    scp_concat(path, sizeof path, "/proc/", scp_number(tracer).text, "/comm", (char *)NULL);
    long length = scp_read_small(path, name, sizeof name);
    name[length > 0 ? length - 1 : 0] = '\0'; // it ends with a line feed
    return scp_fail(checkpoint, EBUSY, "thread ", scp_number(tid).text, " is traced by process ",
                    scp_number(tracer).text, " (", name, "), a debugger or the like; detach it first", (char *)NULL);
}

// A container's own filter is there again after a restart in that container; the program's would not be.
static int check_thread(void *argument, uint32_t tid) {
    struct scp_checkpoint *checkpoint = argument;
    char path[64], status[4096];
    if (tid == scp_checkpoint_tid())
        return 0;
    scp_concat(path, sizeof path, "/proc/self/task/", scp_number(tid).text, "/status", (char *)NULL);
    if (scp_read_small(path, status, sizeof status) < 0)
        return 0; // has ended
    if (*scp_status_field(status, "Seccomp") == '1' || filters(status) > scp_surroundings_filters())
        return refuse_thread(checkpoint, tid, " has confined itself with seccomp: such filters cannot be saved");
    const char *tracer = scp_status_field(status, "TracerPid");
    uint64_t pid = scp_parse_decimal(&tracer);
    if (pid != 0 && checkpoint->order->stopped_by == 0) // else ours, which leads the threads
        return refuse_traced(checkpoint, tid, pid);
    if (tid == scp_own_pid && *scp_status_field(status, "State") == 'Z')
        return refuse_thread(checkpoint, tid,
                             " is the main thread and has ended while others run: such a program cannot be saved yet");
    return 0;
}

static int check_namespaces(struct scp_checkpoint *checkpoint) {
    char own[64], children[64];
    long a = scp_call(SYS_readlinkat, AT_FDCWD, "/proc/self/ns/pid", own, sizeof own);
    long b = scp_call(SYS_readlinkat, AT_FDCWD, "/proc/self/ns/pid_for_children", children, sizeof children);
    if (a > 0 && b > 0 && (a != b || memcmp(own, children, (size_t)a) != 0))
        return scp_fail(checkpoint, ENOTSUP,
                        "the process has made a pid namespace for its children (unshare): this cannot be saved",
                        (char *)NULL);
    const char *cursor = path_text;
    if (scp_read_small("/proc/self/stat", path_text, sizeof path_text) <= 0 ||
        scp_parse_decimal(&cursor) != scp_own_pid)
        return scp_fail(checkpoint, ENOTSUP,
                        "/proc shows another pid namespace than the process's own: mount a proc of its own",
                        (char *)NULL);
    return 0;
}

int scp_process_prepare(struct scp_checkpoint *checkpoint, const char *status) {
    uint64_t address;
    (void)status;
    if (scp_call(SYS_prctl, PR_GET_TID_ADDRESS_, &address, 0, 0, 0) < 0)
        return scp_fail(checkpoint, ENOTSUP, "this kernel is built without CONFIG_CHECKPOINT_RESTORE, which is needed",
                        (char *)NULL);
    const char *why = scp_arch_refusal();
    if (why)
        return scp_fail(checkpoint, ENOTSUP, "the program cannot be saved: ", why, (char *)NULL);
    int result = check_namespaces(checkpoint);
    if (result == 0)
        result = scp_visit_threads(check_thread, checkpoint);
    if (result < 0 && checkpoint->error == 0)
        return scp_fail(checkpoint, -result, "cannot list the threads in /proc/self/task", (char *)NULL);
    return result;
}

// ---- examine --------------------------------------------------------------------------------------------------------

static uint32_t path_of(struct scp_checkpoint *checkpoint, const char *link) {
    long length = scp_call(SYS_readlinkat, AT_FDCWD, link, path_text, sizeof path_text - 1);
    return length <= 0 ? 0 : scp_string(&checkpoint->strings, path_text, (size_t)length);
}

static int examine_paths(struct scp_checkpoint *checkpoint) {
    struct scp_process *process = &checkpoint->process;
    struct stat status;
    process->executable = path_of(checkpoint, "/proc/self/exe");
    process->root = path_of(checkpoint, "/proc/self/root");
    process->directory = path_of(checkpoint, "/proc/self/cwd");
    if (scp_call(SYS_newfstatat, AT_FDCWD, "/proc/self/exe", &status, 0) == 0) {
        process->executable_device = status.st_dev;
        process->executable_inode = status.st_ino;
    }
    if (scp_call(SYS_newfstatat, AT_FDCWD, "/proc/self/cwd", &status, 0) == 0 && status.st_nlink == 0) {
        long length = scp_call(SYS_readlinkat, AT_FDCWD, "/proc/self/cwd", path_text, sizeof path_text - 1);
        path_text[length > 0 ? length : 0] = '\0';
        return scp_fail(checkpoint, ENOENT, "the program's working directory has been removed: ", path_text,
                        (char *)NULL);
    }
    return 0;
}

// Device number of the controlling terminal, as /proc/self/stat has it, to its path: pseudo and virtual terminals,
// serial lines. Source: Linux Documentation/admin-guide/devices.txt.
static uint32_t terminal_path(struct scp_checkpoint *checkpoint, uint64_t device) {
    uint64_t class = device >> 8 & 0xfff, number = (device & 0xff) | (device >> 12 & 0xfff00);
    char path[64];
    size_t length = 0;
    if (class >= 136 && class <= 143)
        length =
            scp_concat(path, sizeof path, "/dev/pts/", scp_number((class - 136) * 256 + number).text, (char *)NULL);
    else if (class == 4 && number < 64)
        length = scp_concat(path, sizeof path, "/dev/tty", scp_number(number).text, (char *)NULL);
    else if (class == 4)
        length = scp_concat(path, sizeof path, "/dev/ttyS", scp_number(number - 64).text, (char *)NULL);
    return length == 0 ? 0 : scp_string(&checkpoint->strings, path, length);
}

char scp_stat_state(const char *text) {
    const char *end = strrchr(text, ')');
    return end && end[1] == ' ' ? end[2] : 0;
}

uint64_t scp_stat_field(const char *text, int wanted) {
    const char *cursor = strrchr(text, ')');
    for (int field = 2; cursor && field < wanted; field++)
        cursor = strchr(cursor + 1, ' ');
    if (!cursor)
        return 0;
    cursor += cursor[1] == '-' ? 2 : 1;
    return scp_parse_decimal(&cursor);
}

static int examine_stat(struct scp_checkpoint *checkpoint) {
    struct scp_process *process = &checkpoint->process;
    static char text[2048];
    long length = scp_read_small("/proc/self/stat", text, sizeof text);
    if (length < 0)
        return scp_fail(checkpoint, (int)-length, "cannot read /proc/self/stat", (char *)NULL);
    const struct {
        int field;
        uint64_t *out;
    } addresses[] = {
        {26, &process->start_code},      {27, &process->end_code},      {28, &process->start_stack},
        {45, &process->start_data},      {46, &process->end_data},      {47, &process->start_brk},
        {48, &process->arguments_start}, {49, &process->arguments_end}, {50, &process->environment_start},
        {51, &process->environment_end},
    };
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++)
        *addresses[i].out = scp_stat_field(text, addresses[i].field);
    process->ppid = (uint32_t)scp_stat_field(text, 4);
    process->pgid = (uint32_t)scp_stat_field(text, 5);
    process->sid = (uint32_t)scp_stat_field(text, 6);
    uint64_t terminal = scp_stat_field(text, 7), foreground = scp_stat_field(text, 8);
    process->terminal = terminal_path(checkpoint, terminal);
    process->exit_signal = (uint32_t)scp_stat_field(text, 38);
    process->foreground = terminal != 0 && foreground == process->pgid;
    process->terminal_device = (uint32_t)terminal;
    process->terminal_group = terminal != 0 ? (uint32_t)foreground : 0;
    process->brk = (uint64_t)scp_call(SYS_brk, 0);
    const char *name = strchr(text, '('), *end = strrchr(text, ')');
    if (name && end)
        process->command = scp_string(&checkpoint->strings, name + 1, (size_t)(end - name - 1));
    return 0;
}

static void examine_flags(struct scp_process *process) {
    const struct scp_slot *leader = scp_slot_at(0);
    const struct scp_thread_private *own = scp_thread_private(scp_slot_at(0));
    scp_call(SYS_prctl, PR_GET_CHILD_SUBREAPER, &kept.child_subreaper, 0, 0, 0);
    kept.dumpable = flag(PR_GET_DUMPABLE);
    kept.transparent_huge_pages_disabled = flag(PR_GET_THP_DISABLE);
    kept.write_exec_refused = flag(PR_GET_MDWE_);
    kept.memory_merge = flag(PR_GET_MEMORY_MERGE_);
    kept.io_flusher = flag(PR_GET_IO_FLUSHER);
    kept.personality = own->personality;
    kept.euid = (uint32_t)scp_call(SYS_geteuid);
    kept.egid = (uint32_t)scp_call(SYS_getegid);
    process->child_subreaper = kept.child_subreaper;
    process->dumpable = kept.dumpable;
    process->transparent_huge_pages_disabled = kept.transparent_huge_pages_disabled;
    process->write_exec_refused = kept.write_exec_refused;
    process->personality = kept.personality;
    process->no_new_privileges = own->no_new_privileges;
    process->parent_death_signal = own->parent_death_signal;
    process->keep_capabilities = flag(PR_GET_KEEPCAPS);
    process->nice = leader->record.nice;
    process->io_priority = own->io_priority;
    process->lock_future = scp_memory_lock_future();
}

int scp_process_examine(const struct scp_examination *examination) {
    struct scp_checkpoint *checkpoint = examination->checkpoint;
    struct scp_process *process = &checkpoint->process;
    memset(process, 0, sizeof *process);
    process->pid = scp_own_pid;
    process->uid = (uint32_t)scp_call(SYS_getuid);
    process->euid = (uint32_t)scp_call(SYS_geteuid);
    process->gid = (uint32_t)scp_call(SYS_getgid);
    process->egid = (uint32_t)scp_call(SYS_getegid);
    int result = examine_stat(checkpoint);
    if (result == 0)
        result = examine_paths(checkpoint);
    examine_flags(process);
    scp_arch_process_examine();
    return result;
}

// ---- restore --------------------------------------------------------------------------------------------------------

static void restore_flag(int get, int set, int32_t wanted, const char *what) {
    if (wanted < 0 || flag(get) == wanted)
        return;
    long result = scp_call(SYS_prctl, set, wanted, 0, 0, 0);
    if (result < 0)
        scp_arrival_warn((int)-result, what, NULL);
}

void scp_process_restore(void) {
    if ((uint32_t)scp_call(SYS_geteuid) != kept.euid || (uint32_t)scp_call(SYS_getegid) != kept.egid)
        scp_arrival_warn(0, "the program now runs with other rights than when it was saved, as user ",
                         scp_number(kept.euid).text);
    scp_call(SYS_personality, kept.personality);
    if (kept.child_subreaper)
        scp_call(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    restore_flag(PR_GET_THP_DISABLE, PR_SET_THP_DISABLE, kept.transparent_huge_pages_disabled,
                 "could not refuse huge pages again, as it was");
    restore_flag(PR_GET_MEMORY_MERGE_, PR_SET_MEMORY_MERGE_, kept.memory_merge,
                 "could not restore the merging of equal pages (KSM)");
    restore_flag(PR_GET_IO_FLUSHER, PR_SET_IO_FLUSHER, kept.io_flusher, "could not restore the I/O flusher flag");
}

void scp_process_seal(void) {
    restore_flag(PR_GET_MDWE_, PR_SET_MDWE_, kept.write_exec_refused,
                 "could not refuse memory that is writable and executable again, as it was");
    if (kept.dumpable == 0 || kept.dumpable == 1) // 2 comes of a change of user, and only the kernel may set it
        restore_flag(PR_GET_DUMPABLE, PR_SET_DUMPABLE, kept.dumpable, "could not restore the dumpable flag");
    else if (kept.dumpable == 2)
        restore_flag(PR_GET_DUMPABLE, PR_SET_DUMPABLE, 0, "could not restore the dumpable flag");
}
