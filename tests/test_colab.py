"""A notebook opened in Colab: no helper package, only the .ipynb file."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import address
import pytest

import notebooks as tool

ROOT = Path(__file__).parents[1]
FILES = [
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "vitsd_helpers",
    "book/results",
]
#: The kernel starts with google.colab imported, as Colab's does.
COLAB = """\
import sys, types
sys.modules["google.colab"] = types.ModuleType("google.colab")
"""
RUN = """\
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, kernel_name="python3").execute()
"""


@pytest.fixture
def published(tmp_path) -> Path:
    """A git repository with the branch that the notebooks install from."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed: apt install git")
    folder = tmp_path / "published"
    folder.mkdir()
    for name in FILES:
        source = ROOT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy(source, folder / name)
    git = ["git", "-C", str(folder)]
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    branch = address.repository()[1]
    subprocess.run([*git, "init", "-q", "-b", branch], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, *identity, "commit", "-qm", "book"], check=True)
    return folder


def test_first_chapter_runs_as_in_colab(tmp_path, published):
    work, target, startup = (
        tmp_path / name for name in ("content", "installed", "startup")
    )
    for folder in (work, target, startup):
        folder.mkdir()
    notebook = work / "01_patches.ipynb"
    shutil.copy(tool.NOTEBOOKS / notebook.name, notebook)
    (startup / "sitecustomize.py").write_text(COLAB)
    # The environment's packages without its .pth files, and so without the
    # editable install of the helper package.
    packages = sysconfig.get_path("purelib")
    bare = tmp_path / "bare"
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(bare)],
        check=True,
    )
    python = str(bare / "bin" / "python")
    environment = {
        **{k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"},
        "PYTHONPATH": os.pathsep.join([str(startup), str(target), packages]),
        "KERAS_BACKEND": "tensorflow",  # as in Colab
        "JUPYTER_PATH": "",
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "PIP_TARGET": str(target),
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this as "no isolation"
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{published.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": address.repository()[0],
    }

    def run(*command):
        return subprocess.run(
            [python, *command],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
        )

    before = run("-c", "import vitsd_helpers")
    assert "No module named 'vitsd_helpers'" in before.stderr
    result = run("-c", RUN, str(notebook))
    assert result.returncode == 0, result.stderr[-3000:]
    assert (target / "vitsd_helpers" / "attention.py").exists()
