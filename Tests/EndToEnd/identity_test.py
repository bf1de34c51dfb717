"""Identity: pid and tids after a restart, through every layer by name, and when the old numbers are taken."""

import ctypes
import os
import signal
import subprocess

from harness import build
from harness.build import WORKLOADS
from harness.case import Suite
from harness.computation import Computation
from harness.errors import check, check_equal
from workloads_test import compile_workload

suite = Suite("identity")
RESTARTS = 3


def start(folder, promise, environment=None):
    computation = Computation(folder, environment)
    computation.launch([compile_workload(os.path.join(WORKLOADS, "_identity.c")), promise])
    computation.ready()
    return computation


def finish(computation):
    computation.release()
    computation.expect("PASS")
    check_equal(computation.wait(), 0, f"exit status ({computation.story()})")


def through(folder, layer, promise):
    computation = start(folder, promise, {"SWIFTCP_TEST_IDENTITY": layer} if layer else None)
    own = computation.process.pid
    for _ in range(RESTARTS):
        computation.checkpoint()
        computation.kill9()
        if layer == "same":
            computation.reaped(own)
        computation.restart()
        computation.restored()
        process = computation.status()["processes"][0]
        if promise == "kept":
            check_equal(process["own_pid"], own, "the pid as the program sees it")
        if layer == "same":
            check_equal(process["pid"], own, "the pid as this machine sees it")
        if layer in ("root", "user"):
            check(os.readlink(f"/proc/{process['pid']}/ns/pid") != os.readlink("/proc/self/ns/pid"),
                  "the program is not in a pid namespace of its own")
        own_user = os.readlink(f"/proc/{process['pid']}/ns/user") != os.readlink("/proc/self/ns/user")
        check_equal(own_user, layer == "user" or (layer is None and not build.is_root()), "in a user namespace of its own")
        with open(f"/proc/{process['pid']}/status", encoding="ascii") as file:
            capabilities = [line.split()[1] for line in file if line.startswith("CapEff")][0]
        if layer == "user":
            check_equal(int(capabilities, 16), 0, "the program's capabilities")
    finish(computation)


@suite.case(needs="root")
def layer_same(folder):
    through(folder, "same", "kept")


@suite.case(needs="root")
def layer_root(folder):
    through(folder, "root", "kept")


@suite.case()
def layer_user(folder):
    through(folder, "user", "kept")


@suite.case()
def layer_patch(folder):
    through(folder, "patch", "new")


@suite.case()
def layer_of_its_own_choice(folder):
    through(folder, None, "kept")


def led_by_somebody_else(folder, restarts, leader_lives):
    """The program is in the process group of a process that is no part of the computation."""
    leader = subprocess.Popen(["sleep", "1000"], process_group=0)
    computation = Computation(folder)
    try:
        computation.launch([compile_workload(os.path.join(WORKLOADS, "_group.c"))], process_group=leader.pid)
        computation.ready()
        if not leader_lives:
            leader.kill()
            leader.wait()
        for _ in range(restarts):
            computation.checkpoint()
            computation.kill9()
            computation.restart()
            computation.restored()
        finish(computation)
    finally:
        leader.kill()
        leader.wait()


@suite.case()
def group_led_by_a_dead_process(folder):
    led_by_somebody_else(folder, RESTARTS, leader_lives=False)


@suite.case(needs="user")
def group_led_by_a_living_process(folder):
    led_by_somebody_else(folder, RESTARTS, leader_lives=True)


def occupy(pid):
    """A child of ours with this very pid, which must be free; only a privileged user can do that."""
    libc = ctypes.CDLL(None, use_errno=True)

    class Arguments(ctypes.Structure):
        _fields_ = [(name, ctypes.c_uint64) for name in (
            "flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls", "set_tid",
            "set_tid_size", "cgroup")]

    wanted = (ctypes.c_int * 1)(pid)
    arguments = Arguments(exit_signal=signal.SIGCHLD, set_tid=ctypes.addressof(wanted), set_tid_size=1)
    result = libc.syscall(435, ctypes.byref(arguments), ctypes.sizeof(arguments))  # clone3
    if result == 0:
        while True:
            signal.pause()
    check_equal(result, pid, f"the pid of the child that occupies the number (errno {ctypes.get_errno()})")


@suite.case(needs="root")
def the_old_pid_is_taken(folder):
    computation = start(folder, "kept")
    own = computation.process.pid
    computation.checkpoint()
    computation.kill9()
    computation.reaped(own)
    occupy(own)
    try:
        computation.restart()
        computation.restored()
        process = computation.status()["processes"][0]
        check_equal(process["own_pid"], own, "the pid as the program sees it")
        check(process["pid"] != own, "the program has a pid that another process has")
        finish(computation)
    finally:
        os.kill(own, signal.SIGKILL)
        os.waitpid(own, 0)


@suite.case()
def a_copy_beside_the_running_original(folder):
    """Both live at once: the copy gets the same numbers in a namespace of its own."""
    places = [os.path.join(folder, name) for name in ("original", "copy")]
    for place in places:
        os.mkdir(place)
    original, copy = start(places[0], "kept"), Computation(places[1])
    original.checkpoint()
    copy.restart(image=original.computation_folder(), options=["--ckptdir", copy.ckptdir])
    copy.restored()
    check_equal(copy.status()["processes"][0]["own_pid"], original.process.pid, "the copy's pid as it sees it")
    original.release()
    original.expect("PASS")
    check_equal(original.wait(), 0, "the original's exit status")
    check_equal(copy.wait(), 0, f"the copy's exit status ({copy.story()})")


@suite.case()
def keep_pids_never(folder):
    computation = start(folder, "new")
    computation.checkpoint()
    computation.kill9()
    computation.restart(["--keep-pids", "never"])
    computation.restored()
    finish(computation)


@suite.case()
def keep_pids_require(folder):
    computation = start(folder, "kept")
    computation.checkpoint()
    computation.kill9()
    computation.restart(["--keep-pids", "require"])
    computation.restored()
    finish(computation)
