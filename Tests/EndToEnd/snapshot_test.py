"""How the instant is taken: the copy-on-write child, what becomes of it, and what is done without it."""

import json
import os
import resource
import signal
import subprocess

from harness.build import WORKLOADS, tool
from harness.case import Suite
from harness.computation import Computation
from harness.errors import check, check_equal
from harness.processes import children, state_of
from harness.waiting import wait_for
from workloads_test import compile_workload

suite = Suite("snapshot")
WRITER = "swiftcp_writer"
SLOWLY = ["--io-limit", "10"]  # MB/s: so that the child is met at work


def start(folder, mode, megabytes, options=(), environment=None, **more):
    computation = Computation(folder, environment)
    program = compile_workload(os.path.join(WORKLOADS, "_snapshot.c"))
    computation.launch([program, mode, str(megabytes)], options, **more)
    computation.ready()
    return computation


def name_of(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            return file.read().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def writers(computation):
    return [pid for pid in children(computation.program_pid()) if name_of(pid) == WRITER and state_of(pid) != "Z"]


def ask_for_checkpoint(computation):
    """The command that asks for one and waits for it."""
    words = [tool("command"), "--coordinator", computation.address, "--checkpoint", "--json"]
    return subprocess.Popen(words, env=computation.environment, cwd=computation.work, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def begin_checkpoint(computation):
    """A checkpoint under way, and the child that writes for it."""
    asked = ask_for_checkpoint(computation)
    wait_for(lambda: writers(computation) or asked.poll() is not None, 30, "the child that writes")
    check(asked.poll() is None, f"the checkpoint ended before its child was seen: {asked.stdout.read() if asked.poll() is not None else ''}")
    return asked, writers(computation)[0]


def manifest(record):
    with open(os.path.join(record["path"], "manifest.json"), encoding="utf-8") as file:
        return json.load(file)


def nothing_is_left(computation, child):
    wait_for(lambda: state_of(child) is None, 30, "the end of the child that wrote")
    check_equal(writers(computation), [], "children that write")


def passes(computation, status=0):
    computation.release()
    computation.expect("PASS")
    check_equal(computation.wait(), status, "exit status")


def comes_back(computation):
    computation.kill9()
    computation.restart()
    computation.restored()
    passes(computation)


@suite.case()
def cow_is_told_with_its_reason(folder):
    computation = start(folder, "busy", 24, ["--snapshot", "cow"])
    for _ in range(3):
        record = computation.checkpoint()
        check_equal((record["snapshot"], record["snapshot_reason"]), ("cow", "--snapshot cow"), "the record's snapshot")
        kept = manifest(record)
        check_equal((kept["snapshot"], kept["snapshot_reason"]), ("cow", "--snapshot cow"), "the manifest's snapshot")
    comes_back(computation)


@suite.case()
def a_heavy_writer_gets_a_child_by_itself(folder):
    computation = start(folder, "busy", 400, SLOWLY[:1] + ["400"])
    record = computation.checkpoint(limit=90)
    check_equal(record["snapshot"], "cow", f"how a program was saved that rewrites all its memory ({record})")
    check("MB/s" in record["snapshot_reason"], f"the reason {record['snapshot_reason']!r} tells no rates")
    comes_back(computation)


@suite.case()
def without_the_tracker_a_child_is_the_way(folder):
    computation = start(folder, "busy", 200, environment={"SWIFTCP_TRACKER": "off"})
    record = computation.checkpoint(limit=60)
    check_equal(record["snapshot"], "cow", f"how it was saved ({record})")
    check("SWIFTCP_TRACKER" in record["snapshot_reason"], f"the reason {record['snapshot_reason']!r}")
    comes_back(computation)


@suite.case()
def the_other_ways_are_told_too(folder):
    for options, mode, word in ((["--snapshot", "stop"], "stop", "--snapshot stop"), ([], "precopy", "left"),
                                (["--snapshot", "precopy"], "precopy", "left")):
        inner = os.path.join(folder, mode + str(len(options)))
        os.mkdir(inner)
        computation = start(inner, "idle", 8, options)
        record = computation.checkpoint()
        check_equal(record["snapshot"], mode, f"with {options}")
        check(word in record["snapshot_reason"], f"the reason with {options}: {record['snapshot_reason']!r}")
        passes(computation)


@suite.case()
def a_killed_child_fails_the_checkpoint_alone(folder):
    computation = start(folder, "busy", 32, ["--snapshot", "cow", *SLOWLY])
    asked, child = begin_checkpoint(computation)
    os.kill(child, signal.SIGKILL)
    out, _ = asked.communicate(timeout=30)
    check_equal(asked.returncode, 1, "exit status of the checkpoint whose child was killed")
    check("killed by signal 9" in json.loads(out)["error"], f"the sentence {out}")
    nothing_is_left(computation, child)
    check_equal(computation.generations(), [], "generations after it")
    check_equal(computation.checkpoint()["snapshot"], "cow", "the next checkpoint's snapshot")
    comes_back(computation)


@suite.case()
def a_signal_to_the_group_does_not_meet_the_child(folder):
    computation = start(folder, "busy", 32, ["--snapshot", "cow", *SLOWLY], start_new_session=True)
    asked, child = begin_checkpoint(computation)
    wait_for(lambda: os.getsid(child) == child, 30, "a session of the child's own")
    os.killpg(computation.program_pid(), signal.SIGWINCH)
    check_equal(os.getpgid(child), child, "the child's group")
    out, err = asked.communicate(timeout=30)
    check_equal(asked.returncode, 0, f"exit status of the checkpoint ({out}{err})")
    passes(computation)


@suite.case()
def the_childs_end_follows_its_program(folder):
    computation = start(folder, "idle", 32, ["--snapshot", "cow", *SLOWLY])
    asked, child = begin_checkpoint(computation)
    os.kill(computation.program_pid(), signal.SIGKILL)
    asked.communicate(timeout=30)
    check(asked.returncode != 0, "a checkpoint of a program that was killed meanwhile is said to be complete")
    computation.wait()
    wait_for(lambda: computation.reaped(child), 30, "the end of the child")


@suite.case()
def an_exec_leaves_no_child(folder):
    computation = start(folder, "exec", 32, ["--snapshot", "cow", *SLOWLY])
    asked, child = begin_checkpoint(computation)
    os.kill(computation.program_pid(), signal.SIGUSR1)
    computation.ready()
    out, err = asked.communicate(timeout=60)
    check_equal(asked.returncode, 0, f"exit status of the checkpoint that was made again ({out}{err})")
    wait_for(lambda: state_of(child) is None, 30, "the end of the child that lost its program")
    computation.checkpoint()
    comes_back(computation)


@suite.case()
def a_lost_coordinator_ends_the_child(folder):
    computation = start(folder, "busy", 32, ["--snapshot", "cow", *SLOWLY])
    coordinator = computation.status()["coordinator"]["pid"]
    asked, child = begin_checkpoint(computation)
    os.kill(coordinator, signal.SIGKILL)
    asked.communicate(timeout=30)
    wait_for(lambda: state_of(child) is None, 30, "the end of the child that lost its coordinator")
    check_equal(computation.process.poll(), None, "the program's end")
    passes(computation)


@suite.case()
def a_full_disk_in_the_child_is_told(folder):
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 20, 16 << 20))

    computation = start(folder, "busy", 32, ["--snapshot", "cow", *SLOWLY], preexec_fn=limited)
    done = computation.command("--checkpoint", limit=60)
    check_equal(done.returncode, 1, f"exit status ({done.stdout}{done.stderr})")
    check("EFBIG" in done.stderr and "ulimit -f" in done.stderr, f"the sentence {done.stderr!r}")
    check_equal(computation.generations(), [], "generations after it")
    check_equal(writers(computation), [], "children that write")
    passes(computation)


@suite.case(needs="user")
def without_a_process_for_it_the_program_is_stopped(folder):
    computation = start(folder, "busy", 32, ["--snapshot", "cow"])
    before = resource.prlimit(computation.program_pid(), resource.RLIMIT_NPROC)
    resource.prlimit(computation.program_pid(), resource.RLIMIT_NPROC, (1, before[1]))
    record = computation.checkpoint(limit=60)
    check_equal(record["snapshot"], "stop", "how it was saved without a process for the child")
    check("EAGAIN" in record["snapshot_reason"], f"the reason {record['snapshot_reason']!r}")
    resource.prlimit(computation.program_pid(), resource.RLIMIT_NPROC, before)
    comes_back(computation)
