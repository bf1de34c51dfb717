"""The coordinator alone: ten thousand simulated workers through one barrier."""

import os
import subprocess

from harness import build
from harness.output import Output

WORKERS = 10000


def workers(setting):
    folder = setting.inner("simulated")
    path = os.path.join(folder, "socket")
    address = "unix:" + path
    environment = dict(os.environ, SWIFTCP_COORDINATOR=address)
    subprocess.run([build.tool("coordinator"), "--daemon", "--coordinator", address], env=environment, check=True)
    took = []
    for _ in range(setting.rounds):
        took.append(barrier(setting, path, folder, environment))
    subprocess.run([build.tool("command"), "--quit"], env=environment, check=True, stdout=subprocess.DEVNULL)
    setting.report.row(f"{WORKERS} simulated workers through a barrier", sorted(took)[len(took) // 2], "ms", aim=500)


def barrier(setting, path, folder, environment):
    """ms from the first report until the last worker may go on."""
    output = Output("stdout")
    pipe = output.pipe()
    process = subprocess.Popen([setting.program("workers"), str(WORKERS), path, folder], stdout=pipe)
    os.close(pipe)

    def alive():
        return process.poll() is None

    output.expect(lambda line: line == "READY", 120, "READY", alive)
    # It is given up after the barrier: status 1.
    subprocess.run([build.tool("command"), "--checkpoint"], env=environment, stderr=subprocess.DEVNULL, timeout=120, check=False)
    line = output.expect(lambda line: line.startswith("BARRIER "), 10, "BARRIER", alive)
    process.wait(60)
    return int(line.split()[1]) / 1e6
