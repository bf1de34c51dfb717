"""swiftcp_launch beside a real coordinator."""

import json
import os
import subprocess

from harness import build
from harness.case import Suite
from harness.computation import Computation
from harness.errors import check, check_equal
from harness.waiting import wait_for

suite = Suite("launch")


def coordinators(address):
    """pids of the coordinators that were told to listen at the address."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    words = file.read().decode(errors="replace").split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if words[0].endswith("swiftcp_coordinator") and address in words:
                found.append(int(name))
    return found


@suite.case(limit=60)
def many_at_once_start_one_coordinator(folder):
    program = Computation(folder)
    line = [build.tool("launch"), "--coordinator", program.address, "-d", program.ckptdir, "sleep", "50"]
    running = [subprocess.Popen(line, env=program.environment, cwd=program.work) for _ in range(8)]

    def all_there():
        check_equal([one.poll() for one in running], [None] * 8, "exit statuses")
        done = program.command("--json", "--status")
        return done.returncode == 0 and len(json.loads(done.stdout)["processes"]) == 8

    wait_for(all_there, 30, "eight processes in the status")
    wait_for(lambda: len(coordinators(program.address)) == 1, 10, "one coordinator")
    ids = {process["computation"] for process in program.status()["processes"]}
    check_equal(len(ids), 8, "number of computations")
    check_equal(program.command("--quit").returncode, 0, "exit status of --quit")
    check_equal([one.wait(10) for one in running], [-9] * 8, "exit statuses after --quit")


@suite.case(limit=60)
def a_coordinator_that_is_ending_is_replaced(folder):
    program = Computation(folder)
    for _ in range(10):
        program.launch(["sleep", "50"])
        wait_for(lambda: program.command("--status").returncode == 0 and program.status()["processes"], 20, "the process")
        check_equal(program.command("--quit").returncode, 0, "exit status of --quit")
        second = subprocess.run(
            [build.tool("launch"), "--coordinator", program.address, "-d", program.ckptdir, "true"], timeout=20,
            env=program.environment, capture_output=True, text=True, check=False)
        check_equal((second.returncode, second.stderr), (0, ""), "a launch right after --quit")
        check_equal(program.wait(), -9, "exit status after --quit")


@suite.case(limit=60)
def the_coordinator_ends_with_its_last_process(folder):
    program = Computation(folder)
    program.launch(["sh", "-c", "echo READY; read line"], stdin=subprocess.PIPE)
    program.ready()
    check_equal(len(coordinators(program.address)), 1, "number of coordinators")
    program.process.stdin.close()
    program.wait()
    wait_for(lambda: not coordinators(program.address), 10, "the coordinator's end")
    check_equal(os.listdir(os.path.join(folder, "run")), [], "what it leaves in its folder")


@suite.case(limit=60)
def new_and_join_say_what_is_there(folder):
    program = Computation(folder)
    none = program_line(program, "-j")
    check_equal(none.returncode, 3, f"exit status of joining none ({none.stderr})")
    program.launch(["sleep", "50"])
    wait_for(lambda: program.command("--status").returncode == 0, 20, "the coordinator")
    two = program_line(program, "--new-coordinator")
    check_equal(two.returncode, 1, f"exit status of a second new one ({two.stderr})")
    check("another coordinator" in two.stderr, f"the reason is not given: {two.stderr}")
    check_equal(program_line(program, "-j").returncode, 0, "exit status of joining")
    program.command("--quit")
    program.wait()


def program_line(program, *options):
    return subprocess.run([build.tool("launch"), "--coordinator", program.address, "-d", program.ckptdir, *options, "true"],
                          env=program.environment, capture_output=True, text=True, timeout=20, check=False)


@suite.case(limit=60)
def the_program_sees_nothing_of_the_launcher(folder):
    """Process id, parent, signals, descriptors and environment are those of a start without SwiftCP."""
    program = Computation(folder)
    script = ("echo $PPID; grep -E '^Sig(Blk|Ign)' /proc/self/status; "
              "ls /proc/self/fd | wc -l; env | grep -v -E '^(SWIFTCP_|LD_PRELOAD|_=)' | sort")
    line = ["sh", "-c", script]
    plain = subprocess.run(line, env=program.environment, cwd=program.work, capture_output=True, text=True, timeout=20,
                           check=True)
    launched = subprocess.run(
        [build.tool("launch"), "--coordinator", program.address, "-d", program.ckptdir, *line], cwd=program.work,
        env=program.environment, capture_output=True, text=True, timeout=20, check=True)
    check_equal(launched.stdout, plain.stdout, "what the program sees")
    check_equal(launched.stderr, "", "stderr")
