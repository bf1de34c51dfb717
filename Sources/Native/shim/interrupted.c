// System calls that our signal cuts short. The program must not see EINTR, an early timeout or a short transfer that it
// would not have seen without us. See Docs/interrupted-calls.md for the table and its reasons.
//
// Some calls the kernel repeats by itself (pc at the system call instruction, number in the result register); others have
// failed with EINTR (pc behind it): those are repeated here if the thread stood in that very call when the signal was sent.
// Relative timeouts go on from what is left: what is left is kept in the thread's slot, which stays the thread's.
#include "worker.h"
#include "entry.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

// "nr arg0 … arg5 sp pc", or "running", or "-1 sp pc" for a thread outside of a call.
void scp_interrupted_note(struct scp_slot *slot, int tasks) {
    char path[32], number[24], text[256];
    const char *cursor = text;
    slot->call_number = -1;
    number[scp_decimal(number, slot->tid)] = 0;
    scp_concat(path, sizeof path, number, "/syscall", (char *)NULL);
    if (scp_read_small_at(tasks, path, text, sizeof text) < 0 || *text < '0' || *text > '9')
        return;
    int64_t call = (int64_t)scp_parse_decimal(&cursor);
    uint64_t values[8];
    for (int i = 0; i < 8; i++) {
        cursor = strstr(cursor, "0x");
        if (!cursor)
            return;
        cursor += 2;
        values[i] = scp_parse_hex(&cursor);
    }
    memcpy(slot->call_arguments, values, sizeof slot->call_arguments);
    slot->call_stack = values[6];
    slot->call_pc = values[7];
    slot->call_number = call;
}

// How a call that has a relative timeout states it.
enum timeout { TIMEOUT_NONE, TIMEOUT_MILLISECONDS, TIMEOUT_TIMESPEC, TIMEOUT_SLEEP };
struct call_timeout {
    enum timeout kind;
    int argument; // index of the timeout
    int remainder; // TIMEOUT_SLEEP: index of the pointer the kernel writes the rest to
};

static struct call_timeout timeout_of(int64_t call, const uint64_t arguments[6]) {
    switch (call) {
#ifdef SYS_poll
    case SYS_poll:
        return (struct call_timeout){TIMEOUT_MILLISECONDS, 2, 0};
#endif
#ifdef SYS_epoll_wait
    case SYS_epoll_wait:
#endif
    case SYS_epoll_pwait:
        return (struct call_timeout){TIMEOUT_MILLISECONDS, 3, 0};
    case SYS_nanosleep:
        return (struct call_timeout){TIMEOUT_SLEEP, 0, 1};
    case SYS_clock_nanosleep:
        if (arguments[1] & TIMER_ABSTIME)
            break;
        return (struct call_timeout){TIMEOUT_SLEEP, 2, 3};
    case SYS_futex:
        if ((arguments[1] & FUTEX_CMD_MASK) != FUTEX_WAIT)
            break; // WAIT_BITSET and the lock calls have absolute timeouts
        return (struct call_timeout){TIMEOUT_TIMESPEC, 3, 0};
    case SYS_semtimedop:
        return (struct call_timeout){TIMEOUT_TIMESPEC, 3, 0};
    case SYS_rt_sigtimedwait:
        return (struct call_timeout){TIMEOUT_TIMESPEC, 2, 0};
    case SYS_io_getevents:
        return (struct call_timeout){TIMEOUT_TIMESPEC, 4, 0};
    case 441: // epoll_pwait2
        return (struct call_timeout){TIMEOUT_TIMESPEC, 3, 0};
    }
    return (struct call_timeout){TIMEOUT_NONE, 0, 0}; // ppoll, pselect, select: the kernel writes back what is left
}

static int64_t timespec_ns(const int64_t value[2]) {
    if (value[0] > INT64_MAX / 1000000000 - 1)
        return INT64_MAX;
    return value[0] * 1000000000 + value[1];
}

// What was left when the call was last set going by us, or the full timeout if this is its first interruption.
static int64_t left_of(struct scp_slot *slot, int64_t full) {
    if (slot->timeout_deadline == 0 || slot->timeout_pc != slot->call_pc || slot->timeout_stack != slot->call_stack)
        return full;
    int64_t left = slot->timeout_deadline - slot->parked_at;
    return left < 0 ? 0 : left < full ? left : full;
}

static void remember(struct scp_slot *slot, int64_t left) {
    slot->timeout_deadline = left > INT64_MAX / 2 ? 0 : scp_now() + left;
    slot->timeout_pc = slot->call_pc;
    slot->timeout_stack = slot->call_stack;
}

static void continue_timespec(struct scp_slot *slot, int argument, const int64_t *value) {
    int64_t left = left_of(slot, timespec_ns(value));
    slot->timeout_value[0] = left / 1000000000;
    slot->timeout_value[1] = left % 1000000000;
    scp_arch_call_argument(slot->frame, argument, (uint64_t)(uintptr_t)slot->timeout_value);
    remember(slot, left);
}

static void continue_timeout(struct scp_slot *slot, int64_t call, const uint64_t arguments[6]) {
    struct call_timeout timeout = timeout_of(call, arguments);
    uint64_t value = arguments[timeout.argument];
    if (timeout.kind == TIMEOUT_MILLISECONDS && (int32_t)value > 0) {
        int64_t left = left_of(slot, (int32_t)value * 1000000ll);
        scp_arch_call_argument(slot->frame, timeout.argument, (uint64_t)((left + 999999) / 1000000));
        remember(slot, left);
    } else if (timeout.kind == TIMEOUT_TIMESPEC && value) {
        continue_timespec(slot, timeout.argument, (const int64_t *)value);
    } else if (timeout.kind == TIMEOUT_SLEEP && arguments[timeout.remainder]) {
        // The kernel has written the rest where the program asked for it: go on from there.
        scp_arch_call_argument(slot->frame, timeout.argument, arguments[timeout.remainder]);
    } else if (timeout.kind == TIMEOUT_SLEEP) {
        continue_timespec(slot, timeout.argument, (const int64_t *)value);
    }
}

