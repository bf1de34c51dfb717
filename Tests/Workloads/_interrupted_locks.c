// Calls that wait for a lock, which main gives up after the go file.
#include "interrupted.h"
#include <linux/futex.h>
#include <semaphore.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static uint32_t word = 1;
static sem_t semaphore;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static int told, holder, waiter, ends[2];
static pthread_t joined;

static struct ending enter_futex(void) {
    return interrupted_end(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0));
}
static void wake_futex(void) {
    word = 0;
    workload_equal(syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 1);
}
static struct ending enter_sem_wait(void) {
    return interrupted_end(sem_wait(&semaphore));
}
static void post(void) {
    sem_post(&semaphore);
}
static struct ending enter_cond_wait(void) {
    int code = 0;
    pthread_mutex_lock(&mutex);
    while (!told && code == 0)
        code = pthread_cond_wait(&condition, &mutex);
    pthread_mutex_unlock(&mutex);
    return interrupted_code(code);
}
static void signal_condition(void) {
    pthread_mutex_lock(&mutex);
    told = 1;
    pthread_cond_signal(&condition);
    pthread_mutex_unlock(&mutex);
}
static void hold(void) {
    pthread_mutex_lock(&mutex);
}
static void hold_inheriting(void) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(&mutex, &attributes);
    hold();
}
static struct ending enter_lock(void) {
    return interrupted_code(pthread_mutex_lock(&mutex));
}
static void unlock(void) {
    pthread_mutex_unlock(&mutex);
}
static void hold_for_writing(void) {
    pthread_rwlock_wrlock(&rwlock);
}
static struct ending enter_rdlock(void) {
    return interrupted_code(pthread_rwlock_rdlock(&rwlock));
}
static void unlock_writing(void) {
    pthread_rwlock_unlock(&rwlock);
}
static void *wait_for_post(void *argument) {
    while (sem_wait(&semaphore) != 0)
        ;
    return argument;
}
static void make_thread(void) {
    workload_check(pthread_create(&joined, NULL, wait_for_post, NULL) == 0);
}
static struct ending enter_join(void) {
    return interrupted_code(pthread_join(joined, NULL));
}
static void open_twice(void) {
    workload_check((holder = open("locked", O_RDWR | O_CREAT, 0600)) >= 0);
    workload_check((waiter = open("locked", O_RDWR)) >= 0);
}
static void hold_flock(void) {
    open_twice();
    workload_check(flock(holder, LOCK_EX) == 0);
}
static struct ending enter_flock(void) {
    return interrupted_end(flock(waiter, LOCK_EX));
}
static void release_flock(void) {
    workload_check(flock(holder, LOCK_UN) == 0);
}
static void hold_open_file_lock(void) {
    struct flock lock = {.l_type = F_WRLCK, .l_len = 100};
    open_twice();
    workload_check(fcntl(holder, F_OFD_SETLK, &lock) == 0);
}
static struct ending enter_open_file_lock(void) {
    struct flock lock = {.l_type = F_WRLCK, .l_start = 50, .l_len = 10};
    return interrupted_end(fcntl(waiter, F_OFD_SETLKW, &lock));
}
static void release_open_file_lock(void) {
    struct flock lock = {.l_type = F_UNLCK, .l_len = 100};
    workload_check(fcntl(holder, F_OFD_SETLK, &lock) == 0);
}
// POSIX locks conflict with those of another process only: a child has it.
static void hold_posix_lock(void) {
    struct flock lock = {.l_type = F_WRLCK, .l_len = 100};
    int ready[2];
    char byte;
    open_twice();
    workload_check(pipe(ends) == 0 && pipe(ready) == 0);
    pid_t child = fork();
    workload_check(child >= 0);
    if (child == 0) {
        close(ends[1]);
        byte = fcntl(holder, F_SETLK, &lock) == 0;
        _exit(write(ready[1], &byte, 1) == 1 && read(ends[0], &byte, 1) == 0 ? 0 : 1);
    }
    workload_equal(read(ready[0], &byte, 1), 1);
    workload_equal(byte, 1);
}
static struct ending enter_posix_lock(void) {
    struct flock lock = {.l_type = F_WRLCK, .l_start = 50, .l_len = 10};
    return interrupted_end(fcntl(waiter, F_SETLKW, &lock));
}
static void end_holder(void) {
    close(ends[1]);
}

const struct call interrupted_locks[] = {
    {"futex", NULL, enter_futex, wake_futex, 0, 0},
    {"sem_wait", NULL, enter_sem_wait, post, 0, 0},
    {"cond_wait", NULL, enter_cond_wait, signal_condition, 0, 0},
    {"mutex_lock", hold, enter_lock, unlock, 0, 0},
    {"mutex_inherit_lock", hold_inheriting, enter_lock, unlock, 0, 0},
    {"rwlock", hold_for_writing, enter_rdlock, unlock_writing, 0, 0},
    {"pthread_join", make_thread, enter_join, post, 0, 0},
    {"flock", hold_flock, enter_flock, release_flock, 0, 0},
    {"open_file_lock", hold_open_file_lock, enter_open_file_lock, release_open_file_lock, 0, 0},
    {"posix_lock", hold_posix_lock, enter_posix_lock, end_holder, 0, 0},
    {0},
};
