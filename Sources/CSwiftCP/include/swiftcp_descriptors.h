// How an image records descriptors: numbers (scp_descriptor) that refer to open file descriptions (scp_object).
// Bump SCP_FORMAT_VERSION when a record changes its size or a field its meaning.
#ifndef SWIFTCP_DESCRIPTORS_H
#define SWIFTCP_DESCRIPTORS_H

#include <stdint.h>

enum scp_object_kind {
    SCP_OBJECT_FILE = 1, // regular file; path, position
    SCP_OBJECT_DIRECTORY = 2, // position = directory offset
    SCP_OBJECT_DEVICE = 3, // /dev/null, zero, full, random, urandom (rdev says which)
    // Leads out, when no image has its master: replaced as --tty says. value[0] = 1: opened as /dev/tty; value[1] = device
    // number of the terminal itself (TIOCGDEV), 0 = not known
    SCP_OBJECT_TERMINAL = 4,
    SCP_OBJECT_PIPE = 5, // an end of an unnamed pipe whose ends are inside or gone, see scp_pipe_value
    SCP_OBJECT_FIFO = 6, // the same with a path
    SCP_OBJECT_SOCKET_PAIR = 7, // connected socket whose peer is inside or gone, see scp_socket_value
    SCP_OBJECT_SOCKET = 8, // any other socket: listening, bound, fresh; see scp_socket_value
    SCP_OBJECT_EVENTFD = 9, // value[0] = count, value[1] = 1 for EFD_SEMAPHORE
    SCP_OBJECT_EPOLL = 10, // its entries are scp_watch records
    SCP_OBJECT_TIMERFD = 11, // see scp_timerfd_value
    SCP_OBJECT_SIGNALFD = 12, // value[0] = mask, bit n-1 = signal n
    SCP_OBJECT_INOTIFY = 13, // its watches are scp_watch records; the shim adds them again itself
    SCP_OBJECT_MEMFD = 14, // value[0] = seals, value[1] = MFD_* for memfd_create; path = name; blob = content
    SCP_OBJECT_PIDFD = 15, // value[0] = pid, value[1] = PIDFD_* flags of pidfd_open
    SCP_OBJECT_OUTSIDE =
        16, // pipe, FIFO or socket that leads out of the computation (mode says which; values as there)
    SCP_OBJECT_PATH = 17, // O_PATH: path alone
    SCP_OBJECT_TERMINAL_MASTER = 18, // value[0] = number of the terminal; blob: struct scp_terminal_head and so on
    SCP_OBJECT_TERMINAL_SLAVE = 19, // in no image: a TERMINAL whose master is in one of the set
    SCP_OBJECT_MESSAGE_QUEUE = 20, // POSIX; path = name, mode; blob: scp_queue_message; see scp_queue_value
};
enum scp_object_flag {
    SCP_OBJECT_DELETED = 1u << 0, // the file has no name (or another file has it): the blob holds the content
    SCP_OBJECT_HAS_CONTENT = 1u << 1, // blob holds the content
    SCP_OBJECT_WRITE_END = 1u << 2, // pipe: a write end
    SCP_OBJECT_PACKETS = 1u << 3, // the blob is a row of scp_packet, else plain bytes
    SCP_OBJECT_PSEUDO = 1u << 4, // file of procfs, sysfs, …: size, time and inode mean nothing
    SCP_OBJECT_IN_FLIGHT = 1u << 5, // has no number: stands in a socket's queue alone
    SCP_OBJECT_NEVER_WRITER = 1u << 6, // FIFO read end that has not met a writer yet
    SCP_OBJECT_LINKED_ELSEWHERE = 1u << 7, // with DELETED: the inode still has some other name
    SCP_OBJECT_BORROWED =
        1u << 8, // the object of equal identity in another image of the generation is the complete one
    // Pipe, FIFO, connected socket of a generation of several processes: its other end is open, but not in this process. If
    // no image has it (pipe: same inode, other end; Unix: SCP_SOCKET_PEER; TCP: the addresses) it leads outside, as if its
    // kind were SCP_OBJECT_OUTSIDE (a FIFO with SCP_OBJECT_NEVER_WRITER: nobody has opened it for writing).
    SCP_OBJECT_ELSEWHERE = 1u << 9,
    SCP_OBJECT_WHEN_MISSING =
        1u
        << 10, // with HAS_CONTENT: it counts only if the file is missing or shorter, or (when it is written) another one
    // With IN_FLIGHT and BORROWED, identity 0: another process has the description under a number, see scp_held_value.
    SCP_OBJECT_HELD = 1u << 11,
};
enum scp_held_value {
    SCP_HELD_BY = 0, // pid, as the process sees itself
    SCP_HELD_NUMBER = 1,
};
enum scp_pipe_value {
    SCP_PIPE_ID = 0, // inode: equal for all ends of one pipe
    SCP_PIPE_SIZE = 1, // F_GETPIPE_SZ, bytes; the first object of a pipe holds the blob with what stands in it
};
enum scp_socket_value {
    SCP_SOCKET_DOMAIN = 0,
    SCP_SOCKET_TYPE = 1,
    SCP_SOCKET_PROTOCOL = 2,
    SCP_SOCKET_STATE = 3, // enum scp_socket_state
    SCP_SOCKET_BACKLOG = 4, // listening: as given to listen()
    SCP_SOCKET_SHUTDOWN = 5, // bit 0: receiving, bit 1: sending
    SCP_SOCKET_ID = 6, // own inode
    SCP_SOCKET_PEER = 7, // the peer's inode, 0 = none or gone
    SCP_SOCKET_FLAGS = 8, // enum scp_socket_flag
    SCP_SOCKET_FILE_MODE = 9, // st_mode of the socket file that it is bound to, 0 = none
};
enum scp_socket_state {
    SCP_SOCKET_UNCONNECTED = 0,
    SCP_SOCKET_LISTENING = 1,
    SCP_SOCKET_CONNECTED = 2,
    SCP_SOCKET_PEER_GONE = 3, // was connected; the other end has been closed
};
enum scp_socket_flag {
    SCP_SOCKET_RESET = 1u << 0, // ECONNRESET is due when the queue has been read
    SCP_SOCKET_ACCEPTED = 1u << 1, // the accepting end of a connection (the other one connects)
    SCP_SOCKET_STREAM_SHIFT = 8, // from this bit on: what others have in SCP_STREAM_VALUE
};
// A file, pipe or socket that was a standard stream at the launch (or of swiftcp_restart) is one still, whatever its number:
// in this value bit n says that it stood at n.
#define SCP_STREAM_VALUE 9 // of a socket: in its flags
enum scp_queue_value {
    SCP_QUEUE_MESSAGES = 0, // how many it holds at most
    SCP_QUEUE_BYTES = 1, // of a message at most
    SCP_QUEUE_SAVED_HERE = 2, // 1: this process has put the messages into its image
};
enum scp_timerfd_value {
    SCP_TIMERFD_CLOCK = 0,
    SCP_TIMERFD_TICKS = 1,
    SCP_TIMERFD_FLAGS = 2, // TFD_TIMER_* as given to timerfd_settime
    SCP_TIMERFD_VALUE = 3, // ns that were left, 0 = disarmed
    SCP_TIMERFD_INTERVAL = 4, // ns
    SCP_TIMERFD_NOW = 5, // ns, its clock when VALUE was read
};

