"""Keep the notebooks: run them, make pages of executed copies.

Usage:
    python book/tools/notebooks.py run [NAME ...]

`run` executes notebooks in place. NAME is a file name without its ending,
such as 01_patches; without one, all are run. `publish` is chapter5.py's.
"""

import os
import re
from pathlib import Path

import nbformat
from address import absolute, colab_url, relative, repository
from nbclient import NotebookClient
from nbval.plugin import coalesce_streams
from terminal import Parser

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
RUNS = ROOT / "book" / "runs"
RUN_NOTE = """\
# The {recipe} run, cell by cell

This is [chapter 5](../../notebooks/05_training.ipynb) as papermill ran it
with the recipe `{recipe}`. The text and the code are the chapter's at the time
of the run, so its remarks on digits and on a minute are about the recipe
`quick`, and to copy code take the chapter; the outputs are this run's. Where
the text foretells minutes or accuracies, [the records](../results.md) have the
true ones.

## The chapter
"""
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)]+)\)")
BADGE = "[![Open in Colab](../book/_static/colab.svg)]({url})"
BADGE_PATTERN = re.compile(r"\[!\[Open in Colab\]\([^)]*\)\]\([^)]*\)")
INSTALL = """\
# In Colab, install the book's helper package; elsewhere do nothing.
import sys

if "google.colab" in sys.modules:
    %pip install -q "git+{repository}@{branch}"
"""
INSTALL_TAG = "colab-install"
KERNEL = {
    "display_name": "Python 3",
    "language": "python",
    "name": "python3",
}


def linked() -> list[Path]:
    """The notebooks that hold the repository's address: chapters and runs."""
    return sorted(NOTEBOOKS.glob("*.ipynb")) + sorted(RUNS.glob("*.ipynb"))


def link(path: Path, notebook) -> None:
    """Set badge, install cell and links to other pages, in place.

    Raises:
        ValueError: if a chapter has no badge in its first cell, or any
            notebook no install cell.
    """
    url, branch = repository()
    first = notebook.cells[0]
    badge = BADGE.format(url=colab_url(path))
    first.source, found = BADGE_PATTERN.subn(badge, first.source)
    install = [
        c for c in notebook.cells if INSTALL_TAG in c.metadata.get("tags", ())
    ]
    # A run is a record, with no badge of its own.
    if found != (path.parent == NOTEBOOKS) or len(install) != 1:
        raise ValueError(
            f"{path.name} needs one Colab badge in its first cell and one "
            f"cell tagged {INSTALL_TAG!r}."
        )
    text = INSTALL.format(repository=url, branch=branch)
    install[0].source = text.strip()
    install[0].metadata["mystnb"] = {
        "code_prompt_show": "In Colab: install the book's package"
    }
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = absolute(relative(cell.source, path), path)


def tidy(notebook) -> None:
    """Remove what changes from run to run and is no output, in place."""
    notebook.metadata = {
        "kernelspec": KERNEL,
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        cell.metadata.pop("papermill", None)
        if "outputs" in cell:  # a slow machine sends one text in pieces
            cell.outputs = coalesce_streams(cell.outputs)
        if "outputs" in cell:
            # A progress that has ended leaves an output without data.
            cell.outputs = [o for o in cell.outputs if o.get("data") != {}]
        for output in cell.get("outputs", ()):
            output.pop("metadata", None)
            if output.output_type in ("display_data", "execute_result"):
                output.metadata = {}


def run(path: Path) -> None:
    """Execute a notebook from top to bottom, in place."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    tidy(notebook)
    nbformat.write(notebook, path)


def publish(path: Path, page: Path, target: Path) -> None:
    """Make a page of the site of a chapter 5 that papermill executed.

    Links are turned to where the page lies, and the badge gives way to a
    note.

    Args:
        path: the executed notebook.
        page: the page's name in the book, 05_RECIPE.ipynb.
        target: where to write it, so that it can be renamed to `page`.
    """
    notebook = nbformat.read(path, as_version=4)
    tidy(notebook)
    first, *others = (c for c in notebook.cells if c.cell_type == "markdown")
    for cell in (first, *others):
        cell.source = LINK.sub(
            lambda match: "](" + relink(match[1], page.parent) + ")",
            cell.source,
        )
    _, _, text = first.source.partition("\n")
    note = RUN_NOTE.format(recipe=page.stem.removeprefix("05_"))
    first.source = note + BADGE_PATTERN.sub("", text).lstrip()
    nbformat.write(notebook, target)


def relink(target: str, folder: Path) -> str:
    """A link of notebooks/, as it reads from another folder."""
    absolute = (NOTEBOOKS / target).resolve()
    return Path(os.path.relpath(absolute, folder.resolve())).as_posix()


def main() -> None:
    """Run the command line."""
    parser = Parser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run")
    runner.add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    known = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    if unknown := set(arguments.names) - set(known):
        parser.error(
            f"no chapter {', '.join(sorted(unknown))}; there are "
            f"{', '.join(known)}"
        )

    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    for name in sorted(arguments.names or known):
        print(f"{name} ...", flush=True)
        run(NOTEBOOKS / f"{name}.ipynb")


if __name__ == "__main__":
    main()
