"""A shell at a real terminal, driven through tmux."""

import os
import re

from . import build
from .errors import Failed
from .tmux import LIMIT, Tmux
from .waiting import TimedOut, wait_for


class Terminal(Tmux):
    """bash in a tmux window of 100 columns and 30 lines, in folder/work, with the commands of the build in PATH."""

    def __init__(self, folder, environment=None):
        self.work = os.path.join(folder, "work")
        os.makedirs(self.work, exist_ok=True)
        rc = os.path.join(folder, "rc")
        with open(rc, "w", encoding="ascii") as file:
            file.write("PS1='ready> '\n")
        variables = {name: value for name, value in os.environ.items()
                     if not name.startswith("SWIFTCP_") or name == "SWIFTCP_BUILD"}
        variables.update(
            PATH=os.path.join(build.build_folder(), "bin") + ":" + variables["PATH"], HOME=folder,
            SWIFTCP_COORDINATOR="unix:" + os.path.join(folder, "coordinator"), **(environment or {}))
        super().__init__(os.path.join(folder, "tmux"), variables, self.work, 100, 30,
                         ["--noprofile", "--rcfile", rc])
        self.tmux("set-option", "-g", "history-limit", "50000")
        self.prompts(1)

    def screen(self):
        """Everything the terminal has shown, lines that were wrapped joined."""
        return self.tmux("capture-pane", "-p", "-J", "-S", "-")

    def tail(self):
        """The last lines, for messages."""
        return "\n".join(self.screen().rstrip().splitlines()[-12:])

    def type(self, line):
        self.tmux("send-keys", "-l", "--", line)
        self.key("Enter")

    def key(self, name):
        """A key by tmux's name: C-c, C-z, Enter."""
        self.tmux("send-keys", name)

    def resize(self, columns, lines):
        self.tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def expect(self, pattern, count=1, limit=LIMIT):
        """Waits until `count` lines match the pattern (whole lines, blanks at their ends aside)."""
        expression = re.compile(pattern)

        def found():
            return len([line for line in self.screen().splitlines() if expression.fullmatch(line.rstrip())]) >= count

        try:
            wait_for(found, limit, pattern, interval=0.05)
        except TimedOut:
            raise Failed(f"no {count} lines like {pattern!r} within {limit} s; the terminal shows:\n"
                         + self.tail()) from None

    def prompts(self, count, limit=LIMIT):
        """Waits for the count-th prompt since the beginning."""
        def there():
            return len(re.findall(r"(?m)^ready>", self.screen())) >= count

        try:
            wait_for(there, limit, "a prompt", interval=0.05)
        except TimedOut:
            raise Failed(f"no prompt number {count} within {limit} s; the terminal shows:\n"
                         + self.tail()) from None

    def numbers(self):
        """The lines that are nothing but a number, in order."""
        return [int(line) for line in self.screen().splitlines() if line.strip().isdigit()]
