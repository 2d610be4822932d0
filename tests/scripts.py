"""Scripts as a shell runs them, without the time of their imports: each is a fork of a process that has done those."""

import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

__all__ = ["PEAK_GIB", "run_script"]

# For a program of its own; ru_maxrss would begin with what the process that starts it has taken.
PEAK_GIB = """
def peak_gib():
    with open("/proc/self/status") as file:
        return int(file.read().partition("VmHWM:")[2].split()[0]) / 2**20
"""

LONGEST_S = 900  # of processor time, until a script counts as hanging

# One job a line. What it imports, most scripts would import themselves; it computes nothing, and has one thread.
SERVER = """
import gc, json, os, resource, runpy, sys
import matplotlib.pyplot, mne, pandas, sklearn.ensemble, sklearn.linear_model, torch
import s4signal.estimators, s4signal.inspection, s4signal.signals
gc.freeze()  # a child that ends looks at none of it
for line in sys.stdin:
    job = json.loads(line)
    if (child := os.fork()) == 0:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
for number, path in enumerate(job["outputs"], start=1):
    os.dup2(os.open(path, os.O_WRONLY), number)
os.environ.clear()
os.environ.update(job["environment"])
os.chdir(job["folder"])
resource.setrlimit(resource.RLIMIT_CPU, (job["longest_s"], job["longest_s"]))
sys.argv, sys.path[:1] = job["command"], [os.path.dirname(job["command"][0])] * (not job["safe_path"])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@cache
def _server() -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", SERVER], text=True, env=environment, **pipes)


def run_script(
    path: Path, *arguments: str, cwd: Path | None = None, safe_path: bool = False, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run a script on one thread; ``settings`` of the environment; ``safe_path`` as python -P."""
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
        job = {"command": command, "environment": environment, "folder": folder, "outputs": list(map(str, outputs))}
        server = _server()
        print(json.dumps(job | {"safe_path": safe_path, "longest_s": LONGEST_S}), file=server.stdin, flush=True)
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess(command, code, *(output.read_text("utf-8") for output in outputs))
