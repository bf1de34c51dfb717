// The notes that debuggers know: what the kernel would have written, had it dumped core at this instant.
// Order as in Linux fs/binfmt_elf.c: NT_PRSTATUS of the leader, NT_PRPSINFO, NT_AUXV, NT_FILE, then the leader's other
// registers, then the other threads. The checkpoint thread is none of the program's and does not appear.
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/procfs.h>

#include "memory.h"

int scp_note(struct scp_vector *out, const char *owner, uint32_t type, const void *bytes, size_t length) {
    static const char zeros[4];
    size_t name = strlen(owner) + 1;
    Elf64_Nhdr header = {.n_namesz = (uint32_t)name, .n_descsz = (uint32_t)length, .n_type = type};
    if (length > UINT32_MAX)
        return -EOVERFLOW;
    int result = scp_vector_reserve(out, sizeof header + name + 4 + length + 4);
    if (result < 0)
        return result;
    scp_vector_append(out, &header, sizeof header);
    scp_vector_append(out, owner, name);
    scp_vector_append(out, zeros, -name & 3);
    scp_vector_append(out, bytes, length);
    return scp_vector_append(out, zeros, -length & 3);
}

// ---- threads, in the pause -----------------------------------------------------------------------------------------------

static void fill_status(const struct scp_checkpoint *checkpoint, const struct scp_slot *slot,
                        const uint64_t registers[27], struct elf_prstatus *out) {
    memset(out, 0, sizeof *out);
    out->pr_pid = (pid_t)slot->tid;
    out->pr_ppid = (pid_t)checkpoint->process.ppid;
    out->pr_pgrp = (pid_t)checkpoint->process.pgid;
    out->pr_sid = (pid_t)checkpoint->process.sid;
    out->pr_fpvalid = 1;
    memcpy(&out->pr_sighold, &slot->record.signal_mask, sizeof out->pr_sighold);
    _Static_assert(sizeof out->pr_reg == 27 * sizeof *registers, "user_regs_struct");
    memcpy(&out->pr_reg, registers, sizeof out->pr_reg);
}

static int thread_notes(struct scp_checkpoint *checkpoint, struct scp_memory *memory, size_t index) {
    struct scp_slot *slot = scp_slot_at(index);
    struct scp_thread *thread = scp_vector_at(&checkpoint->threads, index);
    struct elf_prstatus status;
    uint64_t registers[27];
    uint8_t floating[SCP_ARCH_XSTATE_BYTES];
    scp_arch_registers(slot->frame, slot->record.fs_base, slot->record.gs_base, registers);
    if (thread != NULL && thread->tid == slot->tid)
        memcpy(thread->registers, registers, sizeof registers);
    fill_status(checkpoint, slot, registers, &status);
    int result = scp_note(&memory->thread_notes, "CORE", NT_PRSTATUS, &status, sizeof status);
    if (index == 0) {
        memory->leader_end = memory->thread_notes.count;
        memory->xstate_size = scp_arch_xstate_frame_size(slot->frame);
    }
    size_t length = scp_arch_fpregs(slot->frame, floating);
    if (result == 0 && length > 0)
        result = scp_note(&memory->thread_notes, "CORE", NT_FPREGSET, floating, length);
    length = scp_arch_xstate(slot->frame, floating);
    if (result == 0 && length > 0)
        result = scp_note(&memory->thread_notes, "LINUX", NT_X86_XSTATE, floating, length);
    return result;
}

int scp_notes_threads(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    for (size_t i = 0; i < scp_slot_count(); i++)
        if (thread_notes(checkpoint, memory, i) != 0)
            return scp_fail(checkpoint, ENOMEM, "no memory for the notes of the threads", NULL);
    return 0;
}

// ---- the process, after the pause ------------------------------------------------------------------------------------------

