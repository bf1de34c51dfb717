// Masters of pseudo-terminals: number, settings, and what waits for either side.
//
// A terminal does not let anybody look: what it holds is read, by the owner of the master, and put back at once, all its
// users being parked. Lines are read as lines, the beginning of one as raw bytes, then what is for the master. Nothing of it is
// processed or echoed again (swiftcp_terminal.h).
#include "descriptors.h"

#include <linux/major.h>
#include <sys/sysmacros.h>

#include "swiftcp_terminal.h"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif
#define TAKEN_MAXIMUM (4u << 20) // bytes; the kernel holds 70 KB each way

struct look {
    struct scp_descriptor_work *work;
    int master, slave;
    bool locked, closed;
    int foreground; // group that had the terminal before this process took it; 0 = it did not have to
    struct scp_terminal_head head;
    struct scp_vector pieces; // bytes
};

// ---- taking out --------------------------------------------------------------------------------------------------------

static int add_piece(struct look *look, enum scp_terminal_piece_kind kind, const char *bytes, size_t length) {
    struct scp_terminal_piece piece = {kind, (uint32_t)length};
    int result = scp_vector_append(&look->pieces, &piece, sizeof piece);
    if (result == 0)
        result = scp_vector_append(&look->pieces, bytes, length);
    if (result == 0)
        result = scp_vector_append(&look->pieces, "\0\0\0", (4 - length % 4) % 4);
    if (result == 0)
        look->head.pieces++;
    return look->pieces.count > TAKEN_MAXIMUM ? -EFBIG : result;
}

static bool ends_line(const struct look *look, char last) {
    const uint8_t *special = look->head.settings.characters;
    return last == '\n' || (last != 0 && ((uint8_t)last == special[VEOL] || (uint8_t)last == special[VEOL2]));
}

static int take_lines(struct look *look) {
    char *buffer = look->work->buffer;
    long got;
    int result = 0;
    while (result == 0 && (got = scp_call(SYS_read, look->slave, buffer, SCP_COPY_BYTES)) >= 0)
        result = add_piece(look, got > 0 && ends_line(look, buffer[got - 1]) ? SCP_TERMINAL_LINE : SCP_TERMINAL_ENDED,
                           buffer, (size_t)got);
    return result != 0 ? result : got == -EAGAIN ? 0 : (int)got;
}

// As much as there is, or `most` bytes.
static int take_bytes(struct look *look, int terminal, enum scp_terminal_piece_kind kind, size_t most) {
    long got = 0;
    int result = 0;
    while (result == 0 && most > 0) {
        got = scp_call(SYS_read, terminal, look->work->buffer, most < SCP_COPY_BYTES ? most : SCP_COPY_BYTES);
        if (got <= 0)
            break;
        result = add_piece(look, kind, look->work->buffer, (size_t)got);
        most -= (size_t)got;
    }
    return result != 0 || got >= 0 || got == -EAGAIN ? result : (int)got;
}

// Raw, but a terminal that Ctrl+S has stopped stays so: without IXON it would go on.
static struct scp_terminal_settings raw_settings(const struct look *look) {
    const struct scp_terminal_settings *own = &look->head.settings;
    struct scp_terminal_settings raw = scp_terminal_quiet(own);
    raw.local &= ~(uint32_t)(ICANON | EXTPROC);
    raw.input = own->input & IXON;
    raw.characters[VSTOP] = own->characters[VSTOP];
    raw.characters[VSTART] = own->characters[VSTART];
    return raw;
}

// When the line discipline is full, more may wait that it has not looked at: reading makes room, and then it would.
static int take_input(struct look *look) {
    struct scp_terminal_settings raw = raw_settings(look);
    int there = 0, result;
    if (scp_terminal_in_lines(&look->head.settings)) {
        result = take_lines(look);
        if (result == 0)
            result = (int)scp_terminal_change(look->slave, &raw);
        return result == 0 ? take_bytes(look, look->slave, SCP_TERMINAL_PART, SIZE_MAX) : result;
    }
    result = (int)scp_call(SYS_ioctl, look->slave, FIONREAD, &there);
    if (result != 0 || (uint32_t)there < SCP_TERMINAL_ROOM)
        return result != 0 ? result : take_bytes(look, look->slave, SCP_TERMINAL_RAW, SIZE_MAX);
    result = (int)scp_terminal_change(look->slave, &raw);
    if (result == 0)
        result = take_bytes(look, look->slave, SCP_TERMINAL_RAW, (size_t)there);
    return result == 0 ? take_bytes(look, look->slave, SCP_TERMINAL_UNSEEN, SIZE_MAX) : result;
}

