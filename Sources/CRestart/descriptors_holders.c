// Who has an address that a socket of the program is to have again: read from /proc/net, the processes from /proc/PID/fd.
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>

#include "descriptors_sockets.h"

enum { FIN_WAIT1 = 4, FIN_WAIT2 = 5, TIME_WAIT = 6, CLOSED = 7, LISTENING = 10 };

// One socket of the host at a port. inode 0: no process has it, only the kernel still does.
struct port_user {
    unsigned state;
    unsigned long inode;
};

// Calls visit for every socket at the port in the tables of that protocol ("tcp", "udp"), IPv4 and IPv6.
static void visit_port(const char *protocol, unsigned wanted, void (*visit)(const struct port_user *, void *),
                       void *context) {
    for (size_t i = 0; i < 2; i++) {
        char path[32], line[512];
        snprintf(path, sizeof path, "/proc/net/%s%s", protocol, i == 0 ? "" : "6");
        FILE *table = fopen(path, "re");
        while (table != NULL && fgets(line, sizeof line, table) != NULL) {
            struct port_user user = {.inode = 0};
            unsigned port;
            if (sscanf(line,
                       " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*x:%*x %*x:%*x %*x %*u %*d %lu", // see proc_net(5)
                       &port, &user.state, &user.inode) == 3 &&
                port == wanted)
                visit(&user, context);
        }
        if (table != NULL)
            fclose(table);
    }
}

struct lingering {
    bool lingers, taken;
};

static void see_lingering(const struct port_user *user, void *context) {
    struct lingering *seen = context;
    seen->lingers |= user->state == TIME_WAIT || user->state == FIN_WAIT1 || user->state == FIN_WAIT2;
    seen->taken |= user->state == LISTENING || user->state == CLOSED; // bound only
}

bool crestart_port_lingers(const struct crestart_address *address) {
    struct lingering seen = {false, false};
    visit_port("tcp", crestart_port(address), see_lingering, &seen);
    return seen.lingers && !seen.taken;
}

// ---- the process -------------------------------------------------------------------------------------------------------------

static void see_inode(const struct port_user *user, void *context) {
    unsigned long *inode = context;
    if (user->inode != 0)
        *inode = user->inode;
}

// The socket that is bound to the Unix name, 0 = none.
static unsigned long unix_inode(const struct crestart_address *address) {
    char wanted[CRESTART_UNIX_NAME], line[512], path[256];
    unsigned long inode = 0, found;
    crestart_unix_name(address, wanted);
    if (wanted[0] == '\0')
        wanted[0] = '@';
    FILE *table = fopen("/proc/net/unix", "re");
    while (table != NULL && fgets(line, sizeof line, table) != NULL)
        if (sscanf(line, "%*x: %*x %*x %*x %*x %*x %lu %255s", &found, path) == 2 && strcmp(path, wanted) == 0)
            inode = found;
    if (table != NULL)
        fclose(table);
    return inode;
}

static bool has_socket(const char *pid, unsigned long inode) {
    char path[64], wanted[64], target[64];
    snprintf(wanted, sizeof wanted, "socket:[%lu]", inode);
    snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
    DIR *folder = opendir(path);
    bool found = false;
    for (struct dirent *entry; folder != NULL && !found && (entry = readdir(folder)) != NULL;) {
        ssize_t length = readlinkat(dirfd(folder), entry->d_name, target, sizeof target - 1);
        target[length < 0 ? 0 : length] = '\0';
        found = strcmp(target, wanted) == 0;
    }
    if (folder != NULL)
        closedir(folder);
    return found;
}

// Writes ", process 1234 (NAME) has it". False when no process that this user may look into has the socket.
static bool name_process(unsigned long inode, char *text, size_t size) {
    DIR *processes = opendir("/proc");
    bool found = false;
    for (struct dirent *entry; processes != NULL && !found && (entry = readdir(processes)) != NULL;) {
        if (!isdigit((unsigned char)entry->d_name[0]) || !has_socket(entry->d_name, inode))
            continue;
        char path[64], name[64] = "";
        snprintf(path, sizeof path, "/proc/%.20s/comm", entry->d_name);
        FILE *file = fopen(path, "re");
        if (file != NULL && fgets(name, sizeof name, file) != NULL)
            name[strcspn(name, "\n")] = '\0';
        if (file != NULL)
            fclose(file);
        snprintf(text, size, ", process %.20s (%s) has it", entry->d_name, name);
        found = true;
    }
    if (processes != NULL)
        closedir(processes);
    return found;
}

static void print_address(const struct crestart_address *address, char *text, size_t size) {
    const struct sockaddr_storage *name = &address->bytes;
    char host[INET6_ADDRSTRLEN] = "";
    if (name->ss_family == AF_UNIX) {
        char path[CRESTART_UNIX_NAME];
        crestart_unix_name(address, path);
        if (path[0] == '\0')
            path[0] = '@';
        snprintf(text, size, "%s", path);
        return;
    }
    const void *bytes = name->ss_family == AF_INET ? (const void *)&((const struct sockaddr_in *)name)->sin_addr
                                                   : (const void *)&((const struct sockaddr_in6 *)name)->sin6_addr;
    inet_ntop(name->ss_family, bytes, host, sizeof host);
    snprintf(text, size, name->ss_family == AF_INET ? "%s:%u" : "[%s]:%u", host, crestart_port(address));
}

void crestart_describe_address(const struct crestart_address *address, int type, struct crestart_address_text *text) {
    unsigned long inode = 0;
    print_address(address, text->address, sizeof text->address);
    if (address->bytes.ss_family == AF_UNIX)
        inode = unix_inode(address);
    else
        visit_port(type == SOCK_DGRAM ? "udp" : "tcp", crestart_port(address), see_inode, &inode);
    if (inode != 0 && name_process(inode, text->holder, sizeof text->holder))
        return;
    snprintf(text->holder, sizeof text->holder,
             inode != 0 ? ", a process of another user has it" : ", though no process has it now");
}
