"""Incremental images: chains of generations, resumed and restarted, compared word for word; what is kept, what is refused."""

import glob
import json
import os
import shutil
import subprocess

from harness.build import WORKLOADS, tool
from harness.case import Suite
from harness.computation import Computation, restart_options
from harness.errors import check, check_equal
from harness.waiting import wait_for
from workloads_test import compile_workload

suite = Suite("incremental")
STORMS = ["words", "huge", "file", "refault", "kernel", "discard", "remap", "regrow", "protect", "mix"]  # of precopy_storm.c
MEGABYTE = 1 << 20


def start(folder, *options, megabytes=24, workload="_incremental", argument=None, environment=None):
    computation = Computation(folder, environment)
    program = compile_workload(os.path.join(WORKLOADS, workload + ".c"))
    computation.launch([program, argument or str(megabytes)], options)
    computation.ready(60)
    return computation


def order(computation, words):
    """Has the program do something, and waits until it is done."""
    done = os.path.join(computation.work, "done")
    partial = os.path.join(computation.work, "partial")
    with open(partial, "w", encoding="ascii") as file:
        file.write(words)
    os.rename(partial, os.path.join(computation.work, "order"))
    wait_for(lambda: os.path.exists(done), 60, f"the order {words!r} carried out")
    os.unlink(done)


def taken(computation, incremental, limit=60):
    """A checkpoint that is incremental, or is not."""
    record = computation.checkpoint(limit)
    check_equal(record["incremental"], incremental, f"incremental of generation {record['generation']} ({record})")
    manifest = manifest_of(record["path"])
    check_equal(manifest["incremental"], incremental, "incremental of the manifest")
    check_equal("needs" in manifest, incremental, "whether the manifest names what it needs")
    return record


def manifest_of(generation):
    with open(os.path.join(generation, "manifest.json"), encoding="utf-8") as file:
        return json.load(file)


def again(computation, *options):
    computation.kill9()
    computation.restart(list(options))
    computation.restored(60)


def finish(computation, status=0):
    computation.release()
    line = computation.expect(lambda line: line.startswith(("PASS", "FAIL")), 90, "PASS or FAIL")
    check_equal(line, "PASS", "verdict")
    check_equal(computation.wait(), status, "exit status")


def image_tool(*words, status=0):
    done = subprocess.run([tool("image"), *words], capture_output=True, text=True, check=False, timeout=120)
    check_equal(done.returncode, status, f"exit status of swiftcp_image {words}: {done.stderr}")
    return done


def refused(computation, image, hint):
    """swiftcp_restart says so with status 4, and starts nothing."""
    done = subprocess.run([tool("restart"), "--coordinator", computation.address, image], env=computation.environment,
                          cwd=computation.work, capture_output=True, text=True, check=False, timeout=60)
    check_equal(done.returncode, 4, f"exit status of swiftcp_restart: {done.stderr}")
    check(hint in done.stderr, f"{hint!r} is not in {done.stderr!r}")


def names(computation):
    return [os.path.basename(path) for path in computation.generations()]


# ---- chains ----------------------------------------------------------------------------------------------------------


def chain(folder, *options):
    """Three lives, each with a full image and three more that build on it; a page in six changes between them."""
    computation = start(folder, "--incremental", "--keep", "9", *options)
    for life in range(3):
        full = taken(computation, False)["bytes_written"]
        for number in range(3):
            order(computation, "write 300")
            order(computation, f"drop {number * 40}")
            part = taken(computation, True)["bytes_written"]
            check(part < full * 0.6, f"{part} bytes were written for a part, {full} for all")
        for image in [computation.image()]:
            image_tool("verify", image)
        again(computation, *restart_options(life + 1))
    finish(computation)


for name, words in {"plain": [], "lz4": ["--compress", "lz4"], "zstd": ["--compress", "zstd"], "precopy": ["--snapshot", "precopy"]}.items():
    suite.add(f"a_chain_comes_back.{name}", lambda folder, words=words: chain(folder, *words), limit=240)


