// A statically linked program, made without a linker: it waits for ever.
#ifndef SWIFTCP_STATIC_PROGRAM_H
#define SWIFTCP_STATIC_PROGRAM_H

#include "workload.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>

// pause() for ever: mov $34,%eax; syscall; jmp to the beginning.
static const unsigned char code[] = {0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7};

__attribute__((unused)) static void static_program(const char *path) {
    struct {
        Elf64_Ehdr header;
        Elf64_Phdr load;
        unsigned char code[sizeof code];
    } file;
    memset(&file, 0, sizeof file);
    memcpy(file.header.e_ident, ELFMAG, SELFMAG);
    file.header.e_ident[EI_CLASS] = ELFCLASS64;
    file.header.e_ident[EI_DATA] = ELFDATA2LSB;
    file.header.e_ident[EI_VERSION] = EV_CURRENT;
    file.header.e_type = ET_EXEC;
    file.header.e_machine = EM_X86_64;
    file.header.e_version = EV_CURRENT;
    file.header.e_entry = 0x400000 + sizeof file.header + sizeof file.load;
    file.header.e_phoff = sizeof file.header;
    file.header.e_ehsize = sizeof file.header;
    file.header.e_phentsize = sizeof file.load;
    file.header.e_phnum = 1;
    file.load = (Elf64_Phdr){.p_type = PT_LOAD,
                             .p_flags = PF_R | PF_X,
                             .p_vaddr = 0x400000,
                             .p_paddr = 0x400000,
                             .p_filesz = sizeof file,
                             .p_memsz = sizeof file,
                             .p_align = 4096};
    memcpy(file.code, code, sizeof code);
    int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    workload_check(descriptor >= 0);
    workload_check(write(descriptor, &file, sizeof file) == sizeof file);
    workload_check(close(descriptor) == 0);
}

#endif
