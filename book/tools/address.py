"""The repository's address: one setting, and all that follows from it.

    python book/tools/address.py write    # make badges

`repository: url` in `_config.yml` is the setting. `write` carries it to
every file that must repeat it. As a Sphinx extension, this module derives
the site's own address, for canonical links, cards and the sitemap, and takes
everything off the pages that would lead nowhere while the setting still says
OWNER.
"""

import argparse
import json
import os
import re
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import yaml

ROOT = Path(__file__).resolve().parents[2]
#: What the setting says as long as nobody has published the book.
PLACEHOLDER = "OWNER"
GITHUB = re.compile(r"https://github\.com/([\w.-]+)/([\w.-]+)")
COLAB = "https://colab.research.google.com/github"
BINDER = "https://mybinder.org/v2/gh"
RAW = "https://raw.githubusercontent.com"
#: Elements of these classes are about the published book: what says so, and
#: the cell that installs from its repository.
PUBLISHED = {"published", "tag_colab-install"}
WORKFLOWS = {"Test": "test.yml", "Drift": "drift.yml"}

LINK = re.compile(r"(?<=\]\()(?!https?:|#|mailto:)[^)\s]+(?=\))")
PAGE = re.compile(r"(?<=\]\()https://[^)\s]+/((?:book|notebooks)/[^)\s]+)")
PAGES = {".md", ".ipynb"}


def settings() -> dict:
    """What `_config.yml` says."""
    return yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))


def repository() -> tuple[str, str]:
    """The address and branch set in `_config.yml`.

    Raises:
        ValueError: if the address is none of a repository on GitHub.
    """
    found = settings()["repository"]
    if not GITHUB.fullmatch(found["url"]):
        raise ValueError(
            f"repository: url in _config.yml is {found['url']!r}; write it "
            "as https://github.com/NAME/REPOSITORY, nothing after it."
        )
    return found["url"], found["branch"]


def owner_and_name() -> tuple[str, str]:
    """Whose repository, and what it is called."""
    found = GITHUB.fullmatch(repository()[0])
    assert found, "derive() has checked it"
    owner, name = found.groups()
    return owner, name


def is_set() -> bool:
    """Whether the address is a real one."""
    return owner_and_name()[0] != PLACEHOLDER


def site() -> str:
    """Where the site is published, with a slash at the end; "" if unknown.

    `html: baseurl` in `_config.yml`, or else GitHub Pages.
    """
    given = settings().get("html", {}).get("baseurl", "")
    if given:
        return given.rstrip("/") + "/"
    if not is_set():
        return ""
    owner, name = owner_and_name()
    host = f"{owner.lower()}.github.io"
    folder = "" if name.lower() == host else f"{name}/"
    return f"https://{host}/{folder}"


def inside(path: Path) -> str:
    """A file's address within the repository."""
    return path.resolve().relative_to(ROOT).as_posix()


def colab_url(path: Path) -> str:
    """Where Colab opens a notebook of the repository."""
    owner, name = owner_and_name()
    return f"{COLAB}/{owner}/{name}/blob/{repository()[1]}/{inside(path)}"


def absolute(text: str, path: Path) -> str:
    """Markdown of a file with its links to other files made absolute.

    Colab has the notebook alone: pages are linked on the site and pictures
    in the repository. Until the address is set, nothing changes.
    """
    if not is_set():
        return text
    picture = "/".join((RAW, *owner_and_name(), repository()[1]))

    def replace(match: re.Match) -> str:
        target, hash_, part = match[0].partition("#")
        file = (path.parent / target).resolve()
        if not file.is_file() or not file.is_relative_to(ROOT):
            return match[0]
        if file.suffix not in PAGES:
            return f"{picture}/{inside(file)}"
        page = PurePosixPath(inside(file)).with_suffix(".html")
        return f"{site()}{page}{hash_}{part}"

    return LINK.sub(replace, text)


def relative(text: str, path: Path) -> str:
    """What `absolute` was given, whatever the address was then."""

    def replace(match: re.Match) -> str:
        target, hash_, part = match[1].partition("#")
        file = ROOT / target
        if file.suffix == ".html":
            pages = (file.with_suffix(suffix) for suffix in PAGES)
            file = next(filter(Path.is_file, pages), file)
        # A link to the source of a page is none to the page.
        if not file.is_file() or Path(target).suffix in PAGES:
            return match[0]
        here = os.path.relpath(file, path.parent.resolve())
        return f"{Path(here).as_posix()}{hash_}{part}"

    return PAGE.sub(replace, text)


