"""Generations: numbers, what is kept, what is complete, and twenty restarts of restarts."""

import glob
import json
import os
import stat

from harness.build import WORKLOADS, tool
from harness.case import Suite
from harness.computation import Computation, restart_options
from harness.errors import check, check_equal
from harness.waiting import wait_for
from errors_test import check_error, finish, run
from workloads_test import compile_workload

suite = Suite("generations")
DEPTH = 20


def start(folder, workload="counter", options=(), arguments=()):
    computation = Computation(folder)
    computation.launch([compile_workload(os.path.join(WORKLOADS, workload + ".c")), *arguments], options)
    computation.ready()
    return computation


def names(computation):
    return [os.path.basename(path) for path in computation.generations()]


@suite.case()
def two_are_kept_unless_told_otherwise(folder):
    computation = start(folder)
    for number in range(1, 5):
        check_equal(computation.checkpoint()["generation"], number, "the generation's number")
    check_equal(names(computation), ["gen-000003", "gen-000004"], "complete generations")
    check_equal(sorted(os.listdir(computation.computation_folder())), [".computation.json", "gen-000003", "gen-000004", "latest"],
                "what is in the computation's folder")
    finish(computation)


@suite.case()
def keep_says_how_many(folder):
    for keep in (1, 5):
        inner = os.path.join(folder, str(keep))
        os.mkdir(inner)
        computation = start(inner, options=["--keep", str(keep)])
        for _ in range(6):
            computation.checkpoint()
        check_equal(names(computation), [f"gen-{number:06}" for number in range(7 - keep, 7)], f"with --keep {keep}")
        computation.kill9()
        computation.restart()
        computation.restored()
        for number in range(7, 13):
            check_equal(computation.checkpoint()["generation"], number, "the generation after the restart")
        check_equal(names(computation), [f"gen-{number:06}" for number in range(13 - keep, 13)], "kept after a restart")
        finish(computation)


@suite.case()
def a_lazily_restored_program_keeps_its_memory_when_its_image_is_removed(folder):
    """Two generations later the image it came from is gone, its pages still are mapped from it."""
    computation = start(folder, "memory_dontneed", ["--no-incremental"])
    computation.checkpoint()
    computation.kill9()
    computation.restart(["--restore", "lazy"])
    computation.restored()
    for _ in range(3):
        computation.checkpoint()
    check_equal(names(computation), ["gen-000003", "gen-000004"], "complete generations")
    computation.release()
    computation.expect("PASS")
    check_equal(computation.wait(), 0, "exit status after PASS")


@suite.case()
def files_are_private_and_the_manifest_tells_all(folder):
    computation = start(folder)
    record = computation.checkpoint()
    check_equal(os.readlink(os.path.join(computation.computation_folder(), "latest")), "gen-000001", "the link latest")
    for path in glob.glob(os.path.join(record["path"], "*")):
        check_equal(stat.S_IMODE(os.stat(path).st_mode), 0o600, f"mode of {path}")
    with open(os.path.join(record["path"], "manifest.json"), encoding="utf-8") as file:
        manifest = json.load(file)
    check_equal(manifest["generation"], 1, "the manifest's generation")
    image = os.path.basename(computation.image())
    check(image in json.dumps(manifest), f"the manifest does not name {image}")
    check_equal(image, f"counter_{computation.process.pid}.swiftcp", "the image's name")
    finish(computation)


@suite.case()
def an_older_generation_can_be_restarted(folder):
    computation = start(folder)
    computation.checkpoint()
    computation.checkpoint()
    computation.kill9()
    computation.restart(image=computation.generations()[0])
    computation.restored()
    check_equal(computation.checkpoint()["generation"], 3, "the next generation is above the newest one")
    finish(computation)


