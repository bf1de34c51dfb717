// Stop and go. The checkpoint thread asks every other thread, by a queued signal with a magic value, to park in a
// handler (park.c), until two passes over /proc/self/task in a row bring nothing new and everybody asked is parked.
#include "slots.h"
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define UNREACHABLE_NS 1000000000ll // for a thread that no signal reaches

static struct scp_slot *parked[SCP_SLOTS_MAXIMUM]; // the slots of this checkpoint, the leader first
SCP_FORK_DATA static size_t parked_count;
static bool unreachable; // the last scan has met a thread that no signal reaches just now
// Those that run are asked last, and go first: who waits for something does not notice how long it stands still.
#define RUNNING_MAXIMUM 64
static uint32_t running[RUNNING_MAXIMUM];
static size_t running_count;
static bool runners_wait; // for the end of the scan
static int tasks = -1; // /proc/self/task, open while threads are being stopped: saves the way there for each

size_t scp_slot_count(void) {
    return parked_count;
}

struct scp_slot *scp_slot_at(size_t index) {
    return parked[index];
}

// What of a thread decides how it is asked.
struct task_status {
    char state;
    uint64_t blocked;
};

static int read_status(uint32_t tid, struct task_status *out) {
    char path[32], number[24], text[2048];
    number[scp_decimal(number, tid)] = 0;
    scp_concat(path, sizeof path, number, "/status", (char *)NULL);
    long length = scp_read_small_at(tasks, path, text, sizeof text);
    if (length < 0)
        return (int)length;
    const char *state = strstr(text, "\nState:\t"), *blocked = strstr(text, "\nSigBlk:\t");
    if (!state || !blocked)
        return -ESRCH;
    out->state = state[8];
    blocked += 9;
    out->blocked = scp_parse_hex(&blocked);
    return 0;
}

// The same in half the time, which tells of signals up to 31 alone.
static int read_stat(uint32_t tid, struct task_status *out) {
    char path[32], number[24], text[1024];
    number[scp_decimal(number, tid)] = 0;
    scp_concat(path, sizeof path, number, "/stat", (char *)NULL);
    long length = scp_read_small_at(tasks, path, text, sizeof text);
    if (length < 0)
        return (int)length;
    out->state = scp_stat_state(text);
    out->blocked = scp_stat_field(text, 32);
    return out->state ? 0 : -ESRCH;
}

static bool is_led(const struct scp_checkpoint *checkpoint) {
    return checkpoint->order->stopped_by != 0;
}

static int read_what_decides(const struct scp_checkpoint *checkpoint, uint32_t tid, struct task_status *out) {
    bool low = scp_settings.quiesce_signal < 32 && !is_led(checkpoint);
    return low ? read_stat(tid, out) : read_status(tid, out);
}

static bool blocks(const struct task_status *status, int signal) {
    return status->blocked >> (signal - 1) & 1;
}

static int refuse_thread(struct scp_checkpoint *checkpoint, uint32_t tid, int error, const char *why) {
    char number[24];
    number[scp_decimal(number, tid)] = 0;
    return scp_fail(checkpoint, error, "thread ", number, why, (char *)NULL);
}

// One that is stopped, and led, takes no signal that it blocks: let run until it does not, it would run the program's code. On
// its way out of our handler it will be there in a moment.
static int hold_unreachable(struct scp_checkpoint *checkpoint, uint32_t tid) {
    unreachable = true;
    if (scp_now() - checkpoint->pause_start < UNREACHABLE_NS)
        return 0;
    return refuse_thread(checkpoint, tid, EAGAIN,
                         " is stopped where it blocks every signal; continue the process and try again");
}

static int ask(struct scp_checkpoint *checkpoint, struct scp_slot *slot, const struct task_status *status) {
    if (is_led(checkpoint) && blocks(status, SCP_FALLBACK_SIGNAL))
        return hold_unreachable(checkpoint, slot->tid);
    scp_interrupted_note(slot, tasks);
    atomic_store(&slot->forced, 0);
    slot->ran = status->state == 'R';
    int result = scp_request_park(slot, status->blocked);
    if (result == 0)
        return 1;
    if (result == -ESRCH)
        return 0;
    return refuse_thread(checkpoint, slot->tid, -result, " could not be sent the quiesce signal");
}

