"""Sphinx: the chapters as cards, for the first page.

    ```{chapters}
    notebooks/01_patches: an image becomes a sequence.
    ```

Each line is a page and what it is about. Its number and name are read from
the page, the minutes that a chapter says it takes to read, and whether it
has a live figure; its thumbnail is `_static/cards/NAME.svg`.
"""

import json
import re
from pathlib import Path

from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

STILL = "/stills/live-"
#: What a chapter says after "Time", up to what the cells take.
TIME = re.compile(r"\*\*Time\*\*:\s+([^;.]+?)(?:\s+to\s+read)?[;.]")
#: Minutes, as chapters say them.
SAID = {
    "ten minutes": 10,
    "a quarter of an hour": 15,
    "twenty minutes": 20,
    "twenty-five minutes": 25,
    "half an hour": 30,
    "three quarters of an hour": 45,
    "an hour": 60,
}

CARD = """\
::::{{grid-item-card}} {title}
:img-top: {thumbnail}
:link: /{page}
:link-type: doc
:class-card: chapter-card

{about}

:::{{card-footer}}
{footer}
:::
::::"""


def read_page(path: Path) -> str:
    """The prose of a notebook or a page of Markdown."""
    if path.suffix == ".md":
        return path.read_text("utf-8")
    cells = json.loads(path.read_text("utf-8"))["cells"]
    sources = (c["source"] for c in cells if c["cell_type"] == "markdown")
    return "\n\n".join("".join(source) for source in sources)


def name_of(prose: str) -> str:
    """The first heading without a number and what follows its colon.

    Raises:
        ValueError: if there is no heading.
    """
    found = re.search(r"^# (?:\d+\W+)?([^:\n]+)", prose, re.MULTILINE)
    if not found:
        raise ValueError("a page on a card needs a heading, '# Name'.")
    return found[1].strip()


def minutes(prose: str) -> int:
    """How long a chapter says that it takes to read.

    Raises:
        ValueError: if it does not say so, or in words that are unknown.
    """
    found = TIME.search(prose)
    if not found:
        raise ValueError("a chapter says how long it takes, '**Time**: ...'.")
    said = " ".join(found[1].split())
    if said not in SAID:
        raise ValueError(f"'**Time**: {said}' is none of {list(SAID)}.")
    return SAID[said]


def card(source: Path, page: str, about: str) -> str:
    """The Markdown of one card.

    Raises:
        FileNotFoundError: if the source has no such page.
        ValueError: see `name_of` and `minutes`.
    """
    paths = [source / f"{page}{suffix}" for suffix in (".ipynb", ".md")]
    path = next(filter(Path.exists, paths), None)
    if path is None:
        raise FileNotFoundError(f"there is no page {page} for a card.")
    prose = read_page(path)
    number = re.match(r"(\d+)_", path.name)
    footer = [f"{minutes(prose)} min"] if number else []
    if STILL in prose:
        footer.append("**live**")
    title = f"{int(number[1])} · " if number else ""
    return CARD.format(
        title=title + name_of(prose),
        thumbnail=f"/book/_static/cards/{path.stem}.svg",
        page=page,
        about=about[:1].upper() + about[1:],
        footer=" · ".join(footer),
    )


class Chapters(SphinxDirective):
    """A grid of cards; see the module."""

    has_content = True

    def run(self) -> list:
        cards = []
        for line in filter(str.strip, self.content):
            page, _, about = line.partition(":")
            try:
                cards.append(
                    card(Path(self.env.srcdir), page.strip(), about.strip())
                )
            except (FileNotFoundError, ValueError) as error:
                raise self.error(str(error)) from error
            for suffix in (".ipynb", ".md"):
                self.env.note_dependency(f"{page.strip()}{suffix}")
        grid = [
            ":::::{grid} 1 2 2 3",
            ":gutter: 3",
            ":class-container: chapter-cards",
            "",
            *"\n\n".join(cards).splitlines(),
            ":::::",
        ]
        return self.parse_text_to_nodes(StringList(grid, source=""))


def setup(app):
    """Sphinx calls it."""
    app.add_directive("chapters", Chapters)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
