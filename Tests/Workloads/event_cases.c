// eventfd, timerfd and signalfd.
// @cases eventfd semaphore eventfd_large timer timer_expired timer_absolute timer_wall timer_off signalfd
#include "workload_cases.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

static uint64_t take(int descriptor) {
    uint64_t count = 0;
    workload_equal(read(descriptor, &count, sizeof count), (long)sizeof count);
    return count;
}

static void check_eventfd(void) {
    int event = eventfd(7, EFD_NONBLOCK | EFD_CLOEXEC), empty = eventfd(0, EFD_NONBLOCK);
    uint64_t count = 35;
    workload_equal(write(event, &count, sizeof count), (long)sizeof count);
    workload_ready();
    workload_wait();
    workload_equal(take(event), 42);
    workload_equal(read(event, &count, sizeof count), -1);
    workload_equal(errno, EAGAIN);
    workload_equal(read(empty, &count, sizeof count), -1);
    workload_equal(fcntl(event, F_GETFD), FD_CLOEXEC);
}

static void check_semaphore(void) {
    int event = eventfd(3, EFD_SEMAPHORE);
    workload_ready();
    workload_wait();
    workload_equal(fcntl(event, F_GETFL) & O_NONBLOCK, 0);
    for (int i = 0; i < 3; i++)
        workload_equal(take(event), 1);
    struct pollfd poll_one = {event, POLLIN, 0};
    workload_equal(poll(&poll_one, 1, 0), 0);
}

static void check_eventfd_large(void) {
    uint64_t count = 0xfffffffffffffffeull;
    int event = eventfd(0, EFD_NONBLOCK);
    workload_equal(write(event, &count, sizeof count), (long)sizeof count);
    workload_ready();
    workload_wait();
    count = 1;
    workload_equal(write(event, &count, sizeof count), -1);
    workload_equal(errno, EAGAIN);
    workload_check(take(event) == 0xfffffffffffffffeull);
}

static int armed(int clock, int flags, double value, double interval) {
    struct itimerspec times = {{(time_t)interval, (long)((interval - (double)(time_t)interval) * 1e9)},
                               {(time_t)value, (long)((value - (double)(time_t)value) * 1e9)}};
    int timer = timerfd_create(clock, TFD_NONBLOCK);
    workload_check(timer >= 0 && timerfd_settime(timer, flags, &times, NULL) == 0);
    return timer;
}

static double left(int timer) {
    struct itimerspec times;
    workload_check(timerfd_gettime(timer, &times) == 0);
    return (double)times.it_value.tv_sec + (double)times.it_value.tv_nsec / 1e9;
}

// Far away: what was left goes on from there.
static void check_timer(void) {
    int timer = armed(CLOCK_MONOTONIC, 0, 1000, 0.25);
    workload_ready();
    workload_wait();
    struct itimerspec times;
    workload_check(timerfd_gettime(timer, &times) == 0);
    workload_equal(times.it_interval.tv_nsec, 250000000);
    workload_check(left(timer) > 900 && left(timer) < 1000.01);
    workload_equal(read(timer, &times, 8), -1);
    workload_equal(errno, EAGAIN);
}

static void check_timer_expired(void) {
    int periodic = armed(CLOCK_MONOTONIC, 0, 0.01, 1000), once = armed(CLOCK_BOOTTIME, 0, 0.01, 0);
    struct pollfd both[2] = {{periodic, POLLIN, 0}, {once, POLLIN, 0}};
    for (int i = 0; i < 500 && !(both[0].revents && both[1].revents); i++)
        workload_check(poll(both, 2, 10) >= 0);
    workload_ready();
    workload_wait();
    workload_equal(take(periodic), 1);
    workload_check(left(periodic) > 900);
    workload_equal(take(once), 1);
    workload_check(left(once) == 0);
}

static void check_timer_absolute(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int timer = armed(CLOCK_MONOTONIC, TFD_TIMER_ABSTIME, (double)now.tv_sec + 500, 0);
    workload_ready();
    workload_wait();
    workload_check(left(timer) > 400 && left(timer) < 500.01);
}

// An hour of the wall clock stays that hour.
static void check_timer_wall(void) {
    time_t goal = time(NULL) + 600;
    int timer = armed(CLOCK_REALTIME, TFD_TIMER_ABSTIME, (double)goal, 0);
    workload_ready();
    workload_wait();
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    double wanted = (double)(goal - now.tv_sec) - (double)now.tv_nsec / 1e9;
    workload_check(left(timer) > wanted - 0.2 && left(timer) < wanted + 0.2);
}

static void check_timer_off(void) {
    int timer = armed(CLOCK_MONOTONIC, 0, 0, 0);
    workload_ready();
    workload_wait();
    workload_check(left(timer) == 0);
    uint64_t count;
    workload_equal(read(timer, &count, sizeof count), -1);
    workload_equal(errno, EAGAIN);
    struct itimerspec soon = {{0, 0}, {0, 1000000}};
    workload_check(timerfd_settime(timer, 0, &soon, NULL) == 0);
    struct pollfd poll_one = {timer, POLLIN, 0};
    workload_equal(poll(&poll_one, 1, 5000), 1);
    workload_equal(take(timer), 1);
}

static void check_signalfd(void) {
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    sigaddset(&mask, SIGRTMIN + 3);
    workload_check(sigprocmask(SIG_BLOCK, &mask, NULL) == 0);
    int signals = signalfd(-1, &mask, SFD_NONBLOCK);
    workload_check(signals >= 0);
    workload_ready();
    workload_wait();
    struct signalfd_siginfo info;
    workload_equal(read(signals, &info, sizeof info), -1);
    workload_equal(errno, EAGAIN);
    workload_check(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = 77}) == 0);
    workload_equal(read(signals, &info, sizeof info), (long)sizeof info);
    workload_equal(info.ssi_signo, SIGRTMIN + 3);
    workload_equal(info.ssi_int, 77);
}

WORKLOAD_CASES({"eventfd", check_eventfd}, {"semaphore", check_semaphore}, {"eventfd_large", check_eventfd_large},
               {"timer", check_timer}, {"timer_expired", check_timer_expired}, {"timer_absolute", check_timer_absolute},
               {"timer_wall", check_timer_wall}, {"timer_off", check_timer_off}, {"signalfd", check_signalfd})
