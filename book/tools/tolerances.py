"""Sphinx: the cells of the chapters whose numbers may differ a little.

A cell with the tag `rtol-0.01` passes where each of its numbers is within
one part in a hundred of the stored one (conftest.py). The directive
``{tolerances}`` lists the tags, and in which chapters they are.
"""

import re
from collections import Counter
from pathlib import Path

import nbformat
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
TAG = re.compile(r"rtol-(.+)")


def read(folder: Path = NOTEBOOKS) -> dict[float, Counter[int]]:
    """How many cells of each chapter have each tolerance, tightest first."""
    found: dict[float, Counter[int]] = {}
    for path in sorted(folder.glob("*.ipynb")):
        chapter = int(path.name.partition("_")[0])
        for cell in nbformat.read(path, as_version=4).cells:
            for tag in filter(TAG.fullmatch, cell.metadata.get("tags", ())):
                rtol = float(tag.removeprefix("rtol-"))
                found.setdefault(rtol, Counter())[chapter] += 1
    return dict(sorted(found.items()))


class TolerancesDirective(SphinxDirective):
    """``{tolerances}``: a table of the tags and their cells."""

    def run(self):
        lines = ["| tag | cells | in chapter |", "|---|---|---|"]
        for rtol, cells in read().items():
            places = ", ".join(
                f"{chapter} ({count})" if count > 1 else str(chapter)
                for chapter, count in cells.items()
            )
            lines.append(f"| `rtol-{rtol}` | {cells.total()} | {places} |")
        for path in NOTEBOOKS.glob("*.ipynb"):
            self.env.note_dependency(str(path))
        return self.parse_text_to_nodes(StringList(lines, source=""))


def setup(app):
    """Sphinx calls it."""
    app.add_directive("tolerances", TolerancesDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
