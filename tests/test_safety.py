"""Nothing a reader types hurts the book: real `make` in a copy of it."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from vitsd_helpers.readers.cifar100 import CIFAR100_FILES

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(
    not (ROOT / ".venv" / "ready").exists() or shutil.which("make") is None,
    reason="needs make and the environment that it makes",
)


def git(folder: Path, *command: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    return subprocess.run(
        ["git", *identity, *command],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> Path:
    """A copy of the repository in a path with a space, all committed."""
    folder = tmp_path_factory.mktemp("a copy")
    listed = git(ROOT, "ls-files", "-zco", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
    # The environment is not older than these two: it is not made again.
    for name in ("requirements.txt", "pyproject.toml"):
        os.utime(folder / name, (0, 0))
    (folder / ".venv").symlink_to(ROOT / ".venv")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "All")
    return folder


#: What a `make test` around us hands down.
OUTER = ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "SLOW", "COVERAGE")


def environment(book: Path, **changes: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k != "VITSD_DATA_DIR"}
    for name in (*OUTER, "PYTEST_CURRENT_TEST"):
        kept.pop(name, None)
    return kept | {"PYTHONPATH": str(book)} | changes


def start(book: Path, *arguments: str, **changes: str) -> subprocess.Popen:
    """A make in a process group of its own, as under a terminal.

    A shell's job in the background ignores Ctrl-C, and its children do.
    """
    return subprocess.Popen(
        ["make", *arguments],
        cwd=book,
        env=environment(book, **changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def make(book: Path, *arguments: str, **changes: str) -> tuple[int, str]:
    """The exit status and what was printed; and the book is as it was."""
    process = start(book, *arguments, **changes)
    output, _ = process.communicate(timeout=120)
    assert "Traceback" not in output
    assert git(book, "status", "--porcelain") == ""
    return process.returncode, output


def own_lines(output: str) -> list[str]:
    """The lines that are not make's own."""
    return [x for x in output.splitlines() if not x.startswith("make")]


def test_make_alone_prints_help(book):
    code, output = make(book)
    assert code == 0
    for target in ("book", "test", "train", "publish", "studies", "lab"):
        assert f"make {target} " in output
    assert make(book, "help") == (code, output)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("train", "RECPE=paper"), "RECPE"),
        (("studies", "RECIPE=laptop"), "RECIPE"),
        (("book", "SEED=1"), "SEED"),
        (("publish", "RUNS=laptop"), "RUNS"),
        (("RECPE=paper",), "RECPE"),
    ],
)
def test_unknown_variable_is_refused(book, arguments, text):
    code, output = make(book, *arguments)
    assert code and f"no such variable here: {text}." in output
    assert len(output.splitlines()) == 1


@pytest.mark.parametrize(
    ("only", "newer"),
    [
        ("", "--upgrade"),
        ("keras numpy", "--upgrade-package keras --upgrade-package numpy"),
    ],
)
def test_lock_moves_all_or_what_is_named(book, only, newer):
    """Printed, and not run."""
    code, output = make(book, "-n", "lock", f"ONLY={only}")
    words = " ".join(shlex.split(output.replace("\\\n", "")))
    assert code == 0
    assert words.count(f"--python-version 3.11 {newer} --group") == 2


def test_lock_refuses_a_name_that_is_not_pinned(book):
    code, output = make(book, "-n", "lock", "ONLY=keras kears")
    assert code and "no kears is pinned" in output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("train", "RECIPE=latpop"), "unknown recipe 'latpop'"),
        (("train", "RECIPE=a'b $$(exit) c"), "unknown recipe \"a'b $(exit)"),
        (("train", "MODELS=vit,ls"), "unknown model 'ls'"),
        (("train", "SEED=one"), "invalid int value: 'one'"),
        (("train", "SEED=-1"), "seed -1 is negative"),
        (("train", "VITSD_DATA_DIR=/nowhere"), "/nowhere does not hold"),
        (("train", "RECIPE=quick", "PUBLISH=1"), "no place for quick, vit"),
        (("run", "NB=01_patch"), "no chapter 01_patch; there are 01_patches"),
        (("publish",), "give the run"),
        (("publish", "RUN=laptop"), "the run 'laptop' is not there"),
    ],
)
def test_wrong_value_is_one_line(book, arguments, text):
    code, output = make(book, *arguments)
    assert code and text in output
    assert len(own_lines(output)) == 1, output
    assert not list(book.glob("runs/*"))


