// Back in the restored address space. The restorer has made the threads and jumped here (swiftcp_reentry.h); each
// restores what only it can, then all wait until the checkpoint thread has restored the rest and lets them go.
//
//   restorer                     user threads                       checkpoint thread
//   clone3 (all) ------------->  scp_thread_entry                   scp_checkpoint_entry
//                                own state, count in  ----------->  all in: process state, descriptors' locks
//                                                                   unmap the blob
//                                                                   of a set: say "arrived", wait for go
//                                                                   start timers, say "restored"
//                                leave by rt_sigreturn  <---------  release
#include "slots.h"
#include "state.h"
#include "swiftcp_tracer.h"

#include <errno.h>
#include <linux/close_range.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>

#define ARRIVAL_LIMIT_NS 60000000000ll
#define GO_LIMIT_S 60
#define WORKING (sizeof((struct scp_arrival *)0)->working_descriptors / sizeof(int32_t) + 1)

static _Atomic uint32_t arrived; // zero in every image
static struct scp_arrival_report word; // being sent
static int status_descriptor = -1, go_descriptor = -1;

void scp_reentry_prepare(void) {
    atomic_store(&arrived, 0);
}

static void tell(uint32_t state, int error, const char *what, const char *object) {
    if (status_descriptor < 0)
        return;
    memset(&word, 0, sizeof word);
    word.state = state;
    word.error = error < 0 ? -error : error;
    if (error)
        scp_concat(word.text, sizeof word.text, what, object, ": ", scp_error_name(word.error), (char *)NULL);
    else
        scp_concat(word.text, sizeof word.text, what, object, (char *)NULL);
    scp_call(SYS_write, status_descriptor, &word, sizeof word);
}

void scp_arrival_warn(int error, const char *what, const char *object) {
    tell(SCP_ARRIVAL_WARNING, error, what, object ? object : "");
}

static void patch_tid(struct scp_slot *slot) {
    uint32_t tid = (uint32_t)scp_call(SYS_gettid);
    slot->tid = tid;
    slot->record.tid = tid;
    if (slot->record.clear_child_tid)
        *(uint32_t *)slot->record.clear_child_tid = tid;
}

void scp_thread_entry(struct scp_slot *slot, const struct scp_arrival *arrival) {
    uint32_t flags = arrival->flags;
    if (flags & SCP_ARRIVAL_PATCHED_TIDS)
        patch_tid(slot);
    scp_state_thread_restore(slot);
    if (flags & SCP_ARRIVAL_DROP_CAPABILITIES)
        scp_state_thread_drop_capabilities();
    atomic_fetch_add(&arrived, 1);
    scp_futex_wake(&arrived, 1);
    scp_slot_wait(slot);
    scp_interrupted_repair(slot);
    ucontext_t *frame = slot->frame;
    atomic_store(&slot->state, SCP_SLOT_FREE);
    scp_arch_return_to_frame(frame);
}

static void copy_settings(const struct scp_arrival *arrival) {
    memcpy(scp_settings.coordinator, arrival->coordinator, sizeof scp_settings.coordinator);
    if (arrival->computation[0])
        memcpy(scp_settings.computation, arrival->computation, sizeof scp_settings.computation);
    if (arrival->checkpoint_directory[0])
        memcpy(scp_settings.checkpoint_directory, arrival->checkpoint_directory,
               sizeof scp_settings.checkpoint_directory);
    memcpy(scp_settings.streams, arrival->streams, sizeof scp_settings.streams);
    scp_exec_renew(NULL);
}

// Not before all threads of the set have been made: a look takes a thread id.
static void look_around(void) {
    char surroundings[72];
    scp_surroundings_renew(surroundings, sizeof surroundings);
    scp_exec_renew(surroundings);
}

// The private table still is a copy of swiftcp_restart's hand-over: only the status and the go pipe matter.
static void close_all_but_pipes(void) {
    int kept[2] = {go_descriptor, status_descriptor}, from = 0;
    if (kept[0] > kept[1]) {
        kept[0] = status_descriptor;
        kept[1] = go_descriptor;
    }
    for (int i = 0; i < 2; i++) {
        if (kept[i] > from)
            scp_call(SYS_close_range, from, kept[i] - 1, 0);
        if (kept[i] >= from)
            from = kept[i] + 1;
    }
    scp_call(SYS_close_range, from, ~0u, 0);
}

static void end_unrestored(int error, const char *why) {
    tell(SCP_ARRIVAL_FAILED, error, why, "");
    scp_call(SYS_exit_group, 1);
}

