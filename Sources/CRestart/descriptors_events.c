// eventfd, timerfd, signalfd, epoll, inotify, pidfd.
#include "descriptors_internal.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>

#define SET_TICKS _IOW('T', 0, uint64_t) /* TFD_IOC_SET_TICKS */

static int keep(struct crestart_descriptors *made, uint32_t object, int descriptor, const char *what) {
    if (descriptor < 0)
        return crestart_fail(made->message, errno, "%s: %s cannot be made", crestart_name(&made->tables, object), what);
    made->working[object] = descriptor;
    return 0;
}

// The count may exceed the 32 bits that eventfd(2) takes.
int crestart_make_eventfd(struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    uint64_t count = entry->value[0];
    int descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | (entry->value[1] ? EFD_SEMAPHORE : 0));
    if (descriptor >= 0 && count > 0 && write(descriptor, &count, sizeof count) != (ssize_t)sizeof count) {
        close(descriptor);
        descriptor = -1;
    }
    int result = keep(made, object, descriptor, "an eventfd");
    if (result == 0) // no O_NONBLOCK unless it was there: set_flags puts it right
        fcntl(descriptor, F_SETFL, 0);
    return result;
}

// What was left goes on from now. An absolute time of the wall clock stays what it was.
static int64_t timer_value(const struct scp_object *entry, int clock) {
    int64_t value = (int64_t)entry->value[SCP_TIMERFD_VALUE];
    if (value == 0 || !(entry->value[SCP_TIMERFD_FLAGS] & TFD_TIMER_ABSTIME))
        return value;
    struct timespec now;
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_ALARM)
        return (int64_t)entry->value[SCP_TIMERFD_NOW] + value;
    clock_gettime(clock, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec + value;
}

static struct timespec nanoseconds(int64_t value) {
    return (struct timespec){value / 1000000000, value % 1000000000};
}

int crestart_make_timerfd(struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    int clock = (int)entry->value[SCP_TIMERFD_CLOCK];
    int descriptor = timerfd_create(clock, TFD_CLOEXEC);
    int result = keep(made, object, descriptor, "a timerfd");
    if (result != 0)
        return result;
    struct itimerspec times = {.it_interval = nanoseconds((int64_t)entry->value[SCP_TIMERFD_INTERVAL]),
                               .it_value = nanoseconds(timer_value(entry, clock))};
    if (timerfd_settime(descriptor, (int)entry->value[SCP_TIMERFD_FLAGS], &times, NULL) != 0)
        return crestart_fail(made->message, errno, "%s: the timer cannot be set", crestart_name(&made->tables, object));
    uint64_t ticks = entry->value[SCP_TIMERFD_TICKS];
    if (ticks != 0 && ioctl(descriptor, SET_TICKS, &ticks) != 0)
        return crestart_fail(made->message, errno, "%s: the timer's expirations cannot be set",
                             crestart_name(&made->tables, object));
    return 0;
}

int crestart_make_signalfd(struct crestart_descriptors *made, uint32_t object) {
    uint64_t mask = made->tables.objects[object].value[0];
    int descriptor = (int)syscall(SYS_signalfd4, -1, &mask, sizeof mask, O_CLOEXEC);
    return keep(made, object, descriptor, "a signalfd");
}

// Entries come in the new process, when the numbers are in place.
int crestart_make_epoll(struct crestart_descriptors *made, uint32_t object) {
    return keep(made, object, epoll_create1(EPOLL_CLOEXEC), "an epoll set");
}

// Watches come last of all, from the shim: they are not to see the restart's own doings.
int crestart_make_inotify(struct crestart_descriptors *made, uint32_t object) {
    return keep(made, object, inotify_init1(IN_CLOEXEC), "an inotify queue");
}

// The processes are made later; a process itself may have a new number.
int crestart_make_pidfd(struct crestart_descriptors *made, uint32_t object) {
    uint64_t pid = made->tables.objects[object].value[0];
    bool own = pid == 0 || pid == crestart_member_of(&made->tables, object)->pid;
    made->late[made->late_count++] = (struct crestart_late){object, -1, own ? 0 : (int)pid, 0, NULL};
    return 0;
}
