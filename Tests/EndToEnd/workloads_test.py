"""Every Tests/Workloads/*.c, with checkpoints, resumed and restarted."""

import ctypes
import glob
import os
import re
import subprocess

from harness.build import WORKLOADS, compile_c, put_once
from harness.case import Suite
from harness.computation import Computation, restart_options
from harness.directives import Directives
from harness.errors import Failed, Skipped, check, check_equal

suite = Suite("workloads")


def binary_of(source):
    """The compiled workload: compiled once, by the first run.py, into the folder it passes on."""
    return os.path.join(os.environ["SCP_TEST_BINARIES"], os.path.basename(source)[:-2])


def compile_workload(source):
    target = binary_of(source)
    if not os.path.exists(target):
        partial = f"{target}.{os.getpid()}"
        try:
            compile_c(source, partial, Directives(source).flags)
        except RuntimeError as error:
            raise Failed(str(error)) from None
        put_once(partial, target)
    return target


def remove_queues(pid):
    """POSIX message queues outlive who has made them, and a restart in namespaces of its own: there may be 256 on a host."""
    library = ctypes.CDLL(None)
    for suffix in ("", "-back", "-full"):
        if hasattr(library, "mq_unlink"):
            library.mq_unlink(f"/swiftcp-{pid}{suffix}".encode())


class Run:
    """One workload in one of the ways the README lists."""

    def __init__(self, source, directives, arguments, run):
        self.source, self.directives, self.arguments, self.run_name = source, directives, arguments, run

    def __call__(self, folder):
        words = [compile_workload(self.source), *self.directives.arguments, *self.arguments]
        computation = Computation(folder, self.directives.variables())
        computation.launch(words, self.directives.launch, plain=self.run_name == "plain")
        pid = computation.process.pid
        try:
            line = computation.ready(self.directives.seconds())
            if line.startswith("SKIP"):
                raise Skipped(line[4:].strip())
            self.between(computation)
            computation.release()
            self.finish(computation)
        finally:
            remove_queues(pid)

    def between(self, computation):
        """What happens between READY and the go file."""
        kind, count = re.fullmatch(r"([a-z]*)([0-9]*)", self.run_name).groups()
        for number in range(int(count or 1)):
            if kind == "resume":
                computation.checkpoint()
            elif kind == "restart":
                computation.checkpoint()
                computation.kill9()
                computation.restart(restart_options(number) + self.directives.restart)
                computation.restored(self.directives.seconds())
            elif kind == "abort":
                self.failing_checkpoint(computation)
            elif kind == "refused":
                self.refused_checkpoint(computation)

    def failing_checkpoint(self, computation):
        """A checkpoint that cannot be completed: its folder has gone and a file stands in its place."""
        computation.checkpoint()
        before = computation.generations()
        aside = computation.ckptdir + ".aside"
        os.rename(computation.ckptdir, aside)
        with open(computation.ckptdir, "w", encoding="ascii"):
            pass
        done = computation.command("--checkpoint")
        check_equal(done.returncode, 1, f"exit status of a checkpoint that cannot be written ({done.stderr})")
        check(done.stderr.strip(), "a failed checkpoint says nothing on stderr")
        os.unlink(computation.ckptdir)
        os.rename(aside, computation.ckptdir)
        check_equal(computation.generations(), before, "the generations after a failed checkpoint")

    def refused_checkpoint(self, computation):
        done = computation.command("--checkpoint")
        check_equal(done.returncode, 1, f"exit status of a checkpoint that must be refused ({done.stderr})")
        if not re.search(self.directives.refused, done.stderr):
            raise Failed(f"the refusal {done.stderr!r} does not match /{self.directives.refused}/")
        check_equal(computation.generations(), [], "the generations after a refused checkpoint")

    def finish(self, computation):
        verdict = computation.expect(
            lambda line: line.startswith(("PASS", "FAIL")), self.directives.seconds(), "PASS or FAIL")
        if verdict != "PASS":
            raise Failed(f"{verdict}; stderr {computation.errors.text()[-2000:]!r}")
        check_equal(computation.wait(), 0, "exit status after PASS")


def sources():
    found = sorted(glob.glob(os.path.join(WORKLOADS, "*.c")))
    return [path for path in found if not os.path.basename(path).startswith("_")]


for path in sources():
    told = Directives(path)
    base = os.path.basename(path)[:-2]
    for word in told.cases or [None]:
        for way in told.run_names():
            suite.add(".".join([base] + ([word] if word else []) + [way]),
                      Run(path, told, [word] if word else [], way), limit=told.seconds() * 3, needs=told.needs)
