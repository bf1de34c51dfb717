// The checkpoint thread: waits for the coordinator's word and carries a checkpoint through its stages.
#include "worker.h"
#include "memory.h"
#include "state.h"

#include <errno.h>
#include <string.h>

#define NEWBORN_MS 3 // most commands of a shell have gone by then, and the coordinator need never hear of them
#define FIRST_WAIT_MS 50
#define RECONNECT_LIMIT_MS 2000
#define REFUSED_WAIT_MS (-1)
#define SMALL_IMAGE (16u << 20) // bytes
#define FIRST_PACE_NS 20000000ll // between looks at what was written while the others are waited for; longer each time
#define LAST_PACE_NS 2000000000ll
#define BIRTH_WAIT_MS 20 // from WELCOME to the order of a checkpoint that is under way
#define BIRTH_LIMIT_NS 2000000000ll // for all of it

static struct scp_checkpoint checkpoint; // the one in progress
static struct scp_checkpoint_order order;
static struct scp_stage_report report;

// ---- born during a checkpoint --------------------------------------------------------------------------------------------

SCP_FORK_DATA static _Atomic uint32_t expecting; // 1: the only thread of this process waits; futex

void scp_worker_expect_checkpoint(void) {
    atomic_store(&expecting, 1);
}

SCP_FORK_CODE static bool others_wait_for_us(void) {
    return atomic_load(&expecting) != 0;
}

void scp_worker_await_checkpoint(void) {
    int64_t deadline = scp_now() + BIRTH_LIMIT_NS;
    for (int64_t left; atomic_load(&expecting) && (left = deadline - scp_now()) > 0;)
        scp_futex_wait(&expecting, 1, left);
}

static void stop_expecting(void) {
    if (atomic_load(&expecting) == 0)
        return;
    atomic_store(&expecting, 0);
    scp_futex_wake(&expecting, 1);
}

// ---- one checkpoint ---------------------------------------------------------------------------------------------------

static void end_process(void) {
    scp_call(SYS_kill, scp_own_pid, SIGKILL);
}

// What ends a checkpoint at any moment: the loss of the connection, the order to end, an abort. Else `length`.
static int obey(int length, uint16_t type) {
    if (length < 0)
        return scp_fail(&checkpoint, -length, "the connection to the coordinator was lost", (char *)NULL);
    if (type == SCP_MESSAGE_KILL)
        end_process();
    if (type == SCP_MESSAGE_ABORT)
        return scp_fail(&checkpoint, ECANCELED, "given up by the coordinator", (char *)NULL);
    return length;
}

// Waits for the coordinator's GO of `stage`. The buffer holds the largest of the messages that can come.
static int await_in(enum scp_stage stage, void *message, size_t size) {
    int64_t deadline = scp_now() + order.stage_limit_ms * 1000000ll;
    for (;;) {
        uint16_t type;
        int64_t left = deadline - scp_now();
        int length = scp_link_receive(&type, message, size, left < 0 ? 0 : (int)(left / 1000000) + 1);
        if (length == -EINTR)
            continue; // the program asks for something: looked at afterwards
        if (length == -ETIMEDOUT)
            return scp_fail(&checkpoint, ETIMEDOUT, "the other processes or the coordinator did not get ready in time",
                            (char *)NULL);
        if ((length = obey(length, type)) < 0)
            return length;
        if (type == SCP_MESSAGE_ASSIGNMENT && stage == SCP_STAGE_SURVEYED) {
            int result = scp_survey_accept(&checkpoint, message, (size_t)length);
            if (result < 0)
                return result;
        }
        const struct scp_stage_go *go = message;
        if (type == SCP_MESSAGE_GO && go->stage == (uint32_t)stage && go->generation == order.generation) {
            checkpoint.processes = go->processes;
            return 0;
        }
    }
}

static int await(enum scp_stage stage) {
    static struct scp_text message;
    return await_in(stage, &message, sizeof message);
}

