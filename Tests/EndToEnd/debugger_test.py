"""gdb, readelf and eu-readelf on images as they are; and swiftcp_image on real images."""

import dataclasses
import glob
import json
import os
import re
import shutil
import subprocess

from harness.build import HERE, compile_c, tool
from harness.case import Suite
from harness.computation import Computation
from harness.errors import Failed, Skipped, check, check_equal

suite = Suite("debugger")
TARGET_FUNCTIONS = {"outermost", "in_semaphore", "in_read", "in_poll", "in_sleep", "in_registers"}


# ---- gdb -----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Frame:
    """One line of a backtrace; `address` is None where gdb shows none (the first frame, inlined ones)."""

    function: str
    place: str
    address: str
    arguments: str


def gdb(words, commands):
    """Runs gdb in batch mode; returns its stdout."""
    if shutil.which("gdb") is None:
        raise Skipped("gdb is not installed")
    more = [word for command in ["set width 0", "set pagination off", "set print frame-info auto", *commands]
            for word in ("-ex", command)]
    # Without a sysroot gdb looks for libraries in the mount namespace of a restored process, which it may not enter.
    done = subprocess.run(
        ["gdb", "-batch", "-nx", "-iex", "set debuginfod enabled off", "-iex", "set sysroot", *words, *more],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=60, check=False)
    if "ptrace: Operation not permitted" in done.stderr + done.stdout:
        raise Skipped("gdb may not attach to processes here")
    return done.stdout


def sections(text):
    """What `thread apply all` printed, by tid."""
    parts = re.split(r"(?m)^Thread \d+ \(.*?LWP (\d+)\)?.*\):\n", text)
    return {int(tid): body for tid, body in zip(parts[1::2], parts[2::2])}


def frames(body):
    pattern = re.compile(r"^#\d+ +(?:(0x[0-9a-f]+) in )?([^ ]+) \((.*)\)(?: (?:at|from) (.*))?$", re.MULTILINE)
    return [Frame(match[2], match[4] or "", match[1], match[3]) for match in pattern.finditer(body)]


def backtraces(words):
    return {tid: frames(body) for tid, body in sections(gdb(words, ["thread apply all backtrace"])).items()}


def printed(words, expression):
    """An expression's value in every thread that has it, by tid: the checkpoint thread has no thread-local storage."""
    bodies = sections(gdb(words, [f"thread apply all -s print {expression}"]))
    return {tid: re.sub(r"^\$\d+ = ", "", body.strip().splitlines()[0]) for tid, body in bodies.items() if body.strip()}


# ---- the program -----------------------------------------------------------------------------------------------------


class Target:
    """The program of debugger_target.c, running under SwiftCP; `beside`: with another process, so that libraries stand
    in the file pages of the generation."""

    def __init__(self, folder, beside=False):
        self.binary = os.path.join(folder, "target")
        compile_c(os.path.join(HERE, "debugger_target.c"), self.binary, ["-fno-optimize-sibling-calls"])
        self.computation = Computation(folder)
        self.computation.launch(["/bin/bash", "-c", 'sleep 1000 & exec "$0"', self.binary] if beside else [self.binary])
        self.computation.expect("ready")

    def live(self):
        return [self.binary, "-p", str(self.computation.program_pid())]

    def image(self):
        """Checkpoints, and returns what gdb needs to open the image."""
        folder = self.computation.checkpoint()["path"]
        return [self.binary, *glob.glob(os.path.join(folder, "target_*.swiftcp"))]


def image_tool(*words, status=0):
    done = subprocess.run([tool("image"), *words], capture_output=True, text=True, timeout=60, check=False)
    check_equal(done.returncode, status, f"swiftcp_image {' '.join(words)}: {done.stdout[-500:]}{done.stderr}; status")
    return done


def image_json(command, path):
    reply = json.loads(image_tool(command, "--json", path).stdout)
    check_equal([reply["schema_version"], reply["command"], reply["status"]], [1, command, "ok"], "the reply's head")
    return reply


def program_tids(image):
    return {thread["tid"] for thread in image_json("info", image)["images"][0]["threads"]}


