"""Descriptors at a restart: what has changed meanwhile on the disk, what led out of the computation, terminals."""

import fcntl
import glob
import os
import pty
import shutil
import socket
import stat
import struct
import subprocess
import termios

from harness import build
from harness.case import Suite
from harness.computation import Computation
from harness.errors import Failed, check, check_equal
from workloads_test import compile_workload

suite = Suite("descriptors")
PROGRAM = os.path.join(build.WORKLOADS, "_descriptors.c")


def killed(folder, word, options=(), stdin=None, **more):
    """The program with one checkpoint, killed."""
    computation = Computation(folder)
    if stdin is not None:
        more["stdin"] = stdin
    computation.launch([compile_workload(PROGRAM), word], options, **more)
    computation.ready()
    computation.checkpoint()
    computation.kill9()
    return computation


def passes(computation, options=(), **more):
    computation.restart(options, **more)
    computation.restored()
    computation.release()
    computation.expect("PASS")
    check_equal(computation.wait(), 0, "exit status after PASS")


def refused(computation, *words, options=()):
    """The restart must fail with one sentence that holds the words, and leave the folder as it is."""
    before = sorted(os.listdir(computation.work))
    computation.restart(options)
    check_equal(computation.wait(), 1, f"exit status of a restart that must be refused; {computation.story()}")
    text = computation.errors.drained()
    for word in words:
        check(word in text, f"the message {text!r} says nothing of {word!r}")
    check_equal(sorted(os.listdir(computation.work)), before, "the working folder after a refused restart")


def file_of(computation):
    return os.path.join(computation.work, "file")


def append(computation, text):
    with open(file_of(computation), "a", encoding="ascii") as file:
        file.write(text)


# ---- files -----------------------------------------------------------------------------------------------------------


@suite.case()
def missing_file(folder):
    computation = killed(folder, "reader")
    os.unlink(file_of(computation))
    refused(computation, "descriptor 3", "file", "No such file", "--map")


@suite.case()
def shorter_file(folder):
    computation = killed(folder, "reader")
    os.truncate(file_of(computation), 9)
    refused(computation, "descriptor 3", "had 10 bytes", "has 9 now")
    append(computation, "9")
    passes(computation)


@suite.case()
def small_file_being_written_is_made_again(folder):
    """Programs finish a file under another name (mv part.o.new part.o): what was killed has done so, the restart does it once
    more, and the finished file is left alone."""
    computation = killed(folder, "file")
    append(computation, "finished")
    finished = os.path.join(computation.work, "finished")
    os.rename(file_of(computation), finished)
    passes(computation)
    check("made again" in computation.errors.drained(), f"no word of it in {computation.errors.text()!r}")
    with open(finished, encoding="ascii") as file:
        check_equal(file.read(), "0123456789finished", "the finished file")


@suite.case()
def small_file_being_written_was_begun_anew(folder):
    """Another file has its name by now: its beginning is not that of the first one."""
    computation = killed(folder, "file")
    os.rename(file_of(computation), os.path.join(computation.work, "finished"))
    append(computation, "something else")
    passes(computation)
    check("another file" in computation.errors.drained(), f"no word of it in {computation.errors.text()!r}")


@suite.case()
def larger_file_being_written_is_not_taken_along(folder):
    computation = Computation(folder)
    script = ("import os, time\n"
              "file = open('file', 'wb')\n"
              "file.write(bytes((1 << 20) + 1))\n"
              "file.flush()\n"
              "print('READY', flush=True)\n"
              "time.sleep(100)\n")
    computation.launch(["/usr/bin/python3", "-c", script])
    computation.ready()
    check(computation.checkpoint()["bytes_written"] > 0, "nothing was written")
    computation.kill9()
    os.unlink(file_of(computation))
    refused(computation, "cannot be found", "--ckpt-open-files")


@suite.case()
def file_of_another_kind(folder):
    computation = killed(folder, "file")
    os.unlink(file_of(computation))
    os.mkdir(file_of(computation))
    refused(computation, "descriptor 3", "no regular file any more")


@suite.case(needs="user")
def file_without_permission(folder):
    computation = killed(folder, "file")
    os.chmod(file_of(computation), 0o400)
    refused(computation, "descriptor 3", "Permission denied")


@suite.case()
def grown_file_is_cut_back(folder):
    computation = killed(folder, "file")
    append(computation, "grown")
    passes(computation)


@suite.case()
def grown_file_is_kept(folder):
    computation = killed(folder, "grown")
    append(computation, "grown")
    passes(computation, ["--files", "keep"])


