// What a parent and its children share: memory (anonymous and SysV), a file's offset, an eventfd, Unix and TCP
// connections to each other. Numbered tokens go round until the go file is there: none is lost, doubled or reordered.
// @limit 60
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "workload.h"

#define CHILDREN 3
#define LAST (-1L)

struct shared {
    atomic_long *anonymous, *segment;
    int segment_id, file, event;
    int local[CHILDREN][2], tcp[CHILDREN][2]; // [child][0]: the parent's end
};

static void put(int descriptor, long value) {
    workload_check(write(descriptor, &value, sizeof value) == sizeof value);
}

static long take(int descriptor) {
    long value;
    size_t done = 0;
    while (done < sizeof value) {
        ssize_t got = read(descriptor, (char *)&value + done, sizeof value - done);
        workload_check(got > 0);
        done += (size_t)got;
    }
    return value;
}

static void connect_children(struct shared *shared) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    workload_check(bind(listener, (struct sockaddr *)&address, length) == 0 && listen(listener, CHILDREN) == 0);
    workload_check(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    for (int i = 0; i < CHILDREN; i++) {
        workload_check(socketpair(AF_UNIX, SOCK_STREAM, 0, shared->local[i]) == 0);
        shared->tcp[i][0] = socket(AF_INET, SOCK_STREAM, 0);
        workload_check(connect(shared->tcp[i][0], (struct sockaddr *)&address, length) == 0);
        shared->tcp[i][1] = accept(listener, NULL, NULL);
        workload_check(shared->tcp[i][1] >= 0);
    }
    close(listener);
}

static void make(struct shared *shared) {
    shared->anonymous = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    workload_check(shared->anonymous != MAP_FAILED);
    shared->segment_id = shmget(IPC_PRIVATE, 8192, 0600 | IPC_CREAT);
    shared->segment = shmat(shared->segment_id, NULL, 0);
    workload_check(shared->segment_id >= 0 && shared->segment != (void *)-1);
    shared->file = open("shared.txt", O_RDWR | O_CREAT | O_TRUNC, 0600);
    shared->event = eventfd(0, EFD_SEMAPHORE);
    workload_check(shared->file >= 0 && shared->event >= 0);
    connect_children(shared);
}

// Gets the number k over the Unix socket, answers with 2 k + its own number over TCP.
static void child(const struct shared *shared, int number) {
    for (int i = 0; i < CHILDREN; i++) {
        close(shared->local[i][0]);
        close(shared->tcp[i][0]);
    }
    uint64_t one = 1;
    for (long expected = 0;; expected++) {
        long token = take(shared->local[number][1]);
        if (token == LAST)
            _exit(10 + number);
        workload_equal(token, expected);
        atomic_fetch_add(shared->anonymous, 1);
        atomic_fetch_add(shared->segment, 1);
        workload_check(write(shared->file, "x", 1) == 1);
        workload_check(write(shared->event, &one, sizeof one) == sizeof one);
        put(shared->tcp[number][1], 2 * token + number);
    }
}

static void round_trip(const struct shared *shared, long number) {
    for (int i = 0; i < CHILDREN; i++)
        put(shared->local[i][0], number);
    for (int i = 0; i < CHILDREN; i++)
        workload_equal(take(shared->tcp[i][0]), 2 * number + i);
    for (int i = 0; i < CHILDREN; i++)
        workload_equal(take(shared->event), 1);
    nanosleep(&(struct timespec){0, 500000}, NULL);
}

int main(void) {
    struct shared shared;
    pid_t children[CHILDREN];
    long rounds = 0;
    int status;
    make(&shared);
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        workload_check(children[i] >= 0);
        if (children[i] == 0)
            child(&shared, i);
    }
    for (int i = 0; i < CHILDREN; i++) {
        close(shared.local[i][1]);
        close(shared.tcp[i][1]);
    }
    workload_ready();
    for (; workload_waiting() || rounds < 100; rounds++)
        round_trip(&shared, rounds);
    for (int i = 0; i < CHILDREN; i++)
        put(shared.local[i][0], LAST);
    for (int i = 0; i < CHILDREN; i++) {
        workload_check(waitpid(children[i], &status, 0) == children[i]);
        workload_equal(status, (10 + i) << 8);
    }
    workload_equal(*shared.anonymous, CHILDREN * rounds);
    workload_equal(*shared.segment, CHILDREN * rounds);
    workload_equal(lseek(shared.file, 0, SEEK_CUR), CHILDREN * rounds);
    workload_equal(lseek(shared.file, 0, SEEK_END), CHILDREN * rounds);
    shmctl(shared.segment_id, IPC_RMID, NULL);
    workload_pass();
}
