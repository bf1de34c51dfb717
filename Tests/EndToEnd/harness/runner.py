"""Runs cases, each in a process and folder of its own, a few at a time, each with a limit."""

import json
import os
import shutil
import signal
import sys
import time
import traceback

from .build import scratch_folder
from .errors import Failed, Skipped
from .processes import become_subreaper, children, die_with_parent, kill_tree, send, state_of
from .waiting import wait_for

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


class Running:
    """A case in its process."""

    def __init__(self, case, number):
        self.case = case
        self.folder = scratch_folder("case")
        self.verdict_file = os.path.join(self.folder, "verdict")
        self.started = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            die_with_parent()
            run_child(case, self.folder, self.verdict_file)

    def overdue(self):
        return time.monotonic() - self.started > self.case.limit

    def finished(self):
        """True when the process has ended, by itself or because its time was up."""
        if state_of(self.pid) not in ("Z", None):
            if not self.overdue():
                return False
            self.write_verdict(FAILED, f"no end within {self.case.limit:g} s")
            kill_tree_of_case(self.pid)
        os.waitpid(self.pid, 0)
        return True

    def write_verdict(self, verdict, text):
        write_verdict(self.verdict_file, verdict, text)

    def verdict(self):
        try:
            with open(self.verdict_file, encoding="utf-8") as file:
                return tuple(json.load(file))
        except (FileNotFoundError, ValueError):
            return FAILED, "the case's process ended without a verdict"


def kill_tree_of_case(pid):
    """Kills a case's process and all below it."""

    def gone():
        kill_tree(pid, itself=False)
        send(pid, signal.SIGKILL)
        return state_of(pid) in ("Z", None)

    wait_for(gone, 20, f"the end of case process {pid}")


def end_strays(own):
    """Kills what a case's process could not end itself: it has become this process's, and would disturb the cases that follow."""
    for pid in set(children(os.getpid())) - own:
        kill_tree_of_case(pid)
        os.waitpid(pid, 0)


def write_verdict(path, verdict, text):
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump([verdict, text], file)
    os.rename(path + ".new", path)


def run_child(case, folder, verdict_file):
    """The life of a case's process. Does not return."""
    try:
        become_subreaper()
        case.run(folder)
        verdict = PASSED, ""
    except Skipped as skip:
        verdict = SKIPPED, str(skip)
    except Failed as failure:
        verdict = FAILED, str(failure)
    except BaseException:  # whatever it is, the case has failed, and its processes must go
        verdict = FAILED, traceback.format_exc()
    try:
        kill_tree(os.getpid())
        write_verdict(verdict_file, *verdict)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


class Runner:
    """Runs a list of cases and prints one line for each."""

    def __init__(self, jobs, keep=False, label=""):
        self.jobs, self.keep, self.label = jobs, keep, label
        self.counts = {PASSED: 0, FAILED: 0, SKIPPED: 0}
        self.failures, self.skips = [], []

    def run(self, cases):
        become_subreaper()
        waiting, running = list(cases), []
        while waiting or running:
            while waiting and self.room(waiting[0], running):
                running.append(Running(waiting.pop(0), len(running)))
            wait_for(lambda: any([self.look(one, running) for one in list(running)]), 3600, "any case", interval=0.01)

    def room(self, case, running):
        if not running:
            return True
        return len(running) < self.jobs and not case.alone and not any(one.case.alone for one in running)

    def look(self, one, running):
        if not one.finished():
            return False
        running.remove(one)
        end_strays({other.pid for other in running})
        verdict, text = one.verdict()
        self.counts[verdict] += 1
        seconds = time.monotonic() - one.started
        words = f": {text[:3000]}" if text else ""
        self.show(verdict, f"{verdict:8}{self.label}{one.case.name} ({seconds:.1f} s){words}")
        if verdict == FAILED:
            self.failures.append((one.case.name, text))
        elif verdict == SKIPPED:
            self.skips.append((one.case.name, text))
        if verdict == FAILED and self.keep:
            print(f"        its folder: {one.folder}", flush=True)
        else:
            shutil.rmtree(one.folder, ignore_errors=True)
        return True

    def show(self, verdict, line):
        print(line, flush=True)

    def summary(self):
        return ", ".join(f"{self.counts[word]} {word}" for word in (PASSED, FAILED, SKIPPED))
