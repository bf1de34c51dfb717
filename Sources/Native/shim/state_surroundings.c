// What accompanies a thread and does not come back: seccomp filters, landlock domains, keyrings of its own. A program may have
// them of its surroundings (a container, a login), and has them again when it is restarted there; what it, or a program
// before it in the computation, has added makes a checkpoint fail by name.
//
// The surroundings are looked at once, in the launched program before its own code runs; every later program of the computation
// reads what was found (SCP_ENV_SURROUNDINGS). After a restart they are those of swiftcp_restart.
//
// The kernel tells nobody of landlock. But who is in a domain may not look into processes that are not: a thread that may look
// into the coordinator, which lives in the surroundings, has entered none. Of the others (after a restart in namespaces, say)
// those are asked that may have: a domain has a number of layers at most; a thread that is made for the purpose counts how
// many may still be added to it, and ends. Where none can be made (SCHED_DEADLINE) nothing is known.
// Source: Linux security/landlock/{ptrace.c,limits.h}, kcmp(2), landlock_restrict_self(2).
// A keyring shows by its serial number. Source: keyctl(2), KEYCTL_GET_KEYRING_ID.
#define _GNU_SOURCE
#include "state.h"
#include "worker.h"

#include <errno.h>
#include <linux/kcmp.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define LANDLOCK_CREATE_RULESET 444
#define LANDLOCK_RESTRICT_SELF 446
#define LANDLOCK_VERSION 1 // flag of the first
#define FS_EXECUTE 1 // an access right that every version knows
#define LAYERS_LIMIT 100 // more than any kernel allows
#define LAYERS_NOT_KNOWN UINT64_MAX
#define ADMINISTRATOR (1ull << 21) // CAP_SYS_ADMIN: enters a domain without no-new-privileges

SCP_FORK_DATA static struct { uint64_t filters, free_layers, keyring; } start;
static int coordinator; // its pid, 0 = not in our namespace

// ---- landlock -------------------------------------------------------------------------------------------------------

struct probe {
    long ruleset;
    uint64_t layers;
};

static __attribute__((noinline, noreturn)) void add_layers(struct probe *probe) {
    scp_call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    while (probe->layers < LAYERS_LIMIT && scp_call(LANDLOCK_RESTRICT_SELF, probe->ruleset, 0) == 0)
        probe->layers++;
    for (;;)
        scp_call(SYS_exit, 0);
}

// How many layers may be added to the calling thread's domain; 0 where there is no landlock, `unknown` where no process can be
// made. The thread stands in the kernel until that has ended, and lends it its stack. All signals are blocked. Not a
// thread: where the process is stopped a new one would be too. Without an exit signal no wait of the program's sees it.
static uint64_t free_layers(uint64_t unknown) {
    uint64_t rights[1] = {FS_EXECUTE};
    struct probe probe = {scp_call(LANDLOCK_CREATE_RULESET, rights, sizeof rights, 0), 0};
    if (probe.ruleset < 0)
        return 0;
    long child = scp_call(SYS_clone, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_VFORK, 0, 0, 0, 0);
    if (child == 0)
        add_layers(&probe);
    scp_call(SYS_close, probe.ruleset);
    if (child < 0)
        return unknown;
    struct rusage used = {.ru_minflt = 0};
    while (scp_call(SYS_wait4, child, NULL, __WALL, &used) == -EINTR)
        continue;
    scp_children_discount(used.ru_minflt);
    return probe.layers;
}

static bool has_landlock(void) {
    return scp_call(LANDLOCK_CREATE_RULESET, NULL, 0, LANDLOCK_VERSION) > 0;
}

static bool may_look_at_coordinator(void) {
    return coordinator > 0 && scp_call(SYS_kcmp, coordinator, coordinator, KCMP_VM, 0, 0) == 0;
}

static int64_t count_layers(void *argument) {
    struct scp_slot *slot = argument;
    struct scp_thread_private *own = scp_thread_private(slot);
    // Who has neither right entered no domain after its process did.
    bool able = slot == scp_slot_at(0) || own->no_new_privileges == 1 || (own->capabilities[0] & ADMINISTRATOR);
    if (own->free_layers == LAYERS_NOT_KNOWN)
        own->free_layers = able ? free_layers(start.free_layers) : start.free_layers;
    return 0;
}

