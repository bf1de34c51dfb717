"""The commands in documents, run as they stand: every ```console block, in a folder of its own
that holds Docs/examples and the counter built from it.

A line that begins with "$ " is typed once all lines that are expected before it have appeared. Expected lines must
appear in their order; "…" in one stands for anything, and other lines may come in between.
"""

import glob
import os
import re
import shutil
import subprocess

from harness import build
from harness.case import Suite
from harness.errors import Failed, Skipped, check
from harness.output import Output
from harness.waiting import TimedOut, wait_for

suite = Suite("documents")
LIMIT = 20


def pages():
    found = [os.path.join(build.ROOT, "README.md"), os.path.join(build.ROOT, "CONTRIBUTING.md")]
    return [page for page in found + sorted(glob.glob(os.path.join(build.ROOT, "Docs", "**", "*.md"), recursive=True))
            if os.path.exists(page)]


def blocks(page):
    """The console blocks of a page: (line number, list of lines)."""
    current = None
    with open(page, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.startswith("```console"):
                current = (number, [])
            elif line.startswith("```") and current:
                yield current
                current = None
            elif current:
                current[1].append(line.rstrip("\n"))


class Session:
    """A shell that is typed into."""

    def __init__(self, folder):
        work = os.path.join(folder, "work")
        shutil.copytree(os.path.join(build.ROOT, "Docs", "examples"), work)
        build.compile_c(os.path.join(work, "counter.c"), os.path.join(work, "counter"))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SWIFTCP_")}
        environment.update(
            PATH=os.path.join(build.build_folder(), "bin") + ":" + environment["PATH"], HOME=folder, LC_ALL="C.UTF-8",
            SWIFTCP_COORDINATOR="unix:" + os.path.join(folder, "coordinator"))
        self.output = Output("the shell")
        writing = self.output.pipe()
        self.shell = subprocess.Popen(
            ["bash", "--norc", "-s"], cwd=work, env=environment, stdin=subprocess.PIPE, stdout=writing, stderr=writing)
        os.close(writing)
        self.seen = 0  # lines that are accounted for

    def type(self, line):
        self.shell.stdin.write(line.encode() + b"\n")
        self.shell.stdin.flush()

    def expect(self, text):
        """Waits for a line like `text` after the last one found."""
        pattern = ".*".join(re.escape(part) for part in text.split("…"))

        def found():
            lines = self.output.lines()
            for index in range(self.seen, len(lines)):
                if re.fullmatch(pattern, lines[index].rstrip()):
                    self.seen = index + 1
                    return True
            return False

        try:
            wait_for(found, LIMIT, text)
        except TimedOut:
            rest = self.output.lines()[self.seen:]
            raise Failed(f"no line like {text!r} within {LIMIT} s; the shell says {rest}") from None

    def end(self):
        """Every command must have come to its end, and the last one with status 0."""
        self.type("echo the-end-$?")
        self.expect("the-end-0")
        self.shell.stdin.close()


def run_block(lines):
    def run(folder):
        session = Session(folder)
        for line in lines:
            if line.startswith("$ "):
                session.type(line[2:])
            elif line.strip():
                session.expect(line.rstrip())
        session.end()

    return run


def no_source(folder):
    raise Skipped("the documents are not beside this copy of the tests")


if not os.path.exists(os.path.join(build.ROOT, "README.md")):
    suite.add("all", no_source, needs="root")
for page in pages():
    for number, lines in blocks(page):
        suite.add(f"{os.path.relpath(page, build.ROOT)}:{number}", run_block(lines), limit=120, needs="root"
                  if build.is_root() else "user")


# ---- the table of what is supported ----------------------------------------------------------------------------------------


def claims(page):
    """The rows of tables whose last column is headed "tests": (line number, names in that column)."""
    named = False
    with open(page, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if not line.startswith("|"):
                named = False
            elif cells[-1] == "tests":
                named = True
            elif named and not cells[-1].startswith("--"):
                yield number, cells, re.findall(r"`([^`]+)`", cells[-1])


def known_tests():
    programs = os.path.join(build.ROOT, "Tests", "Programs", "programs.py")
    with open(programs, encoding="utf-8") as file:
        names = set(re.findall(r"(?:Program|c_program|mpi_program|at_terminal)\(\"(\w+)\"", file.read()))
    names |= {os.path.basename(path)[:-len(".c")] for path in glob.glob(os.path.join(build.ROOT, "Tests", "Workloads", "*.c"))}
    return names | {os.path.basename(path)[:-len("_test.py")] for path in glob.glob(os.path.join(build.HERE, "*_test.py"))}


def every_row_of_the_support_table_names_its_tests(folder):
    rows = list(claims(SUPPORT))
    check(len(rows) > 40, f"only {len(rows)} rows of tables with a column of tests")
    known = known_tests()
    for number, cells, names in rows:
        check(cells[1] in ("kept", "option", "refused", "outside"), f"support.md:{number}: state {cells[1]!r}")
        check(names or cells[1] == "outside", f"support.md:{number}: no test is named")
        unknown = [name for name in names if name not in known]
        check(not unknown, f"support.md:{number}: there is no test {unknown}")


SUPPORT = os.path.join(build.ROOT, "Docs", "support.md")
if os.path.exists(SUPPORT):  # not in the copy that the ordinary user works with
    suite.case()(every_row_of_the_support_table_names_its_tests)
