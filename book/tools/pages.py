"""Sphinx: what every page of the site gets after it has been written.

The theme writes pages that no policy for scripts can guard, with parts
that this book does not use. When the build is finished, each page is read,
lightened, mended, described and given a Content-Security-Policy that names
its own inline scripts and no others. Doing so twice changes nothing.
"""

import base64
import hashlib
import posixpath
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote
from xml.etree import ElementTree

from bs4 import BeautifulSoup, Tag
from PIL import Image
from sphinx.util import logging

CARD = "_static/card.png"
CARD_ALT = (
    "A photograph cut into patches, one of them framed, and four dashed "
    "frames shifted half a patch along the diagonals."
)
DESCRIPTION_LENGTH = 200

#: What the theme adds and this book does not use: Thebe, whose script comes
#: from another host; Font Awesome as a script, where the style sheet draws
#: the same icons with a font; a search index outside the search page.
UNUSED = (
    "script[src*='sphinx-thebe.js']",
    "script[type='text/x-thebe-config']",
    "link[href*='sphinx-thebe.css']",
    "script[src*='/fontawesome.js']",
    "meta[name=viewport] ~ meta[name=viewport]",
    "meta[name^=docsearch]",
)
UNUSED_INLINE = ("const THEBE_JS_URL", "kernelName =")
SEARCH = (
    "script[src*='/searchtools.js']",
    "script[src*='/language_data.js']",
    "script[src*='searchindex.js']",
)
#: What the search page, which is a search box, would have two of.
SEARCH_BUTTONS = (".search-button__button",)
#: What leads nowhere on a book of one page.
ONE_PAGE = (
    "#pst-primary-sidebar",
    "#pst-primary-sidebar-modal",
    "#pst-search-dialog",
    ".primary-toggle",
    ".search-button__button",
)
#: What a cell prints that found two ways to agree: the page makes it a mark.
SAME = "same numbers"
#: The spaces beside a number's signs, at which no line may end.
BESIDE_A_SIGN = re.compile(r"(?<=\d) (?=[%±])|(?<=±) (?=\d)")
#: The faces that every page begins with.
FONTS = (
    "source-serif-4-latin-wght-normal.woff2",
    "source-sans-3-latin-wght-normal.woff2",
)
MATHJAX = "script[src*='/mathjax/']"
MATHJAX_INLINE = "window.MathJax ="

#: In place of the theme's own script, which asks for the mode "" and shows
#: a dark page light until the rest has loaded.
COLOUR_MODE = """{
  const stored = (key) => localStorage.getItem(key);
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const mode = stored("mode") || "auto";
  const theme = mode === "auto" ? (dark ? "dark" : "light") : mode;
  Object.assign(document.documentElement.dataset, { mode, theme });
}"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Site:
    """What all pages share.

    Attributes:
        title: of the book.
        folder: where the site lies.
        root: address of the first page within the site.
        description: of the book; for pages without a text of their own.
        address: where the site is published, or "" if that is not known.
    """

    title: str
    folder: Path
    root: str
    description: str = ""
    address: str = ""


def lighten(soup: BeautifulSoup, page: PurePosixPath) -> None:
    """Remove what the page does not use."""
    on_search_page = page.name == "search.html"
    unused = [*UNUSED, *(SEARCH_BUTTONS if on_search_page else SEARCH)]
    inline: tuple[str, ...] = UNUSED_INLINE
    if not soup.select_one(".math"):
        unused.append(MATHJAX)
        inline += (MATHJAX_INLINE,)
    for element in soup.select(", ".join(unused)):
        element.decompose()
    for script in inline_scripts(soup):
        if script.string.strip().startswith(inline):
            script.decompose()


def mend(soup: BeautifulSoup) -> None:
    """Mend what the theme's markup lacks for policy and accessibility."""
    for script in soup.select("script[data-cfasync]"):
        script.string = COLOUR_MODE
    # book.js listens instead.
    for button in soup.select("button[onclick='window.print()']"):
        del button["onclick"]
    # These say less than the text inside, which they replace.
    for named in soup.select("summary, .search-button-field"):
        del named["aria-label"]
    for icon in soup.select("i[class*='fa-']"):
        icon["aria-hidden"] = "true"
    # A deprecated role, in a list that holds links between its items.
    for entry in soup.select("[role=doc-biblioentry], .citation-list"):
        del entry["role"]
    for output in soup.select("div.cell_output"):
        marked = "same-numbers" in output["class"]
        if output.get_text().strip() == SAME and not marked:
            output["class"].append("same-numbers")
    sidebar = soup.select_one("#pst-primary-sidebar")
    if sidebar:
        sidebar["role"] = "complementary"
        sidebar["aria-label"] = "Book"


