"""Every error of the contract: its exit status, one clear sentence, and nothing that existed before is lost."""

import json
import os
import random
import shutil
import socket
import struct
import subprocess
import threading

from harness import build
from harness.build import compile_c, tool
from harness.case import Suite
from harness.computation import Computation, restart_options
from harness.errors import Failed, Skipped, check, check_equal
from harness.imagefile import CPU_FEATURES, FORMAT_VERSION, ImageFile
from harness.waiting import wait_for
from workloads_test import compile_workload

suite = Suite("errors")
LIMIT = 30


def run(words, folder, environment=None, limit=LIMIT):
    try:
        return subprocess.run(words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired as late:
        raise Failed(f"{' '.join(words)}: no end within {limit} s; stdout {late.stdout!r}, stderr {late.stderr!r}") from None


def check_error(done, statuses, words, command):
    """One of the exit statuses, and one clear sentence with the words in it."""
    statuses = statuses if isinstance(statuses, tuple) else (statuses,)
    if done.returncode not in statuses:
        raise Failed(f"exit status {done.returncode} instead of {statuses}; stdout {done.stdout!r}, stderr {done.stderr!r}")
    lines = done.stderr.strip().splitlines()
    check(1 <= len(lines) <= 3, f"{len(lines)} lines on stderr instead of one or two: {done.stderr!r}")
    check(lines[0].startswith(f"swiftcp_{command}: "), f"the message does not begin with the command's name: {lines[0]!r}")
    for word in words:
        check(word.lower() in done.stderr.lower(), f"the message {done.stderr!r} says nothing of {word!r}")


def counter(folder, options=()):
    """The counter workload, running and ready."""
    computation = Computation(folder)
    computation.launch([compile_workload(os.path.join(build.WORKLOADS, "counter.c"))], options)
    computation.ready()
    return computation


def finish(computation):
    """It must run on to its end as if nothing had been."""
    computation.release()
    computation.expect("PASS")
    check_equal(computation.wait(), 0, "exit status of the program")


def launch(computation, *words, options=()):
    return run([tool("launch"), "--coordinator", computation.address, "--ckptdir", computation.ckptdir, *options, "--",
                *words], computation.work, computation.environment)


def restart(computation, image, *options):
    return run([tool("restart"), "--coordinator", computation.address, *options, image], computation.work,
               computation.environment)


# ---- coordinators --------------------------------------------------------------------------------------------------


@suite.case()
def no_coordinator(folder):
    computation = Computation(folder)
    for words in (["--status"], ["--checkpoint"], ["--list"], ["--kill"], ["--quit"]):
        check_error(computation.command(*words), 3, [computation.address.split(":", 1)[1]], "command")
    check_error(launch(computation, "/bin/true", options=["-j"]), 3, ["coordinator"], "launch")


@suite.case()
def something_else_listens_at_the_address(folder):
    """A server that answers garbage, and one that says nothing."""
    computation = Computation(folder)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(computation.address.split(":", 1)[1])
        listener.listen(8)
        stop = threading.Event()

        def answer():
            listener.settimeout(0.1)
            while not stop.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(range(256)))

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            check_error(computation.command("--status"), (1, 3), ["coordinator"], "command")
            check_error(launch(computation, "/bin/true", options=["-j"]), (1, 3), ["coordinator"], "launch")
        finally:
            stop.set()
            thread.join()


@suite.case()
def garbage_to_the_coordinator_closes_one_connection(folder):
    computation = counter(folder)
    for data in (b"GET / HTTP/1.0\r\n\r\n", os.urandom(5000), struct.pack("<IIQ", 0xffffffff, 0xffff, 1 << 60), b"\0" * 64):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(10)
            client.connect(computation.address.split(":", 1)[1])
            try:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                while client.recv(4096):
                    pass
            except (BrokenPipeError, ConnectionResetError):
                pass
    computation.checkpoint()
    finish(computation)


@suite.case(needs="root")
def another_users_coordinator(folder):
    """A coordinator serves its own user alone, even where the socket's file lets others in."""
    computation = counter(folder)
    path = computation.address.split(":", 1)[1]
    for part in (folder, os.path.dirname(path)):
        os.chmod(part, 0o755)
    os.chmod(path, 0o777)
    copied = os.path.join(folder, "copied")
    shutil.copytree(build.build_folder(), copied)
    subprocess.run(["chmod", "-R", "a+rX", copied], check=True)
    for request in ("--kill", "--checkpoint"):
        done = run(build.as_user_command(
            [os.path.join(copied, "bin", "swiftcp_command"), "--coordinator", computation.address, request]), "/")
        check_error(done, (1, 3), ["coordinator"], "command")
    check_equal(computation.generations(), [], "generations")
    finish(computation)


# ---- targets -------------------------------------------------------------------------------------------------------


