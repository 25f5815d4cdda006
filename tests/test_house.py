"""The house: who may import whom, and how long the lesson may be."""

import ast
import importlib
import re
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import vitsd_helpers

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "vitsd_helpers"
LESSON_LINES = 1_500
#: How files are read, the engine, what is said of its runs, and how a
#: chapter shows it.
WINGS = ("readers", "training", "evidence", "display")
#: Where the engine needs what is said of runs: it writes their records.
ENGINE_TO_EVIDENCE = {
    ("training.loop", "evidence.records"),
    ("training.accelerator", "evidence.records"),
    ("training.checkpoint", "evidence.files"),
    ("training.weights", "evidence.cards"),
    ("training.weights", "evidence.files"),
}


def dotted(path: Path) -> str:
    """A module's name within the package, "" for the face."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {dotted(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(path: Path) -> set[str]:
    """Full names of what a file imports, anywhere in it.

    Of "from a import b" both "a" and "a.b".
    """
    found = set()
    home = list(path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = home[: len(home) + 1 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return found


def within(path: Path) -> set[str]:
    """Modules of the package that a file imports."""
    names = {
        name.removeprefix("vitsd_helpers").removeprefix(".")
        for name in imported(path)
        if name.split(".")[0] == "vitsd_helpers"
    }
    # A wing's __init__ is no module to learn from, nor is the face.
    return names & MODULES.keys() - {"", *WINGS}


def wing(module: str) -> str:
    """The folder that a module lies in; "" for the lesson."""
    return module.rpartition(".")[0] or module * (module in WINGS)


def edges() -> set[tuple[str, str]]:
    """Who imports whom in the package."""
    return {
        (name, other)
        for name, path in MODULES.items()
        for other in within(path)
    }


def test_the_imports_are_found():
    assert ("model", "attention") in edges()
    assert ("training.loop", "evidence.records") in edges()
    assert ("training.loop", "training.trainer") in edges()


def test_the_lesson_stands_alone():
    """It needs no more than files to be read, and readers need nobody."""
    kinds = {tuple(map(wing, edge)) for edge in edges()}
    assert {k for k in kinds if k[0] == "" and k[1]} == {("", "readers")}
    assert {k for k in kinds if k[0] == "readers"} <= {("readers",) * 2}


def test_evidence_does_not_need_the_engine():
    kinds = {(wing(one), wing(other)) for one, other in edges()}
    assert ("evidence", "training") not in kinds


def test_the_engine_needs_evidence_only_where_it_must():
    found = {
        edge
        for edge in edges()
        if tuple(map(wing, edge)) == ("training", "evidence")
    }
    assert found == ENGINE_TO_EVIDENCE


def test_display_shows_and_knows_no_runs():
    kinds = {(wing(one), wing(other)) for one, other in edges()}
    assert ("display", "evidence") not in kinds
    assert ("display", "training") not in kinds


def test_no_circle():
    graph = {name: set() for name in MODULES}
    for one, other in edges():
        graph[one].add(other)
    TopologicalSorter(graph).prepare()  # raises CycleError


def names_in(folder: Path) -> set[str]:
    return {path.stem for path in folder.rglob("*.py")}


@pytest.mark.parametrize(
    ("whose", "forbidden"),
    [
        (PACKAGE, names_in(ROOT / "book" / "tools") | {"book"}),
        (PACKAGE, names_in(ROOT / "tests") | {"tests", "conftest"}),
        (ROOT / "book" / "tools", names_in(ROOT / "tests") | {"tests"}),
    ],
    ids=["package, tools", "package, tests", "tools, tests"],
)
def test_nobody_imports_upwards(whose, forbidden):
    for path in whose.rglob("*.py"):
        tops = {name.split(".")[0] for name in imported(path)}
        own = names_in(whose) if whose != PACKAGE else set()
        assert not tops & (forbidden - own), path


def test_text_has_its_encoding():
    """Else Windows reads and writes it by the system's code page."""
    places = [PACKAGE, ROOT / "book" / "tools", ROOT / "tests"]
    paths = [path for place in places for path in place.rglob("*.py")]
    calls = (
        (f"{path.relative_to(ROOT)}:{node.lineno}", node)
        for path in [*paths, ROOT / "conftest.py"]
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    )
    before = {"read_text": 0, "write_text": 1}
    silent = [
        where
        for where, call in calls
        if len(call.args) == before.get(call.func.attr)
        and "encoding" not in {word.arg for word in call.keywords}
    ]
    assert not silent


def test_the_lesson_is_short():
    paths = [path for name, path in MODULES.items() if not wing(name)]
    lines = sum(len(path.read_text("utf-8").splitlines()) for path in paths)
    assert lines <= LESSON_LINES


def test_every_wing_is_packaged():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packaged = set(settings["tool"]["setuptools"]["packages"])
    folders = {path.parent for path in PACKAGE.rglob("__init__.py")}
    names = {".".join(f.relative_to(ROOT).parts) for f in folders}
    code = {name for name in packaged if ".results" not in name}
    assert code == names


@pytest.mark.parametrize("name", vitsd_helpers.__all__)
def test_the_face_has_what_it_names(name):
    assert getattr(vitsd_helpers, name) is not None
    if name in vitsd_helpers._LAZY:
        module = f"vitsd_helpers.{vitsd_helpers._LAZY[name]}"
        found = getattr(importlib.import_module(module), name)
        assert getattr(vitsd_helpers, name) is found


def test_the_face_refuses_other_names():
    with pytest.raises(AttributeError, match="'trian'"):
        _ = vitsd_helpers.trian


def test_the_reference_has_every_module():
    """The package's pages, but for what only holds the face together."""
    pages = (ROOT / "book").glob("api*.md")
    text = "\n".join(page.read_text("utf-8") for page in pages)
    listed = set(re.findall(r"automodule:: (\S+)", text))
    modules = {
        f"vitsd_helpers.{name}" for name in MODULES.keys() - {"", *WINGS}
    }
    assert modules == listed
