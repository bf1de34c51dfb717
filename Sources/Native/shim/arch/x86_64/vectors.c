// Finishes a writev, sendmsg or recvmsg(MSG_WAITALL) that our signal cut short, on the thread itself, between its signal
// frame and its own code. Whatever that code keeps in registers must survive: the stub saves the general ones, and this
// file is compiled without vector registers.
#pragma GCC target("general-regs-only")
#include "shim.h"

#include <errno.h>

__asm__(".text\n"
        ".globl scp_arch_vector_stub\n"
        ".hidden scp_arch_vector_stub\n"
        ".type scp_arch_vector_stub, @function\n"
        "scp_arch_vector_stub:\n"
        "    pushq %rdi\n"
        "    pushq %rsi\n"
        "    pushq %rdx\n"
        "    pushq %r8\n"
        "    pushq %r10\n"
        "    pushq %r9\n"
        "    movq %r9, %rdi\n"
        "    call scp_arch_vector_finish\n"
        "    popq %r9\n"
        "    popq %r10\n"
        "    popq %r8\n"
        "    popq %rdx\n"
        "    popq %rsi\n"
        "    popq %rdi\n"
        "    movq 32(%r9), %rcx\n" // where to
        "    movq 56(%r9), %rsp\n"
        "    movq 40(%r9), %r9\n"
        "    jmp *%rcx\n"
        ".size scp_arch_vector_stub, . - scp_arch_vector_stub\n");

static void advance(struct scp_arch_vector *vector, uint64_t moved) {
    size_t whole = 0;
    while (whole < vector->count && moved >= vector->pieces[whole].iov_len)
        moved -= vector->pieces[whole++].iov_len;
    for (size_t i = whole; i < vector->count; i++)
        vector->pieces[i - whole] = vector->pieces[i];
    vector->count -= whole;
    if (vector->count > 0) {
        vector->pieces[0].iov_base = (char *)vector->pieces[0].iov_base + moved;
        vector->pieces[0].iov_len -= moved;
    }
}

static long once(struct scp_arch_vector *vector) {
    if (vector->transfer.number == SYS_writev)
        return scp_call(SYS_writev, vector->descriptor, vector->pieces, vector->count);
    struct msghdr message = {.msg_name = vector->name, .msg_namelen = vector->name_length};
    message.msg_iov = vector->pieces;
    message.msg_iovlen = vector->count;
    return scp_call((long)vector->transfer.number, vector->descriptor, &message, vector->flags);
}

// Returns what the call would have returned: all that was moved.
__attribute__((visibility("hidden"), used)) long scp_arch_vector_finish(struct scp_arch_vector *vector) {
    while (vector->count > 0) {
        long result = once(vector);
        if (result == -EINTR)
            continue;
        if (result <= 0)
            break; // the end or an error: the program meets it at its next call
        vector->transfer.sum += (uint64_t)result;
        advance(vector, (uint64_t)result);
    }
    vector->active = 0;
    return (long)vector->transfer.sum;
}

bool scp_arch_vector_begin(ucontext_t *frame, struct scp_arch_vector *vector, int64_t number, uint64_t moved) {
    struct scp_arch_call call = scp_arch_call_read(frame);
    const struct iovec *pieces = (const struct iovec *)call.arguments[1];
    size_t count = call.arguments[2];
    *vector = (struct scp_arch_vector){.descriptor = call.arguments[0]};
    if (number != SYS_writev) { // rights and credentials went with the first part
        const struct msghdr *message = (const struct msghdr *)call.arguments[1];
        pieces = message->msg_iov;
        count = message->msg_iovlen;
        vector->flags = call.arguments[2];
        if (number == SYS_sendmsg) {
            vector->name = message->msg_name;
            vector->name_length = message->msg_namelen;
        }
    }
    if (count > SCP_ARCH_PIECES)
        return false;
    for (size_t i = 0; i < count; i++)
        vector->pieces[i] = pieces[i];
    vector->count = count;
    advance(vector, moved);
    if (vector->count == 0)
        return false; // all was moved
    vector->active = 1;
    greg_t *r = frame->uc_mcontext.gregs;
    vector->transfer = (struct scp_arch_transfer){.number = (uint64_t)number,
                                                  .sum = moved,
                                                  .pc = (uint64_t)r[REG_RIP],
                                                  .r9 = (uint64_t)r[REG_R9],
                                                  .stack = (uint64_t)r[REG_RSP]};
    r[REG_R9] = (greg_t)(uintptr_t)vector;
    r[REG_RSP] = (r[REG_RSP] - 256) & ~(greg_t)15; // past the red zone, aligned for a call
    r[REG_RIP] = (greg_t)(uintptr_t)scp_arch_vector_stub;
    return true;
}