@suite.case()
def target_is_missing(folder):
    computation = Computation(folder)
    check_error(launch(computation, "./no-such-program"), 1, ["no-such-program"], "launch")
    check_error(launch(computation, "no-such-program-in-path"), 1, ["no-such-program-in-path"], "launch")


@suite.case()
def target_is_statically_linked(folder):
    computation = Computation(folder)
    source, target = os.path.join(folder, "static.c"), os.path.join(computation.work, "static")
    with open(source, "w", encoding="ascii") as file:
        file.write("#include <stdio.h>\nint main(void) { return puts(\"ran\") < 0; }\n")
    try:
        compile_c(source, target, ["-static"])
    except RuntimeError as error:
        raise Skipped(f"cannot link statically here: {error}") from None
    done = launch(computation, target)
    check_error(done, 1, ["static"], "launch")
    check_equal(done.stdout, "", "what the refused program printed")


@suite.case()
def target_is_of_another_architecture(folder):
    computation = Computation(folder)
    target = os.path.join(computation.work, "foreign")
    with open("/bin/true", "rb") as file:
        data = bytearray(file.read())
    data[18:20] = struct.pack("<H", 183)  # EM_AARCH64
    with open(target, "wb") as file:
        file.write(data)
    os.chmod(target, 0o755)
    check_error(launch(computation, target), 1, ["foreign"], "launch")


@suite.case()
def target_is_not_executable(folder):
    computation = Computation(folder)
    target = os.path.join(computation.work, "text")
    with open(target, "w", encoding="ascii") as file:
        file.write("no program\n")
    check_error(launch(computation, target), 1, ["text"], "launch")


@suite.case()
def target_changes_its_user(folder):
    target = shutil.which("su") or "/bin/su"
    if not os.path.exists(target) or not os.stat(target).st_mode & 0o4000:
        raise Skipped("no setuid su here")
    computation = Computation(folder)
    if build.is_root():
        # For root, root's setuid program changes nothing; one of another user does.
        copied = os.path.join(computation.work, "other")
        shutil.copy("/bin/true", copied)
        os.chown(copied, build.ORDINARY_USER, build.ORDINARY_USER)
        os.chmod(copied, 0o4755)
        target = copied
    check_error(launch(computation, target), 1, ["set"], "launch")


@suite.case()
def usage_errors(folder):
    computation = Computation(folder)
    for name, words, hint in (
            ("launch", ["--intervall", "3", "true"], "--interval"), ("command", ["--chekpoint"], "--checkpoint"),
            ("restart", ["--restroe", "lazy", "x"], "--restore"), ("image", ["--jsno", "info", "x"], "--json"),
            ("coordinator", ["--deamon"], "--daemon")):
        check_error(run([tool(name), *words], computation.work, computation.environment), 2, [hint], name)
    for name, words in (("launch", []), ("restart", []), ("command", []), ("image", ["info"]),
                        ("launch", ["--keep", "0", "true"]), ("launch", ["--interval", "-1", "true"])):
        check_error(run([tool(name), *words], computation.work, computation.environment), 2, [], name)


@suite.case()
def options_of_later_releases_are_refused(folder):
    computation = Computation(folder)
    for name, words in (("launch", ["--encrypt", "true"]), ("restart", ["--key", "file", "x"])):
        done = run([tool(name), *words], computation.work, computation.environment)
        check_error(done, 2, ["not yet available"], name)


# ---- images --------------------------------------------------------------------------------------------------------


def killed_with_image(folder):
    """A counter that has been checkpointed and killed; its computation and image."""
    computation = counter(folder)
    computation.checkpoint()
    computation.kill9()
    return computation, computation.image()


def killed_and_copied(folder):
    """The same with a copy of the image in memory, to be damaged, and a path to write it to."""
    computation, image = killed_with_image(folder)
    return computation, ImageFile(image), os.path.join(folder, "damaged.swiftcp")


def comes_back(computation):
    """The undamaged image still restores."""
    computation.restart()
    computation.restored()
    finish(computation)


def verify(path):
    return run([tool("image"), "verify", path], "/")


@suite.case()
def image_is_missing(folder):
    computation = Computation(folder)
    for name in ("nothing.swiftcp", "no-folder/"):
        check_error(restart(computation, name), 4, [name.rstrip("/")], "restart")
        check_error(run([tool("image"), "info", name], computation.work), 4, [name.rstrip("/")], "image")
    os.mkdir(os.path.join(computation.work, "empty"))
    check_error(restart(computation, "empty"), 4, ["empty"], "restart")


