// inotify: the same watch numbers, paths given in several ways, nothing of the restart's own doings in the queue.
// @cases numbers relative renamed_parent all_events next
#include "workload_cases.h"
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>

static int queue;
static union {
    struct inotify_event event;
    char bytes[4096];
} got;

static int next_event(void) {
    long length = read(queue, &got, sizeof got);
    if (length < 0) {
        workload_equal(errno, EAGAIN);
        return -1;
    }
    return got.event.wd;
}

static void touch(const char *name) {
    int file = open(name, O_CREAT | O_WRONLY, 0600);
    workload_check(file >= 0);
    close(file);
}

static void check_numbers(void) {
    queue = inotify_init1(IN_NONBLOCK);
    workload_check(mkdir("a", 0700) == 0 && mkdir("b", 0700) == 0 && mkdir("c", 0700) == 0);
    int a = inotify_add_watch(queue, "a", IN_CREATE), b = inotify_add_watch(queue, "b", IN_CREATE);
    workload_check(a > 0 && b > a);
    workload_check(inotify_rm_watch(queue, a) == 0);
    workload_equal(next_event(), a); // IN_IGNORED
    int c = inotify_add_watch(queue, "c", IN_CREATE | IN_DELETE);
    workload_ready();
    workload_wait();
    workload_equal(next_event(), -1);
    touch("c/x");
    workload_equal(next_event(), c);
    workload_equal(got.event.mask, IN_CREATE);
    workload_check(strcmp(got.event.name, "x") == 0);
    touch("b/y");
    workload_equal(next_event(), b);
    touch("a/z");
    workload_equal(next_event(), -1);
    workload_check(inotify_rm_watch(queue, b) == 0);
    workload_equal(next_event(), b);
}

// The directory at the time of the call counts.
static void check_relative(void) {
    char folder[4096];
    queue = inotify_init1(IN_NONBLOCK);
    workload_check(getcwd(folder, sizeof folder) && mkdir("sub", 0700) == 0 && mkdir("sub/deep", 0700) == 0);
    workload_check(chdir("sub") == 0);
    int watch = inotify_add_watch(queue, "deep/../deep", IN_CREATE);
    workload_check(chdir(folder) == 0);
    workload_ready();
    workload_wait();
    touch("sub/deep/x");
    workload_equal(next_event(), watch);
}

// Two watches on names of one file: one number; a link is watched as itself on request.
static void check_renamed_parent(void) {
    queue = inotify_init1(IN_NONBLOCK);
    touch("file");
    workload_check(symlink("file", "link") == 0);
    int through = inotify_add_watch(queue, "link", IN_ATTRIB),
        itself = inotify_add_watch(queue, "link", IN_ATTRIB | IN_DONT_FOLLOW);
    workload_check(through != itself);
    workload_equal(inotify_add_watch(queue, "file", IN_ATTRIB | IN_MODIFY), through);
    workload_ready();
    workload_wait();
    workload_equal(truncate("file", 10), 0);
    workload_equal(next_event(), through);
    while (next_event() != -1)
        ;
    workload_check(unlink("link") == 0);
    workload_equal(next_event(), itself);
}

// Everything that happens to the program's own, open files: the restart opens them again.
static void check_all_events(void) {
    queue = inotify_init1(IN_NONBLOCK);
    int file = open("watched", O_CREAT | O_RDWR, 0600);
    workload_equal(write(file, "0123456789", 10), 10);
    int watch = inotify_add_watch(queue, ".", IN_ALL_EVENTS);
    workload_check(file >= 0 && watch > 0);
    workload_ready();
    workload_wait();
    int event = next_event();
    while (event != -1) { // the harness makes its go file in this folder
        if (got.event.len > 0 && strcmp(got.event.name, "watched") == 0)
            workload_fail("event %x of %s", got.event.mask, got.event.name);
        event = next_event();
    }
    workload_equal(pwrite(file, "x", 1, 0), 1);
    workload_equal(next_event(), watch);
    workload_equal(got.event.mask, IN_MODIFY);
}

static void check_next(void) {
    queue = inotify_init1(IN_NONBLOCK);
    workload_check(mkdir("a", 0700) == 0 && mkdir("b", 0700) == 0);
    int a = inotify_add_watch(queue, "a", IN_CREATE);
    workload_ready();
    workload_wait();
    int b = inotify_add_watch(queue, "b", IN_CREATE);
    workload_equal(b, a + 1);
    workload_equal(inotify_add_watch(queue, "a", IN_CREATE), a);
}

WORKLOAD_CASES({"numbers", check_numbers}, {"relative", check_relative}, {"renamed_parent", check_renamed_parent},
               {"all_events", check_all_events}, {"next", check_next})
