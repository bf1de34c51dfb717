/* swiftcp.h: what a program may say to SwiftCP, and hear from it.
 *
 * Nothing has to be linked: the functions below look for those of libswiftcp.so, which swiftcp_launch preloads. Without it
 * swiftcp_is_enabled() returns 0 and the others do nothing, or fail with ENOSYS: the same program runs alone.
 *
 * Every function may be called by any thread, but not from a signal handler.
 */
#ifndef SWIFTCP_PUBLIC_H
#define SWIFTCP_PUBLIC_H

#include <errno.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What swiftcp_checkpoint() returns. */
#define SWIFTCP_FAILED 0 /* no checkpoint was made; errno says why */
#define SWIFTCP_CHECKPOINTED 1 /* it is made and durable, the same process runs on */
#define SWIFTCP_RESTARTED 2 /* this is a new process, restarted from it */

/* When a callback is called. */
enum swiftcp_event {
    SWIFTCP_EVENT_QUIESCED = 1, /* a checkpoint is about to be taken */
    SWIFTCP_EVENT_RESUMED = 2, /* it was taken (or given up), the same process runs on */
    SWIFTCP_EVENT_RESTARTED = 3 /* a new process runs on from it */
};
typedef void (*swiftcp_callback)(void *context);

/* Looks a function of the library up, NULL where it is not loaded; not for direct use. Through the global offset table: in a
 * program linked with -no-pie a plain weak reference is NULL for ever. The functions of this header have other names
 * for the linker, as they would hide the library's own ones. */
#if !defined(__GNUC__)
#error "swiftcp.h needs weak symbols and names for the linker (GCC or clang)"
#elif defined(__x86_64__) && !defined(__ILP32__)
#define SWIFTCP_FIND(name, found) __asm__(".weak " name "\n\tmovq " name "@GOTPCREL(%%rip), %0" : "=r"(found))
#elif defined(__aarch64__)
#define SWIFTCP_FIND(name, found)                                                                                      \
    __asm__(".weak " name "\n\tadrp %0, :got:" name "\n\tldr %0, [%0, :got_lo12:" name "]" : "=r"(found))
#else
#error "SwiftCP does not know this architecture"
#endif
#define SWIFTCP_HEADER(name) __asm__("swiftcp_header_" name) __attribute__((unused))
static int swiftcp_is_enabled(void) SWIFTCP_HEADER("is_enabled");
static int swiftcp_checkpoint(void) SWIFTCP_HEADER("checkpoint");
static void swiftcp_disable_checkpoint(void) SWIFTCP_HEADER("disable");
static void swiftcp_enable_checkpoint(void) SWIFTCP_HEADER("enable");
static int swiftcp_on(enum swiftcp_event, swiftcp_callback, void *) SWIFTCP_HEADER("on");

/* 1 when the program runs under SwiftCP and can be checkpointed, else 0. */
static int swiftcp_is_enabled(void) {
    int (*shim)(void);
    SWIFTCP_FIND("swiftcp_is_enabled", shim);
    return shim ? shim() : 0;
}

/* Checkpoints the whole computation now and waits until the generation is complete and durable.
 *
 * Returns SWIFTCP_CHECKPOINTED, or SWIFTCP_RESTARTED in a process that was restarted from it, or SWIFTCP_FAILED with
 * errno: ENOSYS not under SwiftCP, else the reason (ENOTCONN no coordinator, ETIMEDOUT, ENOSPC ...). Older
 * generations are unharmed by a failure. Inside a critical section of the caller it fails with ETIMEDOUT. */
static int swiftcp_checkpoint(void) {
    int (*shim)(void);
    SWIFTCP_FIND("swiftcp_checkpoint", shim);
    if (shim)
        return shim();
    errno = ENOSYS;
    return SWIFTCP_FAILED;
}

/* Begins a critical section of this thread: no checkpoint is taken until swiftcp_enable_checkpoint() has ended it.
 * Sections nest; those of several threads count together. Waits while a checkpoint is being taken. Keep them short: a
 * checkpoint that waits for one longer than its time limit is given up. */
static void swiftcp_disable_checkpoint(void) {
    void (*shim)(void);
    SWIFTCP_FIND("swiftcp_disable_checkpoint", shim);
    if (shim)
        shim();
}

/* Ends the critical section that this thread began last; nothing happens if there is none. */
static void swiftcp_enable_checkpoint(void) {
    void (*shim)(void);
    SWIFTCP_FIND("swiftcp_enable_checkpoint", shim);
    if (shim)
        shim();
}

/* Has callback(context) called at every event of the kind, on a thread of its own, in the order of registration.
 * Registrations stay for the life of the process and belong to its image. Returns 0, or -1 with errno: EINVAL no such
 * event or no callback, ENOSPC 64 are registered already, ENOSYS not under SwiftCP. */
static int swiftcp_on(enum swiftcp_event event, swiftcp_callback callback, void *context) {
    int (*shim)(int, swiftcp_callback, void *);
    SWIFTCP_FIND("swiftcp_on", shim);
    if (shim)
        return shim((int)event, callback, context);
    errno = ENOSYS;
    return -1;
}

#undef SWIFTCP_FIND
#undef SWIFTCP_HEADER

#ifdef __cplusplus
}
#endif
#endif
