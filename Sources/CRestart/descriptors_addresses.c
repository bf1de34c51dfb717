// Addresses and options of sockets: reading their description, binding, connecting.
#include "descriptors_sockets.h"

#include <netinet/in.h>
#include <stddef.h>
#include <sys/un.h>

static int digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// Reads pairs of digits up to the first other character. Returns the bytes, at most size.
static size_t read_hexadecimal(const char *text, void *out, size_t size) {
    size_t length = 0;
    while (length < size && digit(text[0]) >= 0 && digit(text[1]) >= 0) {
        ((unsigned char *)out)[length++] = (unsigned char)(digit(text[0]) << 4 | digit(text[1]));
        text += 2;
    }
    return length;
}

static const char *next_word(const char *text) {
    text += strcspn(text, " ");
    return *text == ' ' ? text + 1 : text;
}

struct crestart_address crestart_address_of(const struct crestart_tables *tables, uint32_t object, const char *word) {
    struct crestart_address address = {.length = 0};
    const char *text = crestart_string(tables, tables->objects[object].socket);
    for (; *text != '\0'; text = next_word(text))
        if (strncmp(text, word, 2) == 0)
            address.length = (socklen_t)read_hexadecimal(text + 2, &address.bytes, sizeof address.bytes);
    return address;
}

in_port_t *crestart_port_of(struct crestart_address *address) {
    return address->bytes.ss_family == AF_INET ? &((struct sockaddr_in *)&address->bytes)->sin_port
                                               : &((struct sockaddr_in6 *)&address->bytes)->sin6_port;
}

unsigned crestart_port(const struct crestart_address *address) {
    struct crestart_address copy = *address;
    return ntohs(*crestart_port_of(&copy));
}

bool crestart_is_bound(const struct crestart_address *address) {
    if (address->length < sizeof(sa_family_t))
        return false;
    switch (address->bytes.ss_family) {
    case AF_UNIX:
        return address->length > offsetof(struct sockaddr_un, sun_path);
    case AF_INET:
    case AF_INET6:
        return crestart_port(address) != 0;
    }
    return false;
}

int crestart_new_socket(const struct scp_object *entry) {
    int descriptor = socket((int)entry->value[SCP_SOCKET_DOMAIN], (int)entry->value[SCP_SOCKET_TYPE] | SOCK_CLOEXEC,
                            (int)entry->value[SCP_SOCKET_PROTOCOL]);
    return descriptor < 0 ? -errno : descriptor;
}

// ---- options -----------------------------------------------------------------------------------------------------------

static bool hinders(int level, int name) {
    static const int names[] = {SO_SNDBUF,   SO_RCVBUF,   72 /* SO_BUF_LOCK */, SO_RCVLOWAT,
                                SO_PEEK_OFF, SO_RCVTIMEO, SO_SNDTIMEO,          SO_LINGER};
    for (size_t i = 0; level == SOL_SOCKET && i < sizeof names / sizeof names[0]; i++)
        if (names[i] == name)
            return true;
    return level == IPPROTO_TCP && name == 3 /* TCP_CORK */;
}

// getsockopt gives twice what was asked for.
static void halve_buffer(int level, int name, void *value, size_t length) {
    int bytes;
    if (level != SOL_SOCKET || (name != SO_SNDBUF && name != SO_RCVBUF) || length != sizeof bytes)
        return;
    memcpy(&bytes, value, sizeof bytes);
    bytes /= 2;
    memcpy(value, &bytes, sizeof bytes);
}

void crestart_set_options(struct crestart_descriptors *made, uint32_t object, int descriptor,
                          enum crestart_option_pass pass) {
    const char *text = crestart_string(&made->tables, made->tables.objects[object].socket);
    for (; *text != '\0'; text = next_word(text)) {
        unsigned char value[128];
        int level, name, used = 0;
        if (sscanf(text, "o=%d.%d=%n", &level, &name, &used) != 2 || used == 0 ||
            hinders(level, name) != (pass == CRESTART_HINDERING))
            continue;
        size_t length = read_hexadecimal(text + used, value, sizeof value);
        halve_buffer(level, name, value, length);
        if (setsockopt(descriptor, level, name, value, (socklen_t)length) != 0)
            crestart_warn(made, "%s: socket option %d of level %d cannot be set again: %s",
                          crestart_name(&made->tables, object), name, level, strerror(errno));
    }
}

