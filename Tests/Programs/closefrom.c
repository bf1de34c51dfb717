// Calls closefrom(3) again and again, as daemons do; its own files come and go.
#include "program.h"
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

// Every descriptor from 3 on; closefrom(3) itself is newer than some C libraries.
static void close_all(void) {
    for (int number = 3; number < 1024; number++)
        close(number);
}

int main(void) {
    uint64_t state = 1;
    close_all();
    program_start();
    for (int round = 0; round < (int)(200 * program_scale()); round++) {
        int file = open("/dev/null", O_RDWR);
        if (file != 3) {
            printf("FAIL the first free descriptor is %d in round %d\n", file, round);
            return 1;
        }
        state = program_steps(state, 1000000);
        nanosleep(&(struct timespec){0, 2000000}, NULL);
        close_all();
    }
    return program_result(state);
}
