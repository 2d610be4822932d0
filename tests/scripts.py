"""Run programs as a shell does, without the time of their imports: each is a fork of a process that has done these."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

__all__ = ["PEAK_GIB", "Fork", "run_code", "run_script"]

# For separate programs: ru_maxrss would include the memory of the process that starts them.
PEAK_GIB = """
def peak_gib():
    with open("/proc/self/status") as file:
        return int(file.read().partition("VmHWM:")[2].split()[0]) / 2**20
"""

LONGEST_S = 900  # processor time after which a script counts as hanging; the limit of waiting is four times that

# Reads one job per line. Most scripts need its imports (torch._dynamo at the first training step). It computes nothing
# and has one thread. With "python", `sys.executable` of a script is a program that asks a copy of this process to fork
# the scripts that it starts, too.
SERVER = """
import contextlib, gc, json, os, resource, runpy, select, signal, socket, sys
import matplotlib.pyplot, mne, pandas, sklearn.ensemble, sklearn.linear_model, sklearn.model_selection, torch._dynamo
import s4signal.estimators, s4signal.inspection, s4signal.signals

def serve(listener, parent):
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener.settimeout(1)
    while os.getppid() == parent:
        try:
            connection = listener.accept()[0]
        except TimeoutError:
            continue
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            text, files, *_ = socket.recv_fds(connection, 2**20, 3)
            if (child := os.fork()) == 0:
                return json.loads(text), files
            while not (ended := os.waitpid(child, os.WNOHANG))[0]:
                if select.select([connection], [], [], 0.05)[0]:  # the client is gone
                    os.kill(child, signal.SIGKILL)
            with contextlib.suppress(BrokenPipeError):
                connection.send(b"%d" % os.waitstatus_to_exitcode(ended[1]))
            os._exit(0)
        connection.close()
    os._exit(0)

gc.freeze()  # the garbage collector of a child skips these objects
for line in sys.stdin:
    job = json.loads(line)
    if (child := os.fork()) == 0:
        break
    if job["group"]:
        os.setpgid(child, child)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
files = [os.open(os.devnull, os.O_RDONLY), *(os.open(path, os.O_WRONLY) for path in job["outputs"])]
resource.setrlimit(resource.RLIMIT_CPU, (job["longest_s"], job["longest_s"]))
if job["python"]:
    sys.executable, parent = job["python"], os.getpid()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(job["python"] + ".socket")
    listener.listen()
    if os.fork() == 0:
        request, files = serve(listener, parent)
        job |= request
    listener.close()
for number, file in enumerate(files):
    os.dup2(file, number)
os.environ.clear()
os.environ.update(job["environment"])
matplotlib.rcParams["backend"] = os.environ.get("MPLBACKEND", "agg")
os.chdir(job["folder"])
sys.argv, sys.path[:1] = job["command"], [os.path.dirname(job["command"][0])] * (not job["safe_path"])
runpy.run_path(sys.argv[0], run_name="__main__")
"""

PYTHON = """#!{python} -IS
import json, os, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect({place!r} + ".socket")
job = {{"command": [word for word in sys.argv[1:] if word != "-u"], "safe_path": False}}
job |= {{"folder": os.getcwd(), "environment": {{**os.environ}}}}
socket.send_fds(connection, [json.dumps(job).encode()], [0, 1, 2])
code = int(connection.recv(9))
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@cache
def _server() -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}  # each job has its own
    # There is one worker per core: waiting threads of OpenMP would take the processor from the others.
    environment |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
    return subprocess.Popen([sys.executable, "-c", SERVER], env=environment, **pipes)


class Fork:
    """A running script, one at a time, with the methods of `subprocess.Popen` that a starter of kernels needs."""

    stdin = stdout = stderr = None

    def __init__(
        self,
        command: list[str],
        *,
        env: dict[str, str],
        cwd: str,
        outputs: tuple[str, str] = (os.devnull, os.devnull),
        safe_path: bool = False,
        group: bool = True,
        python: str = "",
    ) -> None:
        job = {"command": command, "environment": env, "folder": cwd, "outputs": outputs, "group": group}
        job |= {"safe_path": safe_path, "python": python, "longest_s": LONGEST_S}
        _server().stdin.write(json.dumps(job).encode() + b"\n")
        self.pid, self.returncode = int(_server().stdout.readline()), None

    def wait(self) -> int:
        """Wait for the exit status and return it."""
        if self.returncode is None:
            if not select.select([_server().stdout], [], [], 4 * LONGEST_S)[0]:
                self.send_signal(signal.SIGKILL)
            self.returncode = int(_server().stdout.readline())
        return self.returncode

    def poll(self) -> int | None:
        """Return the exit status, if there is one."""
        ended = self.returncode is None and select.select([_server().stdout], [], [], 0)[0]
        return self.wait() if ended else self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)


def run_script(
    path: Path, *arguments: str, cwd: Path | None = None, safe_path: bool = False, starts: bool = False, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run a script on one thread, with ``settings`` in its environment and ``safe_path`` as in python -P.

    If it ``starts`` scripts by `sys.executable`, these are forks, too.
    """
    environment, folder = os.environ | {"OMP_NUM_THREADS": "1"} | settings, str(cwd or Path.cwd())
    command = [str(path), *arguments]
    if not hasattr(os, "fork"):
        python = [sys.executable, *["-P"] * safe_path]
        return subprocess.run(
            [*python, *command], capture_output=True, text=True, env=environment, cwd=folder, check=False
        )
    with tempfile.TemporaryDirectory() as place:
        outputs = [Path(place) / name for name in ("out", "err")]
        for output in outputs:
            output.touch()
        names = (str(outputs[0]), str(outputs[1]))
        python = Path(place) / "python"
        python.write_text(PYTHON.format(python=sys.executable, place=str(python)), "utf-8")
        python.chmod(0o700)
        options = {"outputs": names, "safe_path": safe_path, "group": False, "python": str(python) if starts else ""}
        code = Fork(command, env=environment, cwd=folder, **options).wait()
        return subprocess.CompletedProcess(command, code, *(output.read_text("utf-8") for output in outputs))


def run_code(code: str, *arguments: object, warnings: str = "default") -> str:
    """Run a program that is given as text, and return what it prints."""
    begin = (
        f"import sys, warnings; warnings.simplefilter({warnings!r}); sys.path.append({str(Path(__file__).parent)!r})\n"
    )
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "program.py"
        path.write_text(begin + code, "utf-8")
        result = run_script(path, *map(str, arguments), safe_path=True)
    assert result.returncode == 0, result.stderr
    return result.stdout