@suite.case()
def a_generation_without_manifest_does_not_count(folder):
    computation = start(folder)
    computation.checkpoint()
    computation.checkpoint()
    computation.kill9()
    os.unlink(os.path.join(computation.generations()[-1], "manifest.json"))
    broken = os.path.join(computation.computation_folder(), "gen-000002")
    check_error(run([tool("restart"), "--coordinator", computation.address, broken], folder), 4, [], "restart")
    computation.restart()
    computation.restored()
    finish(computation)


@suite.case()
def every_form_of_image_restarts(folder):
    computation = start(folder)
    forms = [lambda: computation.image(), lambda: computation.generations()[-1], computation.computation_folder,
             lambda: os.path.join(computation.computation_folder(), "latest")]
    for form in forms:
        computation.checkpoint()
        computation.kill9()
        computation.restart(image=form())
        computation.restored()
    finish(computation)


@suite.case(limit=120)
def an_interval_goes_on_after_a_restart(folder):
    """As the launch asked for it, unless the restart is told otherwise."""
    computation = start(folder, options=["--interval", "0.1"])

    def newest():
        return int(names(computation)[-1][4:]) if names(computation) else 0

    wait_for(lambda: newest() >= 1, 30, "the first interval checkpoint")
    computation.kill9()
    first = newest()
    computation.restart()
    computation.restored()
    wait_for(lambda: newest() >= first + 2, 30, "interval checkpoints after the restart")
    computation.kill9()
    computation.restart(["--interval", "0"])
    computation.restored()
    check_equal(computation.json("--list")["computations"][0]["interval_s"], 0, "the interval with --interval 0")
    finish(computation)


@suite.case(limit=120)
def interval_checkpoints_come_and_can_be_changed(folder):
    computation = start(folder, options=["--interval", "0.1"])

    def newest():
        last = computation.status()["last_checkpoint"]
        return last["generation"] if last else 0

    wait_for(lambda: newest() >= 3, 30, "the third interval checkpoint")
    check_equal(computation.command("--interval", "0").returncode, 0, "exit status of --interval 0")
    stopped = newest()
    computation.json("--interval", "0.05")
    wait_for(lambda: newest() >= stopped + 3, 30, "checkpoints at the new interval")
    computation.command("--interval", "0")
    computation.kill9()
    computation.restart(["--interval", "0.1"])
    computation.restored()
    wait_for(lambda: newest() >= 2, 30, "interval checkpoints after the restart")
    finish(computation)


@suite.case()
def checkpoint_and_end(folder):
    computation = start(folder)
    done = computation.command("--kcheckpoint")
    check_equal(done.returncode, 0, f"exit status of --kcheckpoint ({done.stderr})")
    check_equal(len(computation.generations()), 1, "complete generations when it returns")
    check(computation.wait() != 0, "the program has ended as if its work were done")
    computation.coordinator_gone()
    computation.restart()
    computation.restored()
    finish(computation)


def deep(workload, arguments=()):
    def go(folder):
        computation = start(folder, workload, arguments=arguments)
        for number in range(DEPTH):
            check_equal(computation.checkpoint()["generation"], number + 1, "the generation's number")
            computation.kill9()
            computation.restart(restart_options(number))
            computation.restored()
        check_equal(names(computation), [f"gen-{DEPTH - 1:06}", f"gen-{DEPTH:06}"], "complete generations")
        finish(computation)

    return go


for name, words in (("counter", ()), ("threads_tls", ()), ("threads_locks", ()), ("threads_many", ("64",)),
                    ("calls_blocked", ()), ("file_append", ("append",))):
    suite.add(f"{name}_{DEPTH}_deep", deep(name, words), limit=180)


@suite.case(limit=120)
def images_do_not_grow_from_generation_to_generation(folder):
    computation = start(folder)
    sizes = []
    for number in range(8):
        sizes.append(computation.checkpoint()["bytes_written"])
        computation.kill9()
        computation.restart(restart_options(number))
        computation.restored()
    check(sizes[-1] < sizes[1] * 1.05 + 65536, f"bytes of the generations: {sizes}")
    finish(computation)
