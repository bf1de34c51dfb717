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
    """The program `pause`, which measures by itself the longest time that it has not run, and how often it looks at the clock."""

    def __init__(self, setting, name, *words, **more):
        self.computation = setting.computation(name, "pause", *words, stdin=subprocess.PIPE, **more)
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
            writer = Writer(setting, f"live{size}-{percent}", size, percent, options=["--no-incremental"])
            found = writer.checkpoints(setting.rounds)
            writer.end()
            name = f"{size} MiB, {percent} %/s written" if percent <= 100 else f"{size} MiB, written as fast as it can"
            way = ", ".join(sorted({record["snapshot"] for _, record in found}))
            aim = None if percent > 10 else 15 if percent == 10 else 1 if size <= 64 else 5
            setting.report.row(f"pause, {name}", statistics.median(pause for pause, _ in found), "ms", aim=aim, note=way)
            setting.report.row(f"durable, {name}", statistics.median(record["duration_ms"] for _, record in found), "ms",
                               limit=limit, aim=1.2 if percent == 0 and size >= 4096 else None)


def slow_down(setting):
    """What a program that writes to 10 % of its pages a second loses while it is saved, and after that."""
    size = max(setting.sizes)
    plain = Writer(setting, "slow-plain", size, 10, plain=True)
    native = statistics.median(pace(plain) for _ in range(setting.rounds))
    plain.computation.process.kill()
    plain.computation.wait()
    writer = Writer(setting, "slow", size, 10)
    during, after = [], []
    for _ in range(setting.rounds):
        writer.ask()
        writer.computation.checkpoint(300)
        during.append(writer.ask()[1])
        after.append(pace(writer))
    writer.end()
    name = f"{size} MiB, 10 %/s written: a look at the clock"
    setting.report.row(f"{name}, being saved", statistics.median(during), "ns", limit=native, aim=1.15)
    setting.report.row(f"{name}, after that", statistics.median(after), "ns", limit=native, aim=1.01)


def pace(writer):
    """ns from look to look, over 20 s."""
    writer.ask()
    time.sleep(20)
    return writer.ask()[1]


def incremental(setting):
    """What a later image costs when 1 % of the pages were written since the last one, beside the full image."""
    size = max(setting.sizes)
    writer = Writer(setting, "incremental", size, 1, options=["--incremental"])
    full = writer.computation.checkpoint(300)
    later = []
    for _ in range(setting.rounds):
        time.sleep(1)  # 1 % is written in
        later.append(writer.computation.checkpoint(300))
    writer.end()
    later = [record for record in later if record["incremental"]]
    if not later:
        setting.report.row(f"incremental, {size} MiB", 0, "", note="no image was incremental")
        return
    for name, key, unit, share in (("bytes", "bytes_written", "MB", 1e6), ("durable", "duration_ms", "ms", 1)):
        setting.report.row(f"{name}, incremental, {size} MiB, 1 % written",
                           statistics.median(record[key] for record in later) / share, unit, limit=full[key] / share, aim=0.03)


def contents(setting):
    """What memory holds, and the same bytes through a compressor."""
    size = 1024 if 1024 in setting.sizes else setting.sizes[0]
    limit = write_limit(setting, size)
    for kind in CONTENTS:
        writer = Writer(setting, f"content-{kind}", size, 0, kind, options=["--no-incremental"])
        found = [record for _, record in writer.checkpoints(setting.rounds)]
        writer.end()
        megabytes = statistics.median(record["bytes_written"] for record in found) / 1e6
        setting.report.row(f"durable, {size} MiB {kind}", statistics.median(record["duration_ms"] for record in found), "ms",
                           limit=limit, note=f"{megabytes:.0f} MB")
    compressed(setting, size)
    for words in PEERS:
        if shutil.which(words[0]):
            peer(setting, size, words)


def compressed(setting, size):
    """Text through our own compressors onto a disk that takes 500 MB/s, beside the same without."""
    took = {}
    for way in ("none", "lz4", "zstd", "auto"):
        writer = Writer(setting, f"compress-{way}", size, 0, "text",
                        options=["--compress", way, "--io-limit", "500", "--no-incremental"])
        found = [record for _, record in writer.checkpoints(setting.rounds)]
        writer.end()
        took[way] = statistics.median(record["duration_ms"] for record in found)
        megabytes = statistics.median(record["bytes_written"] for record in found) / 1e6
        setting.report.row(f"durable, {size} MiB text at 500 MB/s, {way}", took[way], "ms", limit=took["none"],
                           aim=0.7 if way == "auto" else None, note=f"{megabytes:.0f} MB")


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
