// swiftcp_restorer PLAN: PLAN is the number of the descriptor that holds the plan.
#include "restorer.h"

static int parse_number(const char *text) {
    int value = 0;
    while (*text >= '0' && *text <= '9' && value < 100000000)
        value = value * 10 + (*text++ - '0');
    return *text ? -1 : value;
}

void restorer_enter(long *stack) {
    struct restorer restorer;
    memset(&restorer, 0, sizeof restorer);
    restorer.open_file = -1;
    const char *const *arguments = (const char *const *)(stack + 1);
    restorer_plan_open(&restorer, stack[0] == 2 ? parse_number(arguments[1]) : -1);
    restorer_run(&restorer);
}

static void run_stage(struct restorer *restorer) {
    switch (restorer->stage) {
    case STAGE_HOLE:
        restorer_maps_read(restorer);
        restorer_hole_find(restorer);
        break;
    case STAGE_MOVE:
        restorer_move(restorer); // the copy begins with the next stage
    case STAGE_PARK:
        restorer_vdso_park(restorer);
        break;
    case STAGE_CLEAR:
        restorer_clear(restorer);
        break;
    case STAGE_REGIONS:
        restorer_regions_map(restorer);
        break;
    case STAGE_CONTENT:
        restorer_content_fill(restorer);
        break;
    case STAGE_PROTECT:
        restorer_regions_protect(restorer);
        break;
    case STAGE_HOME:
        restorer_vdso_home(restorer);
        break;
    case STAGE_PROCESS:
        restorer_process_set(restorer);
        break;
    case STAGE_NUMBERS:
        restorer_numbers_finish(restorer);
        break;
    case STAGE_THREADS:
        restorer_threads_start(restorer);
    case STAGE_END:
        break;
    }
}

void restorer_run(struct restorer *restorer) {
    for (; restorer->stage < STAGE_END; restorer->stage++)
        run_stage(restorer);
    for (;;)
        call(exit_group, RESTORER_EXIT_FAILED);
}
