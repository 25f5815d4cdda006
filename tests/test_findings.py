"""Findings: stored sentences of chapters, shown on pages by a directive."""

import shutil
import subprocess
import sys
from pathlib import Path

import findings
import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_notebook, new_output

ROOT = Path(__file__).parents[1]
CONFIG = """\
extensions = ["myst_nb", "findings"]
nb_execution_mode = "off"
"""


def write(path: Path, *cells: tuple[str, str | None]) -> None:
    """A notebook with cells of these names and sentences."""
    made = []
    for name, text in cells:
        outputs = []
        if text is not None:
            data = {"text/markdown": text, "text/plain": text}
            outputs = [new_output("display_data", data)]
        tags = {"tags": ["hide-input", f"finding-{name}"]}
        made.append(new_code_cell("", metadata=tags, outputs=outputs))
    nbformat.write(new_notebook(cells=made), path)


def test_findings_are_read_by_name(tmp_path):
    path = tmp_path / "07_a.ipynb"
    write(path, ("spt", "SPT **leads**."), ("mask", "The mask does not."))
    assert findings.read(tmp_path) == {
        "spt": (path, "SPT **leads**."),
        "mask": (path, "The mask does not."),
    }


def test_two_of_one_name_are_refused(tmp_path):
    write(tmp_path / "07_a.ipynb", ("spt", "one"))
    write(tmp_path / "08_b.ipynb", ("spt", "other"))
    with pytest.raises(ValueError, match=r"07_a\.ipynb and 08_b\.ipynb"):
        findings.read(tmp_path)


def test_a_finding_without_a_sentence_is_refused(tmp_path):
    write(tmp_path / "07_a.ipynb", ("spt", None))
    with pytest.raises(ValueError, match=r"finding-spt.*prints no Markdown"):
        findings.read(tmp_path)


def test_the_books_findings_can_be_read():
    for name, (path, text) in findings.read().items():
        assert text.strip().endswith((".", "**")), (name, path)


@pytest.fixture
def build(tmp_path):
    """`build(page)` makes a site of one page and returns it and messages."""
    tools, notebooks = tmp_path / "book" / "tools", tmp_path / "notebooks"
    tools.mkdir(parents=True)
    notebooks.mkdir()
    shutil.copy(ROOT / "book" / "tools" / "findings.py", tools)
    write(notebooks / "07_a.ipynb", ("spt", "SPT **leads** by 1.2 points."))
    source = tmp_path / "source"
    source.mkdir()
    path = f"import sys\nsys.path.insert(0, {str(tools)!r})\n"
    (source / "conf.py").write_text(path + CONFIG, "utf-8")

    def make(page: str):
        (source / "index.md").write_text(f"# Page\n\n{page}\n", "utf-8")
        command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html"]
        done = subprocess.run(
            [*command, str(source), str(tmp_path / "out")],
            capture_output=True,
            text=True,
        )
        out = tmp_path / "out" / "index.html"
        soup = BeautifulSoup(
            out.read_text("utf-8") if out.exists() else "", "html.parser"
        )
        return done, soup

    return make


def test_a_page_shows_the_sentence(build):
    done, soup = build("```{finding} spt\n```")
    assert done.returncode == 0, done.stderr
    box = soup.select_one(".finding")
    assert box.get_text().strip() == "SPT leads by 1.2 points."
    assert box.select_one("strong").get_text() == "leads"


def test_an_unknown_name_fails_the_build(build):
    done, _ = build("```{finding} lsa\n```")
    assert done.returncode != 0
    assert "no cell has the tag 'finding-lsa'" in done.stderr
    assert "['spt']" in done.stderr
