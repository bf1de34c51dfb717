"""The real programs: what they need, how they are built and started."""

import dataclasses
import os
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
POSTGRES = "/usr/lib/postgresql/15/bin"
JAVA = "/usr/lib/jvm/java-17-openjdk-amd64/bin"


def here(name):
    return os.path.join(HERE, name)


@dataclasses.dataclass(frozen=True)
class Program:
    """One program of the table.

    start: the words that start it; {bin} is the folder of built things, {work} the working directory.
    build: the words that build it. packages: Debian packages it needs; needs: commands or files that must be there.
    files: what it leaves in its working directory and must be the same as after an undisturbed run.
    prepare: a function of (folder of built things, working directory, scale), called before each start.
    ordinary_user: it refuses to run as root.
    scale: the amount of work. deep: how many times that for twenty generations: the program works while it is saved.
    """

    name: str
    start: tuple
    build: tuple = ()
    packages: tuple = ()
    needs: tuple = ()
    files: tuple = ()
    environment: tuple = ()
    prepare: object = None
    scale: float = 0.5
    deep: float = 6.0
    ordinary_user: bool = False


def c_program(name, *flags, source=None, arguments=(), packages=(), needs=(), environment=(), scale=0.5, deep=6.0):
    source = source or name + ".c"
    compiler = ("g++",) if source.endswith(".cpp") else ("cc", "-D_GNU_SOURCE")
    output = source.split(".")[0]
    return Program(name, ("{bin}/" + output, *arguments), packages=("gcc", "libc6-dev", *packages),
                   needs=(compiler[0], *needs),
                   build=(*compiler, "-O2", "-g", "-pthread", "-o", "{bin}/" + output, here(source), *flags),
                   environment=environment, scale=scale, deep=deep)


def write_script(bin_folder, work, scale):
    """The sqlite script with the amount of work in it."""
    with open(here("transaction.sql"), encoding="ascii") as file:
        text = file.read().replace("@SCALE@", str(scale))
    with open(os.path.join(work, "script.sql"), "w", encoding="ascii") as file:
        file.write(text)


def write_lines(bin_folder, work, scale):
    """A large input for gawk: the numbers and a word each."""
    path = os.path.join(bin_folder, f"lines-{scale}.txt")
    if not os.path.exists(path):
        state = 1
        with open(f"{path}.{os.getpid()}", "w", encoding="ascii") as file:
            for number in range(int(900000 * scale)):
                state = state * 48271 % 2147483647
                file.write(f"{number} word{state % 1009}\n")
        os.rename(f"{path}.{os.getpid()}", path)
    link = os.path.join(work, "input.txt")
    if not os.path.lexists(link):
        os.symlink(path, link)


