// System calls without errno: skeletons share one address space until each executes the restorer.
#ifndef CRESTART_CALL_H
#define CRESTART_CALL_H

#include <stdint.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#include "../Native/arch/x86_64/raw_call.h"
#else
#error "a port supplies the raw system call here"
#endif

static inline long crestart_call1(long number, long a) {
    return scp_call6(number, a, 0, 0, 0, 0, 0);
}
static inline long crestart_call2(long number, long a, long b) {
    return scp_call6(number, a, b, 0, 0, 0, 0);
}
static inline long crestart_call3(long number, long a, long b, long c) {
    return scp_call6(number, a, b, c, 0, 0, 0);
}
static inline long crestart_call4(long number, long a, long b, long c, long d) {
    return scp_call6(number, a, b, c, d, 0, 0);
}
static inline long crestart_call5(long number, long a, long b, long c, long d, long e) {
    return scp_call6(number, a, b, c, d, e, 0);
}
static inline long crestart_pointer(const void *pointer) {
    return (long)(uintptr_t)pointer;
}

#endif
