// Parents and children: who is whose, in which group and session, who has ended and how.
// @cases child zombies zombie_by_signal orphan daemon groups session grandchildren subreaper death_signal wait_any wait_blocked group_signal thread_forks reaped deep
// @flags -lrt
#include "workload_cases.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

// What the processes of a case tell each other.
static struct board {
    _Atomic int stage; // the parent counts up
    _Atomic int ready; // children count in
    _Atomic int wrong; // line of the first thing that was wrong in a child
    _Atomic pid_t pids[64];
} * board;

#define child_check(condition)                                                                                         \
    do                                                                                                                 \
        if (!(condition)) {                                                                                            \
            int none = 0;                                                                                              \
            atomic_compare_exchange_strong(&board->wrong, &none, __LINE__);                                            \
        }                                                                                                              \
    while (0)

static void nap(void) {
    nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static void open_board(void) {
    board = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    workload_check(board != MAP_FAILED);
}

static void wait_ready(int count) {
    while (atomic_load(&board->ready) < count)
        nap();
}

// In a child: counts in, then waits until the parent says so.
static void stand_by(void) {
    atomic_fetch_add(&board->ready, 1);
    while (atomic_load(&board->stage) == 0)
        nap();
}

static void checkpoint_here(void) {
    workload_ready();
    workload_wait();
    atomic_store(&board->stage, 1);
}

static void end_well(void) {
    if (board->wrong)
        workload_fail("line %d was wrong in a child", board->wrong);
}

static void expect_exit(pid_t pid, int code) {
    int status = 0;
    workload_equal(waitpid(pid, &status, 0), pid);
    workload_check(WIFEXITED(status));
    workload_equal(WEXITSTATUS(status), code);
}

// ---- cases -----------------------------------------------------------------------------------------------------------

static void one_child(void) {
    open_board();
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        pid_t own = getpid();
        stand_by();
        child_check(getppid() == parent);
        child_check(getpid() == own && syscall(SYS_gettid) == own);
        _exit(17);
    }
    wait_ready(1);
    checkpoint_here();
    workload_check(kill(child, 0) == 0);
    expect_exit(child, 17);
    workload_equal(waitpid(-1, NULL, WNOHANG), -1);
    workload_equal(errno, ECHILD);
    end_well();
}

static void zombies(void) {
    pid_t pids[5];
    siginfo_t info;
    for (int i = 0; i < 5; i++)
        if ((pids[i] = fork()) == 0)
            _exit(i * 50);
    for (int i = 0; i < 5; i++)
        workload_check(waitid(P_PID, (id_t)pids[i], &info, WEXITED | WNOWAIT) == 0);
    workload_ready();
    workload_wait();
    for (int i = 4; i >= 0; i--)
        expect_exit(pids[i], i * 50);
    workload_equal(wait(NULL), -1);
}

static void zombie_by_signal(void) {
    static const int signals[] = {SIGKILL, SIGTERM, SIGUSR1};
    pid_t pids[3];
    siginfo_t info;
    for (int i = 0; i < 3; i++) {
        if ((pids[i] = fork()) == 0)
            for (;;)
                pause();
        kill(pids[i], signals[i]);
        workload_check(waitid(P_PID, (id_t)pids[i], &info, WEXITED | WNOWAIT) == 0);
    }
    workload_ready();
    workload_wait();
    for (int i = 0; i < 3; i++) {
        int status = 0;
        workload_equal(waitpid(pids[i], &status, 0), pids[i]);
        workload_check(WIFSIGNALED(status));
        workload_equal(WTERMSIG(status), signals[i]);
    }
}

static void orphan(void) {
    open_board();
    pid_t middle = fork();
    if (middle == 0) {
        if (fork() == 0) {
            while (getppid() != 1 && atomic_load(&board->stage) == 0 && getppid() == atomic_load(&board->pids[0]))
                nap();
            atomic_store(&board->pids[1], getpid());
            stand_by();
            child_check(getpid() == atomic_load(&board->pids[1]));
            atomic_store(&board->stage, 2);
            _exit(0);
        }
        atomic_store(&board->pids[0], getpid());
        _exit(3);
    }
    expect_exit(middle, 3);
    wait_ready(1);
    checkpoint_here();
    while (atomic_load(&board->stage) != 2)
        nap();
    end_well();
}

