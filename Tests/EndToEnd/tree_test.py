"""Computations of several processes: checkpointed at one instant, killed, brought back as a set."""

import glob
import os
import shutil
import struct

from harness.build import WORKLOADS, tool
from harness.case import Suite
from harness.computation import Computation, restart_options
from harness.errors import check, check_equal
from harness.imagefile import flip_bits
from harness.processes import children, reap_orphans
from harness.waiting import wait_for
from errors_test import check_error, finish, run
from workloads_test import compile_workload

suite = Suite("tree")
DEPTH, FIFTY, HUNDRED = 20, 50, 100

PIPELINE = """
i=0
while [ ! -e "$SCP_TEST_GO" ]; do i=$((i + 1)); echo $i; sleep 0.01; done |
    sed -u 's/^/a/' | { while read line; do echo $line; done > numbers.txt; }
sort -c -t a -k 2 -n numbers.txt && echo PASS $(wc -l < numbers.txt)
"""

POOL = """
import multiprocessing, os, time
def square(x):
    time.sleep(0.001)
    return x, x * x
if __name__ == "__main__":
    count = 0
    with multiprocessing.Pool(3) as pool:
        print("READY", flush=True)
        while not os.path.exists(os.environ["SCP_TEST_GO"]):
            assert pool.map(square, range(20), 1) == [(x, x * x) for x in range(20)]
            count += 1
    print("PASS" if count else "FAIL no round", flush=True)
"""

STATUSES = """
(while [ ! -e "$SCP_TEST_GO" ]; do sleep 0.02; done; exit 41) & first=$!
(exit 42) & second=$!
while kill -0 $second 2> /dev/null && [ "$(cut -d ' ' -f 3 /proc/$second/stat)" != Z ]; do :; done
echo READY
wait $first; echo "first $?"
wait $second; echo "second $?"
[ "$(cut -d ' ' -f 4 /proc/self/stat)" = $$ ] && echo parent
exit 43
"""


def sleeper_and_reader(computation):
    """A workload of four processes, running and ready."""
    computation.launch([compile_workload(os.path.join(WORKLOADS, "tree_shared.c"))])
    computation.ready()
    return computation


def die_and_rise(computation, number=0, options=()):
    """Checkpoint, SIGKILL to all, restart of the newest generation."""
    record = computation.checkpoint()
    computation.kill9()
    computation.restart([*restart_options(number), *options])
    computation.restored()
    return record


def add_rounds(function):
    """Decorator: a case with one death, and one with three."""
    for word, count in (("once", 1), ("three_times", 3)):
        suite.add(f"{function.__name__}.{word}", lambda folder, count=count: function(folder, count), limit=120)
    return function


@add_rounds
def a_pipeline_loses_no_line(folder, count):
    computation = Computation(folder)
    computation.launch(["/bin/sh", "-c", PIPELINE])
    numbers = os.path.join(computation.work, "numbers.txt")
    wait_for(lambda: os.path.exists(numbers) and os.path.getsize(numbers) > 20, 30, "the first numbers")
    for number in range(count):
        check(die_and_rise(computation, number)["processes"] >= 4, "fewer than four processes in the checkpoint")
    computation.release()
    line = computation.expect(lambda line: line.startswith("PASS"), what="PASS")
    with open(numbers, encoding="ascii") as file:
        found = file.read().split()
    check_equal(found, [f"a{number + 1}" for number in range(int(line.split()[1]))], "the numbers")
    check_equal(computation.wait(), 0, "exit status")


@add_rounds
def a_python_pool_goes_on(folder, count):
    computation = Computation(folder)
    script = os.path.join(computation.work, "pool.py")
    with open(script, "w", encoding="ascii") as file:
        file.write(POOL)
    computation.launch(["/usr/bin/python3", script])
    computation.ready()
    for number in range(count):
        check_equal(die_and_rise(computation, number)["processes"], 4, "processes of the checkpoint")
    computation.release()
    computation.expect("PASS")
    check_equal(computation.wait(), 0, "exit status")


@add_rounds
def statuses_zombies_and_parents_are_kept(folder, count):
    computation = Computation(folder)
    computation.launch(["/bin/bash", "-c", STATUSES])
    computation.ready()
    for number in range(count):
        die_and_rise(computation, number)
    computation.release()
    for line in ("first 41", "second 42", "parent"):
        computation.expect(line)
    check_equal(computation.wait(), 43, "exit status of swiftcp_restart")


@suite.case(limit=300)
def twenty_generations_deep(folder):
    computation = sleeper_and_reader(Computation(folder))
    for number in range(DEPTH):
        record = die_and_rise(computation, number)
        check_equal((record["generation"], record["processes"]), (number + 1, 4), "generation and processes")
    finish(computation)


