"""A program under SwiftCP, through its checkpoints, deaths and restarts."""

import glob
import json
import os
import signal
import subprocess

from . import build
from .errors import Failed, check_equal
from .output import Output
from .processes import children, descendants, reap_orphans, send, state_of, stop_threads
from .waiting import TimedOut, wait_for

LIMIT = 30


class Computation:
    """One program in its own folder, with its own coordinator address and checkpoint folder.

    folder/work is its working directory, folder/ckpt takes the images, folder/coordinator is the socket.
    """

    def __init__(self, folder, environment=None):
        self.folder = folder
        self.work = os.path.join(folder, "work")
        self.ckptdir = os.path.join(folder, "ckpt")
        self.go = os.path.join(folder, "go")
        self.address = "unix:" + os.path.join(folder, "run", "coordinator")
        for name in ("work", "ckpt", "run"):
            os.makedirs(os.path.join(folder, name), mode=0o700, exist_ok=True)
        self.environment = dict(os.environ, HOME=self.work, XDG_RUNTIME_DIR=os.path.join(folder, "run"),
                                SCP_TEST_GO=self.go, TMPDIR=folder, LC_ALL="C.UTF-8")
        for name in [name for name in self.environment if name.startswith("SWIFTCP_") and name != "SWIFTCP_BUILD"]:
            del self.environment[name]
        for name in ("SNAPSHOT", "INCREMENTAL"):
            if "SCP_TEST_" + name in os.environ:
                self.environment["SWIFTCP_" + name] = os.environ["SCP_TEST_" + name]
        self.environment.update(environment or {})
        self.output, self.errors = Output("stdout"), Output("stderr")
        self.process = None  # swiftcp_launch's successor, or swiftcp_restart
        self.restarts = 0

    # ---- starting --------------------------------------------------------------------------------------------------

    def launch(self, words, options=(), stdin=subprocess.DEVNULL, plain=False, **more):
        """Starts the program under swiftcp_launch (plain: without)."""
        if not plain:
            words = [build.tool("launch"), "--coordinator", self.address, "--ckptdir", self.ckptdir, *options, "--", *words]
        return self.start(words, stdin, **more)

    def restart(self, options=(), image=None, stdin=subprocess.DEVNULL, **more):
        """Brings the newest complete generation back (or `image`)."""
        self.restarts += 1
        words = [build.tool("restart"), "--coordinator", self.address, *options, image or self.computation_folder()]
        return self.start(words, stdin, **more)

    def restored(self, limit=LIMIT):
        """Waits until the coordinator knows the restored program; fails when swiftcp_restart has ended before."""

        def known():
            if self.process.poll() is not None:
                raise Failed(f"swiftcp_restart has ended; stdout {self.output.text()[-300:]!r}, {self.story()}")
            done = self.command("--status", "--json")
            return done.returncode == 0 and len(json.loads(done.stdout)["processes"]) > 0

        try:
            wait_for(known, limit, "the restored program in the coordinator's status", interval=0.02)
        except TimedOut as error:
            raise Failed(f"{error}; {self.story()}") from None

    def start(self, words, stdin=subprocess.DEVNULL, **more):
        if self.process is not None and self.process.returncode is None:
            raise Failed("the program still runs")
        out, err = more.pop("stdout", None), more.pop("stderr", None)
        pipes = [None if out is not None else self.output.pipe(), None if err is not None else self.errors.pipe()]
        try:
            self.process = subprocess.Popen(
                words, cwd=self.work, env=self.environment, stdin=stdin, stdout=pipes[0] if out is None else out,
                stderr=pipes[1] if err is None else err, **more)
        finally:
            for descriptor in pipes:
                if descriptor is not None:
                    os.close(descriptor)
        return self.process

    # ---- swiftcp_command -------------------------------------------------------------------------------------------

    def command(self, *words, limit=LIMIT):
        """Runs swiftcp_command; returns the finished process with its text."""
        return subprocess.run(
            [build.tool("command"), "--coordinator", self.address, *words], env=self.environment, cwd=self.work,
            capture_output=True, text=True, timeout=limit, check=False)

    def json(self, *words, limit=LIMIT):
        """Runs swiftcp_command with --json, which must succeed; returns the object."""
        done = self.command("--json", *words, limit=limit)
        if done.returncode != 0:
            raise Failed(f"swiftcp_command {' '.join(words)}: exit status {done.returncode}, {done.stderr or done.stdout!r}; "
                         f"the program's stdout {self.output.text()[-300:]!r}, {self.story()}")
        reply = json.loads(done.stdout)
        check_equal(reply["schema_version"], 1, "schema_version")
        check_equal(reply["status"], "ok", "status")
        return reply

    def checkpoint(self, limit=LIMIT):
        """Makes a checkpoint, which must succeed; returns its record."""
        record = self.json("--checkpoint", limit=limit)["checkpoint"]
        check_equal(record["ok"], True, f"the checkpoint's ok ({record})")
        if not os.path.exists(os.path.join(record["path"], "manifest.json")):
            raise Failed(f"swiftcp_command --checkpoint returned before {record['path']}/manifest.json was there")
        return record

    def status(self):
        return self.json("--status")

    # ---- its processes ---------------------------------------------------------------------------------------------

    def program_pid(self):
        """pid of the program (of a tree: its root) as this machine sees it."""
        if self.restarts == 0:
            return self.process.pid
        known = self.known_pids()
        found = known if len(known) == 1 else [pid for pid in children(self.process.pid) if pid in known]
        check_equal(len(found), 1, f"number of processes of the status that swiftcp_restart is the parent of ({known})")
        return found[0]

    def known_pids(self):
        return [process["pid"] for process in self.status()["processes"]]

    def ready(self, limit=LIMIT, word="READY"):
        return self.expect(lambda line: line == word or line.startswith("SKIP"), limit, word)

    def expect(self, predicate, limit=LIMIT, what="a line"):
        if isinstance(predicate, str):
            wanted = predicate
            predicate, what = (lambda line: line == wanted), repr(wanted)
        try:
            return self.output.expect(predicate, limit, what, alive=lambda: self.process.poll() is None)
        except Exception as error:
            raise Failed(f"{error}; {self.story()}") from error

    def story(self):
        """Exit status and stderr so far, for messages."""
        return f"exit status {self.process.poll() if self.process else None}, stderr: {self.errors.text()[-3000:]!r}"

    def kill9(self, limit=LIMIT):
        """SIGKILL to the program with all its processes; waits until they and swiftcp_restart have gone, and their pids
        are free."""
        root = self.program_pid()
        everybody = {root, *descendants(root), *self.known_pids()}
        if len(everybody) == 1:
            os.kill(root, signal.SIGKILL)
        else:
            self.kill_together(root, everybody)
        status = self.wait(limit)
        # A program with several processes may meet another one's end in a pipe, an instant before its own.
        ends = {signal.SIGKILL} if len(everybody) == 1 else {signal.SIGKILL, signal.SIGPIPE}
        if not any(status in (-number, 128 + number) for number in ends):
            raise Failed(f"after SIGKILL the exit status is {status}; {self.story()}")
        for pid in everybody:
            wait_for(lambda: self.reaped(pid), limit, f"pid {pid} free again")

    def kill_together(self, root, everybody):
        """So that none of them sees another one's end: all stand still first, or go with their namespace."""
        reapers = [pid for pid in children(self.process.pid) if pid not in everybody] if self.restarts else []
        if reapers:
            os.kill(reapers[0], signal.SIGKILL)
            return
        wait_for(lambda: self.all_stopped(root, everybody), LIMIT, f"all processes below {root} to stop")
        for pid in everybody:
            send(pid, signal.SIGKILL)
        # Run from a terminal, swiftcp_restart stops when the program does, until its shell continues it.
        self.process.send_signal(signal.SIGCONT)

    def all_stopped(self, root, everybody):
        """Stops them all. One that has been sent SIGSTOP has other threads that run on until the one that takes it is run; one
        that waits in vfork ("D") stops when its child has executed a program, and its child has been stopped: its other
        threads must stop all the same, or they see the child's end."""
        everybody.update(descendants(root))
        return all([stop_threads(pid) for pid in everybody])

    def reaped(self, pid):
        reap_orphans({self.process.pid} if self.process.returncode is None else set())
        return state_of(pid) is None

    def wait(self, limit=LIMIT):
        """Waits for the end of the program (or swiftcp_restart); returns the status as subprocess has it."""
        try:
            return self.process.wait(limit)
        except subprocess.TimeoutExpired:
            raise Failed(f"no end within {limit} s; stdout {self.output.text()[-300:]!r}, {self.story()}") from None

    def release(self):
        """Makes the file the workload waits for."""
        with open(self.go, "w", encoding="ascii"):
            pass

    def replace_coordinator(self):
        """Kills it and starts another, which the program connects to."""
        os.kill(self.status()["coordinator"]["pid"], signal.SIGKILL)
        self.coordinator_gone()
        subprocess.run([build.tool("coordinator"), "--coordinator", self.address, "--daemon", "--exit-on-last"],
                       env=self.environment, check=True, timeout=60)
        self.restored()

    def coordinator_gone(self, limit=LIMIT):
        """Waits until no coordinator answers any more (swiftcp_command says 3)."""
        wait_for(lambda: self.command("--status").returncode == 3, limit, "the end of the coordinator", interval=0.05)

    # ---- its images ------------------------------------------------------------------------------------------------

    def computation_folder(self):
        found = glob.glob(os.path.join(glob.escape(self.ckptdir), "ckpt_*"))
        check_equal(len(found), 1, f"number of computation folders in {self.ckptdir} ({found})")
        return found[0]

    def generations(self):
        """Folders of the complete generations, oldest first."""
        return sorted(os.path.dirname(path) for path in glob.glob(
            os.path.join(glob.escape(self.ckptdir), "ckpt_*", "gen-*", "manifest.json")))

    def image(self):
        """The image of the newest generation."""
        found = glob.glob(os.path.join(glob.escape(self.generations()[-1]), "*.swiftcp"))
        check_equal(len(found), 1, f"number of images ({found})")
        return found[0]

    def size(self):
        return sum(os.path.getsize(path) for path in glob.glob(os.path.join(self.ckptdir, "ckpt_*", "gen-*", "*")))


def restart_options(count):
    """Ways of restoring in turn."""
    return ["--restore", ("auto", "lazy", "eager")[count % 3]]
