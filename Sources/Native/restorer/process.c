// What the kernel keeps of the memory as a whole, and the last work on descriptors.
#include "restorer.h"

#include <asm/errno.h>
#include <linux/fcntl.h>
#include <linux/prctl.h>

static struct prctl_mm_map memory_map(const struct scp_plan *plan) {
    return (struct prctl_mm_map){
        .start_code = plan->start_code,
        .end_code = plan->end_code,
        .start_data = plan->start_data,
        .end_data = plan->end_data,
        .start_brk = plan->start_brk,
        .brk = plan->brk,
        .start_stack = plan->start_stack,
        .arg_start = plan->arguments_start,
        .arg_end = plan->arguments_end,
        .env_start = plan->environment_start,
        .env_end = plan->environment_end,
        .auxv = (__u64 *)(uintptr_t)restorer_plan_table(plan, &plan->auxiliary),
        .auxv_size = (__u32)plan->auxiliary.count,
        .exe_fd = (__u32)restorer_plan_descriptor(plan, SCP_PLAN_DESCRIPTOR_EXECUTABLE),
    };
}

// No capability is needed but for the executable, which takes CAP_CHECKPOINT_RESTORE in this user namespace.
void restorer_process_set(struct restorer *restorer) {
    struct prctl_mm_map map = memory_map(restorer->plan);
    long result = call(prctl, PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0);
    if (result < 0 && map.exe_fd != (__u32)-1) {
        map.exe_fd = (__u32)-1;
        long again = call(prctl, PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0);
        if (again == 0)
            restorer_warn(restorer, result, "/proc/self/exe names the restorer, not the program", NULL);
        result = again;
    }
    if (result < 0)
        restorer_fail(restorer, result, "cannot set the program's brk and arguments (PR_SET_MM_MAP)", NULL);
    call(personality, restorer->plan->personality);
}

void restorer_numbers_finish(struct restorer *restorer) {
    const struct scp_plan *plan = restorer->plan;
    const int32_t *numbers = restorer_plan_table(plan, &plan->descriptors);
    for (uint64_t i = 0; i < plan->descriptors.count; i++)
        if (i != SCP_PLAN_DESCRIPTOR_STATUS && i != SCP_PLAN_DESCRIPTOR_GO && numbers[i] >= 0)
            call(close, numbers[i]);
    const int32_t *on_exec = restorer_plan_table(plan, &plan->on_exec);
    for (uint64_t i = 0; i < plan->on_exec.count; i++)
        call(fcntl, on_exec[i], F_SETFD, FD_CLOEXEC);
}
