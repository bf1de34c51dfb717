// How much memory has been brought back: one page that swiftcp_restart shares with those who unpack and the restorers.
#ifndef CRESTART_PROGRESS_H
#define CRESTART_PROGRESS_H

#include <stdint.h>

struct crestart_progress {
    int32_t memory; // memfd with a struct scp_plan_progress, close-on-exec; -1 = none
    uint64_t *done; // bytes; mapped here and in children
};

// 0 or -errno; then there is none.
int crestart_progress_open(struct crestart_progress *progress);
void crestart_progress_close(struct crestart_progress *progress);
void crestart_progress_reset(struct crestart_progress *progress);
void crestart_progress_add(const struct crestart_progress *progress, uint64_t bytes);
uint64_t crestart_progress_done(const struct crestart_progress *progress);

#endif
