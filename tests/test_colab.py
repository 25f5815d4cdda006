"""A notebook opened in Colab: no helper package, only the .ipynb file."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import colab
import pytest


@pytest.mark.slow
def test_first_chapter_runs_as_in_colab(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("git is not installed: apt install git")
    work, target, published = (
        tmp_path / name for name in ("content", "installed", "published")
    )
    work.mkdir()
    target.mkdir()  # as the folder of Colab's packages
    colab.publish(published)
    notebook = work / "01_patches.ipynb"
    shutil.copy(colab.NOTEBOOKS / notebook.name, notebook)
    startup = tmp_path / "startup"
    variables = colab.environment(published, startup, tmp_path / "ipython")
    # The environment's packages without its .pth files, and so without the
    # editable install of the helper package.
    packages = sysconfig.get_path("purelib")
    bare = tmp_path / "bare"
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(bare)],
        check=True,
    )
    python = str(bare / "bin" / "python")
    variables |= {
        "PYTHONPATH": os.pathsep.join([str(startup), str(target), packages]),
        "PIP_TARGET": str(target),
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this as "no isolation"
    }

    def run(*command):
        return subprocess.run(
            [python, *command],
            cwd=work,
            env=variables,
            capture_output=True,
            text=True,
        )

    before = run("-c", "import vitsd_helpers")
    assert "No module named 'vitsd_helpers'" in before.stderr
    result = run("-c", colab.RUN, str(notebook))
    assert result.returncode == 0, result.stderr[-3000:]
    assert (target / "vitsd_helpers" / "attention.py").exists()


def test_a_chapter_that_is_none_is_refused():
    tool = Path(colab.__file__)
    done = subprocess.run(
        [sys.executable, tool, "01_patch"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "no chapter 01_patch; there are 01_patches" in done.stderr


def test_what_moves_colabs_packages_is_a_failure(monkeypatch, capsys):
    lists = iter([{"numpy==2.0"}, {"numpy==2.1", "vitsd-helpers @ git"}])
    monkeypatch.setattr(colab, "frozen", lambda *_: next(lists))
    assert colab.run_all(Path(sys.executable), []) == 1
    assert "numpy==2.1" in capsys.readouterr().out


def test_an_environment_forgets_the_helper_package(monkeypatch, tmp_path):
    (tmp_path / "2026.08").mkdir()
    (tmp_path / "2026.08" / "ready").touch()
    commands = []
    monkeypatch.setattr(colab, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(
        colab.subprocess, "run", lambda words, **_: commands.append(words)
    )
    colab.make_environment("2026.08")
    (command,) = commands
    assert "uninstall" in command and command[-1] == "vitsd-helpers"


@pytest.mark.heavy
def test_first_chapter_runs_with_colabs_versions():
    python = colab.make_environment("2026.08")
    assert colab.run_all(python, ["01_patches"]) == 0
