#include "swiftcp_tracer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_LIMIT_MS 2000
#define HOME_LIMIT_MS 1000
#define SYSTEM_CALL_STOP (SIGTRAP | 0x80) // with PTRACE_O_TRACESYSGOOD

struct task {
    pid_t tid;
    uint32_t inner; // as the program sees it
    struct scp_stopped *process;
    bool leads; // the checkpoint thread
    bool led; // the checkpoint thread has asked it to park
    bool held; // listening: stopped as if nobody traced it
    bool returning; // between the two ends of rt_sigreturn
    bool attached;
    uint32_t asked_tid; // of a thread that leads: whom it is just asking, by which signal
    int asked_signal;
    int signal; // of one that is led
};

static struct task *tasks; // this process is a tracer and nothing else
static size_t task_count, task_capacity;

// ---- what /proc knows of a thread --------------------------------------------------------------------------------------

static bool read_status(pid_t pid, pid_t tid, char *text, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/status", pid, tid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    ssize_t count = read(file, text, size - 1);
    close(file);
    text[count > 0 ? count : 0] = '\0';
    return count > 0;
}

static const char *field(const char *status, const char *name) {
    const char *found = strstr(status, name);
    return found ? found + strlen(name) : "";
}

// The last number of the line: that of the innermost namespace.
static uint32_t inner_number(const char *status) {
    const char *cursor = field(status, "\nNSpid:");
    uint32_t number = 0;
    while (*cursor == '\t' || *cursor == ' ') {
        char *end;
        number = (uint32_t)strtoul(cursor, &end, 10);
        cursor = end;
    }
    return number;
}

static uint64_t set_of(const char *status, const char *name) {
    return strtoull(field(status, name), NULL, 16);
}

// The signals that wait for this thread alone: they come before those of the process, lowest number first.
static uint64_t pending(const struct task *task) {
    char status[4096];
    return read_status(task->process->pid, task->tid, status, sizeof status)
               ? set_of(status, "\nSigPnd:\t") & ~set_of(status, "\nSigBlk:\t")
               : 0;
}

static bool blocks_all(const struct task *task) {
    char status[4096];
    uint64_t never = 1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1);
    return read_status(task->process->pid, task->tid, status, sizeof status) &&
           (set_of(status, "\nSigBlk:\t") | never) == ~0ull;
}

static uint64_t bit(int signal) {
    return 1ull << (signal - 1);
}

// ---- attaching ---------------------------------------------------------------------------------------------------------

static int seize(struct task *task) {
    task->held = task->returning = false;
    if (ptrace(PTRACE_SEIZE, task->tid, NULL, PTRACE_O_TRACESYSGOOD) < 0)
        return errno == EPERM && kill(task->tid, 0) < 0 ? -ESRCH : -errno;
    task->attached = true;
    return 0;
}

static int add_task(struct scp_stopped *process, pid_t tid) {
    char status[4096];
    if (task_count == task_capacity) {
        size_t capacity = task_capacity ? task_capacity * 2 : 64;
        struct task *larger = realloc(tasks, capacity * sizeof *tasks);
        if (!larger)
            return -ENOMEM;
        tasks = larger;
        task_capacity = capacity;
    }
    if (!read_status(process->pid, tid, status, sizeof status))
        return 0; // has ended
    if (strtol(field(status, "\nTracerPid:"), NULL, 10) != 0)
        return -EBUSY;
    struct task *task = &tasks[task_count];
    *task = (struct task){.tid = tid, .inner = inner_number(status), .process = process};
    task->leads = strncmp(field(status, "Name:\t"), SCP_THREAD_NAME "\n", sizeof SCP_THREAD_NAME) == 0;
    int result = seize(task);
    if (result == 0)
        task_count++;
    return result == -ESRCH ? 0 : result;
}

// A newborn process may have been stopped before its second thread had given itself a name: all signals are blocked in it.
static void settle_leader(const struct scp_stopped *process) {
    struct task *second = NULL;
    for (size_t i = 0; i < task_count; i++) {
        struct task *task = &tasks[i];
        if (task->process != process)
            continue;
        if (task->leads)
            return;
        if (task->tid != process->pid && (!second || task->inner < second->inner))
            second = task;
    }
    if (second && blocks_all(second))
        second->leads = true;
}

