"""The application interface: swiftcp.h and the Python module, with SwiftCP and without."""

import os
import subprocess

from harness import build
from harness.case import Suite
from harness.computation import Computation
from harness.errors import check, check_equal
from harness.waiting import wait_for

suite = Suite("interface")

IN_C = r"""
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <swiftcp.h>

static void tell(void *event) { printf("%s\n", (const char *)event); fflush(stdout); }

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("enabled %d\n", swiftcp_is_enabled());
    swiftcp_on(SWIFTCP_EVENT_QUIESCED, tell, "quiesced");
    swiftcp_on(SWIFTCP_EVENT_RESUMED, tell, "resumed");
    swiftcp_on(SWIFTCP_EVENT_RESTARTED, tell, "restarted");
    swiftcp_disable_checkpoint();
    swiftcp_disable_checkpoint();
    swiftcp_enable_checkpoint();
    swiftcp_enable_checkpoint();
    errno = 0;
    int result = swiftcp_checkpoint();
    printf("checkpoint %d %s\n", result, result ? "" : strerror(errno));
    return getchar() == 'x' ? 0 : 3;
}
"""

IN_PYTHON = """
import os, sys
import swiftcp
def tell(*words):  # in one piece: callbacks run on a thread of their own
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
tell("enabled", int(swiftcp.is_enabled()))
try:
    for name in ("quiesced", "resumed", "restarted"):
        swiftcp.on(getattr(swiftcp, "EVENT_" + name.upper()), lambda name=name: tell(name))
    with swiftcp.critical():
        with swiftcp.critical():
            pass
    tell("checkpoint", swiftcp.checkpoint(), "")
except OSError as error:
    tell("checkpoint", 0, error.strerror)
sys.exit(0 if sys.stdin.read(1) == "x" else 3)
"""

# Says when it is in the critical section, and leaves it when the file `leave` is there.
CRITICAL = r"""
#include <stdio.h>
#include <swiftcp.h>
#include <unistd.h>

int main(void) {
    swiftcp_disable_checkpoint();
    puts("READY");
    fflush(stdout);
    while (access("leave", F_OK) != 0)
        usleep(1000);
    FILE *left = fopen("left", "w");
    fclose(left);
    swiftcp_enable_checkpoint();
    for (;;)
        pause();
}
"""


def program_in_c(folder, text, flags=()):
    source, program = os.path.join(folder, "program.c"), os.path.join(folder, "program")
    with open(source, "w", encoding="ascii") as file:
        file.write(text)
    build.compile_c(source, program, flags)
    return [program]


def program_in_python(folder):
    with open(os.path.join(folder, "program.py"), "w", encoding="ascii") as file:
        file.write(IN_PYTHON)
    return ["/usr/bin/python3", os.path.join(folder, "program.py")]


def modules():
    return {"PYTHONPATH": os.path.join(build.build_folder(), "lib", "swiftcp", "python")}


def both_ways(folder, words):
    """Without SwiftCP; then with it, through a checkpoint of its own and a restart from that."""
    environment = dict(os.environ, **modules())
    alone = subprocess.run(words, input="x", env=environment, capture_output=True, text=True, timeout=20, check=False)
    check_equal((alone.stdout, alone.returncode), ("enabled 0\ncheckpoint 0 Function not implemented\n", 0), "alone")

    program = Computation(folder, environment=modules())
    program.launch(words, stdin=subprocess.PIPE)
    program.expect("checkpoint 1 ")
    lines = program.output.lines()
    check_equal(sorted(lines), ["checkpoint 1 ", "enabled 1", "quiesced", "resumed"], "lines after the checkpoint")
    check(lines.index("quiesced") < lines.index("resumed"), f"order of the callbacks: {lines}")
    program.kill9()
    program.restart(stdin=subprocess.PIPE)
    program.expect("checkpoint 2 ")
    program.expect("restarted")
    program.process.stdin.write(b"x")
    program.process.stdin.close()
    check_equal(program.wait(), 0, f"exit status ({program.story()})")


@suite.case(limit=60)
def in_c(folder):
    both_ways(folder, program_in_c(folder, IN_C))


@suite.case(limit=60)
def in_c_without_position_independence(folder):
    both_ways(folder, program_in_c(folder, IN_C, ["-no-pie", "-fno-pic"]))


@suite.case(limit=60)
def in_python(folder):
    both_ways(folder, program_in_python(folder))


@suite.case(limit=60)
def a_critical_section_holds_a_checkpoint_up(folder):
    program = Computation(folder)
    program.launch(program_in_c(folder, CRITICAL))
    program.ready()
    asked = subprocess.Popen([build.tool("command"), "--coordinator", program.address, "--checkpoint"],
                             env=program.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    # It is under way when its folder is there, and must not get further.
    wait_for(lambda: any(name.startswith(".gen-") for _, folders, _ in os.walk(program.ckptdir) for name in folders), 20,
             "the beginning of the checkpoint")
    check_equal(asked.poll(), None, "the checkpoint's exit status inside the critical section")
    with open(os.path.join(program.work, "leave"), "w", encoding="ascii"):
        pass
    output, _ = asked.communicate(timeout=20)
    check_equal(asked.returncode, 0, f"the checkpoint's exit status after it ({output})")
    check(os.path.exists(os.path.join(program.work, "left")), "the checkpoint was taken inside the critical section")
    program.kill9()
