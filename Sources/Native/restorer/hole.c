// Where the restorer works while everything around it is replaced.
#include "restorer.h"

#include <linux/fcntl.h>
#include <linux/mman.h>

#define HOLE_LOWEST 0x100000u // above any vm.mmap_min_addr in use
#define MAPS_SIZE (16u << 10) // bytes; this program has about ten mappings

extern const char restorer_code_start[] __attribute__((visibility("hidden")));
extern const char restorer_code_end[] __attribute__((visibility("hidden")));

// ---- /proc/self/maps -------------------------------------------------------------------------------------------------

static uint64_t parse_hex(const char **cursor) {
    uint64_t value = 0;
    for (;; (*cursor)++) {
        char c = **cursor;
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        else
            return value;
    }
}

// "START-END PERM OFFSET DEV INODE   NAME": the only '[' of a line begins its name.
static const char *read_line(struct restorer *restorer, const char *line) {
    struct restorer_mapping mapping = {0};
    mapping.start = parse_hex(&line);
    line++;
    mapping.end = parse_hex(&line);
    for (; *line && *line != '\n'; line++) {
        if (restorer_begins(line, "[vdso]"))
            mapping.vdso = mapping.kernel = true;
        else if (restorer_begins(line, "[vvar"))
            mapping.kernel = true;
    }
    if (mapping.start < ARCH_ADDRESS_END) { // [vsyscall] is the kernel's own
        if (restorer->mapping_count == RESTORER_MAPPINGS)
            restorer_fail(restorer, 0, "the restorer has more mappings than it expects", NULL);
        restorer->mappings[restorer->mapping_count++] = mapping;
    }
    return *line ? line + 1 : line;
}

void restorer_maps_read(struct restorer *restorer) {
    char text[MAPS_SIZE];
    size_t length = 0;
    long descriptor = call(openat, AT_FDCWD, "/proc/self/maps", O_RDONLY, 0);
    if (descriptor < 0)
        restorer_fail(restorer, descriptor, "cannot open /proc/self/maps; is /proc mounted", NULL);
    for (;;) {
        long count = call(read, descriptor, text + length, sizeof text - 1 - length);
        if (count <= 0)
            break;
        length += (size_t)count;
    }
    call(close, descriptor);
    text[length] = 0;
    for (const char *line = text; *line;)
        line = read_line(restorer, line);
}

// ---- the hole --------------------------------------------------------------------------------------------------------

// The lowest address >= from where nothing of this program overlaps `length` bytes.
static uint64_t clear_of_own(const struct restorer *restorer, uint64_t from, uint64_t length) {
    for (uint32_t i = 0; i < restorer->mapping_count; i++) // ascending
        if (from < restorer->mappings[i].end && from + length > restorer->mappings[i].start)
            from = restorer->mappings[i].end;
    return from;
}

// Also clear of where the kernel's pages have to go in the end.
static uint64_t clear_of_home(const struct scp_plan *plan, uint64_t from, uint64_t length) {
    uint64_t start = plan->vdso_start, end = plan->vdso_start + plan->vdso_length;
    if (plan->vvar_length && plan->vvar_start < start)
        start = plan->vvar_start;
    if (plan->vvar_length && plan->vvar_start + plan->vvar_length > end)
        end = plan->vvar_start + plan->vvar_length;
    return from < end && from + length > start ? end : from;
}

static void measure_kernel_pages(struct restorer *restorer) {
    uint64_t low = 0, high = 0;
    for (uint32_t i = 0; i < restorer->mapping_count; i++) {
        const struct restorer_mapping *mapping = &restorer->mappings[i];
        if (!mapping->kernel)
            continue;
        low = low ? low : mapping->start;
        high = mapping->end;
        if (mapping->vdso) {
            restorer->vdso = mapping->start;
            restorer->vdso_length = mapping->end - mapping->start;
        }
    }
    restorer->parked = low;
    restorer->parked_length = high - low;
}

static uint64_t settle(const struct restorer *restorer, uint64_t from, uint64_t length) {
    for (uint64_t before = 0; before != from;) {
        before = from;
        from = clear_of_own(restorer, from, length);
        from = clear_of_home(restorer->plan, from, length);
    }
    return from;
}

void restorer_hole_find(struct restorer *restorer) {
    const struct scp_plan *plan = restorer->plan;
    const struct scp_plan_region *regions = restorer_plan_table(plan, &plan->regions);
    measure_kernel_pages(restorer);
    restorer->code_length = restorer_round_up((uint64_t)(restorer_code_end - restorer_code_start), PAGE);
    uint64_t length = restorer->code_length + restorer_round_up(sizeof *restorer, PAGE) + RESTORER_STACK +
                      restorer_round_up(plan->length, PAGE) + restorer->parked_length;
    uint64_t from = settle(restorer, HOLE_LOWEST, length);
    for (uint64_t i = 0; i < plan->regions.count && regions[i].start < from + length; i++)
        if (regions[i].end > from)
            from = settle(restorer, regions[i].end, length);
    if (from + length > ARCH_ADDRESS_END)
        restorer_fail(restorer, 0, "the address space of the image has no room left to work in", NULL);
    restorer->hole = from;
    restorer->hole_length = length;
}

// ---- going there -----------------------------------------------------------------------------------------------------

static uint64_t map_in_hole(struct restorer *restorer, uint64_t at, uint64_t length, int descriptor) {
    long flags = MAP_PRIVATE | MAP_FIXED_NOREPLACE | (descriptor < 0 ? MAP_ANONYMOUS : 0);
    long result = call(mmap, at, length, PROT_READ | PROT_WRITE, flags, descriptor, 0);
    if (result != (long)at)
        restorer_fail(restorer, result, "cannot map working memory", NULL);
    return at + length;
}

//   hole | code | state | stack | plan | place for vvar, vdso |
void restorer_move(struct restorer *restorer) {
    uint64_t state = restorer->hole + restorer->code_length;
    uint64_t stack = state + restorer_round_up(sizeof *restorer, PAGE);
    uint64_t plan = stack + RESTORER_STACK;
    map_in_hole(restorer, restorer->hole, plan - restorer->hole, -1);
    map_in_hole(restorer, plan, restorer_round_up(restorer->plan->length, PAGE),
                restorer_plan_descriptor(restorer->plan, SCP_PLAN_DESCRIPTOR_PLAN));
    memcpy((void *)restorer->hole, restorer_code_start, (size_t)(restorer_code_end - restorer_code_start));
    long result = call(mprotect, restorer->hole, restorer->code_length, PROT_READ | PROT_EXEC);
    if (result < 0)
        restorer_fail(restorer, result, "cannot make working memory executable", NULL);
    restorer->code = restorer->hole;
    restorer->plan = (struct scp_plan *)plan;
    restorer->stage = STAGE_PARK;
    memcpy((void *)state, restorer, sizeof *restorer);
    uint64_t run = (uint64_t)((const char *)(uintptr_t)restorer_run - restorer_code_start) + restorer->hole;
    arch_jump(run, state, 0, plan);
}

void restorer_clear(struct restorer *restorer) {
    uint64_t end = restorer->hole + restorer->hole_length;
    long result = call(munmap, 0, restorer->hole);
    if (result == 0)
        result = call(munmap, end, ARCH_ADDRESS_END - end);
    if (result < 0)
        restorer_fail(restorer, result, "cannot clear the address space", NULL);
}