static void daemon_of_old(void) {
    open_board();
    pid_t middle = fork();
    if (middle == 0) {
        setsid();
        if (fork() == 0) {
            pid_t own = getpid(), session = getsid(0);
            child_check(session == getpgrp() && session != own);
            stand_by();
            child_check(getpid() == own && getsid(0) == session && getpgrp() == session);
            atomic_store(&board->stage, 2);
            _exit(0);
        }
        _exit(0);
    }
    expect_exit(middle, 0);
    wait_ready(1);
    checkpoint_here();
    while (atomic_load(&board->stage) != 2)
        nap();
    end_well();
}

static void groups(void) {
    open_board();
    pid_t first = fork();
    if (first == 0) {
        setpgid(0, 0);
        pid_t own = getpgrp();
        stand_by();
        child_check(getpgrp() == own && own == getpid());
        _exit(0);
    }
    wait_ready(1);
    pid_t second = fork();
    if (second == 0) {
        child_check(setpgid(0, first) == 0);
        stand_by();
        child_check(getpgrp() == first);
        _exit(0);
    }
    wait_ready(2);
    pid_t group = getpgrp();
    checkpoint_here();
    workload_equal(getpgrp(), group);
    workload_equal(getpgid(second), first);
    expect_exit(second, 0);
    expect_exit(first, 0);
    end_well();
}

static void session(void) {
    open_board();
    pid_t leader = fork();
    if (leader == 0) {
        child_check(setsid() == getpid());
        pid_t member = fork();
        if (member == 0) {
            child_check(setpgid(0, 0) == 0);
            stand_by();
            child_check(getsid(0) == getppid() && getpgrp() == getpid());
            _exit(0);
        }
        stand_by();
        child_check(getsid(0) == getpid() && getpgrp() == getpid());
        int status;
        child_check(waitpid(member, &status, 0) == member && status == 0);
        _exit(0);
    }
    wait_ready(2);
    checkpoint_here();
    workload_equal(getsid(leader), leader);
    expect_exit(leader, 0);
    end_well();
}

static void grandchildren(void) {
    open_board();
    pid_t top = fork();
    if (top == 0) {
        pid_t pids[6];
        for (int i = 0; i < 6; i++)
            if ((pids[i] = fork()) == 0) {
                pid_t parent = getppid();
                stand_by();
                child_check(getppid() == parent);
                _exit(i);
            }
        stand_by();
        for (int i = 0; i < 6; i++) {
            int status;
            child_check(waitpid(pids[i], &status, 0) == pids[i] && WEXITSTATUS(status) == i);
        }
        _exit(9);
    }
    wait_ready(7);
    checkpoint_here();
    expect_exit(top, 9);
    end_well();
}

static void subreaper(void) {
    open_board();
    workload_check(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
    pid_t middle = fork();
    if (middle == 0) {
        if (fork() == 0) {
            atomic_store(&board->pids[0], getpid());
            stand_by();
            _exit(5);
        }
        _exit(0);
    }
    expect_exit(middle, 0);
    wait_ready(1);
    checkpoint_here();
    int flag = 0;
    workload_check(prctl(PR_GET_CHILD_SUBREAPER, &flag, 0, 0, 0) == 0 && flag == 1);
    expect_exit(atomic_load(&board->pids[0]), 5);
}

static void death_signal(void) {
    open_board();
    pid_t middle = fork();
    if (middle == 0) {
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0);
            sigset_t set;
            sigemptyset(&set);
            sigaddset(&set, SIGUSR1);
            sigprocmask(SIG_BLOCK, &set, NULL);
            atomic_fetch_add(&board->ready, 1);
            int number = 0, kept = 0;
            sigwait(&set, &number);
            prctl(PR_GET_PDEATHSIG, &kept, 0, 0, 0);
            child_check(number == SIGUSR1 && kept == SIGUSR1);
            atomic_store(&board->stage, 2);
            _exit(0);
        }
        stand_by();
        _exit(0);
    }
    wait_ready(2);
    checkpoint_here();
    expect_exit(middle, 0);
    while (atomic_load(&board->stage) != 2)
        nap();
    end_well();
}

static void wait_any(void) {
    open_board();
    for (int i = 0; i < 4; i++)
        if (fork() == 0) {
            stand_by();
            _exit(10 + i);
        }
    wait_ready(4);
    checkpoint_here();
    int sum = 0, status;
    for (int i = 0; i < 4; i++) {
        workload_check(wait(&status) > 0 && WIFEXITED(status));
        sum += WEXITSTATUS(status);
    }
    workload_equal(sum, 46);
    end_well();
}

