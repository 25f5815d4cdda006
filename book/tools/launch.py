"""Several processes of one run on this machine, watched.

    python book/tools/launch.py 2 -- python book/tools/experiments.py one ...

Each is told by three variables who the others are, see `initialize` in
vitsd_helpers/training/processes.py. They talk over 127.0.0.1 alone. When one
ends badly, is killed or stands still, the others are stopped, and this says
which it was. On several machines Slurm does the same:

    srun --kill-on-bad-exit=1 python book/tools/experiments.py one ...
"""

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

from terminal import Parser, command

from vitsd_helpers.training.processes import VARIABLES

#: Seconds between two looks, and those that a process may stand still.
LOOK, STILL = 0.2, 5.0


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def start(count: int, words: list[str]) -> list[subprocess.Popen]:
    """The processes, in the order of their numbers."""
    address = f"127.0.0.1:{free_port()}"
    return [
        subprocess.Popen(
            words,
            env={"KERAS_BACKEND": "jax"}
            | os.environ
            | dict(zip(VARIABLES, (address, str(count), str(n)), strict=True)),
        )
        for n in range(count)
    ]


def stopped(child: subprocess.Popen) -> bool:
    """Whether a process was halted, by SIGSTOP or Ctrl-Z.

    Not told on Windows, and on macOS only by a newer Python.
    """
    if sys.platform == "win32":
        return False
    if not hasattr(os, "waitid") or not hasattr(os, "WSTOPPED"):
        return False
    flags = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
    with contextlib.suppress(ChildProcessError):
        return os.waitid(os.P_PID, child.pid, flags) is not None
    return False


def watch(children: list[subprocess.Popen]) -> str:
    """Wait until all end well, or one does not: then say which and how."""
    still: dict[int, float] = {}
    while True:
        codes = [child.poll() for child in children]
        for number, code in enumerate(codes):
            who = f"process {number} of {len(children)}"
            if code is None and stopped(children[number]):
                since = still.setdefault(number, time.monotonic())
                if time.monotonic() - since > STILL:
                    return f"{who} was halted for {STILL:.0f} s"
            else:
                still.pop(number, None)
            if code is not None and code < 0:
                return f"{who} was killed by {signal.Signals(-code).name}"
            if code:
                return f"{who} ended with the code {code}"
        if not any(code is None for code in codes):
            return ""
        time.sleep(LOOK)


def main() -> None:
    """Run the command line."""
    parser = Parser(description=__doc__.split("\n")[0])
    parser.add_argument("count", type=int)
    parser.add_argument("words", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    words = given.words[given.words[:1] == ["--"] :]
    if given.count < 1 or not words:
        parser.error("give a number of processes, --, and what they run")
    children = start(given.count, words)
    try:
        said = watch(children)
    finally:
        # Checkpoints and records are whole or absent at any moment.
        for child in children:
            if child.poll() is None:
                child.kill()
    for child in children:
        child.wait()
    if said:
        sys.exit(
            f"{said}; the others were stopped. The same command goes on "
            "from the last checkpoint."
        )


if __name__ == "__main__":
    command(main, "The same command goes on from the last checkpoint.")
