"""Several processes of one run: watched, stopped together, gone on with."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import launch
import mapped
import numpy as np
import pytest
from test_devices import answer, environment
from test_train import few_digits

from vitsd_helpers.training import processes
from vitsd_helpers.training.loop import epoch_order

HERE = Path(__file__).parent
#: Seconds in which the others must be stopped.
SOON = 30
on_jax = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="several processes need JAX"
)


def launched(words, env=None) -> subprocess.Popen:
    """The launcher of two processes, its output in one pipe."""
    return subprocess.Popen(
        [sys.executable, launch.__file__, "2", "--", *map(str, words)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def children(pid: int) -> list[int]:
    """Processes that a process started, oldest first."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split()
    return sorted(map(int, found))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def lose_the_second(launcher, name: str) -> str:
    """Send a signal to process 1; what the launcher says of it."""
    pids = children(launcher.pid)
    os.kill(pids[1], signal.Signals[name])
    since = time.monotonic()
    said, _ = launcher.communicate(timeout=SOON)
    assert time.monotonic() - since < SOON
    assert launcher.returncode == 1
    assert not any(map(alive, pids))
    return said


WAIT = "import os, time; os.write(1, b'here\\n'); time.sleep(600)"
LOST = {
    "SIGKILL": "process 1 of 2 was killed by SIGKILL",
    "SIGTERM": "process 1 of 2 was killed by SIGTERM",
    "SIGSTOP": "process 1 of 2 was halted for 5 s",
}
in_linux = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="reads Linux's /proc"
)


@pytest.mark.slow
@in_linux
@pytest.mark.parametrize("name", LOST)
def test_a_lost_process_is_named_and_the_other_stopped(name):
    launcher = launched([sys.executable, "-c", WAIT])
    for _ in range(2):
        assert launcher.stdout.readline() == "here\n"
    said = lose_the_second(launcher, name)
    assert LOST[name] in said and "goes on from the last" in said


def test_a_failed_process_is_named():
    code = "import os, sys; sys.exit(3 * int(os.environ['VITSD_PROCESS']))"
    launcher = launched([sys.executable, "-c", code])
    said, _ = launcher.communicate(timeout=SOON)
    assert launcher.returncode == 1
    assert "process 1 of 2 ended with the code 3" in said


def test_all_end_well():
    names = " + ' ' + ".join(f"os.environ['{n}']" for n in processes.VARIABLES)
    # A line in one write: both processes have the same pipe.
    code = f"import os; os.write(1, ({names} + '\\n').encode())"
    launcher = launched([sys.executable, "-c", code])
    said, _ = launcher.communicate(timeout=SOON)
    assert launcher.returncode == 0
    one, other = sorted(line.split() for line in said.splitlines())
    assert one[0] == other[0] and one[0].startswith("127.0.0.1:")
    assert one[1:] == ["2", "0"] and other[1:] == ["2", "1"]


def test_alone_there_is_nobody_to_join(monkeypatch):
    for name in (*processes.VARIABLES, "SLURM_STEP_NODELIST"):
        monkeypatch.delenv(name, raising=False)
    assert not processes.initialize()
    monkeypatch.setenv("VITSD_PROCESS", "0")
    with pytest.raises(ValueError, match="VITSD_COORDINATOR and VITSD_PROC"):
        processes.initialize()


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX can")
def test_processes_on_another_backend_are_refused(monkeypatch):
    for name in processes.VARIABLES:
        monkeypatch.setenv(name, "1")
    with pytest.raises(RuntimeError, match="KERAS_BACKEND=jax"):
        processes.initialize()


