// A ring of processes that pass numbered tokens through one kind of channel: none may be lost, doubled or reordered.
// @cases pipe fifo stream datagram packet abstract path rights tcp tcp6 udp udp6 queue memory signal mixed kept fifty
// @limit 60
#include "workload_cases.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#define MEMBERS 8
#define MANY 50
#define TOKENS 5

struct token {
    int64_t number; // counts up on each link
    int64_t value; // counts up with every hop
    int64_t last; // 1: the end, pass it on and go
};

enum kind { PIPE, FIFO, STREAM, DATAGRAM, PACKET, ABSTRACT, PATH, RIGHTS, TCP, TCP6, UDP, UDP6, QUEUE, MEMORY, SIGNAL };
#define KINDS (SIGNAL + 1)

// From one member to the next.
struct link {
    enum kind kind;
    int in, out; // descriptors, or both the id of a queue
    struct mailbox *box; // shared memory
    pid_t reader; // SIGNAL
    int64_t sent, received;
};

// One place for one token, guarded by a futex.
struct mailbox {
    _Atomic uint32_t full;
    struct token token;
};

static struct link links[MANY];
static int members = MEMBERS;

// ---- making channels -------------------------------------------------------------------------------------------------

static void keep(struct link *link, int in, int out) {
    workload_check(in >= 0 && out >= 0);
    link->in = in;
    link->out = out;
}

static void make_fifo(struct link *link, int number) {
    char name[32];
    snprintf(name, sizeof name, "fifo%d", number);
    workload_check(mkfifo(name, 0600) == 0);
    int in = open(name, O_RDONLY | O_NONBLOCK), out = open(name, O_WRONLY);
    workload_check(in >= 0 && fcntl(in, F_SETFL, 0) == 0);
    keep(link, in, out);
}

static void make_pair(struct link *link, int type) {
    int ends[2];
    workload_check(socketpair(AF_UNIX, type, 0, ends) == 0);
    keep(link, ends[0], ends[1]);
}

static void make_connection(struct link *link, const struct sockaddr *address, socklen_t length) {
    struct sockaddr_storage bound;
    socklen_t size = sizeof bound;
    int listening = socket(address->sa_family, SOCK_STREAM, 0), one = 1;
    workload_check(bind(listening, address, length) == 0 && listen(listening, 1) == 0);
    workload_check(getsockname(listening, (struct sockaddr *)&bound, &size) == 0);
    int out = socket(address->sa_family, SOCK_STREAM, 0);
    workload_check(connect(out, (struct sockaddr *)&bound, size) == 0);
    if (address->sa_family != AF_UNIX)
        workload_check(setsockopt(out, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
    keep(link, accept(listening, NULL, NULL), out);
    close(listening);
}

static void make_named(struct link *link, int number, bool abstract) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path + abstract, 64, "tokens-%d-%d", (int)getpid(), number);
    make_connection(link, (struct sockaddr *)&address, (socklen_t)(sizeof(sa_family_t) + (size_t)length + 1));
}

static void make_internet(struct link *link, bool six, int type) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 address6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr *own = six ? (struct sockaddr *)&address6 : (struct sockaddr *)&address;
    socklen_t size = six ? sizeof address6 : sizeof address;
    if (type == SOCK_STREAM)
        return make_connection(link, own, size);
    struct sockaddr_storage bound;
    socklen_t length = sizeof bound;
    int in = socket(own->sa_family, type, 0), out = socket(own->sa_family, type, 0);
    workload_check(bind(in, own, size) == 0);
    workload_check(getsockname(in, (struct sockaddr *)&bound, &length) == 0);
    workload_check(connect(out, (struct sockaddr *)&bound, length) == 0);
    keep(link, in, out);
}