def compare(live, saved, tids):
    """The image's backtraces against the live ones. The frame at the top of a blocked thread stands two bytes further
    in the live process (behind the system call, not at it), which changes nothing but its arguments' locations."""
    check_equal(set(saved), tids, "the threads that gdb finds in the image")
    check(tids <= set(live), f"gdb sees {set(live)} in the live process, the image has {tids}")
    for tid in tids:
        check(saved[tid], f"no backtrace of thread {tid} in the image")
        check_equal([(frame.function, frame.place) for frame in saved[tid] if frame.function != "in_registers"],
                    [(frame.function, frame.place) for frame in live[tid] if frame.function != "in_registers"],
                    f"functions of thread {tid}")
        check_equal([frame.address for frame in saved[tid][1:]], [frame.address for frame in live[tid][1:]],
                    f"return addresses of thread {tid}")
        own = [[frame.arguments for frame in side[tid] if "debugger_target.c" in frame.place] for side in (saved, live)]
        check_equal(own[0], own[1], f"arguments of thread {tid}")


# ---- cases: gdb ----------------------------------------------------------------------------------------------------


def own_tids(pid):
    """The process's tids as the machine sees them, each with the program's own: they differ in a pid namespace."""
    found = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/status", encoding="utf-8") as file:
            found[int(tid)] = int(re.search(r"(?m)^NSpid:.*?(\d+)$", file.read())[1])
    return found


def check_backtraces(target):
    own = own_tids(target.computation.program_pid())
    live = {own[tid]: body for tid, body in backtraces(target.live()).items()}
    image = target.image()
    saved = backtraces(image)
    compare(live, saved, program_tids(image[1]))
    found = {frame.function for body in saved.values() for frame in body}
    check(TARGET_FUNCTIONS <= found, f"of the target's functions only {TARGET_FUNCTIONS & found} are in the backtraces")


@suite.case(limit=120)
def backtraces_are_those_of_the_live_process(folder):
    check_backtraces(Target(folder))


@suite.case(limit=120)
def backtraces_of_one_of_several_processes_are_right_too(folder):
    target = Target(folder, beside=True)
    check_backtraces(target)
    check(os.path.exists(os.path.join(os.path.dirname(target.image()[1]), "file-pages-000001")), "no file pages are there")


@suite.case(limit=180)
def backtraces_of_a_restored_process_are_right_too(folder):
    target = Target(folder)
    target.computation.checkpoint()
    target.computation.kill9()
    target.computation.restart()
    wait_restored(target.computation)
    check_backtraces(target)


def wait_restored(computation):
    from harness.waiting import wait_for

    def known():
        if computation.process.poll() is not None:
            raise Failed(f"swiftcp_restart has ended; {computation.story()}")
        done = computation.command("--status", "--json")
        return done.returncode == 0 and '"own_pid"' in done.stdout

    wait_for(known, 30, "the restored program in the coordinator's status", interval=0.05)


@suite.case(limit=120)
def thread_locals_are_each_threads_own(folder):
    target = Target(folder)
    live = {name: printed(target.live(), name) for name in ("own_number", "own_text")}
    image = target.image()
    for name, expected in live.items():
        saved = printed(image, name)
        check(saved, f"no value of {name} in the image")
        check_equal(saved, {tid: expected.get(tid) for tid in saved}, name)
    numbers = [str(number) for number in range(100, 106)]
    check_equal(sorted(printed(image, "own_number").values()), numbers, "own_number")


@suite.case(limit=120)
def vector_registers_are_those_of_the_thread(folder):
    target = Target(folder)
    image = target.image()
    numbers = printed(image, "own_number")
    tid = next(tid for tid, number in numbers.items() if number == "105")
    if os.uname().machine != "x86_64":
        raise Skipped("registers of x86_64")
    value = 0x5CA1AB1E
    check_equal(printed(image, "/x $r14")[tid], hex(value), "r14")
    expected = "{" + f"{value:#x} <repeats 8 times>" + "}"
    found = printed(image, "/x $ymm13.v8_int32")[tid]
    check(found in (expected, "{" + ", ".join([hex(value)] * 8) + "}"), f"ymm13 is {found}")


@suite.case(limit=120)
def auxiliary_vector_and_libraries_are_those_of_the_live_process(folder):
    target = Target(folder)
    commands = ["info auxv", "info sharedlibrary"]
    live = gdb(target.live(), commands)
    saved = gdb(target.image(), commands)
    for what, pattern in (("auxiliary vector", r"(?m)^\d+ +(?:AT_|\?).*$"), ("libraries", r"(?m)^0x\w+ +0x\w+ .*$")):
        lines = re.findall(pattern, saved)
        check(len(lines) >= 2, f"gdb shows no {what} of the image")
        check_equal(lines, re.findall(pattern, live), what)


