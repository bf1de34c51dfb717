// Pseudo-terminals whose master is inside: made under their old numbers where these are free, filled, handed out.
//
// Numbers are given lowest free first, so that terminals are opened until the wanted ones have come; the others are closed
// again. Nothing else than this process and the new ones ever sees a number of theirs that it should not.
#include "call.h"
#include "descriptors_internal.h"

#include <linux/major.h>
#include <sys/sysmacros.h>

#include "swiftcp_terminal.h"

static bool is_master(const struct scp_object *object) {
    return object->kind == SCP_OBJECT_TERMINAL_MASTER;
}

static int open_master(uint32_t *number) {
    int none = 0, master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (master < 0)
        return -errno;
    if (ioctl(master, TIOCGPTN, number) == 0 && ioctl(master, TIOCSPTLCK, &none) == 0)
        return master;
    int error = errno;
    close(master);
    return -error;
}

// ---- numbers ------------------------------------------------------------------------------------------------------------

struct opening {
    struct crestart_descriptors *made;
    int *spare; // masters with numbers that nobody wants
    size_t spare_count, spare_room;
    uint32_t missing; // masters without a terminal
};

static bool give(struct opening *opening, uint32_t number, int master) {
    for (uint32_t i = 0; i < opening->made->tables.object_count; i++) {
        const struct scp_object *entry = &opening->made->tables.objects[i];
        if (!is_master(entry) || entry->value[0] != number || opening->made->working[i] >= 0)
            continue;
        opening->made->working[i] = master;
        opening->missing--;
        return true;
    }
    return false;
}

static int keep_spare(struct opening *opening, int master) {
    if (opening->spare_count == opening->spare_room) {
        size_t room = opening->spare_room * 2 + 64;
        int *larger = realloc(opening->spare, room * sizeof *larger);
        if (larger == NULL)
            return -ENOMEM;
        opening->spare = larger;
        opening->spare_room = room;
    }
    opening->spare[opening->spare_count++] = master;
    return 0;
}

// Until all have come, or a number above them says that the missing ones are taken.
static int open_numbers(struct opening *opening, uint64_t highest) {
    while (opening->missing > 0) {
        uint32_t number = 0;
        int master = open_master(&number);
        if (master == -EMFILE || master == -ENFILE || master == -ENOSPC)
            return 0; // too many below it are in use
        if (master < 0)
            return master;
        if (give(opening, number, master))
            continue;
        int result = keep_spare(opening, master);
        if (result != 0)
            close(master);
        if (result != 0 || number > highest)
            return result;
    }
    return 0;
}

// Another number for those whose own is taken.
static int open_others(struct opening *opening) {
    struct crestart_descriptors *made = opening->made;
    for (uint32_t i = 0; i < made->tables.object_count && opening->missing > 0; i++) {
        uint32_t number = 0;
        if (!is_master(&made->tables.objects[i]) || made->working[i] >= 0)
            continue;
        int master = opening->spare_count > 0 ? opening->spare[--opening->spare_count] : open_master(&number);
        if (master < 0)
            return master;
        if (ioctl(master, TIOCGPTN, &number) != 0)
            number = 0;
        made->working[i] = master;
        opening->missing--;
        crestart_warn(made,
                      "terminal /dev/pts/%u of the program is taken by others: it is /dev/pts/%u now; what the"
                      " program remembers of its name is out of date",
                      (unsigned)made->tables.objects[i].value[0], number);
    }
    return 0;
}

static int open_masters(struct crestart_descriptors *made) {
    struct opening opening = {.made = made};
    uint64_t highest = 0;
    for (uint32_t i = 0; i < made->tables.object_count; i++) {
        const struct scp_object *entry = &made->tables.objects[i];
        if (!is_master(entry))
            continue;
        opening.missing++;
        highest = entry->value[0] > highest ? entry->value[0] : highest;
    }
    int result = open_numbers(&opening, highest);
    if (result == 0)
        result = open_others(&opening);
    while (opening.spare_count > 0)
        close(opening.spare[--opening.spare_count]);
    free(opening.spare);
    if (result != 0)
        return crestart_fail(made->message, -result, "the program's pseudo-terminals cannot be made (/dev/ptmx)");
    return 0;
}

// ---- content ------------------------------------------------------------------------------------------------------------

// The pieces lie inside the blob and come in an order that filling understands.
static bool pieces_fit(const char *blob, uint64_t length) {
    const struct scp_terminal_head *head = (const struct scp_terminal_head *)blob;
    uint64_t at = sizeof *head;
    uint32_t last = SCP_TERMINAL_LINE;
    if (length < sizeof *head)
        return false;
    for (uint32_t i = 0; i < head->pieces; i++) {
        if (length - at < sizeof(struct scp_terminal_piece))
            return false;
        const struct scp_terminal_piece *piece = (const struct scp_terminal_piece *)(blob + at);
        uint32_t kind = piece->kind == SCP_TERMINAL_ENDED ? (uint32_t)SCP_TERMINAL_LINE : piece->kind;
        at += sizeof *piece;
        if (kind < last || kind > SCP_TERMINAL_OUTPUT || piece->length > length - at)
            return false;
        last = kind;
        at += piece->length;
        at = (at + 3) & ~3ull;
        if (at > length)
            return false;
    }
    return true;
}

