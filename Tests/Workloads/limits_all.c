// Resource limits, umask, nice, out-of-memory score, core filter.
#include "workload.h"
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

static struct rlimit wanted[RLIMIT_NLIMITS];
static const char *const score = "/proc/self/oom_score_adj", *const filter = "/proc/self/coredump_filter";

static void write_text(const char *path, const char *text) {
    int file = open(path, O_WRONLY);
    workload_check(file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text));
    close(file);
}

static long read_number(const char *path, int base) {
    char text[32] = "";
    int file = open(path, O_RDONLY);
    workload_check(file >= 0 && read(file, text, sizeof text - 1) > 0);
    close(file);
    return strtol(text, NULL, base);
}

static void lower(int which, rlim_t soft, rlim_t hard) {
    struct rlimit limit;
    getrlimit(which, &limit);
    limit.rlim_max = hard < limit.rlim_max ? hard : limit.rlim_max;
    limit.rlim_cur = soft < limit.rlim_max ? soft : limit.rlim_max;
    workload_check(setrlimit(which, &limit) == 0);
}

int main(void) {
    // As the launching shell has them by default, or lower: so that a restart needs no privilege.
    lower(RLIMIT_CPU, 3000, 4000);
    lower(RLIMIT_FSIZE, 1u << 30, RLIM_INFINITY);
    lower(RLIMIT_DATA, 4ull << 30, 8ull << 30);
    lower(RLIMIT_STACK, 4 << 20, RLIM_INFINITY);
    lower(RLIMIT_CORE, 0, 1 << 20);
    lower(RLIMIT_NOFILE, 300, 900);
    lower(RLIMIT_AS, 16ull << 30, 32ull << 30);
    lower(RLIMIT_SIGPENDING, 100, 200);
    lower(RLIMIT_MSGQUEUE, 4000, 5000);
    lower(RLIMIT_MEMLOCK, 65536, 65536);
    for (int which = 0; which < RLIMIT_NLIMITS; which++)
        getrlimit(which, &wanted[which]);
    umask(0126);
    int niceness = getpriority(PRIO_PROCESS, 0) + 7;
    workload_equal(nice(7), niceness);
    write_text(score, "321");
    write_text(filter, "0x11");
    workload_ready();
    workload_wait();
    for (int which = 0; which < RLIMIT_NLIMITS; which++) {
        struct rlimit now;
        getrlimit(which, &now);
        if (now.rlim_cur != wanted[which].rlim_cur || now.rlim_max != wanted[which].rlim_max)
            workload_fail("limit %d: %llu %llu, was %llu %llu", which, (unsigned long long)now.rlim_cur,
                          (unsigned long long)now.rlim_max, (unsigned long long)wanted[which].rlim_cur,
                          (unsigned long long)wanted[which].rlim_max);
    }
    workload_equal(umask(0), 0126);
    workload_equal(getpriority(PRIO_PROCESS, 0), niceness);
    workload_equal(read_number(score, 10), 321);
    workload_equal(read_number(filter, 16), 0x11);
    workload_pass();
}
