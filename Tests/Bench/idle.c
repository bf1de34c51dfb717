// idle THREADS: so many threads that sleep for ever.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void *sleep_for_ever(void *argument) {
    for (;;)
        pause();
    return argument;
}

int main(int argc, char **argv) {
    pthread_t thread;
    for (int i = 1; i < (argc > 1 ? atoi(argv[1]) : 1); i++)
        if (pthread_create(&thread, NULL, sleep_for_ever, NULL) != 0)
            return 1;
    puts("READY");
    fflush(stdout);
    sleep_for_ever(NULL);
}
