// The few instructions of the shim that C cannot say. x86-64.
#include "shim.h"
#include "entry.h"

// The signal trampoline. Exactly these bytes (mov $15,%rax; syscall) are what unwinders know as one.
__asm__(".text\n"
        ".p2align 4\n"
        ".globl scp_arch_signal_return\n"
        ".hidden scp_arch_signal_return\n"
        ".type scp_arch_signal_return, @function\n"
        "nop\n"
        "scp_arch_signal_return:\n"
        "    movq $15, %rax\n"
        "    syscall\n"
        ".size scp_arch_signal_return, . - scp_arch_signal_return\n");

// rt_sigreturn wants the stack pointer just above the frame's return address, that is: at the ucontext.
__asm__(".text\n"
        ".globl scp_arch_return_to_frame\n"
        ".hidden scp_arch_return_to_frame\n"
        ".type scp_arch_return_to_frame, @function\n"
        "scp_arch_return_to_frame:\n"
        "    movq %rdi, %rsp\n"
        "    movq $15, %rax\n"
        "    syscall\n"
        "    hlt\n"
        ".size scp_arch_return_to_frame, . - scp_arch_return_to_frame\n");

// clone(2) onto a stack of its own: long scp_arch_clone(flags, stack, tls, child_tid, function, argument).
// The child calls function(argument), which never returns.
__asm__(".section .text.hot.fork,\"ax\",@progbits\n" // beside its caller
        ".globl scp_arch_clone\n"
        ".hidden scp_arch_clone\n"
        ".type scp_arch_clone, @function\n"
        "scp_arch_clone:\n"
        "    subq $16, %rsi\n"
        "    movq %r8, 0(%rsi)\n"
        "    movq %r9, 8(%rsi)\n"
        "    movq %rdx, %r8\n" // tls
        "    movq %rcx, %r10\n" // child_tid
        "    xorl %edx, %edx\n" // parent_tid
        "    movl $56, %eax\n"
        "    syscall\n"
        "    testq %rax, %rax\n"
        "    jz 1f\n"
        "    ret\n"
        "1:  xorl %ebp, %ebp\n"
        "    popq %rax\n"
        "    popq %rdi\n"
        "    call *%rax\n"
        "    hlt\n"
        ".size scp_arch_clone, . - scp_arch_clone\n"
        ".text\n");

// Finishes a transfer that our signal cut short. r9 = struct scp_arch_transfer of the thread. Repeats the call until
// all is moved or the kernel reports an end or an error; then gives back every register but rax, rcx and r11 (which a
// system call changes anyway) and goes to where the call would have returned, with the sum in rax.
// A signal inside only makes the loop go round: each piece is accounted before the next call.
__asm__(".text\n"
        ".globl scp_arch_transfer_stub\n"
        ".hidden scp_arch_transfer_stub\n"
        ".globl scp_arch_transfer_stub_end\n"
        ".hidden scp_arch_transfer_stub_end\n"
        ".type scp_arch_transfer_stub, @function\n"
        "scp_arch_transfer_stub:\n"
        "1:  movq 0(%r9), %rax\n" // number
        "    pushq %r9\n"
        "    movq 48(%r9), %r9\n" // sixth argument
        "    syscall\n"
        "    popq %r9\n"
        "    cmpq $-4, %rax\n" // -EINTR
        "    je 1b\n"
        "    testq %rax, %rax\n"
        "    jle 2f\n"
        "    addq %rax, 8(%r9)\n" // sum
        "    addq %rax, %rsi\n"
        "    subq %rax, %rdx\n"
        "    jnz 1b\n"
        "2:  movq 8(%r9), %rax\n"
        "    movq 16(%r9), %rsi\n"
        "    movq 24(%r9), %rdx\n"
        "    movq 32(%r9), %rcx\n" // where to
        "    movq 56(%r9), %rsp\n"
        "    movq 40(%r9), %r9\n"
        "    jmp *%rcx\n"
        "scp_arch_transfer_stub_end:\n"
        ".size scp_arch_transfer_stub, . - scp_arch_transfer_stub\n");