static int add_process(struct scp_stopped *process) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", process->pid);
    DIR *folder = opendir(path);
    if (!folder)
        return -ESRCH;
    int result = 0;
    for (struct dirent *entry; result == 0 && (entry = readdir(folder));)
        if (entry->d_name[0] != '.')
            result = add_task(process, (pid_t)strtol(entry->d_name, NULL, 10));
    closedir(folder);
    settle_leader(process);
    return result;
}

// ---- leading -----------------------------------------------------------------------------------------------------------

static void go_on(struct task *task, int signal) {
    task->held = false;
    ptrace(PTRACE_SYSCALL, task->tid, NULL, signal);
}

static struct task *task_for(pid_t tid) {
    for (size_t i = 0; i < task_count; i++)
        if (tasks[i].tid == tid)
            return &tasks[i];
    return NULL;
}

// The quiesce signal waits for it. Where another one would come first the program's own code would run: then it stays, and
// the checkpoint thread's limit ends the attempt.
static void lead(const struct scp_stopped *process, uint32_t inner, int signal) {
    for (size_t i = 0; i < task_count; i++) {
        struct task *task = &tasks[i];
        if (task->process != process || task->inner != inner)
            continue;
        if (pending(task) & (bit(signal) - 1))
            return;
        task->led = true;
        task->signal = signal;
        if (!task->attached)
            seize(task);
        else if (task->held)
            ptrace(PTRACE_INTERRUPT, task->tid, NULL, NULL);
    }
}

// At the end of rt_sigreturn a thread stands where the program was interrupted.
static void come_home(struct task *task) {
    task->returning = false;
    if (pending(task) & bit(task->signal)) { // asked once more meanwhile
        go_on(task, 0);
        return;
    }
    task->led = task->attached = false;
    ptrace(PTRACE_DETACH, task->tid, NULL, NULL);
}

static void at_system_call(struct task *task) {
    struct __ptrace_syscall_info info;
    memset(&info, 0, sizeof info);
    if (ptrace((enum __ptrace_request)PTRACE_GET_SYSCALL_INFO, task->tid, sizeof info, &info) < 0)
        return;
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
        task->returning = info.entry.nr == SYS_rt_sigreturn;
        if (task->leads && info.entry.nr == SYS_rt_tgsigqueueinfo) {
            task->asked_tid = (uint32_t)info.entry.args[1];
            task->asked_signal = (int)info.entry.args[2];
        }
    } else if (task->asked_tid) {
        uint32_t asked = task->asked_tid;
        task->asked_tid = 0;
        lead(task->process, asked, task->asked_signal);
    } else if (task->returning && !task->leads) {
        come_home(task);
        return;
    }
    go_on(task, 0);
}