@suite.case()
def log_that_the_script_writes_too(folder):
    """A batch script, its program and the restart have one output, not in append mode: what the script says in between
    stays where it stands."""
    computation = Computation(folder)
    program = ("import os, sys, time\n"
               "print('one', flush=True)\n"
               "print('READY', file=sys.stderr, flush=True)\n"
               "while not os.path.exists(os.environ['SCP_TEST_GO']):\n"
               "    time.sleep(0.01)\n"
               "print('two', flush=True)\n")
    with open(os.path.join(computation.work, "job.log"), "w+b", buffering=0) as log:
        computation.launch(["/usr/bin/python3", "-c", program], stdout=log)
        computation.errors.expect(lambda line: line == "READY", 30, "READY")
        computation.checkpoint()
        computation.kill9()
        log.write(b"between\n")
        computation.restart(stdout=log)
        computation.restored()
        computation.release()
        check_equal(computation.wait(), 0, f"exit status; {computation.story()}")
        log.write(b"behind\n")
        log.seek(0)
        check_equal(log.read(), b"one\nbetween\ntwo\nbehind\n", "the script's log")


@suite.case()
def read_file_may_grow(folder):
    computation = killed(folder, "reader")
    passes(computation)


@suite.case()
def moved_file(folder):
    computation = killed(folder, "reader")
    other = os.path.join(folder, "elsewhere")
    os.mkdir(other)
    os.rename(file_of(computation), os.path.join(other, "file"))
    refused(computation, "cannot be found")
    passes(computation, ["--map", f"{computation.work}/file={other}/file"])


@suite.case()
def content_in_the_image(folder):
    computation = killed(folder, "file", ["--ckpt-open-files"])
    os.unlink(file_of(computation))
    passes(computation)


@suite.case()
def temporary_file_that_was_removed(folder):
    """A program removes its temporary file after the checkpoint: the restart makes it again."""
    computation = Computation(folder)
    script = ("import os, tempfile, time\n"
              "number, path = tempfile.mkstemp(dir='/tmp')\n"
              "os.write(number, b'some text')\n"
              "print('READY', path, flush=True)\n"
              "while not os.path.exists(os.environ['SCP_TEST_GO']): time.sleep(0.01)\n"
              "os.lseek(number, 0, 0)\n"
              "read = os.read(number, 99).decode()\n"
              "print('PASS' if open(path).read() == read == 'some text' else 'FAIL', flush=True)\n"
              "os.unlink(path)\n")
    computation.launch(["/usr/bin/python3", "-c", script])
    path = computation.expect(lambda line: line.startswith("READY ")).split()[1]
    computation.checkpoint()
    computation.kill9()
    os.unlink(path)
    passes(computation)
    check(not os.path.exists(path), "the program has not removed its file")


def objects_of(computation):
    """The shared memory objects that the workload shared_named has made."""
    return sorted(glob.glob(f"/dev/shm/scp-workload-*-{computation.program_pid()}"))


def shared_memory_objects(folder):
    """shared_named with one checkpoint; returns its objects, which live on as files."""
    computation = Computation(folder)
    computation.launch([compile_workload(os.path.join(build.WORKLOADS, "shared_named.c"))])
    computation.ready()
    objects = objects_of(computation)
    check_equal(len(objects), 5, f"objects of the program: {objects}")
    computation.checkpoint()
    computation.kill9()
    return computation, objects


@suite.case()
def shared_memory_objects_that_have_gone(folder):
    """As after a crash of the machine."""
    computation, objects = shared_memory_objects(folder)
    for path in objects:
        os.unlink(path)
    passes(computation)


@suite.case()
def shared_memory_objects_that_have_changed(folder):
    """What was done to them between the checkpoint and the crash is undone."""
    computation, objects = shared_memory_objects(folder)
    for path in objects:
        if "-mapped-" not in path:
            os.chmod(path, 0o600)
            with open(path, "w", encoding="ascii") as file:
                file.write("something else")
    passes(computation)


@suite.case()
def shared_memory_object_of_another_program(folder):
    computation, objects = shared_memory_objects(folder)
    taken = next(path for path in objects if "-whole-" in path)
    os.unlink(taken)
    with open(taken, "w", encoding="ascii") as file:
        file.write("not yours")
    refused(computation, taken, "exists")
    with open(taken, encoding="ascii") as file:
        check_equal(file.read(), "not yours", "the other program's object")
    os.unlink(taken)
    passes(computation)


@suite.case()
def removed_session(folder):
    """A FIFO is made again under its name, for whoever writes to it from outside; so are a mapped file and their folder."""
    computation = killed(folder, "session")
    session = os.path.join(computation.work, "session")
    queue = os.path.join(session, "queue")
    shutil.rmtree(session)
    computation.restart()
    computation.restored()
    check(stat.S_ISFIFO(os.stat(queue).st_mode), f"{queue} is no FIFO")
    check_equal(stat.S_IMODE(os.stat(queue).st_mode), 0o640, "its mode")
    computation.release()
    computation.expect("PASS")
    check("made again" in computation.errors.drained(), f"no word of it in {computation.errors.text()!r}")


@suite.case()
def changed_content_is_rewound(folder):
    computation = killed(folder, "file", ["--ckpt-open-files"])
    with open(file_of(computation), "w", encoding="ascii") as file:
        file.write("something else, and longer")
    passes(computation)


@suite.case()
def content_travels_after_a_restart_too(folder):
    """What the launch asked for holds for the checkpoints of the restarted program."""
    computation = killed(folder, "file", ["--ckpt-open-files"])
    for _ in range(2):
        computation.restart()
        computation.restored()
        computation.checkpoint()
        computation.kill9()
    os.unlink(file_of(computation))
    passes(computation)
    check("made again" not in computation.errors.text(), f"it was a spare one only: {computation.errors.text()!r}")