@suite.case()
def refused_restart_leaves_no_coordinator(folder):
    """It is loaded before the images are read: neither a process nor a socket may stay of it."""
    computation, image = killed_with_image(folder)
    computation.coordinator_gone()
    run_folder = os.path.dirname(computation.address.partition(":")[2])
    left = sorted(os.listdir(run_folder))
    target = os.path.join(folder, "cut.swiftcp")
    ImageFile(image).write(target)
    os.truncate(target, 8192)
    check_error(restart(computation, target), 4, [], "restart")

    def processes():
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    words = file.read().decode(errors="replace").split("\0")
            except OSError:
                continue
            if computation.address in words and words[0].endswith("swiftcp_coordinator"):
                found.append(pid)
        return found

    wait_for(lambda: not processes(), LIMIT, "the end of the coordinator that was not wanted")
    check_equal(sorted(os.listdir(run_folder)), left, "what is in the coordinator's folder")
    comes_back(computation)


@suite.case(limit=240)
def image_is_cut_at_every_page(folder):
    computation, image = killed_with_image(folder)
    original = ImageFile(image)
    target = os.path.join(folder, "cut.swiftcp")
    sizes = list(range(0, len(original.bytes), 4096)) + [1, 63, 64, 4095, len(original.bytes) - 1]
    cut = ImageFile(image)
    cut.write(target)
    check_equal(verify(target).returncode, 0, "verify of the whole image")
    for number, size in enumerate(sorted(sizes, reverse=True)):
        os.truncate(target, size)
        check_error(verify(target), 4, [], "image")
        if number % 40 == 0:
            check_error(restart(computation, target, "--verify-only"), 4, [], "restart")
            check_error(restart(computation, target), 4, [], "restart")
    comes_back(computation)


def check_refused_or_right(computation, image):
    """swiftcp_restart ends with 4, or does not need the damaged block: one that equals a file's content may come from there."""
    computation.restart(["--restore", "eager"], image)

    def decided():
        if computation.process.poll() is not None:
            return True
        done = computation.command("--status", "--json")
        return done.returncode == 0 and len(json.loads(done.stdout)["processes"]) > 0

    wait_for(decided, LIMIT, "the restart's end or success")
    if computation.process.poll() is None:
        computation.restored()
        computation.kill9()
    else:
        check_equal(computation.process.returncode, 4, f"exit status ({computation.errors.text()[-500:]!r})")
    computation.coordinator_gone()


@suite.case(limit=240)
def one_bit_is_flipped(folder):
    computation, original, target = killed_and_copied(folder)
    length, start = len(original.bytes), original.metadata
    places = ([random.randrange(length) for _ in range(120)] + [random.randrange(4096) for _ in range(60)]
              + [random.randrange(start, length) for _ in range(120)])
    for number, place in enumerate(places):
        bit = 1 << random.randrange(8)
        original.bytes[place] ^= bit
        original.write(target)
        try:
            check_error(verify(target), 4, [], "image")
            if number % 30 == 0:
                check_refused_or_right(computation, target)
        except Failed as failure:
            raise Failed(f"bit {bit:#x} of byte {place} of {length} (metadata from {start}): {failure}") from None
        original.bytes[place] ^= bit
    comes_back(computation)


