"""The coordinator and swiftcp_command with real programs: several of them, death of the coordinator, its terminal."""

import json
import os
import signal
import subprocess

from harness import build
from harness.case import Suite
from harness.computation import Computation
from harness.errors import check, check_equal
from harness.terminal import Terminal
from harness.waiting import wait_for

suite = Suite("coordinator")

TICKER = """
#include <stdio.h>
#include <time.h>
int main(void) {
    for (int i = 1;; i++) {
        printf("%d\\n", i);
        fflush(stdout);
        nanosleep(&(struct timespec){0, 20000000}, NULL);
    }
}
"""

STATUS_KEYS = {"schema_version", "command", "status", "coordinator", "computation", "processes", "last_checkpoint"}
PROCESS_KEYS = {"pid", "own_pid", "name", "host", "state", "threads", "resident_bytes"}
CHECKPOINT_KEYS = {
    "generation", "path", "ok", "started_at", "pause_ms", "duration_ms", "bytes_written", "processes", "snapshot",
    "incremental"}


class Group(Computation):
    """A coordinator of its own, and any number of programs under it."""

    def __init__(self, folder):
        super().__init__(folder)
        self.ticker = os.path.join(folder, "ticker")
        with open(self.ticker + ".c", "w", encoding="ascii") as file:
            file.write(TICKER)
        build.compile_c(self.ticker + ".c", self.ticker)
        self.programs = []

    def coordinator(self, *options):
        """Starts it in the background; returns when it listens."""
        done = subprocess.run(
            [build.tool("coordinator"), "--daemon", "--coordinator", self.address, *options], env=self.environment,
            cwd=self.work, capture_output=True, text=True, timeout=30, check=False)
        check_equal(done.returncode, 0, f"swiftcp_coordinator: {done.stderr}; exit status")

    def program(self, *options):
        """Starts a ticker; returns when the coordinator knows it."""
        before = len(self.status()["processes"])
        output = open(os.path.join(self.work, f"out{len(self.programs)}"), "wb")
        process = subprocess.Popen(
            [build.tool("launch"), "--coordinator", self.address, "--join-coordinator", "--ckptdir", self.ckptdir,
             *options, "--", self.ticker],
            env=self.environment, cwd=self.work, stdin=subprocess.DEVNULL, stdout=output)
        output.close()
        self.programs.append(process)
        wait_for(lambda: len(self.status()["processes"]) > before, 20, "the program in the status")
        return process

    def lines(self, index):
        with open(os.path.join(self.work, f"out{index}"), encoding="ascii") as file:
            return file.read().split("\n")[:-1]

    def runs_on(self, index):
        count = len(self.lines(index))
        wait_for(lambda: len(self.lines(index)) > count, 20, f"more output of program {index}")

    def coordinator_pid(self):
        return self.status()["coordinator"]["pid"]

    def quit(self):
        done = self.command("--quit")
        check_equal(done.returncode, 0, f"swiftcp_command --quit: {done.stderr}; exit status")
        for process in self.programs:
            check_equal(process.wait(20), -signal.SIGKILL, "exit status of a program after --quit")
        self.coordinator_gone()


@suite.case()
def status_and_checkpoint_as_the_contract_has_them(folder):
    group = Group(folder)
    group.coordinator()
    empty = group.status()
    check_equal(empty["processes"], [], "processes of a new coordinator")
    check_equal(empty["last_checkpoint"], None, "its last checkpoint")
    done = group.command("--checkpoint", "--json")
    check_equal((done.returncode, json.loads(done.stdout)["status"]), (1, "error"), "a checkpoint of nothing")
    program = group.program()
    reply = group.status()
    check(STATUS_KEYS <= set(reply), f"keys of {reply}")
    check(PROCESS_KEYS <= set(reply["processes"][0]), f"keys of {reply['processes']}")
    check_equal(reply["processes"][0]["pid"], program.pid, "pid")
    check_equal(reply["processes"][0]["name"], "ticker", "name")
    check(reply["processes"][0]["resident_bytes"] > 100_000, "resident_bytes")
    made = group.json("--checkpoint")
    check(CHECKPOINT_KEYS <= set(made["checkpoint"]), f"keys of {made}")
    check_equal(made["command"], "checkpoint", "command")
    check_equal(group.json("-bc")["checkpoint"]["generation"], 2, "generation of -bc")
    check_equal(group.status()["last_checkpoint"]["generation"], 2, "generation in the status")
    text = group.command("--status")
    check("ticker" in text.stdout and "generation 2" in text.stdout, f"status in words: {text.stdout}")
    group.runs_on(0)
    group.quit()