# ---- outside ---------------------------------------------------------------------------------------------------------


NUMBER = 200  # of the descriptor that leads out, as _descriptors.c has it


def passing(descriptor):
    """Options of Popen that give the program this descriptor as NUMBER."""
    os.dup2(descriptor, NUMBER)
    os.close(descriptor)
    return {"pass_fds": (NUMBER,)}


def only_the_program_has_it():
    os.close(NUMBER)


@suite.case()
def pipe_that_leads_out(folder):
    reading, writing = os.pipe()
    os.write(writing, b"p")
    passes(killed(folder, "pipe", **passing(reading)))


@suite.case()
def socket_that_leads_out(folder):
    ours, theirs = socket.socketpair()
    ours.send(b"data")
    passes(killed(folder, "socket", **passing(theirs.detach())))


@suite.case()
def tcp_connection_that_leads_out(folder):
    listener = socket.create_server(("127.0.0.1", 0))
    theirs = socket.create_connection(listener.getsockname())
    ours = listener.accept()[0]
    ours.send(b"data")
    computation = killed(folder, "socket", **passing(theirs.detach()))
    only_the_program_has_it()
    ours.close()
    passes(computation)


@suite.case()
def file_of_a_process_outside_that_has_ended(folder):
    """The program will be told that the process has ended, as it would have been without the restart."""
    other = subprocess.Popen(["/bin/sleep", "1000"])
    comm = os.open(f"/proc/{other.pid}/comm", os.O_RDONLY)
    computation = killed(folder, "proc", **passing(comm))
    other.kill()
    other.wait()
    passes(computation)


def shell_under(folder, inner, redirection):
    """A bash that waits for SCP_TEST_GO inside a redirection, with its own stream at another number (10) meanwhile; killed."""
    computation = Computation(folder)
    computation.launch(["/bin/bash", "-c", 'echo READY; { until [ -e "$SCP_TEST_GO" ]; do sleep 0.02; done; '
                        + inner + "; } " + redirection + "; echo PASS"])
    computation.ready()
    computation.checkpoint()
    computation.kill9()
    return computation


@suite.case()
def output_that_a_shell_has_put_aside(folder):
    computation = shell_under(folder, "echo inner", "> file")
    passes(computation)
    with open(file_of(computation), encoding="ascii") as file:
        check_equal(file.read(), "inner\n", "the file")


@suite.case()
def output_that_a_shell_sends_to_the_errors(folder):
    computation = shell_under(folder, "echo inner", ">&2")
    passes(computation)
    check("inner" in computation.errors.drained(), f"stderr is {computation.errors.text()!r}")
    check("inner" not in computation.output.text(), f"stdout is {computation.output.text()!r}")


@suite.case()
def outside_is_refused_on_request(folder):
    ours, theirs = socket.socketpair()
    ours.send(b"data")
    computation = Computation(folder)
    computation.launch([compile_workload(PROGRAM), "socket"], ["--outside", "refuse"], **passing(theirs.detach()))
    computation.ready()
    done = computation.command("--checkpoint")
    check_equal(done.returncode, 1, "exit status of a checkpoint that must be refused")
    for word in (f"descriptor {NUMBER}", "outside"):
        check(word in done.stderr, f"the refusal {done.stderr!r} says nothing of {word!r}")
    check_equal(computation.generations(), [], "generations")
    only_the_program_has_it()
    ours.close()
    computation.release()


# ---- terminals ----------------------------------------------------------------------------------------------------------


def terminal(rows):
    """Master and slave of a new terminal with that many rows."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 80, 0, 0))
    return master, slave


def take_terminal():
    """In the child: a session of its own, with the terminal at 0."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@suite.case()
def raw_mode_comes_back(folder):
    computation = killed(folder, "raw", stdin=terminal(24)[1], preexec_fn=take_terminal)
    master, slave = terminal(40)
    check(termios.tcgetattr(slave)[3] & termios.ICANON, "a new terminal is not in canonical mode")
    passes(computation, stdin=slave, preexec_fn=take_terminal)
    os.close(master)


@suite.case()
def without_a_terminal(folder):
    computation = killed(folder, "no_terminal", stdin=terminal(24)[1], preexec_fn=take_terminal)
    master, slave = terminal(24)
    passes(computation, ["--tty", "none"], stdin=slave, preexec_fn=take_terminal)
    os.close(master)


@suite.case()
def terminal_that_is_gone_cannot_be_kept(folder):
    master, slave = terminal(24)
    computation = killed(folder, "no_terminal", stdin=slave, preexec_fn=take_terminal)
    os.close(slave)
    os.close(master)
    computation.restart(["--tty", "keep"])
    check_equal(computation.wait(), 1, "exit status")
    text = computation.errors.drained()
    if "--tty" not in text and "cannot be found" not in text:
        raise Failed(f"the message {text!r} does not say what to do")
