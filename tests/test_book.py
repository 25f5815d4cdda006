"""The book as a whole: notebooks, links, badges, alt text, layout."""

import ast
import base64
import io
import json
import re
import subprocess
import tomllib
from pathlib import Path

import address
import nbformat
import numpy as np
import pytest
import yaml
from PIL import Image

import notebooks as tool
from conftest import figures, solutions
from vitsd_helpers.display import plots

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
RUNS = sorted((ROOT / "book" / "runs").glob("*.ipynb"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "book").glob("*.md"))]
HOUSE = [ROOT / "CHANGELOG.md", *sorted((ROOT / ".github").glob("*.md"))]
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)\s#]+)[^)]*\)")
LOCAL_PATH = re.compile(r"(?<![\w./:])/(?:home|Users|root|tmp|work)/\S+")
DIRECTIVE = re.compile(
    r"^(?:```|:::)\s*\{|\{[a-z-]+(?::[a-z]+)?\}`|^\([\w-]+\)=", re.M
)

each_notebook = pytest.mark.parametrize(
    "path", NOTEBOOKS, ids=lambda p: p.stem
)
each_executed = pytest.mark.parametrize(
    "path", NOTEBOOKS + RUNS, ids=lambda p: p.stem
)


def read(path: Path):
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list:
    return [c for c in read(path).cells if c.cell_type == "code"]


def prose(path: Path) -> str:
    """The text, with links of the book to itself relative."""
    cells = read(path).cells
    text = "\n\n".join(c.source for c in cells if c.cell_type == "markdown")
    return address.relative(text, path)


def chapters_of_toc() -> list[str]:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    parts = (part["chapters"] for part in toc["parts"])
    return [toc["root"], *(c["file"] for part in parts for c in part)]


@each_executed
def test_run_once_from_top_to_bottom(path):
    counts = [cell.execution_count for cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1))


@each_executed
def test_no_error_is_stored(path):
    for cell in code_cells(path):
        kinds = {output.output_type for output in cell.outputs}
        assert "error" not in kinds, cell.source


@each_executed
def test_no_local_path(path):
    text = path.read_text("utf-8")
    assert not LOCAL_PATH.search(text), LOCAL_PATH.search(text)[0]


@each_executed
def test_every_figure_has_alt_text(path):
    for cell in code_cells(path):
        if any("image/png" in o.get("data", {}) for o in cell.outputs):
            image = cell.metadata.get("mystnb", {}).get("image", {})
            assert len(image.get("alt", "")) > 30, cell.source


def test_alt_text_is_on_one_line():
    """MyST drops a line break in it, and the space with it."""
    broken = re.compile(r"!\[[^\]]*\n[^\]]*\]\(")
    texts = {path: prose(path) for path in NOTEBOOKS}
    texts |= {
        path: path.read_text("utf-8") for path in (ROOT / "book").glob("*.md")
    }
    assert [
        path.name for path, text in texts.items() if broken.search(text)
    ] == []


def drawn(path: Path):
    """Every figure of a notebook, and whether its cell says "chart"."""
    for cell in code_cells(path):
        image = cell.metadata.get("mystnb", {}).get("image", {})
        for png in figures(cell.outputs):
            picture = Image.open(io.BytesIO(base64.b64decode(png)))
            chart = image.get("classes") == "chart"
            yield chart, picture.convert("RGBA")


@each_notebook
def test_figures_have_the_columns_width(path):
    widths = {picture.width for _, picture in drawn(path)}
    assert widths <= {round(150 * plots.WIDTH)}


