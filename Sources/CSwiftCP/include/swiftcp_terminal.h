// What a pseudo-terminal holds beside its descriptors, as an image has it (the blob of its master), and how it is put in:
// by the shim, which has taken it out to look at it, and by a restart, which has made a new terminal.
//
// Not part of the Swift module. Whoever includes it has scp_call (raw_call.h) before.
// Source of the behaviour: Linux drivers/tty/n_tty.c, drivers/tty/pty.c.
#ifndef SWIFTCP_TERMINAL_H
#define SWIFTCP_TERMINAL_H

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>

// The kernel's struct termios2.
struct scp_terminal_settings {
    uint32_t input, output, control, local;
    uint8_t discipline, characters[19];
    uint32_t input_speed, output_speed;
};
_Static_assert(sizeof(struct scp_terminal_settings) == 44, "termios2 of the kernel");
#define SCP_TERMINAL_GET _IOR('T', 0x2a, struct scp_terminal_settings) // TCGETS2
#define SCP_TERMINAL_SET _IOW('T', 0x2b, struct scp_terminal_settings) // TCSETS2

enum scp_terminal_flag {
    SCP_TERMINAL_CLOSED = 1u << 0, // its slave was open, and nobody has it open now: the master sees a hang-up
    SCP_TERMINAL_NEVER_OPENED = 1u << 1, // nobody has opened its slave yet
    SCP_TERMINAL_LOCKED = 1u << 2, // TIOCSPTLCK
    SCP_TERMINAL_PACKETS = 1u << 3, // TIOCPKT
    SCP_TERMINAL_EXCLUSIVE = 1u << 4, // TIOCEXCL on the slave
    SCP_TERMINAL_STOPPED = 1u << 5, // Ctrl+S
    SCP_TERMINAL_STOPPED_BY_CALL = 1u << 6, // tcflow
};
// The blob: this, then the pieces.
struct scp_terminal_head {
    uint32_t flags; // enum scp_terminal_flag
    uint32_t status; // TIOCPKT_* that the master has not read yet
    struct scp_terminal_settings settings;
    uint16_t rows, columns, width, height; // TIOCGWINSZ
    uint32_t mode; // permissions of the slave's file
    uint32_t pieces; // how many follow
};
_Static_assert(sizeof(struct scp_terminal_head) == 68, "terminal crosses a file");

enum scp_terminal_piece_kind {
    SCP_TERMINAL_LINE = 1, // for the slave: a line with its end
    SCP_TERMINAL_ENDED = 2, // for the slave: what one read gives, and no end of a line (VEOF was typed)
    SCP_TERMINAL_PART = 3, // for the slave: the beginning of a line
    SCP_TERMINAL_RAW = 4, // for the slave: bytes, not in lines
    SCP_TERMINAL_UNSEEN = 5, // for the slave: the terminal has had no room for it, and has not looked at it yet
    SCP_TERMINAL_OUTPUT = 6, // for the master
};
struct scp_terminal_piece {
    uint32_t kind; // enum scp_terminal_piece_kind
    uint32_t length; // bytes that follow; the next piece comes at the next multiple of 4
};

#define SCP_TERMINAL_ROOM 4095u // bytes of input that the line discipline holds (N_TTY_BUF_SIZE - 1)
#define SCP_TERMINAL_SAFE 4000u // of lines that are put in at once
#define SCP_TERMINAL_LIMIT_MS 3000

static inline bool scp_terminal_in_lines(const struct scp_terminal_settings *settings) {
    return (settings->local & ICANON) && !(settings->local & EXTPROC);
}

// Everything goes through as it is. Lines stay lines (a change between the two would make one line of all there is).
static inline struct scp_terminal_settings scp_terminal_quiet(const struct scp_terminal_settings *settings) {
    struct scp_terminal_settings quiet = *settings;
    quiet.input = quiet.output = 0;
    quiet.local &= ICANON | EXTPROC;
    memset(quiet.characters, 0, sizeof quiet.characters);
    quiet.characters[VMIN] = 1;
    return quiet;
}

static inline long scp_terminal_change(int terminal, const struct scp_terminal_settings *settings) {
    return scp_call(SYS_ioctl, terminal, SCP_TERMINAL_SET, settings);
}

// The events that are there after at most limit_ms.
static inline int scp_terminal_events(int terminal, int events, int limit_ms) {
    struct pollfd entry = {terminal, (short)events, 0};
    struct timespec limit = {limit_ms / 1000, limit_ms % 1000 * 1000000L};
    return scp_call(SYS_ppoll, &entry, 1, &limit, 0, 8) > 0 ? entry.revents : 0;
}

