"""A real terminal with an interactive shell in it, driven through tmux."""

import os

from .errors import Failed
from .tmux import LIMIT, Tmux
from .waiting import TimedOut, wait_for

PROMPT = "ready$"


class Screen(Tmux):
    """bash with job control in a tmux window of 100 × 50, in `folder/work`. Lines that it shows are read from the screen."""

    def __init__(self, folder, environment, directory):
        super().__init__(os.path.join(folder, "tmux"), {**environment, "PS1": PROMPT + " ", "HISTFILE": "/dev/null"},
                         directory, 100, 50, ["--norc", "--noprofile", "-i"])
        self.wait_prompt()

    def screen(self):
        """All lines, with those that have scrolled away, without blank ones at the end."""
        text = self.tmux("capture-pane", "-p", "-J", "-S", "-500").rstrip()
        return [line.rstrip() for line in text.split("\n")]

    def since_command(self):
        """Lines after the last command line."""
        lines = self.screen()
        starts = [number for number, line in enumerate(lines) if line.startswith(PROMPT + " ")]
        return lines[starts[-1] + 1:] if starts else lines

    def type(self, line):
        """Types a command line at the prompt and the Enter key; returns when the shell shows it."""
        before = self.commands()
        self.tmux("send-keys", "-l", line)
        self.wait_for(lambda lines: self.commands() > before, f"the command line {line!r}")
        self.tmux("send-keys", "Enter")

    def commands(self):
        """How many command lines the screen shows."""
        return len([line for line in self.screen() if line.startswith(PROMPT + " ")])

    def key(self, *names):
        """Presses keys, all at once: C-c, C-z, Enter …"""
        self.tmux("send-keys", *names)

    def wait_for(self, condition, what, limit=LIMIT):
        """Waits until condition(lines since the last command) holds; returns these lines."""

        def holds():
            lines = self.since_command()
            return (lines,) if condition(lines) else None

        try:
            return wait_for(holds, limit, what, interval=0.03)[0]
        except TimedOut as error:
            raise Failed(f"{error}; the screen: {self.screen()}") from None

    def wait_line(self, line, limit=LIMIT):
        return self.wait_for(lambda lines: line in lines, f"the line {line!r} at the terminal", limit)

    def wait_prompt(self, limit=LIMIT):
        """Waits until the shell has its prompt back; returns the lines of the last command."""
        lines = self.wait_for(lambda lines: lines and lines[-1] == PROMPT, "the shell's prompt", limit)
        return lines[:-1]

    def run(self, line, limit=LIMIT):
        """Types a command, waits for its end and returns the lines it showed."""
        self.type(line)
        return self.wait_prompt(limit)
