"""What the sections of a benchmark share: where they work, how often they measure, how programs are run."""

import os
import shutil
import statistics
import subprocess
import time

from harness import build
from harness.computation import Computation

HERE = os.path.dirname(os.path.abspath(__file__))
PROTOCOL = os.path.join(os.path.dirname(os.path.dirname(HERE)), "Sources", "CSwiftCP", "include")
PROGRAMS = ("micro", "gaps", "idle", "pause", "limits", "many", "workers")


class Setting:
    """A run of the benchmark. `rounds`: measurements of each kind; `sizes`: of the programs that are saved, in MiB."""

    def __init__(self, folder, rounds, sizes, report):
        self.folder, self.rounds, self.sizes, self.report = folder, rounds, sizes, report
        self.host_standstill = None  # ms; checkpoints.host_standstill

    def compile(self):
        for name in PROGRAMS:
            subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-pthread", "-I", PROTOCOL, "-o", self.program(name),
                            os.path.join(HERE, name + ".c")], check=True)

    def fits(self, what, size):
        """Whether machine and disk have room for a program of `size` MiB and what saving and restoring it takes: its memory
        once more (copied pages, or the image in the page cache), two images beside the one that is made. Else a row says why."""
        memory, disk = available_memory(), shutil.disk_usage(self.folder).free >> 20
        for name, has, needs in (("memory", memory, 2 * size + 1024), ("disk", disk, 3 * size + 1024)):
            if has < needs:
                self.report.skip(f"{what}, {size} MiB", f"{name}: {needs} MiB are needed, {has} are free")
                return False
        return True

    def fitting(self, what):
        """The sizes that there is room for."""
        return [size for size in self.sizes if self.fits(what, size)]

    def program(self, name):
        return os.path.join(self.folder, name)

    def inner(self, name):
        """A folder for one computation."""
        path = os.path.join(self.folder, name)
        os.mkdir(path)
        return path

    def computation(self, name, *words, **more):
        """A program of ours under swiftcp_launch (plain: without) that has said READY."""
        computation = Computation(self.inner(name))
        computation.launch([self.program(words[0]), *map(str, words[1:])], **more)
        computation.ready(120)
        return computation

    def limit(self, *words, rounds=None):
        """Median of what the program `limits` measures, in ms."""
        return statistics.median(
            float(subprocess.run([self.program("limits"), *map(str, words)], capture_output=True, text=True,
                                 check=True).stdout) for _ in range(rounds or self.rounds))


def available_memory():
    """MiB."""
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("MemAvailable:")) >> 10


class Watcher:
    """A program that looks at the clock all the time (bench.h): it measures by itself the longest time that it has not run."""

    def __init__(self, setting, name, *words, **more):
        self.computation = setting.computation(name, *words, stdin=subprocess.PIPE, **more)
        self.answers = 0

    def ask(self):
        """Since the last question: the longest time without running, in ms, and the mean ns from look to look."""
        self.answers += 1
        answer = f"LONGEST {self.answers} "
        self.computation.process.stdin.write(b"x\n")
        self.computation.process.stdin.flush()
        line = self.computation.expect(lambda line: line.startswith(answer), 60, answer)
        longest, looks, took = map(int, line.split()[2:])
        return longest / 1e6, took / max(looks, 1)

    def checkpoints(self, rounds):
        """For each the pause in ms, and the record."""
        found = []
        for _ in range(rounds):
            self.ask()
            record = self.computation.checkpoint(300)
            found.append((self.ask()[0], record))
        return found

    def end(self):
        end(self.computation)


def end(computation):
    computation.kill9(120)
    computation.coordinator_gone()
    shutil.rmtree(computation.ckptdir)


def launch_words(computation):
    return [build.tool("launch"), "--coordinator", computation.address, "--ckptdir", computation.ckptdir, "--"]


def timed(words, environment):
    """ms that a command takes."""
    began = time.perf_counter()
    subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - began) * 1000
