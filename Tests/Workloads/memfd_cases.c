// memfd: content, seals, mappings shared with descriptors, several descriptions.
// @cases content sealed write_sealed future_sealed mapped mapped_sealed read_only large mapped_file
#include "workload_cases.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

static int make(unsigned flags) {
    int memory = memfd_create("some name", flags);
    workload_check(memory >= 0);
    workload_equal(write(memory, "0123456789", 10), 10);
    return memory;
}

static void expect_bytes(int memory, const char *wanted) {
    char found[16] = "";
    workload_equal(pread(memory, found, 10, 0), 10);
    if (strcmp(found, wanted) != 0)
        workload_fail("content %s instead of %s", found, wanted);
}

static void check_content(void) {
    int memory = make(MFD_CLOEXEC);
    workload_equal(lseek(memory, 3, SEEK_SET), 3);
    workload_ready();
    workload_wait();
    char name[64] = "", path[40];
    struct stat status;
    expect_bytes(memory, "0123456789");
    workload_equal(lseek(memory, 0, SEEK_CUR), 3);
    workload_equal(fcntl(memory, F_GETFD), FD_CLOEXEC);
    workload_equal(fcntl(memory, F_GET_SEALS), F_SEAL_SEAL); // made without MFD_ALLOW_SEALING
    snprintf(path, sizeof path, "/proc/self/fd/%d", memory);
    workload_check(readlink(path, name, sizeof name - 1) > 0);
    workload_check(strncmp(name, "/memfd:some name", 16) == 0);
    workload_check(fstat(memory, &status) == 0);
    workload_equal(status.st_mode & 07777, 0777);
    workload_equal(status.st_size, 10);
}

static void check_sealed(void) {
    int memory = make(MFD_ALLOW_SEALING);
    workload_check(fcntl(memory, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) == 0);
    workload_ready();
    workload_wait();
    workload_equal(fcntl(memory, F_GET_SEALS), F_SEAL_GROW | F_SEAL_SHRINK);
    workload_equal(ftruncate(memory, 11), -1);
    workload_equal(errno, EPERM);
    workload_equal(pwrite(memory, "X", 1, 0), 1);
    workload_check(fcntl(memory, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL) == 0);
}

static void check_write_sealed(void) {
    int memory = make(MFD_ALLOW_SEALING), copy = dup(memory);
    int seals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
    workload_check(fcntl(memory, F_ADD_SEALS, seals) == 0);
    workload_ready();
    workload_wait();
    workload_equal(fcntl(copy, F_GET_SEALS), seals);
    workload_equal(pwrite(memory, "X", 1, 0), -1);
    workload_equal(errno, EPERM);
    expect_bytes(copy, "0123456789");
}

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x10
#endif

// Written through the old mapping, not through anything new.
static void check_future_sealed(void) {
    int memory = make(MFD_ALLOW_SEALING);
    char *mapped = mmap(NULL, 10, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    workload_check(mapped != MAP_FAILED);
    if (fcntl(memory, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) != 0)
        workload_skip("no F_SEAL_FUTURE_WRITE: %s", strerror(errno));
    workload_ready();
    workload_wait();
    mapped[0] = 'M';
    expect_bytes(memory, "M123456789");
    workload_equal(pwrite(memory, "X", 1, 0), -1);
    workload_equal(fcntl(memory, F_GET_SEALS), F_SEAL_FUTURE_WRITE);
}

// What is written here shows there, in all four directions.
static void check_mapped(void) {
    int memory = memfd_create("shared", 0);
    workload_check(memory >= 0 && ftruncate(memory, 8192) == 0);
    char *one = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    char *two = mmap(NULL, 4096, PROT_READ, MAP_SHARED, memory, 4096);
    workload_check(one != MAP_FAILED && two != MAP_FAILED);
    strcpy(one, "first");
    strcpy(one + 4096, "second");
    workload_ready();
    workload_wait();
    char text[16] = "";
    workload_check(strcmp(one, "first") == 0 && strcmp(two, "second") == 0);
    strcpy(one + 4096, "third");
    workload_check(strcmp(two, "third") == 0);
    workload_check(pread(memory, text, 6, 4096) == 6 && strcmp(text, "third") == 0);
    workload_equal(pwrite(memory, "fourth", 7, 4096), 7);
    workload_check(strcmp(two, "fourth") == 0 && strcmp(one + 4096, "fourth") == 0);
}

static void check_mapped_sealed(void) {
    int memory = make(MFD_ALLOW_SEALING);
    workload_check(fcntl(memory, F_ADD_SEALS, F_SEAL_WRITE) == 0);
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", memory);
    int reader = open(path, O_RDONLY);
    char *mapped = mmap(NULL, 10, PROT_READ, MAP_SHARED, reader, 0);
    workload_check(reader >= 0 && mapped != MAP_FAILED);
    workload_ready();
    workload_wait();
    workload_check(memcmp(mapped, "0123456789", 10) == 0);
    workload_equal(fcntl(memory, F_GET_SEALS), F_SEAL_WRITE);
}

static void check_read_only(void) {
    int memory = make(MFD_ALLOW_SEALING);
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", memory);
    int reader = open(path, O_RDONLY);
    workload_check(reader >= 0);
    workload_check(fcntl(memory, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK) == 0);
    close(memory);
    workload_ready();
    workload_wait();
    workload_equal(fcntl(reader, F_GETFL) & O_ACCMODE, O_RDONLY);
    workload_equal(fcntl(reader, F_GET_SEALS), F_SEAL_WRITE | F_SEAL_SHRINK);
    expect_bytes(reader, "0123456789");
}

static void check_large(void) {
    int memory = memfd_create("large", 0);
    workload_check(memory >= 0 && ftruncate(memory, 64 << 20) == 0);
    for (long i = 0; i < 64; i += 3)
        workload_equal(pwrite(memory, &i, sizeof i, i << 20), (long)sizeof i);
    workload_ready();
    workload_wait();
    for (long i = 0; i < 64; i++) {
        long found = -1;
        workload_equal(pread(memory, &found, sizeof found, i << 20), (long)sizeof found);
        workload_equal(found, i % 3 == 0 ? i : 0);
    }
}

// The same with a deleted file on a disk.
static void check_mapped_file(void) {
    int file = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600);
    workload_check(file >= 0 && ftruncate(file, 4096) == 0);
    char *mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    workload_check(mapped != MAP_FAILED && unlink("file") == 0);
    strcpy(mapped, "before");
    workload_ready();
    workload_wait();
    char text[16] = "";
    workload_check(strcmp(mapped, "before") == 0);
    strcpy(mapped, "after");
    workload_check(pread(file, text, 6, 0) == 6 && strcmp(text, "after") == 0);
}

WORKLOAD_CASES({"content", check_content}, {"sealed", check_sealed}, {"write_sealed", check_write_sealed},
               {"future_sealed", check_future_sealed}, {"mapped", check_mapped}, {"mapped_sealed", check_mapped_sealed},
               {"read_only", check_read_only}, {"large", check_large}, {"mapped_file", check_mapped_file})
