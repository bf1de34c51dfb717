"""A tmux server of a test's own, with bash at the one terminal it has."""

import shutil
import subprocess

from .errors import Failed, Skipped

LIMIT = 20


class Tmux:
    """A tmux server on the socket `socket` with one window in which `bash` runs with the words given, in `directory`.

    bash is started by tmux itself, not by the user's login shell, which may be nologin.
    """

    def __init__(self, socket, environment, directory, columns, lines, words):
        if shutil.which("tmux") is None:
            raise Skipped("tmux is not installed")
        self.socket = socket
        self.environment = {name: value for name, value in environment.items() if not name.startswith("TMUX")}
        self.environment.update(TERM="xterm", LC_ALL="C.UTF-8", SHELL="/bin/bash")
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(lines), "-c", directory,
                  "bash", *words)

    def tmux(self, *words):
        """Runs a tmux command and returns what it printed."""
        done = subprocess.run(["tmux", "-S", self.socket, *words], env=self.environment, capture_output=True, text=True,
                              timeout=LIMIT, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise Failed(f"tmux {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def close(self):
        try:
            self.tmux("kill-server")
        except Failed:
            pass  # its shell, and so the server, has ended