int crestart_recorded(const struct crestart_tables *tables, uint32_t object, int level, int name) {
    const char *text = crestart_string(tables, tables->objects[object].socket);
    for (; *text != '\0'; text = next_word(text)) {
        int found_level, found_name, used = 0, value = 0;
        if (sscanf(text, "o=%d.%d=%n", &found_level, &found_name, &used) == 2 && used > 0 && found_level == level &&
            found_name == name && read_hexadecimal(text + used, &value, sizeof value) == sizeof value)
            return value;
    }
    return 0;
}

// ---- names ----------------------------------------------------------------------------------------------------------------

static bool is_relative(const struct crestart_address *address) {
    const struct sockaddr_un *name = (const struct sockaddr_un *)&address->bytes;
    return name->sun_family == AF_UNIX && crestart_is_bound(address) && name->sun_path[0] != '\0' &&
           name->sun_path[0] != '/';
}

// Relative names are resolved where the process was. Returns a descriptor to come back by, -1 = stay.
static int enter_directory(const struct crestart_descriptors *made, uint32_t object,
                           const struct crestart_address *address) {
    const char *directory = crestart_member_of(&made->tables, object)->directory;
    if (!is_relative(address) || directory == NULL)
        return -1;
    int back = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (back >= 0 && chdir(directory) != 0) {
        close(back);
        return -1;
    }
    return back;
}

static void leave_directory(int back) {
    if (back < 0)
        return;
    if (fchdir(back) != 0) // cannot fail: the folder is open and was entered before
        perror("fchdir");
    close(back);
}

void crestart_unix_name(const struct crestart_address *address, char text[CRESTART_UNIX_NAME]) {
    const struct sockaddr_un *name = (const struct sockaddr_un *)&address->bytes;
    size_t length = 0;
    memset(text, 0, CRESTART_UNIX_NAME);
    if (name->sun_family == AF_UNIX && address->length > offsetof(struct sockaddr_un, sun_path))
        length = address->length - offsetof(struct sockaddr_un, sun_path);
    if (length > sizeof name->sun_path)
        length = sizeof name->sun_path;
    memcpy(text, name->sun_path, length);
}

// A socket file outlives its program. It is in nobody's use when connecting to it is refused.
static bool remove_stale(const struct crestart_address *address) {
    char path[CRESTART_UNIX_NAME];
    struct stat status;
    crestart_unix_name(address, path);
    if (path[0] == '\0' || lstat(path, &status) != 0 || !S_ISSOCK(status.st_mode))
        return false;
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    for (size_t i = 0; i < 3; i++) {
        int probe = socket(AF_UNIX, types[i] | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int result = connect(probe, (const struct sockaddr *)&address->bytes, address->length);
        int error = errno;
        close(probe);
        if (result == 0 || (error != ECONNREFUSED && error != EPROTOTYPE))
            return false;
    }
    return unlink(path) == 0;
}

// As it was when the program was saved: bind has made it with this command's umask.
static void set_file_mode(const struct scp_object *entry, const struct crestart_address *address) {
    char path[CRESTART_UNIX_NAME];
    crestart_unix_name(address, path);
    if (path[0] != '\0' && entry->value[SCP_SOCKET_FILE_MODE] != 0)
        chmod(path, (mode_t)entry->value[SCP_SOCKET_FILE_MODE] & 0777);
}

int crestart_bind(struct crestart_descriptors *made, uint32_t object, const struct crestart_address *address,
                  int descriptor) {
    int back = enter_directory(made, object, address), result = 0;
    const struct sockaddr *name = (const struct sockaddr *)&address->bytes;
    if (bind(descriptor, name, address->length) != 0) {
        result = -errno;
        if (result == -EADDRINUSE && remove_stale(address))
            result = bind(descriptor, name, address->length) == 0 ? 0 : -errno;
    }
    if (result == 0)
        set_file_mode(&made->tables.objects[object], address);
    leave_directory(back);
    return result;
}

int crestart_connect(struct crestart_descriptors *made, uint32_t object, const struct crestart_address *address,
                     int descriptor) {
    int back = enter_directory(made, object, address);
    int result = connect(descriptor, (const struct sockaddr *)&address->bytes, address->length) == 0 ? 0 : -errno;
    leave_directory(back);
    return result;
}
