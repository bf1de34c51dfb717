// The application interface (swiftcp.h), as the shim answers it: calls of the program's own threads, so libc's errno and
// threads are at hand here.
#include "worker.h"

#include <errno.h>
#include <pthread.h>

// The oldest versions of these, and weak: before glibc 2.34 a program without libpthread does not have them.
__asm__(".symver pthread_create, pthread_create@GLIBC_2.2.5");
__asm__(".symver pthread_detach, pthread_detach@GLIBC_2.2.5");
extern __typeof__(pthread_create) pthread_create __attribute__((weak));
extern __typeof__(pthread_detach) pthread_detach __attribute__((weak));

#define EXPORT __attribute__((visibility("default")))
#define CALLBACKS 64

// ---- a checkpoint the program asks for ------------------------------------------------------------------------------

SCP_FORK_DATA static _Atomic uint32_t wanted; // how often swiftcp_checkpoint was called
SCP_FORK_DATA static uint32_t passed_on; // of these, told to the coordinator (checkpoint thread only)
static _Atomic uint32_t answers; // how many answers have come, futex
static _Atomic int32_t answer; // the last one

bool scp_ask_pending(struct scp_ask *ask) {
    static int automatic_told;
    int signal = scp_automatic_pending();
    *ask = (struct scp_ask){0};
    if (signal && signal != automatic_told) {
        automatic_told = signal;
        *ask = (struct scp_ask){SCP_ASK_CHECKPOINT_AND_END, signal};
        return true;
    }
    if (!signal)
        automatic_told = 0;
    if (passed_on == atomic_load(&wanted))
        return false;
    passed_on = atomic_load(&wanted); // several threads that ask together get one checkpoint
    ask->kind = SCP_ASK_CHECKPOINT;
    return true;
}

void scp_ask_answer(int result) {
    atomic_store(&answer, result);
    atomic_fetch_add(&answers, 1);
    scp_futex_wake(&answers, INT32_MAX);
}

EXPORT int swiftcp_is_enabled(void) {
    return scp_enabled;
}

EXPORT int swiftcp_checkpoint(void) {
    if (!scp_enabled) {
        errno = ENOSYS;
        return 0;
    }
    uint32_t seen = atomic_load(&answers);
    atomic_fetch_add(&wanted, 1);
    scp_poke();
    while (atomic_load(&answers) == seen)
        scp_futex_wait(&answers, seen, -1); // the coordinator's limits bound it; a lost connection answers too
    int32_t result = atomic_load(&answer);
    if (result > 0)
        return result;
    errno = -result;
    return 0;
}

// ---- critical sections -----------------------------------------------------------------------------------------------

SCP_FORK_DATA static _Atomic uint32_t inside; // threads in critical sections
SCP_FORK_DATA static _Atomic uint32_t closing; // 1: a checkpoint is about to begin or under way, futex
static __thread uint32_t depth;

EXPORT void swiftcp_disable_checkpoint(void) {
    if (!scp_enabled || depth++ > 0)
        return;
    for (;;) {
        atomic_fetch_add(&inside, 1);
        if (atomic_load(&closing) == 0)
            return;
        atomic_fetch_sub(&inside, 1);
        scp_futex_wake(&inside, 1);
        scp_futex_wait(&closing, 1, -1);
    }
}

EXPORT void swiftcp_enable_checkpoint(void) {
    if (!scp_enabled || depth == 0 || --depth > 0)
        return;
    atomic_fetch_sub(&inside, 1);
    if (atomic_load(&closing))
        scp_futex_wake(&inside, 1);
}

bool scp_critical_enter_closing(int64_t deadline) {
    atomic_store(&closing, 1);
    for (uint32_t count; (count = atomic_load(&inside)) > 0;) {
        int64_t left = deadline - scp_now();
        if (left <= 0)
            return false;
        scp_futex_wait(&inside, count, left);
    }
    return true;
}

void scp_critical_leave_closing(void) {
    atomic_store(&closing, 0);
    scp_futex_wake(&closing, INT32_MAX);
}

// ---- callbacks ---------------------------------------------------------------------------------------------------------

// They run on a thread of libc's making that exists only in programs that register one.
static struct {
    int event;
    void (*function)(void *);
    void *context;
} callbacks[CALLBACKS];
SCP_FORK_DATA static _Atomic uint32_t callback_count;
static _Atomic uint32_t callback_request; // counts up, futex of the callback thread
static _Atomic uint32_t callback_done; // follows, futex of the checkpoint thread
static int callback_event;
SCP_FORK_DATA static pthread_mutex_t registering = PTHREAD_MUTEX_INITIALIZER;

static void *callback_thread(void *argument) {
    (void)argument;
    for (uint32_t seen = 0;;) {
        while (atomic_load(&callback_request) == seen)
            scp_futex_wait(&callback_request, seen, -1);
        seen = atomic_load(&callback_request);
        for (uint32_t i = 0; i < atomic_load(&callback_count); i++)
            if (callbacks[i].event == callback_event)
                callbacks[i].function(callbacks[i].context);
        atomic_store(&callback_done, seen);
        scp_futex_wake(&callback_done, 1);
    }
    return NULL;
}

EXPORT int swiftcp_on(int event, void (*function)(void *), void *context) {
    pthread_t thread;
    int result = 0;
    if (!pthread_create || !pthread_detach) {
        errno = ENOSYS;
        return -1;
    }
    if (!scp_enabled || !function || event < SCP_EVENT_QUIESCED || event > SCP_EVENT_RESTARTED) {
        errno = scp_enabled ? EINVAL : ENOSYS;
        return -1;
    }
    pthread_mutex_lock(&registering);
    uint32_t count = atomic_load(&callback_count);
    if (count == CALLBACKS)
        result = ENOSPC;
    else if (count == 0)
        result = pthread_create(&thread, NULL, callback_thread, NULL);
    if (result == 0) {
        callbacks[count].event = event;
        callbacks[count].function = function;
        callbacks[count].context = context;
        atomic_store(&callback_count, count + 1);
        if (count == 0)
            pthread_detach(thread);
    }
    pthread_mutex_unlock(&registering);
    errno = result;
    return result == 0 ? 0 : -1;
}

void scp_callbacks_run(int event) {
    if (atomic_load(&callback_count) == 0)
        return;
    callback_event = event;
    uint32_t request = atomic_fetch_add(&callback_request, 1) + 1;
    scp_futex_wake(&callback_request, 1);
    int64_t deadline = scp_now() + SCP_CALLBACK_LIMIT_NS;
    for (uint32_t done; (done = atomic_load(&callback_done)) != request && scp_now() < deadline;)
        scp_futex_wait(&callback_done, done, deadline - scp_now());
}

SCP_FORK_CODE void scp_api_forget(void) {
    registering = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER; // held by a thread that does not exist here, perhaps
    atomic_store(&callback_count, 0);
    atomic_store(&inside, depth > 0);
    atomic_store(&closing, 0);
    passed_on = atomic_load(&wanted);
}
