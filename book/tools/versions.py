"""Sphinx: which versions the book asks for, is pinned to and was tried with.

The directive ``{versions}`` makes a table from `pyproject.toml`,
`requirements.txt` and the runtimes of Colab in colab.py.
"""

import re
import tomllib
from pathlib import Path

from colab import RUNTIMES
from docutils import nodes
from records import RecordsDirective
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[2]
FILES = (ROOT / "pyproject.toml", ROOT / "requirements.txt")
PACKAGES = ("keras", "tensorflow", "numpy", "matplotlib")


def rows() -> list[tuple[str, ...]]:
    """The table, its header first."""
    project = tomllib.loads(FILES[0].read_text())["project"]
    wanted = [
        *project["dependencies"],
        *project["optional-dependencies"]["tensorflow"],
    ]
    pinned = FILES[1].read_text()
    head = ("", "asked for", "pinned", *(f"Colab {x}" for x in RUNTIMES))
    pythons = [runtime.python for runtime in RUNTIMES.values()]
    found = [head, ("Python", project["requires-python"], "", *pythons)]
    for package in PACKAGES:
        pattern = re.compile(rf"^{package}(?:-cpu)?(==|>=|$)([\d.]*)", re.M)
        asked = next(m for x in wanted if (m := pattern.match(x)))
        pins = {m[2] for m in pattern.finditer(pinned) if m[1] == "=="}
        tried = (
            next(m[2] for x in runtime.packages if (m := pattern.match(x)))
            for runtime in RUNTIMES.values()
        )
        limit = "".join(asked.groups()) or "any"
        found.append((package, limit, ", ".join(sorted(pins)), *tried))
    return found


class VersionsDirective(SphinxDirective):
    """``{versions}``: the table."""

    def run(self) -> list[nodes.Node]:
        """The nodes."""
        for path in FILES:
            self.env.note_dependency(str(path))
        return [RecordsDirective.table(rows())]


def setup(app):
    """Sphinx calls it."""
    app.add_directive("versions", VersionsDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
