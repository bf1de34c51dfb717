"""Terminal multiplexers inside, their clients outside, after the whole tree has been killed and restarted.

A client of tmux is attached again at a terminal of the test's own. A client of screen asks for the server by its pid, which is
another one outside of the pid namespace that the restart has made: it can send commands, and not attach.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess

from harness.build import tool
from harness.case import Suite
from harness.computation import Computation
from harness.errors import Failed, Skipped, check_equal
from harness.terminal import Terminal
from harness.waiting import TimedOut, wait_for

suite = Suite("terminals")

ROUNDS = 10
LIMIT = 30
WAIT = " && echo up > up; while [ ! -e stop ]; do sleep 0.05; done"  # the root lives on beside the server


class Multiplexer:
    """tmux or screen in a computation; `client` are the words of its client, `attach` those that show it at a terminal."""

    def __init__(self, folder, start, client, attach, environment):
        self.computation = Computation(folder, {"SHELL": "/bin/bash", "TERM": "xterm", **environment})
        self.client, self.attach_words, self.environment = client, attach, environment
        self.computation.launch(["/bin/sh", "-c", start + WAIT])
        self.terminal = None
        self.folder = folder
        self.shell_says("up", "up")

    def outside(self, *words):
        """Runs the client with these words, outside of the computation."""
        done = subprocess.run([*self.client, *words], env=self.computation.environment, cwd=self.computation.work,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False)
        if done.returncode != 0:
            raise Failed(f"{' '.join([*self.client, *words])}: {done.stdout}{done.stderr}; {self.computation.story()}")
        return done.stdout

    def shell_says(self, name, text):
        """Waits until the shell inside has written the line to the file."""
        path = os.path.join(self.computation.work, name)

        def said():
            try:
                with open(path, encoding="ascii") as file:
                    return file.read() == text + "\n"
            except OSError:
                return False

        try:
            wait_for(said, LIMIT, f"{text!r} in {name}", interval=0.01)
        except TimedOut as error:
            raise Failed(f"{error}; {self.computation.story()}") from None

    def round(self):
        self.computation.checkpoint()
        self.computation.kill9()
        # A newborn of the shell's loop may end a moment after those that were known.
        wait_for(self.is_forgotten, LIMIT, "the end of all processes in the coordinator's status", interval=0.01)
        self.computation.restart()
        self.computation.restored()

    def is_forgotten(self):
        done = self.computation.command("--status", "--json")
        return done.returncode != 0 or not json.loads(done.stdout).get("processes")

    def attach(self):
        """Attaches a client at a terminal of the test's own."""
        if self.terminal is None:
            self.terminal = Terminal(self.folder, self.environment)
        self.terminal.type(self.attach_words)
        return self.terminal

    def end(self):
        with open(os.path.join(self.computation.work, "stop"), "w", encoding="ascii"):
            pass
        status = self.computation.wait()
        if status != 0:
            raise Failed(f"the computation ends with {status}; {self.computation.story()}")
        if self.terminal:
            self.terminal.close()


def rounds(multiplexer, type_line, look):
    """The shell counts and keeps a job over restarts; what its terminal shows is looked at from outside."""
    type_line("x=0; sleep 100000 & echo ready > ready")
    multiplexer.shell_says("ready", "ready")
    for number in range(ROUNDS):
        multiplexer.round()
        type_line(f'x=$((x + 1)); echo "$x $(jobs -r | wc -l)" > round-{number}')
        multiplexer.shell_says(f"round-{number}", f"{number + 1} 1")
        if number % 3 == 0:
            look(number)
    type_line("kill %1; exit")
    multiplexer.end()


