"""The checks themselves: what nbval and conftest.py let pass, what not."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).parents[1]
FIGURE = """\
import matplotlib.pyplot as plt
plt.plot([1, 2, {last}])
plt.show()"""
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
    ("raises", "pass", "1 / 0", [], False),
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, bool]:
    """Run the cases as one notebook, whose cells changed after storing."""
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
    found = re.findall(
        r"::(Cell \d+|Solution \d+) (PASSED|FAILED)", result.stdout
    )
    assert found, result.stdout + result.stderr
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
