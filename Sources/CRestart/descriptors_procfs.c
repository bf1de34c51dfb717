// Files of /proc that belong to a process: it may come with the restart, or have gone for ever.
#include "call.h"
#include "descriptors_internal.h"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

// What stands behind /proc/PID/ or /proc/PID/task/TID/ in a path; NULL when it is no such path. *thread: it is a thread's.
static const char *behind_process(const char *path, bool *thread) {
    char *end;
    const char *number = path + strlen("/proc/");
    if (strtol(number, &end, 10) <= 0 || *end != '/')
        return NULL;
    const char *task = end + strlen("/task/");
    *thread = strncmp(end, "/task/", strlen("/task/")) == 0 && strtol(task, &end, 10) > 0 && *end == '/';
    return *thread ? end + 1 : strchr(number, '/') + 1;
}

// A process that opens one of its own files for this one, in the descriptor table that both share, and ends. What is left is the
// file of a process that has ended: reading it fails with ESRCH, whichever process it was.
static int open_ended(const char *path, int flags) {
    char own[4096];
    bool thread;
    const char *rest = behind_process(path, &thread);
    int descriptor = rest == NULL ? -1 : open("/dev/null", O_RDONLY | O_CLOEXEC), status = -1;
    if (descriptor < 0)
        return -1;
    snprintf(own, sizeof own, "/proc/%s/%s", thread ? "thread-self" : "self", rest);
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        long file = crestart_call4(SYS_openat, AT_FDCWD, crestart_pointer(own), flags | O_CLOEXEC, 0);
        bool there = file >= 0 && crestart_call3(SYS_dup3, file, descriptor, O_CLOEXEC) >= 0;
        if (file >= 0)
            crestart_call1(SYS_close, file);
        crestart_call1(SYS_exit_group, there ? 0 : 1);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (status == 0)
        return descriptor;
    close(descriptor);
    return -1;
}

// Files under /proc/PID belong to a process that does not exist yet, or not any more.
int crestart_open_later(struct crestart_descriptors *made, uint32_t object, const char *path) {
    char own[32], *text = NULL;
    uint32_t pid = crestart_member_of(&made->tables, object)->pid;
    size_t length = (size_t)snprintf(own, sizeof own, "/proc/%u/", pid);
    if (pid != 0 && strncmp(path, own, length) == 0) {
        size_t room = strlen(path) + sizeof "/proc/self/";
        text = malloc(room);
        if (text != NULL)
            snprintf(text, room, "/proc/self/%s", path + length);
    } else {
        text = strdup(path);
    }
    if (text == NULL)
        return crestart_fail(made->message, ENOMEM, "no memory for a file of /proc");
    const struct scp_object *entry = &made->tables.objects[object];
    int flags = crestart_open_flags(entry);
    made->working[object] = open_ended(text, flags);
    if (made->working[object] >= 0 && entry->flags & SCP_OBJECT_DELETED)
        free(text);
    else
        made->late[made->late_count++] = (struct crestart_late){object, flags, 0, entry->position, text};
    return 0;
}
