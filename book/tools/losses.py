"""Renew what chapter 14 reads where JAX is not installed.

Usage:
    python book/tools/losses.py

Executes the chapter, whose own cells then train on virtual devices, and
writes what they printed, with the versions, to
book/results/devices/losses.json. The chapter stays as it is.
"""

import json
import os
import sys
from importlib.util import find_spec

import nbformat
from nbclient import NotebookClient
from terminal import Parser, command

from notebooks import NOTEBOOKS, ROOT
from vitsd_helpers.evidence.records import versions

CHAPTER = NOTEBOOKS / "14_scaling_out.ipynb"
RECORD = ROOT / "book" / "results" / "devices" / "losses.json"
#: After this cell `alone` and `many` are the wide model's.
WIDE = "14-409"
KEEP = "wide = alone, many"
SAY = """
import json
print(json.dumps({
    "1": found[1],
    "8": found[8],
    "2 + 2": found["2 + 2"],
    "wide 1": wide[0],
    "wide 2 x 4": wide[1],
}))
"""


def measure() -> dict:
    """What the chapter's runs on several devices print, by entry."""
    notebook = nbformat.read(CHAPTER, as_version=4)
    place = [cell.id for cell in notebook.cells].index(WIDE) + 1
    notebook.cells.insert(place, nbformat.v4.new_code_cell(KEEP))
    notebook.cells.append(nbformat.v4.new_code_cell(SAY))
    folder = {"metadata": {"path": str(CHAPTER.parent)}}
    NotebookClient(notebook, resources=folder).execute()
    return json.loads(notebook.cells[-1].outputs[0].text)


def main() -> None:
    """Run the command line."""
    Parser(description=__doc__.split("\n")[0]).parse_args()
    if find_spec("jax") is None:
        sys.exit("It needs JAX: .venv/bin/pip install -c requirements.txt jax")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    print("Chapter 14, on virtual devices ...", flush=True)
    entries = measure() | {"versions": versions()}
    lines = [f" {json.dumps(k)}: {json.dumps(v)}" for k, v in entries.items()]
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
    print(f"written: {RECORD.relative_to(ROOT)}")


if __name__ == "__main__":
    command(main)
