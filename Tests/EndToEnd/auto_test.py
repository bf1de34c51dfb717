"""swiftcp_launch --auto: the same line goes on where it was interrupted."""

import glob
import json
import os
import shutil
import signal
import subprocess

from harness import build
from harness.case import Suite
from harness.computation import Computation
from harness.errors import check, check_equal
from harness.imagefile import flip_bits
from harness.processes import descendants
from harness.screen import Screen
from harness.waiting import wait_for

suite = Suite("auto")

COUNTER = """
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int main(int count, char **words) {
    for (int i = 1; i <= (count > 1 ? atoi(words[1]) : 6); i++) {
        printf("%d\\n", i);
        fflush(stdout);
        nanosleep(&(struct timespec){0, 500000000}, NULL);
    }
    return 0;
}
"""

# Would end by itself on Ctrl+C, if it saw it.
INTERRUPTIBLE = """
import time
try:
    for i in range(1, 11):
        print(i, flush=True)
        time.sleep(0.3)
    print("complete", flush=True)
except KeyboardInterrupt:
    print("caught", flush=True)
"""

# Dies now and then; what it has printed must be complete and in order in the end. Randomness comes from the kernel: the
# state of a generator would be restored, and with it the death.
MORTAL = """
import os, signal, time
log = open("log", "w", encoding="ascii")  # it may die before its first checkpoint
for i in range(1, 151):
    print(i, file=log, flush=True)
    time.sleep(0.02)
    die = os.urandom(1)[0]
    if die < 4:
        os.kill(os.getpid(), signal.SIGKILL)
    if die < 8:
        os._exit(3)
"""


class Automatic(Computation):
    """A program that is started by one and the same `swiftcp_launch --auto` line, again and again."""

    def __init__(self, folder, words, options=()):
        super().__init__(folder)
        self.words = words
        self.options = options

    def line(self):
        return [build.tool("launch"), "--auto", "--coordinator", self.address, "--ckptdir", self.ckptdir, *self.options,
                "--", *self.words]

    def again(self, **more):
        return self.start(self.line(), **more)

    def program(self):
        """pid of the program itself, below the supervisor and perhaps swiftcp_restart."""
        name = os.path.basename(self.words[0])[:15]

        def found():
            for pid in descendants(self.process.pid):
                try:
                    with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
                        if file.read().strip() == name:
                            return pid
                except FileNotFoundError:
                    pass
            return None

        return wait_for(found, 20, f"the process of {name}")

    def images(self):
        return sorted(os.listdir(self.ckptdir))


def counter(folder, count=6):
    source, program = os.path.join(folder, "counter.c"), os.path.join(folder, "work", "counter")
    os.makedirs(os.path.join(folder, "work"), exist_ok=True)
    with open(source, "w", encoding="ascii") as file:
        file.write(COUNTER)
    build.compile_c(source, program)
    return Automatic(folder, ["./counter", str(count)])


def python(folder, text, options=()):
    os.makedirs(os.path.join(folder, "work"), exist_ok=True)
    with open(os.path.join(folder, "work", "loop.py"), "w", encoding="ascii") as file:
        file.write(text)
    return Automatic(folder, ["/usr/bin/python3", "loop.py"], options)


def shown_numbers(lines):
    return [int(line) for line in lines if line.isdecimal()]


def terminal(program):
    return Screen(program.folder, program.environment, program.work)


# ---- at a terminal ---------------------------------------------------------------------------------------------------


def interrupt_and_continue(program, line_before, last):
    """Ctrl+C after the line `line_before`, then the same line again; together they must count from 1 to `last`."""
    screen = terminal(program)
    line = " ".join(program.line())
    screen.type(line)
    screen.wait_line(line_before)
    screen.key("C-c")
    shown = screen.wait_prompt()
    check_equal(screen.run("echo status $?"), ["status 85"], "after Ctrl+C")
    check(any("saved as generation 1" in text for text in shown), f"nothing said how to go on: {shown}")
    numbers = shown_numbers(shown)
    screen.type(line)
    shown = screen.wait_prompt(60)
    check_equal(screen.run("echo status $?"), ["status 0"], "at the end")
    numbers += shown_numbers(shown)
    check(shown_numbers(shown), f"the second run showed no number: {shown}")
    check_equal(numbers, list(range(1, last + 1)), "numbers of both runs")
    check_equal(program.images(), [], "what is left in the checkpoint folder")
    screen.close()
    return shown


