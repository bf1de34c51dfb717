"""Pages of mapped files stand once in a generation: in file-pages, beside the images that lead there."""

import glob
import json
import os
import shutil
import time

from harness.build import WORKLOADS, tool
from harness.case import Suite
from harness.computation import Computation, restart_options
from harness.errors import check, check_equal
from harness.imagefile import flip_bits
from harness.waiting import wait_for
from errors_test import run
from workloads_test import compile_workload

suite = Suite("filepages")
SIZE, COUNT = 8 << 20, 4  # bytes of the file that all of them map; processes

PROGRAM = """
import hashlib, mmap, os, sys, time
with open("data", "rb") as file:
    read = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
    written = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE)
children = []
for i in range(int(sys.argv[1]) - 1):
    pid = os.fork()
    if pid == 0:
        children = None
        break
    children.append(pid)
written[4096 * 5:4096 * 5 + 8] = os.getpid().to_bytes(8, "big")
expected = [hashlib.sha256(memory).digest() for memory in (read, written)]
print("READY", flush=True)
while not os.path.exists("end"):
    time.sleep(0.01)
same = [hashlib.sha256(memory).digest() for memory in (read, written)] == expected
if children is None:
    os._exit(0 if same else 1)
print("PASS" if same and all(os.waitpid(pid, 0)[1] == 0 for pid in children) else "FAIL", flush=True)
"""


def launched(folder, options=(), count=COUNT):
    computation = Computation(folder)
    with open(os.path.join(computation.work, "data"), "wb") as file:
        file.write(os.urandom(SIZE - 1000))
    computation.launch(["/usr/bin/python3", "-c", PROGRAM, str(count)], options)
    wait_for(lambda: computation.output.text().count("READY") == count, 30, f"READY of {count} processes")
    return computation


def checkpoint(computation):
    """The folder of the new generation, and the bytes of its image files and of its file pages, None = it has none."""
    folder = computation.checkpoint()["path"]
    images = sum(map(os.path.getsize, glob.glob(os.path.join(folder, "*.swiftcp"))))
    shared = os.path.join(folder, "file-pages")
    return folder, images, os.path.getsize(shared) if os.path.exists(shared) else None


def overwrite(computation):
    """Nothing that the program has mapped is in its file any more."""
    with open(os.path.join(computation.work, "data"), "r+b") as file:
        file.write(b"x" * SIZE)


