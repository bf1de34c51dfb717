// What leads out of the computation: terminals and the standard streams of a shell or batch system. swiftcp_restart's own
// descriptor takes the place; anything else that led outside becomes an end whose other end has gone.
#include "descriptors_internal.h"

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>

static int take(struct crestart_descriptors *made, uint32_t object, int descriptor) {
    if (descriptor < 0)
        return crestart_fail(made->message, errno, "%s cannot be replaced by a descriptor of this command",
                             crestart_name(&made->tables, object));
    made->working[object] = descriptor;
    return 0;
}

static int open_null(const struct scp_object *entry) {
    return open("/dev/null", (int)(entry->status & O_ACCMODE) | O_CLOEXEC);
}

// A description of its own, so that the program's O_NONBLOCK does not fall on the shell as well. A file keeps its
// position with its description and is shared.
static int second_description(const struct scp_object *entry, int descriptor) {
    struct stat status;
    int access = fcntl(descriptor, F_GETFL) & O_ACCMODE, result = -1;
    if (fstat(descriptor, &status) != 0)
        return open_null(entry); // this command was started without it
    if (isatty(descriptor))
        result = crestart_reopen(descriptor, (int)(entry->status & (O_ACCMODE | O_NONBLOCK | O_APPEND)));
    else if (S_ISFIFO(status.st_mode) && (entry->status & O_NONBLOCK))
        result = crestart_reopen(descriptor, access | O_NONBLOCK);
    return result >= 0 ? result : fcntl(descriptor, F_DUPFD_CLOEXEC, 3);
}

static int controlling_terminal(const struct scp_object *entry) {
    for (int i = 0; i <= 2; i++)
        if (entry->value[0] != 1 && isatty(i))
            return second_description(entry, i);
    int descriptor = open("/dev/tty", crestart_open_flags(entry));
    return descriptor >= 0 ? descriptor : open_null(entry);
}

int crestart_make_terminal(struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    int32_t number = made->lowest[object];
    if (made->options.terminal == CRESTART_TERMINAL_NONE)
        return take(made, object, open_null(entry));
    if (made->options.terminal == CRESTART_TERMINAL_KEEP && entry->value[0] != 1) {
        char path[4096];
        int result = crestart_map_path(&made->options, crestart_string(&made->tables, entry->path), path, sizeof path);
        int descriptor = result == 0 ? open(path, crestart_open_flags(entry)) : -1;
        return take(made, object, descriptor);
    }
    if (number >= 0 && number <= 2)
        return take(made, object, second_description(entry, number));
    return take(made, object, controlling_terminal(entry));
}

int crestart_make_outside(struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    int number = crestart_stream(made, object);
    if (number >= 0)
        return take(made, object, second_description(entry, number));
    return S_ISSOCK(entry->mode) ? crestart_make_reset(made, object) : crestart_make_pipe(made, object);
}

// ---- how the program had set its terminal ------------------------------------------------------------------------------

static bool read_settings(const char *text, unsigned char out[36]) {
    unsigned byte;
    if (strncmp(text, "t=", 2) != 0)
        return false;
    for (int i = 0; i < 36; i++) {
        if (sscanf(text + 2 + 2 * i, "%2x", &byte) != 1)
            return false;
        out[i] = (unsigned char)byte;
    }
    return true;
}

// Modes come back; speeds and special characters are the new terminal's own, but for the two that raw reading needs.
static void merge_settings(struct termios *now, const unsigned char old[36]) {
    uint32_t flags[4];
    memcpy(flags, old, sizeof flags); // input, output, control, local
    now->c_iflag = flags[0];
    now->c_oflag = flags[1];
    now->c_lflag = flags[3];
    if (flags[3] & ICANON)
        return;
    now->c_cc[VMIN] = old[17 + VMIN];
    now->c_cc[VTIME] = old[17 + VTIME];
}

void crestart_set_terminal(struct crestart_descriptors *made) {
    for (uint32_t i = 0; i < made->tables.object_count; i++) {
        const struct scp_object *entry = &made->tables.objects[i];
        unsigned char old[36];
        struct termios now;
        int descriptor = made->working[i];
        // From the background this would stop us, and spoil the line editing of the shell.
        if (entry->kind != SCP_OBJECT_TERMINAL || descriptor < 0 ||
            !read_settings(crestart_string(&made->tables, entry->socket), old) || tcgetpgrp(descriptor) != getpgrp() ||
            tcgetattr(descriptor, &now) != 0)
            continue;
        merge_settings(&now, old);
        tcsetattr(descriptor, TCSANOW, &now);
        return;
    }
}
