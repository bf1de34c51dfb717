// The address space as the image will have it: /proc/self/maps without the shim's scratch.
//
// Two passes. The first makes out regions from the text and grows nothing: were scratch mapped or moved meanwhile, the
// text would show it where it no longer is. The second, when all is known, classifies and keeps strings.
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "memory.h"

#define QUICK_MARKS_NS 5000000 // reading smaps again within the pause is worth this much

int scp_memory_vector(struct scp_vector *vector, size_t element, size_t capacity) {
    return vector->base != NULL ? 0 : scp_vector_open(vector, element, capacity);
}

static size_t append_hex(char *out, uint64_t value) {
    static const char digits[] = "0123456789abcdef";
    int shift = 60;
    size_t length = 0;
    while (shift > 0 && value >> shift == 0)
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        out[length++] = digits[value >> shift & 15];
    return length;
}

void scp_memory_name(const struct scp_checkpoint *checkpoint, const struct scp_region *region, char out[512]) {
    const char *path = (const char *)checkpoint->strings.base + region->path;
    size_t used = append_hex(out, region->start);
    out[used++] = '-';
    used += append_hex(out + used, region->end);
    out[used] = '\0';
    if (region->path != 0)
        scp_concat(out + used, 512 - used, " (", path, ")", NULL);
}

// "7f12-7f34 rw-p 00001000 fe:01 1234   /path": false at the end of the text.
static bool parse_line(const char **cursor, struct scp_line *line) {
    const char *text = *cursor;
    if (*text == '\0')
        return false;
    line->start = scp_parse_hex(&text);
    text++;
    line->end = scp_parse_hex(&text);
    line->protection =
        (text[1] == 'r' ? PROT_READ : 0) | (text[2] == 'w' ? PROT_WRITE : 0) | (text[3] == 'x' ? PROT_EXEC : 0);
    line->shared = text[4] == 's';
    text += 6;
    line->offset = scp_parse_hex(&text);
    text++;
    uint64_t major = scp_parse_hex(&text);
    text++;
    uint64_t minor = scp_parse_hex(&text);
    line->device = (major & 0xfffu) << 8 | (major & ~0xfffull) << 32 | (minor & 0xffu) | (minor & ~0xffull) << 12;
    text++;
    line->inode = scp_parse_decimal(&text);
    while (*text == ' ')
        text++;
    const char *end = strchr(text, '\n');
    line->path = text;
    line->path_length = end ? (size_t)(end - text) : strlen(text);
    *cursor = end ? end + 1 : text + line->path_length;
    return true;
}

static bool named(const struct scp_line *line, const char *name) {
    return line->path_length == strlen(name) && memcmp(line->path, name, line->path_length) == 0;
}

// Until classified: path = where the line stands in the text, kind = 0.
static int add_piece(struct scp_checkpoint *checkpoint, uint64_t start, uint64_t end, size_t line_at) {
    struct scp_region *region = scp_vector_add(&checkpoint->regions);
    if (region == NULL)
        return -ENOMEM;
    region->start = start;
    region->end = end;
    region->path = (uint32_t)line_at;
    return 0;
}

// Adds what of the line is not scratch. Wants room in the vector already.
//
// The kernel gives the text a page at a time. Where a running program has mappings grown or merged between two pages, the
// next line begins within the one before: what that has told already counts.
static int add_line(struct scp_checkpoint *checkpoint, const struct scp_line *line, size_t line_at) {
    const struct scp_region *last = scp_vector_at(&checkpoint->regions, checkpoint->regions.count - 1);
    uint64_t start = last != NULL && last->end > line->start ? last->end : line->start;
    while (start < line->end) {
        uintptr_t from, to;
        if (!scp_scratch_overlap(start, line->end, &from, &to))
            from = to = line->end;
        if (from > start && add_piece(checkpoint, start, from, line_at) != 0)
            return -ENOMEM;
        start = to;
    }
    return 0;
}

static int make_out(struct scp_checkpoint *checkpoint, const struct scp_vector *maps) {
    const char *text = maps->base, *cursor = text;
    struct scp_line line;
    checkpoint->regions.count = 0;
    for (;;) {
        size_t line_at = (size_t)(cursor - text);
        if (!parse_line(&cursor, &line))
            return 0;
        if (named(&line, "[vsyscall]"))
            continue;
        int result = add_line(checkpoint, &line, line_at);
        if (result != 0)
            return result;
    }
}

static size_t count_lines(const struct scp_vector *bytes) {
    size_t lines = 0;
    const char *at = bytes->base, *end = at + bytes->count;
    while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        lines++;
        at++;
    }
    return lines;
}

// Reads maps until neither the text nor the table of regions had to grow for it.
static int read_maps(struct scp_checkpoint *checkpoint, struct scp_vector *maps) {
    for (;;) {
        void *text = maps->base, *regions = checkpoint->regions.base;
        size_t room = checkpoint->regions.capacity;
        int result = scp_read_file("/proc/self/maps", maps);
        if (result < 0)
            return result;
        checkpoint->regions.count = 0;
        result = scp_vector_reserve(&checkpoint->regions, count_lines(maps) + 1024);
        if (result < 0)
            return result;
        if (text == maps->base && regions == checkpoint->regions.base && room == checkpoint->regions.capacity)
            return make_out(checkpoint, maps);
    }
}