def make_database(bin_folder, work, scale):
    """A copy of a cluster that initdb and pgbench have made once for this user."""
    template = os.path.join(bin_folder, f"database-{os.geteuid()}")
    if not os.path.exists(template):
        making = f"{template}.{os.getpid()}"
        done = subprocess.run(["/bin/bash", here("postgres_init.sh"), making], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0:
            raise OSError(f"no database: {done.stdout[-300:]} {done.stderr[-300:]}")
        os.rename(making, template)
    shutil.copytree(template, os.path.join(work, "data"))


def mpi_program(name, start, kind, environment=(), script=None):
    """The ring, over the shared memory and sockets that the library chooses, or a script says."""
    output = "{bin}/mpi_ring_" + kind
    words = ("/bin/bash", here(script), kind, output) if script else ("/usr/bin/" + start, "-n", "4", output)
    return Program(name, words, build=("mpicc." + kind, "-O2", "-o", output, here("mpi_ring.c")),
                   packages={"mpich": ("mpich", "libmpich-dev"), "openmpi": ("openmpi-bin", "libopenmpi-dev")}[kind],
                   needs=("/usr/bin/" + start, "/usr/bin/mpicc." + kind), environment=environment, scale=1.0, deep=3.0)


# Without TCP, for which each job takes the host's ports from 1024 on, needed or not: the job that runs beside this one would
# have them when it is restarted. mpi_tcp.sh gives each job ports of its own.
OPENMPI = (("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
           ("OMPI_MCA_rmaps_base_oversubscribe", "1"), ("OMPI_MCA_btl", "^tcp"))
PYTHON = ("python3",)


def at_terminal(name, kind, path, packages=()):
    return Program(name, ("/usr/bin/python3", here("terminal.py"), kind, path), packages=(*PYTHON, *packages),
                   needs=("/usr/bin/python3", path), scale=0.5, deep=12.0)


PROGRAMS = [
    c_program("counter"),
    c_program("threads_64", source="threads.c", arguments=("64",)),
    c_program("threads_2000", source="threads.c", arguments=("2000",), scale=1.0, deep=4.0),
    c_program("openmp", "-fopenmp"),
    Program("fortran", ("{bin}/unit",), build=("gfortran", "-O2", "-o", "{bin}/unit", here("unit.f90")),
            packages=("gfortran",), needs=("gfortran",), files=("unit.txt",)),
    Program("R", ("/usr/bin/R", "--vanilla", "--slave", "-f", here("loop.R")), packages=("r-base-core",),
            needs=("/usr/bin/R",)),
    Program("julia", ("julia", "--threads=2", "--startup-file=no", here("loop.jl")), packages=("julia",),
            needs=("julia",)),
    Program("python_threads", ("/usr/bin/python3", here("threads.py")), packages=PYTHON, needs=("/usr/bin/python3",),
            deep=10.0),
    Program("python_numpy", ("/usr/bin/python3", here("numeric.py")), packages=("python3", "python3-numpy"),
            needs=("/usr/lib/python3/dist-packages/numpy",), environment=(("OPENBLAS_NUM_THREADS", "2"),)),
    Program("python_sleep", ("/usr/bin/python3", here("sleep.py")), packages=PYTHON, needs=("/usr/bin/python3",)),
    Program("python_append", ("/usr/bin/python3", here("append.py")), packages=PYTHON, needs=("/usr/bin/python3",),
            files=("appended.txt",)),
    Program("node", ("/usr/bin/node", here("busy.js")), packages=("nodejs",), needs=("/usr/bin/node",),
            files=("node.txt",), scale=1.5, deep=3.0),
    Program("java", (JAVA + "/java", "-Xmx200m", "-XX:+UseG1GC", "-cp", "{bin}", "Busy"),
            build=(JAVA + "/javac", "-d", "{bin}", here("Busy.java")), packages=("openjdk-17-jdk-headless",),
            needs=(JAVA + "/javac",), deep=8.0),
    Program("perl", ("/usr/bin/perl", here("loop.pl")), packages=("perl",), needs=("/usr/bin/perl",)),
    Program("ruby", ("/usr/bin/ruby", here("loop.rb")), packages=("ruby",), needs=("/usr/bin/ruby",)),
    Program("sqlite3", ("/usr/bin/sqlite3", "-batch", "numbers.db", ".read script.sql"), packages=("sqlite3",),
            needs=("/usr/bin/sqlite3",), prepare=write_script),
    Program("lua", ("/usr/bin/lua5.4", here("loop.lua")), packages=("lua5.4",), needs=("/usr/bin/lua5.4",)),
    Program("swift_dispatch", ("{bin}/dispatch",),
            build=("swiftc", "-O", "-static-stdlib", "-o", "{bin}/dispatch", here("dispatch.swift")), needs=("swiftc",)),
    c_program("exceptions", source="exceptions.cpp", packages=("g++",)),
    c_program("own_signal"),
    c_program("blocks_all"),
    c_program("closefrom"),
    c_program("jemalloc", "-ljemalloc", packages=("libjemalloc-dev",),
              needs=("/usr/include/jemalloc/jemalloc.h",),
              environment=(("MALLOC_CONF", "background_thread:true,dirty_decay_ms:20,muzzy_decay_ms:20"),), scale=2.0, deep=3.0),
    Program("gawk", ("/usr/bin/gawk", "-f", here("lines.awk"), "input.txt"), packages=("gawk",),
            needs=("/usr/bin/gawk",), files=("awk.txt",), prepare=write_lines),
    # Of several processes.
    Program("bash_jobs", ("/bin/bash", here("jobs.sh")), needs=("/bin/bash",)),
    Program("xargs", ("/bin/sh", here("workers.sh")), needs=("/usr/bin/xargs", "awk")),
    Program("python_pool", ("/usr/bin/python3", here("pool.py")), packages=PYTHON, needs=("/usr/bin/python3",)),
    Program("redis", ("/bin/bash", here("redis.sh")), packages=("redis-server", "redis-tools"),
            needs=("/usr/bin/redis-server", "/usr/bin/redis-cli"), scale=2.0, deep=8.0),
    Program("make", ("/bin/bash", here("make.sh")), packages=("make", "gcc", "libc6-dev"), needs=("make", "gcc"), deep=3.0),
    Program("nginx", ("/bin/bash", here("nginx.sh")), packages=("nginx-light", "python3"), needs=("/usr/sbin/nginx",)),
    Program("postgres", ("/bin/bash", here("postgres.sh")), packages=("postgresql-15",),
            needs=(POSTGRES + "/initdb", POSTGRES + "/pgbench"), prepare=make_database, ordinary_user=True,
            environment=(("SWIFTCP_CKPT_OPEN_FILES", "1"),)),
    # At terminals of the computation.
    at_terminal("bash_i", "bash", "/bin/bash"),
    at_terminal("script", "script", "/usr/bin/script", packages=("bsdutils",)),
    at_terminal("vim", "vim", "/usr/bin/vim.basic", packages=("vim",)),
    at_terminal("emacs", "emacs", "/usr/bin/emacs", packages=("emacs-nox",)),
    at_terminal("tmux", "tmux", "/usr/bin/tmux", packages=("tmux",)),
    at_terminal("screen", "screen", "/usr/bin/screen", packages=("screen",)),
    mpi_program("mpich", "mpiexec.mpich", "mpich"),
    mpi_program("openmpi", "mpiexec.openmpi", "openmpi", environment=OPENMPI),
    mpi_program("mpich_tcp", "mpiexec.mpich", "mpich", script="mpi_tcp.sh"),
    mpi_program("openmpi_tcp", "mpiexec.openmpi", "openmpi", script="mpi_tcp.sh"),
    Program("parallel", ("/bin/bash", here("parallel.sh")), packages=("parallel",), needs=("/usr/bin/parallel",)),
    Program("python_subprocess", ("/usr/bin/python3", here("subprocesses.py")), packages=PYTHON,
            needs=("/usr/bin/python3",)),
    Program("gcc_pipe", ("/bin/bash", here("compile.sh")), packages=("gcc", "libc6-dev"), needs=("gcc",)),
    Program("ffmpeg", ("/bin/bash", here("codec.sh")), packages=("ffmpeg",), needs=("/usr/bin/ffmpeg",), scale=1.0, deep=2.0),
    Program("node_cluster", ("/usr/bin/node", here("cluster.js")), packages=("nodejs",), needs=("/usr/bin/node",),
            scale=2.0, deep=3.0),
    Program("java_children", (JAVA + "/java", "-Xmx100m", "-cp", "{bin}", "Children"),
            build=(JAVA + "/javac", "-d", "{bin}", here("Children.java")), packages=("openjdk-17-jdk-headless",),
            needs=(JAVA + "/javac",), scale=1.0, deep=5.0),
]


def there(need):
    return os.path.exists(need) if need.startswith("/") else shutil.which(need) is not None


def lacking(program):
    """What the program needs and is not there."""
    return [need for need in program.needs if not there(need)]


def refuses(program):
    """Whether the program does not run as the user at hand."""
    return program.ordinary_user and os.geteuid() == 0


def install(programs):
    """Installs missing packages with apt as root, one by one so that one that does not exist stops no other."""
    wanted = sorted({package for program in programs if lacking(program) for package in program.packages})
    if not wanted or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    print(f"installing {' '.join(wanted)}", flush=True)
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends"]
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")

    def run(words):
        return subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              timeout=600, check=False).returncode

    if run(command + wanted) != 0:
        run(["apt-get", "update", "-q"])
        for package in wanted:
            run(command + [package])


def build(program, bin_folder):
    """Builds the program; returns the compiler's words when that fails, else ""."""
    if not program.build:
        return ""
    words = [word.replace("{bin}", bin_folder) for word in program.build]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    return done.stderr if done.returncode != 0 else ""