@suite.case()
def several_computations_at_once(folder):
    group = Group(folder)
    group.coordinator()
    for _ in range(3):
        group.program()
    reply = group.json("--checkpoint")
    check_equal([entry["last_checkpoint"]["ok"] for entry in reply["computations"]], [True] * 3, "checkpoints")
    check_equal(len(group.generations()), 3, "generations on disk")
    check_equal(len({entry["id"] for entry in reply["computations"]}), 3, "computations")
    os.kill(group.programs[1].pid, signal.SIGKILL)
    group.programs[1].wait(20)
    wait_for(lambda: len(group.status()["processes"]) == 2, 20, "the end of one program in the status")
    group.json("--checkpoint")
    for index in (0, 2):
        group.runs_on(index)
    del group.programs[1]
    group.quit()


@suite.case()
def coordinator_killed_and_started_again(folder):
    group = Group(folder)
    group.coordinator()
    group.program("--interval", "0.4", "--keep", "3")
    group.json("--checkpoint")
    for round_ in range(3):
        os.kill(group.coordinator_pid(), signal.SIGKILL)
        wait_for(lambda: group.command("--status").returncode == 3, 20, "nobody at the address", interval=0.02)
        group.runs_on(0)
        group.coordinator("--exit-on-last")
        wait_for(lambda: len(group.status()["processes"]) == 1, 20, "the program back in the status", interval=0.02)
        before = (group.status()["last_checkpoint"] or {}).get("generation", 0)
        wait_for(lambda: (group.status()["last_checkpoint"] or {}).get("generation", 0) > before + 1, 20,
                 f"automatic checkpoints in round {round_}", interval=0.05)
    check_equal(len(group.generations()), 3, "generations kept")
    manifest = json.load(open(os.path.join(group.generations()[-1], "manifest.json"), encoding="utf-8"))
    check_equal(manifest["computation"]["command"], [group.ticker], "command in the newest manifest")
    group.quit()


@suite.case()
def coordinator_killed_in_the_middle_of_checkpoints(folder):
    group = Group(folder)
    group.coordinator()
    program = group.program("--interval", "0.01")
    for _ in range(8):
        group.runs_on(0)
        os.kill(group.coordinator_pid(), signal.SIGKILL)
        group.runs_on(0)
        wait_for(lambda: group.command("--status").returncode == 3, 20, "nobody at the address", interval=0.02)
        group.coordinator()
        wait_for(lambda: len(group.status()["processes"]) == 1, 20, "the program back in the status", interval=0.02)
    check_equal(program.poll(), None, "the program's end")
    group.json("--interval", "0")
    made = group.json("--checkpoint")["checkpoint"]
    check_equal(made["ok"], True, "the last checkpoint")
    left = [name for name in os.listdir(os.path.dirname(made["path"])) if name.endswith(".partial")]
    check_equal(left, [], "partial generations left")
    numbers = [int(line) for line in group.lines(0)]
    check_equal(numbers, list(range(1, len(numbers) + 1)), "what the program printed")
    group.quit()


@suite.case()
def kcheckpoint_answers_when_the_program_has_gone(folder):
    group = Group(folder)
    group.coordinator()
    program = group.program()
    made = group.json("-kc")
    check_equal((made["command"], made["checkpoint"]["ok"]), ("kcheckpoint", True), "reply")
    check_equal(program.wait(5), -signal.SIGKILL, "exit status of the program")
    check_equal(group.status()["processes"], [], "processes afterwards")
    check_equal(group.json("--kill")["status"], "ok", "--kill of nothing")
    group.programs.clear()
    group.quit()


@suite.case()
def stopped_program(folder):
    group = Group(folder)
    group.coordinator()
    program = group.program()
    os.kill(program.pid, signal.SIGSTOP)
    wait_for(lambda: is_stopped(group), 10, "state stopped")
    before = ticks(group)
    for _ in range(3):
        group.checkpoint()
        check(is_stopped(group), "it runs after the checkpoint")
    check_equal(ticks(group), before, "numbers printed while it was stopped")
    os.kill(program.pid, signal.SIGCONT)
    wait_for(lambda: ticks(group) > before + 2, 10, "more numbers")
    os.kill(program.pid, signal.SIGSTOP)
    wait_for(lambda: is_stopped(group), 10, "state stopped")
    group.quit()


def is_stopped(group):
    return [process["state"] for process in group.status()["processes"]] == ["stopped"]


def ticks(group):
    with open(os.path.join(group.work, "out0"), encoding="ascii") as file:
        return len(file.read().split())


@suite.case()
def stopped_program_is_restarted_stopped(folder):
    group = Group(folder)
    group.launch([group.ticker])
    group.expect("5")
    os.kill(group.program_pid(), signal.SIGSTOP)
    wait_for(lambda: is_stopped(group), 10, "state stopped")
    for generation in range(3):
        group.checkpoint()
        group.kill9()
        group.restart(["--restore", ("auto", "lazy", "eager")[generation]])
        group.restored()
        wait_for(lambda: is_stopped(group), 10, "state stopped after the restart")
    before = len(group.output.text().split())
    os.kill(group.program_pid(), signal.SIGCONT)
    group.expect(str(before + 2))
    group.json("--kcheckpoint")
    group.wait()