def badges() -> str:
    """The README's badges."""
    owner, name = owner_and_name()
    url, branch = repository()
    lines = [
        f"[![{title}]({url}/actions/workflows/{file}/badge.svg)]"
        f"({url}/actions/workflows/{file})"
        for title, file in WORKFLOWS.items()
    ]
    first = f"{owner}/{name}/blob/{branch}/notebooks/01_patches.ipynb"
    lines += [
        f"[![Open in Colab](book/_static/colab.svg)]({COLAB}/{first})",
        f"[![Binder](https://mybinder.org/badge_logo.svg)]"
        f"({BINDER}/{owner}/{name}/{branch}?urlpath=lab/tree/notebooks)",
        "",
        f"**Read it at <{site()}>.**",
    ]
    return "\n".join(lines)


def project_urls() -> str:
    """What the package index shows beside the package."""
    url, branch = repository()
    return "\n".join(
        (
            "[project.urls]",
            f'Homepage = "{site()}"',
            f'Repository = "{url}"',
            f'Changelog = "{url}/blob/{branch}/CHANGELOG.md"',
        )
    )


def fill(text: str, start: str, end: str, content: str) -> str:
    """Text with `content` between two marks, which stay.

    Raises:
        ValueError: if the marks are not there once each, in this order.
    """
    head, found, rest = text.partition(start)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"the marks {start!r} and {end!r} are missing")
    middle = f"\n{content}\n" if content else "\n"
    return f"{head}{start}{middle}{end}{tail}"


def write_citation(path: Path) -> None:
    """The repository and, once it is known, the site in CITATION.cff."""
    lines = path.read_text("utf-8").splitlines()
    kept = [line for line in lines if not line.startswith("url:")]
    at = [n for n, line in enumerate(kept) if line.startswith("repository-")]
    kept[at[0]] = f"repository-code: {repository()[0]}"
    if site():
        kept.insert(at[0], f"url: {site()}")
    path.write_text("\n".join(kept) + "\n", "utf-8")


def write_zenodo(path: Path) -> None:
    """The site in .zenodo.json, once it is known."""
    data = json.loads(path.read_text("utf-8"))
    others = [
        entry
        for entry in data["related_identifiers"]
        if entry["relation"] != "isDocumentedBy"
    ]
    if site():
        others.append({"identifier": site(), "relation": "isDocumentedBy"})
    data["related_identifiers"] = others
    path.write_text(json.dumps(data, indent=2) + "\n", "utf-8")


def write() -> None:
    """Carry the address to every file that repeats it."""
    import nbformat

    import notebooks

    for path in notebooks.linked():
        notebook = nbformat.read(path, as_version=4)
        notebooks.link(path, notebook)
        nbformat.write(notebook, path)
    write_citation(ROOT / "CITATION.cff")
    write_zenodo(ROOT / ".zenodo.json")
    for name, start, end, content in (
        ("README.md", "<!-- badges -->", "<!-- end of badges -->", badges),
        ("pyproject.toml", "# addresses", "# end of addresses", project_urls),
    ):
        path = ROOT / name
        text = path.read_text("utf-8")
        filled = fill(text, start, end, content() if is_set() else "")
        if filled != text:  # `make` looks at the time of pyproject.toml
            path.write_text(filled, "utf-8")


def derive(app, config) -> None:
    """The site's address, and no button that leads nowhere."""
    config.html_baseurl = site()
    if not is_set():
        config.html_theme_options |= {
            "launch_buttons": {},
            "use_repository_button": False,
            "use_issues_button": False,
        }


def read_source(app, docname: str, source: list[str]) -> None:
    """Links of the book to itself stay within the site."""
    path = Path(app.env.doc2path(docname))
    if path.suffix in PAGES:
        source[0] = relative(source[0], path)


def is_dead(node) -> bool:
    """Whether a node of a page is about an address that is not set."""
    given = getattr(node, "attributes", {})
    target = urlsplit(given.get("refuri", ""))
    dead = f"/{PLACEHOLDER}/" in target.path
    return dead or not PUBLISHED.isdisjoint(given.get("classes", ()))


def remove_dead(app, doctree, docname: str) -> None:
    """Take off a page what only the published book can have."""
    if is_set():
        return
    for node in list(doctree.findall(is_dead)):
        parent = node.parent
        parent.remove(node)
        if parent.tagname == "paragraph" and not parent.children:
            parent.parent.remove(parent)


def setup(app):
    """Sphinx calls it."""
    app.connect("config-inited", derive)
    app.connect("source-read", read_source)
    app.connect("doctree-resolved", remove_dead)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=("write",))
    parser.parse_args()
    write()
    print(repository()[0], site() or "(no site yet)")


if __name__ == "__main__":
    main()
