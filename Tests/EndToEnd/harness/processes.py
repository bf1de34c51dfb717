"""Child subreaper, orphans, descendants: whatever a test starts, it also ends and reaps.

A process that dies keeps its pid until it is reaped, and orphans are reaped late by the machine's init: a restart with
the same pid right after SIGKILL would find it taken. So each case makes itself a child subreaper and reaps.
"""

import ctypes
import os
import signal

from .waiting import wait_for

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def usual_signals():
    """Back to the defaults where whoever started us ignores them (nohup, a background job): programs under test inherit them."""
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def become_subreaper():
    """Orphaned descendants become children of this process."""
    if _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def die_with_parent():
    """This process gets SIGKILL when its parent dies."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def children(pid):
    """pids of the direct children of any of pid's threads."""
    found = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                found += [int(word) for word in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def descendants(pid):
    found = []
    for child in children(pid):
        found += [child] + descendants(child)
    return found


def state_of(pid):
    """The letter of /proc/PID/stat ("R", "S", "Z", "T" …), or None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def stop_threads(pid):
    """Stops a process by those of its threads that can take a signal: the kernel may give one for the process to a thread
    that waits in vfork, where it does nothing. Returns whether all have stopped, or wait so."""
    try:
        tids = [int(tid) for tid in os.listdir(f"/proc/{pid}/task")]
    except (FileNotFoundError, ProcessLookupError):
        return True
    running = [tid for tid in tids if state_of(f"{pid}/task/{tid}") not in ("T", "t", "Z", "X", "D", None)]
    for tid in running:
        _libc.tgkill(pid, tid, int(signal.SIGSTOP))
    return not running


def reap_orphans(own):
    """Reaps ended children of this process but those whose pid is in `own` (their Popen object does it)."""
    for pid in children(os.getpid()):
        if pid not in own and state_of(pid) == "Z":
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass


def send(pid, number):
    """A signal to a process that may have ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def kill_tree(pid, limit=10, itself=False):
    """SIGKILL to every descendant of pid (and itself), until none is left; reaps those that are our children."""

    def gone():
        left = [one for one in descendants(pid) if state_of(one) != "Z"]
        for one in left + ([pid] if itself and state_of(pid) not in (None, "Z") else []):
            send(one, signal.SIGKILL)
        if itself or pid == os.getpid():
            reap_all()
        return not left and not (itself and state_of(pid) not in (None, "Z"))

    wait_for(gone, limit, f"the end of the processes below {pid}")


def reap_all():
    """Reaps every ended child. Only where no Popen object still waits for one."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass
    except ChildProcessError:
        pass