@suite.case(limit=240)
def large_memory_comes_back(folder):
    """More than 1 GiB: a thread scans half of the page tables while the program stands still."""
    computation = start(folder, "--incremental", megabytes=1300)
    taken(computation, False)
    for number in range(2):
        order(computation, "write 3000")
        order(computation, f"drop {number * 40}")
        taken(computation, True)
    again(computation)
    finish(computation)


def storm(folder, case, *options):
    """Threads write, map, move and give up memory while one image after the other is taken."""
    computation = start(folder, "--incremental=4", *options, workload="precopy_storm", argument=case)
    for life in range(3):
        for _ in range(3):
            computation.checkpoint(90)
        again(computation, *restart_options(life))
    finish(computation)


for case in STORMS:
    suite.add(f"storm.{case}", lambda folder, case=case: storm(folder, case), limit=300, needs="user")
suite.add("storm.mix.zstd", lambda folder: storm(folder, "mix", "--compress", "zstd"), limit=300, needs="user")


@suite.case(limit=120)
def a_full_one_comes_every_n(folder):
    computation = start(folder, "--incremental=3")
    for number in range(7):
        taken(computation, number % 3 != 0)
        order(computation, "write 10")
    again(computation)
    finish(computation)


@suite.case(limit=120)
def it_is_the_default_for_what_is_large_enough(folder):
    for inner, megabytes, environment, wanted in [("large", 24, {}, True), ("small", 1, {}, False),
                                                  ("asked", 1, {"SWIFTCP_INCREMENTAL": "1"}, True),
                                                  ("not", 24, {"SWIFTCP_INCREMENTAL": "0"}, False),
                                                  ("untracked", 24, {"SWIFTCP_TRACKER": "off"}, False)]:
        path = os.path.join(folder, inner)
        os.mkdir(path)
        computation = start(path, megabytes=megabytes, environment=environment)
        taken(computation, False)
        taken(computation, wanted)
        finish(computation)
    path = os.path.join(folder, "option")
    os.mkdir(path)
    computation = start(path, "--no-incremental")
    taken(computation, False)
    taken(computation, False)
    finish(computation)


@suite.case(limit=120)
def who_writes_nearly_everything_gets_full_images(folder):
    computation = start(folder, "--incremental=3")
    taken(computation, False)
    order(computation, "write 5000")
    for _ in range(3):  # the tracker rests
        taken(computation, False)
    taken(computation, True)
    finish(computation)


# ---- what is kept ----------------------------------------------------------------------------------------------------


@suite.case(limit=120)
def what_a_kept_generation_needs_is_kept(folder):
    computation = start(folder, "--incremental=4", "--keep", "2")
    for number in range(1, 5):
        taken(computation, number > 1)
        order(computation, "write 5")
    check_equal(names(computation)[0], "gen-000001", "the full generation is still there")
    for path in computation.generations():
        for number in manifest_of(path).get("needs", []):
            check(f"gen-{number:06}" in names(computation), f"generation {number}, which {path} needs, has gone")
    taken(computation, False)
    check("gen-000001" in names(computation), "generation 4 still needs the first")
    taken(computation, True)
    check_equal(names(computation), ["gen-000005", "gen-000006"], "generations when nothing needs the old ones")
    again(computation)
    finish(computation)


@suite.case(limit=120)
def every_generation_that_is_there_comes_back(folder):
    computation = start(folder, "--incremental", "--keep", "1")
    for number in range(4):
        taken(computation, number > 0)
        order(computation, "write 20")
    generations = computation.generations()
    check_equal(len(generations), 4, "number of generations")
    computation.kill9()
    for path in generations:
        image_tool("verify", path)
    computation.restart(image=generations[1])
    computation.restored()
    taken(computation, False)
    finish(computation)


