// What ends an image: program headers and notes, then the ELF header that makes them valid.
//
//   metadata_offset   PT_NOTE, PT_LOAD …            (e_phoff)
//                     notes: the debuggers', then ours
//                     one section header, when there are more program headers than ELF can count (PN_XNUM)
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <gnu/libc-version.h>
#include <sys/utsname.h>

#include "memory.h"
#include "swiftcp_cpu.h"

_Static_assert(SCP_CPU_WORDS == sizeof((struct scp_image_header *)0)->cpu_features / sizeof(uint32_t), "CPU words");

static uint32_t keep(struct scp_checkpoint *checkpoint, const char *text) {
    return scp_string(&checkpoint->strings, text, strlen(text));
}

static void fill_places(const struct scp_checkpoint *checkpoint, struct scp_image_header *header) {
    for (size_t i = 0; i < checkpoint->regions.count; i++) {
        const struct scp_region *region = scp_vector_at(&checkpoint->regions, i);
        if (region->kind == SCP_REGION_VDSO) {
            header->vdso_start = region->start;
            header->vdso_length = region->end - region->start;
        } else if (region->kind == SCP_REGION_VVAR) {
            if (header->vvar_start == 0)
                header->vvar_start = region->start;
            header->vvar_length = region->end - header->vvar_start;
        }
    }
}

static void fill_header(struct scp_checkpoint *checkpoint, struct scp_image_header *header) {
    const struct scp_memory *memory = checkpoint->image_private;
    struct utsname names;
    memset(&names, 0, sizeof names);
    scp_call(SYS_uname, &names);
    *header = (struct scp_image_header){
        .magic = SCP_IMAGE_MAGIC,
        .format_version = SCP_FORMAT_VERSION,
        .header_size = sizeof *header,
        .machine = scp_arch_machine(),
        .page_size = SCP_PAGE,
        .metadata_offset = checkpoint->file_position,
        .created_realtime = memory->created_realtime,
        .created_monotonic = memory->created_monotonic,
        .created_boottime = memory->created_boottime,
        .thread_entry = (uintptr_t)scp_thread_entry,
        .checkpoint_entry = (uintptr_t)scp_checkpoint_entry,
        .xfeatures = scp_cpu_xfeatures(),
        .xstate_size = memory->xstate_size,
        .generation = checkpoint->order->generation,
        .kernel_release = keep(checkpoint, names.release),
        .host_name = keep(checkpoint, names.nodename),
        .computation = keep(checkpoint, scp_settings.computation),
        .libc_version = keep(checkpoint, gnu_get_libc_version()),
        .compression = checkpoint->order->compression,
        .snapshot = checkpoint->order->snapshot,
        .io_limit = checkpoint->order->io_limit,
        .incremental = checkpoint->order->incremental,
        .checkpoint_flags = checkpoint->order->flags & SCP_CHECKPOINT_BY_USER,
    };
    scp_cpu_features(header->cpu_features);
    fill_places(checkpoint, header);
}

static int note_vector(struct scp_vector *out, uint32_t type, const struct scp_vector *vector) {
    return scp_note(out, SCP_NOTE_OWNER, type, vector->base, vector->count * vector->element);
}

// Adds strings.
static int list_ancestors(struct scp_checkpoint *checkpoint, struct scp_ancestor out[SCP_ANCESTORS_MAXIMUM]) {
    const struct scp_memory *memory = checkpoint->image_private;
    for (size_t i = 0; i < memory->files.count; i++) {
        const struct scp_parent_file *file = scp_vector_at(&memory->files, i);
        out[i] = (struct scp_ancestor){.generation = file->generation,
                                       .name = keep(checkpoint, file->name),
                                       .metadata_checksum = file->metadata_checksum};
        if (out[i].name == 0)
            return -ENOMEM;
    }
    return 0;
}

