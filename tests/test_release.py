"""A release: two commits, a tag, and files that belong together."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
IGNORED = (".git", ".venv", "_build", "data", ".checkpoints", "*_cache")
TOOL = "book/tools/release.py"


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", folder, *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def prepare(folder: Path, version: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, TOOL, "prepare", version],
        cwd=folder,
        capture_output=True,
        text=True,
    )


def publish(folder: Path) -> None:
    """Give the book an address and commit all, by somebody."""
    path = folder / "_config.yml"
    path.write_text(
        path.read_text("utf-8").replace("/OWNER/", "/ada/"), "utf-8"
    )
    write = [sys.executable, "book/tools/address.py", "write"]
    subprocess.run(write, cwd=folder, check=True)
    for key, value in (("name", "Ada"), ("email", "ada@localhost")):
        git(folder, "config", f"user.{key}", value)
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "Published")


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """A published copy of the book, under git."""
    folder = tmp_path_factory.mktemp("release") / "book"
    ignore = shutil.ignore_patterns(*IGNORED, "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, folder, ignore=ignore)
    path = folder / "_config.yml"
    text = path.read_text("utf-8")
    # The tests run at a tag, too, where the branch is the tag's name and all
    # changes are of a release.
    path.write_text(re.sub(r"(?m)^(  branch: ).*$", r"\1main", text), "utf-8")
    path = folder / "CHANGELOG.md"
    text = path.read_text("utf-8")
    if "## Unreleased" not in text:
        text = text.replace("\n## ", "\n## Unreleased\n\nWork.\n\n## ", 1)
        path.write_text(text, "utf-8")
    git(folder, "init", "-q", "-b", "main")
    publish(folder)
    return folder


@pytest.fixture(scope="module")
def released(repository) -> Path:
    done = prepare(repository, "3.1.4")
    assert done.returncode == 0, done.stderr
    assert "git push origin main v3.1.4" in done.stdout
    return repository


def show(folder: Path, name: str) -> str:
    return git(folder, "show", name)


def test_notebooks_of_a_release_install_that_release(released):
    chapter = show(released, "v3.1.4:notebooks/01_patches.ipynb")
    assert "@v3.1.4" in chapter and "/blob/v3.1.4/" in chapter
    assert "@main" not in chapter and "/blob/main/" not in chapter
    run = show(released, "v3.1.4:book/runs/05_laptop.ipynb")
    assert "@v3.1.4" in run


def test_main_installs_main(released):
    chapter = show(released, "main:notebooks/01_patches.ipynb")
    assert "@main" in chapter and "v3.1.4" not in chapter
    # Nothing else is undone.
    changed = git(released, "diff", "--name-only", "main~2", "main").split()
    assert set(changed) == {
        ".zenodo.json",
        "CHANGELOG.md",
        "CITATION.cff",
        "book/references.md",
        "vitsd_helpers/__init__.py",
    }


def test_version_is_in_every_place(released):
    init = show(released, "v3.1.4:vitsd_helpers/__init__.py")
    assert '__version__ = "3.1.4"' in init
    citation = show(released, "v3.1.4:CITATION.cff")
    assert "\nversion: 3.1.4\ndate-released: 20" in citation
    zenodo = json.loads(show(released, "v3.1.4:.zenodo.json"))
    assert zenodo["version"] == "3.1.4"
    references = show(released, "v3.1.4:book/references.md")
    assert "{Version 3.1.4, 20" in references
    assert "## 3.1.4 (20" in show(released, "v3.1.4:CHANGELOG.md")
    assert "## Unreleased\n\nNothing yet." in show(
        released, "main:CHANGELOG.md"
    )


@pytest.mark.parametrize(
    ("version", "said"),
    [("3.1", "no version such as"), ("3.1.4", "a tag v3.1.4 already")],
)
def test_a_release_that_cannot_be_is_refused(released, version, said):
    done = prepare(released, version)
    assert done.returncode == 1 and said in done.stderr


def test_changes_are_not_swept_along(released):
    path = released / "README.md"
    stored = path.read_text("utf-8")
    path.write_text(stored + "\n", "utf-8")
    done = prepare(released, "3.2.0")
    path.write_text(stored, "utf-8")
    assert done.returncode == 1 and "Commit or discard" in done.stderr


def test_what_git_refuses_is_said_with_the_way_back():
    import release

    with pytest.raises(
        RuntimeError, match=r"(?s)git nosuch refused.*git restore"
    ):
        release.git("nosuch")


def test_a_release_says_what_changed(released):
    """After one, nothing has changed yet."""
    done = prepare(released, "3.1.5")
    assert done.returncode == 1
    assert "CHANGELOG.md says nothing under ## Unreleased" in done.stderr
    assert git(released, "tag", "--list", "v3.1.5") == ""


@pytest.mark.heavy
def test_the_tests_hold_at_a_tag(tmp_path):
    """Where the branch is the tag's name, and nothing is unreleased."""
    folder = tmp_path / "book"
    git(ROOT, "clone", "-q", str(ROOT), str(folder))
    publish(folder)
    assert prepare(folder, "0.9.9").returncode == 0
    git(folder, "checkout", "-q", "v0.9.9")
    tests = [
        f"tests/test_{name}.py" for name in ("address", "book", "release")
    ]
    options = ["-q", "-p", "no:cacheprovider", "-m", "not heavy"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:]