@suite.case(limit=120)
def auto_removes_all_of_them(folder):
    computation = start(folder, "--auto", "--incremental")
    for number in range(3):
        taken(computation, number > 0)
    finish(computation)
    check_equal(glob.glob(os.path.join(computation.ckptdir, "ckpt_*")), [], "what is left")


# ---- what goes wrong --------------------------------------------------------------------------------------------------


@suite.case(limit=120)
def after_a_failed_checkpoint_nothing_is_missing(folder):
    computation = start(folder, "--incremental")
    taken(computation, False)
    for number in range(3):
        order(computation, f"write {400 if number else 30}")
        aside = computation.ckptdir + ".aside"
        os.rename(computation.ckptdir, aside)
        with open(computation.ckptdir, "w", encoding="ascii"):
            pass
        check_equal(computation.command("--checkpoint").returncode, 1, "exit status of a checkpoint that cannot be written")
        os.unlink(computation.ckptdir)
        os.rename(aside, computation.ckptdir)
        order(computation, "write 30")
        computation.checkpoint()
    again(computation)
    finish(computation)


@suite.case(limit=180)
def when_the_coordinator_dies_nothing_is_missing(folder):
    computation = start(folder, "--incremental", "--io-limit", "20", megabytes=8)
    taken(computation, False)
    for _ in range(3):
        order(computation, "write 600")
        computation.command("--checkpoint", "--no-wait")
        computation.replace_coordinator()
        order(computation, "write 20")
        computation.checkpoint()
    again(computation)
    finish(computation)


@suite.case(limit=120)
def an_ancestor_that_has_gone_makes_the_next_one_full(folder):
    computation = start(folder, "--incremental")
    taken(computation, False)
    shutil.rmtree(computation.generations()[0])
    taken(computation, False)
    taken(computation, True)
    again(computation)
    finish(computation)


@suite.case(limit=120)
def a_missing_or_wrong_ancestor_is_refused(folder):
    computation = start(folder, "--incremental")
    taken(computation, False)
    order(computation, "write 100")
    taken(computation, True)
    image, first = computation.image(), computation.generations()[0]
    ancestor = os.path.join(first, os.path.basename(image))
    computation.kill9()
    os.rename(first, first + ".aside")
    refused(computation, image, "gen-000001")
    told = image_tool("info", image)
    check("gen-000001" in told.stdout and "gen-000001" in told.stderr, "info does not say what is missing")
    image_tool("verify", image, status=4)
    os.rename(first + ".aside", first)
    with open(ancestor, "r+b") as file:
        file.seek(3 * MEGABYTE)
        byte = file.read(1)
        file.seek(3 * MEGABYTE)
        file.write(bytes([byte[0] ^ 1]))
    image_tool("verify", image, status=4)
    refused(computation, image, "damaged")
    os.rename(ancestor, ancestor + ".aside")
    shutil.copy(image, ancestor)
    refused(computation, image, "another has taken its place")
    os.rename(ancestor + ".aside", ancestor)
    with open(ancestor, "r+b") as file:
        file.seek(3 * MEGABYTE)
        file.write(byte)
    computation.restart()
    computation.restored()
    finish(computation)


@suite.case(limit=120)
def a_file_open_for_direct_reading_makes_them_full(folder):
    computation = start(folder, "--incremental")
    taken(computation, False)
    order(computation, "direct")
    taken(computation, False)
    order(computation, "direct")
    taken(computation, False)
    taken(computation, True)
    finish(computation)


# ---- the program notices nothing -----------------------------------------------------------------------------------------


@suite.case(limit=120)
def memory_grows_across_what_was_there_before(folder):
    computation = start(folder, "--incremental")
    taken(computation, False)
    order(computation, "move")
    taken(computation, True)
    again(computation, "--restore", "lazy")
    taken(computation, False)
    again(computation)
    finish(computation)


