// What cannot be saved is refused by name and number, and the program runs on.
// @cases io_uring userfaultfd queue_notified netlink perf raw_thread inotify_unread namespace unaccepted directory_notify multicast tls
// @refused (?s)(descriptor [0-9]+ \(.+\) |thread [0-9]+ |the program waits ).*(io_uring|userfaultfd|message queue|netlink|counter|table of its own|inotify queue|namespace|not been accepted|F_NOTIFY|multicast|TLS)
#include "workload_cases.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static int wait_with(int descriptor, const char *what) {
    if (descriptor < 0)
        workload_skip("no %s here: %s", what, strerror(errno));
    workload_ready();
    workload_wait();
    workload_check(fcntl(descriptor, F_GETFD) >= 0);
    return descriptor;
}

static void check_io_uring(void) {
    unsigned parameters[30] = {0};
    wait_with((int)syscall(SYS_io_uring_setup, 4, parameters), "io_uring");
}

static void check_userfaultfd(void) {
    wait_with((int)syscall(SYS_userfaultfd, O_CLOEXEC | 1 /* UFFD_USER_MODE_ONLY */), "userfaultfd");
}

static void check_queue_notified(void) {
    char name[64];
    snprintf(name, sizeof name, "/swiftcp-test-%d", (int)getpid());
    struct mq_attr shape = {.mq_maxmsg = 4, .mq_msgsize = 16};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &shape);
    if (queue >= 0)
        mq_unlink(name);
    workload_check(queue < 0 || mq_notify(queue, &event) == 0);
    wait_with((int)queue, "POSIX message queue");
    workload_check(mq_notify(queue, NULL) == 0);
}

static void check_netlink(void) {
    wait_with(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), "netlink socket");
}

static void check_perf(void) {
    struct perf_event_attr attribute = {
        .type = PERF_TYPE_SOFTWARE, .size = sizeof attribute, .config = PERF_COUNT_SW_TASK_CLOCK, .exclude_kernel = 1};
    wait_with((int)syscall(SYS_perf_event_open, &attribute, 0, -1, -1, 0), "performance counter");
}

static void *own_table(void *argument) {
    *(_Atomic int *)argument = unshare(CLONE_FILES) == 0 ? 1 : -1;
    pause();
    return argument;
}

static void check_raw_thread(void) {
    static _Atomic int state;
    pthread_t thread;
    workload_check(pthread_create(&thread, NULL, own_table, (void *)&state) == 0);
    while (state == 0)
        sched_yield();
    workload_equal(state, 1);
    workload_ready();
    workload_wait();
}

static void check_inotify_unread(void) {
    int queue = inotify_init1(IN_NONBLOCK);
    workload_check(mkdir("folder", 0700) == 0 && inotify_add_watch(queue, "folder", IN_CREATE) >= 0);
    close(open("folder/file", O_CREAT | O_WRONLY, 0600));
    wait_with(queue, "inotify");
    char bytes[512];
    workload_check(read(queue, bytes, sizeof bytes) > 0);
}

static void check_namespace(void) {
    wait_with(open("/proc/self/ns/uts", O_RDONLY), "namespace file");
}

static void check_unaccepted(void) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    workload_check(bind(listener, (struct sockaddr *)&name, length) == 0 && listen(listener, 4) == 0);
    workload_check(getsockname(listener, (struct sockaddr *)&name, &length) == 0);
    workload_check(connect(client, (struct sockaddr *)&name, length) == 0);
    workload_equal(send(client, "early", 5, 0), 5);
    wait_with(client, "TCP");
    int server = accept(listener, NULL, NULL);
    char text[8] = "";
    workload_equal(recv(server, text, 5, MSG_WAITALL), 5);
    workload_check(strcmp(text, "early") == 0);
}

static void check_directory_notify(void) {
    int folder = open(".", O_RDONLY);
    workload_check(fcntl(folder, F_SETSIG, SIGRTMIN) == 0);
    if (fcntl(folder, F_NOTIFY, DN_RENAME | DN_MULTISHOT) != 0)
        workload_skip("no F_NOTIFY here: %s", strerror(errno));
    wait_with(folder, "folder");
}

static void check_multicast(void) {
    int socket_one = socket(AF_INET, SOCK_DGRAM, 0);
    struct ip_mreqn group = {.imr_multiaddr.s_addr = inet_addr("239.1.2.3"),
                             .imr_address.s_addr = htonl(INADDR_LOOPBACK)};
    if (setsockopt(socket_one, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group) != 0)
        workload_skip("no multicast here: %s", strerror(errno));
    wait_with(socket_one, "UDP");
}

static void check_tls(void) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    workload_check(bind(listener, (struct sockaddr *)&name, length) == 0 && listen(listener, 4) == 0);
    workload_check(getsockname(listener, (struct sockaddr *)&name, &length) == 0);
    workload_check(connect(client, (struct sockaddr *)&name, length) == 0);
    workload_check(accept(listener, NULL, NULL) >= 0);
    if (setsockopt(client, IPPROTO_TCP, TCP_ULP, "tls", 4) != 0)
        workload_skip("no TLS in this kernel: %s", strerror(errno));
    wait_with(client, "TCP");
}

WORKLOAD_CASES({"io_uring", check_io_uring}, {"userfaultfd", check_userfaultfd},
               {"queue_notified", check_queue_notified}, {"netlink", check_netlink}, {"perf", check_perf},
               {"raw_thread", check_raw_thread}, {"inotify_unread", check_inotify_unread},
               {"namespace", check_namespace}, {"unaccepted", check_unaccepted},
               {"directory_notify", check_directory_notify}, {"multicast", check_multicast}, {"tls", check_tls})