static bool all_stop; // GO running has come

static void note_start(uint16_t type, const void *message) {
    const struct scp_stage_go *go = message;
    if (type == SCP_MESSAGE_GO && go->stage == SCP_STAGE_RUNNING && go->generation == order.generation)
        all_stop = true;
}

int scp_worker_heed(void) {
    static struct scp_text message;
    for (;;) {
        uint16_t type;
        int length = scp_link_receive(&type, &message, sizeof message, 0);
        if (length == -ETIMEDOUT || length == -EINTR) // what the program asks for is looked at afterwards
            return 0;
        if ((length = obey(length, type)) < 0)
            return length;
        note_start(type, &message);
    }
}

int scp_worker_await_start(int64_t limit_ns) {
    static struct scp_text message;
    int64_t deadline = scp_now() + limit_ns;
    for (int64_t left; !all_stop && (left = deadline - scp_now()) > 0;) {
        uint16_t type;
        int length = scp_link_receive(&type, &message, sizeof message, (int)(left / 1000000) + 1);
        if (length == -ETIMEDOUT || length == -EINTR) // what the program asks for is looked at afterwards
            continue;
        if ((length = obey(length, type)) < 0)
            return length;
        note_start(type, &message);
    }
    return all_stop;
}

static int report_stage(enum scp_stage stage) {
    report.stage = stage;
    report.generation = order.generation;
    report.bytes_written = checkpoint.bytes_written;
    report.memory_bytes = checkpoint.memory_bytes;
    report.metadata_checksum = checkpoint.metadata_checksum;
    report.regions = (uint32_t)checkpoint.regions.count;
    report.descriptors = (uint32_t)checkpoint.descriptors.count;
    report.snapshot = checkpoint.snapshot;
    if (scp_link_send(SCP_MESSAGE_STAGE, &report, sizeof report) < 0)
        return scp_fail(&checkpoint, EPIPE, "the connection to the coordinator was lost", (char *)NULL);
    return 0;
}

// Why memory was taken the way it was.
static void report_snapshot(void) {
    static struct scp_text text;
    memset(&text, 0, sizeof text);
    text.generation = order.generation;
    memcpy(text.text, checkpoint.snapshot_why, sizeof checkpoint.snapshot_why);
    scp_link_send(SCP_MESSAGE_SNAPSHOT, &text, sizeof text); // a loss is told by the next report
}

// What the image needs beside itself.
static void report_ancestors(void) {
    static struct {
        struct scp_ancestors head;
        uint32_t numbers[2 * SCP_ANCESTORS_MAXIMUM];
    } message;
    uint32_t count = checkpoint.ancestor_count, pages = checkpoint.file_page_count;
    message.head = (struct scp_ancestors){.generation = order.generation, .count = count, .file_pages = pages};
    memcpy(message.numbers, checkpoint.ancestors, count * sizeof *message.numbers);
    memcpy(message.numbers + count, checkpoint.file_pages, pages * sizeof *message.numbers);
    scp_link_send(SCP_MESSAGE_ANCESTORS, &message, sizeof message.head + (count + pages) * sizeof *message.numbers);
}

static int reach(enum scp_stage stage) {
    int result = report_stage(stage);
    return result < 0 ? result : await(stage == SCP_STAGE_WRITTEN ? SCP_STAGE_COMMITTED : stage);
}

// The barrier of SNAPSHOTTED is there for the others: who is alone tells and goes on. GO comes, and is passed over.
static int reach_snapshotted(void) {
    if (checkpoint.processes != 1)
        return reach(SCP_STAGE_SNAPSHOTTED);
    int result = report_stage(SCP_STAGE_SNAPSHOTTED);
    return result < 0 ? result : scp_worker_heed();
}

