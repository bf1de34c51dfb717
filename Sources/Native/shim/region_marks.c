// VmFlags: what madvise, mlock and mmap have said about each region. Only /proc/self/smaps tells, and it walks every page
// table to do so: it is read before the pause, and again in the pause only where that is quick and something is new.
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "memory.h"

#define TEXT_BYTES (256u << 10)

// Two letters of the VmFlags line (Linux fs/proc/task_mmu.c, show_smap_vma_flags).
static const struct letters {
    char name[2];
    uint16_t trouble;
    uint32_t flag;
} known[] = {
    {"gd", 0, SCP_REGION_GROWSDOWN},     {"lo", 0, SCP_REGION_LOCKED},     {"lf", 0, SCP_REGION_LOCK_ON_FAULT},
    {"nr", 0, SCP_REGION_NORESERVE},     {"dd", 0, SCP_REGION_DONTDUMP},   {"dc", 0, SCP_REGION_DONTFORK},
    {"wf", 0, SCP_REGION_WIPEONFORK},    {"hg", 0, SCP_REGION_HUGEPAGE},   {"nh", 0, SCP_REGION_NOHUGEPAGE},
    {"mg", 0, SCP_REGION_MERGEABLE},     {"sr", 0, SCP_REGION_SEQUENTIAL}, {"rr", 0, SCP_REGION_RANDOM},
    {"mw", 0, SCP_REGION_MAY_WRITE},     {"ht", 0, SCP_REGION_HUGETLB},    {"io", SCP_TROUBLE_DEVICE, 0},
    {"pf", SCP_TROUBLE_DEVICE, 0},       {"um", SCP_TROUBLE_USERFAULT, 0}, {"ui", SCP_TROUBLE_USERFAULT, 0},
    {"ss", SCP_TROUBLE_SHADOW_STACK, 0},
};

static void read_flags(struct scp_mark *mark, const char *text) {
    while (text[0] == ' ')
        text++;
    for (; text[0] >= 'a' && text[0] <= 'z' && text[1] >= 'a'; text += text[2] == ' ' ? 3 : 2) {
        if (text[0] == 'd' && text[1] == 'p')
            mark->droppable = 1;
        if (text[0] == 'u' && text[1] == 'w')
            mark->tracked = true;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
            if (known[i].name[0] != text[0] || known[i].name[1] != text[1])
                continue;
            mark->flags |= known[i].flag;
            if (known[i].trouble != 0)
                mark->trouble = known[i].trouble;
        }
    }
}

static uint64_t number_after(const char *text) {
    while (*text == ' ')
        text++;
    return scp_parse_decimal(&text);
}

// One line of smaps, NUL-terminated. The current mark is the vector's last.
static int read_line(struct scp_marks *told, const char *line) {
    struct scp_vector *marks = &told->all;
    if ((line[0] >= '0' && line[0] <= '9') || (line[0] >= 'a' && line[0] <= 'f')) {
        struct scp_mark *mark = marks->count < marks->capacity || told->grows ? scp_vector_add(marks) : NULL;
        if (mark == NULL)
            return -ENOMEM;
        mark->start = scp_parse_hex(&line);
        line++;
        mark->end = scp_parse_hex(&line);
        mark->execute_only = memcmp(line, " --x", 4) == 0;
        return 0;
    }
    struct scp_mark *mark = marks->count ? scp_vector_at(marks, marks->count - 1) : NULL;
    if (mark != NULL && memcmp(line, "VmFlags:", 8) == 0)
        read_flags(mark, line + 8);
    if (memcmp(line, "AnonHugePages:", 14) == 0)
        told->huge_bytes += number_after(line + 14) << 10;
    if (mark != NULL && memcmp(line, "KernelPageSize:", 15) == 0)
        for (uint64_t bytes = number_after(line + 15) << 10; bytes >> mark->huge_shift > 1;)
            mark->huge_shift++;
    // The kernel itself gives a key to memory that may be executed and not read.
    if (mark != NULL && memcmp(line, "ProtectionKey:", 14) == 0 && !mark->execute_only && number_after(line + 14) != 0)
        mark->trouble = SCP_TROUBLE_PROTECTION_KEY;
    return 0;
}

// Hands on whole lines of text[0 … length); returns how many bytes that were, or -errno.
static int64_t read_lines(struct scp_marks *told, char *text, size_t length) {
    size_t at = 0;
    for (;;) {
        char *end = memchr(text + at, '\n', length - at);
        if (end == NULL)
            return (int64_t)at;
        *end = '\0';
        int result = read_line(told, text + at);
        if (result < 0)
            return result;
        at = (size_t)(end - text) + 1;
    }
}

