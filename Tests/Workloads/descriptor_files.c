// Regular files: position, access, flags, sharing, files without a name.
// @cases read write append both shared on_exec deleted deleted_write deleted_twice renamed replaced sparse no_mode
#include "workload_cases.h"
#include <fcntl.h>
#include <sys/stat.h>

static const char text[] = "0123456789abcdefghijklmnopqrstuvwxyz";

static int make(const char *name, int flags) {
    int file = open(name, O_RDWR | O_CREAT | O_TRUNC, 0640);
    workload_check(file >= 0);
    workload_equal(write(file, text, 36), 36);
    close(file);
    file = open(name, flags);
    workload_check(file >= 0);
    return file;
}

static void expect_text(int file, const char *wanted) {
    char found[64] = "";
    workload_equal(read(file, found, strlen(wanted)), (long)strlen(wanted));
    if (strcmp(found, wanted) != 0)
        workload_fail("read %s instead of %s", found, wanted);
}

static void check_read(void) {
    int file = make("file", O_RDONLY | O_NONBLOCK);
    expect_text(file, "01234");
    workload_ready();
    workload_wait();
    expect_text(file, "56789");
    workload_equal(fcntl(file, F_GETFL) & (O_ACCMODE | O_NONBLOCK | O_APPEND), O_RDONLY | O_NONBLOCK);
    workload_equal(fcntl(file, F_GETFD), 0);
}

static void check_write(void) {
    int file = make("file", O_WRONLY | O_SYNC);
    workload_equal(lseek(file, 10, SEEK_SET), 10);
    workload_ready();
    workload_wait();
    workload_equal(write(file, "XYZ", 3), 3);
    workload_equal(fcntl(file, F_GETFL) & (O_ACCMODE | O_SYNC), O_WRONLY | O_SYNC);
    expect_text(open("file", O_RDONLY), "0123456789XYZdef");
}

static void check_append(void) {
    int file = make("file", O_WRONLY | O_APPEND);
    workload_ready();
    workload_wait();
    workload_equal(write(file, "END", 3), 3);
    workload_check(fcntl(file, F_GETFL) & O_APPEND);
    int again = open("file", O_RDONLY);
    workload_equal(lseek(again, 36, SEEK_SET), 36);
    expect_text(again, "END");
}

static void check_both(void) {
    int file = make("file", O_RDWR);
    expect_text(file, "012");
    workload_ready();
    workload_wait();
    workload_equal(write(file, "-", 1), 1);
    expect_text(file, "456");
    workload_equal(pread(file, (char[1]){0}, 1, 35), 1);
}

// A duplicate shares the position; a second open of the same file does not.
static void check_shared(void) {
    int file = make("file", O_RDONLY), copy = dup(file), other = open("file", O_RDONLY), high = dup2(file, 200);
    expect_text(file, "0123");
    workload_ready();
    workload_wait();
    expect_text(copy, "4567");
    expect_text(high, "89");
    expect_text(file, "ab");
    expect_text(other, "0123");
}

static void check_on_exec(void) {
    int file = make("file", O_RDONLY | O_CLOEXEC), copy = dup(file);
    workload_ready();
    workload_wait();
    workload_equal(fcntl(file, F_GETFD), FD_CLOEXEC);
    workload_equal(fcntl(copy, F_GETFD), 0);
}

static void check_content(int file, off_t position, mode_t mode) {
    struct stat status;
    workload_check(fstat(file, &status) == 0);
    workload_equal(status.st_size, 36);
    workload_equal(status.st_nlink, 0);
    workload_equal(status.st_mode & 07777, mode);
    workload_equal(lseek(file, 0, SEEK_CUR), position);
    workload_equal(lseek(file, 30, SEEK_SET), 30);
    expect_text(file, "uvwxyz");
}

static void check_deleted(void) {
    int file = make("file (deleted)", O_RDWR);
    expect_text(file, "01234567");
    workload_check(unlink("file (deleted)") == 0);
    workload_ready();
    workload_wait();
    check_content(file, 8, 0640);
}

static void check_deleted_write(void) {
    int file = make("file", O_WRONLY);
    workload_equal(lseek(file, 7, SEEK_SET), 7);
    workload_check(unlink("file") == 0);
    workload_ready();
    workload_wait();
    char path[40], bytes[37] = "";
    workload_equal(write(file, "!", 1), 1);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    int reader = open(path, O_RDONLY);
    workload_check(reader >= 0);
    workload_equal(read(reader, bytes, 36), 36);
    if (strcmp(bytes, "0123456!89abcdefghijklmnopqrstuvwxyz") != 0)
        workload_fail("content is %s", bytes);
}

// Two descriptions of one nameless file see each other's bytes.
static void check_deleted_twice(void) {
    int file = make("file", O_RDWR), other = open("file", O_RDONLY);
    workload_check(unlink("file") == 0);
    workload_ready();
    workload_wait();
    workload_equal(pwrite(file, "Q", 1, 0), 1);
    expect_text(other, "Q12");
    workload_equal(lseek(file, 0, SEEK_CUR), 0);
}

static void check_renamed(void) {
    int file = make("file", O_RDWR);
    expect_text(file, "0");
    workload_check(rename("file", "an\nother") == 0);
    workload_ready();
    workload_wait();
    expect_text(file, "12");
    struct stat one, two;
    workload_check(fstat(file, &one) == 0 && stat("an\nother", &two) == 0);
    workload_equal(one.st_ino, two.st_ino);
}

// Another file has taken the name: the old content is the descriptor's, the new one the name's.
static void check_replaced(void) {
    int file = make("file", O_RDWR);
    expect_text(file, "0123");
    int other = open("new", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    workload_equal(write(other, "other", 5), 5);
    close(other);
    workload_check(rename("new", "file") == 0);
    workload_ready();
    workload_wait();
    expect_text(file, "4567");
    expect_text(open("file", O_RDONLY), "other");
}

static void check_sparse(void) {
    int file = make("file", O_RDWR);
    workload_check(unlink("file") == 0);
    workload_equal(pwrite(file, "end", 3, 40 << 20), 3);
    workload_ready();
    workload_wait();
    struct stat status;
    char bytes[4] = "";
    workload_check(fstat(file, &status) == 0);
    workload_equal(status.st_size, (40 << 20) + 3);
    workload_equal(pread(file, bytes, 3, 40 << 20), 3);
    workload_check(strcmp(bytes, "end") == 0);
    expect_text(file, "0123456789");
}

static void check_no_mode(void) {
    int file = make("file", O_RDWR);
    workload_check(fchmod(file, 0) == 0);
    workload_check(unlink("file") == 0);
    workload_ready();
    workload_wait();
    check_content(file, 0, 0);
}

WORKLOAD_CASES({"read", check_read}, {"write", check_write}, {"append", check_append}, {"both", check_both},
               {"shared", check_shared}, {"on_exec", check_on_exec}, {"deleted", check_deleted},
               {"deleted_write", check_deleted_write}, {"deleted_twice", check_deleted_twice},
               {"renamed", check_renamed}, {"replaced", check_replaced}, {"sparse", check_sparse},
               {"no_mode", check_no_mode})
