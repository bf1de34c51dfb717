// Locks: POSIX record locks, open file description locks, flock and leases. A child looks: it is another owner.
// @cases posix open_file flock lease split
#include "workload_cases.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

static struct flock range(int type, long start, long length) {
    return (struct flock){.l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
}

static int in_child(int (*look)(const void *), const void *argument) {
    int status;
    pid_t child = fork();
    workload_check(child >= 0);
    if (child == 0)
        _exit(look(argument));
    workload_equal(waitpid(child, &status, 0), child);
    workload_check(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int type_seen(const void *argument) {
    struct flock lock = *(const struct flock *)argument;
    int file = open("file", O_RDWR);
    return fcntl(file, F_GETLK, &lock) != 0 ? 99 : lock.l_type;
}

// What another process meets where it would like to write.
static int conflict_at(long start, long length) {
    struct flock wanted = range(F_WRLCK, start, length);
    return in_child(type_seen, &wanted);
}

static int open_file(void) {
    int file = open("file", O_RDWR | O_CREAT, 0600);
    workload_check(file >= 0 && ftruncate(file, 1000) == 0);
    return file;
}

static void check_posix(void) {
    int file = open_file();
    struct flock write_lock = range(F_WRLCK, 10, 10), read_lock = range(F_RDLCK, 100, 0);
    workload_check(fcntl(file, F_SETLK, &write_lock) == 0 && fcntl(file, F_SETLK, &read_lock) == 0);
    workload_ready();
    workload_wait();
    workload_equal(conflict_at(0, 10), F_UNLCK);
    workload_equal(conflict_at(10, 1), F_WRLCK);
    workload_equal(conflict_at(19, 1), F_WRLCK);
    workload_equal(conflict_at(20, 80), F_UNLCK);
    workload_equal(conflict_at(1000000, 1), F_RDLCK);
    struct flock wanted = range(F_WRLCK, 10, 1);
    workload_check(fcntl(file, F_SETLK, &wanted) == 0); // ours
    close(open("file", O_RDONLY)); // any close drops them
    workload_equal(conflict_at(0, 0), F_UNLCK);
}

static void check_split(void) {
    int file = open_file(), other = open("file", O_RDONLY);
    for (int i = 0; i < 50; i++) {
        struct flock lock = range(i % 2 ? F_WRLCK : F_RDLCK, i * 10, 5);
        workload_check(fcntl(i % 2 ? file : other, F_SETLK, &lock) == 0);
    }
    workload_ready();
    workload_wait();
    for (int i = 0; i < 50; i++) {
        workload_equal(conflict_at(i * 10, 5), i % 2 ? F_WRLCK : F_RDLCK);
        workload_equal(conflict_at(i * 10 + 5, 5), F_UNLCK);
    }
}

static void check_open_file(void) {
    int file = open_file(), copy = dup(file);
    struct flock lock = range(F_WRLCK, 5, 5);
    workload_check(fcntl(file, F_OFD_SETLK, &lock) == 0);
    workload_ready();
    workload_wait();
    workload_equal(conflict_at(5, 1), F_WRLCK);
    workload_equal(conflict_at(0, 5), F_UNLCK);
    struct flock again = range(F_RDLCK, 0, 0);
    workload_check(fcntl(copy, F_OFD_SETLK, &again) == 0); // the same owner
    close(file);
    workload_equal(conflict_at(5, 1), F_RDLCK);
}

static int flock_result(const void *operation) {
    return flock(open("file", O_RDONLY), *(const int *)operation | LOCK_NB) == 0 ? 0 : errno;
}

static void check_flock(void) {
    int file = open_file(), exclusive = LOCK_EX, shared = LOCK_SH;
    workload_check(flock(file, LOCK_SH) == 0);
    workload_ready();
    workload_wait();
    workload_equal(in_child(flock_result, &shared), 0);
    workload_equal(in_child(flock_result, &exclusive), EWOULDBLOCK);
    workload_check(flock(file, LOCK_EX) == 0);
    workload_equal(in_child(flock_result, &shared), EWOULDBLOCK);
}

static volatile sig_atomic_t broken;

static void note(int signal) {
    (void)signal;
    broken = 1;
}

static int open_result(const void *nothing) {
    (void)nothing;
    return open("file", O_RDONLY | O_NONBLOCK) >= 0 ? 0 : errno;
}

static void check_lease(void) {
    int file = open_file();
    signal(SIGIO, note);
    workload_check(fcntl(file, F_SETLEASE, F_WRLCK) == 0);
    workload_ready();
    workload_wait();
    workload_equal(broken, 0);
    workload_equal(fcntl(file, F_GETLEASE), F_WRLCK);
    workload_equal(in_child(open_result, NULL), EWOULDBLOCK);
    workload_equal(broken, 1);
    workload_check(fcntl(file, F_SETLEASE, F_UNLCK) == 0);
}

WORKLOAD_CASES({"posix", check_posix}, {"split", check_split}, {"open_file", check_open_file}, {"flock", check_flock},
               {"lease", check_lease})