static void fill_process(const struct scp_checkpoint *checkpoint, struct elf_prpsinfo *out) {
    const struct scp_process *process = &checkpoint->process;
    const char *name = (const char *)checkpoint->strings.base + process->command;
    memset(out, 0, sizeof *out);
    out->pr_sname = 'R';
    out->pr_nice = (char)process->nice;
    out->pr_uid = process->uid;
    out->pr_gid = process->gid;
    out->pr_pid = (pid_t)process->pid;
    out->pr_ppid = (pid_t)process->ppid;
    out->pr_pgrp = (pid_t)process->pgid;
    out->pr_sid = (pid_t)process->sid;
    scp_concat(out->pr_fname, sizeof out->pr_fname, name, NULL);
    long length = scp_read_small("/proc/self/cmdline", out->pr_psargs, sizeof out->pr_psargs);
    for (long i = 0; i < length - 1; i++)
        if (out->pr_psargs[i] == '\0')
            out->pr_psargs[i] = ' ';
}

static int note_auxv(struct scp_vector *out, bool ours_too) {
    uint64_t auxv[2 * 256];
    int file = scp_open_own("/proc/self/auxv", O_RDONLY);
    if (file < 0)
        return file;
    long length = scp_call(SYS_read, file, auxv, sizeof auxv);
    scp_call(SYS_close, file);
    if (length < 0)
        return (int)length;
    return ours_too ? scp_note(out, SCP_NOTE_OWNER, SCP_NOTE_AUXV, auxv, (size_t)length)
                    : scp_note(out, "CORE", NT_AUXV, auxv, (size_t)length);
}

static bool in_file_note(const struct scp_region *region) {
    return (region->kind == SCP_REGION_FILE || region->kind == SCP_REGION_SHARED_FILE) && region->path != 0;
}

static int append_words(struct scp_vector *out, const uint64_t *words, size_t count) {
    return scp_vector_append(out, words, count * sizeof *words);
}

// NT_FILE: count, page size, {start, end, offset in pages} of each, then their names.
static int fill_files(const struct scp_checkpoint *checkpoint, struct scp_vector *out) {
    uint64_t head[2] = {0, SCP_PAGE};
    int result = append_words(out, head, 2);
    for (size_t i = 0; result == 0 && i < checkpoint->regions.count; i++) {
        const struct scp_region *region = scp_vector_at(&checkpoint->regions, i);
        uint64_t entry[3] = {region->start, region->end, region->file_offset / SCP_PAGE};
        if (!in_file_note(region))
            continue;
        head[0]++;
        result = append_words(out, entry, 3);
    }
    for (size_t i = 0; result == 0 && i < checkpoint->regions.count; i++) {
        const struct scp_region *region = scp_vector_at(&checkpoint->regions, i);
        const char *path = (const char *)checkpoint->strings.base + region->path;
        if (in_file_note(region))
            result = scp_vector_append(out, path, strlen(path) + 1);
    }
    memcpy(out->base, head, sizeof head);
    return result;
}

static int note_files(const struct scp_checkpoint *checkpoint, struct scp_vector *out) {
    struct scp_vector files = {0};
    int result = scp_vector_open(&files, 1, 64u << 10);
    if (result == 0)
        result = fill_files(checkpoint, &files);
    if (result == 0)
        result = scp_note(out, "CORE", NT_FILE, files.base, files.count);
    scp_vector_close(&files);
    return result;
}

int scp_notes_process(struct scp_checkpoint *checkpoint, struct scp_vector *out) {
    struct scp_memory *memory = checkpoint->image_private;
    const char *threads = memory->thread_notes.base;
    struct elf_prpsinfo process;
    fill_process(checkpoint, &process);
    int result = scp_vector_append(out, threads, memory->leader_end);
    if (result == 0)
        result = scp_note(out, "CORE", NT_PRPSINFO, &process, sizeof process);
    if (result == 0)
        result = note_auxv(out, false);
    if (result == 0)
        result = note_files(checkpoint, out);
    if (result == 0)
        result = scp_vector_append(out, threads + memory->leader_end, memory->thread_notes.count - memory->leader_end);
    return result;
}

int scp_note_own_auxv(struct scp_vector *out) {
    return note_auxv(out, true);
}
