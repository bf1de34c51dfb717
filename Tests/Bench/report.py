"""The table of a benchmark: a row a measurement, as text while it runs, then as JSON, Markdown and a plot (SVG)."""

import html
import json
import math
import os
import platform
import subprocess
import time

WIDTH, BAR, LEFT, LINE = 900, 420, 330, 18  # of the plot, in px
LEAST, MOST = 0.01, 100  # shares of the aim that the plot's axis spans, on a logarithmic scale


class Row:
    """One measurement. `limit` is what it is set against: the same natively, or what the machine can do at best.

    `aim` is an upper bound: of the ratio to the limit where there is one, else of the value itself.
    """

    def __init__(self, what, value, unit, limit=None, aim=None, note=""):
        self.what, self.value, self.unit, self.limit, self.aim, self.note = what, value, unit, limit, aim, note

    @property
    def ratio(self):
        return self.value / self.limit if self.limit else None

    @property
    def share(self):
        """What was measured as a share of the aim; None = there is no aim."""
        if self.aim is None:
            return None
        return (self.value if self.limit is None else self.ratio) / self.aim

    def cells(self):
        def number(value):
            return "" if value is None else f"{value:.0f}" if value >= 1000 else f"{value:.3g}"

        ratio = "" if self.ratio is None else f"x{self.ratio:.3f}" if self.ratio < 2 else f"x{self.ratio:.1f}"
        aim = "" if self.aim is None else f"x{self.aim}" if self.limit else f"{self.aim} {self.unit}"
        return [self.what, number(self.limit), number(self.value), self.unit, ratio, aim, self.note]

    def facts(self):
        names = ("what", "value", "unit", "limit", "ratio", "aim", "note")
        return {name: getattr(self, name) for name in names if getattr(self, name) not in (None, "")}


def machine():
    """What stands above the table: machine, kernel, commit."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown")
    with open("/proc/meminfo", encoding="ascii") as file:
        memory = int(file.readline().split()[1]) / 2**20
    here = os.path.dirname(os.path.abspath(__file__))
    told = subprocess.run(["git", "-C", here, "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return {"processor": f"{os.cpu_count()} x {model}", "memory": f"{memory:.0f} GiB", "kernel": platform.release(),
            "commit": told.stdout.strip() or "unknown", "date": time.strftime("%Y-%m-%d", time.gmtime())}


class Report:
    HEAD = ["", "limit", "SwiftCP", "unit", "ratio", "aim", ""]

    def __init__(self):
        self.rows = []
        self.machine = machine()

    def begin(self):
        print(", ".join(self.machine.values()), flush=True)
        self.show(self.HEAD)

    @staticmethod
    def show(cells):
        what, limit, value, unit, ratio, aim, note = cells
        print(f"{what:46} {limit:>9} {value:>9} {unit:5} {ratio:>8} {aim:>8}  {note}".rstrip(), flush=True)

    def row(self, what, value, unit, **more):
        self.rows.append(Row(what, value, unit, **more))
        self.show(self.rows[-1].cells())

    def skip(self, what, why):
        """What was not measured, and why."""
        self.row(what, None, "", note=f"skipped: {why}")

    def json(self):
        return json.dumps({**self.machine, "rows": [row.facts() for row in self.rows]}, indent=1) + "\n"

    def markdown(self, plot):
        lines = ["# Benchmarks", "",
                 "Written by `make bench`; medians of one run, candidates in turn. Noisy machines: ratios count, not times. "
                 "On a virtual machine whose host takes back what is free, each new page of memory or page cache costs several times as much.", "",
                 ", ".join(f"{name} {value}" for name, value in self.machine.items()) + ".", "",
                 "*limit*: the same without SwiftCP, or the best that the machine can do. *aim*: at most, of the ratio where "
                 "there is one, else of the value.", "", f"![shares of the aims]({plot})", "",
                 "| what | limit | SwiftCP | unit | ratio | aim | |", "|---|--:|--:|---|--:|--:|---|"]
        return "\n".join(lines + ["| " + " | ".join(row.cells()) + " |" for row in self.rows]) + "\n"

    def plot(self):
        rows = [row for row in self.rows if row.share]
        height = LINE * (len(rows) + 3)
        parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" '
                 f'font-size="12">', f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
                 f'<text x="{LEFT}" y="{LINE}">measured, as a share of the aim (logarithmic; left of the line: reached)</text>']
        for number, row in enumerate(rows):
            top = LINE * (number + 1.5)
            end = place(row.share)
            color = "#2a7f62" if row.share <= 1 else "#c8553d"
            parts += [f'<text x="{LEFT - 8}" y="{top + 13}" text-anchor="end">{html.escape(row.what)}</text>',
                      f'<rect x="{LEFT}" y="{top + 3}" width="{end:.1f}" height="{LINE - 6}" fill="{color}"/>',
                      f'<text x="{LEFT + end + 6:.1f}" y="{top + 13}">{row.share:.2g}</text>']
        line = LEFT + place(1)
        parts += [f'<line x1="{line:.1f}" x2="{line:.1f}" y1="{LINE * 1.5}" y2="{height - LINE}" stroke="black"/>', "</svg>"]
        return "\n".join(parts) + "\n"

    def write(self, folder):
        """benchmarks.md, .json and .svg in the folder."""
        for ending, text in (("md", self.markdown("benchmarks.svg")), ("json", self.json()), ("svg", self.plot())):
            with open(os.path.join(folder, "benchmarks." + ending), "w", encoding="utf-8") as file:
                file.write(text)


def place(share):
    """How far right of the axis a share stands, in px."""
    share = min(max(share, LEAST), MOST)
    return BAR * math.log(share / LEAST) / math.log(MOST / LEAST)