// The mark that holds the region's first byte (the cursor only moves up), or NULL.
static const struct scp_mark *mark_for(const struct scp_vector *marks, size_t *cursor, uint64_t start, uint64_t end) {
    while (*cursor < marks->count && ((struct scp_mark *)marks->base)[*cursor].end <= start)
        ++*cursor;
    const struct scp_mark *mark = scp_vector_at(marks, *cursor);
    return mark != NULL && mark->start < end ? mark : NULL;
}

// Whether nothing was mapped, unmapped, moved or split since smaps was read.
static bool as_marked(const struct scp_checkpoint *checkpoint, const struct scp_vector *marks) {
    size_t cursor = 0;
    for (size_t i = 0; i < checkpoint->regions.count; i++) {
        const struct scp_region *region = scp_vector_at(&checkpoint->regions, i);
        const struct scp_mark *mark = mark_for(marks, &cursor, region->start, region->end);
        if (mark == NULL || mark->start != region->start || mark->end != region->end)
            return false;
    }
    return true;
}

// `slow`: however long reading takes. What an earlier checkpoint has read may have other advice by now.
static bool are_due(const struct scp_checkpoint *checkpoint, bool slow) {
    const struct scp_memory *memory = checkpoint->image_private;
    const struct scp_marks *marks = &memory->marks;
    if (marks->old)
        return slow || checkpoint->pause_start != 0 || !as_marked(checkpoint, &marks->all);
    return (slow || marks->took < QUICK_MARKS_NS) && !as_marked(checkpoint, &marks->all);
}

static int classify_all(struct scp_checkpoint *checkpoint, struct scp_memory *memory) {
    size_t cursor = 0;
    for (size_t i = 0; i < checkpoint->regions.count; i++) {
        struct scp_region *region = scp_vector_at(&checkpoint->regions, i);
        const char *text = (const char *)memory->maps.base + region->path;
        struct scp_line line;
        region->path = 0;
        parse_line(&text, &line);
        line.offset += region->start - line.start;
        int result = scp_region_classify(checkpoint, region, &line,
                                         mark_for(&memory->marks.all, &cursor, region->start, region->end));
        if (result < 0)
            return result;
    }
    scp_regions_mark_shim(checkpoint);
    return 0;
}

int scp_regions_prepare(struct scp_checkpoint *checkpoint) {
    struct scp_memory *memory = scp_memory_get(checkpoint);
    if (memory == NULL)
        return checkpoint->error ? -checkpoint->error : -ENOMEM;
    int result = scp_parent_marks(memory) ? 0 : scp_marks_read(checkpoint);
    if (result < 0)
        return result;
    // Room beforehand, so that the pause seldom reads maps twice.
    size_t lines = memory->marks.all.count + memory->marks.all.count / 8 + 1024;
    if (scp_memory_vector(&checkpoint->regions, sizeof(struct scp_region), lines) != 0 ||
        scp_memory_vector(&checkpoint->strings, 1, 1u << 20) != 0 ||
        scp_vector_reserve(&checkpoint->regions, lines) != 0 || scp_vector_reserve(&memory->maps, lines * 100) != 0)
        return scp_fail(checkpoint, ENOMEM, "no memory for the table of memory regions", NULL);
    return 0;
}

// `slow`: smaps is read where mappings have changed, however long that takes.
static int examine(struct scp_checkpoint *checkpoint, bool slow) {
    struct scp_memory *memory = scp_memory_get(checkpoint);
    if (memory == NULL)
        return checkpoint->error ? -checkpoint->error : -ENOMEM;
    if (scp_memory_vector(&checkpoint->regions, sizeof(struct scp_region), 4096) != 0 ||
        scp_memory_vector(&checkpoint->strings, 1, 1u << 20) != 0)
        return scp_fail(checkpoint, ENOMEM, "no memory for the table of memory regions", NULL);
    memory->identity = (struct scp_file_identity){.name = NULL}; // of another text
    memory->lazy_parts.count = 0;
    int result = read_maps(checkpoint, &memory->maps);
    if (result < 0)
        return scp_fail(checkpoint, result, "cannot read /proc/self/maps", NULL);
    if (are_due(checkpoint, slow)) {
        result = scp_marks_read(checkpoint);
        if (result < 0)
            return result;
    }
    return classify_all(checkpoint, memory);
}

int scp_regions_examine(struct scp_checkpoint *checkpoint) {
    return examine(checkpoint, false);
}

int scp_regions_again(struct scp_checkpoint *checkpoint) {
    size_t strings = checkpoint->strings.count;
    int result = examine(checkpoint, true);
    checkpoint->strings.count = strings; // the pause names everything again
    return result;
}