// The blob of a master, NULL with the sentence in the message. The caller frees it.
static struct scp_terminal_head *read_content(struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    uint64_t length = crestart_blob_length(&made->tables, entry->blob);
    char *blob = length < 1u << 30 ? malloc(length + 1) : NULL;
    if (blob == NULL)
        crestart_fail(made->message, ENOMEM, "no memory for the content of a terminal");
    else if (crestart_blob_read(&made->tables, entry->blob, 0, blob, length) != 0 || !pieces_fit(blob, length))
        crestart_fail(made->message, EBADMSG, "%s: what the image has of the terminal is damaged",
                      crestart_name(&made->tables, object));
    else
        return (struct scp_terminal_head *)blob;
    free(blob);
    return NULL;
}

static int fill(struct crestart_descriptors *made, uint32_t object, const struct scp_terminal_head *head) {
    const struct winsize size = {head->rows, head->columns, head->width, head->height};
    int master = made->working[object], other = 0;
    bool locked;
    int slave = scp_terminal_open(master, &locked);
    if (slave < 0)
        return slave;
    ioctl(slave, TIOCSWINSZ, &size);
    fchmod(slave, head->mode & 0777);
    int result = scp_terminal_fill(master, slave, head, (const struct scp_terminal_piece *)(head + 1));
    if (result == 0)
        scp_terminal_packets(master, slave, head);
    // Open until those of the processes are: a hang-up in between would be seen by nobody, but this is simpler to trust.
    if (result != 0 || head->flags & SCP_TERMINAL_CLOSED) {
        close(slave);
    } else if (head->flags & SCP_TERMINAL_NEVER_OPENED) {
        scp_terminal_close_silently(master, slave);
        ioctl(master, TIOCSPTLCK, &other);
    } else {
        crestart_add_extra(made, object, slave);
    }
    return result;
}

int crestart_make_terminals(struct crestart_descriptors *made) {
    int result = open_masters(made);
    for (uint32_t i = 0; result == 0 && i < made->tables.object_count; i++) {
        if (!is_master(&made->tables.objects[i]))
            continue;
        struct scp_terminal_head *head = read_content(made, i);
        if (head == NULL)
            return -EBADMSG;
        made->terminal_flags[i] = head->flags;
        result = fill(made, i, head);
        free(head);
        if (result != 0)
            result = crestart_fail(made->message, -result, "%s: the content of the terminal cannot be put back",
                                   crestart_name(&made->tables, i));
    }
    return result;
}

// ---- slaves -------------------------------------------------------------------------------------------------------------

// Not with O_CLOEXEC: TIOCGPTPEER leaves it in the status flags for ever, and fdinfo then shows it of every copy.
static int open_slave(int master, int flags) {
    int lock = 0, none = 0;
    ioctl(master, TIOCGPTLCK, &lock);
    if (lock)
        ioctl(master, TIOCSPTLCK, &none);
    int slave = ioctl(master, TIOCGPTPEER, flags | O_NOCTTY), error = errno;
    if (slave >= 0)
        fcntl(slave, F_SETFD, FD_CLOEXEC);
    if (lock)
        ioctl(master, TIOCSPTLCK, &lock);
    return slave < 0 ? -error : slave;
}

static int master_of(const struct crestart_descriptors *made, uint64_t number) {
    for (uint32_t i = 0; i < made->tables.object_count; i++)
        if (is_master(&made->tables.objects[i]) && made->tables.objects[i].value[0] == number)
            return made->working[i];
    return -1;
}

int crestart_make_slave(struct crestart_descriptors *made, uint32_t object) {
    const struct scp_object *entry = &made->tables.objects[object];
    int slave = open_slave(master_of(made, entry->value[0]), (int)entry->status & (O_ACCMODE | O_NONBLOCK | O_APPEND));
    if (slave < 0)
        return crestart_fail(made->message, -slave, "%s cannot be opened again", crestart_name(&made->tables, object));
    made->working[object] = slave;
    return 0;
}

// What would have hindered until now, and what only the last close may show.
void crestart_seal_terminals(struct crestart_descriptors *made) {
    for (uint32_t i = 0; i < made->tables.object_count; i++) {
        int lock = 1, master = made->working[i];
        if (!is_master(&made->tables.objects[i]) || master < 0)
            continue;
        if (made->terminal_flags[i] & SCP_TERMINAL_EXCLUSIVE) {
            int slave = open_slave(master, O_RDWR | O_NONBLOCK);
            if (slave >= 0) {
                ioctl(slave, TIOCEXCL);
                close(slave);
            }
        }
        if (made->terminal_flags[i] & SCP_TERMINAL_LOCKED)
            ioctl(master, TIOCSPTLCK, &lock);
    }
}

// ---- in a new process ---------------------------------------------------------------------------------------------------

int crestart_terminal_acquire(const struct crestart_descriptors *made, uint64_t number) {
    int master = master_of(made, number);
    if (master < 0)
        return -ENXIO;
    long slave = crestart_call3(SYS_ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (slave < 0)
        return (int)slave;
    long result = crestart_call3(SYS_ioctl, slave, TIOCSCTTY, 0);
    crestart_call1(SYS_close, slave);
    return (int)result;
}

int crestart_terminal_foreground(const struct crestart_descriptors *made, uint64_t number, uint32_t group) {
    int master = master_of(made, number), wanted = (int)group;
    if (master < 0)
        return -ENXIO;
    return (int)crestart_call3(SYS_ioctl, master, TIOCSPGRP, crestart_pointer(&wanted));
}
