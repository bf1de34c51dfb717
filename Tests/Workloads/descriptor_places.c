// Directories, devices, O_PATH descriptors, files of /proc, and a pidfd of the program itself.
// @cases directory removed devices path proc proc_ended pidfd
#include "workload_cases.h"
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#define FILES 300

// Every name comes exactly once, half of them before the checkpoint, half after it.
static void check_directory(void) {
    static int seen[FILES];
    char name[64], buffer[2048];
    workload_check(mkdir("folder", 0755) == 0);
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "folder/file-with-a-rather-long-name-%d", i);
        close(open(name, O_CREAT | O_WRONLY, 0600));
    }
    int folder = open("folder", O_RDONLY | O_DIRECTORY);
    long got, total = 0;
    bool waited = false;
    while ((got = syscall(SYS_getdents64, folder, buffer, sizeof buffer)) > 0) {
        for (long at = 0; at < got;) {
            struct dirent64 *entry = (struct dirent64 *)(buffer + at);
            int number;
            if (sscanf(entry->d_name, "file-with-a-rather-long-name-%d", &number) == 1) {
                workload_check(number >= 0 && number < FILES);
                seen[number]++;
                total++;
            }
            at += entry->d_reclen;
        }
        if (!waited && total > FILES / 2) {
            waited = true;
            workload_ready();
            workload_wait();
        }
    }
    workload_check(got == 0 && waited);
    for (int i = 0; i < FILES; i++)
        workload_equal(seen[i], 1);
}

static void check_removed(void) {
    workload_check(mkdir("folder", 0755) == 0);
    int folder = open("folder", O_RDONLY | O_DIRECTORY);
    workload_check(rmdir("folder") == 0);
    workload_ready();
    workload_wait();
    struct stat status;
    workload_check(fstat(folder, &status) == 0 && S_ISDIR(status.st_mode));
    workload_equal(openat(folder, "file", O_CREAT | O_WRONLY, 0600), -1);
    workload_equal(errno, ENOENT);
}

static void check_devices(void) {
    static const char *const names[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"};
    int devices[5];
    for (int i = 0; i < 5; i++)
        workload_check((devices[i] = open(names[i], i == 2 ? O_WRONLY : O_RDWR)) >= 0 ||
                       (devices[i] = open(names[i], O_RDONLY)) >= 0);
    workload_ready();
    workload_wait();
    char bytes[16] = "x";
    workload_equal(read(devices[0], bytes, 1), 0);
    workload_equal(read(devices[1], bytes, 1), 1);
    workload_equal(bytes[0], 0);
    workload_equal(write(devices[2], bytes, 1), -1);
    workload_equal(errno, ENOSPC);
    workload_equal(read(devices[3], bytes, 16), 16);
    workload_equal(read(devices[4], bytes, 16), 16);
    for (int i = 0; i < 5; i++) {
        struct stat one, two;
        workload_check(fstat(devices[i], &one) == 0 && stat(names[i], &two) == 0);
        workload_equal(one.st_rdev, two.st_rdev);
    }
}

static void check_path(void) {
    close(open("file", O_CREAT | O_WRONLY, 0600));
    workload_check(symlink("file", "link") == 0);
    int file = open("file", O_PATH), link = open("link", O_PATH | O_NOFOLLOW), folder = open(".", O_PATH | O_DIRECTORY);
    workload_check(file >= 0 && link >= 0 && folder >= 0);
    workload_ready();
    workload_wait();
    char target[16] = "";
    struct stat status;
    workload_check(fcntl(file, F_GETFL) & O_PATH);
    workload_equal(read(file, target, 1), -1);
    workload_equal(errno, EBADF);
    workload_equal(readlinkat(link, "", target, 15), 4);
    workload_check(strcmp(target, "file") == 0);
    workload_check(fstatat(folder, "link", &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode));
}

static void check_proc(void) {
    char line[256] = "";
    int file = open("/proc/self/status", O_RDONLY);
    workload_equal(read(file, line, 5), 5);
    workload_check(memcmp(line, "Name:", 5) == 0);
    int uptime = open("/proc/uptime", O_RDONLY);
    workload_ready();
    workload_wait();
    workload_equal(lseek(file, 0, SEEK_CUR), 5);
    workload_equal(lseek(file, 0, SEEK_SET), 0);
    char text[2048] = "", wanted[40];
    workload_check(read(file, text, sizeof text - 1) > 100);
    snprintf(wanted, sizeof wanted, "\nPid:\t%d\n", (int)getpid());
    workload_check(strstr(text, wanted));
    workload_check(read(uptime, line, sizeof line) > 3);
}

// A shell that looks at its jobs reads files of processes that end just then.
static void check_proc_ended(void) {
    static const char *const names[] = {"/proc/%d/comm", "/proc/%d/status", "/proc/%d/task/%d/stat"};
    char path[64], byte;
    int files[3];
    pid_t child = fork();
    if (child == 0)
        for (;;)
            pause();
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, names[i], (int)child, (int)child);
        workload_check((files[i] = open(path, O_RDONLY)) >= 0);
    }
    workload_check(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
    workload_ready();
    workload_wait();
    for (int i = 0; i < 3; i++) {
        workload_equal(read(files[i], &byte, 1), -1);
        workload_equal(errno, ESRCH);
    }
}

static void check_pidfd(void) {
    int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (self < 0)
        workload_skip("no pidfd_open: %s", strerror(errno));
    workload_ready();
    workload_wait();
    workload_equal(syscall(SYS_pidfd_send_signal, self, 0, NULL, 0), 0);
    char path[40], line[512] = "", wanted[32];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", self);
    int info = open(path, O_RDONLY);
    workload_check(info >= 0 && read(info, line, sizeof line - 1) > 0);
    snprintf(wanted, sizeof wanted, "Pid:\t%d\n", (int)getpid());
    workload_check(strstr(line, wanted));
}

WORKLOAD_CASES({"directory", check_directory}, {"removed", check_removed}, {"devices", check_devices},
               {"path", check_path}, {"proc", check_proc}, {"proc_ended", check_proc_ended}, {"pidfd", check_pidfd})
