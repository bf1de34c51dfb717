"""Many of one kind: from the request until all runs again, until it is durable, and the restart until all has run once."""

import resource
import statistics
import time

from checkpoints import pause_row
from setting import Watcher, end

KINDS = (("processes", 50), ("processes", 1000), ("threads", 5000), ("descriptors", 10000), ("pipes", 9800))
STANDSTILL = 0.25  # seconds; of less than 200 ms, from checkpoint to restart, the program does not tell
RECORDED = {("processes", 50): "DMTCP 2500 ms, its restart fails; CRIU as root 120 ms, restart 190 ms"}


def many(setting):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for kind, count in KINDS:
        if hard != resource.RLIM_INFINITY and {"pipes": 2}.get(kind, 1) * count + 300 > hard:
            setting.report.skip(f"{count} {kind}", f"no more than {hard} descriptors are allowed")
            continue
        rows(setting, kind, count)


def rows(setting, kind, count):
    computation = setting.computation(f"{kind}{count}", "many", kind, count)
    running, durable = [], []
    for _ in range(max(2, setting.rounds // 2)):
        record = computation.checkpoint(600)
        running.append(record["pause_ms"])
        durable.append(record["duration_ms"])
    name = f"{count} {kind}"
    setting.report.row(f"standing still, {name}", statistics.median(running), "ms", note=RECORDED.get((kind, count), ""))
    setting.report.row(f"durable, {name}", statistics.median(durable), "ms")
    computation.kill9(120)
    time.sleep(STANDSTILL)
    began = time.time_ns()
    computation.restart([])
    line = computation.expect(lambda line: line.startswith("RAN ") and int(line.split()[1]) > began, 300,
                              "the first round after the restart")
    setting.report.row(f"restart, {name}", (int(line.split()[1]) - began) / 1e6, "ms")
    computation.restored(300)
    end(computation)


def together(setting):
    """Processes that pass a token round through pipes and have some memory: the longest time that it has not come round."""
    size = 1024 if 1024 in setting.sizes else setting.sizes[0]
    name = f"50 processes, {size} MiB in all"
    if not setting.fits(name, size):
        return
    ring = Watcher(setting, "together", "many", "processes", 50, size, options=["--no-incremental"])
    found = ring.checkpoints(setting.rounds)
    ring.end()
    pause_row(setting, name, 20, found)
    setting.report.row(f"durable, {name}", statistics.median(record["duration_ms"] for _, record in found), "ms")
