"""The checks themselves: what nbval and conftest.py let pass, what not."""

import base64
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import drift
import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from PIL import Image

import conftest

ROOT = Path(__file__).parents[1]
FIGURE = """\
import matplotlib.pyplot as plt
plt.plot([1, 2, {last}])
plt.show()"""
SENTENCE = """\
from vitsd_helpers.display.tables import say
say("{0} leads by **{1} points**")"""
TABLE = """\
from vitsd_helpers.display.tables import table
table({{"model": "", "top-1": ".2f"}}, [("ViT", {0})])"""
SOLUTION = """\
<details>
<summary>Solution</summary>

```python
assert {claim}
```

</details>"""

#: Name, source as stored, source as run later, tags, does it still pass?
CASES = [
    ("same", "print('a 1.00')", "print('a 1.00')", [], True),
    ("number", "print('a 1.00')", "print('a 1.01')", [], False),
    ("near", "print('a 1.00')", "print('a 1.01')", ["rtol-0.02"], True),
    ("far", "print('a 1.00')", "print('a 1.09')", ["rtol-0.02"], False),
    ("word", "print('a 1.00')", "print('b 1.00')", ["rtol-0.02"], False),
    ("value", "0.5", "0.501", ["rtol-0.01"], True),
    ("missing", "print('a')", "pass", [], False),
    (
        "figure",
        FIGURE.format(last=3),
        FIGURE.format(last=3.0000001),
        [],
        True,
    ),
    ("moved", FIGURE.format(last=3), FIGURE.format(last=2.5), [], False),
    ("gone", FIGURE.format(last=3), "pass", [], False),
    (
        "sentence",
        SENTENCE.format("SPT", 1.00),
        SENTENCE.format("SPT", 1.01),
        ["rtol-0.02"],
        True,
    ),
    (
        "sentence far",
        SENTENCE.format("SPT", 1.00),
        SENTENCE.format("SPT", 1.01),
        [],
        False,
    ),
    (
        "sentence word",
        SENTENCE.format("SPT", 1.00),
        SENTENCE.format("LSA", 1.00),
        ["rtol-0.02"],
        False,
    ),
    ("table", TABLE.format(1.00), TABLE.format(1.001), [], True),
    ("cell", TABLE.format(1.00), TABLE.format(1.01), [], False),
    ("cell near", TABLE.format(1.00), TABLE.format(1.01), ["rtol-0.02"], True),
    ("raises", "pass", "1 / 0", [], False),
]


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> tuple[str, Path]:
    """The cases as one notebook, whose cells changed after storing.

    What pytest said, and the folder of its page.
    """
    path = tmp_path_factory.mktemp("drift") / "drift.ipynb"
    cells = []
    for _, stored, _, tags, _ in CASES:
        cells.append(new_code_cell(stored, metadata={"tags": tags}))
    for claim in ("1 + 1 == 2", "1 + 1 == 3"):
        cells.append(new_markdown_cell(SOLUTION.format(claim=claim)))
    notebook = new_notebook(cells=cells)
    NotebookClient(notebook).execute()
    for cell, case in zip(notebook.cells, CASES, strict=False):
        cell.source = case[2]
    nbformat.write(notebook, path)
    command = [sys.executable, "-m", "pytest", "-v", "-p", "conftest"]
    command += ["-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider"]
    result = subprocess.run(
        [*command, "--rootdir", str(path.parent), str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    return result.stdout + result.stderr, path.parent / "_build" / "drift"


@pytest.fixture(scope="module")
def outcomes(ran) -> dict[str, bool]:
    """Which cells and solutions pass."""
    found = re.findall(r"::(Cell \d+|Solution \d+) (PASSED|FAILED)", ran[0])
    assert found, ran[0]
    return {name: outcome == "PASSED" for name, outcome in found}


@pytest.mark.parametrize(
    ("index", "passes"),
    [
        pytest.param(index, case[4], id=case[0])
        for index, case in enumerate(CASES)
    ],
)
def test_drift(outcomes, index, passes):
    assert outcomes[f"Cell {index}"] is passes


def test_solutions_are_run(outcomes):
    assert outcomes["Solution 1"]
    assert not outcomes["Solution 2"]


def test_page_shows_what_moved(ran):
    said, folder = ran
    page = folder / "index.html"
    assert f"What moved: {page}" in said
    soup = BeautifulSoup(page.read_text("utf-8"), "html.parser")
    names = {title.get_text() for title in soup.find_all("h3")}
    failing = [index for index, case in enumerate(CASES) if not case[4]]
    assert names == {
        *(f"drift.ipynb::Cell {index}" for index in failing),
        "drift.ipynb::Solution 2",
    }
    (old,) = soup.find_all("span", "old", string="-a 1.00", limit=1)
    assert old.find_next("span", "new").get_text() == "+a 1.01"
    captions = [c.get_text() for c in soup.find_all("figcaption")]
    assert captions == ["stored", "new", "difference, 4 times"]
    assert re.search(r"figure 1: RMS \d+\.\d\d of 255", soup.get_text())
    assert "Backend tensorflow" in soup.get_text()
    assert "ZeroDivisionError" in soup.get_text()
    summary = (folder / "summary.md").read_text("utf-8")
    assert "- `drift.ipynb::Cell 1`: text\n" in summary


def test_differing_sizes_are_said():
    sizes = (8, 6), (8, 4)
    pair = [png(np.full((*size, 3), 250, "uint8")) for size in sizes]
    cell = {"figures": [[pair[0]], [pair[1]]], "texts": ["", ""]}
    assert drift.said_of(cell) == (
        "figure 1: RMS 0.00 of 255, size 6 x 8 to 4 x 8 pixels"
    )


def test_difference_is_a_picture():
    black, white = (np.full((4, 4, 3), v, "uint8") for v in (0, 255))
    black[0] = 255
    seen, rms = drift.difference(png(black), png(white))
    assert rms == pytest.approx(255 * np.sqrt(3 / 4))
    pixels = np.asarray(drift.picture(seen))
    assert (pixels[0] == 255).all() and (pixels[1:] == 0).all()


def png(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


def test_pins_are_those_of_this_python():
    pins = drift.pinned()
    assert {"keras", "matplotlib", "numpy"} <= set(pins)
    installed = {name: new for name, _, new in drift.versions()}
    assert installed["numpy"] == np.__version__


@pytest.mark.parametrize("pinned", ["tensorflow", "tensorflow-cpu"])
def test_a_tensorflow_to_try_has_the_name_of_the_pinned_one(
    pinned, monkeypatch
):
    """Under its other name it would be installed beside that."""
    pins = {pinned: "2.21.0", "ml-dtypes": "0.6.0"}
    monkeypatch.setattr(drift, "pinned", lambda: pins)
    for name in ("tensorflow", "tensorflow-cpu"):
        assert drift.here(f"{name}==2.20.0") == f"{pinned}==2.20.0"
    assert drift.here("ML_dtypes<1") == "ml-dtypes<1"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("kears==3.15.0", "no kears is pinned"),
        ("keras=3.15.0", "is no requirement such as keras==3.15.0"),
    ],
)
def test_what_is_not_pinned_is_not_tried(given, text, monkeypatch, capsys):
    words = ["drift.py", "upgrade", "--with", given]
    monkeypatch.setattr(drift.sys, "argv", words)
    monkeypatch.setattr(drift, "upgrade", lambda *_: 0)
    with pytest.raises(SystemExit, match="2"):
        drift.main()
    assert text in capsys.readouterr().err


def test_a_nightly_keras_is_the_one_that_runs(monkeypatch):
    """Both packages are one folder, and "keras" keeps its version."""
    found = {"keras": "3.15.1", "keras-nightly": "3.16.0.dev1"}
    absent = drift.metadata.PackageNotFoundError

    def version(name):
        if name not in found:
            raise absent(name)
        return found[name]

    monkeypatch.setattr(drift.metadata, "version", version)
    assert drift.installed("keras") == "3.16.0.dev1"
    del found["keras-nightly"]
    assert drift.installed("keras") == "3.15.1"
    assert drift.installed("numpy") == "—"


def test_no_page_if_nothing_moved(tmp_path, monkeypatch):
    monkeypatch.delenv("VITSD_DRIFT", raising=False)
    assert drift.finish(tmp_path, {"test": "failed"}) is None
    monkeypatch.setenv("VITSD_DRIFT", "1")
    page = drift.finish(tmp_path, {"test": "1 < 2"}, passed=3)
    assert "1 &lt; 2" in page.read_text("utf-8")
    drift.start(tmp_path)
    assert not page.exists()


def test_longest_files_come_first_where_workers_share_them():
    def item(path):
        return SimpleNamespace(path=Path(path))

    longest = [f"notebooks/{name}.ipynb" for name in conftest.LONGEST]
    names = ["a.py", "b.py", "b.py", *reversed(longest)]
    items = [item(name) for name in names]
    conftest.pytest_collection_modifyitems(SimpleNamespace(), items)
    assert [str(i.path) for i in items] == names, "alone, in their order"
    shared = SimpleNamespace(workerinput={})
    conftest.pytest_collection_modifyitems(shared, items)
    assert [str(i.path) for i in items] == [*longest, "b.py", "b.py", "a.py"]
    there = (ROOT / "tests").glob("*.py"), (ROOT / "notebooks").glob("*.ipynb")
    assert set(conftest.LONGEST) <= {path.stem for p in there for path in p}
