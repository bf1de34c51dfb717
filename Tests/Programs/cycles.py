"""Running a program undisturbed, in cycles, and many generations deep."""

import hashlib
import json
import os
import random
import subprocess
import time

from harness.case import Suite
from harness.computation import Computation, restart_options
from harness.errors import Failed, Skipped, check_equal
from harness.waiting import TimedOut, wait_for

ATTEMPTS = 4  # of a program that was quicker than its checkpoints; each has three times the work of the one before
LEAST = 0.5  # seconds that the work of a cycle lasts undisturbed, so that a random moment of it can be met
COMMAND_LIMIT, END_LIMIT = 120, 240  # seconds; they catch hangs, not slow machines


def words_of(program, bin_folder, work):
    return [word.replace("{bin}", bin_folder).replace("{work}", work) for word in program.start]


def environment_of(program, scale):
    # A line of a Python program is written at once, even where the surroundings ask for it piece by piece.
    return {**dict(program.environment), "SCALE": str(scale), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": ""}


def result_of(output):
    found = [line for line in output.splitlines() if line.startswith(("RESULT", "FAIL", "ok"))]
    return "\n".join(found)


def digest(work, files):
    """A hash over the files the program leaves."""
    total = hashlib.sha256()
    for name in files:
        with open(os.path.join(work, name), "rb") as file:
            total.update(file.read())
    return total.hexdigest()


def plain_run(program, bin_folder, folder, scale):
    """Runs the program undisturbed; returns its result, its files' hash and how long it took in seconds."""
    work = os.path.join(folder, f"plain-{program.name}-{scale}")
    os.mkdir(work)
    if program.prepare:
        program.prepare(bin_folder, work, scale)
    began = time.monotonic()
    done = subprocess.run(
        words_of(program, bin_folder, work), cwd=work, env=dict(os.environ, **environment_of(program, scale)),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    took = time.monotonic() - began
    result = result_of(done.stdout)
    if done.returncode != 0 or "RESULT" not in result or "FAIL" in result:
        raise Failed(f"undisturbed it ends with status {done.returncode}: {done.stdout[-500:]} {done.stderr[-500:]}")
    return {"result": result, "files": digest(work, program.files), "took": took}


def baseline(program, bin_folder, folder, deep=True):
    """The facts that all other runs are held against: {"scale": the amount of work of a cycle, amount: its facts, …}."""
    try:
        facts = {"scale": program.scale}
        while True:
            scale = facts["scale"]
            facts[str(scale)] = plain_run(program, bin_folder, folder, scale)
            if facts[str(scale)]["took"] >= LEAST or scale > 50 * program.scale:
                break
            facts["scale"] *= 2
        deepest = program.scale * program.deep
        if deep and str(deepest) not in facts:
            facts[str(deepest)] = plain_run(program, bin_folder, folder, deepest)
        return facts
    except (Failed, OSError, subprocess.TimeoutExpired) as error:
        return {"error": str(error)}


def is_repeated(found, expected, most):
    """Whether the lines `found` are `expected` behind at most `most` beginnings of it."""
    if found == expected:
        return True
    return most > 0 and any(found[:count] == expected[:count] and is_repeated(found[count:], expected, most - 1)
                            for count in range(1, len(expected) + 1))


class Story:
    """One life of one program under SwiftCP.

    What a program writes to a pipe is out of reach: what it has written between its checkpoint and its death it writes
    once more after the restart. So each death notes how many results had come before the checkpoint and how many before
    the restart; the one that lies between may come again, once, and only then.
    """

    def __init__(self, program, bin_folder, facts, scale, folder):
        self.program, self.facts = program, facts[str(scale)]
        self.may_repeat = 0  # deaths after a result had left and its checkpoint might not know
        self.journal = []  # (seconds on the monotonic clock, what happened)
        self.computation = Computation(folder, environment_of(program, scale))
        self.words = words_of(program, bin_folder, self.computation.work)
        if program.prepare:
            program.prepare(bin_folder, self.computation.work, scale)

    def note(self, what):
        self.journal.append((time.monotonic(), f"{what} ({self.results()} results out)"))

    def results(self):
        return self.computation.output.text().count("RESULT")

    def launch(self):
        self.computation.launch(self.words)
        wait_for(self.started, 60, f"START of {self.program.name}; {self.computation.story()}")

    def started(self):
        if self.computation.process.poll() is not None:
            raise Failed(f"it has ended before it started to work; {self.computation.story()}")
        return "START" in self.computation.output.text() or os.path.exists(
            os.path.join(self.computation.work, "started"))

    def die(self):
        """Checkpoint, then SIGKILL. Returns the checkpoint's record; None when the program has ended by itself before."""
        before = self.results()
        self.note("checkpoint asked for")
        done = self.computation.command("--json", "--checkpoint", limit=COMMAND_LIMIT)
        self.note(f"checkpoint answered, status {done.returncode}")
        if done.returncode != 0:
            if self.ended():
                return None
            raise Failed(f"swiftcp_command --checkpoint: {done.stdout}{done.stderr}; {self.computation.story()}")
        try:
            self.computation.kill9(END_LIMIT)
        except (Failed, ProcessLookupError):
            if self.ended() and self.computation.process.returncode == 0:
                return None
            raise
        self.computation.output.drained(END_LIMIT)
        self.note("killed")
        self.may_repeat += self.results() > before
        return json.loads(done.stdout)["checkpoint"]

    def ended(self):
        """Whether the program is about to be seen as ended: its coordinator knows before its parent does."""
        try:
            wait_for(lambda: self.computation.process.poll() is not None, 20, "the program's end")
        except TimedOut:
            return False
        return True

    def rise(self, number):
        self.computation.restart(restart_options(number))

    def known(self):
        """Waits until the coordinator knows the restored program. False when that has ended by itself before."""
        try:
            self.computation.restored(END_LIMIT)
        except Failed:
            if self.ended() and self.computation.process.returncode == 0:
                return False
            raise
        self.note("known again")
        return True

    def end(self, what):
        """Waits for the program's end and compares its result and files."""
        status = self.computation.wait(END_LIMIT)
        self.computation.output.drained(END_LIMIT)
        self.note(f"ended, status {status}")
        text = self.computation.output.text()
        if status != 0:
            raise Failed(f"{what}: exit status {status}; stdout {text[-500:]!r}, {self.computation.story()}; {self.times()}")
        self.check_results(what, result_of(text))
        check_equal(digest(self.computation.work, self.program.files), self.facts["files"], f"{what}: its files")

    def check_results(self, what, found):
        """The expected result once; before it at most one beginning of it for every death that may have cut it short."""
        expected = self.facts["result"]
        if not is_repeated(found.split("\n"), expected.split("\n"), self.may_repeat):
            raise Failed(f"{what}: the result is {found!r} instead of {expected!r}, {self.may_repeat} times repeated at "
                         f"most; {self.times()}")

    def times(self):
        """What happened when, for messages."""
        return ", ".join(f"+{when - self.journal[0][0]:.3f} s {what}" for when, what in self.journal)


def with_enough_work(program, bin_folder, facts, folder, scale, live):
    """Has `live` take a story to its end. It answers False when the program has ended, rightly, before its time; then it is
    given a story with more work."""
    for attempt in range(ATTEMPTS):
        place = os.path.join(folder, f"attempt-{attempt}")
        os.mkdir(place)
        if str(scale) not in facts:
            facts[str(scale)] = plain_run(program, bin_folder, place, scale)
        if live(Story(program, bin_folder, facts, scale, place)):
            return
        scale *= 3
    raise Failed(f"it ended before its checkpoints {ATTEMPTS} times, the last time with {scale / 3:g} times its work")


def cycle(story, number):
    """Launch, checkpoint at a random moment of its work, kill, restart, end."""
    story.launch()
    time.sleep(random.uniform(0, 0.5) * min(story.facts["took"], 1.0))
    killed = story.die() is not None
    if killed:
        story.rise(number)
    story.end(f"cycle {number + 1}")
    return killed


def deep(story, depth):
    """Generation upon generation, each of a restarted process."""
    story.launch()
    newest = 0
    for _ in range(depth):
        record = story.die()
        if record is None:
            story.end("before its time")
            return False
        # A checkpoint that was made again, since a process ended in its middle, has used up numbers.
        if record["generation"] <= newest:
            raise Failed(f"generation {record['generation']} came after generation {newest}")
        newest = record["generation"]
        story.rise(record["generation"])
        if not story.known():
            story.end("before its time")
            return False
    if len(story.computation.generations()) > 2:
        raise Failed(f"more than two generations are kept: {story.computation.generations()}")
    story.end(f"after {depth} generations")
    return True


def cases_for(program, bin_folder, facts, options):
    suite = Suite("programs")
    if "skip" in facts:

        def skip(folder):
            raise Skipped(facts["skip"])

        suite.add(program.name, skip)
        return suite.cases
    if "error" in facts:

        def fail(folder):
            raise Failed(facts["error"])

        suite.add(program.name, fail)
        return suite.cases

    def cycles(folder):
        for number in range(options.cycles):
            inner = os.path.join(folder, str(number))
            os.mkdir(inner)
            with_enough_work(program, bin_folder, facts, inner, facts["scale"], lambda story: cycle(story, number))

    def generations(folder):
        with_enough_work(program, bin_folder, facts, folder, program.scale * program.deep,
                         lambda story: deep(story, options.depth))

    suite.add(program.name + ".cycles", cycles, limit=60 + 15 * options.cycles)
    if options.depth:
        suite.add(program.name + ".deep", generations, limit=420)
    return suite.cases