// Looks at one thread of the scan. Returns 1 when it was new, 0 when known or gone, -errno when it cannot be stopped.
static int visit(void *argument, uint32_t tid) {
    struct scp_checkpoint *checkpoint = argument;
    struct task_status status;
    if (tid == atomic_load(&scp_checkpoint_thread_tid))
        return 0;
    struct scp_slot *slot = scp_slot_for(tid);
    if (!slot)
        return refuse_thread(checkpoint, tid, ENOMEM, " is one thread too many for the table of threads");
    slot->service_argument[3] = 1; // seen in this scan
    uint32_t state = atomic_load(&slot->state);
    if (state == SCP_SLOT_PARKED || state == SCP_SLOT_ASKED || state == SCP_SLOT_LEAVING)
        return 0;
    if (read_what_decides(checkpoint, tid, &status) < 0)
        return 0; // ended meanwhile
    if (status.state == 'Z' || status.state == 'X') {
        if (tid == scp_own_pid)
            return refuse_thread(
                checkpoint, tid, ENOTSUP,
                " is the main thread and has ended while others run: such a program cannot be saved yet");
        return 0;
    }
    if (status.state == 't' && !is_led(checkpoint))
        return refuse_thread(checkpoint, tid, EBUSY, " is held by a debugger; detach it first");
    if (status.state == 'R' && runners_wait && running_count < RUNNING_MAXIMUM) {
        running[running_count++] = tid;
        return 0;
    }
    return ask(checkpoint, slot, &status);
}

static int visit_those_that_run(struct scp_checkpoint *checkpoint) {
    int added = 0, result = 0;
    runners_wait = false;
    for (size_t i = 0; result >= 0 && i < running_count; i++, added += result)
        result = visit(checkpoint, running[i]);
    return result < 0 ? result : added;
}

// Beside the checkpoint thread. The folder's links: one for each thread, and two.
static bool has_several_threads(void) {
    struct stat status;
    return scp_call(SYS_fstat, tasks, &status) == 0 && status.st_nlink > 2 + 2;
}

// One pass over /proc/self/task. Returns how many threads were new, or -errno.
static int scan(struct scp_checkpoint *checkpoint) {
    for (size_t i = 0; i < scp_slots_made(); i++)
        scp_slot_number(i)->service_argument[3] = 0;
    scp_call(SYS_lseek, tasks, 0, SEEK_SET);
    unreachable = false;
    running_count = 0;
    runners_wait = has_several_threads();
    int added = scp_visit_numbers(tasks, visit, checkpoint);
    if (added >= 0) {
        int more = visit_those_that_run(checkpoint);
        added = more < 0 ? more : added + more;
    }
    if (added < 0 && checkpoint->error == 0)
        return scp_fail(checkpoint, -added, "cannot list the threads in /proc/self/task", (char *)NULL);
    return added;
}

// Threads that were asked and have ended without parking. Returns how many are asked and still due.
static size_t count_due(void) {
    size_t due = 0;
    for (size_t i = 0; i < scp_slots_made(); i++) {
        struct scp_slot *slot = scp_slot_number(i);
        uint32_t state = atomic_load(&slot->state);
        bool seen = slot->service_argument[3] != 0;
        if (seen && (state == SCP_SLOT_ASKED || state == SCP_SLOT_LEAVING))
            due++;
        if (!seen && state == SCP_SLOT_ASKED)
            scp_request_lost();
        if (!seen && state != SCP_SLOT_PARKED)
            atomic_store(&slot->state, SCP_SLOT_GONE);
    }
    return due;
}

static void collect(void) {
    parked_count = 0;
    for (size_t i = 0; i < scp_slots_made(); i++) {
        struct scp_slot *slot = scp_slot_number(i);
        if (atomic_load(&slot->state) != SCP_SLOT_PARKED)
            continue;
        parked[parked_count++] = slot;
        if (slot->tid == scp_own_pid) {
            parked[parked_count - 1] = parked[0];
            parked[0] = slot;
        }
    }
}

static int name_who_is_due(struct scp_checkpoint *checkpoint) {
    for (size_t i = 0; i < scp_slots_made(); i++) {
        struct scp_slot *slot = scp_slot_number(i);
        struct task_status status = {.state = '?'};
        if (atomic_load(&slot->state) != SCP_SLOT_ASKED)
            continue;
        read_status(slot->tid, &status);
        char why[128], state[2] = {status.state, 0};
        const char *hint = "";
        if (status.state == 'D')
            hint = ", waiting in the kernel for a device";
        else if (blocks(&status, SCP_FALLBACK_SIGNAL))
            hint = ", blocking every signal by raw system calls, also libc's reserved ones";
        scp_concat(why, sizeof why, " did not stop within the time limit (state ", state, hint, ")", (char *)NULL);
        return refuse_thread(checkpoint, slot->tid, ETIMEDOUT, why);
    }
    return scp_fail(checkpoint, ETIMEDOUT, "the program starts threads faster than they can be stopped", (char *)NULL);
}

// libc blocks every signal for a moment in pthread_create and its like: only who does so for longer is forced.
#define PATIENCE_NS 20000000

static void force_those_that_block_all(void) {
    for (size_t i = 0; i < scp_slots_made(); i++) {
        struct scp_slot *slot = scp_slot_number(i);
        struct task_status status;
        if (atomic_load(&slot->state) == SCP_SLOT_ASKED && read_status(slot->tid, &status) == 0 &&
            status.state != 'D' && status.state != 't' && blocks(&status, SCP_FALLBACK_SIGNAL))
            scp_force(slot);
    }
}

