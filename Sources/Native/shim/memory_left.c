// How much memory may still be taken: of the machine, and of the control groups that the process is in.
// Sources: Linux Documentation/filesystems/proc.rst (MemAvailable), admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst.
#include <string.h>

#include "memory.h"

#define PATH_BYTES 4400
#define TEXT_BYTES 4096

// The number behind `key` at the beginning of a line; UINT64_MAX = not there.
static uint64_t value_of(const char *text, const char *key) {
    size_t length = strlen(key);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, length) != 0)
            continue;
        for (line += length; *line == ' ' || *line == '\t';)
            line++;
        return scp_parse_decimal(&line);
    }
    return UINT64_MAX;
}

uint64_t scp_memory_value(const char *path, const char *key) {
    char text[TEXT_BYTES];
    if (scp_read_small(path, text, sizeof text) <= 0)
        return UINT64_MAX;
    uint64_t kilobytes = value_of(text, key);
    return kilobytes == UINT64_MAX ? UINT64_MAX : kilobytes << 10;
}

// A file of one number; "max", or no such file: UINT64_MAX.
static uint64_t number_in(const char *folder, const char *name) {
    char path[PATH_BYTES], text[64];
    const char *cursor = text;
    scp_concat(path, sizeof path, folder, "/", name, (char *)NULL);
    if (scp_read_small(path, text, sizeof text) <= 0 || *text < '0' || *text > '9')
        return UINT64_MAX;
    return scp_parse_decimal(&cursor);
}

// What its group still has; pages of files can be given up.
static uint64_t left_in(const char *folder, const char *limit_name, const char *used_name) {
    char path[PATH_BYTES], text[TEXT_BYTES];
    uint64_t limit = number_in(folder, limit_name), used = number_in(folder, used_name);
    if (limit == UINT64_MAX || used == UINT64_MAX)
        return UINT64_MAX;
    scp_concat(path, sizeof path, folder, "/memory.stat", (char *)NULL);
    uint64_t files = scp_read_small(path, text, sizeof text) > 0 ? value_of(text, "inactive_file") : 0;
    if (files != UINT64_MAX)
        used -= files < used ? files : used;
    return limit > used ? limit - used : 0;
}

// The group that a line of /proc/self/cgroup names, and all above it.
static uint64_t left_in_groups(const char *root, const char *group, size_t length, const char *limit,
                               const char *used) {
    char folder[PATH_BYTES];
    uint64_t least = UINT64_MAX;
    size_t base = scp_concat(folder, sizeof folder, root, (char *)NULL);
    if (base + length >= sizeof folder)
        return least;
    memcpy(folder + base, group, length);
    folder[base + length] = '\0';
    for (;;) {
        uint64_t left = left_in(folder, limit, used);
        least = left < least ? left : least;
        char *slash = strrchr(folder, '/');
        if (slash == NULL || slash < folder + base)
            return least;
        *slash = '\0';
    }
}

uint64_t scp_memory_left(void) {
    char text[TEXT_BYTES];
    uint64_t least = scp_memory_value("/proc/meminfo", "MemAvailable:");
    if (scp_read_small("/proc/self/cgroup", text, sizeof text) <= 0)
        return least;
    for (const char *line = text; *line != '\0';) {
        const char *end = strchr(line, '\n');
        end = end ? end : line + strlen(line);
        const char *named = strstr(line, ":memory:");
        uint64_t left = UINT64_MAX;
        if (strncmp(line, "0::", 3) == 0)
            left = left_in_groups("/sys/fs/cgroup", line + 3, (size_t)(end - line - 3), "memory.max", "memory.current");
        else if (named != NULL && named < end)
            left = left_in_groups("/sys/fs/cgroup/memory", named + 8, (size_t)(end - named - 8),
                                  "memory.limit_in_bytes", "memory.usage_in_bytes");
        least = left < least ? left : least;
        line = *end == '\n' ? end + 1 : end;
    }
    return least;
}
