// Vector, mask and x87 registers with their control words, live over the checkpoint in threads that never leave user
// mode: SSE, AVX or AVX-512, whichever the processor has.
#include "workload.h"
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __x86_64__

enum { THREADS = 3, SSE = 16, AVX = 32, AVX512 = 64 };
struct registers {
    uint8_t vectors[32][64];
    uint64_t masks[8];
    double stack[4]; // x87
    uint32_t mxcsr;
    uint16_t control; // x87
};
static volatile int go;
static _Atomic int spinning;
static int width, count;

// LOAD(n), STORE(n): one register from or to its place in struct registers.
#define FIRST_16(macro)                                                                                                \
    macro(0) macro(1) macro(2) macro(3) macro(4) macro(5) macro(6) macro(7) macro(8) macro(9) macro(10) macro(11)      \
        macro(12) macro(13) macro(14) macro(15)
#define LAST_16(macro)                                                                                                 \
    macro(16) macro(17) macro(18) macro(19) macro(20) macro(21) macro(22) macro(23) macro(24) macro(25) macro(26)      \
        macro(27) macro(28) macro(29) macro(30) macro(31)
#define LOAD_X(n) "movdqu 64*" #n "(%[in]), %%xmm" #n "\n"
#define STORE_X(n) "movdqu %%xmm" #n ", 64*" #n "(%[out])\n"
#define LOAD_Y(n) "vmovdqu 64*" #n "(%[in]), %%ymm" #n "\n"
#define STORE_Y(n) "vmovdqu %%ymm" #n ", 64*" #n "(%[out])\n"
#define LOAD_Z(n) "vmovdqu64 64*" #n "(%[in]), %%zmm" #n "\n"
#define STORE_Z(n) "vmovdqu64 %%zmm" #n ", 64*" #n "(%[out])\n"
#define LOAD_K(n) "kmovw 2048+8*" #n "(%[in]), %%k" #n "\n"
#define STORE_K(n) "kmovw %%k" #n ", 2048+8*" #n "(%[out])\n"
#define SEVEN(macro) macro(1) macro(2) macro(3) macro(4) macro(5) macro(6) macro(7)
#define SPIN                                                                                                           \
    "fldcw 2148(%[in])\n ldmxcsr 2144(%[in])\n"                                                                        \
    "fldl 2112(%[in])\n fldl 2120(%[in])\n fldl 2128(%[in])\n fldl 2136(%[in])\n"                                      \
    "lock incl %[spinning]\n"                                                                                          \
    "1: pause\n cmpl $0, %[go]\n je 1b\n"                                                                              \
    "fstpl 2136(%[out])\n fstpl 2128(%[out])\n fstpl 2120(%[out])\n fstpl 2112(%[out])\n"                              \
    "stmxcsr 2144(%[out])\n fnstcw 2148(%[out])\n"
#define OPERANDS                                                                                                       \
    : [spinning] "+m"(spinning)                                                                                        \
    : [in] "r"(in), [out] "r"(out), [go] "m"(go)                                                                       \
    : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",         \
      "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
_Static_assert(offsetof(struct registers, masks) == 2048 && offsetof(struct registers, stack) == 2112 &&
                   offsetof(struct registers, mxcsr) == 2144 && offsetof(struct registers, control) == 2148,
               "the offsets above");

static void carry(const struct registers *in, struct registers *out) {
    if (width == AVX512)
        __asm__ volatile(FIRST_16(LOAD_Z) LAST_16(LOAD_Z) SEVEN(LOAD_K) SPIN FIRST_16(STORE_Z) LAST_16(STORE_Z)
                             SEVEN(STORE_K) "vzeroupper\n" OPERANDS);
    else if (width == AVX)
        __asm__ volatile(FIRST_16(LOAD_Y) SPIN FIRST_16(STORE_Y) "vzeroupper\n" OPERANDS);
    else
        __asm__ volatile(FIRST_16(LOAD_X) SPIN FIRST_16(STORE_X) OPERANDS);
}

static void fill(struct registers *registers, int thread) {
    memset(registers, 0, sizeof *registers);
    for (int number = 0; number < count; number++)
        for (int byte = 0; byte < width; byte++)
            registers->vectors[number][byte] = (uint8_t)(thread * 97 + number * 31 + byte * 7 + 1);
    for (int number = 1; number < 8 && width == AVX512; number++)
        registers->masks[number] = (uint64_t)(0x1234 + number * 0x111 + thread);
    for (int number = 0; number < 4; number++)
        registers->stack[number] = 1.0 / (thread + number + 3);
    static const uint32_t rounding[4] = {0x0000, 0x2000, 0x4000, 0x6000};
    registers->mxcsr = 0x1f80 | rounding[thread % 4];
    registers->control = (uint16_t)(0x37f | rounding[(thread + 1) % 4] >> 3);
}

static void *work(void *argument) {
    struct registers in, out;
    uint16_t usual = 0x37f;
    uint32_t usual_vector = 0x1f80;
    fill(&in, (int)(long)argument);
    memset(&out, 0, sizeof out);
    carry(&in, &out);
    __asm__ volatile("fldcw %0\n ldmxcsr %1" ::"m"(usual), "m"(usual_vector));
    in.mxcsr &= ~0x3fu; // exception flags may have been raised
    out.mxcsr &= ~0x3fu;
    for (int number = 0; number < count; number++)
        if (memcmp(in.vectors[number], out.vectors[number], (size_t)width) != 0)
            workload_fail("thread %ld: vector register %d of %d bytes", (long)argument, number, width);
    for (int number = 1; number < 8; number++)
        workload_equal(out.masks[number], in.masks[number]);
    for (int number = 0; number < 4; number++)
        workload_check(in.stack[number] == out.stack[number]);
    workload_equal(out.mxcsr, in.mxcsr);
    workload_equal(out.control, in.control);
    return NULL;
}

int main(void) {
    pthread_t threads[THREADS];
    __builtin_cpu_init();
    width = __builtin_cpu_supports("avx512f") ? AVX512 : __builtin_cpu_supports("avx") ? AVX : SSE;
    count = width == AVX512 ? 32 : 16;
    for (long i = 0; i < THREADS; i++)
        workload_check(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    while (spinning < THREADS)
        sched_yield();
    workload_ready();
    workload_wait();
    go = 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    workload_pass();
}
#else
int main(void) {
    workload_skip("written for x86-64");
}
#endif