// A moment, for what the kernel's own thread does in its time. False when so many of them have gone by that it never will.
static inline bool scp_terminal_moment(int *waited) {
    struct timespec moment = {0, 200000};
    if ((*waited)++ > 5 * SCP_TERMINAL_LIMIT_MS)
        return false;
    scp_call(SYS_nanosleep, &moment, 0);
    return true;
}

// Bytes of one write: how much a terminal takes depends on it. Measured on 6.18, bytes until it is full: 13,824 or 15,360 in
// pieces of 2 KiB and more (as a program that writes much at once fills it), 20,480 up to 512, 22,048 and more of 1,000.
#define SCP_TERMINAL_PIECE 1000u

// Writes all of it to a terminal that does not block. When a terminal has room again because the kernel's own thread has taken
// what stood before it, nobody is woken (seen on 6.18: poll tells it at its end alone): so it is tried again, in smaller pieces,
// too, which may fit behind the last one.
static inline int scp_terminal_write(int terminal, const void *bytes, size_t length) {
    size_t most = SCP_TERMINAL_PIECE;
    int waited = 0;
    for (size_t done = 0; done < length;) {
        size_t wanted = length - done < most ? length - done : most;
        long put = scp_call(SYS_write, terminal, (const char *)bytes + done, wanted);
        if (put > 0) {
            done += (size_t)put;
            most = SCP_TERMINAL_PIECE;
            waited = 0;
        } else if (put < 0 && put != -EAGAIN && put != -EINTR)
            return (int)put;
        else if (put != -EINTR) {
            if (!scp_terminal_moment(&waited))
                return -ETIMEDOUT;
            most = most > 1 ? most / 2 : SCP_TERMINAL_PIECE;
        }
    }
    return 0;
}

// ---- input -----------------------------------------------------------------------------------------------------------

static inline const struct scp_terminal_piece *scp_terminal_next(const struct scp_terminal_piece *piece) {
    return (const struct scp_terminal_piece *)((const char *)(piece + 1) + ((piece->length + 3u) & ~3u));
}

// Characters with a meaning for putting lines in, none of which stands in them.
struct scp_terminal_marks {
    uint8_t next, end, stop, start;
};

static inline bool scp_terminal_choose(const struct scp_terminal_head *head, const struct scp_terminal_piece *piece,
                                       struct scp_terminal_marks *marks) {
    bool used[256] = {[0] = true, ['\n'] = true};
    uint8_t *wanted[] = {&marks->next, &marks->end, &marks->stop, &marks->start};
    size_t found = 0;
    used[head->settings.characters[VEOL]] = used[head->settings.characters[VEOL2]] = true;
    for (uint32_t i = 0; i < head->pieces; i++, piece = scp_terminal_next(piece))
        for (uint32_t k = 0; piece->kind != SCP_TERMINAL_OUTPUT && k < piece->length; k++)
            used[((const uint8_t *)(piece + 1))[k]] = true;
    for (unsigned c = 1; c < 256 && found < 4; c++)
        if (!used[c])
            *wanted[found++] = (uint8_t)c;
    return found == 4;
}

// What has been written to the master is looked at by the kernel's own thread, in its own time: a character that stops
// the output, seen to have worked, says that all before it has been. Then it is let go.
static inline int scp_terminal_await_lines(int master, int slave, const struct scp_terminal_marks *marks) {
    int result = scp_terminal_write(master, &marks->stop, 1);
    int waited = 0;
    while (result == 0 && scp_terminal_events(slave, POLLOUT, 0) & POLLOUT)
        if (!scp_terminal_moment(&waited))
            return -ETIMEDOUT;
    if (result == 0)
        result = scp_terminal_write(master, &marks->start, 1);
    if (result == 0 && !(scp_terminal_events(slave, POLLOUT, SCP_TERMINAL_LIMIT_MS) & POLLOUT))
        result = -ETIMEDOUT;
    return result;
}