def keep_signs(soup: BeautifulSoup) -> None:
    """Keep a number and its signs on one line, but for code."""
    for text in soup.find_all(string=BESIDE_A_SIGN):
        if not text.find_parent(["code", "pre", "script", "style"]):
            text.replace_with(BESIDE_A_SIGN.sub("\N{NO-BREAK SPACE}", text))


def preload(soup: BeautifulSoup, page: PurePosixPath) -> None:
    """Ask for the text's faces at once, so that it does not change later."""
    if soup.select_one("link[rel=preload][as=font]"):
        return
    base = "../" * len(page.parent.parts)
    for name in FONTS:
        attributes = {
            "rel": "preload",
            "as": "font",
            "type": "font/woff2",
            "crossorigin": "",
            "href": f"{base}_static/fonts/{name}",
        }
        soup.head.append(soup.new_tag("link", attrs=attributes))


def size_of(path: Path) -> tuple[str, str] | None:
    """Width and height of a picture in pixels; None if its file says none."""
    if path.suffix == ".svg":
        root = ElementTree.parse(path).getroot()
        size = root.get("width", ""), root.get("height", "")
        return size if all(map(str.isdecimal, size)) else None
    if path.suffix not in (".png", ".jpg", ".webp"):
        return None
    with Image.open(path) as picture:
        width, height = picture.size
    return str(width), str(height)


def size_images(
    soup: BeautifulSoup, page: PurePosixPath, folder: Path
) -> None:
    """Give pictures their size, and let all but the first wait.

    So the text does not jump when a picture comes.
    """
    for number, image in enumerate(soup.select(".bd-article img")):
        path = folder / page.parent / unquote(image["src"])
        if path.exists() and not image.has_attr("width"):
            size = size_of(path)
            if size:
                image["width"], image["height"] = size
        if number:
            image["loading"] = "lazy"


def summary(soup: BeautifulSoup) -> str:
    """The page's first paragraph, as many sentences as are short enough."""
    paragraphs = soup.select(".bd-article section > p")
    texts = (" ".join(p.get_text().split()) for p in paragraphs)
    sentences = re.split(
        r"(?<=[.?!])\s+(?=[A-Z])", next(filter(None, texts), "")
    )
    text = sentences[0]
    for sentence in sentences[1:]:
        if len(text) + len(sentence) >= DESCRIPTION_LENGTH:
            break
        text += f" {sentence}"
    return textwrap.shorten(text, DESCRIPTION_LENGTH, placeholder=" …")


def describe(soup: BeautifulSoup, page: PurePosixPath, site: Site) -> None:
    """Title, description and what a link to the page shows elsewhere.

    A description in the page's front matter is kept. Addresses are
    absolute if that of the site is known.
    """
    heading = soup.select_one("h1")
    name = site.title
    if page.as_posix() != site.root and heading:
        name = heading.get_text().removesuffix("#").strip()
    parts = dict.fromkeys((name, site.title))
    soup.title.string = " — ".join(parts)
    for old in soup.select("meta[property^='og:'], meta[name^='twitter:']"):
        old.decompose()
    given = soup.select_one("meta[name=description]")
    if not given:
        text = summary(soup) or site.description
        given = soup.new_tag(
            "meta", attrs={"name": "description", "content": text}
        )
        soup.head.append(given)
    base = site.address or "../" * len(page.parent.parts)
    properties = {
        "og:type": "article" if name != site.title else "website",
        "og:site_name": site.title,
        "og:title": name,
        "og:description": given["content"],
        "og:image": posixpath.join(base, CARD),
        "og:image:width": "1200",
        "og:image:height": "630",
        "og:image:alt": CARD_ALT,
    }
    if site.address:
        properties["og:url"] = posixpath.join(site.address, page)
    for key, value in properties.items():
        attributes = {"property": key, "content": value}
        soup.head.append(soup.new_tag("meta", attrs=attributes))
    attributes = {"name": "twitter:card", "content": "summary_large_image"}
    soup.head.append(soup.new_tag("meta", attrs=attributes))


def inline_scripts(soup: BeautifulSoup) -> list[Tag]:
    """The scripts that stand in the page itself."""
    return [s for s in soup.find_all("script", src=False) if s.string]


