// Entry and exit points of a port, see entry.c.
#ifndef SWIFTCP_ARCH_ENTRY_H
#define SWIFTCP_ARCH_ENTRY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/ucontext.h>
#include <sys/uio.h>

void scp_arch_signal_return(void);
void scp_arch_return_to_frame(ucontext_t *frame) __attribute__((noreturn));
long scp_arch_clone(unsigned long flags, void *stack, void *tls, uint32_t *child_tid, void (*function)(void *),
                    void *argument);

// State of a transfer under repair; the offsets are the stub's.
struct scp_arch_transfer {
    uint64_t number; // 0: system call
    uint64_t sum; // 8: bytes moved so far
    uint64_t buffer; // 16: second argument as it was
    uint64_t count; // 24: third argument as it was
    uint64_t pc; // 32: where the call returns to
    uint64_t r9; // 40: as it was
    uint64_t sixth; // 48: sixth argument of the call (the same r9)
    uint64_t stack; // 56: stack pointer as it was
};
#define SCP_ARCH_PIECES 16 // a vector of more comes back short
// The same for a vector; begins with the fields the stubs share.
struct scp_arch_vector {
    struct scp_arch_transfer transfer;
    uint64_t descriptor, flags;
    void *name;
    uint32_t name_length;
    uint32_t active; // 1 while the thread is in vectors.c
    uint64_t count;
    struct iovec pieces[SCP_ARCH_PIECES]; // what is left
};
void scp_arch_vector_stub(void);
// Sends the thread through vectors.c. False when there is nothing to do, or more pieces than there is room for.
bool scp_arch_vector_begin(ucontext_t *frame, struct scp_arch_vector *vector, int64_t number, uint64_t moved);
extern char scp_arch_transfer_stub[], scp_arch_transfer_stub_end[];

// The general registers of a parked thread, by their role in a system call.
struct scp_arch_call {
    int64_t result; // rax
    uint64_t pc, stack;
    uint64_t arguments[6];
};
static inline struct scp_arch_call scp_arch_call_read(const ucontext_t *frame) {
    const greg_t *r = frame->uc_mcontext.gregs;
    return (struct scp_arch_call){.result = r[REG_RAX],
                                  .pc = (uint64_t)r[REG_RIP],
                                  .stack = (uint64_t)r[REG_RSP],
                                  .arguments = {(uint64_t)r[REG_RDI], (uint64_t)r[REG_RSI], (uint64_t)r[REG_RDX],
                                                (uint64_t)r[REG_R10], (uint64_t)r[REG_R8], (uint64_t)r[REG_R9]}};
}
static inline void scp_arch_call_argument(ucontext_t *frame, int index, uint64_t value) {
    static const uint8_t place[6] = {REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9};
    frame->uc_mcontext.gregs[place[index]] = (greg_t)value;
}
#define SCP_ARCH_CALL_BYTES 2 // of the `syscall` instruction
// Makes the thread execute call `number` again with the registers it has.
static inline void scp_arch_call_repeat(ucontext_t *frame, int64_t number) {
    frame->uc_mcontext.gregs[REG_RIP] -= SCP_ARCH_CALL_BYTES;
    frame->uc_mcontext.gregs[REG_RAX] = number;
}
static inline void scp_arch_call_result(ucontext_t *frame, int64_t result) {
    frame->uc_mcontext.gregs[REG_RAX] = result;
}
// Makes a call that was going to be repeated return `result` instead.
static inline void scp_arch_call_return(ucontext_t *frame, int64_t result) {
    frame->uc_mcontext.gregs[REG_RIP] += SCP_ARCH_CALL_BYTES;
    frame->uc_mcontext.gregs[REG_RAX] = result;
}
// The number of the call that ends just before pc, when the code says it (mov $n,%eax; syscall); else -1.
static inline int64_t scp_arch_call_number_before(uint64_t pc) {
    const uint8_t *code = (const uint8_t *)pc - 7;
    if (((uintptr_t)code & 4095u) > 4096 - 7)
        return -1; // the page before may not be readable
    if (code[0] != 0xb8 || code[5] != 0x0f || code[6] != 0x05)
        return -1;
    int32_t number;
    __builtin_memcpy(&number, code + 1, sizeof number);
    return number;
}
// Sends the thread through the stub that finishes a partial transfer.
static inline void scp_arch_transfer_begin(ucontext_t *frame, struct scp_arch_transfer *transfer, int64_t number,
                                           uint64_t moved) {
    greg_t *r = frame->uc_mcontext.gregs;
    *transfer = (struct scp_arch_transfer){.number = (uint64_t)number,
                                           .sum = moved,
                                           .buffer = (uint64_t)r[REG_RSI],
                                           .count = (uint64_t)r[REG_RDX],
                                           .pc = (uint64_t)r[REG_RIP],
                                           .r9 = (uint64_t)r[REG_R9],
                                           .sixth = (uint64_t)r[REG_R9],
                                           .stack = (uint64_t)r[REG_RSP]};
    r[REG_RSI] += (greg_t)moved;
    r[REG_RDX] -= (greg_t)moved;
    r[REG_R9] = (greg_t)(uintptr_t)transfer;
    r[REG_RSP] -= 256; // past the red zone: the stub pushes
    r[REG_RIP] = (greg_t)(uintptr_t)scp_arch_transfer_stub;
}
static inline int scp_arch_in_transfer(const ucontext_t *frame) {
    uint64_t pc = (uint64_t)frame->uc_mcontext.gregs[REG_RIP];
    return pc >= (uintptr_t)scp_arch_transfer_stub && pc < (uintptr_t)scp_arch_transfer_stub_end;
}

#endif