def test_what_is_checked_first_does_not_wait_for_a_backend(book):
    """Importing TensorFlow takes longer than a reader waits for a typo."""
    code = (
        "import sys; sys.path.insert(0, 'book/tools');"
        "import chapter5, experiments;"
        "chapter5.check('quick', 'vit,sl', 0);"
        "chapter5.check_place('laptop', 'vit', 0);"
        "experiments.show(experiments.chosen(['factorial']), each=True);"
        "slow = {'keras', 'tensorflow', 'torch', 'jax'} & set(sys.modules);"
        "sys.exit(f'{slow} imported' if slow else 0)"
    )
    command = [ROOT / ".venv" / "bin" / "python", "-c", code]
    done = subprocess.run(
        command, cwd=book, env=environment(book), capture_output=True
    )
    assert done.returncode == 0, done.stderr
    shutil.rmtree(book / "runs")


@pytest.mark.parametrize(
    ("words", "all_of_them"),
    [
        (("test",), False),
        (("test", "SLOW=0"), False),
        (("test", "SLOW=1"), True),
        (("test-all",), True),
    ],
)
def test_slow_tests_wait_until_they_are_asked_for(book, words, all_of_them):
    code, output = make(book, "-n", *words)
    assert code == 0 and "-m pytest -v -n 2" in output
    assert ('-m "not heavy and not slow"' not in output) == all_of_them


