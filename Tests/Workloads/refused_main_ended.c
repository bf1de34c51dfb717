// The main thread has ended while another one runs: the process cannot be saved, and runs on.
// @refused is the main thread and has ended while others run
#include "workload.h"
#include <pthread.h>

static void *other(void *argument) {
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", getpid());
    while (strstr(text, ") Z ") == NULL) {
        FILE *file = fopen(path, "r");
        workload_check(file != NULL && fgets(text, sizeof text, file) != NULL);
        fclose(file);
    }
    (void)argument;
    workload_ready();
    workload_wait();
    workload_pass();
}

int main(void) {
    pthread_t thread;
    workload_check(pthread_create(&thread, NULL, other, NULL) == 0);
    pthread_exit(NULL);
}
