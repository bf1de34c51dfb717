"""Checkpoints: how long a program stands still, how soon its image is durable, beside what the machine can do at best."""

import os
import shutil
import statistics
import subprocess
import time

from setting import Watcher, end

WRITTEN = (0, 1, 10, 50, 1000000)  # percent of the pages a second; the last: as quickly as it can
CONTENTS = ("random", "text", "sparse", "untouched")
PAGES = ("huge", "small")
PEERS = (("gzip", "-1"), ("zstd", "-1", "-T0"))


def idle(setting):
    """One thread looks at the clock, the others sleep."""
    for threads in (1, 64):
        watcher = Watcher(setting, f"idle{threads}", "pause", 1, 0, "random", "any", threads)
        found = watcher.checkpoints(setting.rounds * 2)
        watcher.end()
        pause_row(setting, f"idle, {threads} threads", 5, found)


def write_limit(setting, megabytes, rounds=None):
    """ms of a direct write of so many bytes, with fsync."""
    path = os.path.join(setting.folder, "limit")
    took = setting.limit("write", path, megabytes, rounds=rounds)
    os.unlink(path)
    return took


def host_standstill(setting):
    """For how many ms the host itself keeps a program from running that saves nothing: beside a direct write, and with
    another program on the other processors. A host that rations processors adds as much to what a program under SwiftCP sees."""
    if setting.host_standstill is None:
        program = Watcher(setting, "host", "pause", 1, 0, plain=True)
        others = [subprocess.Popen(["nice", "-n", "5", "sh", "-c", "while :; do :; done"]) for _ in range(1, os.cpu_count())]
        found = []
        for _ in range(setting.rounds):
            program.ask()
            write_limit(setting, usual_size(setting), rounds=1)
            found.append(program.ask()[0])
        for process in (*others, program.computation.process):
            process.kill()
            process.wait()
        setting.host_standstill = statistics.median(found)
        setting.report.row("standing still, nothing saved, beside a direct write", setting.host_standstill, "ms")
    return setting.host_standstill


def live(setting):
    """Programs that write while they are saved."""
    for size in setting.fitting("pause, durable"):
        limit = write_limit(setting, size)
        for percent in WRITTEN:
            writer = Watcher(setting, f"live{size}-{percent}", "pause", size, percent, options=["--no-incremental"])
            found = writer.checkpoints(setting.rounds)
            writer.end()
            name = f"{size} MiB, {percent} %/s written" if percent <= 100 else f"{size} MiB, written as fast as it can"
            pause_row(setting, name, pause_aim(size, percent), found)
            setting.report.row(f"durable, {name}", statistics.median(record["duration_ms"] for _, record in found), "ms",
                               limit=limit, aim=1.2 if percent == 0 and size >= 4096 else None)


def pause_aim(size, percent):
    return None if percent > 10 else 15 if percent == 10 else 1 if size <= 64 else 5


def pause_row(setting, name, aim, found):
    """What the program has measured; beside it what the checkpoints say, which other programs on the machine lengthen less.
    Where the host alone keeps a program from running for longer than the aim, there is none."""
    way = ", ".join(sorted({record["snapshot"] for _, record in found}))
    told = statistics.median(record["pause_ms"] for _, record in found)
    seen = statistics.median(pause for pause, _ in found)
    note = f"{way}, by its own account {told:.2g} ms"
    if aim and seen > aim and host_standstill(setting) > aim:
        note += f"; the aim of {aim} ms cannot be judged here, the host alone takes {host_standstill(setting):.2g} ms"
        aim = None
    setting.report.row(f"pause, {name}", seen, "ms", aim=aim, note=note)


def pages(setting):
    """Memory in huge pages, and in small ones alone."""
    size = usual_size(setting)
    if not setting.fits("pause, huge and small pages", size):
        return
    for kind in PAGES:
        for percent in (0, 10):
            writer = Watcher(setting, f"pages-{kind}-{percent}", "pause", size, percent, "random", kind,
                             options=["--no-incremental"])
            found = writer.checkpoints(setting.rounds)
            writer.end()
            pause_row(setting, f"{size} MiB in {kind} pages, {percent} %/s written", pause_aim(size, percent), found)


def slow_down(setting):
    """What a program that writes to 10 % of its pages a second loses while it is saved, and after that."""
    size = max(setting.fitting("slow-down"), default=0)
    if size == 0:
        return
    plain = Watcher(setting, "slow-plain", "pause", size, 10, plain=True)
    native = statistics.median(pace(plain) for _ in range(setting.rounds))
    plain.computation.process.kill()
    plain.computation.wait()
    writer = Watcher(setting, "slow", "pause", size, 10)
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
    size = max(setting.fitting("incremental"), default=0)
    if size == 0:
        return
    writer = Watcher(setting, "incremental", "pause", size, 1, options=["--incremental"])
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


def usual_size(setting):
    return 1024 if 1024 in setting.sizes else setting.sizes[0]


def contents(setting):
    """What memory holds, and the same bytes through a compressor."""
    size = usual_size(setting)
    if not setting.fits("contents", size):
        return
    limit = write_limit(setting, size)
    for kind in CONTENTS:
        took, megabytes = saved(setting, f"content-{kind}", size, kind, ["--no-incremental"])
        setting.report.row(f"durable, {size} MiB {kind}", took, "ms", limit=limit, note=f"{megabytes:.0f} MB")
    ours = compressed(setting, size)
    for words in PEERS:
        if not shutil.which(words[0]):
            setting.report.skip(f"{' '.join(words)} of {size} MiB text", f"{words[0]} is not installed")
            continue
        megabytes = peer(setting, size, words)
        if words[0] == "gzip":
            setting.report.row(f"size, {size} MiB text, auto beside gzip -1", ours, "MB", limit=megabytes, aim=1)


def saved(setting, name, size, kind, options):
    """ms until the image of a program that rests is durable, and its size in MB."""
    computation = setting.computation(name, "idle", 1, size, kind, options=options)
    found = [computation.checkpoint(300) for _ in range(setting.rounds)]
    end(computation)
    took = statistics.median(record["duration_ms"] for record in found)
    return took, statistics.median(record["bytes_written"] for record in found) / 1e6


def compressed(setting, size):
    """Text through our own compressors onto a disk that takes 500 MB/s, beside the same without. Returns MB of the last."""
    plain, megabytes = None, 0
    for way in ("none", "lz4", "zstd", "auto"):
        took, megabytes = saved(setting, f"compress-{way}", size, "text",
                                ["--compress", way, "--io-limit", "500", "--no-incremental"])
        plain = plain or took
        setting.report.row(f"durable, {size} MiB text at 500 MB/s, {way}", took, "ms", limit=plain,
                           aim=0.7 if way == "auto" else None, note=f"{megabytes:.0f} MB")
    return megabytes


def peer(setting, size, words):
    """A pipe of the memory's bytes through a compressor into a file, with fsync: what users do by hand. Returns its MB."""
    path = os.path.join(setting.folder, "peer")
    began = time.perf_counter()
    with open(path, "wb") as file:
        source = subprocess.Popen([setting.program("limits"), "print", str(size), "text"], stdout=subprocess.PIPE)
        subprocess.run(words, stdin=source.stdout, stdout=file, check=True)
        source.stdout.close()
        source.wait()
        os.fsync(file.fileno())
    took, megabytes = (time.perf_counter() - began) * 1000, os.path.getsize(path) / 1e6
    setting.report.row(f"{' '.join(words)} of {size} MiB text", took, "ms", note=f"{megabytes:.0f} MB")
    os.unlink(path)
    return megabytes