static inline int scp_terminal_put_line(int master, const struct scp_terminal_head *head,
                                        const struct scp_terminal_piece *piece,
                                        const struct scp_terminal_marks *marks) {
    const uint8_t *bytes = (const uint8_t *)(piece + 1);
    const uint8_t *special = head->settings.characters;
    uint32_t plain = piece->kind == SCP_TERMINAL_LINE && piece->length > 0 ? piece->length - 1 : piece->length;
    uint8_t buffer[512];
    size_t used = 0;
    int result = 0;
    for (uint32_t i = 0; result == 0 && i < piece->length; i++) {
        bool end = bytes[i] == '\n' || (bytes[i] && (bytes[i] == special[VEOL] || bytes[i] == special[VEOL2]));
        if (i < plain && end)
            buffer[used++] = marks->next;
        buffer[used++] = bytes[i];
        if (used + 3 < sizeof buffer && i + 1 < piece->length)
            continue;
        result = scp_terminal_write(master, buffer, used);
        used = 0;
    }
    return result == 0 && piece->kind == SCP_TERMINAL_ENDED ? scp_terminal_write(master, &marks->end, 1) : result;
}

// The lines up to the first for which there may be no room; *left: how many pieces are left, from *piece on.
static inline int scp_terminal_put_lines(int master, int slave, const struct scp_terminal_head *head,
                                         const struct scp_terminal_piece **piece, uint32_t *left) {
    struct scp_terminal_settings settings = scp_terminal_quiet(&head->settings);
    struct scp_terminal_marks marks;
    size_t total = 0;
    if (!scp_terminal_choose(head, *piece, &marks))
        return 0; // all 256 bytes occur: put in as if typed
    settings.local |= IEXTEN;
    settings.input |= IXON;
    settings.characters[VLNEXT] = marks.next;
    settings.characters[VEOF] = marks.end;
    settings.characters[VSTOP] = marks.stop;
    settings.characters[VSTART] = marks.start;
    settings.characters[VEOL] = head->settings.characters[VEOL];
    settings.characters[VEOL2] = head->settings.characters[VEOL2];
    int result = (int)scp_terminal_change(slave, &settings);
    for (; result == 0 && *left > 0 && (*piece)->kind <= SCP_TERMINAL_PART; --*left) {
        total += (*piece)->length + 1;
        if (total > SCP_TERMINAL_SAFE)
            break;
        result = scp_terminal_put_line(master, head, *piece, &marks);
        *piece = scp_terminal_next(*piece);
    }
    return result == 0 ? scp_terminal_await_lines(master, slave, &marks) : result;
}

static inline int scp_terminal_put_raw(int master, int slave, const struct scp_terminal_piece **piece, uint32_t *left) {
    int there = 0;
    uint32_t wanted = 0;
    int result = 0;
    for (; result == 0 && *left > 0 && (*piece)->kind == SCP_TERMINAL_RAW; --*left) {
        wanted += (*piece)->length;
        result = scp_terminal_write(master, *piece + 1, (*piece)->length);
        *piece = scp_terminal_next(*piece);
    }
    wanted = wanted < SCP_TERMINAL_ROOM ? wanted : SCP_TERMINAL_ROOM;
    int waited = 0;
    while (result == 0) {
        if ((result = (int)scp_call(SYS_ioctl, slave, FIONREAD, &there)) != 0 || (uint32_t)there >= wanted)
            return result;
        if (!scp_terminal_moment(&waited))
            return -ETIMEDOUT;
    }
    return result;
}

// ---- the whole ---------------------------------------------------------------------------------------------------------

static inline int scp_terminal_put_output(int slave, const struct scp_terminal_head *head,
                                          const struct scp_terminal_piece *piece) {
    int result = 0;
    for (uint32_t i = 0; result == 0 && i < head->pieces; i++, piece = scp_terminal_next(piece))
        if (piece->kind == SCP_TERMINAL_OUTPUT)
            result = scp_terminal_write(slave, piece + 1, piece->length);
    return result;
}

// Pieces of input that are left, as if they were just being typed.
static inline int scp_terminal_put_typed(int master, const struct scp_terminal_head *head,
                                         const struct scp_terminal_piece *piece, uint32_t left) {
    int result = 0;
    for (; result == 0 && left > 0; left--, piece = scp_terminal_next(piece)) {
        if (piece->kind == SCP_TERMINAL_OUTPUT)
            continue;
        result = scp_terminal_write(master, piece + 1, piece->length);
        if (result == 0 && piece->kind == SCP_TERMINAL_ENDED)
            result = scp_terminal_write(master, &head->settings.characters[VEOF], 1);
    }
    return result;
}

static inline int scp_terminal_stop(int master, int slave, const struct scp_terminal_head *head) {
    const uint8_t *stop = &head->settings.characters[VSTOP];
    if (head->flags & SCP_TERMINAL_STOPPED_BY_CALL)
        return (int)scp_call(SYS_ioctl, slave, TCXONC, TCOOFF);
    return (head->flags & SCP_TERMINAL_STOPPED) && *stop ? scp_terminal_write(master, stop, 1) : 0;
}