@suite.case(limit=600, needs="user")  # as root tree_tokens does it on a smaller scale, often enough
def fifty_processes_lose_no_token_in_a_hundred_checkpoints_and_twenty_restarts(folder):
    computation = Computation(folder)
    computation.launch([compile_workload(os.path.join(WORKLOADS, "tree_tokens.c")), "fifty"])
    computation.ready(60)
    for number in range(DEPTH):
        for _ in range(HUNDRED // DEPTH - 1):
            check_equal(computation.checkpoint()["processes"], FIFTY, "processes of the checkpoint")
        check_equal(die_and_rise(computation, number)["processes"], FIFTY, "processes of the checkpoint")
    finish(computation)


@suite.case(limit=120)
def every_form_of_image_names_the_set(folder):
    computation = sleeper_and_reader(Computation(folder))
    computation.checkpoint()
    forms = [lambda images: [images[0]], lambda images: [images[-1]], lambda images: images,
             lambda images: [os.path.dirname(images[0])], lambda images: [os.path.dirname(images[0]), images[1]]]
    for form in forms:
        computation.kill9()
        images = sorted(glob.glob(os.path.join(glob.escape(computation.generations()[-1]), "*.swiftcp")))
        check_equal(len(images), 4, "images of the generation")
        words = form(images)
        computation.restart(words[:-1], image=words[-1])
        computation.restored()
        check_equal(computation.checkpoint()["processes"], 4, "processes of the next checkpoint")
    finish(computation)


def killed(folder, checkpoints=1):
    """A computation of four processes that has gone; returns it and the images of its newest generation."""
    computation = sleeper_and_reader(Computation(folder))
    for _ in range(checkpoints):
        computation.checkpoint()
    computation.kill9()
    return computation, sorted(glob.glob(os.path.join(glob.escape(computation.generations()[-1]), "*.swiftcp")))


def refused(computation, statuses, words, *operands):
    """swiftcp_restart of the operands must fail so, and start nothing."""
    done = run([tool("restart"), "--coordinator", computation.address, *operands], computation.work,
               computation.environment)
    check_error(done, statuses, words, "restart")

    def nobody_left():  # the coordinator ends by itself
        reap_orphans(set())
        return not children(os.getpid())

    wait_for(nobody_left, 30, "the end of all that was started")


@suite.case()
def images_of_two_generations_are_refused(folder):
    computation, images = killed(folder, checkpoints=2)
    other = glob.glob(os.path.join(glob.escape(computation.generations()[0]), "*.swiftcp"))[0]
    refused(computation, 2, ["not of one generation"], images[0], other)


@suite.case()
def programs_started_after_a_restart_join_the_new_coordinator(folder):
    """The restored shell's environment names the old one, which is not there any more."""
    computation = Computation(folder)
    computation.launch(["/bin/bash", "-c", 'echo READY; until [ -e "$SCP_TEST_GO" ]; do sleep 0.02; done; '
                        "env -i /bin/sleep 100 & /bin/sleep 100 & echo MORE; wait"])
    computation.ready()
    computation.checkpoint()
    computation.kill9()
    computation.address = "unix:" + os.path.join(folder, "run", "another")
    computation.restart()
    computation.restored()
    computation.release()
    computation.expect("MORE")
    wait_for(lambda: [process["name"] for process in computation.status()["processes"]].count("sleep") == 2, 30,
             "the two programs in the status of the new coordinator")
    computation.checkpoint()


@suite.case()
def a_missing_image_of_the_set_is_named(folder):
    computation, images = killed(folder)
    os.unlink(images[2])
    refused(computation, 4, [os.path.basename(images[2])], images[0])
    refused(computation, 4, [os.path.basename(images[2])], os.path.dirname(images[0]))


@suite.case()
def an_image_without_its_set_is_refused(folder):
    computation, images = killed(folder)
    alone = os.path.join(folder, os.path.basename(images[1]))
    shutil.copy(images[1], alone)
    shutil.copy(os.path.join(os.path.dirname(images[1]), "file-pages"), folder)
    refused(computation, 4, ["shared with a process whose image is not there", "whole generation"], alone)


@suite.case()
def a_damaged_image_ends_everything(folder):
    computation, images = killed(folder)
    with open(images[3], "rb") as file:
        metadata, = struct.unpack_from("<Q", file.read(64), 32)  # e_phoff
    flip_bits(images[3], range(4096 + 100, metadata, 4096))
    done = run([tool("restart"), "--verify-only", os.path.dirname(images[0])], folder)
    check_equal(done.returncode, 4, f"exit status of --verify-only ({done.stderr})")
    check(f"{os.path.basename(images[3])}: damaged" in done.stderr, f"{images[3]} is not named: {done.stderr!r}")
    refused(computation, 4, [os.path.basename(images[3])], "--restore", "eager", os.path.dirname(images[0]))


@suite.case()
def what_one_process_lacks_is_said_for_all(folder):
    computation = Computation(folder)
    inner = os.path.join(computation.work, "inner")
    os.mkdir(inner)
    computation.launch(["/bin/sh", "-c", 'sleep 100 & cd inner; sh -c "echo READY; sleep 100; :"; :'])
    computation.ready()
    computation.checkpoint()
    computation.kill9()
    os.rmdir(inner)
    refused(computation, 1, [inner, "working directory"], computation.computation_folder())
    os.mkdir(inner)
    computation.restart()
    computation.restored()
    computation.kill9()


@suite.case()
def new_ids_are_refused_for_several(folder):
    computation, images = killed(folder)
    refused(computation, 1, ["4 processes", "--keep-pids never"], "--keep-pids", "never", os.path.dirname(images[0]))


@suite.case()
def ids_and_parents_are_the_old_ones(folder):
    computation = sleeper_and_reader(Computation(folder))

    def family():
        pids = {process["own_pid"] for process in computation.status()["processes"]}
        return sorted(pids)

    computation.checkpoint()
    before = family()
    check_equal(len(before), 4, "processes in the status")
    computation.kill9()
    computation.restart()
    computation.restored()
    wait_for(lambda: family() == before, 30, f"the processes {before} in the status")
    finish(computation)


@suite.case()
def verification_names_every_image(folder):
    computation, images = killed(folder)
    done = run([tool("restart"), "--verify-only", os.path.dirname(images[0])], folder)
    check_equal(done.returncode, 0, f"exit status ({done.stderr})")
    for image in images:
        check(os.path.basename(image) in done.stderr, f"{image} is not in {done.stderr!r}")