@suite.case()
def stopped_program_is_checkpointed_and_ended(folder):
    group = Group(folder)
    group.launch([group.ticker])
    group.expect("5")
    os.kill(group.program_pid(), signal.SIGSTOP)
    wait_for(lambda: is_stopped(group), 10, "state stopped")
    group.json("--kcheckpoint")
    check_equal(group.wait(10), -signal.SIGKILL, "status of the program")
    check_equal(len(group.generations()), 1, "generations")


@suite.case(limit=180)
def program_that_is_stopped_again_and_again(folder):
    """Checkpoints meet every moment of a stop and of a going on; each is made, and no number is lost."""
    group = Group(folder)
    group.launch([group.ticker])
    group.expect("2")
    pid = group.program_pid()
    switch = subprocess.Popen(
        ["/usr/bin/python3", "-c", f"import os, time\nwhile True:\n    os.kill({pid}, 19)\n    time.sleep(0.02)\n"
         f"    os.kill({pid}, 18)\n    time.sleep(0.03)"])
    try:
        made = sum(group.command("--checkpoint").returncode == 0 for _ in range(20))
    finally:
        switch.kill()
        switch.wait()
        os.kill(pid, signal.SIGCONT)
    check(made >= 10, f"{made} of 20 checkpoints were made")
    numbers = [int(word) for word in group.output.text().split()[:-1]]
    check_equal(numbers, list(range(1, len(numbers) + 1)), "the numbers")
    group.expect(str(len(numbers) + 5))
    group.json("--kill")
    group.wait()


@suite.case()
def addresses(folder):
    group = Group(folder)
    done = group.command("--status")
    check_equal(done.returncode, 3, "exit status without a coordinator")
    done = group.command("--status", "--json")
    check_equal((done.returncode, json.loads(done.stdout)["status"]), (3, "error"), "the same in JSON")
    group.coordinator()
    second = subprocess.run(
        [build.tool("coordinator"), "--coordinator", group.address], env=group.environment, capture_output=True,
        text=True, timeout=30, check=False, stdin=subprocess.DEVNULL)
    check_equal(second.returncode, 1, "exit status of a second coordinator")
    check(f"process {group.coordinator_pid()}" in second.stderr, f"whom it found: {second.stderr}")
    os.kill(group.coordinator_pid(), signal.SIGKILL)
    wait_for(lambda: group.command("--status").returncode == 3, 20, "nobody at the address", interval=0.02)
    group.coordinator()  # what the dead one left is replaced
    group.quit()
    check_equal(os.listdir(os.path.join(folder, "run")), [], "what is left in the run directory")


@suite.case()
def end_by_itself(folder):
    group = Group(folder)
    status_file, log_file = os.path.join(folder, "status.json"), os.path.join(folder, "log")
    group.coordinator("--exit-on-last", "--status-file", status_file, "--log-file", log_file)
    program = group.program()

    def shown():
        with open(status_file, encoding="utf-8") as file:
            return [process["pid"] for process in json.load(file)["processes"]] == [program.pid]

    wait_for(shown, 20, "the program in the status file")
    program.kill()
    program.wait(20)
    group.coordinator_gone()
    wait_for(lambda: not os.path.exists(status_file), 20, "the status file's end")
    with open(log_file, encoding="utf-8") as file:
        check("ends: its last process has gone" in file.read(), "the log does not say why it ended")
    group.coordinator("--stale-timeout", "0.3")
    group.coordinator_gone()


@suite.case()
def signals_to_everything(folder):
    group = Group(folder)
    group.coordinator()
    program = group.program()
    coordinator = group.coordinator_pid()
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT, signal.SIGUSR2, signal.SIGXCPU):
        os.kill(coordinator, number)
    check_equal(group.checkpoint()["ok"], True, "a checkpoint after the signals")
    check_equal(group.coordinator_pid(), coordinator, "pid of the coordinator")
    program.kill()
    program.wait(20)
    group.coordinator_gone()


@suite.case(limit=120)
def keys_at_a_terminal(folder):
    group = Group(folder)
    screen = Terminal(folder)
    screen.type(f"swiftcp_coordinator --coordinator {group.address}")

    def see(text):
        wait_for(lambda: text in screen.screen(), 20, f"{text!r} on the screen", interval=0.05)

    see("0 processes")
    program = group.program()
    see("[1 process]")
    for keys, answer in [
            ("h", "show this text"), ("s", "OWN PID"), ("c", "paused"), ("l", str(program.pid)),
            ("i5\n", "every 5 s"), ("i0\n", "automatic checkpoints: no")]:
        for key in keys:
            screen.key("Enter" if key == "\n" else key)
        see(answer)
    screen.key("C-z")
    screen.prompts(2)
    screen.type("jobs")
    see("Stopped")
    screen.type("fg")
    group.checkpoint()
    screen.key("k")
    see("the processes have ended")
    check_equal(program.wait(20), -signal.SIGKILL, "exit status after k")
    screen.key("q")
    screen.prompts(4)
    screen.type("echo status $?")
    see("\nstatus 0")
    screen.close()