static int prepare(void) {
    scp_quiesce_prepare();
    int result = scp_tables_open(&checkpoint);
    if (result == 0)
        result = scp_state_prepare(&checkpoint);
    if (result == 0)
        result = scp_regions_prepare(&checkpoint);
    if (result == 0)
        result = scp_descriptors_prepare(&checkpoint);
    if (result == 0)
        result = scp_image_open(&checkpoint);
    return result;
}

static int quiesce(void) {
    if (!scp_critical_enter_closing(scp_now() + order.quiesce_limit_ms * 1000000ll))
        return scp_fail(&checkpoint, ETIMEDOUT,
                        "the program stayed in a critical section (swiftcp_disable_checkpoint) beyond the time limit",
                        (char *)NULL);
    int result = scp_quiesce(&checkpoint);
    report.threads = (uint32_t)scp_slot_count();
    return result;
}

static int examine(void) {
    int result = scp_tables_threads(&checkpoint);
    if (result == 0 && !checkpoint.surveyed)
        result = scp_regions_examine(&checkpoint);
    if (result == 0)
        result = scp_state_examine(&checkpoint);
    if (result == 0)
        result = scp_descriptors_examine(&checkpoint);
    return result;
}

// Who saves what the processes share: from here on this one knows what is its own to save.
static int survey(void) {
    int result = scp_survey_send(&checkpoint);
    if (result == 0)
        result = report_stage(SCP_STAGE_SURVEYED);
    if (result < 0)
        return result;
    size_t size = sizeof(struct scp_text) + checkpoint.surveyed_count * sizeof(struct scp_assigned) +
                  order.stopped_among * sizeof(uint32_t);
    void *message = scp_scratch_map(size);
    if (!message)
        return scp_fail(&checkpoint, ENOMEM, "no memory for the coordinator's answer", (char *)NULL);
    result = await_in(SCP_STAGE_SURVEYED, message, size);
    scp_scratch_unmap(message);
    if (result == 0 && !checkpoint.surveyed)
        result = scp_fail(&checkpoint, EPROTO, "the coordinator has not said who saves what the processes share",
                          (char *)NULL);
    return result;
}

// Nobody else had this order, and nobody can have been born since.
static bool seems_alone(void) {
    return checkpoint.childless && order.flags & SCP_CHECKPOINT_ALONE;
}

// Who seems to be alone looks at itself while the coordinator answers.
static int examine_when_all_stand(void) {
    bool early = seems_alone();
    int result = report_stage(SCP_STAGE_QUIESCED);
    checkpoint.processes = early;
    if (result == 0 && early)
        result = examine();
    if (result == 0)
        result = await(SCP_STAGE_QUIESCED);
    if (result < 0 || (early && checkpoint.processes == 1))
        return result;
    if (early)
        return scp_fail(&checkpoint, EAGAIN, "another process has just joined", (char *)NULL);
    if (checkpoint.processes > 1)
        result = survey();
    return result == 0 ? examine() : result;
}

static bool is_small(void) {
    return checkpoint.file_position <= SMALL_IMAGE;
}

// From the first signal until memory is taken. The threads stay parked.
static int pause_and_take(void) {
    int result = quiesce();
    if (result == 0)
        result = scp_children_report(&checkpoint);
    if (result < 0)
        return result;
    result = examine_when_all_stand();
    scp_reentry_prepare(); // what a restart finds in this memory
    if (result == 0)
        result = scp_image_write_memory(&checkpoint);
    // A short-lived process of a tree may end, or exec, before its image is written: a small one is completed in the pause,
    // and stays true then (the report has its checksum).
    bool small = checkpoint.processes > 1 && is_small();
    if (result == 0 && !scp_child_runs(&checkpoint) && (small || order.flags & SCP_CHECKPOINT_SEAL))
        result = scp_image_seal(&checkpoint);
    if (result == 0 && checkpoint.snapshot_why[0])
        report_snapshot();
    if (result == 0 && checkpoint.ancestor_count + checkpoint.file_page_count > 0)
        report_ancestors();
    return result == 0 ? reach_snapshotted() : result;
}

