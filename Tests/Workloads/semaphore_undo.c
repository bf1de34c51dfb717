// SEM_UNDO: what a process has taken from SysV semaphores comes back when it ends, after a restart too.
// @cases taken given balanced several waiting threads
#include "workload_cases.h"
#include <pthread.h>
#include <sys/sem.h>
#include <sys/wait.h>

static int set;

static void make(int number, const unsigned short *values) {
    set = semget(IPC_PRIVATE, number, 0600);
    if (set < 0)
        workload_skip("no SysV semaphores: %s", strerror(errno));
    for (int i = 0; i < number; i++)
        workload_check(semctl(set, i, SETVAL, (int)values[i]) == 0);
}

static void change(int number, int by, int flags) {
    struct sembuf operation = {(unsigned short)number, (short)by, (short)flags};
    workload_check(semop(set, &operation, 1) == 0);
}

static int value(int number) {
    return semctl(set, number, GETVAL);
}

static void finish(void) {
    workload_check(semctl(set, 0, IPC_RMID) == 0);
}

// A child that does `work`, says so, waits for the go file, and ends.
static pid_t start(void (*work)(void)) {
    int ends[2];
    char byte;
    workload_check(pipe(ends) == 0);
    pid_t child = fork();
    workload_check(child >= 0);
    if (child == 0) {
        work();
        workload_check(write(ends[1], "x", 1) == 1);
        workload_wait();
        _exit(0);
    }
    workload_check(read(ends[0], &byte, 1) == 1);
    return child;
}

static void expect_end(pid_t child) {
    int status;
    workload_equal(waitpid(child, &status, 0), child);
    workload_equal(status, 0);
}

static void take(void) {
    change(0, -1, SEM_UNDO);
}

static void check_taken(void) {
    make(1, (unsigned short[]){1});
    pid_t child = start(take);
    workload_equal(value(0), 0);
    workload_ready();
    workload_wait();
    expect_end(child);
    workload_equal(value(0), 1);
    finish();
}

static void give(void) {
    change(0, 3, SEM_UNDO);
}

static void check_given(void) {
    make(1, (unsigned short[]){2});
    pid_t child = start(give);
    workload_equal(value(0), 5);
    workload_ready();
    workload_wait();
    expect_end(child);
    workload_equal(value(0), 2);
    finish();
}

static void take_and_give(void) {
    change(0, -1, SEM_UNDO);
    change(0, 1, SEM_UNDO);
    change(0, -1, 0);
}

static void check_balanced(void) {
    make(1, (unsigned short[]){1});
    pid_t child = start(take_and_give);
    workload_ready();
    workload_wait();
    expect_end(child);
    workload_equal(value(0), 0);
    finish();
}

static void take_several(void) {
    struct sembuf operations[] = {{0, -2, SEM_UNDO}, {1, 1, 0}, {2, -1, SEM_UNDO}, {2, -1, SEM_UNDO}};
    workload_check(semop(set, operations, 4) == 0);
    struct timespec limit = {5, 0};
    struct sembuf more = {2, -1, SEM_UNDO};
    workload_check(semtimedop(set, &more, 1, &limit) == 0);
}

static void check_several(void) {
    make(3, (unsigned short[]){4, 5, 6});
    pid_t child = start(take_several);
    workload_check(value(0) == 2 && value(1) == 6 && value(2) == 3);
    workload_ready();
    workload_wait();
    expect_end(child);
    workload_check(value(0) == 4 && value(1) == 6 && value(2) == 6);
    finish();
}

// One has it, another one waits for it with SEM_UNDO: it gets it when the first has ended, and gives it back in turn.
static void check_waiting(void) {
    make(2, (unsigned short[]){1, 0});
    pid_t first = start(take);
    pid_t second = fork();
    if (second == 0) {
        take();
        change(1, 1, 0);
        _exit(0);
    }
    while (semctl(set, 0, GETNCNT) != 1)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    workload_ready();
    workload_wait();
    expect_end(first);
    expect_end(second);
    workload_check(value(0) == 1 && value(1) == 1);
    finish();
}

static void *take_in_thread(void *argument) {
    take();
    return argument;
}

// Threads have one list: what one that has ended has taken comes back at the end of the process.
static void take_by_thread(void) {
    pthread_t thread;
    workload_check(pthread_create(&thread, NULL, take_in_thread, NULL) == 0);
    workload_check(pthread_join(thread, NULL) == 0);
}

static void check_threads(void) {
    make(1, (unsigned short[]){7});
    pid_t child = start(take_by_thread);
    workload_equal(value(0), 6);
    workload_ready();
    workload_wait();
    expect_end(child);
    workload_equal(value(0), 7);
    finish();
}

WORKLOAD_CASES({"taken", check_taken}, {"given", check_given}, {"balanced", check_balanced}, {"several", check_several},
               {"waiting", check_waiting}, {"threads", check_threads})
