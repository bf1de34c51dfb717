// Registers of a parked thread as core files have them. x86-64.
//
// The signal frame holds the XSAVE area in the processor's own layout (CPUID leaf 0xd), which differs between makers;
// gdb wants Intel's: AVX at 576, k0-7 at 1088, ZMM_Hi256 at 1152, Hi16_ZMM at 1664, PKRU at 2688. Tile registers (AMX) are
// left out of the note. A restart uses the frame itself, never these notes.
// Sources: Linux arch/x86/include/uapi/asm/sigcontext.h (struct _fpx_sw_bytes), gdb gdbsupport/x86-xstate.h.
#include <cpuid.h>
#include <elf.h>
#include <string.h>

#include "memory.h"
#include "swiftcp_cpu.h"

#define FXSAVE_BYTES 512
#define SOFTWARE_BYTES_AT 464 // in the FXSAVE area: the kernel's description of what follows
#define XCR0_AT 464 // in a core note: where gdb looks for XCR0
#define XSAVE_HEADER_AT 512
#define MAGIC1 0x46505853u

struct software_bytes {
    uint32_t magic1, extended_size;
    uint64_t xfeatures;
    uint32_t xstate_size;
};

// Components that have a place in Intel's layout and in our note.
static const struct component {
    uint16_t number, offset, size;
} components[] = {{2, 576, 256},  {3, 960, 64},    {4, 1024, 64}, {5, 1088, 64},
                  {6, 1152, 512}, {7, 1664, 1024}, {9, 2688, 8}};
#define LEGACY_COMPONENTS 3ull // x87 and SSE

void scp_arch_registers(const ucontext_t *frame, uint64_t fs_base, uint64_t gs_base, uint64_t out[27]) {
    // struct user_regs_struct: r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss
    // fs_base gs_base ds es fs gs
    static const int8_t source[21] = {REG_R15, REG_R14, REG_R13, REG_R12, REG_RBP, REG_RBX, REG_R11,
                                      REG_R10, REG_R9,  REG_R8,  REG_RAX, REG_RCX, REG_RDX, REG_RSI,
                                      REG_RDI, -1,      REG_RIP, -1,      REG_EFL, REG_RSP, -1};
    const greg_t *registers = frame->uc_mcontext.gregs;
    memset(out, 0, 27 * sizeof *out);
    for (int i = 0; i < 21; i++)
        if (source[i] >= 0)
            out[i] = (uint64_t)registers[source[i]];
    uint64_t segments = (uint64_t)registers[REG_CSGSFS]; // cs, gs, fs, ss: 16 bits each
    out[15] = ~0ull; // orig_rax: not in a system call
    out[17] = segments & 0xffff;
    out[20] = segments >> 48;
    out[21] = fs_base;
    out[22] = gs_base;
    out[25] = segments >> 32 & 0xffff;
    out[26] = segments >> 16 & 0xffff;
}

static const uint8_t *floating(const ucontext_t *frame) {
    return (const uint8_t *)frame->uc_mcontext.fpregs;
}

// False when the frame has no more than the FXSAVE area.
static bool extended(const ucontext_t *frame, struct software_bytes *out) {
    if (floating(frame) == NULL)
        return false;
    memcpy(out, floating(frame) + SOFTWARE_BYTES_AT, sizeof *out);
    return out->magic1 == MAGIC1 && out->xstate_size >= XSAVE_HEADER_AT + 64;
}

size_t scp_arch_fpregs(const ucontext_t *frame, uint8_t out[SCP_ARCH_FPREGS_BYTES]) {
    if (floating(frame) == NULL)
        return 0;
    memcpy(out, floating(frame), FXSAVE_BYTES);
    memset(out + SOFTWARE_BYTES_AT, 0, FXSAVE_BYTES - SOFTWARE_BYTES_AT);
    return FXSAVE_BYTES;
}

static void copy_component(const struct component *component, const uint8_t *area, uint32_t area_size, uint8_t *out) {
    uint32_t size, offset, unused_c, unused_d;
    __cpuid_count(0xd, component->number, size, offset, unused_c, unused_d);
    (void)unused_c, (void)unused_d;
    if (size > component->size)
        size = component->size;
    if (offset <= area_size && size <= area_size - offset)
        memcpy(out + component->offset, area + offset, size);
}

size_t scp_arch_xstate(const ucontext_t *frame, uint8_t out[SCP_ARCH_XSTATE_BYTES]) {
    struct software_bytes software;
    if (!extended(frame, &software))
        return 0;
    const uint8_t *area = floating(frame);
    uint64_t in_use, kept = LEGACY_COMPONENTS;
    size_t end = XSAVE_HEADER_AT + 64;
    memcpy(&in_use, area + XSAVE_HEADER_AT, sizeof in_use);
    memset(out, 0, SCP_ARCH_XSTATE_BYTES);
    scp_arch_fpregs(frame, out);
    for (size_t i = 0; i < sizeof components / sizeof components[0]; i++) {
        const struct component *component = &components[i];
        if (!(software.xfeatures >> component->number & 1))
            continue;
        kept |= 1ull << component->number;
        end = (size_t)component->offset + component->size;
        if (in_use >> component->number & 1) // else: initial state, all zero
            copy_component(component, area, software.xstate_size, out);
    }
    uint64_t xcr0 = software.xfeatures & kept;
    in_use &= kept;
    memcpy(out + XCR0_AT, &xcr0, sizeof xcr0);
    memcpy(out + XSAVE_HEADER_AT, &in_use, sizeof in_use);
    return end;
}

uint32_t scp_arch_xstate_frame_size(const ucontext_t *frame) {
    struct software_bytes software;
    return extended(frame, &software) ? software.xstate_size : FXSAVE_BYTES;
}

uint16_t scp_arch_machine(void) {
    return EM_X86_64;
}

bool scp_arch_wide(void) {
    uint32_t words[SCP_CPU_WORDS];
    scp_cpu_features(words);
    return (words[2] & 1u << 5) != 0 && (scp_cpu_xfeatures() & 6) == 6; // AVX2, and YMM state enabled
}