@suite.case(limit=120)
def a_wrong_page_is_told_whether_the_restart_needs_it_or_not(folder):
    """Most of a small program's image are pages of libraries, which a restart takes from their files."""
    computation, damaged, target = killed_and_copied(folder)
    for number, place in enumerate(range(4096 + 7, damaged.metadata, (damaged.metadata - 4096) // 8)):
        damaged.bytes[place] ^= 4
        damaged.write(target)
        damaged.bytes[place] ^= 4
        check_error(restart(computation, target, *restart_options(number)), 4, [], "restart")
    comes_back(computation)


def damage_every_page(image, target):
    for place in range(4096, image.metadata, 4096):
        image.bytes[place] ^= 4
    image.write(target)


# What a restart would cut back to its first line.
LOG = "import time; log = open('log', 'w'); print('one', file=log, flush=True); print('READY', flush=True); time.sleep(600)"


@suite.case()
def a_wrong_page_is_told_before_a_file_is_cut_back(folder):
    computation = Computation(folder)
    computation.launch(["/usr/bin/python3", "-c", LOG])
    computation.ready()
    computation.checkpoint()
    computation.kill9()
    path, target = os.path.join(computation.work, "log"), os.path.join(folder, "damaged.swiftcp")
    with open(path, "a", encoding="ascii") as log:
        log.write("two\n")
    damage_every_page(ImageFile(computation.image()), target)
    check_error(restart(computation, target, "--restore", "eager"), 4, [], "restart")
    with open(path, encoding="ascii") as log:
        check_equal(log.read(), "one\ntwo\n", "the file that the program had open")


@suite.case(limit=120)
def a_lazy_restart_ends_with_4_when_a_block_is_wrong(folder):
    computation, damaged, target = killed_and_copied(folder)
    damage_every_page(damaged, target)
    done = restart(computation, target, "--restore", "lazy")
    check_error(done, 4, [], "restart")
    comes_back(computation)


@suite.case()
def image_of_another_format_version(folder):
    computation, changed, target = killed_and_copied(folder)
    changed.set32(FORMAT_VERSION, changed.get32(FORMAT_VERSION) + 1)
    changed.seal()
    changed.write(target)
    check_error(restart(computation, target), 4, ["version"], "restart")
    check_error(verify(target), 4, ["version"], "image")
    comes_back(computation)


@suite.case()
def image_needs_a_processor_feature_that_is_missing(folder):
    computation, changed, target = killed_and_copied(folder)
    before = bytes(changed.bytes)
    # amx_tile, amx_int8, amx_bf16, amx_fp16 and cmpccxadd: whichever this processor lacks.
    changed.set32(CPU_FEATURES + 4 * 4, changed.get32(CPU_FEATURES + 4 * 4) | 1 << 22 | 1 << 24 | 1 << 25)
    changed.set32(CPU_FEATURES + 4 * 5, changed.get32(CPU_FEATURES + 4 * 5) | 1 << 7 | 1 << 21)
    if changed.bytes == before:
        raise Skipped("this processor has every feature that the test could ask for")
    changed.seal()
    changed.write(target)
    check_equal(verify(target).returncode, 0, "verify of an image that needs more than this processor")
    check_error(restart(computation, target), (1, 4), ["processor", "amx"], "restart")
    comes_back(computation)


# ---- checkpoints that fail -----------------------------------------------------------------------------------------


@suite.case(needs="root")
def disk_is_full(folder):
    computation = Computation(folder)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", computation.ckptdir], check=False,
                      capture_output=True).returncode != 0:
        raise Skipped("no tmpfs may be mounted here")
    try:
        computation.launch([compile_workload(os.path.join(build.WORKLOADS, "counter.c"))])
        computation.ready()
        for _ in range(3):
            check_error(computation.command("--checkpoint"), 1, ["space"], "command")
        check_equal(computation.generations(), [], "generations")
        subprocess.run(["mount", "-o", "remount,size=100m", computation.ckptdir], check=True)
        computation.checkpoint()
        subprocess.run(["mount", "-o", f"remount,size={computation.size() // 1024 + 500}k", computation.ckptdir], check=True)
        check_error(computation.command("--checkpoint"), 1, ["space"], "command")
        check_equal(len(computation.generations()), 1, "number of generations after the failure")
        computation.kill9()
        computation.restart()
        computation.restored()
        finish(computation)
        computation.coordinator_gone()
    finally:
        subprocess.run(["umount", "-l", computation.ckptdir], check=False)


@suite.case(needs="user")
def checkpoint_folder_is_not_writable(folder):
    computation = Computation(folder)
    os.chmod(computation.ckptdir, 0o500)
    done = launch(computation, "/bin/true")
    if done.returncode != 0:
        check_error(done, 1, [computation.ckptdir], "launch")
    os.chmod(computation.ckptdir, 0o700)
    computation.launch([compile_workload(os.path.join(build.WORKLOADS, "counter.c"))])
    computation.ready()
    computation.checkpoint()
    before = computation.generations()
    os.chmod(computation.computation_folder(), 0o500)
    check_error(computation.command("--checkpoint"), 1, ["Permission denied"], "command")
    os.chmod(computation.computation_folder(), 0o700)
    check_equal(computation.generations(), before, "generations")
    computation.checkpoint()
    finish(computation)


@suite.case(limit=180)
def program_ends_while_it_is_checkpointed(folder):
    """Asked for at the moment of exit: done or failed, never a hang, half a generation or another exit status."""
    for number in range(25):
        inner = os.path.join(folder, str(number))
        os.mkdir(inner)
        computation = Computation(inner)
        computation.launch(["/bin/sh", "-c", "while [ ! -e ../go ]; do :; done; exit 7"])
        wait_for(lambda: computation.command("--status").returncode == 0, LIMIT, "the coordinator")
        asking = subprocess.Popen(
            [tool("command"), "--coordinator", computation.address, "--checkpoint"], env=computation.environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        threading.Timer(random.uniform(0, 0.03), computation.release).start()
        _, errors = asking.communicate(timeout=LIMIT)
        if asking.returncode not in (0, 1, 3):
            raise Failed(f"swiftcp_command ended with {asking.returncode}: {errors!r}")
        check_equal(computation.wait(), 7, "exit status of the program")
        computation.coordinator_gone()
        leftover = [name for _, folders, _ in os.walk(computation.ckptdir) for name in folders
                    if name.startswith("gen-") or "tmp" in name or name.startswith(".")]
        complete = [os.path.basename(path) for path in computation.generations()]
        check_equal(sorted(leftover), sorted(complete), "generation folders")
