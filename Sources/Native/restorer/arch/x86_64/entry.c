// The few instructions of the restorer that C cannot say. x86-64.
#include "restorer.h"

#include <asm/prctl.h>

__asm__(".section .text.start, \"ax\"\n"
        ".globl _start\n"
        ".hidden _start\n"
        "_start:\n"
        "    xorl %ebp, %ebp\n"
        "    movq %rsp, %rdi\n"
        "    andq $-16, %rsp\n"
        "    call restorer_enter\n"
        "    hlt\n"
        ".text\n");

// The child finds its function and argument in registers the system call leaves alone.
__asm__(".globl arch_thread\n"
        ".hidden arch_thread\n"
        "arch_thread:\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    movq %rdx, %r12\n"
        "    movq %rcx, %r13\n"
        "    movl $435, %eax\n" // clone3
        "    syscall\n"
        "    testq %rax, %rax\n"
        "    jz 1f\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    ret\n"
        "1:  xorl %ebp, %ebp\n"
        "    movq %r13, %rdi\n"
        "    call *%r12\n"
        "    hlt\n");

__asm__(".globl arch_jump\n"
        ".hidden arch_jump\n"
        "arch_jump:\n"
        "    movq %rdi, %rax\n"
        "    movq %rsi, %rdi\n"
        "    movq %rdx, %rsi\n"
        "    movq %rcx, %rsp\n"
        "    xorl %ebp, %ebp\n"
        "    call *%rax\n"
        "    hlt\n");

long arch_set_thread_base(uint64_t fs_base) {
    return call(arch_prctl, ARCH_SET_FS, fs_base);
}

long arch_set_second_base(uint64_t gs_base) {
    return call(arch_prctl, ARCH_SET_GS, gs_base);
}

void arch_write_jump(uint8_t *code, uint64_t target) {
    code[0] = 0x49; // movabs $target, %r11
    code[1] = 0xbb;
    memcpy(code + 2, &target, sizeof target);
    code[10] = 0x41; // jmp *%r11
    code[11] = 0xff;
    code[12] = 0xe3;
}
