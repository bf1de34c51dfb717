// A copy-on-write child writes the image while the program makes children, waits for them, reads to the ends of pipes,
// counts SIGCHLD, takes locks and gives up memory: it must see nothing of that child.
// @launch --snapshot cow --io-limit 40
// @limit 120
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/wait.h>

#include "memory.h"

enum { BALLAST = 24 << 20, LIMIT_MS = 20000, AT_LEAST = 20 };

static atomic_int ended; // SIGCHLD, each for one child: there is never more than one

static void on_child(int number) {
    (void)number;
    atomic_fetch_add(&ended, 1);
}

static void await_readable(int descriptor, const char *what) {
    struct pollfd event = {descriptor, POLLIN, 0};
    int result;
    do
        result = poll(&event, 1, LIMIT_MS);
    while (result < 0 && errno == EINTR);
    if (result != 1)
        workload_fail("no %s within %d ms", what, LIMIT_MS);
}

// The reader meets the end of the pipe when the child has ended, and nobody else holds the other end.
static void fork_and_read_to_the_end(void) {
    int ends[2], status, before = atomic_load(&ended);
    char byte;
    workload_check(pipe(ends) == 0);
    pid_t pid = fork();
    workload_check(pid >= 0);
    if (pid == 0)
        _exit(write(ends[1], "x", 1) == 1 ? 7 : 1);
    close(ends[1]);
    await_readable(ends[0], "byte in the pipe");
    workload_equal(read(ends[0], &byte, 1), 1);
    await_readable(ends[0], "end of the pipe");
    workload_equal(read(ends[0], &byte, 1), 0);
    close(ends[0]);
    workload_equal(waitpid(-1, &status, 0), pid);
    workload_equal(WEXITSTATUS(status), 7);
    workload_equal(atomic_load(&ended), before + 1);
    workload_equal(waitpid(-1, &status, 0), -1);
    workload_equal(errno, ECHILD);
    workload_equal(waitpid(0, &status, WNOHANG), -1); // nor in this group
    workload_equal(errno, ECHILD);
}

static void let_locks_go(void) {
    int first = open("locked", O_RDWR | O_CREAT, 0600), second;
    workload_check(first >= 0 && flock(first, LOCK_EX | LOCK_NB) == 0);
    close(first);
    second = open("locked", O_RDWR);
    workload_check(second >= 0 && flock(second, LOCK_EX | LOCK_NB) == 0);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    workload_check(fcntl(second, F_OFD_SETLK, &whole) == 0);
    close(second);
}

// The segment goes with its last user; for an instant that may be the child that has just been made.
static void let_shared_memory_go(void) {
    struct shmid_ds state;
    int segment = shmget(IPC_PRIVATE, 1 << 20, IPC_CREAT | 0600);
    void *place = shmat(segment, NULL, 0);
    workload_check(segment >= 0 && place != (void *)-1);
    workload_check(shmctl(segment, IPC_RMID, NULL) == 0 && shmdt(place) == 0);
    for (int i = 0; i < LIMIT_MS; i++) {
        if (shmctl(segment, IPC_STAT, &state) != 0)
            return;
        poll(NULL, 0, 1);
    }
    workload_fail("the segment still has %d users after %d ms", (int)state.shm_nattch, LIMIT_MS);
}

static void fill_words(uint64_t *memory, uint64_t seed) {
    for (size_t i = 0; i < BALLAST / sizeof *memory; i++)
        memory[i] = (i + seed) * 0x9e3779b97f4a7c15u;
}

int main(void) {
    uint64_t *memory = (uint64_t *)map_anonymous(BALLAST);
    struct sigaction action = {.sa_handler = on_child, .sa_flags = SA_RESTART};
    workload_check(sigaction(SIGCHLD, &action, NULL) == 0);
    fill_words(memory, 0);
    workload_ready();
    uint64_t rounds = 0;
    while (rounds < AT_LEAST || workload_waiting()) {
        fork_and_read_to_the_end();
        let_locks_go();
        let_shared_memory_go();
        fill_words(memory, ++rounds);
        for (size_t i = 0; i < BALLAST / sizeof *memory; i++)
            if (memory[i] != (i + rounds) * 0x9e3779b97f4a7c15u)
                workload_fail("word %zu of round %llu is another's", i, (unsigned long long)rounds);
    }
    workload_pass();
}
