"""The cells whose numbers may differ a little, as the pages list them."""

import json
import re
from pathlib import Path

import nbformat
import pytest
import tolerances
from nbformat.v4 import new_code_cell, new_notebook

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def test_tags_are_counted_by_chapter(tmp_path):
    for name, tags in (("05_a", ("0.02", "0.1", "0.02")), ("10_b", ("0.1",))):
        cells = [
            new_code_cell("", metadata={"tags": ["hide-input", f"rtol-{tag}"]})
            for tag in tags
        ]
        nbformat.write(new_notebook(cells=cells), tmp_path / f"{name}.ipynb")
    assert tolerances.read(tmp_path) == {0.02: {5: 2}, 0.1: {5: 1, 10: 1}}
    assert list(tolerances.read(tmp_path)) == [0.02, 0.1]


def test_every_tag_of_the_book_is_listed():
    texts = [path.read_text("utf-8") for path in NOTEBOOKS]
    written = [tag for t in texts for tag in re.findall(r'"rtol-([^"]+)"', t)]
    listed = tolerances.read()
    assert sum(c.total() for c in listed.values()) == len(written) > 0
    # As the tags say it, and none so wide that it compares nothing.
    assert {f"{rtol}" for rtol in listed} == set(written)
    assert max(listed) <= 0.5


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_tag_is_on_a_cell_that_prints(path):
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        tags = cell["metadata"].get("tags", ())
        if any(tag.startswith("rtol-") for tag in tags):
            assert cell["outputs"]
