// Access to the plan.
#include "restorer.h"

#include <asm/stat.h>
#include <linux/mman.h>

static _Noreturn void refuse(void) {
    for (;;)
        call(exit_group, RESTORER_EXIT_NO_PLAN);
}

static bool table_fits(const struct scp_plan *plan, const struct scp_plan_table *table, uint64_t record) {
    return table->offset <= plan->length && table->count <= (plan->length - table->offset) / record;
}

static bool plan_fits(const struct scp_plan *plan, uint64_t length) {
    return plan->magic == SCP_PLAN_MAGIC && plan->version == SCP_PLAN_VERSION && plan->size == sizeof *plan &&
           plan->length <= length && table_fits(plan, &plan->regions, sizeof(struct scp_plan_region)) &&
           table_fits(plan, &plan->pieces, sizeof(struct scp_plan_piece)) &&
           table_fits(plan, &plan->objects, sizeof(struct scp_plan_object)) &&
           table_fits(plan, &plan->threads, sizeof(struct scp_plan_thread)) && plan->threads.count > 0 &&
           table_fits(plan, &plan->descriptors, sizeof(int32_t)) &&
           plan->descriptors.count >= SCP_PLAN_DESCRIPTOR_OBJECTS && plan->ancestor_count <= SCP_ANCESTORS_MAXIMUM &&
           table_fits(plan, &plan->on_exec, sizeof(int32_t)) &&
           table_fits(plan, &plan->symbols, sizeof(struct scp_plan_symbol)) && table_fits(plan, &plan->auxiliary, 1) &&
           table_fits(plan, &plan->strings, 1) && plan->strings.count > 0 &&
           table_fits(plan, &plan->arrival, sizeof(struct scp_arrival)) && plan->arrival.count == 1;
}

void restorer_plan_open(struct restorer *restorer, int descriptor) {
    struct stat status;
    if (call(fstat, descriptor, &status) < 0 || status.st_size < (long)sizeof(struct scp_plan))
        refuse();
    long plan = call(mmap, 0, status.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, descriptor, 0);
    if (plan < 0 && plan > -4096)
        refuse();
    restorer->plan = (struct scp_plan *)plan;
    if (!plan_fits(restorer->plan, (uint64_t)status.st_size))
        refuse();
}

const void *restorer_plan_table(const struct scp_plan *plan, const struct scp_plan_table *table) {
    return (const char *)plan + table->offset;
}

const char *restorer_plan_string(const struct scp_plan *plan, uint32_t offset) {
    return (const char *)restorer_plan_table(plan, &plan->strings) + (offset < plan->strings.count ? offset : 0);
}

int restorer_plan_descriptor(const struct scp_plan *plan, uint32_t place) {
    const int32_t *numbers = restorer_plan_table(plan, &plan->descriptors);
    return place < plan->descriptors.count ? numbers[place] : -1;
}

int restorer_plan_image(const struct scp_plan *plan, uint32_t file) {
    if (file > plan->ancestor_count)
        return -1;
    return restorer_plan_descriptor(plan, file == 0 ? SCP_PLAN_DESCRIPTOR_IMAGE : plan->ancestors + file - 1);
}
