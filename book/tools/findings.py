"""Sphinx: what a chapter found, on other pages, as its cell printed it.

A cell with the tag `finding-NAME` prints a sentence as Markdown, from the
records. The directive ``{finding} NAME`` shows the stored sentence. A name
that no cell has, that two have, or whose cell prints no Markdown is an
error of the build.
"""

from pathlib import Path

import nbformat
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
TAG = "finding-"


def sentence(cell) -> str:
    """The Markdown that a cell printed."""
    data = (output.get("data", {}) for output in cell.get("outputs", ()))
    texts = ["".join(d["text/markdown"]) for d in data if "text/markdown" in d]
    return "\n\n".join(texts)


def read(folder: Path = NOTEBOOKS) -> dict[str, tuple[Path, str]]:
    """The notebook and the sentence of every finding, by name.

    Raises:
        ValueError: if two cells have one name, or a cell prints no
            Markdown.
    """
    found: dict[str, tuple[Path, str]] = {}
    for path in sorted(folder.glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            for tag in cell.metadata.get("tags", ()):
                if not tag.startswith(TAG):
                    continue
                name = tag.removeprefix(TAG)
                if name in found:
                    raise ValueError(
                        f"two cells have the tag {tag!r}, in "
                        f"{found[name][0].name} and {path.name}"
                    )
                text = sentence(cell)
                if not text:
                    raise ValueError(
                        f"the cell with the tag {tag!r} in {path.name} "
                        "prints no Markdown: use say() of "
                        "vitsd_helpers.display.tables, then make run"
                    )
                found[name] = path, text
    return found


class FindingDirective(SphinxDirective):
    """``{finding} NAME``: a sentence from the records."""

    required_arguments = 1

    def run(self):
        name = self.arguments[0]
        try:
            found = read()
        except ValueError as error:
            raise self.error(str(error)) from error
        if name not in found:
            raise self.error(
                f"no cell has the tag {TAG + name!r}; there are "
                f"{sorted(found)}"
            )
        path, text = found[name]
        self.env.note_dependency(str(path))
        lines = StringList(text.splitlines(), source=str(path))
        box = nodes.container(classes=["finding"])
        self.state.nested_parse(lines, self.content_offset, box)
        return [box]


def setup(app):
    """Sphinx calls it."""
    app.add_directive("finding", FindingDirective)
    return {"parallel_read_safe": True}