// In a process that is stopped nobody could carry them out.
static void run_callbacks(enum scp_event event) {
    if (order.stopped_by == 0)
        scp_callbacks_run(event);
}

static void let_go(void) {
    scp_resume();
    report.pause_ns = (uint64_t)(scp_now() - checkpoint.pause_start);
    scp_critical_leave_closing();
    run_callbacks(SCP_EVENT_RESUMED);
}

static int complete(void) {
    int result = scp_image_finish(&checkpoint);
    if (result == 0)
        result = reach(SCP_STAGE_WRITTEN);
    if (result == 0)
        scp_image_committed();
    return result;
}

// The end follows: the program does nothing any more that its image does not know of.
static int complete_and_end(void) {
    report.pause_ns = (uint64_t)(scp_now() - checkpoint.pause_start);
    int result = complete();
    if (result == 0)
        result = await(SCP_STAGE_RUNNING); // KILL comes instead; any other end of the wait lets the program go
    let_go();
    return result;
}

// Waits for the others, whose memory may be larger. Much that is written already goes to the disk first: it would take the
// processors when all are to go on.
static int start_together(void) {
    int64_t deadline = scp_now() + order.stage_limit_ms * 1000000ll;
    int result = is_small() ? 0 : scp_image_sync(&checkpoint);
    if (result == 0)
        result = report_stage(SCP_STAGE_RUNNING);
    for (int64_t pace = FIRST_PACE_NS; result == 0; pace = pace < LAST_PACE_NS ? pace * 2 : pace) {
        int started = scp_worker_await_start(pace);
        if (started != 0)
            return started < 0 ? started : 0;
        if (scp_now() > deadline)
            return scp_fail(&checkpoint, ETIMEDOUT, "the other processes did not get ready in time", (char *)NULL);
        result = scp_precopy_again(&checkpoint);
    }
    return result;
}

static int carry_out(void) {
    int result = prepare();
    if (result < 0)
        return result;
    scp_pace_set(SCP_PACE_PATIENT);
    if (others_wait_for_us())
        scp_snapshot_because(&checkpoint, "born when the others stood still already", "");
    else
        result = scp_precopy(&checkpoint);
    if (result == 0)
        scp_scratch_stock();
    if (result == 0 && order.flags & SCP_CHECKPOINT_TOGETHER)
        result = start_together();
    if (result < 0)
        return result;
    run_callbacks(SCP_EVENT_QUIESCED);
    scp_pace_set(SCP_PACE_PROMPT);
    result = pause_and_take();
    if (result == 0 && order.flags & SCP_CHECKPOINT_STAY_STOPPED)
        return complete_and_end();
    let_go();
    scp_pace_set(SCP_PACE_PATIENT);
    if (result < 0)
        return result;
    scp_pace_make_way(checkpoint.processes);
    return complete();
}

static void tell_failure(void) {
    static struct scp_text text;
    memset(&text, 0, sizeof text);
    text.error = checkpoint.error;
    text.generation = order.generation;
    memcpy(text.text, checkpoint.error_text, sizeof text.text);
    if (scp_link.socket >= 0)
        scp_link_send(SCP_MESSAGE_FAILED, &text, sizeof text);
}

static void do_checkpoint(void) {
    memset(&checkpoint, 0, sizeof checkpoint);
    memset(&report, 0, sizeof report);
    checkpoint.order = &order;
    checkpoint.image = -1;
    checkpoint.snapshot = SCP_SNAPSHOT_STOP;
    scp_stops_note((int)order.stopped_by);
    all_stop = false;
    int result = carry_out();
    if (result < 0) {
        if (checkpoint.error == 0)
            scp_fail(&checkpoint, -result, "the checkpoint failed", (char *)NULL);
        scp_image_abandon(&checkpoint);
        if (checkpoint.error != ECANCELED)
            tell_failure();
    }
    scp_descriptors_close(&checkpoint);
    scp_state_finish();
    scp_tables_close(&checkpoint);
    scp_scratch_end();
    scp_pace_set(SCP_PACE_USUAL);
}

