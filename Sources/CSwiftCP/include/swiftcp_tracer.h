// Leads the threads of stopped processes through a checkpoint: they take part and stay stopped.
//
// A process that job control has stopped (SIGSTOP, Ctrl+Z, a read behind the terminal's foreground) has a stopped checkpoint thread
// too. SIGCONT would run the program itself. A tracer can let single threads run while the stop stays in force:
//
//   checkpoint thread   runs, from system call to system call
//   user threads        stay where they are until the checkpoint thread has sent one the quiesce signal; that one runs into the
//                       handler and is let go of at the end of rt_sigreturn, which the stop meets before any instruction of the
//                       program's
//
// The parent sees nothing of it. When the tracer ends, for whatever reason, the kernel lets go of all at once, and the
// stop in force takes them back. Source: ptrace(2), "Group-stop", PTRACE_SEIZE, PTRACE_LISTEN; kernel/ptrace.c
// (__ptrace_unlink); run on Linux 6.18.
#ifndef SWIFTCP_TRACER_H
#define SWIFTCP_TRACER_H

#include <stddef.h>
#include <stdint.h>

#define SCP_THREAD_NAME "swiftcp" // of the checkpoint thread, in /proc/PID/task/TID/comm

struct scp_stopped {
    int32_t pid; // as this process sees it
    int32_t signal; // what has stopped it; written here
};

// Starts a tracer, a child of this process: *tracer. Returns a descriptor that the caller owns: it shows an end of file when the
// tracer has ended, which it does when one of the processes has been continued or all have gone. Takes 2 seconds at most.
// Errors: -EPERM, the kernel does not allow it; -EBUSY, another tracer is there; -ETIMEDOUT, a thread does not react;
// -EAGAIN, a process has been continued meanwhile; -ESRCH, it has gone.
int scp_lead(struct scp_stopped *processes, size_t count, int *tracer);
// Lets go of all threads; when it returns they are as they were.
void scp_lead_end(int descriptor, int tracer);

#endif
