"""System calls that a checkpoint interrupts: none returns EINTR, early or short, none is starved.

The calls are in Tests/Workloads/_interrupted*.c. Each runs
  resumed    three checkpoints while the thread is in the call
  restarted  checkpoint, SIGKILL, restart while the thread is in the call
and calls with a relative timeout
  starved    checkpoints every 20 ms while the call (0.3 s) is made five times; see _interrupted.c
"""

import os
import subprocess
import time

from harness.build import WORKLOADS, compile_c, put_once
from harness.case import Suite
from harness.computation import Computation
from harness.errors import Failed, check, check_equal
from harness.waiting import wait_for

suite = Suite("interrupted")

TIMED = (
    "nanosleep nanosleep_remainder nanosleep_same clock_nanosleep clock_nanosleep_absolute poll ppoll select pselect"
    " epoll_wait epoll_pwait futex_timeout futex_bitset_timeout sem_timedwait cond_timedwait mutex_timedlock"
    " mutex_inherit_timedlock recv_timeout read_socket_timeout send_timeout accept_timeout semtimedop sigtimedwait"
    " io_getevents mq_timedreceive").split()
WAITS = (
    "read_pipe readv_pipe poll_infinite epoll_infinite read_eventfd read_timerfd read_inotify read_terminal recv recvmsg"
    " accept connect wait4 waitid open_fifo mq_receive msgrcv semop sigwaitinfo pause sigsuspend").split()
LOCKS = ("futex sem_wait cond_wait mutex_lock mutex_inherit_lock rwlock pthread_join flock open_file_lock"
         " posix_lock").split()
TRANSFERS = ("write_pipe_whole write_socket_whole send_whole writev_whole sendmsg_whole recv_waitall"
             " recvmsg_waitall").split()

# Resumed only: what the call waits for is not the same after a restart.
RESUMED_ONLY = {
    "msgrcv": "a System V queue", "semop": "System V semaphores", "semtimedop": "System V semaphores",
    "send_timeout": "a full socket may have room again: what it holds is packed more densely",
}
# What a checkpoint refuses by name; the call must not notice.
REFUSED = {
    "io_getevents": "aio",
    "connect": "have not been accepted",
}
SECONDS = 2.0  # of a timed call: long enough for what happens meanwhile


def binary():
    target = os.path.join(os.environ["SCP_TEST_BINARIES"], "_interrupted")
    if not os.path.exists(target):
        partial = f"{target}.{os.getpid()}"
        parts = [os.path.join(WORKLOADS, f"_interrupted_{part}.c") for part in ("timed", "waits", "locks", "transfers")]
        compile_c(os.path.join(WORKLOADS, "_interrupted.c"), partial, [*parts, "-lrt"])
        put_once(partial, target)
    return target


def begin(folder, call, seconds, rounds=0, options=()):
    computation = Computation(folder)
    computation.launch([binary(), call, str(seconds), str(rounds)], options, stdin=standard_input(computation, call))
    computation.ready()
    return computation


def standard_input(computation, call):
    """A new terminal for the call that reads from one; its master is kept as computation.master."""
    if call != "read_terminal":
        return subprocess.DEVNULL
    computation.master, slave = os.openpty()
    return slave


def end(computation, call, limit=30):
    computation.release()
    if call == "read_terminal":
        typing = os.path.join(computation.work, "type")
        wait_for(lambda: os.path.exists(typing), limit, "the program to wait for typed words")
        os.write(computation.master, b"hello\n")
    verdict = computation.expect(lambda line: line.startswith(("PASS", "FAIL")), limit, "PASS or FAIL")
    if verdict != "PASS":
        raise Failed(f"{verdict}; stderr {computation.errors.text()[-1000:]!r}")
    check_equal(computation.wait(), 0, "exit status")


def try_checkpoint(computation, call):
    """A checkpoint; one that is refused for what the call works on counts too."""
    if call not in REFUSED:
        computation.checkpoint()
        return
    done = computation.command("--checkpoint")
    check_equal(done.returncode, 1, f"exit status of a checkpoint with {REFUSED[call]} ({done.stderr!r})")
    check(REFUSED[call] in done.stderr.lower(), f"the refusal {done.stderr!r} does not name {REFUSED[call]!r}")


def resumed(call):
    def run(folder):
        computation = begin(folder, call, SECONDS)
        for _ in range(3):
            try_checkpoint(computation, call)
        end(computation, call)

    return run


def restarted(call):
    def run(folder):
        computation = begin(folder, call, SECONDS)
        computation.checkpoint()
        computation.kill9()
        computation.restart(stdin=standard_input(computation, call))
        computation.restored()
        end(computation, call)

    return run


def starved(call):
    def run(folder):
        computation = begin(folder, call, 0.3, rounds=5, options=["--interval", "0.02", "--keep", "1"])
        computation.release()
        first = generation(computation, 0)
        began = time.monotonic()
        verdict = computation.expect(lambda line: line.startswith(("PASS", "FAIL")), 30, "PASS or FAIL")
        took = time.monotonic() - began
        check_equal(verdict, "PASS", f"verdict (stderr {computation.errors.text()[-500:]!r})")
        check_equal(computation.wait(), 0, "exit status")
        made = last_generation(computation) - first
        check(made >= 5, f"only {made} checkpoints in {took:.2f} s: this shows nothing")

    return run


def generation(computation, at_least):
    """Number of the newest generation once there is one above at_least."""

    def newest():
        last = computation.status()["last_checkpoint"]
        return last and last["generation"] > at_least and last["generation"]

    return wait_for(newest, 20, "an interval checkpoint")


def last_generation(computation):
    return int(os.path.basename(computation.generations()[-1]).split("-")[1])


RELATIVE = [call for call in TIMED if call not in REFUSED]
for name in TIMED + WAITS + LOCKS + TRANSFERS:
    suite.add(f"{name}.resumed", resumed(name), limit=60)
    if name not in RESUMED_ONLY and name not in REFUSED:
        suite.add(f"{name}.restarted", restarted(name), limit=60)
for name in RELATIVE:
    suite.add(f"{name}.starved", starved(name), limit=60)
