"""swiftcp_image's command line: every way it can fail, with status, sentence and JSON."""

import json
import os
import shutil
import subprocess

from harness.build import is_root, tool
from harness.case import Suite
from harness.computation import Computation
from harness.errors import Skipped, check, check_equal

suite = Suite("image")


def run(*words):
    return subprocess.run([tool("image"), *words], capture_output=True, text=True, timeout=60, check=False)


def fails(status, sentence, *words):
    """The command ends with that status and says the sentence; as JSON too unless the usage is wrong."""
    done = run(*words)
    check_equal(done.returncode, status, f"swiftcp_image {' '.join(words)}: {done.stdout}{done.stderr}; status")
    check(sentence in done.stderr, f"{sentence!r} is not in {done.stderr!r}")
    check(done.stderr.startswith("swiftcp_image: "), f"whose message is this: {done.stderr!r}")
    check_equal(done.stdout, "", "stdout")
    if status == 2:
        return
    reply = json.loads(run(*words, "--json").stdout)
    check_equal([reply["schema_version"], reply["command"], reply["status"]], [1, words[0], "error"], "the reply's head")
    check(sentence in reply["error"], f"{sentence!r} is not in {reply['error']!r}")


def one_generation(folder):
    """A checkpointed program's computation."""
    computation = Computation(folder)
    computation.launch(["/bin/sh", "-c", "echo ready; read line"], stdin=subprocess.PIPE)
    computation.expect("ready")
    computation.checkpoint()
    return computation


@suite.case()
def wrong_usage_ends_with_2(folder):
    for words in ([], ["nothing"], ["info"], ["info", "a", "b"], ["core", "a"], ["flatten", "a"], ["diff", "a"], ["verify", "--strange", "a"]):
        done = run(*words)
        check_equal([done.returncode, done.stdout], [2, ""], f"{words}: {done.stderr}; status and stdout")
    fails(2, "not yet available", "info", "--key", "k", "a")
    check(run("verfy", "x").stderr.count("verify") > 0, "the nearest word is not named")
    check_equal(run("--help").returncode, 0, "status of --help")


@suite.case()
def what_is_no_image_ends_with_4(folder):
    text = os.path.join(folder, "text")
    with open(text, "w", encoding="ascii") as file:
        file.write("hello\n")
    empty = os.path.join(folder, "empty")
    os.mkdir(empty)
    for command in ("info", "maps", "verify"):
        fails(4, "no such file", command, os.path.join(folder, "nothing"))
        fails(4, "not a checkpoint image", command, text)
        fails(4, "not a checkpoint image", command, "/bin/true")
        fails(4, "no checkpoint in this folder", command, empty)
        fails(4, "neither a file nor a folder", command, "/dev/null")
    fails(4, "not a checkpoint image", "core", text, os.path.join(folder, "out"))
    check(not os.path.exists(os.path.join(folder, "out")), "a failed core left a file")


@suite.case(limit=90)
def every_form_of_argument_works(folder):
    computation = one_generation(folder)
    image, generation = computation.image(), computation.generations()[0]
    for argument in (computation.computation_folder(), generation, generation + "/", image,
                     os.path.join(computation.computation_folder(), "latest")):
        for command in ("info", "maps", "verify"):
            done = run(command, argument)
            check_equal([done.returncode, done.stderr], [0, ""], f"{command} {argument}")
    manifest = json.loads(run("info", "--json", generation).stdout)["manifest"]
    with open(os.path.join(generation, "manifest.json"), encoding="utf-8") as file:
        check_equal(manifest, json.load(file), "the manifest in the reply")
    fails(4, "name one of them", "info", computation.ckptdir)


@suite.case(limit=90)
def a_set_that_does_not_fit_together_is_refused(folder):
    computation = one_generation(folder)
    first = computation.image()
    computation.checkpoint()
    second = computation.image()
    check(first != second, "there is one generation only")
    alone = os.path.join(folder, "alone.swiftcp")
    shutil.copyfile(first, alone)
    check_equal(run("verify", alone).returncode, 0, "status for an image without a manifest")
    shutil.copyfile(first, second)
    fails(4, "not the image that the manifest beside it was written for", "verify", second)
    manifest = os.path.join(os.path.dirname(second), "manifest.json")
    with open(manifest, "r+", encoding="utf-8") as file:
        file.truncate(20)
    fails(4, "damaged", "info", os.path.dirname(second))
    os.unlink(manifest)
    fails(4, "incomplete generation", "info", os.path.dirname(second))
    check_equal(run("verify", computation.computation_folder()).returncode, 0, "status of the older generation")


@suite.case(limit=90)
def another_format_version_is_named(folder):
    computation = one_generation(folder)
    copy = os.path.join(folder, "copy.swiftcp")
    with open(computation.image(), "rb") as file:
        data = bytearray(file.read())
    place = data.rindex(b"SWIFTCP\x01")  # the program's memory may hold these bytes too
    data[place + 8] += 1
    with open(copy, "wb") as file:
        file.write(data)
    fails(4, "this SwiftCP reads version", "info", copy)


@suite.case(limit=90, needs="user")
def what_may_not_be_read_or_written_ends_with_1(folder):
    if is_root():
        raise Skipped("root may read everything")
    computation = one_generation(folder)
    image = computation.image()
    closed = os.path.join(folder, "closed")
    os.mkdir(closed, 0o500)
    fails(1, "Permission denied", "core", image, os.path.join(closed, "core"))
    os.chmod(image, 0)
    fails(1, "Permission denied", "info", image)


@suite.case(limit=90)
def a_full_disk_leaves_no_core(folder):
    computation = one_generation(folder)
    output = os.path.join(folder, "core")
    done = subprocess.run(["/bin/sh", "-c", 'trap "" XFSZ; ulimit -f 1; exec "$@"', "sh", tool("image"), "core",
                           computation.image(), output], capture_output=True, text=True, timeout=60, check=False)
    check_equal(done.returncode, 1, f"status ({done.stderr})")
    check("File too large" in done.stderr, f"stderr: {done.stderr}")
    check(not os.path.exists(output), "the unfinished core is there")
