// Numbers, /proc files and messages without libc: nothing here allocates from the heap, locks or touches errno.
#include <fcntl.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "shim.h"

size_t scp_decimal(char *out, uint64_t value) {
    char digits[20];
    size_t length = 0;
    do {
        digits[length++] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    for (size_t i = 0; i < length; i++)
        out[i] = digits[length - 1 - i];
    return length;
}

SCP_FORK_CODE uint64_t scp_parse_decimal(const char **cursor) {
    const char *text = *cursor;
    uint64_t value = 0;
    while (*text >= '0' && *text <= '9')
        value = value * 10 + (uint64_t)(*text++ - '0');
    *cursor = text;
    return value;
}

uint64_t scp_parse_hex(const char **cursor) {
    const char *text = *cursor;
    uint64_t value = 0;
    for (;; text++) {
        unsigned digit;
        if (*text >= '0' && *text <= '9')
            digit = (unsigned)(*text - '0');
        else if ((*text | 32) >= 'a' && (*text | 32) <= 'f')
            digit = (unsigned)((*text | 32) - 'a') + 10;
        else
            break;
        value = value << 4 | digit;
    }
    *cursor = text;
    return value;
}

// Appends what fits of the list's strings at out[used …]; returns the new length.
static size_t concat_list(char *out, size_t size, size_t used, va_list list) {
    for (const char *part = va_arg(list, const char *); part != NULL; part = va_arg(list, const char *)) {
        size_t length = strlen(part);
        if (length > size - 1 - used)
            length = size - 1 - used;
        memcpy(out + used, part, length);
        used += length;
    }
    out[used] = '\0';
    return used;
}

size_t scp_concat(char *out, size_t size, ...) {
    va_list list;
    va_start(list, size);
    size_t length = size == 0 ? 0 : concat_list(out, size, 0, list);
    va_end(list);
    return length;
}

static long open_reading(int folder, const char *path) {
    return scp_call(SYS_openat, folder, path, O_RDONLY | O_CLOEXEC, 0);
}

static long read_again(int descriptor, void *out, size_t bytes) {
    long got;
    do
        got = scp_call(SYS_read, descriptor, out, bytes);
    while (got == -EINTR);
    return got;
}

int scp_read_file(const char *path, struct scp_vector *bytes) {
    return scp_read_file_at(AT_FDCWD, path, bytes);
}

int scp_read_file_at(int folder, const char *path, struct scp_vector *bytes) {
    long descriptor = open_reading(folder, path);
    if (descriptor < 0)
        return (int)descriptor;
    long got = 0;
    bytes->count = 0;
    for (;;) {
        got = scp_vector_reserve(bytes, SCP_PAGE + 1);
        if (got < 0)
            break;
        got = read_again((int)descriptor, (char *)bytes->base + bytes->count, bytes->capacity - bytes->count - 1);
        if (got <= 0)
            break;
        bytes->count += (size_t)got;
    }
    scp_call(SYS_close, descriptor);
    if (bytes->capacity > bytes->count)
        ((char *)bytes->base)[bytes->count] = '\0';
    return (int)got;
}

long scp_read_small(const char *path, char *out, size_t size) {
    return scp_read_small_at(AT_FDCWD, path, out, size);
}

long scp_read_small_at(int folder, const char *path, char *out, size_t size) {
    long descriptor = open_reading(folder, path);
    if (descriptor < 0)
        return descriptor;
    size_t length = 0;
    long got = 0;
    while (length < size - 1) {
        got = read_again((int)descriptor, out + length, size - 1 - length);
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    scp_call(SYS_close, descriptor);
    out[length] = '\0';
    return got < 0 ? got : (long)length;
}

int scp_fail(struct scp_checkpoint *checkpoint, int error, ...) {
    if (error < 0)
        error = -error;
    if (error == 0)
        error = EIO;
    if (checkpoint->error != 0)
        return -error; // the first reason stays
    va_list list;
    va_start(list, error);
    size_t used = concat_list(checkpoint->error_text, sizeof checkpoint->error_text, 0, list);
    va_end(list);
    // A caller that goes on about what to do has put the error's name where it belongs already.
    const char *name = scp_error_name(error);
    if (strstr(checkpoint->error_text, name) == NULL)
        scp_concat(checkpoint->error_text + used, sizeof checkpoint->error_text - used, ": ", name, NULL);
    checkpoint->error = error;
    return -error;
}

// glibc's strerrordesc_np is newer than the oldest glibc we support. Texts as strerror(3) has them.
// What getdents64(2) writes.
struct scp_directory_entry {
    uint64_t inode;
    int64_t offset;
    uint16_t length; // bytes, to the next entry
    uint8_t type;
    char name[];
};

int scp_visit_names(int folder, scp_name_visitor *visit, void *argument) {
    char buffer[8192] __attribute__((aligned(8)));
    int sum = 0;
    long length;
    while ((length = scp_call(SYS_getdents64, folder, buffer, sizeof buffer)) > 0)
        for (long at = 0; at < length;) {
            const struct scp_directory_entry *entry = (const struct scp_directory_entry *)(buffer + at);
            at += entry->length;
            int result = visit(argument, entry->name);
            if (result < 0)
                return result;
            sum += result;
        }
    return length < 0 ? (int)length : sum;
}

struct number_visit {
    scp_number_visitor *visit;
    void *argument;
};

static int visit_number(void *argument, const char *name) {
    const struct number_visit *numbers = argument;
    return *name < '0' || *name > '9' ? 0 : numbers->visit(numbers->argument, (uint32_t)scp_parse_decimal(&name));
}

int scp_visit_numbers(int folder, scp_number_visitor *visit, void *argument) {
    struct number_visit numbers = {visit, argument};
    return scp_visit_names(folder, visit_number, &numbers);
}

int scp_visit_threads(scp_number_visitor *visit, void *argument) {
    long folder = scp_call(SYS_openat, AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (folder < 0)
        return (int)folder;
    int result = scp_visit_numbers((int)folder, visit, argument);
    scp_call(SYS_close, folder);
    return result;
}

static const char *const error_names[] = {
    [1] = "EPERM (Operation not permitted)",
    [2] = "ENOENT (No such file or directory)",
    [3] = "ESRCH (No such process)",
    [4] = "EINTR (Interrupted system call)",
    [5] = "EIO (Input/output error)",
    [6] = "ENXIO (No such device or address)",
    [7] = "E2BIG (Argument list too long)",
    [8] = "ENOEXEC (Exec format error)",
    [9] = "EBADF (Bad file descriptor)",
    [10] = "ECHILD (No child processes)",
    [11] = "EAGAIN (Resource temporarily unavailable)",
    [12] = "ENOMEM (Cannot allocate memory)",
    [13] = "EACCES (Permission denied)",
    [14] = "EFAULT (Bad address)",
    [15] = "ENOTBLK (Block device required)",
    [16] = "EBUSY (Device or resource busy)",
    [17] = "EEXIST (File exists)",
    [18] = "EXDEV (Invalid cross-device link)",
    [19] = "ENODEV (No such device)",
    [20] = "ENOTDIR (Not a directory)",
    [21] = "EISDIR (Is a directory)",
    [22] = "EINVAL (Invalid argument)",
    [23] = "ENFILE (Too many open files in system)",
    [24] = "EMFILE (Too many open files)",
    [25] = "ENOTTY (Inappropriate ioctl for device)",
    [26] = "ETXTBSY (Text file busy)",
    [27] = "EFBIG (File too large)",
    [28] = "ENOSPC (No space left on device)",
    [29] = "ESPIPE (Illegal seek)",
    [30] = "EROFS (Read-only file system)",
    [31] = "EMLINK (Too many links)",
    [32] = "EPIPE (Broken pipe)",
    [33] = "EDOM (Numerical argument out of domain)",
    [34] = "ERANGE (Numerical result out of range)",
    [35] = "EDEADLOCK (Resource deadlock avoided)",
    [36] = "ENAMETOOLONG (File name too long)",
    [37] = "ENOLCK (No locks available)",
    [38] = "ENOSYS (Function not implemented)",
    [39] = "ENOTEMPTY (Directory not empty)",
    [40] = "ELOOP (Too many levels of symbolic links)",
    [42] = "ENOMSG (No message of desired type)",
    [43] = "EIDRM (Identifier removed)",
    [44] = "ECHRNG (Channel number out of range)",
    [45] = "EL2NSYNC (Level 2 not synchronized)",
    [46] = "EL3HLT (Level 3 halted)",
    [47] = "EL3RST (Level 3 reset)",
    [48] = "ELNRNG (Link number out of range)",
    [49] = "EUNATCH (Protocol driver not attached)",
    [50] = "ENOCSI (No CSI structure available)",
    [51] = "EL2HLT (Level 2 halted)",
    [52] = "EBADE (Invalid exchange)",
    [53] = "EBADR (Invalid request descriptor)",
    [54] = "EXFULL (Exchange full)",
    [55] = "ENOANO (No anode)",
    [56] = "EBADRQC (Invalid request code)",
    [57] = "EBADSLT (Invalid slot)",
    [59] = "EBFONT (Bad font file format)",
    [60] = "ENOSTR (Device not a stream)",
    [61] = "ENODATA (No data available)",
    [62] = "ETIME (Timer expired)",
    [63] = "ENOSR (Out of streams resources)",
    [64] = "ENONET (Machine is not on the network)",
    [65] = "ENOPKG (Package not installed)",
    [66] = "EREMOTE (Object is remote)",
    [67] = "ENOLINK (Link has been severed)",
    [68] = "EADV (Advertise error)",
    [69] = "ESRMNT (Srmount error)",
    [70] = "ECOMM (Communication error on send)",
    [71] = "EPROTO (Protocol error)",
    [72] = "EMULTIHOP (Multihop attempted)",
    [73] = "EDOTDOT (RFS specific error)",
    [74] = "EBADMSG (Bad message)",
    [75] = "EOVERFLOW (Value too large for defined data type)",
    [76] = "ENOTUNIQ (Name not unique on network)",
    [77] = "EBADFD (File descriptor in bad state)",
    [78] = "EREMCHG (Remote address changed)",
    [79] = "ELIBACC (Can not access a needed shared library)",
    [80] = "ELIBBAD (Accessing a corrupted shared library)",
    [81] = "ELIBSCN (.lib section in a.out corrupted)",
    [82] = "ELIBMAX (Attempting to link in too many shared libraries)",
    [83] = "ELIBEXEC (Cannot exec a shared library directly)",
    [84] = "EILSEQ (Invalid or incomplete multibyte or wide character)",
    [85] = "ERESTART (Interrupted system call should be restarted)",
    [86] = "ESTRPIPE (Streams pipe error)",
    [87] = "EUSERS (Too many users)",
    [88] = "ENOTSOCK (Socket operation on non-socket)",
    [89] = "EDESTADDRREQ (Destination address required)",
    [90] = "EMSGSIZE (Message too long)",
    [91] = "EPROTOTYPE (Protocol wrong type for socket)",
    [92] = "ENOPROTOOPT (Protocol not available)",
    [93] = "EPROTONOSUPPORT (Protocol not supported)",
    [94] = "ESOCKTNOSUPPORT (Socket type not supported)",
    [95] = "ENOTSUP (Operation not supported)",
    [96] = "EPFNOSUPPORT (Protocol family not supported)",
    [97] = "EAFNOSUPPORT (Address family not supported by protocol)",
    [98] = "EADDRINUSE (Address already in use)",
    [99] = "EADDRNOTAVAIL (Cannot assign requested address)",
    [100] = "ENETDOWN (Network is down)",
    [101] = "ENETUNREACH (Network is unreachable)",
    [102] = "ENETRESET (Network dropped connection on reset)",
    [103] = "ECONNABORTED (Software caused connection abort)",
    [104] = "ECONNRESET (Connection reset by peer)",
    [105] = "ENOBUFS (No buffer space available)",
    [106] = "EISCONN (Transport endpoint is already connected)",
    [107] = "ENOTCONN (Transport endpoint is not connected)",
    [108] = "ESHUTDOWN (Cannot send after transport endpoint shutdown)",
    [109] = "ETOOMANYREFS (Too many references: cannot splice)",
    [110] = "ETIMEDOUT (Connection timed out)",
    [111] = "ECONNREFUSED (Connection refused)",
    [112] = "EHOSTDOWN (Host is down)",
    [113] = "EHOSTUNREACH (No route to host)",
    [114] = "EALREADY (Operation already in progress)",
    [115] = "EINPROGRESS (Operation now in progress)",
    [116] = "ESTALE (Stale file handle)",
    [117] = "EUCLEAN (Structure needs cleaning)",
    [118] = "ENOTNAM (Not a XENIX named type file)",
    [119] = "ENAVAIL (No XENIX semaphores available)",
    [120] = "EISNAM (Is a named type file)",
    [121] = "EREMOTEIO (Remote I/O error)",
    [122] = "EDQUOT (Disk quota exceeded)",
    [123] = "ENOMEDIUM (No medium found)",
    [124] = "EMEDIUMTYPE (Wrong medium type)",
    [125] = "ECANCELED (Operation canceled)",
    [126] = "ENOKEY (Required key not available)",
    [127] = "EKEYEXPIRED (Key has expired)",
    [128] = "EKEYREVOKED (Key has been revoked)",
    [129] = "EKEYREJECTED (Key was rejected by service)",
    [130] = "EOWNERDEAD (Owner died)",
    [131] = "ENOTRECOVERABLE (State not recoverable)",
    [132] = "ERFKILL (Operation not possible due to RF-kill)",
};

const char *scp_error_name(int error) {
    if (error < 0)
        error = -error;
    if ((size_t)error < sizeof error_names / sizeof error_names[0] && error_names[error] != NULL)
        return error_names[error];
    return "an unknown error";
}
