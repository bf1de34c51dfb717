"""Checkpoints: how long a program stands still, how soon its image is durable, beside what the machine can do at best."""

import os
import shutil
import statistics
import subprocess
import time

WRITTEN = (0, 1, 10, 50, 1000000)  # percent of the pages a second; the last: as quickly as it can
CONTENTS = ("random", "text", "sparse", "untouched")
PEERS = (("gzip", "-1"), ("zstd", "-1", "-T0"))


def idle(setting):
    for threads in (1, 64):
        computation = setting.computation(f"idle{threads}", "idle", threads)
        found = statistics.median(computation.checkpoint()["pause_ms"] for _ in range(setting.rounds * 2))
        setting.report.row(f"pause, idle, {threads} threads", found, "ms", aim=5)
        computation.kill9()


class Writer:
    """The program `pause`, which measures by itself the longest time that it has not run."""

    def __init__(self, setting, name, *words):
        self.computation = setting.computation(name, "pause", *words, stdin=subprocess.PIPE)
        self.answers = 0

    def longest(self):
        """ms since the last question."""
        self.answers += 1
        answer = f"LONGEST {self.answers} "
        self.computation.process.stdin.write(b"x\n")
        self.computation.process.stdin.flush()
        line = self.computation.expect(lambda line: line.startswith(answer), 60, answer)
        return int(line.split()[2]) / 1e6

    def checkpoints(self, rounds):
        """For each the pause in ms, and the record."""
        found = []
        for _ in range(rounds):
            self.longest()
            record = self.computation.checkpoint(300)
            found.append((self.longest(), record))
        return found

    def end(self):
        self.computation.kill9(60)
        self.computation.coordinator_gone()
        shutil.rmtree(self.computation.ckptdir)


def write_limit(setting, megabytes):
    """ms of a direct write of so many bytes, with fsync."""
    path = os.path.join(setting.folder, "limit")
    took = setting.limit("write", path, megabytes)
    os.unlink(path)
    return took


def live(setting):
    """Programs that write while they are saved."""
    for size in setting.sizes:
        limit = write_limit(setting, size)
        for percent in WRITTEN:
            writer = Writer(setting, f"live{size}-{percent}", size, percent)
            found = writer.checkpoints(setting.rounds)
            writer.end()
            name = f"{size} MiB, {percent} %/s written" if percent <= 100 else f"{size} MiB, written as fast as it can"
            way = ", ".join(sorted({record["snapshot"] for _, record in found}))
            aim = None if percent > 10 else 15 if percent == 10 else 1 if size <= 64 else 5
            setting.report.row(f"pause, {name}", statistics.median(pause for pause, _ in found), "ms", aim=aim, note=way)
            setting.report.row(f"durable, {name}", statistics.median(record["duration_ms"] for _, record in found), "ms",
                               limit=limit, aim=1.2 if percent == 0 and size >= 4096 else None)


def contents(setting):
    """What memory holds, and the same bytes through a compressor."""
    size = 1024 if 1024 in setting.sizes else setting.sizes[0]
    limit = write_limit(setting, size)
    for kind in CONTENTS:
        writer = Writer(setting, f"content-{kind}", size, 0, kind)
        found = [record for _, record in writer.checkpoints(setting.rounds)]
        writer.end()
        megabytes = statistics.median(record["bytes_written"] for record in found) / 1e6
        setting.report.row(f"durable, {size} MiB {kind}", statistics.median(record["duration_ms"] for record in found), "ms",
                           limit=limit, note=f"{megabytes:.0f} MB")
    for words in PEERS:
        if shutil.which(words[0]):
            peer(setting, size, words)


def peer(setting, size, words):
    """A pipe of the memory's bytes through a compressor into a file, with fsync: what users do by hand."""
    path = os.path.join(setting.folder, "peer")
    began = time.perf_counter()
    with open(path, "wb") as file:
        source = subprocess.Popen([setting.program("limits"), "print", str(size), "text"], stdout=subprocess.PIPE)
        subprocess.run(words, stdin=source.stdout, stdout=file, check=True)
        source.stdout.close()
        source.wait()
        os.fsync(file.fileno())
    took = (time.perf_counter() - began) * 1000
    setting.report.row(f"{' '.join(words)} of {size} MiB text", took, "ms", note=f"{os.path.getsize(path) / 1e6:.0f} MB")
    os.unlink(path)
