"""A program at a terminal that this one has made: vim, emacs, an interactive bash, tmux, GNU screen, script.

`terminal.py KIND PROGRAM [WORD…]`. Everything is inside the computation: who types, the terminal, who reads what is typed.
Steps are typed one after the other; each leaves a file `step-N`, which says that it is done. After a restart some of these
files are from a time that has not been: then steps are typed ahead. What counts is the state of the program at the end.
"""

import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time

LIMIT = 100  # seconds for one step
STEPS = max(4, int(float(os.environ.get("SCALE", "1")) * 150))


class Keyboard:
    """A child at the other end of a pseudo-terminal of 100 columns and 30 lines, and what it has shown."""

    def __init__(self, words):
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
            os.environ.update(TERM="xterm", PS1="", LC_ALL="C.UTF-8", SHELL="/bin/bash")
            os.execv(words[0], words)
        self.shown = b""

    def type(self, text):
        data = text.encode()
        while data:
            self.look(0)
            data = data[os.write(self.master, data):]

    def look(self, limit):
        """Takes what the program shows; False when it has closed the terminal."""
        if not select.select([self.master], [], [], limit)[0]:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:  # EIO: nobody has the other end any more
            return False
        self.shown = (self.shown + data)[-100000:]
        return len(data) > 0

    def wait(self, condition, what):
        end = time.monotonic() + LIMIT
        while not condition():
            if not self.look(0.002):
                time.sleep(0.002)
            if time.monotonic() > end:
                sys.exit(f"FAIL no {what}; it shows {self.shown[-500:]!r}")

    def step(self, number):
        self.wait(lambda: os.path.exists(f"step-{number}"), f"step {number}")

    def in_front(self):
        """The name of the leader of the foreground group, \"\" when it has just ended."""
        try:
            return content(f"/proc/{os.tcgetpgrp(self.master)}/comm")
        except OSError:
            return ""

    def finish(self):
        """Until the program has closed its terminal; its exit status."""
        end = time.monotonic() + LIMIT
        while self.look(1):
            if time.monotonic() > end:
                sys.exit(f"FAIL no end; it shows {self.shown[-500:]!r}")
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def content(name):
    with open(name, encoding="ascii") as file:
        return file.read()


def expected(first="first"):
    return "".join([first + "\n"] + [f"line {number}\n" for number in range(STEPS)])


def edit(words, insert, leave, ready):
    """Types lines into the file `text`, one a step, then has it written."""
    keyboard = Keyboard([*words, "text"])
    keyboard.type(ready)
    keyboard.step("ready")
    print("START", flush=True)
    for number in range(STEPS):
        keyboard.type(insert.format(number))
        keyboard.step(number)
    keyboard.type(leave)
    status = keyboard.finish()
    same = content("text") == expected()
    print(f"RESULT status {status}, {'all lines' if same else content('text')[-300:]}")


def vim(words):
    # "!": the file may have been written by a run that was killed after its checkpoint, and vim would ask.
    edit([*words, "-u", "NONE", "-N", "-n", "-i", "NONE"],
         'oline {0}\x1b:call writefile([], "step-{0}")\r', ":wq!\r",
         'ifirst\x1b:call writefile([], "step-ready")\r')


def emacs(words):
    # It would ask likewise at C-x C-s.
    edit([*words, "-nw", "-Q"],
         'line {0}\r\x1b:(write-region "" nil "step-{0}" nil 0)\r',
         '\x1b:(progn (write-region nil nil "text" nil 0) (kill-emacs))\r',
         'first\r\x1b:(write-region "" nil "step-ready" nil 0)\r')


COUNT = "x=$((x + 1)); : > step-{}\r"


def bash(words):
    """A shell with a job behind it; every tenth step a job in front of it that Ctrl+C ends."""
    keyboard = Keyboard([*words, "--norc", "--noprofile", "-i"])
    keyboard.type("HISTFILE=; x=0; sleep 100000 & : > step-ready\r")
    keyboard.step("ready")
    print("START", flush=True)
    for number in range(STEPS):
        if number % 10 == 5:
            keyboard.type(f": > step-sleeps-{number}; sleep 100000\r")
            keyboard.step(f"sleeps-{number}")
            # Before its exec a child of bash takes no notice of Ctrl+C.
            keyboard.wait(lambda: keyboard.in_front() == "sleep\n", "job in front")
            keyboard.type("\x03")
            keyboard.wait(lambda: keyboard.in_front() == "bash\n", "shell in front")
        keyboard.type(COUNT.format(number))
        keyboard.step(number)
    keyboard.type('jobs -r > jobs.txt; kill %1; wait %1; echo "$x $?" > x.txt; exit 7\r')
    status = keyboard.finish()
    print(f"RESULT status {status}, x and job {content('x.txt').strip()}, {len(content('jobs.txt').splitlines())} jobs")


def script(words):
    """script(1) with a shell at its terminal: what it has recorded is what the shell has said."""
    keyboard = Keyboard([*words, "-q", "-e", "-c", "/bin/bash --norc --noprofile", "typescript"])
    keyboard.type("stty -echo; x=0; : > step-ready\r")
    keyboard.step("ready")
    print("START", flush=True)
    for number in range(STEPS):
        keyboard.type("echo said $x; " + COUNT.format(number))
        keyboard.step(number)
    keyboard.type("exit 3\r")
    status = keyboard.finish()
    with open("typescript", encoding="utf-8", errors="replace") as file:
        said = [line.rstrip("\r\n") for line in file if "said " in line]
    said = [line[line.index("said "):] for line in said]
    right = said == [f"said {number}" for number in range(STEPS)]
    print(f"RESULT status {status}, {'all recorded' if right else said[-20:]}")


def multiplexer(words):
    """A shell at a terminal of a server that the one we type at belongs to the client of."""
    keyboard = Keyboard(words)
    keyboard.type("x=0; : > step-ready\r")
    keyboard.step("ready")
    print("START", flush=True)
    for number in range(STEPS):
        keyboard.type(COUNT.format(number))
        keyboard.step(number)
    keyboard.type('stty size > size.txt; tty > tty.txt; echo "$x" > x.txt; exit\r')
    status = keyboard.finish()
    right = content("x.txt").strip() == str(STEPS) and content("tty.txt").startswith("/dev/pts/")
    print(f"RESULT status {status}, {'all steps' if right else content('x.txt')}, size {content('size.txt').strip()}")


def tmux(words):
    multiplexer([*words, "-S", "socket", "-f", "/dev/null", "new-session", "exec /bin/bash --norc --noprofile"])


def screen(words):
    os.makedirs("run", mode=0o700, exist_ok=True)
    os.environ["SCREENDIR"] = os.path.abspath("run")
    multiplexer([*words, "-c", "/dev/null", "-S", "steps", "/bin/bash", "--norc", "--noprofile"])


if __name__ == "__main__":
    {"vim": vim, "emacs": emacs, "bash": bash, "script": script, "tmux": tmux, "screen": screen}[sys.argv[1]](
        sys.argv[2:])