// With nothing waiting for the master the slave can be written to, unless it has been stopped. Settings without IXON let
// it go, if it was stopped by a character.
static void start_again(struct look *look) {
    struct scp_terminal_settings quiet = scp_terminal_quiet(&look->head.settings);
    if (scp_terminal_events(look->slave, POLLOUT, 0) & POLLOUT)
        return;
    look->head.flags |= SCP_TERMINAL_STOPPED;
    scp_terminal_change(look->slave, &quiet);
    if (scp_terminal_events(look->slave, POLLOUT, 0) & POLLOUT)
        return;
    look->head.flags ^= SCP_TERMINAL_STOPPED | SCP_TERMINAL_STOPPED_BY_CALL;
    scp_call(SYS_ioctl, look->slave, TCXONC, TCOON);
}

static int take_all(struct look *look) {
    int result = take_input(look);
    if (result == 0)
        result = take_bytes(look, look->master, SCP_TERMINAL_OUTPUT, SIZE_MAX);
    start_again(look);
    return result == 0 ? take_bytes(look, look->master, SCP_TERMINAL_OUTPUT, SIZE_MAX) : result;
}

// ---- around it ---------------------------------------------------------------------------------------------------------

// Only its foreground may read from its terminal.
static void come_forward(struct look *look) {
    int foreground = 0, own = (int)scp_call(SYS_getpgid, 0);
    if (scp_call(SYS_ioctl, look->slave, TIOCGPGRP, &foreground) != 0 || foreground == own || foreground <= 0)
        return;
    if (scp_call(SYS_ioctl, look->slave, TIOCSPGRP, &own) == 0)
        look->foreground = foreground;
}

// Whoever has an exclusive terminal open may end that, nobody else can open it.
static void end_exclusive(struct look *look, uint64_t number) {
    for (uint32_t i = 0; i < look->work->entries.count; i++) {
        const struct scp_entry *entry = scp_entry_at(look->work, i);
        if (entry->in_flight || entry->rdev != makedev(UNIX98_PTY_SLAVE_MAJOR, (unsigned)number))
            continue;
        long slave = scp_call(SYS_pidfd_getfd, look->work->pidfd, entry->number, 0);
        scp_call(SYS_ioctl, slave, TIOCNXCL);
        scp_call(SYS_close, slave);
        look->head.flags |= SCP_TERMINAL_EXCLUSIVE;
        return;
    }
}

static int open_slave(struct look *look, uint64_t number) {
    struct stat status;
    struct winsize size = {0, 0, 0, 0};
    int exclusive = 0;
    look->closed = scp_terminal_events(look->master, 0, 0) & POLLHUP;
    look->slave = scp_terminal_open(look->master, &look->locked);
    if (look->slave == -EBUSY) {
        end_exclusive(look, number);
        look->slave = scp_terminal_open(look->master, &look->locked);
    }
    if (look->slave < 0)
        return look->slave;
    if (scp_call(SYS_ioctl, look->slave, TIOCGEXCL, &exclusive) == 0 && exclusive)
        look->head.flags |= SCP_TERMINAL_EXCLUSIVE;
    if (scp_call(SYS_fstat, look->slave, &status) == 0)
        look->head.mode = status.st_mode & 07777;
    scp_call(SYS_ioctl, look->slave, TIOCGWINSZ, &size);
    look->head.rows = size.ws_row;
    look->head.columns = size.ws_col;
    look->head.width = size.ws_xpixel;
    look->head.height = size.ws_ypixel;
    look->head.flags |= (look->closed ? SCP_TERMINAL_CLOSED : 0) | (look->locked ? SCP_TERMINAL_LOCKED : 0);
    return (int)scp_call(SYS_ioctl, look->slave, SCP_TERMINAL_GET, &look->head.settings);
}

// A hang-up that was not there before says that nobody but us has ever had the slave open.
static void close_slave(struct look *look) {
    bool ignored;
    if (look->foreground != 0)
        scp_call(SYS_ioctl, look->slave, TIOCSPGRP, &look->foreground);
    if (look->head.flags & SCP_TERMINAL_EXCLUSIVE)
        scp_call(SYS_ioctl, look->slave, TIOCEXCL);
    scp_call(SYS_close, look->slave);
    if (!look->closed && scp_terminal_events(look->master, 0, 0) & POLLHUP) {
        look->head.flags |= SCP_TERMINAL_NEVER_OPENED;
        int slave = scp_terminal_open(look->master, &ignored);
        if (slave >= 0)
            scp_terminal_close_silently(look->master, slave);
    }
    scp_terminal_lock(look->master, look->locked);
}