static void *wait_thread(void *pid) {
    int status = 0;
    pid_t child = *(pid_t *)pid, got = waitpid(child, &status, 0);
    return (void *)(intptr_t)(got == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

// A thread stands in waitpid for the whole time.
static void wait_blocked(void) {
    open_board();
    pthread_t thread;
    pid_t child = fork();
    if (child == 0) {
        stand_by();
        _exit(33);
    }
    workload_check(pthread_create(&thread, NULL, wait_thread, &child) == 0);
    wait_ready(1);
    checkpoint_here();
    void *result;
    workload_check(pthread_join(thread, &result) == 0);
    workload_equal((intptr_t)result, 33);
}

static void group_signal(void) {
    open_board();
    pid_t pids[3];
    for (int i = 0; i < 3; i++)
        if ((pids[i] = fork()) == 0) {
            setpgid(0, atomic_load(&board->pids[0]));
            if (i == 0)
                atomic_store(&board->pids[0], getpid());
            atomic_fetch_add(&board->ready, 1);
            for (;;)
                pause();
        } else
            wait_ready(i + 1);
    workload_ready();
    workload_wait();
    workload_check(kill(-pids[0], SIGTERM) == 0);
    for (int i = 0; i < 3; i++) {
        int status = 0;
        workload_equal(waitpid(pids[i], &status, 0), pids[i]);
        workload_check(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    }
}

static _Atomic int forks, failures;
static char failure[128];
static void *fork_thread(void *unused) {
    (void)unused;
    while (workload_waiting()) {
        int status = 0;
        pid_t child = fork();
        if (child == 0)
            _exit(21);
        pid_t got = child < 0 ? child : waitpid(child, &status, 0);
        if (got != child || got < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 21) {
            if (atomic_fetch_add(&failures, 1) == 0)
                snprintf(failure, sizeof failure, "child %d, waitpid %d, errno %d, status %x", child, got, errno,
                         (unsigned)status);
        }
        atomic_fetch_add(&forks, 1);
    }
    return NULL;
}

// Several threads fork all the time.
static void thread_forks(void) {
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        workload_check(pthread_create(&threads[i], NULL, fork_thread, NULL) == 0);
    while (atomic_load(&forks) < 10)
        nap();
    workload_ready();
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    if (failures > 0)
        workload_fail("%d forks failed: %s", failures, failure);
}

static _Atomic int child_signals;
static void on_child(int number) {
    (void)number;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        atomic_fetch_add(&child_signals, 1);
}

// A SIGCHLD handler reaps, as servers do.
static void reaped(void) {
    open_board();
    struct sigaction action = {.sa_handler = on_child, .sa_flags = SA_RESTART | SA_NOCLDSTOP};
    workload_check(sigaction(SIGCHLD, &action, NULL) == 0);
    for (int i = 0; i < 3; i++)
        if (fork() == 0) {
            stand_by();
            _exit(0);
        }
    wait_ready(3);
    checkpoint_here();
    while (atomic_load(&child_signals) < 3)
        nap();
}

// A chain of generations.
static void deep(void) {
    open_board();
    pid_t child = -1;
    int level = 0;
    for (; level < 20; level++) {
        child = fork();
        if (child != 0)
            break;
    }
    pid_t parent = getppid();
    if (level > 0) {
        stand_by();
        child_check(getppid() == parent);
    } else {
        wait_ready(20);
        checkpoint_here();
    }
    if (level < 20) {
        int status = 0;
        child_check(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == level + 1);
    }
    if (level > 0)
        _exit(level);
    end_well();
}

WORKLOAD_CASES({"child", one_child}, {"zombies", zombies}, {"zombie_by_signal", zombie_by_signal}, {"orphan", orphan},
               {"daemon", daemon_of_old}, {"groups", groups}, {"session", session}, {"grandchildren", grandchildren},
               {"subreaper", subreaper}, {"death_signal", death_signal}, {"wait_any", wait_any},
               {"wait_blocked", wait_blocked}, {"group_signal", group_signal}, {"thread_forks", thread_forks},
               {"reaped", reaped}, {"deep", deep})
