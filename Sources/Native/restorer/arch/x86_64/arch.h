// What a port supplies to the restorer: raw system calls, the first and the last instructions. x86-64.
#ifndef SWIFTCP_RESTORER_ARCH_H
#define SWIFTCP_RESTORER_ARCH_H

#include <stdint.h>
#include <asm/unistd.h>

#include "raw_call.h" // Native/arch/<name>

// The end of what munmap(2) accepts: 47 bits less the guard page (arch/x86/include/asm/page_64.h).
#define ARCH_ADDRESS_END 0x7ffffffff000ull
#define ARCH_JUMP_BYTES 13

// call(read, descriptor, buffer, length)
#define call(name, ...) scp_call(__NR_##name, ##__VA_ARGS__)

struct clone_args;
// clone3(2) of a thread that calls function(argument), which never returns, on the new stack. tid or -errno.
long arch_thread(struct clone_args *arguments, uint64_t size, void (*function)(const void *), const void *argument);
// Leaves for entry(first, second) with an empty stack whose top is `stack` (16-byte aligned).
void arch_jump(uint64_t entry, uint64_t first, uint64_t second, uint64_t stack) __attribute__((noreturn));
long arch_set_thread_base(uint64_t fs_base);
long arch_set_second_base(uint64_t gs_base);
// Writes a jump to `target` at `code` (ARCH_JUMP_BYTES). It may change what a call may change anyway.
void arch_write_jump(uint8_t *code, uint64_t target);

#endif
