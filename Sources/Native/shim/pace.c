// How the scheduler takes the checkpoint thread, beside the program's threads: by the length of the slice that it asks for
// (Linux 6.12, sched_attr.sched_runtime of a thread of the usual policy, no privilege; others refuse or ignore it). Who asks for
// a long one makes room for everybody who wakes up and asks for less; who asks for a short one is let in at once. A lower
// priority (nice) could not be given back.
#include "shim.h"

#include <sched.h>

#define PATIENT_NS 100000000u // the longest there is
#define PROMPT_NS 100000u // the shortest

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
