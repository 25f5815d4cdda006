"""Run the chapters as Colab would: the notebook alone, Colab's versions.

    python book/tools/colab.py [NAME ...] [--runtime 2026.08]
    python book/tools/colab.py [NAME ...] --here

Each chapter starts in an empty folder, in a kernel in which `google.colab`
is imported, and its install cell installs the helper package from what lies
here, by git. `--here` takes the running Python as it is, which is how the
chapters run inside Colab's own image; without it an environment with the
versions of a runtime is made in `_build/colab`.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from address import repository

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
ENVIRONMENTS = ROOT / "_build" / "colab"
#: What the helper package is built from.
FILES = [
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "vitsd_helpers",
    "book/results",
]
STARTUP = """\
import sys, types
sys.modules["google.colab"] = types.ModuleType("google.colab")
"""
RUN = """\
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, kernel_name="python3", timeout=1800).execute()
"""
#: Where an environment has its programs.
BIN = "Scripts" if os.name == "nt" else "bin"
X86_LINUX = (platform.system(), platform.machine()) == ("Linux", "x86_64")
TENSORFLOW = "tensorflow-cpu" if X86_LINUX else "tensorflow"


@dataclass(frozen=True)
class Runtime:
    """Versions of a runtime of Colab, of what the chapters use."""

    python: str
    packages: tuple[str, ...]


_COMMON: tuple[str, ...] = (
    "ipykernel==6.17.1",
    "ipython==7.34.0",
    "matplotlib==3.10.0",
)
_COMMON += ("scikit-learn==1.6.1", "scikit-image", "nbclient", "nbformat")
_COMMON += ("safetensors", "tqdm")
#: From Colab's own list of versions, googlecolab/backend-info.
RUNTIMES = {
    "2026.08": Runtime(
        "3.13",
        (
            f"{TENSORFLOW}==2.20.0",
            "keras==3.13.2",
            "numpy==2.1.3",
            "scipy==1.16.3",
            "pillow==11.3.0",
            *_COMMON,
        ),
    ),
    # The oldest that the book supports.
    "2026.04": Runtime(
        "3.12",
        (f"{TENSORFLOW}==2.19.0", "keras==3.10.0", "numpy==2.0.2", *_COMMON),
    ),
}


def find_python(version: str) -> str:
    """A Python of pyenv, or the version, for uv to find or to download."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    every = root.glob(f"versions/{version}.*/bin/python")
    # Neither a candidate nor a build without the lock.
    released = re.compile(r"\d+(\.\d+)+")
    found = [p for p in every if released.fullmatch(p.parts[-3])]

    def numbers(path: Path) -> list[int]:
        return [int(n) for n in re.findall(r"\d+", path.parts[-3])]

    return str(max(found, key=numbers, default=version))


def make_environment(name: str) -> Path:
    """An environment with a runtime's versions; its Python.

    Made once, and anew when the versions in `RUNTIMES` changed.

    As in a new runtime, the helper package is not there: pip would keep that
    of an earlier run, of whatever commit.

    Raises:
        subprocess.CalledProcessError: if its Python or its packages cannot
            be found; uv says which.
    """
    runtime = RUNTIMES[name]
    folder = ENVIRONMENTS / name
    python = folder / BIN / "python"
    ready = folder / "ready"
    wanted = "\n".join((runtime.python, *runtime.packages)) + "\n"
    if not ready.exists() or ready.read_text("utf-8") != wanted:
        uv = [sys.executable, "-m", "uv"]
        shutil.rmtree(folder, ignore_errors=True)
        chosen = ["--python", find_python(runtime.python)]
        make = [*uv, "venv", "-q", "--seed", *chosen, str(folder)]
        subprocess.run(make, check=True)
        install = ["pip", "install", "-q", "--python", str(python)]
        subprocess.run([*uv, *install, *runtime.packages], check=True)
        ready.write_text(wanted, "utf-8")
    remove = ["uninstall", "-qq", "-y", "vitsd-helpers"]
    subprocess.run([python, "-m", "pip", *remove], check=True)
    return python


def publish(folder: Path) -> None:
    """Make a git repository with the branch that chapters install from."""
    folder.mkdir(parents=True)
    for name in FILES:
        source = ROOT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy(source, folder / name)
    git = ["git", "-C", str(folder)]
    identity = ["-c", "user.name=book", "-c", "user.email=book@localhost"]
    branch = repository()[1]
    subprocess.run([*git, "init", "-q", "-b", branch], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, *identity, "commit", "-qm", "book"], check=True)


def environment(published: Path, startup: Path, home: Path) -> dict[str, str]:
    """Variables for a kernel that takes itself for Colab's.

    Args:
        published: repository that stands for the one on GitHub.
        startup: folder for what Python runs first.
        home: folder for IPython's files.
    """
    startup.mkdir(exist_ok=True)
    (startup / "sitecustomize.py").write_text(STARTUP, "utf-8")
    kept = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"}
    return {
        **kept,
        "PYTHONPATH": str(startup),
        "KERAS_BACKEND": "tensorflow",  # as in Colab
        "JUPYTER_PATH": "",
        "IPYTHONDIR": str(home),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{published.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": repository()[0],
    }


def frozen(python: Path, variables: dict[str, str]) -> set[str]:
    """What is installed, a line each."""
    done = subprocess.run(
        [python, "-m", "pip", "freeze"],
        env=variables,
        check=True,
        capture_output=True,
        text=True,
    )
    return set(done.stdout.splitlines())


def run_all(python: Path, names: Iterable[str]) -> int:
    """Run chapters, one after the other.

    Returns:
        How many failed, one more if installing the helper package moved
        another.
    """
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        publish(place / "published")
        variables = environment(
            place / "published", place / "startup", place / "ipython"
        )
        before = frozen(python, variables)
        for name in names:
            content = place / name
            content.mkdir()
            notebook = f"{name}.ipynb"
            shutil.copy(NOTEBOOKS / notebook, content / notebook)
            start = time.perf_counter()
            done = subprocess.run(
                [python, "-c", RUN, notebook],
                cwd=content,
                env=variables,
                capture_output=True,
                text=True,
            )
            seconds = time.perf_counter() - start
            outcome = "FAILED" if done.returncode else "runs"
            print(f"{name:32} {outcome:7} {seconds:5.0f} s", flush=True)
            if done.returncode:
                failures += 1
                print(done.stderr[-3000:], flush=True)
        after = frozen(python, variables)
    ours = {line for line in after - before if "vitsd" in line}
    moved = sorted((after ^ before) - ours)
    if moved:
        print("Installing the helper package moved", *moved, sep="\n  ")
    return failures + bool(moved)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--here", action="store_true")
    parser.add_argument("--runtime", choices=RUNTIMES, default="2026.08")
    arguments = parser.parse_args()
    known = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    unknown = set(arguments.names) - set(known)
    if unknown:
        parser.error(
            f"no chapter {', '.join(sorted(unknown))}; there are "
            f"{', '.join(known)}"
        )
    if arguments.here:
        python = Path(sys.executable)
    else:
        python = make_environment(arguments.runtime)
    sys.exit(run_all(python, arguments.names or known))


if __name__ == "__main__":
    main()