// The settings that only the administrator may lock would stand in our way.
static int check_plain(const struct look *look) {
    unsigned char locked[64] = {0};
    scp_call(SYS_ioctl, look->slave, TIOCGLCKTRMIOS, locked);
    for (size_t i = 0; i < sizeof locked; i++)
        if (locked[i] != 0)
            return -ENOTSUP;
    return look->head.settings.discipline == 0 ? 0 : -ENOTSUP;
}

static int look_inside(struct look *look, uint64_t number) {
    int packets = 0, off = 0;
    int result = open_slave(look, number);
    if (look->slave < 0)
        return result;
    if (result == 0)
        result = check_plain(look);
    if (result == 0) {
        come_forward(look);
        if (scp_call(SYS_ioctl, look->master, TIOCGPKT, &packets) == 0 && packets) {
            unsigned char status;
            look->head.flags |= SCP_TERMINAL_PACKETS;
            if (scp_terminal_events(look->master, POLLPRI, 0) & POLLPRI &&
                scp_call(SYS_read, look->master, &status, 1) == 1)
                look->head.status = status;
            scp_call(SYS_ioctl, look->master, TIOCPKT, &off);
        }
        result = take_all(look);
        int filled = scp_terminal_fill(look->master, look->slave, &look->head, look->pieces.base);
        scp_terminal_packets(look->master, look->slave, &look->head);
        result = result != 0 ? result : filled;
    }
    close_slave(look);
    return result;
}

static int put_blob(struct look *look, struct scp_object *object) {
    struct scp_checkpoint *checkpoint = look->work->checkpoint;
    int64_t blob = scp_blob_begin(checkpoint);
    if (blob < 0)
        return (int)blob;
    int result = scp_blob_append(checkpoint, &look->head, sizeof look->head);
    if (result >= 0)
        result = scp_blob_append(checkpoint, look->pieces.base, look->pieces.count);
    blob = scp_blob_end(checkpoint);
    if (result < 0 || blob < 0)
        return result < 0 ? result : (int)blob;
    object->blob = (uint32_t)blob;
    object->flags |= SCP_OBJECT_HAS_CONTENT;
    return 0;
}

// The master's description may block, and there is no second one of it.
static int look_at(struct look *look, uint64_t number) {
    long flags = scp_call(SYS_fcntl, look->master, F_GETFL);
    int result = scp_vector_open(&look->pieces, 1, SCP_PAGE);
    if (result != 0)
        return result;
    if (!(flags & O_NONBLOCK))
        scp_call(SYS_fcntl, look->master, F_SETFL, flags | O_NONBLOCK);
    result = look_inside(look, number);
    if (!(flags & O_NONBLOCK))
        scp_call(SYS_fcntl, look->master, F_SETFL, flags);
    return result;
}

int scp_examine_master(struct scp_descriptor_work *work, struct scp_source *source) {
    struct scp_object *object = scp_object_at(work, source->object);
    struct look look = {.work = work, .master = source->descriptor, .slave = -1};
    int number = 0;
    object->kind = SCP_OBJECT_TERMINAL_MASTER;
    object->path = scp_string(&work->checkpoint->strings, work->link, strlen(work->link));
    long result = scp_call(SYS_ioctl, look.master, TIOCGPTN, &number);
    if (result < 0)
        return scp_refuse(work, source->object, (int)-result,
                          "is a master of a terminal that does not tell its number");
    object->value[0] = (uint64_t)number;
    if (object->flags & SCP_OBJECT_BORROWED)
        return 0;
    result = look_at(&look, (uint64_t)number);
    if (result == 0)
        result = put_blob(&look, scp_object_at(work, source->object));
    if (look.pieces.base)
        scp_vector_close(&look.pieces);
    if (result == -ENOTSUP)
        return scp_refuse(work, source->object, ENOTSUP,
                          "is the master of a terminal with locked settings (TIOCSLCKTRMIOS) or a line discipline of "
                          "its own (TIOCSETD), which cannot be saved");
    return result == 0 ? 0
                       : scp_refuse(work, source->object, (int)-result,
                                    "is the master of a terminal whose content cannot be read and put back");
}
