// System calls and macros that Swift's Glibc module does not import, one thin function each.
// All return what the system call returns, or -errno on failure; none prints, allocates or locks.
#ifndef SWIFTCP_SYS_H
#define SWIFTCP_SYS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// xxh3_64 of length bytes, with a seed (the library's XXH3_64bits_withSeed).
uint64_t scp_xxh3(const void *bytes, size_t length, uint64_t seed);
// The checksum of a block's stored bytes (at most SCP_BLOCK_MAXIMUM), as swiftcp_format.h defines it.
uint64_t scp_block_checksum(const void *bytes, size_t length);

// ---- files ---------------------------------------------------------------------------------------------------------

// open(2) with O_CLOEXEC. Returns the descriptor or -errno.
int scp_open(const char *path, int flags, uint32_t mode);

// What stat(2) tells, with fixed widths. Times in ns since the epoch.
struct scp_stat {
    uint64_t device, inode, rdev;
    int64_t size; // bytes
    uint64_t blocks; // of 512 bytes
    uint64_t mtime, ctime;
    uint32_t mode, uid, gid, links;
};
int scp_stat(const char *path, struct scp_stat *out);
int scp_lstat(const char *path, struct scp_stat *out);
int scp_fstat(int descriptor, struct scp_stat *out);
// renameat2(2); flags: 0, or 1 = fail with -EEXIST instead of replacing (RENAME_NOREPLACE).
int scp_rename(const char *from, const char *to, uint32_t flags);
// flock(2) LOCK_EX|LOCK_NB: 0, or -EWOULDBLOCK when another open file description holds it.
int scp_lock_exclusive(int descriptor);
int scp_set_close_on_exec(int descriptor, int on);
int scp_set_nonblocking(int descriptor, int on);
// F_DUPFD_CLOEXEC: the lowest free number >= minimum.
int scp_duplicate(int descriptor, int minimum);
int scp_pipe(int ends[2]); // O_CLOEXEC; ends[0] is read from

// ---- sockets -------------------------------------------------------------------------------------------------------

struct scp_peer {
    int32_t pid;
    uint32_t uid, gid;
};
// All sockets are stream sockets with CLOEXEC. The results are descriptors or -errno.
// Connects within limit_ms (-EAGAIN when the listener does not take the connection in time); non-blocking from then on.
int scp_unix_connect(const char *path, int limit_ms);
int scp_unix_bind(const char *path); // bound, not yet listening
int scp_tcp_connect(const char *host, uint16_t port, int limit_ms, char *error_text, size_t error_size);
int scp_listen(int descriptor, int backlog);
int scp_accept(int descriptor); // CLOEXEC and non-blocking
// Who stands at the other end of a Unix socket (SO_PEERCRED, in the caller's pid namespace; pid 0 = not visible here).
int scp_peer_credentials(int descriptor, struct scp_peer *out);
// send(2) with MSG_NOSIGNAL.
int64_t scp_send(int descriptor, const void *bytes, size_t length);
// poll(2) of one descriptor: the returned events, 0 when limit_ms (-1 = none) has passed.
int scp_poll(int descriptor, int events, int limit_ms);

// ---- event loop ----------------------------------------------------------------------------------------------------

struct scp_event {
    uint32_t events; // EPOLLIN …
    uint32_t reserved;
    uint64_t data;
};
int scp_epoll_create(void);
// operation: 1 = add, 2 = remove, 3 = change (EPOLL_CTL_*).
int scp_epoll_control(int epoll, int operation, int descriptor, uint32_t events, uint64_t data);
int scp_epoll_wait(int epoll, struct scp_event *out, int capacity, int limit_ms);
// Blocks the signals in this thread and returns a non-blocking signalfd for them.
int scp_signalfd(const int *signals, size_t count);
// Signal number of the next pending one, 0 = none.
int scp_signalfd_read(int descriptor);
int scp_timerfd_create(void); // CLOCK_MONOTONIC, non-blocking
// One shot at an absolute CLOCK_MONOTONIC time in ns; 0 disarms.
int scp_timerfd_set(int descriptor, int64_t at);
// CLOCK_MONOTONIC and CLOCK_REALTIME in ns.
int64_t scp_monotonic(void);
int64_t scp_realtime(void);

// ---- processes -----------------------------------------------------------------------------------------------------

// pidfd_open(2), close-on-exec; readable when the process has ended.
int scp_pidfd_open(int32_t pid);
// pidfd_send_signal(2).
int scp_pidfd_signal(int descriptor, int signal);
// kcmp(2) of two open file descriptions, each by a descriptor of a process: 0 = the same, 1 = the first is less, 2 = it is
// greater (a total order as long as both are open), or -errno.
int scp_compare_files(int32_t pid, int32_t descriptor, int32_t other_pid, int32_t other_descriptor);
struct scp_process_entry {
    uint64_t inode; // of /proc/PID: another one when the pid has been used again
    int32_t pid;
    int32_t reserved;
};
// The processes that /proc shows, in its order. Returns how many there are (more than capacity: out is incomplete).
int scp_list_processes(struct scp_process_entry *out, size_t capacity);
// Raises the soft limit of open descriptors to the hard one. Returns 0 or -errno.
int scp_raise_descriptor_limit(void);
// fork(2) for a process with one thread. 0 in the child, its pid in the parent.
int scp_fork(void);
// Makes the process a session leader without a terminal, in /, with /dev/null on 0 to 2.
int scp_detach(void);
// Closes every descriptor from `first` on, but `kept` (-1 = none).
int scp_close_from(int first, int kept);

#endif
