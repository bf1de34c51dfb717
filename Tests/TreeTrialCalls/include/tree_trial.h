// What the trial of process trees needs of C: what a process says of itself when it is complete.
#ifndef TREE_TRIAL_H
#define TREE_TRIAL_H

#include <stdint.h>

#include "crestart_tree.h"

struct trial_report {
    uint32_t process, pid, ppid, pgid, sid, is_subreaper, pending; // pending: signals 1 to 32
};
// The argument of trial_finish.
struct trial_ends {
    int32_t reports; // written: one trial_report
    int32_t hold; // read until its end, then the process ends
};

void trial_finish(void *argument, uint32_t process);
void trial_fill(struct crestart_tree_context *context, struct trial_ends *ends);

#endif
