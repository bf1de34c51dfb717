// The threads of the image, each on its own old stack below its signal frame. The leader, which runs this, goes last.
#include "restorer.h"

#include <asm/errno.h>
#include <linux/sched.h>
#include <linux/time.h>

// A number that a helper (fill.c) of this process or of another one of the set had is free a moment later.
#define NUMBER_TRIES 3000 // of a millisecond

// Runs on the new thread's stack; the plan stays mapped until all threads have arrived.
static _Noreturn void thread_main(const void *argument) {
    const struct scp_plan_thread *thread = argument;
    if (thread->gs_base)
        arch_set_second_base(thread->gs_base);
    arch_jump(thread->entry, thread->argument, thread->arrival, thread->stack);
}

static void prepare_arrival(struct restorer *restorer) {
    struct scp_arrival *arrival = (struct scp_arrival *)restorer_plan_table(restorer->plan, &restorer->plan->arrival);
    int status = restorer_plan_descriptor(restorer->plan, SCP_PLAN_DESCRIPTOR_STATUS);
    arrival->blob_start = restorer->hole;
    arrival->blob_length = restorer->hole_length;
    arrival->status_descriptor = status;
    arrival->go_descriptor = restorer_plan_descriptor(restorer->plan, SCP_PLAN_DESCRIPTOR_GO);
    arrival->working_descriptors[0] = status;
    for (size_t i = 1; i < sizeof arrival->working_descriptors / sizeof *arrival->working_descriptors; i++)
        arrival->working_descriptors[i] = -1;
}

static void create(struct restorer *restorer, const struct scp_plan_thread *thread) {
    __s32 tid = (__s32)thread->tid;
    struct clone_args arguments = {
        .flags = CLONE_VM | CLONE_FS | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS,
        .stack = thread->stack - PAGE,
        .stack_size = PAGE,
        .tls = thread->fs_base,
    };
    if (!(thread->flags & SCP_THREAD_CHECKPOINT))
        arguments.flags |= CLONE_FILES;
    if (thread->clear_child_tid) {
        arguments.flags |= CLONE_CHILD_CLEARTID;
        arguments.child_tid = thread->clear_child_tid;
    }
    if (restorer->plan->flags & SCP_PLAN_SET_TIDS) {
        arguments.set_tid = (__u64)(uintptr_t)&tid;
        arguments.set_tid_size = 1;
    }
    long result = arch_thread(&arguments, sizeof arguments, thread_main, thread);
    for (int tries = 0; result == -EEXIST && tries < NUMBER_TRIES; tries++) {
        struct timespec pause = {0, 1000000};
        call(nanosleep, &pause, 0);
        result = arch_thread(&arguments, sizeof arguments, thread_main, thread);
    }
    if (result < 0)
        restorer_fail(restorer, result, "cannot create a thread of the program", NULL);
}

void restorer_threads_start(struct restorer *restorer) {
    const struct scp_plan *plan = restorer->plan;
    struct scp_plan_thread *threads = (struct scp_plan_thread *)restorer_plan_table(plan, &plan->threads);
    const struct scp_plan_thread *leader = &threads[plan->threads.count - 1];
    prepare_arrival(restorer);
    for (uint64_t i = 0; i < plan->threads.count; i++) {
        threads[i].arrival = (uint64_t)(uintptr_t)restorer_plan_table(plan, &plan->arrival);
        if (&threads[i] != leader)
            create(restorer, &threads[i]);
    }
    call(set_tid_address, leader->clear_child_tid);
    long result = arch_set_thread_base(leader->fs_base);
    if (result < 0)
        restorer_fail(restorer, result, "cannot set the thread pointer", NULL);
    thread_main(leader);
}