// ---- the loop ----------------------------------------------------------------------------------------------------------

static void look_at_asks(void) {
    struct scp_ask ask;
    while (scp_ask_pending(&ask))
        if (scp_link.socket < 0 || scp_link_send(SCP_MESSAGE_ASK, &ask, sizeof ask) < 0) {
            if (ask.kind == SCP_ASK_CHECKPOINT_AND_END)
                scp_automatic_deliver();
            else
                scp_ask_answer(-ENOTCONN);
        }
}

// The coordinator has gone: whoever waits for its answer must not wait for ever.
static void answer_unheard(void) {
    scp_ask_answer(-EPIPE);
    scp_automatic_deliver();
}

static bool dispatch(uint16_t type, const void *payload, int length) {
    switch (type) {
    case SCP_MESSAGE_WELCOME:
        return ((const struct scp_welcome *)payload)->error == 0;
    case SCP_MESSAGE_CHECKPOINT:
        if (length != (int)sizeof order)
            return false; // another build's coordinator: better no connection than one that never answers
        memcpy(&order, payload, sizeof order);
        do_checkpoint();
        stop_expecting();
        return true;
    case SCP_MESSAGE_ANSWER:
        if (scp_automatic_pending() && ((const struct scp_text *)payload)->error)
            scp_automatic_deliver();
        else
            scp_ask_answer(((const struct scp_text *)payload)->error ? -((const struct scp_text *)payload)->error : 1);
        return true;
    case SCP_MESSAGE_KILL:
        end_process();
        return true;
    }
    return true; // late words of a checkpoint that was given up
}

// Waits without a connection: a poke or the limit ends it.
SCP_FORK_CODE static void wait_unconnected(int limit_ms) {
    uint16_t type;
    char nothing[8];
    scp_link_receive(&type, nothing, sizeof nothing, limit_ms);
}

SCP_FORK_CODE void scp_worker_newborn(void) {
    if (!others_wait_for_us())
        wait_unconnected(NEWBORN_MS);
}

void scp_worker_run(bool restarted) {
    static char payload[8192];
    int wait_ms = FIRST_WAIT_MS;
    bool welcome = false;
    if (restarted)
        stop_expecting();
    for (;;) {
        if (scp_link.socket < 0 && wait_ms != REFUSED_WAIT_MS)
            scp_link_connect(restarted);
        look_at_asks();
        if (scp_link.socket < 0) {
            stop_expecting();
            wait_unconnected(wait_ms);
            if (wait_ms != REFUSED_WAIT_MS)
                wait_ms = wait_ms * 2 > RECONNECT_LIMIT_MS ? RECONNECT_LIMIT_MS : wait_ms * 2;
            continue;
        }
        uint16_t type;
        bool soon = welcome && atomic_load(&expecting);
        int length = scp_link_receive(&type, payload, sizeof payload, soon ? BIRTH_WAIT_MS : -1);
        if (length == -ETIMEDOUT)
            stop_expecting();
        if (length < 0) {
            if (scp_link.socket < 0)
                answer_unheard();
            if (scp_link.socket < 0 && !welcome) { // closed without a word that can be read: not at once again
                wait_unconnected(wait_ms);
                wait_ms = wait_ms * 2 > RECONNECT_LIMIT_MS ? RECONNECT_LIMIT_MS : wait_ms * 2;
            }
            welcome = welcome && scp_link.socket >= 0;
            continue;
        }
        wait_ms = FIRST_WAIT_MS;
        welcome = true;
        if (!dispatch(type, payload, length)) {
            scp_link_close();
            wait_ms = REFUSED_WAIT_MS;
        }
    }
}
