// How the scheduler takes the checkpoint thread, beside the program's threads: by the length of the slice that it asks for
// (Linux 6.12, sched_attr.sched_runtime of a thread of the usual policy, no privilege; others refuse or ignore it). Who asks for
// a long one makes room for everybody who wakes up and asks for less; who asks for a short one is let in at once. A lower
// priority (nice) could not be given back.
#include "shim.h"

#include <sched.h>
#include <time.h>

#define PATIENT_NS 100000000u // the longest there is
#define PROMPT_NS 100000u // the shortest
#define WAY_NS 100000u // for each process that runs on
#define WAY_LIMIT_NS 100000000u

void scp_pace_set(enum scp_pace pace) {
    static enum scp_pace last;
    static const uint32_t slices[] = {
        [SCP_PACE_USUAL] = 0, [SCP_PACE_PATIENT] = PATIENT_NS, [SCP_PACE_PROMPT] = PROMPT_NS};
    struct scp_schedule schedule = {.size = sizeof schedule};
    if (pace == last)
        return;
    last = pace;
    if (scp_call(SYS_sched_getattr, 0, &schedule, sizeof schedule, 0) < 0 || schedule.policy != SCHED_OTHER)
        return;
    schedule.runtime = slices[pace];
    scp_call(SYS_sched_setattr, 0, &schedule, 0);
}

void scp_pace_make_way(uint32_t processes) {
    uint64_t ns = (uint64_t)processes * WAY_NS;
    struct timespec rest = {.tv_nsec = (long)(ns < WAY_LIMIT_NS ? ns : WAY_LIMIT_NS)};
    if (processes > 1)
        scp_call(SYS_nanosleep, &rest, NULL);
}