static bool any_not_known(void) {
    for (size_t i = 0; i < scp_slot_count(); i++)
        if (scp_thread_private(scp_slot_at(i))->free_layers == LAYERS_NOT_KNOWN)
            return has_landlock();
    return false;
}

// ---- keyrings -------------------------------------------------------------------------------------------------------

static uint64_t keyring(int which) {
    long serial = scp_call(SYS_keyctl, KEYCTL_GET_KEYRING_ID, which, 0, 0, 0);
    return serial > 0 ? (uint64_t)serial : 0;
}

// 0 = none but the user's own, which comes and goes with the user's processes: its number says nothing.
static uint64_t session_keyring(void) {
    uint64_t session = keyring(KEY_SPEC_SESSION_KEYRING);
    return session == keyring(KEY_SPEC_USER_SESSION_KEYRING) ? 0 : session;
}

void scp_surroundings_examine_thread(struct scp_thread_private *own) {
    own->free_layers = may_look_at_coordinator() ? start.free_layers : LAYERS_NOT_KNOWN;
    own->session_keyring = (uint32_t)session_keyring();
    own->own_keyring = keyring(KEY_SPEC_THREAD_KEYRING) != 0 || keyring(KEY_SPEC_PROCESS_KEYRING) != 0;
}

// ---- the surroundings -----------------------------------------------------------------------------------------------

static void look_around(void) {
    uint64_t all = ~0ull, before;
    scp_call(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, 8);
    start.filters = scp_process_filters();
    start.free_layers = free_layers(0);
    start.keyring = session_keyring();
    scp_call(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, 8);
}

static void write_numbers(char *out, size_t size) {
    scp_concat(out, size, scp_number(start.filters).text, ":", scp_number(start.free_layers).text, ":",
               scp_number(start.keyring).text, (char *)NULL);
}

SCP_FORK_CODE static void read_numbers(const char *text) {
    uint64_t *const numbers[] = {&start.filters, &start.free_layers, &start.keyring};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        *numbers[i] = scp_parse_decimal(&text);
        text += *text == ':';
    }
}

SCP_FORK_CODE void scp_surroundings_setup(char *variable) {
    if (variable && *variable != SCP_SURROUNDINGS_UNKNOWN[0]) {
        read_numbers(variable);
        return;
    }
    look_around();
    size_t length = variable ? strlen(variable) : 0;
    if (length < strlen(SCP_SURROUNDINGS_UNKNOWN))
        return;
    write_numbers(variable, length + 1);
    memset(variable + strlen(variable), ' ',
           length - strlen(variable)); // it stays one entry for who reads them in a row
}

void scp_surroundings_renew(char *out, size_t size) {
    look_around();
    write_numbers(out, size);
}

uint64_t scp_surroundings_filters(void) {
    return start.filters;
}

// ---- examine --------------------------------------------------------------------------------------------------------

static int refuse(struct scp_checkpoint *checkpoint, uint32_t tid, const char *why) {
    return scp_fail(checkpoint, ENOTSUP, "thread ", scp_number(tid).text, why, (char *)NULL);
}

void scp_surroundings_prepare(void) {
    coordinator = scp_link_peer();
}

int scp_surroundings_examine(const struct scp_examination *examination) {
    if (any_not_known())
        scp_on_every_thread(count_layers);
    for (size_t i = 0; i < scp_slot_count(); i++) {
        const struct scp_thread_private *own = scp_thread_private(scp_slot_at(i));
        if (own->free_layers < start.free_layers)
            return refuse(examination->checkpoint, own->tid,
                          " is restricted by landlock rules that the program has set: such rules cannot be saved");
        if (own->session_keyring != start.keyring)
            return refuse(examination->checkpoint, own->tid,
                          " has joined another session keyring (keyctl): keys cannot be saved");
        if (own->own_keyring)
            return refuse(examination->checkpoint, own->tid,
                          " has a keyring of its own, of the thread or the process (keyctl): keys cannot be saved");
    }
    return 0;
}