#define SCP_NO_BLOB 0xffffffffu
// One open file description.
struct scp_object {
    uint32_t kind; // enum scp_object_kind
    uint32_t flags; // enum scp_object_flag
    uint32_t status; // F_GETFL with O_ACCMODE and O_PATH (fdinfo flags without O_CLOEXEC)
    uint32_t mode; // st_mode
    uint32_t path; // string
    uint32_t blob; // number, SCP_NO_BLOB = none
    int32_t owner; // F_GETOWN_EX pid, 0 = none
    int32_t owner_type;
    int32_t signal; // F_GETSIG
    // String of a socket: words with a blank between: n=HEX own address, p=HEX peer's address, o=LEVEL.NAME=HEX
    // an option for setsockopt, in the order in which they are to be set. HEX: two lower-case digits a byte.
    uint32_t socket;
    int64_t position; // bytes
    uint64_t size; // bytes
    uint64_t mtime; // ns
    uint64_t device, inode, rdev; // as stat(2) has them
    uint64_t value[10]; // by kind, see enum scp_object_kind
    uint64_t identity; // equal for one description in all images of a generation; 0 = this process's alone
};
_Static_assert(sizeof(struct scp_object) == 176, "object crosses a file");

// Which standard streams the object was, as bits.
static inline uint64_t scp_stream_bits(const struct scp_object *object) {
    if ((object->mode & 0170000) == 0140000 /* S_IFSOCK */)
        return object->value[SCP_SOCKET_FLAGS] >> SCP_SOCKET_STREAM_SHIFT & 7;
    return object->value[SCP_STREAM_VALUE] & 7;
}

struct scp_descriptor {
    int32_t number;
    uint32_t object; // index into the objects
    uint32_t close_on_exec; // 0 or 1
    uint32_t reserved;
};
_Static_assert(sizeof(struct scp_descriptor) == 16, "descriptor crosses a file");

// One entry of an epoll set, or one inotify watch.
struct scp_watch {
    uint32_t object; // index of the epoll or inotify object
    int32_t target; // epoll: descriptor number it was added under; inotify: watch descriptor
    uint32_t events; // epoll events or inotify mask
    uint32_t path; // inotify: string
    uint64_t data; // epoll
    int32_t target_object; // epoll: index of the object watched (which may have left the number), -1 = none found
    uint32_t reserved;
};
_Static_assert(sizeof(struct scp_watch) == 32, "watch crosses a file");

enum scp_lock_kind { SCP_LOCK_POSIX = 1, SCP_LOCK_OPEN_FILE = 2, SCP_LOCK_FLOCK = 3, SCP_LOCK_LEASE = 4 };
struct scp_lock {
    uint32_t kind; // enum scp_lock_kind
    int32_t type; // F_RDLCK or F_WRLCK (flock: LOCK_SH or LOCK_EX)
    uint32_t object; // index into the objects
    int32_t number; // POSIX: a descriptor of that file
    int64_t start, length; // bytes, length 0 = to the end
};
_Static_assert(sizeof(struct scp_lock) == 32, "lock crosses a file");

// One message in a blob with SCP_OBJECT_PACKETS: this header, the sender's address, the objects in flight (uint32_t
// indices), the payload; then zero bytes up to the next multiple of 8.
struct scp_packet {
    uint32_t length; // bytes of payload
    uint32_t address_length; // bytes of struct sockaddr, 0 = none
    uint32_t rights; // how many objects
    uint32_t flags; // enum scp_packet_flag
    int32_t credentials[3]; // pid, uid, gid; pid 0 = none were attached
    uint32_t reserved;
};
_Static_assert(sizeof(struct scp_packet) == 32, "packet crosses a file");
// One message of a POSIX queue: this header, the payload; then zero bytes up to the next multiple of 8. The first is the one
// that comes out first.
struct scp_queue_message {
    uint32_t length; // bytes of payload
    uint32_t priority;
};
_Static_assert(sizeof(struct scp_queue_message) == 8, "message crosses a file");
enum scp_packet_flag { SCP_PACKET_URGENT = 1u << 0 }; // sent with MSG_OOB

#endif
