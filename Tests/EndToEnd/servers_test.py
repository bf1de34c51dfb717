"""Servers and their clients, inside and outside; what surrounds a program; and a debugger, which is refused."""

import ctypes
import os
import re
import shutil
import socket
import time

from harness import build
from harness.case import Suite
from harness.computation import Computation
from harness.errors import Skipped, check, check_equal
from harness.waiting import wait_for
from descriptors_test import refused

suite = Suite("servers")
PROGRAMS = os.path.join(os.path.dirname(build.HERE), "Programs")


def needs(*commands):
    for command in commands:
        if shutil.which(command) is None:
            raise Skipped(f"{command} is not installed")


# ---- a port whose connections linger -----------------------------------------------------------------------------------

LISTENER = """
import os, socket, sys, time
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen()
print("READY", flush=True)
while not os.path.exists("connect"):
    time.sleep(0.01)
client = socket.create_connection(listener.getsockname())
server = listener.accept()[0]
server.close()
assert client.recv(1) == b""
client.close()
print("LINGERS", flush=True)
while not os.path.exists("end"):
    time.sleep(0.01)
print("PASS", listener.getsockname()[1] > 0, flush=True)
"""


@suite.case(limit=120)
def a_connection_that_came_after_the_checkpoint_and_lingers_keeps_no_listener_waiting(folder):
    needs("/usr/bin/python3")
    computation = Computation(folder)
    computation.launch(["/usr/bin/python3", "-c", LISTENER])
    computation.expect("READY")
    computation.checkpoint()
    open(os.path.join(computation.work, "connect"), "w", encoding="ascii").close()
    computation.expect("LINGERS")
    computation.kill9()
    began = time.monotonic()
    computation.restart()
    computation.restored(100)
    check(time.monotonic() - began < 30, "the restart has waited for the port of a connection in TIME_WAIT")
    open(os.path.join(computation.work, "end"), "w", encoding="ascii").close()
    computation.expect("PASS True")
    check_equal(computation.wait(), 0, "exit status")


# ---- addresses that another program has --------------------------------------------------------------------------------

BOUND = """
import os, socket, time
internet, abstract = socket.socket(), socket.socket(socket.AF_UNIX)
internet.bind(("127.0.0.1", 0))
internet.listen()
abstract.bind("\\0" + os.path.abspath("name"))
print(internet.getsockname()[1])
print("READY", flush=True)
while not os.path.exists("end"):
    time.sleep(0.01)
print("PASS", flush=True)
"""


@suite.case()
def an_address_that_another_program_has_is_told_with_that_program(folder):
    needs("/usr/bin/python3")
    computation = Computation(folder)
    computation.launch(["/usr/bin/python3", "-c", BOUND])
    computation.expect("READY")
    port = int(computation.output.text().split()[0])
    abstract = "@" + os.path.join(computation.work, "name")
    computation.checkpoint()
    computation.kill9()
    own = f"process {os.getpid()} ("
    with socket.create_server(("127.0.0.1", port)):
        refused(computation, f"127.0.0.1:{port} again, {own}")
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(abstract.replace("@", "\0"))
        refused(computation, f"{abstract} again, {own}")
    open(os.path.join(computation.work, "end"), "w", encoding="ascii").close()
    computation.restart()
    computation.expect("PASS")
    check_equal(computation.wait(30), 0, "the exit status")


# ---- redis with a client inside and one outside --------------------------------------------------------------------------


class Client:
    """Speaks to redis from outside of the computation."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(path)
        self.answers = self.socket.makefile("rb")

    def ask(self, words):
        self.socket.sendall(words.encode() + b"\r\n")
        line = self.answers.readline().strip().decode()
        return self.answers.read(int(line[1:]) + 2).strip().decode() if line.startswith("$") else line

    def is_cut(self):
        try:
            return self.answers.read(1) == b""
        except ConnectionResetError:
            return True


@suite.case(limit=180)
def a_server_goes_on_with_its_inner_client_and_the_outer_one_is_cut(folder):
    needs("redis-server", "redis-cli", "stdbuf")
    computation = Computation(folder, {"SCALE": "3"})
    path = os.path.join(computation.work, "redis.sock")
    computation.launch(["/bin/bash", os.path.join(PROGRAMS, "redis.sh")])
    computation.expect("START")
    outer = Client(path)
    check_equal(outer.ask("SET outside 17"), "+OK", "the server's answer")
    computation.checkpoint()
    check_equal(outer.ask("GET outside"), "17", "the answer after the checkpoint, on the same connection")
    check_equal(outer.ask("SET outside 18"), "+OK", "the server's answer")
    computation.kill9()
    check(outer.is_cut(), "the outer client has read something from a server that was killed")
    computation.restart()
    computation.restored()
    again = Client(path)
    check_equal(again.ask("GET outside"), "17", "what the server knows after the restart")
    wait_for(lambda: len(again.ask("CLIENT LIST").splitlines()) == 2, 30, "the server to drop the connection that is cut")
    rounds = 1500 * 3
    computation.expect(f"RESULT {rounds} {rounds * (rounds + 1) // 2}", limit=120)
    check_equal(computation.wait(), 0, "exit status")


# ---- what a program is started in ------------------------------------------------------------------------------------------

WAITER = """
import os, time
print("READY", flush=True)
while not os.path.exists(os.environ["SCP_TEST_GO"]):
    time.sleep(0.01)
print("PASS", flush=True)
"""


def confine():
    """In the child that becomes swiftcp_launch: a landlock domain and a session keyring."""
    libc = ctypes.CDLL(None)
    rights = (ctypes.c_uint64 * 1)(1 << 6)  # devices may not be made
    ruleset = libc.syscall(444, rights, 8, 0)
    if ruleset >= 0:
        libc.prctl(38, 1, 0, 0, 0)
        libc.syscall(446, ruleset, 0)
        os.close(ruleset)
    libc.syscall(250, 1, None)


@suite.case(limit=120)
def landlock_rules_and_keyring_of_the_surroundings_are_no_hindrance(folder):
    needs("/usr/bin/python3")
    computation = Computation(folder)
    computation.launch(["/usr/bin/python3", "-c", WAITER], preexec_fn=confine)
    computation.expect("READY")
    for _ in range(2):
        computation.checkpoint()
        computation.kill9()
        computation.restart()
        computation.restored()
    computation.checkpoint()
    computation.release()
    computation.expect("PASS")
    check_equal(computation.wait(), 0, "exit status")


# ---- a debugger ------------------------------------------------------------------------------------------------------------


@suite.case(limit=120)
def a_debugger_is_refused_by_name_and_goes_on(folder):
    needs("gdb")
    computation = Computation(folder)
    script = 'echo READY; while [ ! -e "$SCP_TEST_GO" ]; do read -t 0.05 < <(:); done; echo DONE'
    computation.launch(["gdb", "-batch", "-nx", "-iex", "set debuginfod enabled off", "-ex", "run", "--args", "/bin/bash",
                        "-c", script])
    if "ptrace: Operation not permitted" in computation.errors.text():
        raise Skipped("gdb may not trace its program here")
    computation.expect("READY")
    for _ in range(3):
        done = computation.command("--checkpoint")
        check_equal(done.returncode, 1, f"exit status of a checkpoint of a debugger ({done.stderr}{done.stdout})")
        check(re.search(r"\bgdb\b", done.stderr), f"gdb is not named: {done.stderr}")
    computation.release()
    computation.expect("DONE")
    check_equal(computation.wait(), 0, "exit status of gdb")
    check("exited normally" in computation.output.text(), f"gdb says: {computation.output.text()}")
