"""What SwiftCP costs a program that is not checkpointed: its start, and while it runs."""

import os
import statistics
import subprocess

from harness.computation import Computation
from setting import launch_words, timed

LOADING = ("fork+exec",)  # each starts a program: the library is loaded again
AIMS = {"fork": 1.2, "fork+exec": 1.2}  # elsewhere 1.01


def start_up(setting):
    """swiftcp_launch /bin/true beside /bin/true, with a coordinator that runs and with one that must be started."""
    computation = Computation(setting.inner("start"))
    keeper = subprocess.Popen([*launch_words(computation), setting.program("idle"), "1"], env=computation.environment,
                              stdout=subprocess.PIPE)
    keeper.stdout.readline()
    native, ours, fresh = [], [], []
    for _ in range(setting.rounds * 10):
        native.append(timed(["/bin/true"], computation.environment))
        ours.append(timed([*launch_words(computation), "/bin/true"], computation.environment) - native[-1])
    keeper.kill()
    keeper.wait()
    computation.coordinator_gone()
    for number in range(setting.rounds):
        other = Computation(setting.inner(f"fresh{number}"))
        fresh.append(timed([*launch_words(other), "/bin/true"], other.environment) - statistics.median(native))
        other.coordinator_gone()
    setting.report.row("/bin/true, natively", statistics.median(native), "ms")
    setting.report.row("swiftcp_launch /bin/true takes longer by", statistics.median(ours), "ms", aim=3)
    setting.report.row("... where it starts the coordinator too", statistics.median(fresh), "ms")


def run_time(setting):
    """Each micro-workload natively and under swiftcp_launch, in turn. A program that is started loads the library: its share
    is measured by an empty one, and stands on the native side."""
    computation = Computation(setting.inner("cost"))
    binary = setting.program("micro")
    names = subprocess.run([binary], capture_output=True, text=True, check=True).stdout.splitlines()
    empty = empty_library(setting)

    def once(words, preload=None):
        environment = dict(computation.environment, **({"LD_PRELOAD": preload} if preload else {}))
        return float(subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout) / 1000

    for name in names:
        native, loading, ours = [], [], []
        for _ in range(setting.rounds):
            native.append(once([binary, name]))
            if name in LOADING:
                loading.append(once([binary, name], empty))
            ours.append(once([*launch_words(computation), binary, name]))
        limit, value = statistics.median(native), statistics.median(ours)
        aim = AIMS.get(name, 1.01)
        setting.report.row(name, value, "us", limit=limit, aim=None if name in LOADING else aim)
        if name in LOADING:
            setting.report.row(f"{name}, beside one empty library", value, "us", limit=statistics.median(loading), aim=aim)


def empty_library(setting):
    path = os.path.join(setting.folder, "empty.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-Wl,--no-as-needed", "-x", "c", "/dev/null", "-o", path], check=True)
    return path