@each_notebook
def test_no_photograph_is_a_chart(path):
    """A dark page turns charts round: a photograph would be a negative.

    Told by the colours: a chart has a few and their edges.
    """
    for chart, picture in drawn(path):
        pixels = np.asarray(picture)
        solid = pixels[pixels[..., 3] > 200][:, :3]
        colours = len(np.unique(solid // 32, axis=0))
        assert colours <= 24 if chart else colours >= 15


#: Cells that papermill writes, and that the book's address changes.
APART = {"injected-parameters", "colab-install"}


def code_lines(path: Path) -> list[str]:
    """Lines of code without blank ones and such cells."""
    cells = [
        cell.source
        for cell in code_cells(path)
        if not APART & set(cell.metadata.get("tags", ()))
    ]
    lines = "\n".join(cells).splitlines()
    return [line for line in lines if line.strip()]


def git(*command: str) -> str:
    """What git says of the checkout; skip where it says nothing."""
    try:
        return subprocess.run(
            ["git", "-C", str(ROOT), *command],
            capture_output=True,
            encoding="utf-8",
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs git and the book's history")


@pytest.mark.parametrize("path", RUNS, ids=lambda p: p.stem)
def test_a_run_has_the_chapters_code(path, tmp_path):
    """The code of chapter 5 at the commit of its records, not today's."""
    results = ROOT / "book" / "results"
    name, _, seed = path.stem.removeprefix("05_").partition("-seed")
    found = results.glob(f"{name}-*-seed{seed or 0}.json")
    (commit,) = {
        json.loads(file.read_text("utf-8"))["commit"] for file in found
    }
    if git("rev-parse", "--is-shallow-repository") == "true":
        pytest.skip("a shallow clone does not hold the run's commit")
    chapter = tmp_path / "05_training.ipynb"
    chapter.write_text(
        git("show", f"{commit}:notebooks/{chapter.name}"), "utf-8"
    )
    assert code_lines(path) == code_lines(chapter)


@each_notebook
def test_outputs_are_not_warnings(path):
    for cell in code_cells(path):
        for output in cell.outputs:
            assert output.get("name") != "stderr", output.text


@each_notebook
def test_cells_are_small(path):
    for cell in code_cells(path):
        lines = cell.source.splitlines()
        limit = 24 if lines[0].startswith(("import", "from")) else 16
        assert len(lines) <= limit, cell.source
        assert max(map(len, lines)) <= 72, cell.source


@each_notebook
def test_code_in_the_text_fits_its_column(path):
    """A solution's column is narrower than a cell's."""
    for block in re.findall(r"^```.*?^```", prose(path), re.M | re.S):
        assert max(map(len, block.splitlines())) <= 72, block


@each_notebook
def test_prose_is_plain_commonmark(path):
    """Colab and GitHub would show a role or a directive raw."""
    found = DIRECTIVE.search(prose(path))
    assert not found, found and found[0]


@each_notebook
def test_no_tensorflow_import(path):
    source = "\n".join(cell.source for cell in code_cells(path))
    assert not re.search(r"^\s*(import|from) tensorflow", source, re.M)


UNIT = re.compile(
    r"(?<![\w.])(\d[\d,]*(?:\.\d+)?)\s?"
    r"(%|per cent|points?\b|minutes?\b|times\b)"
)
#: What is no result: the confidence of an interval, the passes of a recipe,
#: the end of a colour scale.
DESIGN = re.compile(r"95 %|95 per cent|over 18\s+times|8\s+times what")
RESULT_PAGES = [
    *(p for p in NOTEBOOKS if re.match(r"0[6-9]|1[0-3]", p.name)),
    ROOT / "book" / "results.md",
    ROOT / "book" / "speed.md",
]


def quantities(text: str) -> set[tuple[str, str]]:
    """The numbers with a unit in a text, such as ("1.2", "point")."""
    text = text.replace("**", "").replace("per cent", "%")
    return {(n, unit.rstrip("s")) for n, unit in UNIT.findall(text)}


def output_text(path: Path) -> str:
    """All that a notebook's cells show as text."""
    outputs = [o for cell in code_cells(path) for o in cell.outputs]
    texts = [o.text for o in outputs if "text" in o]
    for data in (o.data for o in outputs if "data" in o):
        texts += [v for k, v in data.items() if k.startswith("text/")]
    return "\n".join(texts)


@pytest.mark.parametrize("path", RESULT_PAGES, ids=lambda p: p.stem)
def test_no_result_is_typed(path):
    """A number with a unit in the prose is in an output, unit included."""
    notebook = path.suffix == ".ipynb"
    text = prose(path) if notebook else path.read_text("utf-8")
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    printed = quantities(output_text(path)) if notebook else set()
    assert quantities(DESIGN.sub("", text)) <= printed


def test_units_count():
    """A typed number matches an output of its own unit alone."""
    printed = quantities("leads by **1.16 points**, 52.5 % in 47 minutes")
    assert printed == {("1.16", "point"), ("52.5", "%"), ("47", "minute")}
    assert quantities("52.5 per cent") <= printed
    assert not quantities("1.16 %") <= printed
    assert not quantities("16 points") <= printed


@each_notebook
def test_parts_of_a_chapter(path):
    text = prose(path)
    for part in (
        "**What you will learn**",
        "**What you need**",
        "**Time**",
        "## Exercises",
        "**Next**",
    ):
        assert part in text, part
    assert re.search("^## (What we found|What to remember)$", text, re.M)
    assert len(solutions(read(path))) == 2
    assert "../book/references.md" in text


@each_notebook
def test_solutions_check_themselves(path):
    for code in solutions(read(path)):
        nodes = ast.walk(ast.parse(code))
        assert any(isinstance(n, ast.Assert) for n in nodes), code


@each_executed
def test_badge_install_cell_and_links(path):
    notebook = read(path)
    stored = [cell.source for cell in notebook.cells]
    tool.link(path, notebook)
    assert [cell.source for cell in notebook.cells] == stored
    url = address.colab_url(path)
    assert url.endswith(f"/{path.name}")
    assert (f"]({url})" in stored[0]) == (path in NOTEBOOKS)


@pytest.mark.parametrize(
    "path", PAGES + HOUSE + NOTEBOOKS + RUNS, ids=lambda p: p.name
)
def test_links_point_at_files(path):
    text = prose(path) if path.suffix == ".ipynb" else path.read_text("utf-8")
    for target in LINK.findall(text):
        if target.startswith("../../security/"):  # a page of GitHub's
            continue
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize(
    "path", PAGES + NOTEBOOKS + RUNS, ids=lambda p: p.name
)
def test_a_link_to_a_chapter_has_its_number(path):
    text = prose(path) if path.suffix == ".ipynb" else path.read_text("utf-8")
    found = re.findall(r"\[[Cc]hapter (\d+)[^]]*\]\(([^)]*)\)", text)
    for number, target in found:
        assert f"/{int(number):02}_" in f"/{target}", target


def test_contents_are_all_the_pages():
    listed = chapters_of_toc()
    for name in listed:
        base = ROOT / name
        found = [base.with_suffix(s) for s in (".md", ".ipynb")]
        assert any(p.exists() for p in found), name
    pages = {p for p in PAGES if p.name != "README.md"}
    for path in [*NOTEBOOKS, *RUNS, *pages]:
        assert path.relative_to(ROOT).with_suffix("").as_posix() in listed


def test_citation_has_the_address():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["repository-code"] == address.repository()[0]
    assert citation.get("url", "") == address.site()


def test_package_would_not_move_colabs_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))[
        "project"
    ]
    for need in project["dependencies"]:
        assert not need.startswith("tensorflow")
        assert "<" not in need and "==" not in need


def test_helpers_are_backend_agnostic():
    for path in sorted((ROOT / "vitsd_helpers").rglob("*.py")):
        text = path.read_text("utf-8")
        assert not re.search(
            r"^\s*(import|from) (tensorflow|torch)", text, re.M
        )
        assert not re.search(r"keras\.src|\b(?:layers|ops|keras)\._", text)
