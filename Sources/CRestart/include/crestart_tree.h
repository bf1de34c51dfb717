// Makes the processes of a tree with their numbers, parents, sessions and groups: carries out a list of steps.
//
//   swiftcp_restart (the caller)            skeletons: processes that have an identity, but no program yet
//   step: FORK actor subject number ----->  the actor clones the subject and answers
//   step: SET_SESSION, SET_GROUP … ------>  the actor does it and answers
//   after the last step: finish --------->  every process calls context.finish, which never returns
// A step is posted through shared memory to the skeleton that carries it out, one at a time, each within the limit.
// Where anything fails, everything built so far is killed. The planner of the steps is Restart/TreePlan.swift.
#ifndef CRESTART_TREE_H
#define CRESTART_TREE_H

#include <stddef.h>
#include <stdint.h>

#include "crestart_descriptors.h"

// Skeletons are named by slots: 0 to process_count - 1 are the processes in the order of the planner's input, the ones
// above end before the tree is complete (zombies, helpers, leaders for a time).
#define CRESTART_TREE_CALLER 0xffffffffu // as an actor: the caller of crestart_tree_build

enum crestart_tree_kind {
    CRESTART_TREE_FORK = 1, // makes `subject` with the pid `number` (0 = any) and the exit signal `value`
    CRESTART_TREE_SET_SESSION = 2, // setsid
    CRESTART_TREE_SET_GROUP = 3, // setpgid(0, number)
    CRESTART_TREE_SUBREAPER = 4, // PR_SET_CHILD_SUBREAPER := value
    CRESTART_TREE_EXIT = 5, // ends with the status `value` as wait(2) has it; not answered
    CRESTART_TREE_REAP = 6, // waits for the end of `subject`, pid `number`, and takes its status away
    CRESTART_TREE_AWAIT = 7, // the same, but leaves it a zombie
    CRESTART_TREE_TERMINAL = 8, // calls context.terminal: the leader acquires its controlling terminal
    CRESTART_TREE_NO_TERMINAL = 9, // gives up the controlling terminal that it was born with
    CRESTART_TREE_FOREGROUND = 10, // calls context.foreground with `number`: the terminal's foreground group
};
struct crestart_tree_step {
    uint32_t kind; // enum crestart_tree_kind
    uint32_t actor; // slot that does it
    uint32_t subject; // slot; FORK, REAP, AWAIT
    uint32_t number; // pid or group, as the processes see it
    uint32_t value;
};

// All calls but the last argument's meaning happen in skeletons: fork semantics, one thread, all signals blocked, the
// caller's descriptors.
struct crestart_tree_context {
    void (*finish)(void *argument, uint32_t process); // the process at this index is complete; must not return
    // The session leader at `process` makes the terminal its own (TIOCSCTTY). 0 or -errno. NULL: no such steps.
    int (*terminal)(void *argument, uint32_t process);
    // The session leader at `process` sets the foreground group of its terminal. 0 or -errno. NULL: no such steps.
    int (*foreground)(void *argument, uint32_t process, uint32_t group);
    void *argument; // borrowed until crestart_tree_build returns, in skeletons for ever
    uint32_t process_count; // slots that call finish
    uint32_t slot_count; // all
    int32_t limit_ms; // for each step
};

// Carries out the steps. pids[0 … process_count - 1] are the processes' numbers as the caller sees them. When it returns
// 0, every process is on its way into finish. Else -errno with the sentence in message, and nothing is left: EEXIST = a
// number is taken; EPERM = it may not be chosen. The caller has one thread, and is no subreaper where orphans are made.
int crestart_tree_build(const struct crestart_tree_step *steps, size_t count,
                        const struct crestart_tree_context *context, int32_t *pids, struct crestart_message *message);

#endif
