// State of a thread that is the CPU's, not the kernel's in general. x86-64.
// Sources: arch_prctl(2); Linux arch/x86/include/uapi/asm/prctl.h, asm/ptrace-abi.h; arch/x86/kernel/signal.c.
#include "shim.h"
#include "state.h"

#define ARCH_SET_GS 0x1001
#define ARCH_GET_FS 0x1003
#define ARCH_GET_GS 0x1004
#define ARCH_GET_XCOMP_PERM 0x1022
#define ARCH_REQ_XCOMP_PERM 0x1023
#define ARCH_SHSTK_STATUS 0x5005
#define XFEATURE_FIRST_DYNAMIC 18 // AMX tile data

// What the kernel may still be using below a frame's address, and a return address of our own.
#define BELOW_FRAME 256

static uint64_t permitted_features; // ARCH_GET_XCOMP_PERM

// Positions in struct user_regs_struct, where they differ from ucontext's.
enum {
    USER_ORIG_RAX = 15,
    USER_CS = 17,
    USER_SS = 20,
    USER_FS_BASE = 21,
    USER_GS_BASE = 22,
    USER_DS = 23,
    USER_ES = 24,
    USER_FS = 25,
    USER_GS = 26
};

static void copy_registers(const ucontext_t *frame, struct scp_thread *record) {
    // In the order of user_regs_struct; -1 = not from the frame.
    static const int8_t from[27] = {REG_R15, REG_R14, REG_R13, REG_R12, REG_RBP, REG_RBX, REG_R11, REG_R10, REG_R9,
                                    REG_R8,  REG_RAX, REG_RCX, REG_RDX, REG_RSI, REG_RDI, -1,      REG_RIP, -1,
                                    REG_EFL, REG_RSP, -1,      -1,      -1,      -1,      -1,      -1,      -1};
    const greg_t *registers = frame->uc_mcontext.gregs;
    uint64_t segments = (uint64_t)registers[REG_CSGSFS]; // cs, gs, fs, ss: 16 bits each
    uint16_t ds, es;
    __asm__("mov %%ds, %0\n mov %%es, %1" : "=r"(ds), "=r"(es));
    for (int i = 0; i < 27; i++)
        record->registers[i] = from[i] < 0 ? 0 : (uint64_t)registers[from[i]];
    record->registers[USER_ORIG_RAX] = UINT64_MAX;
    record->registers[USER_CS] = segments & 0xffff;
    record->registers[USER_GS] = segments >> 16 & 0xffff;
    record->registers[USER_FS] = segments >> 32 & 0xffff;
    record->registers[USER_SS] = segments >> 48;
    record->registers[USER_FS_BASE] = record->fs_base;
    record->registers[USER_GS_BASE] = record->gs_base;
    record->registers[USER_DS] = ds;
    record->registers[USER_ES] = es;
}

void scp_arch_thread_examine(struct scp_slot *slot) {
    struct scp_thread *record = &slot->record;
    uint64_t frame = (uint64_t)(uintptr_t)slot->frame;
    scp_call(SYS_arch_prctl, ARCH_GET_FS, &record->fs_base);
    scp_call(SYS_arch_prctl, ARCH_GET_GS, &record->gs_base);
    copy_registers(slot->frame, record);
    record->frame = frame;
    // The XSAVE area lies above the frame, the interrupted code's red zone above that.
    record->stack = (frame - BELOW_FRAME) & ~63ull;
}

void scp_arch_thread_restore(struct scp_slot *slot) {
    if (slot->record.gs_base)
        scp_call(SYS_arch_prctl, ARCH_SET_GS, slot->record.gs_base);
}

const char *scp_arch_refusal(void) {
    uint64_t status = 0;
    char table[16];
    if (scp_call(SYS_arch_prctl, ARCH_SHSTK_STATUS, &status) == 0 && status != 0)
        return "it uses shadow stacks (start it with GLIBC_TUNABLES=glibc.cpu.hwcaps=-SHSTK)";
    if (scp_call(SYS_modify_ldt, 0, table, sizeof table) > 0)
        return "it has segments of its own (modify_ldt), as 16-bit and 32-bit emulators do";
    return NULL;
}

void scp_arch_process_examine(void) {
    permitted_features = 0;
    scp_call(SYS_arch_prctl, ARCH_GET_XCOMP_PERM, &permitted_features);
}

// A frame that holds tile registers can only be returned to by a process that may use them.
int scp_arch_process_restore(void) {
    for (int feature = XFEATURE_FIRST_DYNAMIC; feature < 64; feature++) {
        if (!(permitted_features >> feature & 1))
            continue;
        long result = scp_call(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, feature);
        if (result < 0) {
            scp_arrival_warn((int)-result, "could not get permission for the CPU's tile registers", NULL);
            return (int)result;
        }
    }
    return 0;
}