@suite.case(alone=True, limit=120)
def counter_at_a_terminal(folder):
    interrupt_and_continue(counter(folder), "3", 6)


@suite.case(alone=True, limit=120)
def python_with_its_own_handling_at_a_terminal(folder):
    shown = interrupt_and_continue(python(folder, INTERRUPTIBLE), "3", 10)
    check("complete" in shown and "caught" not in shown, f"the program acted on Ctrl+C: {shown}")


@suite.case(alone=True, limit=120)
def many_interruptions_at_a_terminal(folder):
    program = counter(folder, 9)
    screen = terminal(program)
    line = " ".join(program.line())
    numbers = []
    for last in (2, 4, 7):
        screen.type(line)
        screen.wait_line(str(last))
        screen.key("C-c", "C-c")  # the impatient: nothing is killed half-way
        numbers += shown_numbers(screen.wait_prompt())
        check_equal(screen.run("echo status $?"), ["status 85"], f"after {last}: {screen.screen()}")
    screen.type(line)
    numbers += shown_numbers(screen.wait_prompt())
    check_equal(numbers, list(range(1, 10)), "numbers of all runs")
    check_equal(program.images(), [], "what is left in the checkpoint folder")
    screen.close()


@suite.case(alone=True, limit=120)
def stopped_and_continued_at_a_terminal(folder):
    program = counter(folder, 8)
    screen = terminal(program)
    line = " ".join(program.line())
    numbers = []
    for last in (2, 5):  # the first time the program itself, then the restored one
        screen.type(line)
        screen.wait_line(str(last))
        screen.key("C-z")
        numbers += shown_numbers(screen.wait_prompt())
        check("Stopped" in screen.run("jobs")[0], "the job is not stopped")
        screen.type("fg")
        screen.wait_line(str(last + 1))
        screen.key("C-c")
        numbers += shown_numbers(screen.wait_prompt())
        check_equal(screen.run("echo status $?"), ["status 85"], "after Ctrl+C")
    screen.type(line)
    numbers += shown_numbers(screen.wait_prompt())
    check_equal(numbers, list(range(1, 9)), "numbers of all runs")
    screen.close()


@suite.case(alone=True, limit=60)
def a_terminal_that_is_closed(folder):
    program = python(folder, INTERRUPTIBLE)
    screen = terminal(program)
    screen.type(" ".join(program.line()))
    screen.wait_line("2")
    screen.close()
    wait_for(program.generations, 20, "a generation after the terminal was closed")
    program.coordinator_gone()
    program.again()
    check_equal(program.wait(), 0, f"exit status at the end ({program.story()})")
    lines = program.output.drained().split()
    check(lines[-1] == "complete" and "caught" not in lines, f"the program acted on the hangup: {lines}")
    numbers = shown_numbers(lines)
    check(numbers[0] in (3, 4, 5) and numbers == list(range(numbers[0], 11)), f"numbers after the restart: {numbers}")


@suite.case(alone=True, limit=120)
def the_example_and_the_same_by_hand(folder):
    """Docs/examples/auto: interrupted and continued, both have the same result as the program left alone."""
    work = os.path.join(folder, "work")
    os.makedirs(work)
    for name in ("primes.py", "primes_by_hand.py"):
        shutil.copy(os.path.join(build.EXAMPLES, "auto", name), work)
    found = Automatic(folder, ["/usr/bin/python3", "primes.py", "200000"])
    expected = subprocess.run(found.words, cwd=work, capture_output=True, text=True, timeout=60, check=True).stdout
    by_hand = Computation(os.path.join(folder, "by-hand"))
    by_hand_words = ["/usr/bin/python3", os.path.join(work, "primes_by_hand.py"), "200000"]
    for program, start in ((found, found.again), (by_hand, lambda: by_hand.launch(by_hand_words, plain=True))):
        start()
        program.expect(lambda line: "primes up to" in line)
        os.kill(program.process.pid, signal.SIGINT)
        check_equal(program.wait(), 85, f"exit status ({program.story()})")
        start()
        check_equal(program.wait(), 0, f"exit status at the end ({program.story()})")
        check_equal(program.output.drained().splitlines()[-1], expected.splitlines()[-1], "the result")
    check_equal(found.images(), [], "what is left in the checkpoint folder")
    check_equal(os.listdir(by_hand.work), [], "what is left by the other")