// Threads that stopped in our own handler, on their way out: the tracer leads whom a signal is sent to.
static void send_on_their_way(void) {
    for (size_t i = 0; i < scp_slots_made(); i++)
        if (atomic_load(&scp_slot_number(i)->state) == SCP_SLOT_LEAVING)
            scp_request_leave(scp_slot_number(i));
}

// Scans until two passes in a row bring nothing new and everybody asked is parked.
static int stop_all(struct scp_checkpoint *checkpoint, int64_t deadline) {
    int64_t patience = scp_now() + PATIENCE_NS;
    for (int quiet = 0; quiet < 2;) {
        uint32_t before = atomic_load(&scp_arrived);
        int added = scan(checkpoint);
        if (added < 0)
            return added;
        if (count_due() == 0 && added == 0 && !unreachable) {
            quiet++;
            continue;
        }
        quiet = 0;
        if (scp_now() > deadline)
            return name_who_is_due(checkpoint);
        if (scp_now() > patience) {
            force_those_that_block_all();
            patience = scp_now() + PATIENCE_NS;
        }
        if (added == 0)
            scp_futex_wait(&scp_arrived, before, 1000000);
    }
    return 0;
}

void scp_quiesce_prepare(void) {
    struct stat status; // of the links to the folder two are its own, the others its threads
    if (scp_call(SYS_newfstatat, AT_FDCWD, "/proc/self/task", &status, 0) == 0)
        scp_slots_expect(status.st_nlink);
}

int scp_quiesce(struct scp_checkpoint *checkpoint) {
    long directory = scp_call(SYS_openat, AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (directory < 0)
        return scp_fail(checkpoint, (int)-directory, "cannot open /proc/self/task", (char *)NULL);
    tasks = (int)directory;
    int64_t limit = (int64_t)checkpoint->order->quiesce_limit_ms * 1000000;
    checkpoint->pause_start = scp_now();
    scp_slots_reindex();
    scp_gate_close();
    scp_handlers_install();
    if (is_led(checkpoint))
        send_on_their_way();
    int result = scp_exec_bar(checkpoint->pause_start + limit)
                     ? stop_all(checkpoint, checkpoint->pause_start + limit)
                     : scp_fail(checkpoint, ETIMEDOUT,
                                "a thread is starting another program (exec) and does not get on", (char *)NULL);
    scp_call(SYS_close, tasks);
    tasks = -1;
    if (result < 0) {
        scp_resume();
        return result;
    }
    collect();
    if (parked_count == 0 || parked[0]->tid != scp_own_pid) {
        scp_resume();
        return scp_fail(checkpoint, ESRCH, "the process is just ending", (char *)NULL);
    }
    return 0;
}

static void release(uint32_t ran) {
    for (size_t i = 0; i < scp_slots_made(); i++) {
        struct scp_slot *slot = scp_slot_number(i);
        if (slot->ran != ran || atomic_load(&slot->state) != SCP_SLOT_PARKED)
            continue;
        atomic_store(&slot->state, SCP_SLOT_LEAVING);
        atomic_store(&slot->service, SCP_ORDER_GO);
        scp_futex_wake(&slot->service, 1);
    }
}

// The handlers go first, so that no thread sees them; where a request is still on its way they stay until it has come.
void scp_resume(void) {
    scp_gate_open();
    scp_handlers_remove();
    release(1);
    release(0);
    parked_count = 0;
    scp_handlers_remove();
    scp_exec_unbar();
}

static void serve_begin(struct scp_slot *slot, int64_t (*function)(void *), void *argument) {
    slot->service_argument[0] = (int64_t)(uintptr_t)function;
    slot->service_argument[1] = (int64_t)(uintptr_t)argument;
    atomic_store(&slot->service_done, 0);
    atomic_store(&slot->service, SCP_ORDER_SERVE);
    scp_futex_wake(&slot->service, 1);
}

static int64_t serve_end(struct scp_slot *slot) {
    while (atomic_load(&slot->service_done) == 0)
        scp_futex_wait(&slot->service_done, 0, -1);
    return slot->service_result;
}

int64_t scp_on_thread(struct scp_slot *slot, int64_t (*function)(void *), void *argument) {
    serve_begin(slot, function, argument);
    return serve_end(slot);
}

void scp_on_every_thread(int64_t (*function)(void *slot)) {
    for (size_t i = 0; i < parked_count; i++)
        serve_begin(parked[i], function, parked[i]);
    for (size_t i = 0; i < parked_count; i++)
        serve_end(parked[i]);
}

SCP_FORK_CODE void scp_quiesce_forget(void) {
    scp_gate_open();
    parked_count = 0;
    for (size_t i = 0; i < scp_slots_made(); i++)
        atomic_store(&scp_slot_number(i)->state, SCP_SLOT_GONE);
    scp_park_forget(true);
}