static void await_all(uint32_t threads) {
    int64_t deadline = scp_now() + ARRIVAL_LIMIT_NS;
    for (uint32_t count; (count = atomic_load(&arrived)) < threads;) {
        if (scp_now() > deadline)
            end_unrestored(ETIMEDOUT, "not all threads came back");
        scp_futex_wait(&arrived, count, 1000000000);
    }
}

// On the leader: descriptors, locks and owners are the program's. The status pipe stays there until all is done, so that
// both tables have it under one number for warnings.
static int64_t restore_descriptors(void *argument) {
    (void)argument;
    return scp_descriptors_restore();
}

static int64_t finish_descriptors(void *argument) {
    const int32_t *working = argument;
    int result = scp_descriptors_seal();
    for (size_t i = 0; i < WORKING; i++)
        if (working[i] >= 0)
            scp_call(SYS_close, working[i]);
    return result;
}

// The other processes of the set may not be back yet. The byte stays in the pipe for them.
static void await_go(void) {
    if (go_descriptor < 0)
        return;
    tell(SCP_ARRIVAL_ARRIVED, 0, "", "");
    struct pollfd go = {go_descriptor, POLLIN, 0};
    struct timespec limit = {GO_LIMIT_S, 0}; // the kernel writes back what is left of it
    long ready;
    do
        ready = scp_call(SYS_ppoll, &go, 1, &limit, NULL, 8);
    while (ready == -EINTR);
    if (ready <= 0)
        end_unrestored(ready == 0 ? ETIMEDOUT : (int)ready, "the other processes of the set did not come back");
}

// Until the pipe is closed at its other end: all are restored and known to the coordinator. One that ran before might end
// another one, of which nobody had heard.
static void await_others(void) {
    if (go_descriptor < 0)
        return;
    struct pollfd end = {go_descriptor, 0, 0};
    struct timespec limit = {GO_LIMIT_S, 0};
    while (scp_call(SYS_ppoll, &end, 1, &limit, NULL, 8) == -EINTR)
        continue;
    scp_call(SYS_close, go_descriptor);
    go_descriptor = -1;
}

void scp_checkpoint_entry(void *argument, const struct scp_arrival *arrival) {
    (void)argument;
    uint64_t blob = arrival->blob_start, blob_length = arrival->blob_length;
    uint32_t flags = arrival->flags;
    int32_t working[WORKING]; // the arrival goes with the blob
    memcpy(working, arrival->working_descriptors, sizeof arrival->working_descriptors);
    working[WORKING - 1] = arrival->go_descriptor;
    status_descriptor = arrival->status_descriptor;
    go_descriptor = arrival->go_descriptor;
    atomic_store(&scp_checkpoint_thread_tid, (uint32_t)scp_call(SYS_gettid));
    scp_own_pid = (uint32_t)scp_call(SYS_getpid);
    scp_call(SYS_prctl, PR_SET_NAME, SCP_THREAD_NAME, 0, 0, 0);
    atomic_store(&scp_lazy_regions, (flags & SCP_ARRIVAL_LAZY) != 0);
    atomic_fetch_add(&scp_memory_restarts, 1);
    copy_settings(arrival);
    close_all_but_pipes();
    scp_scratch_forget();
    scp_image_forget();
    scp_park_forget(false);
    await_all(arrival->user_threads);
    int result = scp_state_restore();
    if (result == 0)
        result = (int)scp_on_thread(scp_slot_at(0), restore_descriptors, NULL);
    if (result < 0)
        end_unrestored(result, "the state of the process could not be restored");
    if (flags & SCP_ARRIVAL_DROP_CAPABILITIES)
        scp_state_thread_drop_capabilities();
    scp_call(SYS_munmap, blob, blob_length);
    scp_link = (struct scp_link){-1, {-1, -1}};
    scp_link_open_poke();
    scp_stops_hush();
    await_go();
    look_around();
    scp_on_thread(scp_slot_at(0), finish_descriptors, working);
    scp_stops_await();
    result = scp_state_start();
    if (result < 0)
        end_unrestored(result, "the timers of the process could not be started");
    scp_link_connect(true); // the coordinator hears of it before the program can end it; tried again if in vain
    tell(SCP_ARRIVAL_RESTORED, 0, "", "");
    scp_call(SYS_close, status_descriptor);
    status_descriptor = -1;
    scp_stops_stop();
    await_others();
    scp_automatic_forget();
    scp_ask_answer(2);
    scp_critical_leave_closing();
    scp_resume();
    scp_callbacks_run(SCP_EVENT_RESTARTED);
    scp_worker_run(true);
}
