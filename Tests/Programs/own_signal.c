// Has a SIGUSR2 handler of its own and sends itself the signal all the time: every one must arrive, none from elsewhere.
#include "program.h"
#include <pthread.h>
#include <signal.h>
#include <time.h>

static volatile sig_atomic_t handled;

static void handle(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    handled += info->si_value.sival_int;
}

int main(void) {
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = handle;
    uint64_t state = 1;
    if (sigaction(SIGUSR2, &action, NULL) != 0)
        return 1;
    program_start();
    int rounds = (int)(400 * program_scale());
    for (int round = 0; round < rounds; round++) {
        if (pthread_sigqueue(pthread_self(), SIGUSR2, (union sigval){.sival_int = 3}) != 0)
            return 1;
        state = program_steps(state + (uint64_t)handled, 300000);
        nanosleep(&(struct timespec){0, 100000}, NULL);
    }
    if (handled != 3 * rounds) {
        printf("FAIL %d instead of %d\n", (int)handled, 3 * rounds);
        return 1;
    }
    return program_result(state);
}