// Fills an empty terminal that is not stopped and not in packet mode: what waits for either side, settings, stop. Both
// descriptors must not block. The pieces lie inside memory of the caller (it has checked their lengths). 0 or -errno.
static inline int scp_terminal_fill(int master, int slave, const struct scp_terminal_head *head,
                                    const struct scp_terminal_piece *pieces) {
    struct scp_terminal_settings quiet = scp_terminal_quiet(&head->settings);
    const struct scp_terminal_piece *piece = pieces;
    uint32_t left = head->pieces;
    int result = (int)scp_terminal_change(slave, &quiet);
    if (result == 0 && left > 0 && piece->kind <= SCP_TERMINAL_PART)
        result = scp_terminal_put_lines(master, slave, head, &piece, &left);
    else if (result == 0 && left > 0 && piece->kind == SCP_TERMINAL_RAW)
        result = scp_terminal_put_raw(master, slave, &piece, &left);
    if (result == 0)
        result = scp_terminal_put_output(slave, head, pieces);
    int last = (int)scp_terminal_change(slave, &head->settings);
    if (result == 0)
        result = last;
    if (result == 0)
        result = scp_terminal_put_typed(master, head, piece, left);
    return result == 0 ? scp_terminal_stop(master, slave, head) : result;
}

// Packet mode, and what the master has not been told of yet, as far as it can be made to happen again.
static inline void scp_terminal_packets(int master, int slave, const struct scp_terminal_head *head) {
    struct scp_terminal_settings other = head->settings;
    int on = 1;
    if (!(head->flags & SCP_TERMINAL_PACKETS))
        return;
    scp_call(SYS_ioctl, master, TIOCPKT, &on);
    if (head->status & (TIOCPKT_DOSTOP | TIOCPKT_NOSTOP)) {
        other.input = head->status & TIOCPKT_DOSTOP ? other.input & ~(uint32_t)IXON : other.input | IXON;
        if (head->status & TIOCPKT_NOSTOP) {
            other.characters[VSTOP] = 'S' & 0x1f;
            other.characters[VSTART] = 'Q' & 0x1f;
        }
        scp_terminal_change(slave, &other);
        scp_terminal_change(slave, &head->settings);
    }
    if (head->status & TIOCPKT_START) {
        scp_call(SYS_ioctl, slave, TCXONC, TCOOFF);
        scp_call(SYS_ioctl, slave, TCXONC, TCOON);
    }
    if (head->pieces > 0)
        return; // flushing would lose what has just been put in
    if (head->status & TIOCPKT_FLUSHREAD)
        scp_call(SYS_ioctl, slave, TCFLSH, TCIFLUSH);
    if (head->status & TIOCPKT_FLUSHWRITE)
        scp_call(SYS_ioctl, slave, TCFLSH, TCOFLUSH);
}

// A descriptor of the slave that does not block and does not become anybody's terminal, whether it is locked or not.
static inline int scp_terminal_open(int master, bool *locked) {
    int lock = 0, none = 0;
    long result = scp_call(SYS_ioctl, master, TIOCGPTLCK, &lock);
    *locked = result == 0 && lock != 0;
    if (*locked)
        result = scp_call(SYS_ioctl, master, TIOCSPTLCK, &none);
    if (result == 0)
        result =
            scp_call(SYS_ioctl, master, TIOCGPTPEER, 02 | 0400 | 04000 | 02000000); // O_RDWR NOCTTY NONBLOCK CLOEXEC
    if (*locked && result < 0)
        scp_call(SYS_ioctl, master, TIOCSPTLCK, &lock);
    return (int)result;
}

static inline void scp_terminal_lock(int master, bool lock) {
    int value = lock;
    scp_call(SYS_ioctl, master, TIOCSPTLCK, &value);
}

// Closes the last descriptor of the slave as if it had never been open: a close after an open that has failed (for the
// lock) leaves no hang-up (pty_close of a terminal with TTY_IO_ERROR). Leaves it locked.
static inline void scp_terminal_close_silently(int master, int slave) {
    scp_terminal_lock(master, true);
    long extra = scp_call(SYS_ioctl, master, TIOCGPTPEER, 02 | 0400 | 04000 | 02000000);
    if (extra >= 0)
        scp_call(SYS_close, extra);
    scp_call(SYS_close, slave);
}

#endif
