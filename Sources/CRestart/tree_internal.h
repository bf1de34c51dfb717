// What the caller of crestart_tree_build and its skeletons share.
#ifndef CRESTART_TREE_INTERNAL_H
#define CRESTART_TREE_INTERNAL_H

#include "crestart_tree.h"

#define CRESTART_TREE_FINISH 100u // after the last step; a kind of its own
#define CRESTART_TREE_GIVEN_UP 122 // exit status of a skeleton that nobody has need of any more

// In memory shared by all. The caller writes the step, then `posted`; the skeleton writes `result`, then `done`. Both are
// futexes that count steps.
struct tree_slot {
    struct crestart_tree_step step;
    uint32_t posted, done;
    int32_t result; // 0 or -errno
};
struct tree_shared {
    uint32_t beat; // grows with every step: where it stands still for the limit, the caller is gone
    uint32_t reserved;
    struct tree_slot slots[];
};

struct tree {
    const struct crestart_tree_context *context;
    struct tree_shared *shared;
    size_t shared_length; // bytes
    int32_t *pids; // of each slot, as the caller sees them; 0 = not made or reaped. The caller's own
    uint8_t *own; // of each slot: 1 = the caller's child
    int births; // the caller's end of a socket: every skeleton says its slot, the kernel adds its pid
    int birth; // the skeletons' end
};

// Waits until *word is not `seen` any more. 0 or -ETIMEDOUT.
int tree_wait(uint32_t *word, uint32_t seen, int limit_ms);
void tree_wake(uint32_t *word);

// clone3 of a skeleton: the child never returns. 0 or -errno; the pid goes to *pid where that is not NULL.
int tree_fork(struct tree *tree, const struct crestart_tree_step *step, int32_t *pid);
// Waits for the end of a child; `keep` leaves it a zombie. 0 or -errno.
int tree_await(int32_t pid, int keep, int limit_ms);

#endif