// A signal for this thread has come while it was parked, and its handler does not ask for SA_RESTART (or the call is
// one that fails with EINTR for any handler): then the EINTR belongs to the program.
static bool program_signal_waits(const struct scp_slot *slot, bool any_handler) {
    uint64_t pending = 0, mask;
    memcpy(&mask, &slot->frame->uc_sigmask, sizeof mask);
    scp_call(SYS_rt_sigpending, &pending, 8);
    pending &= ~mask;
    for (int signal = 1; pending && signal <= 64; signal++) {
        struct scp_action action;
        if (!(pending >> (signal - 1) & 1))
            continue;
        if (scp_call(SYS_rt_sigaction, signal, NULL, &action, 8) == 0 &&
            action.handler > (uint64_t)(uintptr_t)SIG_IGN && (any_handler || !(action.flags & SA_RESTART)))
            return true;
    }
    return false;
}

static bool same_call(const struct scp_slot *slot, const struct scp_arch_call *now, uint64_t pc) {
    return slot->call_number >= 0 && slot->call_pc == pc && slot->call_stack == now->stack &&
           memcmp(slot->call_arguments, now->arguments, 3 * sizeof now->arguments[0]) == 0;
}

// A transfer that a blocking descriptor would have finished: part has moved, then our signal came.
static bool cut_short(const struct scp_slot *slot, const struct scp_arch_call *now) {
    if (now->result <= 0 || (uint64_t)now->result >= now->arguments[2])
        return false;
    switch (slot->call_number) {
    case SYS_write:
        return true;
    case SYS_sendto:
        return !(now->arguments[3] & MSG_DONTWAIT);
    case SYS_recvfrom:
        return (now->arguments[3] & (MSG_WAITALL | MSG_DONTWAIT | MSG_PEEK)) == MSG_WAITALL;
    }
    return false;
}

// Which of a socket's own time limits bounds the call; 0 = none.
static int socket_limit_of(int64_t call) {
    switch (call) {
    case SYS_read:
    case SYS_readv:
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_accept:
    case SYS_accept4:
        return SO_RCVTIMEO;
    case SYS_write:
    case SYS_writev:
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_connect:
        return SO_SNDTIMEO;
    }
    return 0;
}

// A socket's limit cannot be shortened for one call without the program's knowledge, so the call waits in full again; but
// once the limit has passed in all, it ends as it would have. True when it has.
static bool socket_limit_passed(struct scp_slot *slot, int64_t call, uint64_t descriptor) {
    int64_t limit[2] = {0, 0};
    uint32_t size = sizeof limit;
    int option = socket_limit_of(call);
    if (!option || scp_call(SYS_getsockopt, descriptor, SOL_SOCKET, option, limit, &size) < 0)
        return false;
    int64_t full = limit[0] * 1000000000 + limit[1] * 1000;
    if (full == 0)
        return false;
    int64_t left = left_of(slot, full);
    remember(slot, left);
    return left == 0;
}

// The same of a call on a vector.
static bool vector_cut_short(const struct scp_slot *slot, const struct scp_arch_call *now) {
    if (now->result <= 0 || slot->vector.active)
        return false; // in vectors.c already: that goes round by itself
    switch (slot->call_number) {
    case SYS_writev:
        return true;
    case SYS_sendmsg:
        return !(now->arguments[2] & MSG_DONTWAIT);
    case SYS_recvmsg:
        return (now->arguments[2] & (MSG_WAITALL | MSG_DONTWAIT | MSG_PEEK)) == MSG_WAITALL;
    }
    return false;
}

static void repair_failed(struct scp_slot *slot, const struct scp_arch_call *now) {
    int64_t call = same_call(slot, now, now->pc) ? slot->call_number : scp_arch_call_number_before(now->pc);
    if (call < 0 || program_signal_waits(slot, true))
        return;
    if (slot->call_number != call) { // not seen in time: nothing is known of its last interruption
        slot->call_pc = now->pc;
        slot->call_stack = now->stack;
    }
    if (socket_limit_passed(slot, call, now->arguments[0])) {
        slot->timeout_deadline = 0;
        scp_arch_call_result(slot->frame, call == SYS_connect ? -EINPROGRESS : -EAGAIN);
        return;
    }
    continue_timeout(slot, call, now->arguments);
    scp_arch_call_repeat(slot->frame, call);
}

void scp_interrupted_repair(struct scp_slot *slot) {
    struct scp_arch_call now = scp_arch_call_read(slot->frame);
    if (scp_arch_in_transfer(slot->frame))
        return; // the stub goes round by itself
    if (now.result == -EINTR)
        repair_failed(slot, &now);
    else if (same_call(slot, &now, now.pc) && cut_short(slot, &now)) {
        if (!program_signal_waits(slot, true))
            scp_arch_transfer_begin(slot->frame, &slot->transfer, slot->call_number, (uint64_t)now.result);
    } else if (same_call(slot, &now, now.pc) && vector_cut_short(slot, &now)) {
        if (!program_signal_waits(slot, true))
            scp_arch_vector_begin(slot->frame, &slot->vector, slot->call_number, (uint64_t)now.result);
    } else if (now.result == slot->call_number && same_call(slot, &now, now.pc + SCP_ARCH_CALL_BYTES) &&
               program_signal_waits(slot, false))
        scp_arch_call_return(slot->frame, -EINTR);
}