def policy(soup: BeautifulSoup) -> str:
    """A Content-Security-Policy for exactly this page."""

    def digest(script: Tag) -> str:
        sha = hashlib.sha256(script.string.encode())
        return f"'sha256-{base64.b64encode(sha.digest()).decode()}'"

    hashes = sorted(set(map(digest, inline_scripts(soup))))
    rules = {
        "default-src": ["'none'"],
        "script-src": ["'self'", *hashes],
        # MathJax lays formulas out with style elements and attributes that
        # it writes as it goes, so no hash can name them.
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:", "blob:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "worker-src": ["'self'"],
        "form-action": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
    }
    return "; ".join(" ".join((key, *rules[key])) for key in rules)


def protect(soup: BeautifulSoup) -> None:
    """Put the page's policy before all that it governs.

    Raises:
        ValueError: if an element has an inline handler, which the policy
            would refuse.
    """
    for element in soup.find_all(True):
        for name in element.attrs:
            if name.startswith("on"):
                raise ValueError(
                    f"<{element.name}> has the inline handler {name}="
                    f"{element[name]!r}; listen in book/_static/book.js"
                )
    for old in soup.select("meta[http-equiv='Content-Security-Policy']"):
        old.decompose()
    meta = soup.new_tag(
        "meta",
        attrs={
            "http-equiv": "Content-Security-Policy",
            "content": policy(soup),
        },
    )
    soup.select_one("meta[charset]").insert_after(meta)


def finish(html: str, page: PurePosixPath, site: Site) -> str:
    """A page of the theme, made a page of the site."""
    soup = BeautifulSoup(html, "html.parser")
    lighten(soup, page)
    mend(soup)
    keep_signs(soup)
    preload(soup, page)
    size_images(soup, page, site.folder)
    describe(soup, page, site)
    protect(soup)
    return str(soup)


def redirection(site: Site) -> str:
    """The page at the site's address, which leads on to the first page.

    Jupyter Book writes one without a title, a language and a link.
    """
    soup = BeautifulSoup(
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        '<meta name="viewport" content="width=device-width"/>\n'
        '<title></title>\n<meta http-equiv="refresh"/>\n'
        '<link rel="icon" href="_static/favicon.svg"/>\n</head>\n<body>\n'
        "<main><h1></h1><p><a>Read the book</a></p></main>\n</body>\n</html>",
        "html.parser",
    )
    soup.h1.string = site.title
    soup.a["href"] = site.root
    refresh = soup.select_one("meta[http-equiv]")
    refresh["content"] = f"0; url={site.root}"
    return str(soup)


def unite(folder: Path, root: str) -> None:
    """Mend what Sphinx's book on one page lacks, and move it to index.html.

    Sphinx writes it in the folder of the first page, with links as from the
    top folder. And it gives citations the same names as other things, so
    they lead to the list of references here.
    """
    path = folder / root
    soup = BeautifulSoup(path.read_text("utf-8"), "html.parser")
    for element in soup.select(", ".join(ONE_PAGE)):
        element.decompose()
    for link in soup.select(f"a[href^='{root}#']"):
        link["href"] = "#references"
    path.unlink()
    (folder / "index.html").write_text(str(soup), "utf-8")


def finish_all(app, exception) -> None:
    """Finish every page that was built, now or before."""
    if exception or app.builder.format != "html":
        return
    folder = Path(app.outdir)
    root = f"{app.config.root_doc}.html"
    if app.builder.name == "singlehtml":
        unite(folder, root)
        root = "index.html"
    first = BeautifulSoup((folder / root).read_text("utf-8"), "html.parser")
    given = first.select_one("meta[name=description]")
    site = Site(
        title=app.config.html_title,
        folder=folder,
        root=root,
        description=given["content"] if given else summary(first),
        address=app.config.html_baseurl,
    )
    if root != "index.html":
        (folder / "index.html").write_text(redirection(site), "utf-8")
    for path in sorted(folder.rglob("*.html")):
        page = PurePosixPath(path.relative_to(folder).as_posix())
        if page.parts[0] == "_static":
            continue
        html = path.read_text("utf-8")
        try:
            finished = finish(html, page, site)
        except ValueError as error:
            logger.warning("%s: %s", page, error)
            continue
        if finished != html:
            path.write_text(finished, "utf-8")


def setup(app):
    """Sphinx calls it."""
    # After all that writes pages, Jupyter Book's index.html included.
    app.connect("build-finished", finish_all, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