static void make_link(struct link *link, enum kind kind, int number) {
    *link = (struct link){.kind = kind, .in = -1, .out = -1};
    int ends[2];
    switch (kind) {
    case PIPE:
        workload_check(pipe(ends) == 0);
        return keep(link, ends[0], ends[1]);
    case FIFO:
        return make_fifo(link, number);
    case STREAM:
    case RIGHTS:
        return make_pair(link, SOCK_STREAM);
    case DATAGRAM:
        return make_pair(link, SOCK_DGRAM);
    case PACKET:
        return make_pair(link, SOCK_SEQPACKET);
    case ABSTRACT:
    case PATH:
        return make_named(link, number, kind == ABSTRACT);
    case TCP:
    case TCP6:
        return make_internet(link, kind == TCP6, SOCK_STREAM);
    case UDP:
    case UDP6:
        return make_internet(link, kind == UDP6, SOCK_DGRAM);
    case QUEUE:
        link->in = link->out = msgget(IPC_PRIVATE, 0600);
        workload_check(link->in >= 0);
        return;
    case MEMORY:
    case SIGNAL:
        link->box = mmap(NULL, sizeof *link->box * TOKENS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        workload_check(link->box != MAP_FAILED);
        return;
    }
}

// ---- tokens ----------------------------------------------------------------------------------------------------------

static void futex_wait(_Atomic uint32_t *word, uint32_t value) {
    syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

static void put_in_box(struct link *link, const struct token *token) {
    struct mailbox *box = &link->box[link->sent % TOKENS];
    while (atomic_load(&box->full))
        futex_wait(&box->full, 1);
    box->token = *token;
    atomic_store(&box->full, 1);
    if (link->kind == SIGNAL) {
        // A queue of signals has a limit for the user: wait until there is room.
        while (sigqueue(link->reader, SIGRTMIN + 3, (union sigval){.sival_int = (int)(link->sent % TOKENS)}) != 0)
            workload_equal(errno, EAGAIN);
        return;
    }
    syscall(SYS_futex, &box->full, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void take_from_box(struct link *link, struct token *token) {
    struct mailbox *box = &link->box[link->received % TOKENS];
    if (link->kind == SIGNAL) {
        sigset_t set;
        siginfo_t info;
        sigemptyset(&set);
        sigaddset(&set, SIGRTMIN + 3);
        while (sigwaitinfo(&set, &info) < 0)
            workload_equal(errno, EINTR);
        workload_equal(info.si_value.sival_int, link->received % TOKENS);
    }
    while (!atomic_load(&box->full))
        futex_wait(&box->full, 0);
    *token = box->token;
    atomic_store(&box->full, 0);
    syscall(SYS_futex, &box->full, FUTEX_WAKE, 1, NULL, NULL, 0);
}

// The token travels in a pipe of its own, which only the message holds meanwhile.
static void send_pipe(struct link *link, const struct token *token) {
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    char byte = 'p';
    int ends[2];
    workload_check(pipe(ends) == 0);
    workload_equal(write(ends[1], token, sizeof *token), (long)sizeof *token);
    memcpy(CMSG_DATA(&control.header), &ends[0], sizeof(int));
    struct iovec part = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room};
    workload_equal(sendmsg(link->out, &message, 0), 1);
    close(ends[0]);
    close(ends[1]);
}

static void send_token(struct link *link, const struct token *token) {
    struct {
        long type;
        struct token token;
    } letter = {1, *token};
    letter.token.number = link->sent;
    if (link->kind >= MEMORY)
        put_in_box(link, &letter.token);
    else if (link->kind == RIGHTS)
        send_pipe(link, &letter.token);
    else if (link->kind == QUEUE)
        workload_check(msgsnd(link->out, &letter, sizeof letter.token, 0) == 0);
    else
        workload_equal(write(link->out, &letter.token, sizeof letter.token), (long)sizeof letter.token);
    link->sent++;
}

static void read_all(int descriptor, void *bytes, size_t length) {
    for (size_t at = 0; at < length;) {
        ssize_t got = read(descriptor, (char *)bytes + at, length - at);
        workload_check(got > 0);
        at += (size_t)got;
    }
}

static void receive_pipe(struct link *link, struct token *token) {
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    char byte = 0, more;
    struct iovec part = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room};
    workload_equal(recvmsg(link->in, &message, 0), 1);
    workload_equal(byte, 'p');
    workload_equal(message.msg_controllen, CMSG_SPACE(sizeof(int)));
    int carried;
    memcpy(&carried, CMSG_DATA(&control.header), sizeof carried);
    read_all(carried, token, sizeof *token);
    workload_equal(read(carried, &more, 1), 0); // nobody has the other end any more
    close(carried);
}

static struct token receive_token(struct link *link) {
    struct {
        long type;
        struct token token;
    } letter = {0};
    if (link->kind >= MEMORY)
        take_from_box(link, &letter.token);
    else if (link->kind == RIGHTS)
        receive_pipe(link, &letter.token);
    else if (link->kind == QUEUE)
        workload_equal(msgrcv(link->in, &letter, sizeof letter.token, 0, 0), (long)sizeof letter.token);
    else
        read_all(link->in, &letter.token, sizeof letter.token);
    if (letter.token.number != link->received)
        workload_fail("process %d: token %lld came where %lld was due", (int)getpid(), (long long)letter.token.number,
                      (long long)link->received);
    link->received++;
    return letter.token;
}

// ---- the ring --------------------------------------------------------------------------------------------------------

static void close_others(int own, bool keep_all) {
    for (int i = 0; i < members && !keep_all; i++) {
        bool has_descriptors = links[i].kind != QUEUE && links[i].kind < MEMORY;
        if (has_descriptors && i != (own + members - 1) % members)
            close(links[i].in);
        if (has_descriptors && i != own)
            close(links[i].out);
    }
}

// Member `own` takes from link own - 1 and gives to link own.
__attribute__((noreturn)) static void member(int own) {
    struct link *from = &links[own - 1], *to = &links[own];
    for (;;) {
        struct token token = receive_token(from);
        token.value++;
        send_token(to, &token);
        if (token.last)
            _exit(7);
    }
}

static void learn_readers(const pid_t *pids) {
    for (int i = 0; i < members; i++)
        links[i].reader = pids[(i + 1) % members];
}

// Tokens go round until the harness says so; then an end goes round. Its value counts all hops.
static void lead(void) {
    struct link *from = &links[members - 1], *to = &links[0];
    int64_t rounds = 0;
    for (int i = 0; i < TOKENS - 1; i++)
        send_token(to, &(struct token){.value = 0});
    workload_ready();
    bool last = false;
    for (int due = TOKENS - 1; due > 0; due--) {
        struct token token = receive_token(from);
        workload_equal(token.value % (members - 1), 0);
        rounds++;
        nanosleep(&(struct timespec){0, 100000}, NULL);
        if (workload_waiting()) {
            send_token(to, &token);
            due++;
        } else if (!last) {
            last = true; // tokens before it come home first, those behind it are none
            token.last = due == 1;
        }
    }
    send_token(to, &(struct token){.last = 1});
    workload_equal(receive_token(from).last, 1);
    workload_note("%lld tokens came round", (long long)rounds);
}

static void run_ring(int first_kind, int kinds, bool keep_all) {
    pid_t *pids = mmap(NULL, sizeof(pid_t) * members, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 3);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_DFL);
    for (int i = 0; i < members; i++)
        make_link(&links[i], (enum kind)(first_kind + i % kinds), i);
    pids[0] = getpid();
    _Atomic uint32_t *start = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 1; i < members; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            close_others(i, keep_all);
            while (!atomic_load(start))
                futex_wait(start, 0);
            learn_readers(pids);
            member(i);
        }
        pids[i] = pid;
    }
    close_others(0, keep_all);
    learn_readers(pids);
    atomic_store(start, 1);
    syscall(SYS_futex, start, FUTEX_WAKE, members, NULL, NULL, 0);
    lead();
    for (int i = 1; i < members; i++) {
        int status = 0;
        workload_equal(waitpid(pids[i], &status, 0), pids[i]);
        workload_check(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    }
    for (int i = 0; i < members; i++)
        if (links[i].kind == QUEUE)
            msgctl(links[i].in, IPC_RMID, NULL);
}