def wait_for(process: subprocess.Popen, text: str) -> list[str]:
    """Lines up to one that holds the text."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(f"{text!r} did not come: {lines}")


def end(process: subprocess.Popen, with_signal: int) -> str:
    """Signal the whole group; what was still printed, within 8 seconds."""
    os.killpg(process.pid, with_signal)
    output, _ = process.communicate(timeout=8)
    return output


@pytest.mark.slow
def test_training_stopped_at_any_time_leaves_the_book_alone(book):
    """Ctrl-C while Python starts, kill -9 in the kernel, then to the end."""
    command = ("train", "RECIPE=quick", "MODELS=vit")
    process = start(book, *command)
    wait_for(process, "training vit with the recipe quick, seed 0")
    output = end(process, signal.SIGINT)
    assert "Traceback" not in output
    assert "Stopped. The same command goes on" in output
    assert len(own_lines(output)) <= 2, output
    process = start(book, *command)
    wait_for(process, "train (1438, ")
    code, output = make(book, *command)
    assert code and "quick-seed0 is being trained by another pr" in output
    assert len(own_lines(output)) == 1, output
    end(process, signal.SIGKILL)
    runs = book / "runs"
    assert [p.name for p in runs.iterdir()] == ["quick-seed0.part"]
    code, output = make(book, *command)
    assert code == 0 and "make publish RUN=quick-seed0" in output
    (folder,) = runs.iterdir()
    assert {p.name for p in folder.iterdir()} >= {
        "05_quick.ipynb",
        "quick-vit-seed0.json",
        "quick-vit-seed0.npz",
    }
    assert folder.name == "quick-seed0"
    record = json.loads((folder / "quick-vit-seed0.json").read_text("utf-8"))
    assert record["finished"] and record["parameters"] == 74_570
    code, output = make(book, "publish", "RUN=quick")
    assert code and "no place for quick, vit, seed 0" in output
    shutil.rmtree(runs)


def forge(book: Path, finished: bool = True, **changes) -> Path:
    """A run of the recipe laptop, made of what the book has of it."""
    folder = book / "runs" / "laptop-seed0"
    folder.mkdir(parents=True)
    results = book / "book" / "results"
    for path in (*results.glob("laptop-*"), *results.glob("weights/laptop-*")):
        shutil.copy(path, folder)
    path = folder / "laptop-sl-seed0.json"
    record = json.loads(path.read_text("utf-8")) | changes | {"seconds": 1.5}
    path.write_text(json.dumps(record | {"finished": finished}), "utf-8")
    shutil.copy(book / "notebooks" / "05_training.ipynb", folder)
    return folder


@pytest.fixture
def forged(book):
    yield lambda **changes: forge(book, **changes)
    shutil.rmtree(book / "runs")
    git(book, "checkout", "-q", ".")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"finished": False}, "is not finished"),
        ({"commit": "0" * 40 + "-dirty"}, "with changed files"),
        ({"commit": None}, "outside a git checkout"),
        ({"recipe_hash": "0" * 12}, "a recipe that has changed"),
    ],
)
def test_only_a_finished_run_of_the_book_is_published(
    book, forged, changes, text
):
    forged(**changes)
    code, output = make(book, "publish", "RUN=laptop")
    assert code and text in output
    assert len(own_lines(output)) == 1, output


def test_weights_of_another_run_do_not_stay_beside_a_record(book, forged):
    folder = forged()
    (folder / "laptop-vit-seed0.safetensors").unlink()
    code, output = make(book, "publish", "RUN=laptop")
    assert code and "laptop-vit-seed0 has no weights" in output
    assert "WEIGHTS=1" in output and len(own_lines(output)) == 1
    assert not git(book, "status", "--porcelain", "book").strip()


def test_finished_run_is_published(book, forged):
    forged()
    toc = book / "_toc.yml"
    listed = toc.read_text("utf-8")
    toc.write_text(
        listed.replace("      - file: book/runs/05_laptop\n", ""), "utf-8"
    )
    process = start(book, "publish", "RUN=laptop")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    changed = git(book, "status", "--porcelain").split()[1::2]
    assert set(changed) == {
        "book/results/laptop-sl-seed0.json",
        "book/runs/05_laptop.ipynb",
    }
    text = (book / "book" / "runs" / "05_laptop.ipynb").read_text("utf-8")
    assert "# The laptop run, cell by cell" in text
    assert toc.read_text("utf-8") == listed


def test_studies_without_a_choice_are_listed(book):
    code, output = make(book, "studies")
    assert code == 0
    assert "factorial: 24 of 24 runs have a record" in output
    assert "To start: make studies STUDIES=" in output
    assert "runs to do" not in output
    code, output = make(
        book, "studies", "DRY=1", "STUDIES=ladder, gpu", "SEEDS=1"
    )
    assert code == 0 and "seed 0" not in output
    for run in ("ladder-2, vit, seed 1: ", "paper, sl, seed 1: about "):
        assert run in output
    assert "factorial" not in output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("STUDIES=fectorial",), "unknown study 'fectorial': choose from fac"),
        (("STUDIES=ladder", "SEEDS=12"), "the seed 12: choose from 0, 1, 2."),
        (("STUDIES=ladder", "RECIPES=paper"), "the recipe paper: choose"),
        (("STUDIES=ladder", "SEEDS=x"), "invalid int value: 'x'"),
        (("STUDIES=ladder", "WORKERS=0"), "0 workers"),
        (("STUDIES=ladder", "VITSD_DATA_DIR=/nowhere"), "does not hold"),
    ],
)
def test_wrong_study_is_one_line(book, arguments, text):
    code, output = make(book, "studies", *arguments)
    assert code and text in output
    assert len(own_lines(output)) == 1, output


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_studies_are_stopped_quietly_with_all_their_children(book, tmp_path):
    for name, (size, _) in CIFAR100_FILES.items():
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    process = start(
        book,
        "studies",
        "STUDIES=ladder",
        "WORKERS=2",
        f"RESULTS={tmp_path / 'results'}",
        f"WORK={tmp_path / 'work'}",
        VITSD_DATA_DIR=str(tmp_path),
    )
    wait_for(process, "30 runs to do")

    def children() -> list[Path]:
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (path / "cmdline").read_bytes()
                if str(tmp_path).encode() in words and b"\0one\0" in words:
                    found.append(path)
        return found

    patience = time.monotonic() + 5
    while len(children()) < 2 and time.monotonic() < patience:
        time.sleep(0.05)
    assert len(children()) == 2
    for child in children():
        # Ctrl-C does not reach it, so it has no traceback to print.
        blocked = re.search(
            r"SigBlk:\s(\w+)", (child / "status").read_text("utf-8")
        )
        assert int(blocked[1], 16) & 1 << signal.SIGINT - 1
    output = end(process, signal.SIGINT)
    assert "Traceback" not in output
    assert "0 of 30 runs ended, 30 left." in output
    assert "The same command goes on" in output
    assert not children()
    assert git(book, "status", "--porcelain") == ""


def test_another_python_is_refused_not_ignored(book, tmp_path):
    other = tmp_path / "python 3.12"
    other.write_text("#!/bin/sh\necho 3.12.1\n", "utf-8")
    other.chmod(0o755)
    code, output = make(book, "help", f"PYTHON={other}")
    assert code and "is not the Python of .venv" in output
    assert "To have it: rm -r .venv" in output
    code, _ = make(book, "help", f"PYTHON={ROOT / '.venv/bin/python'}")
    assert code == 0
    code, output = make(book, "help", "PYTHON=/nowhere/python")
    assert code and "is not the Python of .venv" in output