# ---- without one -----------------------------------------------------------------------------------------------------


def interrupt(program, line, send):
    """Starts the line, waits for what the program prints, calls send(), which must end it with status 85."""
    program.again()
    program.expect(line)
    send()
    check_equal(program.wait(), 85, f"exit status ({program.story()})")


def all_processes(program):
    """As a batch system does: every process of the job gets the signal."""
    for pid in [program.process.pid] + descendants(program.process.pid):
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass


@suite.case(alone=True, limit=60)
def a_signal_to_every_process_at_once(folder):
    program = counter(folder)
    interrupt(program, "2", lambda: all_processes(program))
    interrupt(program, "4", lambda: all_processes(program))
    program.again()
    check_equal(program.wait(), 0, "exit status at the end")
    check_equal(shown_numbers(program.output.drained().split()), [1, 2, 3, 4, 5, 6], "numbers of all runs")
    check_equal(program.images(), [], "what is left in the checkpoint folder")


@suite.case(alone=True, limit=60)
def a_signal_to_the_supervisor_alone(folder):
    program = counter(folder)
    interrupt(program, "2", lambda: os.kill(program.process.pid, signal.SIGHUP))
    interrupt(program, "4", lambda: os.kill(program.process.pid, signal.SIGTERM))
    program.again()
    check_equal(program.wait(), 0, "exit status at the end")
    check_equal(shown_numbers(program.output.drained().split()), [1, 2, 3, 4, 5, 6], "numbers of all runs")


@suite.case(alone=True, limit=60)
def a_signal_to_the_program_alone(folder):
    program = counter(folder)
    interrupt(program, "2", lambda: os.kill(program.program(), signal.SIGTERM))
    interrupt(program, "4", lambda: os.kill(program.program(), signal.SIGINT))
    program.again()
    check_equal(program.wait(), 0, "exit status at the end")
    check_equal(shown_numbers(program.output.drained().split()), [1, 2, 3, 4, 5, 6], "numbers of all runs")


@suite.case(alone=True, limit=200)
def a_program_that_dies_at_random(folder):
    program = python(folder, MORTAL, options=["--interval", "0.1", "-q"])
    statuses = []
    for _ in range(100):
        program.again()
        statuses.append(program.wait())
        if statuses[-1] == 0:
            break
    check_equal(statuses[-1], 0, f"exit status after so many runs ({statuses}); {program.story()}")
    check(set(statuses[:-1]) <= {3, 137}, f"other statuses than the program's: {statuses}; {program.story()}")
    with open(os.path.join(program.work, "log"), encoding="ascii") as file:
        check_equal(file.read().split(), [str(number) for number in range(1, 151)], f"the log after {statuses}")
    check_equal(program.images(), [], "what is left in the checkpoint folder")


@suite.case(alone=True, limit=60)
def a_program_that_ends_at_once_leaves_nothing(folder):
    for words, status in ((["true"], 0), (["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -SEGV $$"], 139)):
        program = Automatic(folder, words)
        program.again()
        check_equal(program.wait(), status, f"exit status of {words}")
        check_equal(program.images(), [], "what is left in the checkpoint folder")


@suite.case(alone=True, limit=60)
def a_failing_program_keeps_its_images(folder):
    text = """
import os, sys, time
print("one", flush=True)
while not os.path.exists("go"):
    time.sleep(0.02)
sys.exit(7)
"""
    program = python(folder, text)
    program.again()
    program.expect("one")
    program.checkpoint()
    with open(os.path.join(program.work, "go"), "w", encoding="ascii"):
        pass
    check_equal(program.wait(), 7, "exit status")
    check_equal(len(program.generations()), 1, "number of generations")
    check("generation 1 stays" in program.errors.drained(), f"nothing said how to go on: {program.story()}")


