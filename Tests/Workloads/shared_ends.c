// Pipes and sockets with one end in one process and the other in another. What one does, the other sees.
// @cases pipe_many_writers pipe_writer_gone socket_accepted socket_half_closed listening
// @flags -lrt
#include "shared.h"

#include <netinet/in.h>

static int ends[2];

static void pipe_many_writers(void) {
    pid_t pids[5];
    workload_check(pipe(ends) == 0);
    for (int i = 0; i < 5; i++)
        if ((pids[i] = fork()) == 0) {
            close(ends[0]);
            for (int n = 0; n < 2000 || workload_waiting(); n++) {
                int word[2] = {i, n};
                if (write(ends[1], word, sizeof word) != sizeof word)
                    _exit(1);
                nanosleep(&(struct timespec){0, 50000}, NULL);
            }
            _exit(0);
        }
    close(ends[1]);
    int next[5] = {0}, word[2];
    bool ready = false;
    for (int total = 0; read(ends[0], word, sizeof word) == sizeof word; total++) {
        workload_check(word[0] >= 0 && word[0] < 5);
        workload_equal(word[1], next[word[0]]);
        next[word[0]]++;
        if (total > 100 && !ready) {
            ready = true;
            workload_ready();
        }
    }
    for (int i = 0; i < 5; i++) {
        int status;
        workload_equal(waitpid(pids[i], &status, 0), pids[i]);
        workload_equal(status, 0);
        workload_check(next[i] >= 2000);
    }
}

static long pipe_act(int step) {
    char text[8] = "";
    if (step == 1)
        return read(ends[0], text, 3) == 3 && memcmp(text, "abc", 3) == 0;
    return read(ends[0], text, 1);
}

// The only writer has gone; what it wrote is still there, then comes the end.
static void pipe_writer_gone(void) {
    workload_check(pipe(ends) == 0);
    start_child(pipe_act); // has the write end too
    pid_t writer = fork();
    if (writer == 0)
        _exit(write(ends[1], "abc", 3) == 3 ? 0 : 1);
    int status;
    workload_equal(waitpid(writer, &status, 0), writer);
    close(ends[1]);
    pause_here();
    workload_equal(ask(1), 1);
    end_child();
}

static int server = -1, client = -1;
static long socket_act(int step) {
    char byte = 0;
    switch (step) {
    case 1:
        return send(client, "q", 1, MSG_NOSIGNAL);
    case 2:
        return recv(client, &byte, 1, 0) == 1 ? byte : -1;
    case 3:
        return shutdown(client, SHUT_WR);
    case 4:
        return accept(server, NULL, NULL) >= 0;
    }
    return -1;
}

static void listen_on_loopback(struct sockaddr_in *address) {
    socklen_t length = sizeof *address;
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    workload_check((server = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
    workload_check(bind(server, (struct sockaddr *)address, length) == 0 && listen(server, 5) == 0);
    workload_check(getsockname(server, (struct sockaddr *)address, &length) == 0);
}

static int connected(void) {
    struct sockaddr_in address;
    listen_on_loopback(&address);
    workload_check((client = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
    workload_check(connect(client, (struct sockaddr *)&address, sizeof address) == 0);
    int accepted = accept(server, NULL, NULL);
    workload_check(accepted >= 0);
    start_child(socket_act);
    close(client);
    return accepted;
}

static void socket_accepted(void) {
    int accepted = connected();
    workload_equal(ask(1), 1);
    workload_equal(send(accepted, "r", 1, 0), 1);
    pause_here();
    char byte = 0;
    workload_equal(recv(accepted, &byte, 1, 0), 1);
    workload_equal(byte, 'q');
    workload_equal(ask(2), 'r');
    workload_equal(send(accepted, "s", 1, 0), 1);
    workload_equal(ask(2), 's');
    end_child();
    workload_equal(recv(accepted, &byte, 1, 0), 0);
}

static void socket_half_closed(void) {
    int accepted = connected();
    workload_equal(ask(1), 1);
    workload_equal(ask(3), 0);
    pause_here();
    char byte = 0;
    workload_equal(recv(accepted, &byte, 1, 0), 1);
    workload_equal(recv(accepted, &byte, 1, 0), 0);
    workload_equal(send(accepted, "t", 1, 0), 1);
    workload_equal(ask(2), 't');
    end_child();
}

// Several processes accept from one listening socket.
static void listening(void) {
    struct sockaddr_in address;
    listen_on_loopback(&address);
    start_child(socket_act);
    pause_here();
    for (int i = 0; i < 2; i++) {
        int one = socket(AF_INET, SOCK_STREAM, 0);
        workload_check(connect(one, (struct sockaddr *)&address, sizeof address) == 0);
        if (i == 0)
            workload_equal(ask(4), 1);
        else
            workload_check(accept(server, NULL, NULL) >= 0);
        close(one);
    }
    end_child();
}

WORKLOAD_CASES({"pipe_many_writers", pipe_many_writers}, {"pipe_writer_gone", pipe_writer_gone},
               {"socket_accepted", socket_accepted}, {"socket_half_closed", socket_half_closed},
               {"listening", listening})