static bool stops(int signal) {
    return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

// False: the process has been continued.
static bool at_group_stop(struct task *task, int signal) {
    if (!stops(signal))
        return false;
    if (task->leads || task->led) {
        task->process->signal = signal;
        go_on(task, 0);
    } else {
        task->held = true;
        ptrace(PTRACE_LISTEN, task->tid, NULL, NULL);
    }
    return true;
}

static bool handle(pid_t tid, int status) {
    struct task *task = task_for(tid);
    if (!task)
        return true;
    if (!WIFSTOPPED(status)) {
        task->attached = false;
        return true;
    }
    if (status >> 16 == PTRACE_EVENT_STOP)
        return at_group_stop(task, WSTOPSIG(status));
    if (WSTOPSIG(status) == SYSTEM_CALL_STOP)
        at_system_call(task);
    else
        go_on(task, status >> 16 ? 0 : WSTOPSIG(status));
    return true;
}

// False: one of the processes has been continued, or none is left.
static bool handle_all(void) {
    int status;
    pid_t tid;
    while ((tid = waitpid(-1, &status, __WALL | WNOHANG)) > 0)
        if (!handle(tid, status))
            return false;
    for (size_t i = 0; i < task_count; i++)
        if (tasks[i].attached)
            return true;
    return false;
}

// ---- the tracer's life -------------------------------------------------------------------------------------------------

static int64_t now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

// Until something has happened to a thread. False: the other end is closed, or the limit (ms; -1: none) is over.
static bool await_event(int other_end, int events, int64_t limit) {
    struct pollfd ends[2] = {{other_end, POLLIN, 0}, {events, POLLIN, 0}};
    struct signalfd_siginfo info;
    int ready;
    do
        ready = poll(ends, 2, (int)limit);
    while (ready < 0 && errno == EINTR);
    if (ready <= 0 || ends[0].revents)
        return false;
    return read(events, &info, sizeof info) > 0 || errno == EAGAIN;
}

static bool all_lead(const struct scp_stopped *processes, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (processes[i].signal == 0)
            return false;
    return true;
}

static int start(struct scp_stopped *processes, size_t count, int other_end, int events) {
    int result = 0;
    for (size_t i = 0; result == 0 && i < count; i++)
        result = add_process(&processes[i]);
    for (int64_t deadline = now_ms() + START_LIMIT_MS; result == 0;) {
        int64_t left = deadline - now_ms();
        if (!handle_all())
            return -EAGAIN;
        if (all_lead(processes, count))
            break;
        if (left <= 0 || !await_event(other_end, events, left))
            result = -ETIMEDOUT;
    }
    return result;
}

static bool any_led(void) {
    for (size_t i = 0; i < task_count; i++)
        if (tasks[i].led && tasks[i].attached)
            return true;
    return false;
}

// The checkpoint has ended: threads that are on their way out of the handler get there.
static void lead_home(int events) {
    int64_t deadline = now_ms() + HOME_LIMIT_MS;
    for (int64_t left; any_led() && (left = deadline - now_ms()) > 0;)
        if (!await_event(-1, events, left) || !handle_all())
            break;
}

static _Noreturn void trace(struct scp_stopped *processes, size_t count, int other_end) {
    sigset_t all, child;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    signal(SIGCHLD, SIG_DFL);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    prctl(PR_SET_NAME, "swiftcp_tracer", 0, 0, 0);
    int events = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    int result = events < 0 ? -errno : start(processes, count, other_end, events);
    if (write(other_end, &result, sizeof result) != sizeof result ||
        write(other_end, processes, count * sizeof *processes) < 0)
        _exit(1);
    while (result == 0 && await_event(other_end, events, -1))
        if (!handle_all())
            _exit(0);
    lead_home(events);
    _exit(0);
}

static int keep_only(int descriptor) {
    if (descriptor != 3 && dup2(descriptor, 3) < 0)
        return -errno;
    if (syscall(SYS_close_range, 4u, ~0u, 0u) < 0)
        for (int i = 4; i < 65536; i++)
            close(i);
    return 3;
}

static bool read_all(int descriptor, void *data, size_t size) {
    size_t done = 0;
    while (done < size) {
        ssize_t count = read(descriptor, (char *)data + done, size - done);
        if (count <= 0 && !(count < 0 && errno == EINTR))
            return false;
        done += count > 0 ? (size_t)count : 0;
    }
    return true;
}

int scp_lead(struct scp_stopped *processes, size_t count, int *tracer) {
    int ends[2], result = -ESRCH;
    for (size_t i = 0; i < count; i++)
        processes[i].signal = 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    *tracer = fork();
    if (*tracer == 0)
        trace(processes, count, keep_only(ends[1]));
    close(ends[1]);
    if (*tracer < 0) {
        close(ends[0]);
        return -EAGAIN;
    }
    if (read_all(ends[0], &result, sizeof result) && result == 0 &&
        read_all(ends[0], processes, count * sizeof *processes))
        return ends[0];
    scp_lead_end(ends[0], *tracer);
    return result < 0 ? result : -ESRCH;
}

void scp_lead_end(int descriptor, int tracer) {
    close(descriptor);
    while (waitpid(tracer, NULL, 0) < 0 && errno == EINTR)
        continue;
}
