"""What the sections of a benchmark share: where they work, how often they measure, how programs are run."""

import os
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

    def compile(self):
        for name in PROGRAMS:
            subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-pthread", "-I", PROTOCOL, "-o", self.program(name),
                            os.path.join(HERE, name + ".c")], check=True)

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

    def limit(self, *words):
        """Median of what the program `limits` measures, in ms."""
        return statistics.median(
            float(subprocess.run([self.program("limits"), *map(str, words)], capture_output=True, text=True,
                                 check=True).stdout) for _ in range(self.rounds))


def launch_words(computation):
    return [build.tool("launch"), "--coordinator", computation.address, "--ckptdir", computation.ckptdir, "--"]


def timed(words, environment):
    """ms that a command takes."""
    began = time.perf_counter()
    subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - began) * 1000
