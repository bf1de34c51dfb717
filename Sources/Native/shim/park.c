// Parking: the signal handler in which a user thread stops, and the dispositions that lead there.
//
// The signal is SIGUSR2 (--ckpt-signal) where the program leaves it at its default and the thread does not block it; else
// signal 33, libc's own for setuid, which no program can block or handle through libc. Our handlers stand only while
// a checkpoint is under way: before and after, the program's dispositions are the program's.
#include "slots.h"
#include "state.h"

#include <string.h>

#define MAGIC 0x53435031 // si_errno of our requests: "SCP1"

enum gate { GATE_OPEN, GATE_CLOSED };

_Atomic uint32_t scp_arrived;
SCP_FORK_DATA static _Atomic uint32_t gate;

// Our handler stands on these two signals while a checkpoint is under way.
SCP_FORK_DATA static struct installed {
    int signal;
    bool active;
    struct scp_action program; // what the program had there
} installed[2];
SCP_FORK_DATA static _Atomic uint32_t stray_signals; // times SIGUSR2 came from elsewhere meanwhile
SCP_FORK_DATA static _Atomic uint32_t outstanding; // requests sent whose handler has not begun

// ---- in the user's threads --------------------------------------------------------------------------------------------

void scp_slot_wait(struct scp_slot *slot) {
    for (;;) {
        uint32_t order = atomic_load(&slot->service);
        if (order == SCP_ORDER_GO)
            return;
        if (order == SCP_ORDER_SERVE) {
            int64_t (*function)(void *) = (int64_t(*)(void *))(uintptr_t)slot->service_argument[0];
            slot->service_result = function((void *)(uintptr_t)slot->service_argument[1]);
            atomic_store(&slot->service, SCP_ORDER_WAIT);
            atomic_store(&slot->service_done, 1);
            scp_futex_wake(&slot->service_done, 1);
            continue;
        }
        scp_futex_wait(&slot->service, SCP_ORDER_WAIT, -1);
    }
}

static void park(struct scp_slot *slot, ucontext_t *frame) {
    slot->frame = frame;
    slot->parked_at = scp_now();
    scp_state_thread_examine(slot);
    atomic_store(&slot->state, SCP_SLOT_PARKED);
    atomic_fetch_add(&scp_arrived, 1);
    scp_futex_wake(&scp_arrived, 1);
    if (atomic_load(&gate) == GATE_CLOSED) // else: the checkpoint was given up while this thread was on its way
        scp_slot_wait(slot);
    scp_interrupted_repair(slot);
    atomic_store(&slot->state, SCP_SLOT_FREE);
}

static bool is_request(const siginfo_t *info) {
    return info->si_code == SI_QUEUE && info->si_errno == MAGIC && (uint32_t)info->si_pid == scp_own_pid;
}

// A signal from elsewhere while our handler stands: libc's own 33 goes to libc; what would have met the default action
// is sent again when the program's disposition is back.
static void pass_on(int signal, siginfo_t *info, void *context) {
    for (int i = 0; i < 2; i++) {
        if (installed[i].signal != signal)
            continue;
        uint64_t handler = installed[i].program.handler;
        if (handler > (uint64_t)(uintptr_t)SIG_IGN)
            ((void (*)(int, siginfo_t *, void *))(uintptr_t)handler)(signal, info, context);
        else if (handler == (uint64_t)(uintptr_t)SIG_DFL && signal != SCP_FALLBACK_SIGNAL)
            atomic_fetch_add(&stray_signals, 1);
    }
}

// libc's sigaddset refuses its own signals.
static void sigaddset_raw(sigset_t *set, int signal) {
    uint64_t mask;
    memcpy(&mask, set, sizeof mask);
    mask |= 1ull << (signal - 1);
    memcpy(set, &mask, sizeof mask);
}

static void on_request(int signal, siginfo_t *info, void *context) {
    if (!is_request(info)) {
        pass_on(signal, info, context);
        return;
    }
    struct scp_slot *slot = info->si_value.sival_ptr;
    atomic_fetch_sub(&outstanding, 1);
    if (atomic_exchange(&slot->forced, 0))
        sigaddset_raw(&((ucontext_t *)context)->uc_sigmask, SCP_FALLBACK_SIGNAL);
    if (atomic_load(&gate) == GATE_CLOSED && atomic_load(&slot->state) == SCP_SLOT_ASKED)
        park(slot, context);
    else
        atomic_store(&slot->state, SCP_SLOT_FREE);
}

// ---- in the checkpoint thread ------------------------------------------------------------------------------------------

