"""Pages of our own with the book's live figures, for tests in a browser."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from browser import serve

STATIC = Path(__file__).parents[1] / "book" / "_static"


@contextlib.contextmanager
def serve_figures(folder: Path, **pages: str) -> Iterator[str]:
    """Serve pages, by name without its suffix, beside scripts and stills.

    Args:
        folder: empty; the pages are written into it.
        pages: the HTML of each.

    Yields:
        The address, without a slash at the end.
    """
    for name in ("live", "stills"):
        (folder / name).symlink_to(STATIC / name)
    for name, html in pages.items():
        (folder / f"{name}.html").write_text(html, "utf-8")
    with serve(folder) as address:
        yield address


def open_figure(page, address: str, kind: str):
    """The page at an address, once its live figure is there."""
    page.goto(address)
    page.locator(f".live-{kind}").wait_for()
    return page
