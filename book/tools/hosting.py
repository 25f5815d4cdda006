"""Sphinx: what a host of the site asks for beside its pages.

A page for addresses that lead nowhere, `robots.txt` and, once the site's
address is known, `sitemap.xml`. The file `.nojekyll` and that of a domain of
one's own are Sphinx's (`sphinx.ext.githubpages`). sphinx-sitemap would need
a version of Sphinx that Jupyter Book 1 does not allow.
"""

import posixpath
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

from bs4 import BeautifulSoup

SITEMAP = "http://www.sitemaps.org/schemas/sitemap/0.9"
#: What a search engine need not show.
UNLISTED = {"404.html", "genindex.html", "index.html", "search.html"}
#: The site's own style sheets lie at an address that depends on the page
#: that was asked for, so this page brings its few rules along.
NOT_FOUND = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width"/>
<title></title>
<meta name="description" content="There is no page of this book at this \
address; here are its first page, its search and its chapters."/>
<meta name="robots" content="noindex"/>
<link rel="icon"/>
<style>
:root { color-scheme: light dark; }
body { font: 1.125rem/1.6 system-ui, sans-serif; max-width: 36rem;
  margin: 15vh auto; padding-inline: 1.25rem; }
a { color: light-dark(#0a5aa8, #8fc1f5); }
</style>
</head>
<body>
<main>
<h1>There is no such page</h1>
<p>The address is mistyped, or the page has moved.</p>
<ul>
<li><a>The book's first page</a></li>
<li><a>Search the book</a></li>
</ul>
</main>
</body>
</html>
"""


def not_found(address: str, root: str) -> str:
    """The page for addresses that lead nowhere.

    It is shown at any depth, so its links are those of the host's root if
    the site's address is known.
    """
    base = urlsplit(address).path
    soup = BeautifulSoup(NOT_FOUND, "html.parser")
    first, search = soup.find_all("a")
    first["href"] = base + root
    search["href"] = base + "search.html"
    soup.select_one("link[rel=icon]")["href"] = base + "_static/favicon.svg"
    return str(soup)


def sitemap(address: str, pages: list[str]) -> str:
    """The list of pages for search engines."""
    urls = ElementTree.Element("urlset", xmlns=SITEMAP)
    for page in pages:
        url = ElementTree.SubElement(urls, "url")
        location = ElementTree.SubElement(url, "loc")
        location.text = posixpath.join(address, page)
    ElementTree.indent(urls)
    text = ElementTree.tostring(urls, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def robots(address: str) -> str:
    """What robots may read: everything."""
    lines = ["User-agent: *", "Allow: /"]
    if address:
        lines += ["", f"Sitemap: {posixpath.join(address, 'sitemap.xml')}"]
    return "\n".join(lines) + "\n"


def add_files(app, exception) -> None:
    """Write the files into the site."""
    if exception or app.builder.name != "html":
        return
    folder, address = Path(app.outdir), app.config.html_baseurl
    page = not_found(address, f"{app.config.root_doc}.html")
    (folder / "404.html").write_text(page, "utf-8")
    (folder / "robots.txt").write_text(robots(address), "utf-8")
    path = folder / "sitemap.xml"
    path.unlink(missing_ok=True)
    if address:
        names = sorted(f"{name}.html" for name in app.env.found_docs)
        listed = [name for name in names if name not in UNLISTED]
        path.write_text(sitemap(address, listed), "utf-8")


def setup(app):
    """Sphinx calls it."""
    # Before `pages`, which finishes every page.
    app.connect("build-finished", add_files, priority=850)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
