// What only a thread can say of itself, and only it can put back. The examining half runs in the park handler of every
// thread, 2,000 times in a pause: system calls that cost a tenth of a microsecond, nothing from /proc.
//
// The alternate stack, the signal mask and the floating-point state are in the kernel's signal frame: rt_sigreturn
// restores them, here they are only recorded for the notes. fs and clear_child_tid are the restorer's.
#define _GNU_SOURCE
#include "state.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/personality.h>

#ifndef PR_GET_TID_ADDRESS
#define PR_GET_TID_ADDRESS 40
#endif
#define RSEQ_SIGNATURE 0x53053053u // x86 and arm64 differ in theory; glibc's RSEQ_SIG of this port
#define RSEQ_UNREGISTER 1
#define RSEQ_LENGTH_STEP 32u
#define RSEQ_LENGTH_LIMIT 256u
#define NODES_BITS (512 + 1) // the kernel takes one off

// Where libc has registered the thread's restartable sequences, from the thread pointer. glibc 2.35 and later; weak
// and unversioned, so that older ones load us.
extern const ptrdiff_t __rseq_offset __attribute__((weak));
SCP_FORK_DATA static ptrdiff_t rseq_offset; // 0 = this libc registers none
static _Atomic uint32_t rseq_length = RSEQ_LENGTH_STEP; // what the last thread had

SCP_FORK_CODE void scp_state_thread_setup(void) {
    if (&__rseq_offset)
        rseq_offset = __rseq_offset;
}

// ---- restartable sequences ------------------------------------------------------------------------------------------

// Unregistering with a wrong signature does nothing and tells: EPERM = exactly this is registered, EINVAL = it is not.
// Source: Linux kernel/rseq.c, rseq(2).
static bool rseq_is(uint64_t address, uint32_t length) {
    return scp_call(SYS_rseq, address, length, RSEQ_UNREGISTER, ~RSEQ_SIGNATURE) == -EPERM;
}

static void examine_rseq(struct scp_thread *record) {
    uint64_t address = record->fs_base + (uint64_t)rseq_offset;
    uint32_t length = atomic_load(&rseq_length);
    record->rseq = record->rseq_length = record->rseq_signature = 0;
    if (rseq_offset == 0 || record->fs_base == 0)
        return;
    if (!rseq_is(address, length))
        for (length = RSEQ_LENGTH_STEP; length <= RSEQ_LENGTH_LIMIT && !rseq_is(address, length);)
            length += RSEQ_LENGTH_STEP;
    if (length > RSEQ_LENGTH_LIMIT)
        return;
    atomic_store(&rseq_length, length);
    record->rseq = address;
    record->rseq_length = length;
    record->rseq_signature = RSEQ_SIGNATURE;
}

// ---- capabilities ---------------------------------------------------------------------------------------------------

static void capabilities_get(uint64_t out[3]) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    memset(data, 0, sizeof data);
    scp_call(SYS_capget, &header, data);
    out[0] = (uint64_t)data[1].effective << 32 | data[0].effective;
    out[1] = (uint64_t)data[1].permitted << 32 | data[0].permitted;
    out[2] = (uint64_t)data[1].inheritable << 32 | data[0].inheritable;
}

static long capabilities_set(const uint64_t in[3]) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {
        {(uint32_t)in[0], (uint32_t)in[1], (uint32_t)in[2]},
        {(uint32_t)(in[0] >> 32), (uint32_t)(in[1] >> 32), (uint32_t)(in[2] >> 32)}};
    return scp_call(SYS_capset, &header, data);
}

void scp_state_thread_drop_capabilities(void) {
    const uint64_t none[3] = {0, 0, 0};
    capabilities_set(none);
}

void scp_thread_reduce_capabilities(struct scp_slot *slot) {
    const uint64_t *recorded = scp_thread_private(slot)->capabilities;
    uint64_t now[3];
    capabilities_get(now);
    uint64_t wanted[3] = {recorded[0] & now[1], recorded[1] & now[1], recorded[2] & (now[1] | now[2])};
    if (memcmp(wanted, now, sizeof now) != 0)
        capabilities_set(wanted);
}

// ---- examine --------------------------------------------------------------------------------------------------------

