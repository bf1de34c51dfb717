// Unpacking in parallel: by processes, not threads, because swiftcp_restart must be a process of one thread when it enters
// namespaces. They take one chunk after the other, unpack it into a buffer that stays in the processor's cache, and write that
// to the memory that the restorers read: to unpack into a mapping of it takes twice the time, for a fault and a cleared page
// each.
#include "crestart_unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ccodec.h"
#include "crestart_process.h"
#include "descriptors_internal.h"
#include "swiftcp_sys.h"

#define WORKERS_MAXIMUM 16
#define LOOK_PACE 100 // ms

struct job {
    int image;
    const struct scp_chunk *chunks;
    size_t count;
    int memory; // for the content
    const struct crestart_onlooker *onlooker; // NULL = none
    bool alone; // swiftcp_restart itself does the work
    size_t damaged; // afterwards: number of a chunk that is, plus one
    // Shared by all workers.
    struct shared {
        _Atomic size_t next; // chunk that nobody has taken yet
        _Atomic size_t damaged; // number of a chunk that is, plus one
        _Atomic int error; // errno value of the first thing that failed
    } * shared;
};

static int read_all(int file, uint8_t *bytes, size_t length, uint64_t offset) {
    for (size_t done = 0; done < length;) {
        ssize_t got = pread(file, bytes + done, length - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : -EBADMSG;
        done += (size_t)got;
    }
    return 0;
}

static int unpack_chunk(const struct job *job, const struct scp_chunk *chunk, void *codec, uint8_t *stored) {
    uint8_t *plain = stored + SCP_BLOCK_MAXIMUM;
    if (chunk->length > SCP_BLOCK_MAXIMUM || chunk->stored_length > SCP_BLOCK_MAXIMUM)
        return -EBADMSG;
    int result = read_all(job->image, stored, chunk->stored_length, chunk->offset);
    if (result == 0 && scp_xxh3(stored, chunk->stored_length, 0) != chunk->checksum)
        result = -EBADMSG;
    if (result == 0)
        result = ccodec_unpack(codec, chunk->encoding, stored, chunk->stored_length, plain, chunk->length);
    return result < 0 ? result : crestart_write_at(job->memory, plain, chunk->length, chunk->place);
}

static void count_progress(const struct job *job, const struct scp_chunk *chunk) {
    if (!job->onlooker)
        return;
    crestart_progress_add(job->onlooker->progress, chunk->length / 2);
    if (job->alone)
        job->onlooker->look(job->onlooker->argument);
}

static int work(const struct job *job) {
    void *codec = ccodec_open();
    uint8_t *stored = malloc(2 * SCP_BLOCK_MAXIMUM); // as in the image, and unpacked
    int result = codec != NULL && stored != NULL ? 0 : -ENOMEM;
    for (size_t number; result == 0 && (number = atomic_fetch_add(&job->shared->next, 1)) < job->count;) {
        result = unpack_chunk(job, &job->chunks[number], codec, stored);
        if (result == -EBADMSG)
            atomic_store(&job->shared->damaged, number + 1);
        count_progress(job, &job->chunks[number]);
    }
    if (result < 0) {
        int none = 0;
        atomic_compare_exchange_strong(&job->shared->error, &none, -result);
        atomic_store(&job->shared->next, job->count); // the others need not go on
    }
    ccodec_close(codec);
    free(stored);
    return result;
}

static int processors(void) {
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return count < 1 ? 1 : count > WORKERS_MAXIMUM ? WORKERS_MAXIMUM : count;
}

static _Noreturn void child(const struct job *job, pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(getppid() == parent && work(job) == 0 ? 0 : 1);
}

// False: it did not end by itself, and well.
static bool reap(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return false;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// Until the other end of the pipe, which all workers have, is closed.
static void look_on(const struct job *job, int ended, size_t workers) {
    struct pollfd pipe = {.fd = ended, .events = POLLIN};
    while (workers > 0) {
        int ready = poll(&pipe, 1, LOOK_PACE);
        if (ready > 0 || (ready < 0 && errno != EINTR))
            return;
        job->onlooker->look(job->onlooker->argument);
    }
}

// Small ones are not worth a process.
static size_t start_workers(const struct job *job, pid_t *workers) {
    pid_t self = getpid();
    size_t wanted = (size_t)processors(), started = 0;
    wanted = wanted < job->count ? wanted : job->count;
    for (; wanted > 1 && started < wanted; started++) {
        pid_t pid = fork();
        if (pid == 0)
            child(job, self);
        if (pid < 0)
            break;
        workers[started] = pid;
    }
    return started;
}

// Where no worker can be had, this process does the work itself.
static int share_out(struct job *job) {
    pid_t workers[WORKERS_MAXIMUM];
    int ends[2];
    bool watched = job->onlooker && pipe2(ends, O_CLOEXEC) == 0;
    size_t started = start_workers(job, workers);
    if (watched) {
        close(ends[1]);
        look_on(job, ends[0], started);
        close(ends[0]);
    }
    job->alone = started == 0;
    bool sound = started > 0 || work(job) == 0;
    while (started > 0)
        sound = reap(workers[--started]) && sound;
    int error = atomic_load(&job->shared->error);
    return error ? -error : sound ? 0 : -ENOMEM; // killed: by the kernel, for want of memory
}

static int unpack_all(struct job *job) {
    struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return -errno;
    job->shared = shared;
    int result = share_out(job);
    job->damaged = atomic_load(&shared->damaged);
    munmap(shared, sizeof *shared);
    return result;
}

int crestart_unpack(int image, const struct scp_chunk *chunks, size_t count, const struct crestart_onlooker *onlooker,
                    struct crestart_message *message) {
    const struct scp_chunk *last = &chunks[count - 1];
    uint64_t end = last->place + last->length;
    int memory = crestart_memory_create("swiftcp_content", end);
    if (memory < 0)
        return crestart_fail(message, -memory, "no memory to unpack the image into");
    struct job job = {.image = image, .chunks = chunks, .count = count, .memory = memory, .onlooker = onlooker};
    int result = unpack_all(&job);
    if (result == 0)
        return memory;
    close(memory);
    if (result == -EBADMSG)
        return crestart_fail(message, EBADMSG, "the image is damaged: chunk %zu cannot be unpacked", job.damaged - 1);
    return crestart_fail(message, -result, "the image cannot be unpacked");
}
