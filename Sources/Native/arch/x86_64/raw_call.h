// Raw system calls, for the two parts that go without libc's: shim and restorer. x86-64.
// Source: Linux arch/x86/entry/entry_64.S (calling convention).
#ifndef SWIFTCP_RAW_CALL_H
#define SWIFTCP_RAW_CALL_H

// Result, or -errno in -4095..-1. Clobbers rcx and r11.
static inline long scp_call6(long number, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#define SCP_CALL_PICK(a, b, c, d, e, f, g, h, ...) h
#define SCP_CALL0(n) scp_call6(n, 0, 0, 0, 0, 0, 0)
#define SCP_CALL1(n, a) scp_call6(n, (long)(a), 0, 0, 0, 0, 0)
#define SCP_CALL2(n, a, b) scp_call6(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define SCP_CALL3(n, a, b, c) scp_call6(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define SCP_CALL4(n, a, b, c, d) scp_call6(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define SCP_CALL5(n, a, b, c, d, e) scp_call6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define SCP_CALL6(n, a, b, c, d, e, f) scp_call6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
// scp_call(SYS_read, fd, buffer, length): arguments are converted to long.
#define scp_call(...)                                                                                                  \
    SCP_CALL_PICK(__VA_ARGS__, SCP_CALL6, SCP_CALL5, SCP_CALL4, SCP_CALL3, SCP_CALL2, SCP_CALL1, SCP_CALL0)            \
    (__VA_ARGS__)

#endif
