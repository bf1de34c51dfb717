// Alternate stacks: set in one thread, in use in another (its handler runs on it during the checkpoint), disabled.
#include "workload.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>

enum { SIZE = 256 << 10 };
static char *set_only, *in_use;
static volatile sig_atomic_t running, on_it;
static volatile int may_check;

static void handler(int signal) {
    char here;
    stack_t now;
    (void)signal;
    on_it = &here >= in_use && &here < in_use + SIZE;
    running = 1;
    while (!may_check)
        sched_yield();
    workload_check(sigaltstack(NULL, &now) == 0);
    workload_check(now.ss_sp == in_use && now.ss_size == SIZE && now.ss_flags == SS_ONSTACK);
}

static void install(char *memory) {
    stack_t stack = {.ss_sp = memory, .ss_size = SIZE};
    workload_check(sigaltstack(&stack, NULL) == 0);
}

static void must_have(char *memory, int flags) {
    stack_t now;
    workload_check(sigaltstack(NULL, &now) == 0);
    workload_equal(now.ss_flags, flags);
    if (memory)
        workload_check(now.ss_sp == memory && now.ss_size == SIZE);
}

static void *use(void *argument) {
    install(in_use);
    pthread_kill(pthread_self(), SIGUSR1);
    must_have(in_use, 0);
    return argument;
}

static void *have(void *argument) {
    install(set_only);
    *(volatile int *)argument = 1;
    while (!may_check)
        sched_yield();
    must_have(set_only, 0);
    return NULL;
}

int main(void) {
    pthread_t user, owner;
    volatile int installed = 0;
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    workload_check((set_only = malloc(SIZE)) && (in_use = malloc(SIZE)));
    sigaction(SIGUSR1, &action, NULL);
    workload_check(pthread_create(&user, NULL, use, NULL) == 0);
    workload_check(pthread_create(&owner, NULL, have, (void *)&installed) == 0);
    while (!running || !installed)
        sched_yield();
    workload_check(on_it);
    workload_ready();
    workload_wait();
    must_have(NULL, SS_DISABLE);
    may_check = 1;
    pthread_join(user, NULL);
    pthread_join(owner, NULL);
    workload_pass();
}
