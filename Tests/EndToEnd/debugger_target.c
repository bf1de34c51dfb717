// The program that debugger_test.py looks at, alive and in its image: each thread stands still in another place, below frames
// with arguments of their own, with a thread-local variable that says which thread it is.
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static __thread volatile int own_number = -1;
static __thread char own_text[16];
static sem_t ready, never;
static int quiet_pipe[2];
static volatile int spinning;

static void arrive(int number, const char *text) {
    own_number = number;
    snprintf(own_text, sizeof own_text, "%s", text);
    sem_post(&ready);
}

__attribute__((noinline)) static int descend(int depth, const char *what) {
    if (depth == 0) {
        arrive(101, what);
        return sem_wait(&never);
    }
    return descend(depth - 1, what) + depth;
}

static void *in_semaphore(void *argument) {
    return (void *)(intptr_t)descend(20, argument);
}

static void *in_read(void *argument) {
    char byte;
    arrive(102, argument);
    return (void *)read(quiet_pipe[0], &byte, 1);
}

static void *in_poll(void *argument) {
    struct pollfd entry = {.fd = quiet_pipe[0], .events = POLLIN};
    arrive(103, argument);
    return (void *)(intptr_t)poll(&entry, 1, -1);
}

static void *in_sleep(void *argument) {
    arrive(104, argument);
    while (nanosleep(&(struct timespec){.tv_sec = 1000}, NULL) == 0)
        ;
    return NULL;
}

// Goes round for ever with a known value in registers that only the extended state of a core file holds.
static void *in_registers(void *argument) {
    arrive(105, argument);
    int value = 0x5ca1ab1e;
#ifdef __x86_64__
    __asm__ volatile("vmovd %0, %%xmm13\n\tvpbroadcastd %%xmm13, %%ymm13\n\t"
                     "mov %0, %%r14d\n\t"
                     "1: movl $1, %1\n\tpause\n\tjmp 1b"
                     : "+r"(value), "+m"(spinning)
                     :
                     : "xmm13", "r14", "memory");
#else
    while (1)
        spinning = value;
#endif
    return NULL;
}

static void start(void *(*function)(void *), char *text) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, function, text) != 0)
        abort();
    while (sem_wait(&ready) != 0)
        ;
}

__attribute__((noinline)) static int outermost(double scale, const char *name) {
    pthread_t last;
    own_number = 100;
    snprintf(own_text, sizeof own_text, "%s", name);
    start(in_semaphore, "semaphore");
    start(in_read, "read");
    start(in_poll, "poll");
    start(in_sleep, "sleep");
    if (pthread_create(&last, NULL, in_registers, "registers") != 0)
        abort();
    while (!spinning)
        sched_yield();
    puts("ready");
    fflush(stdout);
    return pthread_join(last, NULL) + (int)scale;
}

int main(int count, char **words) {
    if (pipe(quiet_pipe) != 0 || sem_init(&ready, 0, 0) != 0 || sem_init(&never, 0, 0) != 0)
        return 1;
    return outermost(count * 1.5, words[0]);
}