@suite.case(limit=240)
def a_tmux_server_is_attached_again(folder):
    if shutil.which("tmux") is None:
        raise Skipped("tmux is not installed")
    socket = os.path.join(folder, "inner")
    client = ["tmux", "-S", socket, "-f", "/dev/null"]
    base = shlex.join(client)
    multiplexer = Multiplexer(
        folder, f"{base} new-session -d -x 90 -y 20 'exec /bin/bash --norc --noprofile'", client,
        f"TMUX= {base} attach", {"TMUX": ""})

    def look(number):
        terminal = multiplexer.attach()
        terminal.type('echo "attached:$x"')
        terminal.expect(rf"attached:{number + 1}", limit=LIMIT)
        terminal.key("C-b")
        terminal.key("d")
        terminal.expect(r".*detached.*", count=1 + number // 3, limit=LIMIT)

    rounds(multiplexer, lambda line: multiplexer.outside("send-keys", line, "Enter"), look)


@suite.case(limit=240)
def a_screen_session_obeys_commands_again(folder):
    if shutil.which("screen") is None:
        raise Skipped("screen is not installed")
    run = os.path.join(folder, "screens")
    os.mkdir(run, mode=0o700)
    client = ["screen", "-S", "inner"]
    multiplexer = Multiplexer(
        folder, "screen -c /dev/null -S inner -d -m /bin/bash --norc --noprofile", client, "", {"SCREENDIR": run})

    def type_line(line):
        multiplexer.outside("-p", "0", "-X", "stuff", line.replace("$", "\\$") + "\r")

    # Its first process ends before the server listens.
    wait_for(lambda: subprocess.run(
        [*client, "-p", "0", "-X", "version"], env=multiplexer.computation.environment, stdin=subprocess.DEVNULL,
        capture_output=True, timeout=LIMIT, check=False).returncode == 0, LIMIT, "the server of screen", interval=0.05)

    def look(number):
        type_line(f'echo "shown:$x"; echo {number} > shown-{number}')
        multiplexer.shell_says(f"shown-{number}", f"{number}")
        copy = os.path.join(folder, f"copy-{number}")

        def shown():
            multiplexer.outside("-p", "0", "-X", "hardcopy", copy)
            try:
                with open(copy, encoding="utf-8") as file:
                    return f"\nshown:{number + 1}\n" in file.read()
            except OSError:
                return False

        wait_for(shown, LIMIT, f"shown:{number + 1} in a hardcopy", interval=0.1)

    rounds(multiplexer, type_line, look)


# ---- at the user's own terminal ----------------------------------------------------------------------------------------

class AtTerminal:
    """A program launched, killed and restarted in a terminal whose shell goes on; steps show by files in its folder."""

    def __init__(self, folder, words):
        self.terminal = Terminal(folder)
        self.folder, self.work = folder, self.terminal.work
        self.terminal.type("swiftcp_launch --ckptdir ckpt -- " + words)

    def try_command(self, *words):
        return subprocess.run(
            [tool("command"), *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False,
            env=dict(os.environ, SWIFTCP_COORDINATOR="unix:" + os.path.join(self.folder, "coordinator")))

    def command(self, *words):
        done = self.try_command(*words)
        if done.returncode != 0:
            raise Failed(f"swiftcp_command {' '.join(words)}: {done.stderr}; the terminal shows:\n{self.terminal.tail()}")
        return done.stdout

    def keys(self, text):
        self.terminal.tmux("send-keys", "-l", "--", text)

    def step(self, text, name):
        """Types, and waits for the file that shows that it has been heard."""
        self.keys(text)
        path = os.path.join(self.work, name)
        try:
            wait_for(lambda: os.path.exists(path), LIMIT, name, interval=0.01)
        except TimedOut as error:
            raise Failed(f"{error}; the terminal shows:\n{self.terminal.tail()}") from None

    def pids(self):
        return [process["pid"] for process in json.loads(self.command("--status", "--json"))["processes"]]

    def round(self, number):
        """Checkpoint, SIGKILL of all processes, restart at the shell's prompt; returns when the shell has started it."""
        self.command("--checkpoint")
        pids = self.pids()
        for signal_number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                try:
                    os.kill(pid, signal_number)
                except ProcessLookupError:
                    pass  # it has gone with the root's namespace
        done = os.path.join(self.work, f"dead-{number}")
        # The first line may meet the end of the old life, and is typed again then.
        wait_for(lambda: self.shell_answers(done), LIMIT, "the shell's answer", interval=0.2)
        self.keys("swiftcp_restart ckpt/ckpt_*\r")
        wait_for(lambda: self.is_back(len(pids)), LIMIT, "the restored program", interval=0.02)

    def shell_answers(self, path):
        if not os.path.exists(path):
            self.keys(f"\x03stty sane; : > {os.path.basename(path)}\r")
        return os.path.exists(path)

    def is_back(self, count):
        done = self.try_command("--status", "--json")
        return done.returncode == 0 and len(json.loads(done.stdout)["processes"]) == count

    def end(self, keys, status):
        self.keys(keys)
        # Only then is it the shell that hears what is typed.
        wait_for(lambda: self.try_command("--status").returncode == 3, LIMIT, "the end of the coordinator", interval=0.05)
        self.step("echo ended-$? > ended; : > over\r", "over")
        check_equal(self.read("ended"), f"ended-{status}\n", "what the shell says of the end")
        self.terminal.close()

    def read(self, name):
        with open(os.path.join(self.work, name), encoding="ascii") as file:
            return file.read()


def edits(folder, words, line, mark, leave):
    """A line typed in every generation, and one behind the checkpoint that is lost with its process."""
    program = AtTerminal(folder, words + " text")
    program.step(line.format("first") + mark.format("ready"), "step-ready")
    for number in range(ROUNDS):
        program.round(number)
        program.step(line.format(f"line {number}") + mark.format(number), f"step-{number}")
    program.end(leave, 0)
    wanted = "".join(f"{text}\n" for text in ["first", *(f"line {number}" for number in range(ROUNDS))])
    check_equal(program.read("text"), wanted, "the text")


@suite.case(limit=240)
def vim_edits_on_at_the_users_terminal(folder):
    if not os.path.exists("/usr/bin/vim.basic"):
        raise Skipped("vim is not installed")
    edits(folder, "/usr/bin/vim.basic -u NONE -N -n -i NONE --cmd 'set t_ti= t_te='", "Go{0}\x1b",
          ':call writefile([], "step-{0}")\r', "ggdd:wq\r")


@suite.case(limit=240)
def an_interactive_bash_goes_on_at_the_users_terminal(folder):
    program = AtTerminal(folder, "/bin/bash --norc --noprofile -i")
    program.step("PS1='inner> '; x=0; sleep 100000 & : > step-ready\r", "step-ready")
    for number in range(ROUNDS):
        program.round(number)
        program.step(f"x=$((x + 1)); : > step-{number}\r", f"step-{number}")
    program.step('echo "$x $(jobs -r | wc -l)" > x.txt; kill %1; : > counted\r', "counted")
    check_equal(program.read("x.txt"), f"{ROUNDS} 1\n", "x and the jobs")
    program.end("exit 7\r", 7)
