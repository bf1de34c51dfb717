// The start of the shim in a program: read the environment, start the checkpoint thread, follow forks.
#include "worker.h"
#include "state.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

struct scp_settings scp_settings __attribute__((aligned(SCP_PAGE)));
SCP_FORK_DATA bool scp_enabled;
SCP_FORK_DATA uint32_t scp_own_pid;

// Copies an environment variable. False when it is missing, empty or does not fit.
SCP_FORK_CODE static bool environment_string(const char *name, char *out, size_t size) {
    const char *value = getenv(name);
    if (!value || !*value || strlen(value) >= size)
        return false;
    strcpy(out, value);
    return true;
}

static uint64_t signal_set(const char *text) {
    uint64_t set = 0;
    while (*text) {
        uint64_t number = scp_parse_decimal(&text);
        if (number >= 1 && number <= 64)
            set |= 1ull << (number - 1);
        while (*text && (*text < '0' || *text > '9'))
            text++;
    }
    return set;
}

SCP_FORK_CODE static void read_streams(const char *text) {
    for (size_t i = 0; i < sizeof scp_settings.streams / sizeof *scp_settings.streams && *text; i++) {
        scp_settings.streams[i] = scp_parse_decimal(&text);
        text += *text != '\0';
    }
}

SCP_FORK_CODE static bool read_settings(void) {
    char number[128];
    if (!environment_string(SCP_ENV_COMPUTATION, scp_settings.computation, sizeof scp_settings.computation))
        return false;
    if (!environment_string(SCP_ENV_COORDINATOR, scp_settings.coordinator, sizeof scp_settings.coordinator))
        return false;
    environment_string(SCP_ENV_CKPTDIR, scp_settings.checkpoint_directory, sizeof scp_settings.checkpoint_directory);
    scp_settings.quiesce_signal = SIGUSR2;
    if (environment_string(SCP_ENV_SIGNAL, number, sizeof number)) {
        const char *cursor = number;
        uint64_t value = scp_parse_decimal(&cursor);
        if (value >= 1 && value <= 64 && value != SIGKILL && value != SIGSTOP)
            scp_settings.quiesce_signal = (int)value;
    }
    scp_settings.untracked = environment_string(SCP_ENV_TRACKER, number, sizeof number) && strcmp(number, "off") == 0;
    if (environment_string(SCP_ENV_AUTO, number, sizeof number))
        scp_settings.auto_signals = signal_set(number);
    environment_string("TMPDIR", scp_settings.temporary_folder, sizeof scp_settings.temporary_folder);
    if (environment_string(SCP_ENV_STREAMS, number, sizeof number))
        read_streams(number);
    return true;
}

// A child of fork has one thread and no checkpoint thread: it gets its own. Whatever the parent's checkpoint thread was at
// is not this process's: a fork may come at any moment of a checkpoint, also from a thread that is about to be parked. A
// child that is born while its parent is being stopped stops before it does anything: else a program that forks and forks
// would never stand still.
SCP_FORK_CODE static void after_fork_in_child(void) {
    if (!scp_enabled)
        return;
    bool meanwhile = scp_gate_is_closed();
    scp_own_pid = (uint32_t)scp_call(SYS_getpid);
    scp_children_note_fork();
    scp_scratch_release();
    scp_image_forget();
    scp_state_finish();
    scp_quiesce_forget();
    scp_api_forget();
    scp_exec_forget();
    scp_undo_forget();
    if (scp_automatic_pending()) // the terminal's signal goes to the child itself, too
        scp_automatic_forget();
    if (meanwhile)
        scp_worker_expect_checkpoint();
    if (scp_checkpoint_thread_start() == 0 && meanwhile)
        scp_worker_await_checkpoint();
}

__attribute__((constructor)) SCP_FORK_CODE static void start(void) {
    if (getauxval(AT_PAGESZ) != SCP_PAGE || !read_settings())
        return;
    scp_own_pid = (uint32_t)scp_call(SYS_getpid);
    scp_state_thread_setup();
    scp_surroundings_setup(getenv(SCP_ENV_SURROUNDINGS));
    scp_children_setup();
    if (scp_checkpoint_thread_start() < 0)
        return;
    scp_enabled = true;
    scp_automatic_setup();
    scp_exec_setup();
    pthread_atfork(NULL, scp_children_note_fork, after_fork_in_child);
}