def damage(generation):
    """Flips a bit of every page of the image but the first: some are in every block that the restart reads."""
    image, = glob.glob(os.path.join(glob.escape(generation), "*.swiftcp"))
    flip_bits(image, range(4096, os.path.getsize(image), 4096))


@suite.case(alone=True, limit=90)
def a_damaged_newest_generation_is_passed_over(folder):
    program = counter(folder, 8)
    program.again()
    program.expect("2")
    program.checkpoint()
    program.expect("4")
    program.checkpoint()
    os.kill(program.program(), signal.SIGKILL)
    program.wait()
    damage(program.generations()[-1])
    program.again()
    check_equal(program.wait(), 0, f"exit status ({program.story()})")
    text = program.output.drained().split()
    check_equal(text[-1], "8", f"the last line of {text}")
    check_equal(text.count("4"), 2, f"how often 4 was printed ({text})")
    errors = program.errors.drained()
    check("going back to generation 1" in errors, f"nothing was said of it: {errors!r}")
    check_equal(program.images(), [], "what is left in the checkpoint folder")


@suite.case(alone=True, limit=90)
def without_another_generation_a_damaged_one_stays(folder):
    program = counter(folder, 6)
    program.again()
    program.expect("2")
    program.checkpoint()
    os.kill(program.program(), signal.SIGKILL)
    program.wait()
    damage(program.generations()[-1])
    program.again()
    check_equal(program.wait(), 4, f"exit status ({program.story()})")
    check_equal(len(program.generations()), 1, "number of generations")


@suite.case(alone=True, limit=60)
def a_checkpoint_that_fails_lets_the_signal_through(folder):
    program = counter(folder, 40)
    program.again()
    program.expect("1")
    os.rmdir(program.ckptdir)
    with open(program.ckptdir, "w", encoding="ascii"):  # a file where the folder was: nobody can write images there
        pass
    os.kill(program.process.pid, signal.SIGTERM)
    check_equal(program.wait(), 128 + signal.SIGTERM, f"exit status ({program.story()})")
    check("cannot checkpoint counter" in program.errors.drained(), f"nothing was said: {program.story()}")


@suite.case(alone=True, limit=60)
def the_same_line_twice_at_once_is_refused(folder):
    program = counter(folder)
    program.again()
    program.expect("1")
    second = subprocess.run(program.line(), cwd=program.work, env=program.environment, capture_output=True, text=True,
                            timeout=20, check=False)
    check_equal(second.returncode, 1, f"exit status of the second ({second.stderr})")
    check("runs already" in second.stderr, f"the reason is not given: {second.stderr}")
    check_equal(program.wait(), 0, "exit status of the first")
    check_equal(shown_numbers(program.output.drained().split()), [1, 2, 3, 4, 5, 6], "numbers of the first")


def coordinator_dies(program):
    """Kills the coordinator and waits until another one knows the program."""
    pid = program.status()["coordinator"]["pid"]
    os.kill(pid, signal.SIGKILL)

    def known_again():
        done = program.command("--json", "--status")
        if done.returncode != 0:
            return False
        status = json.loads(done.stdout)
        return status["coordinator"]["pid"] != pid and len(status["processes"]) == 1

    wait_for(known_again, 40, "another coordinator that knows the program", interval=0.05)


@suite.case(alone=True, limit=150)
def a_coordinator_that_dies_is_replaced(folder):
    program = counter(folder, 60)
    for line in ("2", "15"):  # first the program itself, then the restored one

        def send():
            coordinator_dies(program)
            os.kill(program.process.pid, signal.SIGTERM)

        interrupt(program, line, send)
    program.again()
    check_equal(program.wait(60), 0, f"exit status at the end ({program.story()})")
    check_equal(program.output.drained().split(), [str(number) for number in range(1, 61)], "numbers of all runs")
    check_equal(program.images(), [], "what is left in the checkpoint folder")
