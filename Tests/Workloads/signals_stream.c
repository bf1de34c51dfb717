// Threads send each other queued signals as fast as they can, to the process and to a thread: each arrives once, in order.
#include "workload.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>

static const int to_process = 40, to_thread = 41;
static pthread_t receiver;
static volatile int stop, all_sent;
static _Atomic int sent[2], received[2];

static void *receive(void *argument) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, to_process);
    sigaddset(&set, to_thread);
    while (!all_sent || received[0] < sent[0] || received[1] < sent[1]) {
        struct timespec limit = {0, 50000000};
        siginfo_t info;
        int signal = sigtimedwait(&set, &info, &limit);
        if (signal < 0) {
            if (all_sent && errno == EAGAIN)
                break;
            continue;
        }
        int which = signal == to_thread;
        if (info.si_value.sival_int != received[which])
            workload_fail("signal %d: number %d came, %d was due", signal, info.si_value.sival_int, received[which]);
        received[which]++;
    }
    return argument;
}

static void *transmit(void *argument) {
    int which = argument != NULL;
    while (!stop) {
        union sigval value = {.sival_int = sent[which]};
        int result = which ? pthread_sigqueue(receiver, to_thread, value) : sigqueue(getpid(), to_process, value);
        if (result == 0)
            sent[which]++;
        while (!stop && sent[which] - received[which] > 50)
            sched_yield();
    }
    return NULL;
}

int main(void) {
    pthread_t senders[2];
    sigset_t set;
    sigfillset(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    workload_check(pthread_create(&receiver, NULL, receive, NULL) == 0);
    for (long i = 0; i < 2; i++)
        workload_check(pthread_create(&senders[i], NULL, transmit, (void *)i) == 0);
    workload_ready();
    workload_wait();
    stop = 1;
    for (int i = 0; i < 2; i++)
        pthread_join(senders[i], NULL);
    all_sent = 1;
    pthread_join(receiver, NULL);
    workload_equal(received[0], sent[0]);
    workload_equal(received[1], sent[1]);
    workload_pass();
}
