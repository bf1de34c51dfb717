// Resource limits, umask, out-of-memory score, core filter.
#define _GNU_SOURCE
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>

#define LIMITS 16

static uint64_t limits[LIMITS][2]; // soft, hard; of the program
static uint32_t mask;
static int32_t score, core_filter; // -1 = not known

static const char *const limit_names[LIMITS] = {"CPU",      "FSIZE",  "DATA",    "STACK", "CORE",  "RSS",
                                                "NPROC",    "NOFILE", "MEMLOCK", "AS",    "LOCKS", "SIGPENDING",
                                                "MSGQUEUE", "NICE",   "RTPRIO",  "RTTIME"};
_Static_assert(RLIMIT_NLIMITS == LIMITS && RLIMIT_CPU == 0 && RLIMIT_NOFILE == 7 && RLIMIT_RTTIME == 15,
               "the names' order is the kernel's");

// ---- examine --------------------------------------------------------------------------------------------------------

static int32_t read_number(const char *path, bool hexadecimal) {
    char text[32];
    if (scp_read_small(path, text, sizeof text) <= 0)
        return -1;
    const char *cursor = text + (text[0] == '-');
    int32_t value = (int32_t)(hexadecimal ? scp_parse_hex(&cursor) : scp_parse_decimal(&cursor));
    return text[0] == '-' ? -value : value;
}

// "Umask:\t0022"; kernels before 4.7 do not say it.
static uint32_t read_mask(const char *status) {
    uint32_t value = 0;
    for (const char *digit = scp_status_field(status, "Umask"); *digit >= '0' && *digit <= '7'; digit++)
        value = value * 8 + (uint32_t)(*digit - '0');
    return value;
}

int scp_limits_examine(const struct scp_examination *examination) {
    struct scp_process *process = &examination->checkpoint->process;
    for (int i = 0; i < LIMITS; i++)
        if (scp_call(SYS_prlimit64, 0, i, NULL, limits[i]) < 0)
            limits[i][0] = limits[i][1] = RLIM64_INFINITY;
    memcpy(process->limits, limits, sizeof limits);
    process->umask = mask = read_mask(examination->status);
    process->out_of_memory_score_adjust = score = read_number("/proc/self/oom_score_adj", false);
    process->core_filter = core_filter = read_number("/proc/self/coredump_filter", true);
    return 0;
}

// ---- restore --------------------------------------------------------------------------------------------------------

void scp_limits_widen(void) {
    static const uint8_t in_the_way[] = {RLIMIT_MEMLOCK, RLIMIT_SIGPENDING, RLIMIT_NICE,
                                         RLIMIT_RTPRIO,  RLIMIT_AS,         RLIMIT_DATA};
    for (size_t i = 0; i < sizeof in_the_way; i++) {
        uint64_t now[2], wide[2];
        if (scp_call(SYS_prlimit64, 0, in_the_way[i], NULL, now) < 0)
            continue;
        wide[0] = wide[1] = RLIM64_INFINITY;
        if (scp_call(SYS_prlimit64, 0, in_the_way[i], wide, NULL) == 0)
            continue;
        wide[0] = wide[1] = limits[in_the_way[i]][1] > now[1] ? limits[in_the_way[i]][1] : now[1];
        if (scp_call(SYS_prlimit64, 0, in_the_way[i], wide, NULL) == 0)
            continue;
        wide[0] = wide[1] = now[1];
        scp_call(SYS_prlimit64, 0, in_the_way[i], wide, NULL);
    }
}

// A hard limit can be lowered by anybody and raised by the privileged: what is not allowed gets as near as it may.
static void restore_limit(int which) {
    uint64_t now[2], near[2];
    long result = scp_call(SYS_prlimit64, 0, which, limits[which], NULL);
    if (result == 0 || scp_call(SYS_prlimit64, 0, which, NULL, now) < 0)
        return;
    near[1] = limits[which][1] < now[1] ? limits[which][1] : now[1];
    near[0] = limits[which][0] < near[1] ? limits[which][0] : near[1];
    scp_call(SYS_prlimit64, 0, which, near, NULL);
    scp_arrival_warn((int)-result, "could not raise the hard limit to what it was of RLIMIT_", limit_names[which]);
}

static long write_text(const char *path, const char *text) {
    long descriptor = scp_call(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (descriptor < 0)
        return descriptor;
    long result = scp_call(SYS_write, descriptor, text, strlen(text));
    scp_call(SYS_close, descriptor);
    return result;
}

// The leader shares its umask with the program's threads; the checkpoint thread may not.
static int64_t restore_mask(void *argument) {
    (void)argument;
    return scp_call(SYS_umask, mask);
}

static void restore_number(const char *path, int32_t wanted, const char *what, bool hexadecimal) {
    if (read_number(path, hexadecimal) == wanted)
        return;
    long result = write_text(path, scp_signed_number(wanted).text);
    if (result < 0)
        scp_arrival_warn((int)-result, what, NULL);
}

void scp_limits_restore(void) {
    scp_on_thread(scp_slot_at(0), restore_mask, NULL);
    restore_number("/proc/self/oom_score_adj", score, "could not lower the out-of-memory score to what it was", false);
    if (core_filter >= 0)
        restore_number("/proc/self/coredump_filter", core_filter, "could not restore the core dump filter", true);
    for (int i = 0; i < LIMITS; i++)
        restore_limit(i);
}
