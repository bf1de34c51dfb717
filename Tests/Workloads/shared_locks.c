// Locks and semaphores between processes. What one does, the other sees.
// @cases mutex_robust semaphore flock record_lock open_file_lock sysv_semaphore
// @flags -lrt
#include "shared.h"

#include <pthread.h>
#include <semaphore.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sem.h>

struct locks {
    pthread_mutex_t mutex;
    sem_t semaphore;
};
static struct locks *locks;
static long lock_act(int step) {
    switch (step) {
    case 1:
        return pthread_mutex_lock(&locks->mutex);
    case 2:
        return pthread_mutex_unlock(&locks->mutex);
    case 3:
        return sem_trywait(&locks->semaphore);
    case 4:
        return sem_post(&locks->semaphore);
    case 5:
        _exit(0); // with the mutex held
    }
    return -1;
}

static void share_locks(void) {
    pthread_mutexattr_t attributes;
    locks = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    workload_check(locks != MAP_FAILED);
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    workload_equal(pthread_mutex_init(&locks->mutex, &attributes), 0);
    workload_equal(sem_init(&locks->semaphore, 1, 1), 0);
    start_child(lock_act);
}

static void mutex_robust(void) {
    share_locks();
    workload_equal(ask(1), 0);
    pause_here();
    workload_equal(pthread_mutex_trylock(&locks->mutex), EBUSY);
    int step = 5, status;
    workload_equal(write(talk, &step, sizeof step), (long)sizeof step);
    workload_equal(waitpid(child, &status, 0), child);
    workload_equal(pthread_mutex_lock(&locks->mutex), EOWNERDEAD);
}

static void semaphore(void) {
    share_locks();
    workload_equal(sem_trywait(&locks->semaphore), 0);
    pause_here();
    workload_equal(ask(3), -1);
    workload_equal(sem_post(&locks->semaphore), 0);
    workload_equal(ask(3), 0);
    workload_equal(ask(4), 0);
    end_child();
}

static long flock_act(int step) {
    int other = open("data", O_RDWR);
    long result = flock(other, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    close(other);
    return step == 2 ? flock(file, LOCK_UN) : result;
}

// The lock belongs to the description, which both have.
static void flock_shared(void) {
    open_file(0);
    workload_check(flock(file, LOCK_EX) == 0);
    start_child(flock_act);
    pause_here();
    workload_equal(ask(1), EWOULDBLOCK);
    workload_equal(ask(2), 0);
    workload_equal(ask(1), 0);
    end_child();
}

static struct flock range(int type, long start, long length) {
    return (struct flock){.l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
}

static long record_act(int step) {
    struct flock lock = range(F_WRLCK, step, 1);
    if (step < 100)
        return fcntl(file, F_SETLK, &lock) == 0 ? 0 : errno;
    lock = range(F_WRLCK, step - 100, 1);
    return fcntl(file, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? lock.l_pid : 0;
}

// Each process has its own.
static void record_lock(void) {
    open_file(0);
    start_child(record_act);
    struct flock lock = range(F_WRLCK, 0, 5);
    workload_check(fcntl(file, F_SETLK, &lock) == 0);
    workload_equal(ask(7), 0);
    pause_here();
    workload_equal(ask(102), getpid());
    workload_equal(ask(3), EAGAIN);
    lock = range(F_WRLCK, 7, 1);
    workload_check(fcntl(file, F_GETLK, &lock) == 0 && lock.l_type == F_WRLCK);
    workload_equal(lock.l_pid, child);
    end_child();
}

static long open_file_act(int step) {
    struct flock lock = range(F_WRLCK, 0, 5);
    if (step == 1)
        return fcntl(file, F_OFD_SETLK, &lock) == 0 ? 0 : errno;
    int other = open("data", O_RDWR);
    long result = fcntl(other, F_OFD_SETLK, &lock) == 0 ? 0 : errno;
    close(other);
    return result;
}

static void open_file_lock(void) {
    open_file(0);
    struct flock lock = range(F_WRLCK, 0, 5);
    workload_check(fcntl(file, F_OFD_SETLK, &lock) == 0);
    start_child(open_file_act);
    pause_here();
    workload_equal(ask(1), 0);
    workload_equal(ask(2), EAGAIN);
    end_child();
}

static int semaphores = -1;
static long sysv_semaphore_act(int step) {
    struct sembuf change = {0, (short)step, IPC_NOWAIT};
    return semop(semaphores, &change, 1) == 0 ? semctl(semaphores, 0, GETVAL) : -errno;
}

static void sysv_semaphore(void) {
    workload_check((semaphores = semget(IPC_PRIVATE, 2, 0600)) >= 0);
    start_child(sysv_semaphore_act);
    workload_equal(ask(3), 3);
    pause_here();
    workload_equal(ask(-2), 1);
    workload_equal(ask(-2), -EAGAIN);
    workload_check(semctl(semaphores, 0, IPC_RMID) == 0);
    end_child();
}

WORKLOAD_CASES({"mutex_robust", mutex_robust}, {"semaphore", semaphore}, {"flock", flock_shared},
               {"record_lock", record_lock}, {"open_file_lock", open_file_lock}, {"sysv_semaphore", sysv_semaphore})