@suite.case()
def after_a_restart_they_are_there_still(folder):
    computation = launched(folder)
    first, _, added = checkpoint(computation)
    check(added > SIZE, f"{added} bytes of file pages of a first generation")
    computation.kill9()
    for generation in (2, 3):
        computation.restart()
        computation.restored()
        _, images, added = checkpoint(computation)
        check(images < COUNT * SIZE, f"{images} bytes of images")
        check(added is None or added < SIZE // 4, f"generation {generation} has added {added} bytes of file pages")
        with open(os.path.join(folder_of(computation), "manifest.json"), encoding="utf-8") as file:
            told = json.load(file)["file_pages"]
        there = [name for name in os.listdir(folder_of(computation)) if name.startswith("file-pages")]
        check_equal(sorted(there), told, "the file pages, and those of the manifest")
        check("file-pages-000001" in told, f"the first generation's file pages are not in {told}")
        computation.kill9()
    shutil.rmtree(first, ignore_errors=True)
    overwrite(computation)
    computation.restart()
    ends_well(computation)


def folder_of(computation):
    """Of the newest generation."""
    return os.path.realpath(os.path.join(computation.computation_folder(), "latest"))


def ends_well(computation):
    open(os.path.join(computation.work, "end"), "w", encoding="ascii").close()
    computation.expect("PASS")
    check_equal(computation.wait(30), 0, "the exit status")


@suite.case()
def what_all_processes_map_is_stored_once(folder):
    computation = launched(folder)
    _, images, shared = checkpoint(computation)
    check(SIZE < shared < 6 * SIZE, f"{shared} bytes of file pages")
    check(images < COUNT * SIZE, f"{images} bytes of images, though each process has mapped {SIZE} twice")
    computation.kill9()
    computation.restart()
    ends_well(computation)


@suite.case()
def one_process_has_all_in_its_image(folder):
    _, images, shared = checkpoint(launched(folder, count=1))
    check_equal(shared, None, "the bytes of file pages")
    check(images > SIZE, f"{images} bytes of an image")


@suite.case()
def a_changed_file_is_restored_from_them(folder):
    computation = launched(folder)
    checkpoint(computation)
    computation.kill9()
    overwrite(computation)
    computation.restart()
    ends_well(computation)


@suite.case()
def later_generations_lead_to_them(folder):
    computation = launched(folder, ["--incremental", "--keep", "1"])
    first, _, _ = checkpoint(computation)
    second, _, shared = checkpoint(computation)
    check(shared is None or shared < SIZE, f"{shared} bytes of file pages of a second generation")
    check(os.path.exists(os.path.join(first, "file-pages")), "the first generation has gone, and the second needs it")
    computation.kill9()
    done = run([tool("image"), "verify", second], folder)
    check_equal(done.returncode, 0, f"the status of verify ({done.stdout}{done.stderr})")
    overwrite(computation)
    computation.restart()
    ends_well(computation)


def given_up(folder, seconds):
    """When the coordinator dies in the middle of a generation, the next one leads to nothing that has gone with that."""
    computation = launched(folder, ["--incremental", "--io-limit", "20"])
    for _ in range(3):
        computation.command("--checkpoint", "--no-wait")
        time.sleep(seconds)  # different moments of the checkpoint
        computation.replace_coordinator()
        wait_for(lambda: len(computation.known_pids()) == COUNT, 30, "all processes in the status")
        generation, _, _ = checkpoint(computation)
        done = run([tool("image"), "verify", generation], folder)
        check_equal(done.returncode, 0, f"the status of verify ({done.stdout[-500:]}{done.stderr})")
    computation.kill9()
    overwrite(computation)
    computation.restart()
    ends_well(computation)


for moment in (0, 0.2, 1):
    suite.add(f"a_generation_that_is_given_up.{moment}", lambda folder, moment=moment: given_up(folder, moment), limit=120)


def changed_in_secret(folder, option):
    """A file that is changed in its place, and is as old and as large as before: the program sees what it is now."""
    computation = launched(folder, [option])
    path = os.path.join(computation.work, "data")
    with open(path, "rb") as file:
        old = file.read()
    checkpoint(computation)
    before = os.stat(path)
    with open(path, "r+b") as file:
        file.write(old[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    generation, _, _ = checkpoint(computation)
    computation.kill9()
    image = glob.glob(os.path.join(generation, "*.swiftcp"))[0]
    done = run([tool("image"), "core", image, "core"], folder)
    check_equal(done.returncode, 0, f"the status of swiftcp_image core ({done.stderr})")
    with open(os.path.join(folder, "core"), "rb") as file:
        content = file.read()
    check(old[::-1][4096:8192] in content, "what the file has now is not in the image")
    check(old[4096:8192] not in content, "what the file had at the first checkpoint is in the image")


for option in ("--incremental", "--no-incremental"):
    suite.add(f"a_file_changed_in_secret.{option[2:]}", lambda folder, option=option: changed_in_secret(folder, option))


@suite.case()
def a_flat_generation_needs_none(folder):
    computation = launched(folder)
    generation, _, _ = checkpoint(computation)
    computation.kill9()
    flat = os.path.join(folder, "flat")
    done = run([tool("image"), "flatten", generation, flat], folder)
    check_equal(done.returncode, 0, f"the status of flatten ({done.stderr})")
    check(not os.path.exists(os.path.join(flat, "file-pages")), "a flat generation has file pages")
    shutil.rmtree(generation)
    for image in glob.glob(os.path.join(flat, "*.swiftcp")):
        done = run([tool("image"), "--json", "info", image], folder)
        check_equal(json.loads(done.stdout)["images"][0]["needs"], [], f"what {image} needs")
    overwrite(computation)
    computation.restart(image=flat)
    ends_well(computation)


STORM = 'sleep 1000 & "$0" "$1"; status=$?; kill $!; exit $status'


def storm(folder, case):
    """Threads write to mappings of files, and give up what they have written, while these are added and led to."""
    computation = Computation(folder)
    program = compile_workload(os.path.join(WORKLOADS, "precopy_storm.c"))
    computation.launch(["/bin/bash", "-c", STORM, program, case], ["--incremental=3"])
    computation.ready(60)
    for life in range(3):
        for _ in range(2):
            checkpoint(computation)
        computation.kill9()
        computation.restart(restart_options(life))
        computation.restored()
    computation.release()
    computation.expect("PASS")
    check_equal(computation.wait(60), 0, "the exit status")


for name in ("file", "refault", "mix"):
    suite.add(f"storm.{name}", lambda folder, name=name: storm(folder, name), limit=120)


def refused(computation, generation, *words):
    for command in ([tool("restart"), generation], [tool("image"), "verify", generation]):
        done = run(command, computation.work)
        check_equal(done.returncode, 4, f"the status of {os.path.basename(command[0])} ({done.stderr})")
        text = done.stdout + done.stderr
        for word in words:
            check(word in text, f"{word!r} is not in {text!r}")


@suite.case()
def missing_or_wrong_or_damaged_ones_are_refused(folder):
    computation = launched(folder)
    generation, _, _ = checkpoint(computation)
    computation.kill9()
    shared = os.path.join(generation, "file-pages")
    kept = shutil.copy(shared, folder)
    os.unlink(shared)
    refused(computation, generation, "file-pages: no such file", "keep the files of a generation together")
    shutil.copy(kept, shared)
    flip_bits(shared, [16])  # scp_file_pages_header.identity
    refused(computation, generation, "file-pages: not the file that", "another has taken its place")
    shutil.copy(kept, shared)
    os.truncate(shared, os.path.getsize(kept) // 2)
    refused(computation, generation, "beyond the end of", "file-pages")
    shutil.copy(kept, shared)
    flip_bits(shared, range(8192 + 100, os.path.getsize(kept), 4096))
    refused(computation, generation, "checksum", "wrong")
    shutil.copy(kept, shared)
    computation.restart(image=generation)
    ends_well(computation)