static int read_all(struct scp_marks *told, int descriptor, char *text) {
    size_t held = 0;
    for (;;) {
        long got = scp_call(SYS_read, descriptor, text + held, TEXT_BYTES - held - 16);
        if (got == -EINTR)
            continue;
        if (got <= 0)
            return (int)got;
        int64_t used = read_lines(told, text, held + (size_t)got);
        if (used < 0)
            return (int)used;
        held += (size_t)got - (size_t)used;
        memmove(text, text + used, held);
        if (held > TEXT_BYTES / 2)
            return -EINVAL; // no line is that long
    }
}

// Before our tracker begins such memory is another userfaultfd's. The program has none later either, or its descriptor
// is refused.
static void blame_tracked(struct scp_memory *memory) {
    struct scp_mark *marks = memory->marks.all.base;
    bool ours = memory->tracker.descriptor >= 0 || scp_parent_tracks();
    for (size_t i = 0; i < memory->marks.all.count && !ours; i++)
        if (marks[i].tracked)
            marks[i].trouble = SCP_TROUBLE_USERFAULT;
}

static bool is_scratch(const struct scp_mark *mark) {
    uintptr_t at = mark->start, from, to;
    while (at < mark->end && scp_scratch_overlap(at, mark->end, &from, &to) && from == at)
        at = to;
    return at == mark->end;
}

// What the program maps later at such a place must not inherit the scratch's flags.
static void drop_scratch(struct scp_vector *marks) {
    struct scp_mark *all = marks->base;
    size_t kept = 0;
    for (size_t i = 0; i < marks->count; i++)
        if (!is_scratch(&all[i]))
            all[kept++] = all[i];
    marks->count = kept;
}

static void note(struct scp_memory *memory, int64_t begin) {
    drop_scratch(&memory->marks.all);
    blame_tracked(memory);
    memory->marks.took = scp_now() - begin;
    memory->marks.old = false;
}

int scp_marks_read(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = scp_memory_get(checkpoint);
    if (memory == NULL)
        return -ENOMEM;
    int64_t begin = scp_now();
    int descriptor = scp_open_own("/proc/self/smaps", O_RDONLY);
    if (descriptor < 0)
        return scp_fail(checkpoint, descriptor, "cannot open /proc/self/smaps", NULL);
    char *text = scp_scratch_map(TEXT_BYTES);
    memory->marks.all.count = 0;
    memory->marks.huge_bytes = 0;
    memory->marks.grows = true;
    int result = text == NULL ? -ENOMEM : read_all(&memory->marks, descriptor, text);
    note(memory, begin);
    scp_scratch_unmap(text);
    scp_call(SYS_close, descriptor);
    return result < 0 ? scp_fail(checkpoint, result, "cannot read /proc/self/smaps", NULL) : 0;
}

// ---- beside the first round ------------------------------------------------------------------------------------------------

static void read_beside(void *argument) {
    struct scp_marks_reader *reader = argument;
    int64_t begin = scp_now();
    reader->result = read_all(&reader->marks, reader->smaps, reader->text);
    reader->marks.took = scp_now() - begin;
}

void scp_marks_read_beside(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    struct scp_marks_reader *reader = &memory->marks_reader;
    size_t room = memory->marks.all.count + memory->marks.all.count / 4 + 256; // the thread has no way to more
    if (!memory->marks.old || !scp_helper_threads_may(checkpoint))
        return;
    reader->smaps = scp_open_own("/proc/self/smaps", O_RDONLY);
    reader->text = scp_helper_thread_map(&reader->thread, TEXT_BYTES);
    reader->marks = (struct scp_marks){.huge_bytes = 0};
    if (reader->smaps < 0 || reader->text == NULL ||
        scp_vector_open(&reader->marks.all, sizeof(struct scp_mark), room) != 0 ||
        scp_helper_thread_start(&reader->thread, read_beside, reader) < 0)
        scp_marks_close(memory);
}

int scp_marks_await(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = checkpoint->image_private;
    struct scp_marks_reader *reader = &memory->marks_reader;
    if (reader->thread.memory != NULL) {
        scp_helper_thread_end(&reader->thread);
        if (reader->result == 0 && memory->marks.old) {
            scp_vector_close(&memory->marks.all);
            memory->marks = reader->marks;
            reader->marks = (struct scp_marks){.huge_bytes = 0};
            note(memory, scp_now() - memory->marks.took);
        }
        scp_marks_close(memory);
    }
    return memory->marks.old ? scp_marks_read(checkpoint) : 0;
}

void scp_marks_close(struct scp_memory *memory) {
    struct scp_marks_reader *reader = &memory->marks_reader;
    if (reader->thread.memory != NULL)
        scp_helper_thread_end(&reader->thread);
    if (reader->smaps >= 0)
        scp_call(SYS_close, reader->smaps);
    scp_vector_close(&reader->marks.all);
    *reader = (struct scp_marks_reader){.smaps = -1};
}