@suite.case(limit=120)
def a_child_begins_with_a_full_image(folder):
    computation = start(folder, "--incremental", "--keep", "3")
    taken(computation, False)
    order(computation, "fork")
    order(computation, "write 10")
    record = taken(computation, True)
    sizes = sorted(process["bytes"] for process in manifest_of(record["path"])["processes"])
    check(len(sizes) == 2 and sizes[1] > 20 * MEGABYTE > sizes[0], f"bytes of the images: {sizes}")
    order(computation, "write 10")
    record = taken(computation, True)
    check_equal(manifest_of(record["path"])["needs"], [1, 2], "what the set needs")
    check(record["bytes_written"] < 8 * MEGABYTE, f"{record['bytes_written']} bytes for a set of which nearly nothing changed")
    again(computation)
    taken(computation, False)
    finish(computation)


@suite.case(limit=120)
def cow_and_stop_make_full_ones(folder):
    for way in ("cow", "stop"):
        path = os.path.join(folder, way)
        os.mkdir(path)
        computation = start(path, "--incremental", "--snapshot", way)
        taken(computation, False)
        taken(computation, False)
        again(computation)
        finish(computation)


@suite.case(limit=120)
def the_last_one_before_the_end_may_be_incremental(folder):
    computation = start(folder, "--incremental")
    taken(computation, False)
    order(computation, "write 50")
    record = computation.json("--kcheckpoint", limit=60)["checkpoint"]
    check_equal(record["incremental"], True, "incremental of the last one")
    computation.wait()
    computation.restart()
    computation.restored()
    finish(computation)


# ---- swiftcp_image -----------------------------------------------------------------------------------------------------


@suite.case(limit=120)
def tools_know_chains(folder):
    computation = start(folder, "--incremental", "--keep", "9")
    for number in range(3):
        taken(computation, number > 0)
        order(computation, "write 100")
    images = [glob.glob(path + "/*.swiftcp")[0] for path in computation.generations()]
    information = json.loads(image_tool("info", "--json", images[2]).stdout)["images"][0]
    check_equal([need["generation"] for need in information["needs"]], [1, 2], "what info says it needs")
    check(information["memory"]["inherited"] > 20 * MEGABYTE > information["memory"]["stored"], f"memory {information['memory']}")
    check_equal(information["command"][-1], "24", "the last word of the command")
    difference = json.loads(image_tool("diff", "--json", images[0], images[2]).stdout)
    check(200 <= difference["pages"] < 400, f"{difference['pages']} pages differ")
    check("pages" in image_tool("diff", images[0], images[2]).stdout, "diff says nothing")
    flat, core = os.path.join(folder, "flat.swiftcp"), os.path.join(folder, "core")
    image_tool("flatten", images[2], flat)
    image_tool("core", images[2], core)
    image_tool("flatten", images[2], flat, status=1)  # is not overwritten
    check("no page differs" in image_tool("diff", images[2], flat).stdout, "the flat image is another")
    check_equal(json.loads(image_tool("info", "--json", flat).stdout)["images"][0]["incremental"], False, "incremental of the flat one")
    image_tool("verify", core)
    computation.kill9()
    shutil.rmtree(computation.ckptdir)
    os.mkdir(computation.ckptdir)
    computation.restart(image=flat)
    computation.restored()
    finish(computation)


@suite.case(limit=120)
def a_set_is_flattened_to_a_folder(folder):
    computation = start(folder, "--incremental", "--keep", "9")
    order(computation, "fork")
    taken(computation, False)
    order(computation, "write 100")
    taken(computation, True)
    flat = os.path.join(folder, "flat")
    image_tool("flatten", computation.generations()[-1], flat)
    check_equal(manifest_of(flat)["incremental"], False, "incremental of the flat set")
    image_tool("verify", flat)
    computation.kill9()
    shutil.rmtree(computation.ckptdir)
    os.mkdir(computation.ckptdir)
    computation.restart(image=flat)
    computation.restored()
    finish(computation)
