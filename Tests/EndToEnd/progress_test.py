"""What a user sees of a checkpoint and of a restart under way: a bar, at a terminal alone, that is gone in the end."""

import fcntl
import glob
import os
import re
import signal
import subprocess
import time

from harness import build
from harness.case import Suite
from harness.computation import Computation
from harness.errors import Failed, Skipped, check, check_equal
from harness.output import Output
from harness.waiting import TimedOut, wait_for

suite = Suite("progress")

# Sixty-four megabytes that are no zeros, and time for a line to be shown.
LARGE = "import os, sys, time; memory = os.urandom(64 << 20); print('READY', flush=True); time.sleep(600)"
BAR = re.compile(r"\[#*-*\] +\d+ %  [\d.]+ k?M?B of [\d.]+ MB")


# ---- checkpoint ----------------------------------------------------------------------------------------------------------

def checkpoint_at_a_terminal(computation, *options, variables=None):
    """Everything that swiftcp_command --checkpoint shows on a terminal of its own."""
    terminal = Output("terminal")
    slave = terminal.pseudo_terminal()
    process = subprocess.Popen(
        [build.tool("command"), "--coordinator", computation.address, *options, "--checkpoint"],
        env=dict(computation.environment, TERM="xterm", **(variables or {})), stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    shown = terminal.drained(60)
    check_equal(process.wait(60), 0, f"exit status; the terminal shows {shown[-500:]!r}")
    return shown


@suite.case(limit=240)
def progress_is_shown_on_a_terminal_alone(folder):
    computation = Computation(folder)
    computation.launch(["/usr/bin/python3", "-c", LARGE], options=["--io-limit", "30", "--no-incremental"])
    computation.ready(60)
    shown = checkpoint_at_a_terminal(computation, variables={"NO_COLOR": "1"})
    check(BAR.search(shown), f"no progress on the terminal: {shown[-500:]!r}")
    check("\x1b" not in shown, f"colour in spite of NO_COLOR: {shown[-500:]!r}")
    check(shown.split("\r")[-2].strip().startswith("generation 1"), f"the last line is no answer: {shown[-300:]!r}")
    coloured = checkpoint_at_a_terminal(computation)
    check("\x1b[32m" in coloured, f"no colour on a terminal: {coloured[-500:]!r}")
    quiet = checkpoint_at_a_terminal(computation, "--quiet")
    check("%" not in quiet, f"progress in spite of --quiet: {quiet[-500:]!r}")
    done = computation.command("--checkpoint", limit=120)
    check_equal((done.returncode, done.stderr), (0, ""), "exit status and stderr where that is no terminal")


@suite.case(limit=240)
def status_tells_how_far_a_checkpoint_is(folder):
    computation = Computation(folder)
    computation.launch(["/usr/bin/python3", "-c", LARGE], options=["--io-limit", "30"])
    computation.ready(60)
    check("progress" not in computation.status()["computations"][0], "progress without a checkpoint")
    started = computation.command("--checkpoint", "--no-wait")
    check_equal(started.returncode, 0, f"exit status of --no-wait: {started.stderr}")
    seen = []

    def under_way():
        progress = computation.status()["computations"][0].get("progress")
        seen.append(progress["bytes_written"] if progress else 0)
        return 0 < seen[-1] < progress["bytes_expected"] if progress else False

    wait_for(under_way, 60, "a checkpoint under way in the status", interval=0.02)
    check(seen == sorted(seen), f"bytes written go back: {seen}")
    wait_for(lambda: computation.status()["last_checkpoint"], 120, "its end", interval=0.1)


# ---- restart -------------------------------------------------------------------------------------------------------------

MEGABYTES = 8  # of each process
SLOW = 1.0  # seconds that a restart is held up where nothing may be shown; a bar comes after 0.4
LIMIT = 60  # the kernel ends a lease after 45 s: what has been shown until then counts


class HeldRestart:
    """Two processes on their way back: one is there, the other's file cannot be opened until `let_go`."""

    def __init__(self, folder, launch=(), megabytes=MEGABYTES):
        self.computation = Computation(folder, {"TERM": "xterm", "NO_COLOR": "1"})
        self.path = os.path.join(self.computation.work, "mapped")
        with open(self.path, "w", encoding="ascii") as file:
            file.write("x" * 4096)
        program = os.path.join(folder, "progress_program")
        build.compile_c(os.path.join(build.HERE, "progress_program.c"), program)
        self.computation.launch([program, self.path, str(megabytes)], options=launch)
        self.computation.ready()
        self.computation.checkpoint()
        self.computation.kill9()
        self.lease = self.hold()
        self.terminal = Output("terminal")

    def hold(self):
        """A lease: whoever opens the file waits until it is given back."""
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        file = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError as error:
            raise Skipped(f"no lease on a file here: {error.strerror}") from None
        return file

    def restart(self, *options, columns=80):
        slave = self.terminal.pseudo_terminal(columns)
        self.computation.restart(["--restore", "eager", *options], stderr=slave)
        os.close(slave)

    def expect_share(self, share):
        """Waits for a bar that stands there, give or take the little that the libraries have."""
        wanted = {f"{number} %" for number in range(share - 2, share + 3)}
        try:
            wait_for(lambda: wanted & set(re.findall(r"\d+ %", self.terminal.text())), LIMIT, f"{share} % on the terminal")
        except TimedOut as error:
            raise Failed(f"{error}; it shows {self.terminal.text()[-300:]!r}; {self.computation.story()}") from None

    def let_go(self):
        os.close(self.lease)
        self.computation.restored()

    def finish(self):
        self.computation.release()
        check_equal(self.computation.expect(lambda line: line.startswith(("PASS", "FAIL"))), "PASS", "verdict")
        check_equal(self.computation.wait(), 0, "exit status")
        return self.terminal.drained()


def left_on_the_line(shown):
    """What stands on a terminal's line after all of this."""
    line, column = {}, 0
    for character in shown:
        if character == "\r":
            column = 0
        else:
            line[column] = character
            column += 1
    return "".join(line.get(place, " ") for place in range(max(line, default=-1) + 1)).strip()


def check_nothing_is_left(computation):
    """No memory and no descriptor of the counting is the program's."""
    for pid in computation.known_pids():
        with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
            check("swiftcp_progress" not in maps.read(), f"the page of process {pid}")
        names = [os.readlink(path) for path in glob.glob(f"/proc/{pid}/fd/*")]
        check(not [name for name in names if "swiftcp_progress" in name], f"descriptors of process {pid}: {names}")


def shown_and_gone(folder, share, *how):
    held = HeldRestart(folder, *how)
    held.restart()
    held.expect_share(share)
    held.let_go()
    check_nothing_is_left(held.computation)
    before = held.terminal.text()
    check(BAR.search(before), f"no bar: {before[-300:]!r}")
    check_equal(left_on_the_line(before), "", f"what is left on the terminal while the program runs ({before[-300:]!r})")
    check_equal(held.finish(), before, "what the terminal shows in the end")


@suite.case(limit=240)
def a_restart_shows_how_far_it_is(folder):
    shown_and_gone(folder, 50, [], 32)  # read by several threads


@suite.case(limit=240)
def a_restart_counts_what_it_unpacks(folder):
    # One half of each byte is done when it is unpacked, the other when it is in place. Of pages of libraries, some megabytes, the
    # second half is never done, nor expected.
    shown_and_gone(folder, 75, ["--compress", "lz4"], 32)


@suite.case(limit=240)
def a_narrow_terminal_gets_no_line_that_wraps(folder):
    held = HeldRestart(folder)
    held.restart(columns=40)
    held.expect_share(50)
    held.let_go()
    shown = held.finish()
    check(max(map(len, shown.split("\r"))) < 40, f"lines of a terminal with 40 columns: {shown[-300:]!r}")
    check_equal(left_on_the_line(shown), "", f"what is left ({shown[-300:]!r})")


def silent(folder, *options, terminal):
    held = HeldRestart(folder)
    began = time.monotonic()
    if terminal:
        held.restart(*options)
    else:
        held.computation.restart(["--restore", "eager", *options])
    wait_for(lambda: time.monotonic() > began + SLOW, SLOW + 10, "a slow restart")
    check_equal(held.computation.process.poll(), None, "exit status of a restart that is held up")
    held.let_go()
    check_equal(held.finish() + held.computation.errors.text(), "", "what is shown")


@suite.case(limit=240)
def a_restart_shows_nothing_where_stderr_is_no_terminal(folder):
    silent(folder, terminal=False)


@suite.case(limit=240)
def a_quiet_restart_shows_nothing(folder):
    silent(folder, "--quiet", terminal=True)


@suite.case(limit=240)
def a_quick_restart_shows_nothing(folder):
    held = HeldRestart(folder)
    os.close(held.lease)
    began = time.monotonic()
    held.restart()
    held.computation.restored()
    took = time.monotonic() - began
    shown = held.finish()
    if took > 0.4:
        raise Skipped(f"the machine is busy: the restart took {took:.2f} s")
    check_equal(shown, "", "what is shown")
