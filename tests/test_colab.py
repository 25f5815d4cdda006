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
    python = str(bare / colab.BIN / "python")
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


@pytest.fixture
def commands(monkeypatch, tmp_path) -> list:
    """What making an environment would run, in an empty place."""
    found: list = []
    monkeypatch.setattr(colab, "ENVIRONMENTS", tmp_path)

    def run(words, **_):
        found.append(words)
        if "venv" in words:
            Path(words[-1]).mkdir()

    monkeypatch.setattr(colab.subprocess, "run", run)
    return found


def test_an_environment_forgets_the_helper_package(commands):
    colab.make_environment("2026.08")
    commands.clear()
    colab.make_environment("2026.08")
    (command,) = commands
    assert "uninstall" in command and command[-1] == "vitsd-helpers"


def test_other_versions_are_another_environment(commands, monkeypatch):
    colab.make_environment("2026.08")
    commands.clear()
    newer = colab.Runtime("3.13", ("keras==3.14.0",))
    monkeypatch.setitem(colab.RUNTIMES, "2026.08", newer)
    for _ in range(2):
        colab.make_environment("2026.08")
    installs = [words for words in commands if "install" in words]
    assert [words[-1] for words in installs] == ["keras==3.14.0"]


def test_the_newest_python_of_a_version_is_taken(monkeypatch, tmp_path):
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert colab.find_python("3.13") == "3.13"
    for version in ("3.13.11rc1", "3.13.9t", "3.13.9", "3.13.10"):
        python = tmp_path / "versions" / version / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.touch()
    assert colab.find_python("3.13") == str(python)


@pytest.mark.heavy
def test_first_chapter_runs_with_colabs_versions():
    python = colab.make_environment("2026.08")
    assert colab.run_all(python, ["01_patches"]) == 0
