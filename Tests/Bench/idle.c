// idle THREADS: so many threads that sleep for ever.
#include "bench.h"

#include <pthread.h>

int main(int argc, char **argv) {
    pthread_t thread;
    for (int i = 1; i < (argc > 1 ? atoi(argv[1]) : 1); i++)
        if (pthread_create(&thread, NULL, bench_rest, NULL) != 0)
            return 1;
    bench_ready();
    bench_rest(NULL);
}
