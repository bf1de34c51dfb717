"""Compressed images: every encoding with every way of taking memory, restarted, compared word for word."""

import json
import os
import subprocess

from harness.build import WORKLOADS, tool
from harness.case import Suite
from harness.computation import Computation
from harness.errors import Skipped, check, check_equal
from harness.waiting import wait_for
from workloads_test import compile_workload

suite = Suite("compress")
CASES = {"lz4": "words", "zstd": "mix", "zstd:9": "discard", "auto": "remap"}  # of precopy_storm.c
WAYS = ["precopy", "stop", "cow"]


def storm(folder, case, encoding, way):
    """Threads write all memory while it is saved; after two restarts every word must be right."""
    computation = Computation(folder)
    program = compile_workload(os.path.join(WORKLOADS, "precopy_storm.c"))
    computation.launch([program, case], ["--compress", encoding, "--snapshot", way])
    computation.ready(60)
    for _ in range(2):
        record = computation.checkpoint(90)
        check_equal(record["snapshot"], way, "how memory was taken")
        check(information(computation.image())["compression"], "the image is not compressed")
        computation.kill9()
        computation.restart()
        computation.restored(60)
    finish(computation)


def finish(computation):
    computation.release()
    check_equal(computation.expect(lambda line: line.startswith(("PASS", "FAIL")), 60, "PASS or FAIL"), "PASS", "verdict")
    check_equal(computation.wait(), 0, "exit status")


def says(computation, words):
    wait_for(lambda: words in computation.errors.text(), 30, f"the words {words!r} on stderr")


def information(image):
    done = subprocess.run([tool("image"), "info", "--json", image], capture_output=True, text=True, check=False, timeout=60)
    check_equal(done.returncode, 0, f"info: {done.stderr}")
    return json.loads(done.stdout)["images"][0]


def image_tool(*words):
    return subprocess.run([tool("image"), *words], capture_output=True, text=True, check=False, timeout=60)


for encoding, case in CASES.items():
    for way in WAYS:
        suite.add(f"storm.{case}.{encoding.replace(':', '')}.{way}",
                  lambda folder, case=case, encoding=encoding, way=way: storm(folder, case, encoding, way), limit=240,
                  needs="user")  # root's memory is tracked in the same way


def contents(folder, *options, megabytes=24):
    computation = Computation(folder)
    source = os.path.join(WORKLOADS, "_contents.c")
    computation.launch([compile_workload(source), str(megabytes)], options)
    computation.ready(60)
    return computation


@suite.case(limit=120)
def text_shrinks_and_noise_does_not_grow(folder):
    sizes = {}
    for encoding in ["none", "lz4", "zstd", "auto"]:
        inner = os.path.join(folder, encoding)
        os.mkdir(inner)
        computation = contents(inner, "--compress", encoding)
        computation.checkpoint()
        image = computation.image()
        sizes[encoding] = os.path.getsize(image)
        compression = information(image).get("compression")
        if encoding == "none":
            check_equal(compression, None, "compression of an image that has none")
            check_equal(image_tool("core", image, os.path.join(inner, "copy")).returncode, 0, "core")
            with open(image, "rb") as one, open(os.path.join(inner, "copy"), "rb") as other:
                check(one.read() == other.read(), "the core file of a plain image is not its copy")
        elif encoding != "auto":
            # A third is noise, which stays as it is; a third is text.
            check(set(compression["chunks"]) == {encoding, "raw"}, f"chunks of {compression['chunks']}")
            check(compression["ratio"] > 1.3, f"ratio {compression['ratio']}")
        computation.kill9()
        computation.restart()
        computation.restored()
        finish(computation)
    check(sizes["zstd"] < 0.7 * sizes["none"] and sizes["lz4"] < 0.8 * sizes["none"], f"sizes {sizes}")
    check(sizes["auto"] <= sizes["none"] * 1.02, f"sizes {sizes}")


