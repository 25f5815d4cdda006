"""Binder, dev container, VS Code and JupyterLab: the steps that each takes."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from colab import BIN, find_python
from test_safety import OUTER

ROOT = Path(__file__).parents[1]
CONTAINER = json.loads(
    (ROOT / ".devcontainer/devcontainer.json").read_text("utf-8")
)
BINDER = ROOT / ".binder"
VERSION = (BINDER / "runtime.txt").read_text("utf-8").strip().split("-")[1]
STORED = {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_CPP_MIN_LOG_LEVEL": "3"}
DROPPED = ("VIRTUAL_ENV", "PYTHONPATH", *OUTER, *STORED)
READS = """\
import vitsd_helpers
from vitsd_helpers.evidence.records import read_records
assert "site-packages" in vitsd_helpers.__file__, vitsd_helpers.__file__
assert "laptop-sl-seed0" in read_records()
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """A clean clone of what is committed."""
    folder = tmp_path_factory.mktemp("places") / "book"
    subprocess.run(["git", "clone", "-q", ROOT, folder], check=True)
    return folder


def environment(**more: str) -> dict[str, str]:
    """That of a terminal in which no book is open."""
    return {k: v for k, v in os.environ.items() if k not in DROPPED} | more


def python(version: str) -> str:
    """Its command, if the machine has it."""
    for command in (shutil.which(f"python{version}"), find_python(version)):
        path = Path(command or version)
        if path.is_file() and not subprocess.call([path, "-c", ""]):
            return str(path)
    pytest.skip(f"There is no Python {version} here.")


def test_every_place_says_how_outputs_were_made():
    assert CONTAINER["containerEnv"] == STORED
    start = (BINDER / "start").read_text("utf-8")
    assert " ".join(f"{k}={v}" for k, v in STORED.items()) in start


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_container_calls_what_is_there():
    script = ROOT / CONTAINER["onCreateCommand"]
    assert os.access(script, os.X_OK)
    dry = ["make", "-n", *CONTAINER["postCreateCommand"].split()[1:]]
    done = subprocess.run(
        dry, cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    assert f"python:{VERSION}-" in CONTAINER["image"]
    settings = json.loads((ROOT / ".vscode/settings.json").read_text("utf-8"))
    assert settings["python.defaultInterpreterPath"].endswith(
        "/.venv/bin/python"
    )


@pytest.mark.heavy
def test_binder_builds_and_its_chapters_run(clone, tmp_path):
    """As repo2docker does: requirements, postBuild, then all through start."""
    home = tmp_path / "environment"
    subprocess.run([python(VERSION), "-m", "venv", home], check=True)
    path = f"{home / BIN}{os.pathsep}{os.environ['PATH']}"
    given = environment(PATH=path)
    listed = ["-r", ".binder/requirements.txt"]
    for command in (
        ["python", "-m", "pip", "install", "-q", *listed],
        [".binder/postBuild"],
    ):
        subprocess.run(command, cwd=clone, env=given, check=True)
    for command in (
        ["python", "-c", READS],
        ["python", "-m", "pytest", "-q", "--nbval", "01_patches.ipynb"],
        ["python", "-m", "pytest", "-q", "--nbval", "07_ablation.ipynb"],
    ):
        start = [clone / ".binder" / "start", *command]
        done = subprocess.run(
            start,
            cwd=clone / "notebooks",
            env=given,
            capture_output=True,
            text=True,
        )
        assert not done.returncode, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.heavy
def test_container_builds_and_jupyterlab_opens(clone):
    """The container's two commands, then `make lab` in what they made."""
    given = environment()
    for key in ("onCreateCommand", "postCreateCommand"):
        command = ["bash", "-ec", CONTAINER[key]]
        subprocess.run(command, cwd=clone, env=given, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = clone / "_build" / "jupyter"
    folder.mkdir(parents=True)
    (folder / "jupyter_server_config.json").write_text(
        json.dumps(
            {
                "ServerApp": {
                    "port": port,
                    "open_browser": False,
                    "allow_root": True,
                    "token": "",
                }
            }
        ),
        "utf-8",
    )
    given["JUPYTER_CONFIG_DIR"] = str(folder)
    server = subprocess.Popen(
        ["make", "lab"], cwd=clone, env=given, start_new_session=True
    )
    try:
        address = f"http://127.0.0.1:{port}/api/contents/01_patches.ipynb"
        contents = wait_for(address, server)
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)
    assert contents["type"] == "notebook"


def wait_for(address: str, server: subprocess.Popen, seconds: int = 180):
    """What an address answers once somebody does."""
    for _ in range(seconds):
        assert server.poll() is None, "`make lab` ended."
        try:
            with urllib.request.urlopen(address) as answer:
                return json.load(answer)
        except (urllib.error.URLError, ConnectionError):
            time.sleep(1)
    pytest.fail(f"{address} did not answer within {seconds} s.")
