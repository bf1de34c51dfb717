// workers N SOCKET DIRECTORY: N workers of one computation, simulated: each is a connection that speaks the protocol, nothing
// more. Prints READY when all are welcome. At the first checkpoint prints "BARRIER" and the ns from the first report of the
// stage "quiesced" until the last one has its GO; then one worker gives the checkpoint up, and all end.
#include "bench.h"
#include "swiftcp_protocol.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

static void transfer(int link, void *bytes, size_t length, ssize_t (*call)(int, void *, size_t)) {
    for (size_t done = 0; done < length;) {
        ssize_t moved = call(link, (char *)bytes + done, length - done);
        bench_need(moved > 0, "the connection to the coordinator");
        done += (size_t)moved;
    }
}

static ssize_t put(int link, void *bytes, size_t length) {
    return write(link, bytes, length);
}

static void send_message(int link, uint16_t type, void *payload, size_t length) {
    struct scp_frame frame = {(uint32_t)(sizeof frame + length), SCP_PROTOCOL_VERSION, type};
    transfer(link, &frame, sizeof frame, put);
    transfer(link, payload, length, put);
}

// Takes messages until one of the type comes. Returns its payload, until the next call.
static const void *await_message(int link, uint16_t type) {
    static _Alignas(8) char payload[1 << 16];
    struct scp_frame frame;
    do {
        transfer(link, &frame, sizeof frame, read);
        bench_need(frame.length >= sizeof frame && frame.length - sizeof frame <= sizeof payload,
                   "length of a message");
        transfer(link, payload, frame.length - sizeof frame, read);
    } while (frame.type != type);
    return payload;
}

static int join(const char *socket_path, const char *directory, uint32_t pid) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct scp_hello hello = {.own_pid = pid, .own_ppid = 1, .name = "simulated", .computation = "simulated"};
    int link = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bench_need(link >= 0, "socket");
    snprintf(address.sun_path, sizeof address.sun_path, "%s", socket_path);
    snprintf(hello.checkpoint_directory, sizeof hello.checkpoint_directory, "%s", directory);
    bench_need(connect(link, (struct sockaddr *)&address, sizeof address) == 0, socket_path);
    send_message(link, SCP_MESSAGE_HELLO, &hello, sizeof hello);
    await_message(link, SCP_MESSAGE_WELCOME);
    return link;
}

static void report(int link, uint32_t stage, uint32_t generation) {
    struct scp_stage_report report = {.stage = stage, .generation = generation, .threads = 1};
    send_message(link, SCP_MESSAGE_STAGE, &report, sizeof report);
}

static void await_go(const int *links, int workers) {
    for (int i = 0; i < workers; i++)
        await_message(links[i], SCP_MESSAGE_GO);
}

int main(int count, char **words) {
    struct rlimit limit;
    bench_need(count == 4, "usage: workers N SOCKET DIRECTORY");
    bench_need(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    bench_need(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
    int workers = atoi(words[1]), *links = calloc((size_t)workers, sizeof *links);
    bench_need(links != NULL, "calloc");
    for (int i = 0; i < workers; i++)
        links[i] = join(words[2], words[3], (uint32_t)i + 10);
    bench_ready();
    uint32_t generation = 0;
    for (int i = 0; i < workers; i++) { // a few prepare at a time
        generation = ((const struct scp_checkpoint_order *)await_message(links[i], SCP_MESSAGE_CHECKPOINT))->generation;
        report(links[i], SCP_STAGE_RUNNING, generation);
    }
    await_go(links, workers); // all are prepared
    int64_t began = bench_now(CLOCK_MONOTONIC);
    for (int i = 0; i < workers; i++)
        report(links[i], SCP_STAGE_QUIESCED, generation);
    await_go(links, workers);
    printf("BARRIER %lld\n", (long long)(bench_now(CLOCK_MONOTONIC) - began));
    fflush(stdout);
    struct scp_text failure = {.error = ECANCELED, .generation = generation, .text = "this worker is simulated"};
    send_message(links[0], SCP_MESSAGE_FAILED, &failure, sizeof failure);
    await_message(links[0], SCP_MESSAGE_ABORT);
    return 0;
}