@suite.case(limit=120)
def python_threads_have_their_backtraces(folder):
    if not os.path.exists("/usr/bin/python3"):
        raise Skipped("/usr/bin/python3 is not installed")
    computation = Computation(folder)
    program = ("import threading, time\nfor _ in range(8):\n    "
               "threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\nprint('ready', flush=True)\nthreading.Event().wait()")
    computation.launch(["/usr/bin/python3", "-c", program])
    computation.expect("ready")
    live = backtraces(["-p", str(computation.program_pid())])
    computation.checkpoint()
    image = computation.image()
    tids = program_tids(image)
    check_equal(len(tids), 9, "number of threads")
    compare(live, backtraces(["/usr/bin/python3", image]), tids)


# ---- cases: readelf ------------------------------------------------------------------------------------------------


@suite.case(limit=120)
def elf_tools_find_nothing_wrong(folder):
    image = Target(folder).image()[1]
    for words in (["readelf", "-aW", image], ["eu-readelf", "-n", image], ["eu-readelf", "-lh", image]):
        if shutil.which(words[0]) is None:
            raise Skipped(f"{words[0]} is not installed")
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=60, check=False)
        check_equal(done.returncode, 0, f"{' '.join(words)}: {done.stderr}; status")
        check_equal(done.stderr, "", f"what {words[0]} complains of")
        check("SWIFTCP" in done.stdout or words[1] == "-lh", f"{words[0]} shows no note of ours")


# ---- cases: swiftcp_image ------------------------------------------------------------------------------------------


@suite.case(limit=120)
def image_commands_describe_a_real_image(folder):
    target = Target(folder)
    pid = target.computation.program_pid()
    with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
        live = [line.split(maxsplit=5) for line in file]
    image = target.image()[1]
    info = image_json("info", image)["images"][0]
    check_equal([info["pid"], info["command"], info["executable"], info["directory"], len(info["threads"])],
                [pid, [target.binary], target.binary, target.computation.work, 6], "what info says")
    numbers = [descriptor["number"] for descriptor in info["descriptors"]]
    check_equal(numbers, [0, 1, 2, 3, 4], "the descriptors of info")
    check("threads      6" in image_tool("info", image).stdout, "info does not show the threads")
    saved = {region["start"]: region for region in image_json("maps", image)["regions"]}
    for line in live:
        path = line[5].strip() if len(line) > 5 else ""
        if path != target.binary and path not in ("[heap]", "[stack]", "[vdso]"):
            continue
        region = saved.get(line[0].split("-")[0].rjust(8, "0"))
        check(region is not None, f"maps does not have {line}")
        if path != "[stack]":
            found = [region["permissions"], region["path"], region["inode"]]
            check_equal(found, [line[1], path, int(line[4])], f"{line}")
    check("sound" in image_tool("verify", image).stdout, "verify says nothing")
    image_tool("verify", target.computation.computation_folder())


@suite.case(limit=120)
def a_core_is_as_good_as_the_image(folder):
    target = Target(folder)
    image = target.image()
    output = os.path.join(folder, "core")
    image_tool("core", image[1], output)
    check_equal(os.stat(output).st_mode & 0o777, 0o600, "mode of the core file")
    check_equal(backtraces([target.binary, output]), backtraces(image), "backtraces of the core")
    check("not overwritten" in image_tool("core", image[1], output, status=1).stderr, "an existing file is not refused")


@suite.case(limit=240)
def damage_to_a_real_image_is_found(folder):
    image = Target(folder).image()[1]
    copy = os.path.join(folder, "copy.swiftcp")
    shutil.copyfile(image, copy)
    size = os.path.getsize(image)
    image_tool("verify", copy)
    for length in [0, 1, 63, 64, 4095] + list(range(4096, size, 4096 * max(1, size // 4096 // 200))) + [size - 1]:
        with open(copy, "r+b") as file:
            file.truncate(length)
        image_tool("verify", copy, status=4)
        image_tool("info", copy, status=4)
        shutil.copyfile(image, copy)
    for place in range(0, size, max(1, size // 200)):
        flip(copy, place)
        done = image_tool("verify", copy, status=4)
        check(copy in done.stderr, f"byte {place}: {done.stderr}")
        flip(copy, place)
    image_tool("verify", copy)


def flip(path, place):
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1 << place % 8]))