static void install(struct installed *entry, int signal) {
    struct scp_action ours = {.handler = (uint64_t)(uintptr_t)on_request,
                              .flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK | 0x04000000 /* SA_RESTORER */,
                              .restorer = (uint64_t)(uintptr_t)scp_arch_signal_return,
                              .mask = ~0ull};
    struct scp_action current;
    scp_signal_action(signal, NULL, &current);
    if (current.handler == ours.handler)
        return; // still there: a request of the last checkpoint is outstanding
    entry->signal = signal;
    entry->program = current;
    entry->active = scp_signal_action(signal, &ours, NULL) == 0;
}

static bool program_leaves_alone(int signal) {
    struct scp_action current;
    return scp_signal_action(signal, NULL, &current) == 0 &&
           (current.handler == (uint64_t)(uintptr_t)SIG_DFL || current.handler == (uint64_t)(uintptr_t)on_request);
}

void scp_handlers_install(void) {
    if (program_leaves_alone(scp_settings.quiesce_signal))
        install(&installed[0], scp_settings.quiesce_signal);
    install(&installed[1], SCP_FALLBACK_SIGNAL);
}

// Not while a request is outstanding: it would meet the default action. (The next checkpoint clears up.)
void scp_handlers_remove(void) {
    if (atomic_load(&outstanding) != 0)
        return;
    for (int i = 0; i < 2; i++) {
        struct scp_action current;
        if (!installed[i].active)
            continue;
        scp_signal_action(installed[i].signal, NULL, &current);
        if (current.handler == (uint64_t)(uintptr_t)on_request) // else: the program has set its own meanwhile
            scp_signal_action(installed[i].signal, &installed[i].program, NULL);
        installed[i].active = false;
    }
    for (uint32_t n = atomic_exchange(&stray_signals, 0); n > 0; n--)
        scp_call(SYS_kill, scp_own_pid, scp_settings.quiesce_signal);
}

int scp_quiesce_program_action(int signal, struct scp_action *out) {
    for (int i = 0; i < 2; i++)
        if (installed[i].active && installed[i].signal == signal) {
            *out = installed[i].program;
            return 1;
        }
    return 0;
}

void scp_gate_close(void) {
    atomic_store(&gate, GATE_CLOSED);
}

SCP_FORK_CODE void scp_gate_open(void) {
    atomic_store(&gate, GATE_OPEN);
}

static int send_request(struct scp_slot *slot, int signal) {
    siginfo_t info = {.si_code = SI_QUEUE, .si_errno = MAGIC};
    info.si_signo = signal;
    info.si_pid = (pid_t)scp_own_pid;
    info.si_value.sival_ptr = slot;
    atomic_fetch_add(&outstanding, 1);
    long result = scp_call(SYS_rt_tgsigqueueinfo, scp_own_pid, slot->tid, signal, &info);
    if (result < 0)
        atomic_fetch_sub(&outstanding, 1);
    return (int)result;
}

int scp_request_park(struct scp_slot *slot, uint64_t blocked_signals) {
    int signal = scp_settings.quiesce_signal;
    if (!installed[0].active || installed[0].signal != signal || blocked_signals >> (signal - 1) & 1)
        signal = SCP_FALLBACK_SIGNAL; // blocked too only inside libc's pthread_create and thread exit, for a moment
    atomic_store(&slot->service, SCP_ORDER_WAIT);
    atomic_store(&slot->state, SCP_SLOT_ASKED);
    int result = send_request(slot, signal);
    if (result < 0)
        atomic_store(&slot->state, SCP_SLOT_GONE);
    return result;
}

void scp_request_leave(struct scp_slot *slot) {
    send_request(slot, SCP_FALLBACK_SIGNAL);
}

void scp_request_lost(void) {
    atomic_fetch_sub(&outstanding, 1);
}

// fork copies the dispositions first and memory after: what stands in the kernel decides, not what the copy says of it.
// Where our handler stands, the program's disposition was noted before.
SCP_FORK_CODE static void put_back_copied(void) {
    for (int i = 0; i < 2; i++) {
        struct scp_action current;
        if (installed[i].signal == 0)
            continue;
        scp_signal_action(installed[i].signal, NULL, &current);
        if (current.handler == (uint64_t)(uintptr_t)on_request)
            scp_signal_action(installed[i].signal, &installed[i].program, NULL);
    }
}

// In a child of fork each page written is a page copied.
SCP_FORK_CODE void scp_park_forget(bool handlers_stand) {
    if (handlers_stand)
        put_back_copied();
    if (atomic_load(&outstanding) != 0)
        atomic_store(&outstanding, 0);
    if (atomic_load(&stray_signals) != 0) // they are sent again to the parent alone
        atomic_store(&stray_signals, 0);
    for (int i = 0; i < 2; i++)
        if (installed[i].active)
            installed[i].active = false;
}

SCP_FORK_CODE bool scp_gate_is_closed(void) {
    return atomic_load(&gate) == GATE_CLOSED;
}
