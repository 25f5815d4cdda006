"""pytest and nbval for the book.

Four things that nbval does not do: it compares figures, it takes a cell
tag `rtol-0.01` that lets close numbers pass while the words stay exact, it
runs the solution of every exercise after the notebook that sets it, and it
writes a page of the outputs that moved (book/tools/drift.py). And where
workers share the files, the longest come first.
"""

import base64
import io
import os
import re
import sys
from collections import Counter
from pathlib import Path

# Before TensorFlow is imported, here or in a notebook's kernel: the stored
# outputs were made so, and its start-up messages would differ.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from nbformat import NotebookNode
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile
from PIL import Image

ROOT = Path(__file__).parent
sys.path.append(str(ROOT / "book" / "tools"))
import drift  # noqa: E402

#: Largest root-mean-square difference of two figures, on 0..255.
FIGURE_LIMIT = 1.0
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
TEXTS = {"text/plain", "text/html", "text/markdown"}
#: Files that take longest, the longest first.
LONGEST = (
    "test_site",
    "10_your_own_pictures",
    "11_the_example_revisited",
    "14_scaling_out",
    "05_training",
    "test_launch",
    "test_devices",
)
SOLUTION = re.compile(r"<details>.*?```python\n(.*?)```", re.DOTALL)

os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
)
collect_ignore_glob = ["book/*", "_build/*"]
# The stored outputs are TensorFlow's.
if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
    collect_ignore_glob.append("notebooks/*")


def figures(outputs) -> list[str]:
    """The base64 PNGs of a cell's outputs, in order."""
    data = (output.get("data", {}) for output in outputs)
    return [d["image/png"] for d in data if "image/png" in d]


def figure_distance(one: str, other: str) -> float:
    """RMS difference of two base64 PNGs, averaged down to 64 x 64."""

    def thumbnail(png):
        picture = Image.open(io.BytesIO(base64.b64decode(png)))
        pixels = picture.convert("RGBa")  # colour times opacity
        small = pixels.resize((64, 64), Image.Resampling.BOX)
        return picture.size, np.asarray(small, "float64")

    size, pixels = thumbnail(one)
    other_size, other_pixels = thumbnail(other)
    if size != other_size:
        return float("inf")
    return float(np.sqrt(np.mean((pixels - other_pixels) ** 2)))


def snap(text: str, reference: str, rtol: float) -> str:
    """`reference`, if `text` has its words and, within rtol, its numbers."""
    if NUMBER.split(text) != NUMBER.split(reference):
        return text
    pairs = zip(NUMBER.findall(text), NUMBER.findall(reference), strict=True)
    near = (abs(float(a) - float(b)) <= rtol * abs(float(b)) for a, b in pairs)
    return reference if all(near) else text


def snap_outputs(outputs, references, rtol: float) -> None:
    """Apply `snap` to the text of each output, in place."""
    for output, reference in zip(outputs, references, strict=False):
        if "text" in output and "text" in reference:
            output.text = snap(output.text, reference.text, rtol)
        ours, theirs = output.get("data", {}), reference.get("data", {})
        for kind in ours.keys() & theirs.keys() & TEXTS:
            ours[kind] = snap(ours[kind], theirs[kind], rtol)


def solutions(notebook) -> list[str]:
    """The code of the folded solutions in a notebook's prose."""
    prose = (c.source for c in notebook.cells if c.cell_type == "markdown")
    return [code for text in prose for code in SOLUTION.findall(text)]


def pytest_collection_modifyitems(config, items) -> None:
    """Put the longest files first, so that all workers end together.

    xdist sorts files by their number of tests, and pytest leaves notebooks
    to the end; so pyproject.toml asks xdist to keep this order.
    """
    if not hasattr(config, "workerinput"):
        return
    counts = Counter(item.path for item in items)

    def place(item):
        known = item.path.stem in LONGEST
        rank = LONGEST.index(item.path.stem) if known else len(LONGEST)
        return rank, -counts[item.path], str(item.path)

    items.sort(key=place)


nbval_compare = IPyNbCell.compare_outputs
nbval_collect = IPyNbFile.collect


def complaint(ours: list[str], theirs: list[str]) -> str:
    """How new figures differ from the stored ones; "" if they do not."""
    if len(ours) != len(theirs):
        return f"{len(ours)} figures drawn, {len(theirs)} stored"
    for number, pair in enumerate(zip(ours, theirs, strict=True), 1):
        distance = figure_distance(*pair)
        if distance > FIGURE_LIMIT:
            return (
                f"figure {number} differs from the stored one: RMS "
                f"{distance:.2f}, limit {FIGURE_LIMIT}"
            )
    return ""


def report_folder(config) -> Path:
    """Where the page of the outputs that moved lies."""
    return config.rootpath / "_build" / "drift"


def compare_outputs(self, test, ref, skip_compare=None) -> bool:
    """Compare as nbval does, then the figures."""
    for tag in self.cell.metadata.get("tags", ()):
        if tag.startswith("rtol-"):
            snap_outputs(test, ref, float(tag.removeprefix("rtol-")))
    same = nbval_compare(self, test, ref, skip_compare)
    ours, theirs = figures(test), figures(ref)
    said = complaint(ours, theirs)
    if same and said:
        self.comparison_traceback.append(said)
    if not same or said:
        drift.keep(
            report_folder(self.config),
            self.nodeid,
            self.cell.source,
            (ref, test),
            (theirs, ours),
        )
    return same and not said


def pytest_sessionstart(session) -> None:
    """Empty the page of what moved."""
    if not hasattr(session.config, "workerinput"):  # no worker of xdist
        drift.start(report_folder(session.config))


def pytest_terminal_summary(terminalreporter, config) -> None:
    """Say where the page of what moved lies."""
    stats = terminalreporter.stats
    reports = [*stats.get("failed", ()), *stats.get("error", ())]
    failed = {report.nodeid: report.longreprtext for report in reports}
    path = drift.finish(
        report_folder(config), failed, passed=len(stats.get("passed", ()))
    )
    if path:
        terminalreporter.write_line(f"What moved: {path}", yellow=True)


def collect(self):
    """The cells of a notebook, then its solutions."""
    cells = list(nbval_collect(self))
    yield from cells
    for number, code in enumerate(solutions(self.nb), 1):
        cell = NotebookNode(
            source=code, outputs=[], execution_count=None, metadata={}
        )
        yield IPyNbCell.from_parent(
            self,
            name=f"Solution {number}",
            cell_num=len(cells) + number - 1,
            cell=cell,
            options={"check": False, "skip": False, "check_exception": False},
        )


def stop(self) -> None:
    """Let a kernel end by itself: killed, it cannot say which lines ran."""
    self.km.shutdown_kernel()
    self.kc.stop_channels()
    del self.km


if "COVERAGE_PROCESS_CONFIG" in os.environ:
    RunningKernel.stop = stop
IPyNbCell.compare_outputs = compare_outputs
IPyNbFile.collect = collect
