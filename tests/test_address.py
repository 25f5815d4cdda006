"""One setting, and every place that repeats it."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import address
import hosting
import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).parents[1]
CHAPTER = ROOT / "notebooks" / "01_patches.ipynb"
URL = "https://github.com/Ada-L/small-vits"
SITE = "https://ada-l.github.io/small-vits/"


def set_to(monkeypatch, url: str, **html) -> None:
    config = {"repository": {"url": url, "branch": "main"}, "html": html}
    monkeypatch.setattr(address, "settings", lambda: config)


@pytest.mark.parametrize(
    ("url", "html", "site"),
    [
        (URL, {}, SITE),
        (URL, {"baseurl": "https://a.org/b"}, "https://a.org/b/"),
        ("https://github.com/Ada/ada.github.io", {}, "https://ada.github.io/"),
        ("https://github.com/OWNER/book", {}, ""),
    ],
)
def test_site_follows_from_the_repository(monkeypatch, url, html, site):
    set_to(monkeypatch, url, **html)
    assert address.site() == site
    assert address.is_set() == ("OWNER" not in url)


@pytest.mark.parametrize(
    "url", [URL + "/", URL + ".git/x", "git@github.com:a/b", "https://a.b/c/d"]
)
def test_an_address_that_is_none_is_refused(monkeypatch, url):
    set_to(monkeypatch, url)
    with pytest.raises(ValueError, match=r"https://github\.com/NAME/REPOS"):
        address.repository()


TEXT = """\
[next](02_shifted_patches.ipynb#order), [books](../book/references.md),
![still](../book/_static/stills/live-patches-1.png), [no](missing.md),
[far](https://example.org/book/index.html), [here](#part), `a[0](b)`
"""


def test_links_are_absolute_for_colab_and_relative_again(monkeypatch):
    set_to(monkeypatch, URL)
    text = address.absolute(TEXT, CHAPTER)
    assert f"({SITE}notebooks/02_shifted_patches.html#order)" in text
    assert f"({SITE}book/references.html)" in text
    raw = "https://raw.githubusercontent.com/Ada-L/small-vits/main"
    assert f"({raw}/book/_static/stills/live-patches-1.png)" in text
    assert "[no](missing.md)" in text and "`a[0](b)`" in text
    back = address.relative(text, CHAPTER)
    assert back.splitlines()[:2] == TEXT.splitlines()[:2]
    # Another name later finds what the first one left.
    set_to(monkeypatch, "https://github.com/Bob/other")
    assert address.relative(text, CHAPTER) == back


def test_badge_is_no_link_to_a_page():
    badge = f"[badge]({address.colab_url(CHAPTER)})"
    assert address.relative(badge, CHAPTER) == badge


def test_links_stay_relative_until_the_address_is_set(monkeypatch):
    set_to(monkeypatch, "https://github.com/OWNER/book")
    assert address.absolute(TEXT, CHAPTER) == TEXT


def test_marks_are_needed_once():
    assert address.fill("a<b>x<c>", "<b>", "<c>", "y") == "a<b>\ny\n<c>"
    with pytest.raises(ValueError, match="missing"):
        address.fill("a<c>x<b>", "<b>", "<c>", "y")


def test_not_found_page_works_at_any_depth():
    soup = BeautifulSoup(
        hosting.not_found(SITE, "book/index.html"), "html.parser"
    )
    hrefs = [link["href"] for link in soup.find_all("a")]
    assert hrefs == ["/small-vits/book/index.html", "/small-vits/search.html"]


def test_versions_agree():
    import vitsd_helpers

    version = vitsd_helpers.__version__
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    zenodo = json.loads((ROOT / ".zenodo.json").read_text("utf-8"))
    assert citation["version"] == zenodo["version"] == version
    references = (ROOT / "book" / "references.md").read_text("utf-8")
    assert f"{{Version {version}, " in references
    assert citation["title"] == zenodo["title"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    dynamic = project["tool"]["setuptools"]["dynamic"]
    assert dynamic["version"]["attr"] == "vitsd_helpers.__version__"


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the repository, published under another name."""
    folder = tmp_path_factory.mktemp("published") / "repository"
    ignored = (".git", ".venv", "_build", "data", ".checkpoints", "*_cache")
    leave = shutil.ignore_patterns(*ignored, "__pycache__", "*.egg-info")
    own = {str(ROOT): {"runs"}}  # the reader's; book/runs are the book's

    def ignore(place, names):
        return {*leave(place, names)} | own.get(str(place), set())

    shutil.copytree(ROOT, folder, ignore=ignore)
    path = folder / "_config.yml"
    text = path.read_text("utf-8")
    assert text.count(address.repository()[0]) == 1
    text = text.replace(address.repository()[0], URL)
    # At a tag the branch is the tag's name.
    text = re.sub(r"(?m)^(  branch: ).*$", r"\1main", text)
    path.write_text(text, "utf-8")
    run(folder, "book/tools/address.py", "write")
    return folder


def run(folder: Path, *arguments: str) -> str:
    """What Python says in a folder; an error fails the test."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_nothing_names_the_placeholder(copy):
    """But the setting's own explanations."""
    found = set()
    for path in copy.rglob("*"):
        if path.suffix in {".ipynb", ".cff", ".json", ".toml", ".md"}:
            text = path.read_text("utf-8")
            if "/OWNER" in text or "OWNER." in text:
                found.add(path.relative_to(copy).as_posix())
    assert found == set()


@pytest.mark.slow
def test_writing_twice_changes_nothing(copy):
    def contents():
        return {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}

    before = contents()
    run(copy, "book/tools/address.py", "write")
    assert {p.name for p, c in contents().items() if before.get(p) != c} == (
        set()
    )


def test_every_place_has_the_new_address(copy):
    notebook = nbformat.read(copy / "notebooks" / CHAPTER.name, 4)
    text = "\n".join(cell.source for cell in notebook.cells)
    assert f'"git+{URL}@main"' in text
    assert "/github/Ada-L/small-vits/blob/main/notebooks/01" in text
    assert f"]({SITE}book/references.html)" in text
    executed = (copy / "book" / "runs" / "05_laptop.ipynb").read_text("utf-8")
    assert f"git+{URL}@main" in executed
    readme = (copy / "README.md").read_text("utf-8")
    assert f"{URL}/actions/workflows/test.yml/badge.svg" in readme
    assert "mybinder.org/v2/gh/Ada-L/small-vits/main" in readme
    citation = yaml.safe_load((copy / "CITATION.cff").read_text("utf-8"))
    assert citation["repository-code"] == URL and citation["url"] == SITE
    zenodo = json.loads((copy / ".zenodo.json").read_text("utf-8"))
    assert zenodo["related_identifiers"][-1]["identifier"] == SITE
    project = tomllib.loads((copy / "pyproject.toml").read_text("utf-8"))[
        "project"
    ]
    assert project["urls"]["Repository"] == URL
    assert project["urls"]["Homepage"] == SITE


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no git checkout")
def test_a_published_clone_keeps_its_executed_copies(tmp_path):
    """They are the chapter's at their commit, whatever the address is."""
    clone = tmp_path / "clone"
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@localhost")
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    path = clone / "_config.yml"
    path.write_text(
        path.read_text("utf-8").replace(address.repository()[0], URL), "utf-8"
    )
    run(clone, "book/tools/address.py", "write")
    publish = ["git", "-C", clone, *who, "commit", "-qam", "Published"]
    subprocess.run(publish, check=True)
    said = run(
        clone,
        *("-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *("tests/test_book.py", "-k", "chapters_code"),
    )
    count = len(list((ROOT / "book" / "runs").glob("*.ipynb")))
    assert f"{count} passed" in said, said


@pytest.mark.heavy
def test_published_copy_builds_and_passes_its_tests(copy):
    """Its book, with every address absolute, and the unit tests of it."""
    book = Path(sys.executable).with_name("jupyter-book")
    run(copy, str(book), "build", ".", "-W", "-n", "--keep-going")
    html = copy / "_build" / "html"
    page = (html / "notebooks" / "01_patches.html").read_text("utf-8")
    soup = BeautifulSoup(page, "html.parser")
    canonical = soup.select_one("link[rel=canonical]")["href"]
    assert canonical == f"{SITE}notebooks/01_patches.html"
    card = soup.select_one("meta[property='og:image']")["content"]
    assert card == f"{SITE}_static/card.png"
    hrefs = [link["href"] for link in soup.select(".bd-article a[href]")]
    assert any(h.startswith("../book/references.html") for h in hrefs)
    assert not any(h.startswith(SITE) for h in hrefs)
    launch = "colab.research.google.com/github/Ada-L/small-vits/blob/main"
    assert page.count(launch) >= 2  # badge and menu
    assert "/OWNER/" not in page
    robots = (html / "robots.txt").read_text("utf-8")
    assert f"Sitemap: {SITE}sitemap.xml" in robots
    sitemap = (html / "sitemap.xml").read_text("utf-8")
    assert f"<loc>{SITE}notebooks/01_patches.html</loc>" in sitemap
    assert "/small-vits/search.html" in (html / "404.html").read_text("utf-8")
    assert (html / ".nojekyll").exists()
    tests = ("test_book.py", "test_address.py", "test_site.py")
    run(
        copy,
        *("-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *(f"tests/{name}" for name in tests),
    )
