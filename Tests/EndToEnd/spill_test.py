"""Pages that were written again, scattered over a large image: they wait in a file without a name."""

import json
import os
import subprocess
import time

from harness.build import WORKLOADS
from harness.case import Suite
from harness.computation import Computation
from harness.errors import Skipped, check, check_equal
from snapshot_test import ask_for_checkpoint, comes_back
from workloads_test import compile_workload

suite = Suite("spill")
MEGABYTES = 200
SLOWLY = ["--no-incremental", "--keep", "1", "--io-limit", "400"]  # MB/s: so that a round takes as long everywhere
# Pages a second: rounds leave fewer and fewer; the first of them leaves more than three batches; as many as before.
MODERATE, MUCH, HEAVY = 20000, 40000, 400000


def start(folder, per_second, mount=None):
    computation = Computation(folder)
    if mount and subprocess.run(["mount", "-t", "tmpfs", "-o", mount, "tmpfs", computation.ckptdir], check=False,
                                capture_output=True).returncode != 0:
        raise Skipped("no tmpfs may be mounted here")
    program = compile_workload(os.path.join(WORKLOADS, "_scattered.c"))
    computation.launch([program, str(MEGABYTES), str(per_second)], SLOWLY)
    computation.ready()
    return computation


def spills(computation):
    """Whether a thread of the program has such a file open."""
    pid, prefix = computation.program_pid(), os.path.realpath(computation.ckptdir)
    for tid in os.listdir(f"/proc/{pid}/task"):
        folder = f"/proc/{pid}/task/{tid}/fd"
        try:
            for number in os.listdir(folder):
                place = os.readlink(os.path.join(folder, number))
                if place.startswith(prefix) and place.endswith(" (deleted)"):
                    return True
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread or the descriptor has gone
    return False


def checkpoint(computation):
    """Its record, and whether a spill was seen."""
    asked = ask_for_checkpoint(computation)
    seen, until = False, time.monotonic() + 60
    while asked.poll() is None and time.monotonic() < until:
        seen = seen or spills(computation)
        time.sleep(0.002)
    out, err = asked.communicate(timeout=1)
    check_equal(asked.returncode, 0, f"exit status of the checkpoint ({err})")
    return json.loads(out)["checkpoint"], seen


@suite.case(limit=120)
def what_was_written_again_gets_to_its_place(folder):
    computation = start(folder, MODERATE)
    for _ in range(2):
        record, seen = checkpoint(computation)
        check_equal(record["snapshot"], "precopy", f"how it was saved ({record})")
        check(seen, "no spill was seen")
        check(not spills(computation), "the spill is still there after the checkpoint")
    # Packed: the program's memory, what else it has, and tables.
    check(computation.size() < (MEGABYTES + 16) << 20, f"the image has {computation.size()} bytes")
    comes_back(computation)


@suite.case(limit=120)
def a_child_brings_it_there(folder):
    computation = start(folder, HEAVY)
    record, seen = checkpoint(computation)
    check_equal(record["snapshot"], "cow", f"how it was saved ({record})")
    check(seen, "no spill was seen")
    comes_back(computation)


@suite.case(limit=120, needs="root")
def without_room_for_it_all_goes_to_its_place(folder):
    computation = start(folder, MUCH, mount=f"size={MEGABYTES + 13}m,mode=700")
    try:
        record, seen = checkpoint(computation)
        check_equal(record["snapshot"], "precopy", f"how it was saved ({record})")
        check(seen, "no spill was tried")
        comes_back(computation)
    finally:
        subprocess.run(["umount", "-l", computation.ckptdir], check=False)