@pytest.fixture
def joined(monkeypatch) -> dict:
    """What JAX would be told; an older JAX takes one limit fewer."""
    import jax

    given: dict = {}

    def join(*, heartbeat_timeout_seconds, **more):
        given.update(more, heartbeat=heartbeat_timeout_seconds)

    def join_older(
        coordinator_address=None,
        num_processes=None,
        process_id=None,
        coordinator_bind_address=None,
        heartbeat_timeout_seconds=100,
    ):
        given.update(locals(), heartbeat=heartbeat_timeout_seconds)

    given["older"] = join_older
    monkeypatch.setattr(jax.distributed, "initialize", join)
    monkeypatch.setattr(
        keras.distribution, "set_distribution", lambda found: None
    )
    for name in (*processes.VARIABLES, "JAX_COORDINATOR_BIND_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    return given


@on_jax
@pytest.mark.parametrize("told", [None, "0.0.0.0:9"])
@pytest.mark.parametrize("older", [False, True])
def test_the_coordinator_listens_where_it_is_told(
    monkeypatch, joined, told, older
):
    if older:
        monkeypatch.setattr("jax.distributed.initialize", joined["older"])
    values = ("127.0.0.1:1234", "2", "1")
    for name, value in zip(processes.VARIABLES, values, strict=True):
        monkeypatch.setenv(name, value)
    if told:
        monkeypatch.setenv("JAX_COORDINATOR_BIND_ADDRESS", told)
    assert processes.initialize()
    listens = told or "127.0.0.1:1234"
    assert joined["coordinator_bind_address"] == listens
    assert joined["num_processes"] == 2 and joined["process_id"] == 1
    assert joined["heartbeat"] == processes.HEARTBEAT


@on_jax
def test_in_slurm_jax_asks_slurm(monkeypatch, joined):
    monkeypatch.setenv("SLURM_STEP_NODELIST", "node[1-2]")
    monkeypatch.setenv("SLURM_NTASKS", "1")
    assert not processes.initialize()
    monkeypatch.setenv("SLURM_NTASKS", "2")
    assert processes.initialize()
    assert "coordinator_address" not in joined
    assert joined["heartbeat"] == processes.HEARTBEAT


def lines_until(launcher, start: str) -> list[str]:
    """What is said, to the line that begins so."""
    lines = []
    for line in launcher.stdout:
        lines.append(line.rstrip())
        if line.startswith(start):
            return lines
    raise AssertionError("\n".join(lines))


def interrupted(folder: Path, name: str) -> subprocess.Popen:
    """Lose a process after the first epoch, then start both again."""
    words = [sys.executable, HERE / "many_processes.py", folder]
    launcher = launched(words, environment(2))
    lines_until(launcher, "1/4 ")
    assert LOST[name] in lose_the_second(launcher, name)
    assert list(folder.rglob("epoch-*.ckpt"))
    return launched(words, environment(2))


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict:
    """What one process gives."""
    folder = tmp_path_factory.mktemp("alone")
    return answer("many_processes.py", 1, folder / "alone.json")


def check_as_one(one: dict, folder: Path) -> None:
    """Two processes gave what one did."""
    other = json.loads((folder / "together.json").read_text("utf-8"))
    assert len(other["all"]) == other["devices"] == 4
    for name, values in one["epochs"].items():
        np.testing.assert_allclose(other["epochs"][name], values, rtol=1e-5)
    assert other["tested"] == one["tested"]
    assert other["predictions"] == other["tested"]


@pytest.mark.slow
@on_jax
@in_linux
def test_two_processes_are_as_one_and_go_on_when_one_was_lost(tmp_path, alone):
    again = interrupted(tmp_path, "SIGKILL")
    said, _ = again.communicate(timeout=600)
    assert again.returncode == 0, said
    assert "\n1/4 " not in f"\n{said}" and "4/4 " in said
    assert "on each of 4 devices" in said
    check_as_one(alone, tmp_path)


@pytest.mark.slow
@on_jax
def test_each_process_reads_its_part_of_a_file(tmp_path, alone):
    """Of each batch of 64 a half, and of the last one of the test, too."""
    arrays = mapped.write(tmp_path / "digits", few_digits(192))
    words = [sys.executable, HERE / "many_processes.py", tmp_path, arrays]
    both = launched(words, environment(2))
    said, _ = both.communicate(timeout=600)
    assert both.returncode == 0, said
    check_as_one(alone, tmp_path)
    orders = [epoch_order(192, 64, 0, epoch, 3) for epoch in range(4)]
    steps = np.concatenate(orders).reshape(-1, 2, 32)
    for process in range(2):
        file = tmp_path / f"reads-{process}.json"
        trained, tested = json.loads(file.read_text("utf-8"))
        assert trained[-len(steps) :] == steps[:, process].tolist()
        assert {len(indices) for indices in trained} == {32}
        # 50 images, filled up to 52 with the last.
        padded = [*range(50), 49, 49]
        assert tested == [padded[process * 26 :][:26]]


@pytest.mark.heavy
@in_linux
@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="needs JAX"
)
@pytest.mark.parametrize("name", ["SIGTERM", "SIGSTOP"])
def test_a_training_process_that_is_lost_in_another_way(tmp_path, name):
    again = interrupted(tmp_path, name)
    said = "\n".join(lines_until(again, "2/4 "))
    assert "\n1/4 " not in f"\n{said}"
    again.send_signal(signal.SIGINT)
    again.wait(timeout=SOON)
