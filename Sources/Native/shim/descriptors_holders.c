// A description that stands in a socket's queue, and that the process itself has under no number, may be open in another process
// of the computation: mostly the one that has sent it. Then that process saves it, and the image says which number it has there.
#include "descriptors.h"

#include <linux/kcmp.h>

// A process of this computation has its mark in the environment it was started with.
bool scp_is_member(uint64_t pid, char *buffer) {
    char path[64], number[24] = "";
    number[scp_decimal(number, pid)] = '\0';
    scp_concat(path, sizeof path, "/proc/", number, "/environ", NULL);
    long length = scp_read_small(path, buffer, SCP_COPY_BYTES);
    size_t mark = sizeof SCP_ENV_COMPUTATION;
    for (const char *at = buffer; length > 0 && at < buffer + length; at += strlen(at) + 1)
        if (strncmp(at, SCP_ENV_COMPUTATION "=", mark) == 0)
            return strcmp(at + mark, scp_settings.computation) == 0;
    return false;
}

static int keep_member(void *argument, uint32_t pid) {
    struct scp_descriptor_work *work = argument;
    if (pid == (uint32_t)scp_call(SYS_getpid) || !scp_is_member(pid, work->buffer))
        return 0;
    return scp_vector_append(&work->members, &pid, sizeof pid / sizeof(uint32_t));
}

static int list_members(struct scp_descriptor_work *work) {
    if (work->members.base != NULL)
        return 0;
    int result = scp_vector_open(&work->members, sizeof(uint32_t), 1024);
    long folder = scp_call(SYS_openat, AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (result == 0 && folder >= 0)
        result = scp_visit_numbers((int)folder, keep_member, work);
    if (folder >= 0)
        scp_call(SYS_close, folder);
    return result;
}

struct search {
    const struct scp_descriptor_work *work;
    const struct scp_entry *entry;
    uint32_t pid;
    int folder; // of its descriptors
    uint32_t number;
};

static int compare_number(void *argument, uint32_t number) {
    struct search *search = argument;
    struct stat status;
    char name[24] = "";
    name[scp_decimal(name, number)] = '\0';
    if (scp_call(SYS_newfstatat, search->folder, name, &status, 0) < 0 || status.st_dev != search->entry->device ||
        status.st_ino != search->entry->inode ||
        scp_call(SYS_kcmp, search->work->own, search->pid, KCMP_FILE, search->entry->number, number) != 0)
        return 0;
    search->number = number;
    return -EEXIST; // ends the search
}

static bool holds(struct search *search) {
    char path[64], digits[24] = "";
    digits[scp_decimal(digits, search->pid)] = '\0';
    scp_concat(path, sizeof path, "/proc/", digits, "/fd", NULL);
    search->folder = (int)scp_call(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (search->folder < 0)
        return false;
    int result = scp_visit_numbers(search->folder, compare_number, search);
    scp_call(SYS_close, search->folder);
    return result == -EEXIST;
}

void scp_find_holder(struct scp_descriptor_work *work, const struct scp_entry *entry) {
    if (work->checkpoint->processes <= 1 || list_members(work) < 0)
        return;
    for (size_t i = 0; i < work->members.count; i++) {
        struct search search = {.work = work, .entry = entry, .pid = *(uint32_t *)scp_vector_at(&work->members, i)};
        if (!holds(&search))
            continue;
        struct scp_object *object = scp_object_at(work, entry->object);
        object->kind = SCP_OBJECT_FILE; // whatever it is: the other image knows
        object->flags |= SCP_OBJECT_BORROWED | SCP_OBJECT_HELD;
        object->value[SCP_HELD_BY] = search.pid;
        object->value[SCP_HELD_NUMBER] = search.number;
        return;
    }
}