// Ours; the header's note is the first. *header_at: where its descriptor stands in out.
static int own_notes(struct scp_checkpoint *checkpoint, struct scp_vector *out, size_t *header_at) {
    const struct scp_memory *memory = checkpoint->image_private;
    struct scp_image_header header;
    struct scp_ancestor ancestors[SCP_ANCESTORS_MAXIMUM];
    fill_header(checkpoint, &header); // adds strings: before these are written
    int result = list_ancestors(checkpoint, ancestors);
    if (result == 0)
        result = scp_note(out, SCP_NOTE_OWNER, SCP_NOTE_IMAGE, &header, sizeof header);
    *header_at = out->count - sizeof header;
    const struct {
        uint32_t type;
        const struct scp_vector *vector;
    } tables[] = {{SCP_NOTE_STRINGS, &checkpoint->strings}, {SCP_NOTE_REGIONS, &checkpoint->regions},
                  {SCP_NOTE_BLOCKS, &checkpoint->blocks},   {SCP_NOTE_BLOBS, &checkpoint->blobs},
                  {SCP_NOTE_THREADS, &checkpoint->threads}, {SCP_NOTE_PENDING, &checkpoint->pending},
                  {SCP_NOTE_TIMERS, &checkpoint->timers},   {SCP_NOTE_DESCRIPTORS, &checkpoint->descriptors},
                  {SCP_NOTE_OBJECTS, &checkpoint->objects}, {SCP_NOTE_WATCHES, &checkpoint->watches},
                  {SCP_NOTE_LOCKS, &checkpoint->locks},     {SCP_NOTE_ZOMBIES, &checkpoint->zombies}};
    for (size_t i = 0; result == 0 && i < sizeof tables / sizeof *tables; i++)
        result = note_vector(out, tables[i].type, tables[i].vector);
    if (result == 0 && memory->files.count > 0)
        result = scp_note(out, SCP_NOTE_OWNER, SCP_NOTE_ANCESTORS, ancestors, memory->files.count * sizeof *ancestors);
    const struct scp_vector *chunks = scp_encode_chunks(checkpoint);
    if (result == 0 && chunks != NULL)
        result = note_vector(out, SCP_NOTE_CHUNKS, chunks);
    if (result == 0)
        result = scp_note(out, SCP_NOTE_OWNER, SCP_NOTE_PROCESS, &checkpoint->process, sizeof checkpoint->process);
    if (result == 0)
        result = scp_note(out, SCP_NOTE_OWNER, SCP_NOTE_ACTIONS, checkpoint->actions, sizeof checkpoint->actions);
    return result == 0 ? scp_note_own_auxv(out) : result;
}

static int append_program_headers(struct scp_checkpoint *checkpoint, struct scp_vector *out) {
    struct scp_memory *memory = checkpoint->image_private;
    Elf64_Phdr note = {.p_type = PT_NOTE, .p_align = 4}; // filled when the notes are there
    int result = scp_vector_append(out, &note, sizeof note);
    return result < 0 ? result : scp_vector_append(out, memory->loads.base, memory->loads.count * sizeof(Elf64_Phdr));
}

static size_t program_headers(const struct scp_memory *memory) {
    return memory->loads.count + 1;
}

// Where ELF's 16 bits do not do, section header 0 says how many program headers there are (elf(5), PN_XNUM).
static int append_count(const struct scp_memory *memory, struct scp_vector *out) {
    static const char zeros[8];
    if (program_headers(memory) < PN_XNUM)
        return 0;
    Elf64_Shdr section = {.sh_info = (uint32_t)program_headers(memory)};
    int result = scp_vector_append(out, zeros, -out->count & 7);
    return result < 0 ? result : scp_vector_append(out, &section, sizeof section);
}

int scp_metadata(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    struct scp_vector *out = &memory->metadata;
    if (scp_memory_vector(out, 1, 1u << 20) != 0)
        return scp_fail(checkpoint, ENOMEM, "no memory for the metadata", NULL);
    int result = append_program_headers(checkpoint, out);
    size_t notes_at = out->count;
    if (result == 0)
        result = scp_notes_process(checkpoint, out);
    if (result == 0)
        result = own_notes(checkpoint, out, &memory->header_at);
    size_t notes_end = out->count;
    if (result == 0)
        result = append_count(memory, out);
    if (result < 0)
        return scp_fail(checkpoint, result, "cannot gather the metadata of the image", NULL);
    Elf64_Phdr *note = out->base;
    note->p_offset = checkpoint->file_position + notes_at;
    note->p_filesz = notes_end - notes_at;
    return 0;
}

static void fill_elf_header(const struct scp_checkpoint *checkpoint, Elf64_Ehdr *out) {
    const struct scp_memory *memory = checkpoint->image_private;
    bool many = program_headers(memory) >= PN_XNUM;
    *out = (Elf64_Ehdr){
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT, ELFOSABI_NONE},
        .e_type = ET_CORE,
        .e_machine = scp_arch_machine(),
        .e_version = EV_CURRENT,
        .e_phoff = checkpoint->file_position,
        .e_ehsize = sizeof *out,
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = many ? PN_XNUM : (uint16_t)program_headers(memory),
    };
    if (many) {
        out->e_shoff = checkpoint->file_position + memory->metadata.count - sizeof(Elf64_Shdr);
        out->e_shentsize = sizeof(Elf64_Shdr);
        out->e_shnum = 1;
    }
}

int scp_metadata_write(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    char *header = (char *)memory->metadata.base + memory->header_at; // not aligned
    uint8_t *page = memory->staging;
    memset(page, 0, SCP_DATA_OFFSET);
    fill_elf_header(checkpoint, (Elf64_Ehdr *)page);
    uint64_t length = memory->metadata.count, sum;
    memcpy(header + offsetof(struct scp_image_header, metadata_length), &length, sizeof length);
    sum = scp_checksum(memory->metadata.base, length, scp_checksum(page, SCP_DATA_OFFSET, 0));
    memcpy(header + offsetof(struct scp_image_header, metadata_checksum), &sum, sizeof sum);
    checkpoint->metadata_checksum = sum;
    int result = scp_image_write(checkpoint, memory->metadata.base, length, checkpoint->file_position);
    return result < 0 ? result : scp_image_write(checkpoint, page, SCP_DATA_OFFSET, 0);
}