#define RING(name, kind)                                                                                               \
    static void name##_ring(void) {                                                                                    \
        run_ring(kind, 1, false);                                                                                      \
    }
RING(pipe, PIPE)
RING(fifo, FIFO)
RING(stream, STREAM)
RING(datagram, DATAGRAM)
RING(packet, PACKET)
RING(abstract, ABSTRACT)
RING(path, PATH)
RING(rights, RIGHTS)
RING(tcp, TCP)
RING(tcp6, TCP6)
RING(udp, UDP)
RING(udp6, UDP6)
RING(queue, QUEUE)
RING(memory, MEMORY)
RING(signal, SIGNAL)
static void mixed_ring(void) {
    run_ring(PIPE, UDP6 + 1, false);
}
// All kinds of channels, several times.
static void fifty_ring(void) {
    members = MANY;
    run_ring(PIPE, KINDS, false);
}
static void kept_ring(void) {
    run_ring(PIPE, PACKET + 1, true);
}

WORKLOAD_CASES({"pipe", pipe_ring}, {"fifo", fifo_ring}, {"stream", stream_ring}, {"datagram", datagram_ring},
               {"packet", packet_ring}, {"abstract", abstract_ring}, {"path", path_ring}, {"rights", rights_ring},
               {"tcp", tcp_ring}, {"tcp6", tcp6_ring}, {"udp", udp_ring}, {"udp6", udp6_ring}, {"queue", queue_ring},
               {"memory", memory_ring}, {"signal", signal_ring}, {"mixed", mixed_ring}, {"kept", kept_ring},
               {"fifty", fifty_ring})