static void examine_private(struct scp_slot *slot) {
    struct scp_thread_private *own = scp_thread_private(slot);
    memset(own, 0, sizeof *own);
    own->tid = slot->record.tid;
    own->personality = (uint32_t)scp_call(SYS_personality, 0xffffffff);
    own->timer_slack = (uint64_t)scp_call(SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0);
    own->no_new_privileges = (int32_t)scp_call(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    own->security_bits = (int32_t)scp_call(SYS_prctl, PR_GET_SECUREBITS, 0, 0, 0, 0);
    scp_call(SYS_prctl, PR_GET_PDEATHSIG, &own->parent_death_signal, 0, 0, 0);
    scp_call(SYS_prctl, PR_GET_TSC, &own->time_stamp_counter, 0, 0, 0);
    capabilities_get(own->capabilities);
    if (scp_call(SYS_get_mempolicy, &own->memory_policy, own->memory_nodes, NODES_BITS, 0, 0) < 0)
        own->memory_policy = -1;
    scp_surroundings_examine_thread(own);
    own->io_priority = -1;
    own->affinity = SCP_AFFINITY_ANY;
}

void scp_state_thread_examine(struct scp_slot *slot) {
    struct scp_thread *record = &slot->record;
    const ucontext_t *frame = slot->frame;
    memset(record, 0, sizeof *record);
    record->tid = slot->tid;
    record->slot = (uint64_t)(uintptr_t)slot;
    record->flags = slot->tid == (uint32_t)scp_call(SYS_getpid) ? SCP_THREAD_LEADER : 0;
    record->system_call = slot->call_number < 0 ? UINT32_MAX : (uint32_t)slot->call_number;
    scp_arch_thread_examine(slot);
    memcpy(&record->signal_mask, &frame->uc_sigmask, sizeof record->signal_mask);
    record->alternate_stack = (uint64_t)(uintptr_t)frame->uc_stack.ss_sp;
    record->alternate_stack_length = frame->uc_stack.ss_size;
    record->alternate_stack_flags = (uint32_t)frame->uc_stack.ss_flags;
    scp_call(SYS_get_robust_list, 0, &record->robust_list, &record->robust_length);
    scp_call(SYS_prctl, PR_GET_TID_ADDRESS, &record->clear_child_tid, 0, 0, 0);
    scp_call(SYS_prctl, PR_GET_NAME, record->name, 0, 0, 0);
    examine_rseq(record);
    examine_private(slot);
}

// ---- restore --------------------------------------------------------------------------------------------------------

// A parked thread cannot tell swiftcp_restart's user: the checkpoint thread does it for all of them (state.c).
static void note_failure(struct scp_thread_private *own, long result, const char *what) {
    if (result >= 0 || own->error)
        return;
    own->error = (int)-result;
    own->what = what;
}

// One of the bits may be set by anybody, if by another name.
static long restore_secure_bits(int32_t wanted) {
    long now = scp_call(SYS_prctl, PR_GET_SECUREBITS, 0, 0, 0, 0);
    if (wanted < 0 || now == wanted)
        return 0;
    if ((now ^ wanted) == SECBIT_KEEP_CAPS)
        return scp_call(SYS_prctl, PR_SET_KEEPCAPS, (wanted & SECBIT_KEEP_CAPS) != 0, 0, 0, 0);
    return scp_call(SYS_prctl, PR_SET_SECUREBITS, wanted, 0, 0, 0);
}

static void restore_private(struct scp_slot *slot) {
    struct scp_thread_private *own = scp_thread_private(slot);
    own->error = 0;
    if (own->timer_slack) // 0 = a real-time thread: its policy sets it so
        scp_call(SYS_prctl, PR_SET_TIMERSLACK, own->timer_slack, 0, 0, 0);
    if ((uint32_t)scp_call(SYS_personality, 0xffffffff) != own->personality)
        note_failure(own, scp_call(SYS_personality, own->personality), "could not restore the personality");
    if (own->memory_policy > 0)
        note_failure(own, scp_call(SYS_set_mempolicy, own->memory_policy, own->memory_nodes, NODES_BITS),
                     "could not restore the NUMA memory policy");
    if (own->time_stamp_counter == PR_TSC_SIGSEGV)
        note_failure(own, scp_call(SYS_prctl, PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0),
                     "could not forbid the time stamp counter again, as it was,");
    note_failure(own, restore_secure_bits(own->security_bits), "could not restore the secure bits");
    if (own->no_new_privileges == 1)
        note_failure(own, scp_call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
                     "could not restore the no-new-privileges flag");
    if (own->parent_death_signal)
        note_failure(own, scp_call(SYS_prctl, PR_SET_PDEATHSIG, own->parent_death_signal, 0, 0, 0),
                     "could not restore the parent-death signal");
}

void scp_state_thread_restore(struct scp_slot *slot) {
    const struct scp_thread *record = &slot->record;
    scp_arch_thread_restore(slot);
    if (record->robust_list)
        scp_call(SYS_set_robust_list, record->robust_list, record->robust_length);
    if (record->rseq) {
        long result = scp_call(SYS_rseq, record->rseq, record->rseq_length, 0, record->rseq_signature);
        note_failure(scp_thread_private(slot), result, "could not register the restartable sequences (rseq)");
    }
    scp_call(SYS_prctl, PR_SET_NAME, record->name, 0, 0, 0);
    restore_private(slot);
    // The leader works for the others until all are back (state.c).
    if (!(record->flags & SCP_THREAD_LEADER))
        scp_thread_reduce_capabilities(slot);
}
