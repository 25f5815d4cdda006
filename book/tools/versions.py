"""Sphinx: which versions the book asks for, is pinned to and was tried with.

The directive ``{versions}`` makes a table from `pyproject.toml`,
`requirements.txt` and the runtimes of Colab in colab.py.
"""

import tomllib
from pathlib import Path

from colab import RUNTIMES
from docutils import nodes
from drift import requirements
from packaging.requirements import Requirement
from packaging.version import Version
from records import RecordsDirective
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[2]
FILES = (ROOT / "pyproject.toml", ROOT / "requirements.txt")
PYTHON = ROOT / ".binder" / "runtime.txt"
PACKAGES = ("keras", "tensorflow", "numpy", "matplotlib")


def rows() -> list[tuple[str, ...]]:
    """The table, its header first."""
    project = tomllib.loads(FILES[0].read_text("utf-8"))["project"]
    wanted = by_name(
        *project["dependencies"],
        *project["optional-dependencies"]["tensorflow"],
    )
    pins = pinned()
    tried = [by_name(*runtime.packages) for runtime in RUNTIMES.values()]
    head = ("", "asked for", "pinned", *(f"Colab {x}" for x in RUNTIMES))
    pythons = [runtime.python for runtime in RUNTIMES.values()]
    ours = PYTHON.read_text("utf-8").strip().removeprefix("python-")
    found = [head, ("Python", project["requires-python"], ours, *pythons)]
    for package in PACKAGES:
        pin = " or ".join(pins[package])
        versions = (names[package].removeprefix("==") for names in tried)
        found.append((package, wanted[package] or "any", pin, *versions))
    return found


def pinned() -> dict[str, list[str]]:
    """The versions of each package: another Python may have another."""
    found: dict[str, set[str]] = {}
    for need in requirements():
        versions = found.setdefault(need.name.removesuffix("-cpu"), set())
        versions.update(pin.version for pin in need.specifier)
    return {name: sorted(some, key=Version) for name, some in found.items()}


def by_name(*requirements: str) -> dict[str, str]:
    """What is asked of each package; TensorFlow for the CPU is TensorFlow."""
    needs = map(Requirement, requirements)
    return {n.name.removesuffix("-cpu"): str(n.specifier) for n in needs}


class VersionsDirective(SphinxDirective):
    """``{versions}``: the table."""

    def run(self) -> list[nodes.Node]:
        """The nodes."""
        for path in (*FILES, PYTHON):
            self.env.note_dependency(str(path))
        return [RecordsDirective.table(rows())]


def setup(app):
    """Sphinx calls it."""
    app.add_directive("versions", VersionsDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
