"""Signals and job control of a restored program at a real terminal: as they would reach the original."""

import json
import os
import signal
import subprocess

from harness import build
from harness.build import compile_c, tool
from harness.case import Suite
from harness.errors import Failed, check
from harness.terminal import Terminal
from harness.waiting import TimedOut, wait_for

suite = Suite("jobcontrol")


def terminal_program(folder):
    target = os.path.join(folder, "program")
    compile_c(os.path.join(build.HERE, "terminal_program.c"), target)
    return target


def command(folder, *words):
    done = subprocess.run(
        [tool("command"), *words], env=dict(os.environ, SWIFTCP_COORDINATOR="unix:" + os.path.join(folder, "coordinator")),
        capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise Failed(f"swiftcp_command {' '.join(words)}: status {done.returncode}, {done.stderr}")
    return done.stdout


def restored(folder, arguments="", restart="swiftcp_restart ckpt_program_*", first=r"3"):
    """The program in a terminal, launched, checkpointed, killed and restarted there. Two prompts have been seen."""
    terminal = Terminal(folder)
    program = terminal_program(folder)
    terminal.type(f"swiftcp_launch {program} {arguments}")
    terminal.expect(first)
    command(folder, "--checkpoint")
    os.kill(json.loads(command(folder, "--status", "--json"))["processes"][0]["pid"], signal.SIGKILL)
    terminal.prompts(2)
    terminal.type("clear; tmux -S ../tmux clear-history")
    terminal.type(restart)
    return terminal


def last_number(terminal):
    return (terminal.numbers() or [0])[-1]


def goes_on(terminal, what):
    """The numbers grow."""
    before = last_number(terminal)
    try:
        wait_for(lambda: last_number(terminal) > before + 2, 20, what, interval=0.05)
    except TimedOut:
        raise Failed(f"{what}: no numbers after {before}; the terminal shows:\n{terminal.tail()}") from None


def stands_still(terminal, what):
    """No number comes within half a second: the one place where time itself is what is looked at."""
    before = last_number(terminal)
    try:
        wait_for(lambda: last_number(terminal) > before, 0.5, what)
    except TimedOut:
        return
    raise Failed(f"{what}: it goes on; the terminal shows:\n{terminal.tail()}")


@suite.case(limit=120)
def interrupted_by_control_c(folder):
    terminal = restored(folder)
    goes_on(terminal, "after the restart")
    terminal.key("C-c")
    terminal.type("echo status $?")
    terminal.expect("status 130")
    terminal.close()


@suite.case(limit=120)
def quit_by_control_backslash(folder):
    terminal = restored(folder)
    goes_on(terminal, "after the restart")
    terminal.key("C-\\")
    terminal.type("echo status $?")
    terminal.expect("status 131")
    terminal.close()


@suite.case(limit=180)
def stopped_continued_in_foreground_and_background(folder):
    terminal = restored(folder)
    goes_on(terminal, "after the restart")
    terminal.key("C-z")
    terminal.expect(r"\[1\]\+ +Stopped .*swiftcp_restart.*")
    stands_still(terminal, "after Ctrl+Z")
    terminal.type("fg")
    goes_on(terminal, "after fg")
    terminal.key("C-z")
    terminal.expect(r"\[1\]\+ +Stopped .*swiftcp_restart.*", count=2)
    terminal.type("bg")
    goes_on(terminal, "after bg")
    # In the background Ctrl+C must not reach it, and the shell has the terminal.
    terminal.key("C-c")
    terminal.type("echo shell $((6 * 7))")
    terminal.expect("(.*[^ ])? ?shell 42|shell 42")
    goes_on(terminal, "in the background after Ctrl+C")
    terminal.type("kill %1; wait %1; echo status $?")
    terminal.expect("status 143")
    terminal.close()


@suite.case(limit=180)
def checkpointed_while_it_is_stopped(folder):
    terminal = Terminal(folder)
    terminal.type(f"swiftcp_launch {terminal_program(folder)}")
    terminal.expect("3")
    terminal.key("C-z")
    terminal.expect(r"\[1\]\+ +Stopped .*")
    command(folder, "--checkpoint")
    stands_still(terminal, "after a checkpoint")
    terminal.type("fg")
    goes_on(terminal, "after fg")
    terminal.key("C-z")
    terminal.expect(r"\[1\]\+ +Stopped .*", count=2)
    command(folder, "--checkpoint")
    os.kill(json.loads(command(folder, "--status", "--json"))["processes"][0]["pid"], signal.SIGKILL)
    terminal.type("wait; clear; tmux -S ../tmux clear-history")
    terminal.type("swiftcp_restart ckpt_program_*")
    terminal.expect(r"\[1\]\+ +Stopped .*swiftcp_restart.*")
    stands_still(terminal, "after the restart")
    terminal.type("fg")
    goes_on(terminal, "after fg of the restarted one")
    terminal.key("C-c")
    terminal.type("echo status $?")
    terminal.expect("status 130")
    terminal.close()


@suite.case(limit=120)
def started_in_the_background_and_fetched(folder):
    terminal = restored(folder, restart="swiftcp_restart ckpt_program_* &")
    goes_on(terminal, "in the background")
    terminal.type("fg")
    goes_on(terminal, "in the foreground")
    terminal.key("C-c")
    terminal.type("echo status $?")
    terminal.expect("status 130")
    terminal.close()


@suite.case(limit=120)
def window_size_changes_reach_it(folder):
    terminal = restored(folder)
    goes_on(terminal, "after the restart")
    terminal.resize(91, 27)
    terminal.expect("size 91x27")
    terminal.key("C-c")
    terminal.close()


@suite.case(limit=120)
def reads_lines_that_are_typed(folder):
    terminal = restored(folder, arguments="read", first="reading")
    wait_for(lambda: "program" in command_or_nothing(folder), 20, "the restored program", interval=0.05)
    terminal.type("hello there")
    terminal.expect("read hello there")
    terminal.key("C-d")
    terminal.type("echo status $?")
    terminal.expect("status 0")
    terminal.close()


@suite.case(limit=120)
def sees_the_end_of_its_terminal(folder):
    """When the window is closed the program gets SIGHUP and ends; nothing stays behind."""
    terminal = restored(folder)
    goes_on(terminal, "after the restart")
    terminal.close()
    wait_for(lambda: command_or_nothing(folder) == "", 20, "the end of the program and its coordinator", interval=0.1)
    check(True, "")


def command_or_nothing(folder):
    try:
        return command(folder, "--list")
    except Failed:
        return ""
