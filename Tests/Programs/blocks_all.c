// Blocks every signal in all its threads, by libc and once more by the raw system call.
#include "program.h"
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

static void block_all(void) {
    sigset_t all;
    uint64_t every = ~0ull;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &every, NULL, 8);
}

static void *run(void *argument) {
    uint64_t *state = argument;
    block_all();
    *state = program_steps(*state, (uint64_t)(150000000 * program_scale()));
    return NULL;
}

int main(void) {
    uint64_t states[3] = {1, 2, 3}, mask = 0;
    pthread_t threads[2];
    block_all();
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, run, &states[i]) != 0)
            return 1;
    block_all();
    program_start();
    run(&states[2]);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &mask, 8);
    if ((mask | 1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1)) != ~0ull) {
        printf("FAIL the mask is %llx\n", (unsigned long long)mask);
        return 1;
    }
    return program_result(states[0] + states[1] + states[2]);
}
