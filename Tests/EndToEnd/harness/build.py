"""Where the build and the tests are, compiling C, and the copy that an ordinary user may read."""

import os
import shutil
import subprocess
import tempfile

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TESTS = os.path.dirname(HERE)
ROOT = os.path.dirname(TESTS)
WORKLOADS = os.path.join(TESTS, "Workloads")
PROGRAMS = os.path.join(TESTS, "Programs")
EXAMPLES = os.path.join(ROOT, "Docs", "examples")
ORDINARY_USER = 65534


def build_folder():
    return os.path.abspath(os.environ.get("SWIFTCP_BUILD") or os.path.join(ROOT, "build"))


def tool(name):
    """Path of a command of the build: tool("launch")."""
    return os.path.join(build_folder(), "bin", "swiftcp_" + name)


def shim():
    return os.path.join(build_folder(), "lib", "swiftcp", "libswiftcp.so")


def missing_parts():
    """What of the build is not there."""
    parts = [tool(name) for name in ("launch", "command", "coordinator", "restart", "image")]
    parts += [shim(), os.path.join(build_folder(), "lib", "swiftcp", "swiftcp_restorer")]
    return [part for part in parts if not os.path.exists(part)]


def is_root():
    return os.geteuid() == 0


def as_user_command(words):
    """The words that run a command as the ordinary user without any capability."""
    return [
        "setpriv", f"--reuid={ORDINARY_USER}", f"--regid={ORDINARY_USER}", "--clear-groups", "--inh-caps=-all",
        "--bounding-set=-all", "--no-new-privs", "--"] + words


def compile_c(source, output, flags=()):
    """Compiles one C file as the workloads are; raises with the compiler's words."""
    words = [
        os.environ.get("CC", "cc"), "-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Werror",
        "-pthread", "-I", WORKLOADS, "-I", os.path.join(build_folder(), "include"), "-o", output, source, *flags]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{source} does not compile:\n{done.stderr}")


def put_once(partial, target):
    """Gives a finished file its name unless another case was quicker: a program that runs already keeps its file."""
    try:
        os.link(partial, target)
    except FileExistsError:
        pass
    os.unlink(partial)


def scratch_folder(label):
    """A new folder under TMPDIR that everybody may enter."""
    folder = tempfile.mkdtemp(prefix=f"scp-{label}-")
    os.chmod(folder, 0o755)
    return folder


def copy_for_everybody(target):
    """Copies build and tests to `target` in a layout like the checkout's, readable by all. Returns the tests' folder."""
    shutil.copytree(build_folder(), os.path.join(target, "build"))
    for name in ("EndToEnd", "Workloads", "Programs"):
        source = os.path.join(TESTS, name)
        if os.path.isdir(source):
            shutil.copytree(source, os.path.join(target, "Tests", name), ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(EXAMPLES, os.path.join(target, "Docs", "examples"))
    subprocess.run(["chmod", "-R", "a+rX", target], check=True)
    return os.path.join(target, "Tests", "EndToEnd")
