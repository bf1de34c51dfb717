"""Restarts: from the start of swiftcp_restart to the program's first instruction, the image in the page cache."""

import shutil
import statistics
import time


def cached(path):
    """Reads the file so that it is in the page cache."""
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 24):
            pass


def restarts(setting):
    for size in setting.fitting("restart"):
        computation = setting.computation(f"restart{size}", "gaps", size)
        computation.checkpoint(300)
        computation.kill9(60)
        cached(computation.image())
        rounds = max(1, min(setting.rounds, 8192 // size))
        took = statistics.median(first_instruction(computation, "lazy") for _ in range(rounds))
        setting.report.row(f"restart lazy, {size} MiB", took, "ms", aim=10)
        limits, eager = [], []
        for _ in range(rounds):  # in turn: memory that was free for long may cost more
            limits.append(setting.limit("read", computation.image(), rounds=1))
            eager.append(first_instruction(computation, "eager"))
        setting.report.row(f"restart eager, {size} MiB", statistics.median(eager), "ms", limit=statistics.median(limits),
                           aim=1.3 if size >= 4096 else None)
        shutil.rmtree(computation.ckptdir)


def first_instruction(computation, mode):
    """ms until the program says that it runs again."""
    began = time.time_ns()
    computation.restart(["--restore", mode])
    line = computation.expect(lambda line: line.startswith("GAP ") and int(line.split()[1]) > began, 120,
                              "the first instruction after the restart")
    computation.restored(60)
    computation.kill9(60)
    computation.coordinator_gone()
    return (int(line.split()[1]) - began) / 1e6