@suite.case(limit=120)
def its_core_file_is_a_plain_image(folder):
    computation = contents(folder, "--compress", "zstd")
    computation.checkpoint()
    image, core = computation.image(), os.path.join(folder, "core.swiftcp")
    done = image_tool("core", image, core)
    check_equal(done.returncode, 0, f"core: {done.stderr}")
    check(os.path.getsize(core) > os.path.getsize(image) * 1.3, "the core file is not larger than the image")
    check_equal(image_tool("verify", core).returncode, 0, "verify of the core file")
    check_equal(information(core).get("compression"), None, "compression of the core file")
    for name in ("command", "memory", "threads", "descriptors"):
        check_equal(information(core)[name], information(image)[name], name)
    shown = subprocess.run(["readelf", "-hlW", core], capture_output=True, text=True, check=False, timeout=60)
    check("CORE" in shown.stdout and not shown.stderr, f"readelf says {shown.stderr!r}")
    computation.kill9()
    computation.restart(image=core)
    computation.restored()
    finish(computation)


@suite.case(limit=120)
def a_changed_bit_is_found(folder):
    computation = contents(folder, "--compress", "zstd", megabytes=6)
    computation.checkpoint()
    computation.kill9()
    image = computation.image()
    size = os.path.getsize(image)
    with open(image, "rb") as file:
        sound = file.read()
    for place in range(5000, size, size // 40):
        with open(image, "r+b") as file:
            file.seek(place)
            file.write(bytes([sound[place] ^ 0x10]))
        done = image_tool("verify", image)
        check_equal(done.returncode, 4, f"verify with byte {place} of {size} changed: {done.stdout}{done.stderr}")
        with open(image, "r+b") as file:
            file.seek(place)
            file.write(sound[place:place + 1])
    with open(image, "r+b") as file: # a chunk, not the metadata
        file.seek(size // 3)
        file.write(bytes([sound[size // 3] ^ 1]))
    computation.restart()
    check_equal(computation.wait(), 4, "exit status of a restart from a damaged image")
    says(computation, "damaged")


@suite.case(limit=120)
def lazily_is_refused_with_a_word(folder):
    computation = contents(folder, "--compress", "lz4", megabytes=12)
    computation.checkpoint()
    computation.kill9()
    computation.restart(["--restore", "lazy"])
    computation.restored()
    says(computation, "cannot be restored lazily")
    finish(computation)


@suite.case(limit=120)
def no_thread_is_left(folder):
    computation = contents(folder, "--compress", "zstd", megabytes=12)
    pid = computation.program_pid()
    before = len(os.listdir(f"/proc/{pid}/task"))
    for _ in range(3):
        computation.checkpoint()
        check_equal(len(os.listdir(f"/proc/{pid}/task")), before, "threads of the program after a checkpoint")
    finish(computation)


def two_restarts(folder, megabytes):
    computation = contents(folder, "--compress", "auto", megabytes=megabytes)
    for _ in range(2):
        computation.checkpoint()
        check_equal(image_tool("verify", computation.image()).returncode, 0, "verify")
        computation.kill9()
        computation.restart()
        computation.restored()
    finish(computation)


def limited(folder):
    """A folder on a file system of 24 MB; it goes with the process that has made it."""
    os.makedirs(folder, exist_ok=True)
    return subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=777", "tmpfs", folder], check=False).returncode == 0


def a_full_disk_fails_the_checkpoint_alone(folder, megabytes):
    computation = contents(folder, "--compress", "zstd", megabytes=megabytes)
    computation.checkpoint()
    before, aside = computation.generations(), computation.ckptdir + ".aside"
    os.rename(computation.ckptdir, aside)
    if not limited(computation.ckptdir):
        raise Skipped("no small file system can be mounted here")
    try:
        done = computation.command("--checkpoint")
    finally:
        subprocess.run(["umount", "-l", computation.ckptdir], check=True)
    os.rmdir(computation.ckptdir)
    os.rename(aside, computation.ckptdir)
    check_equal(done.returncode, 1, f"exit status ({done.stderr})")
    check("ENOSPC" in done.stderr, f"stderr {done.stderr!r}")
    check_equal(computation.generations(), before, "the generations")
    check_equal(len(os.listdir(f"/proc/{computation.program_pid()}/task")), 2, "threads of the program")
    computation.checkpoint()
    finish(computation)


for name, size in {"small": 90, "large": 200}.items():  # of more than 128 MiB a thread of its own does the writing
    suite.add(f"a_full_disk_fails_the_checkpoint_alone.{name}",
              lambda folder, size=size: a_full_disk_fails_the_checkpoint_alone(folder, size), limit=120, needs="root")
    suite.add(f"words_are_right_after_two_restarts.{name}", lambda folder, size=size: two_restarts(folder, size), limit=120)
