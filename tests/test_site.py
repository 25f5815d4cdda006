"""The built site in a real browser: every page, light, dark and on a phone.

The site is built once. Each page is visited once, and what was seen there
is asserted one thing at a time.

`VITSD_WRITE_SCREENS=1 pytest tests/test_site.py -k looks` writes the
screenshots that pages are compared with; look at them before you commit.
"""

import gzip
import io
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import address as tool
import card
import curves
import matplotlib
import numpy as np
import pages
import pytest
import yaml
from browser import serve
from bs4 import BeautifulSoup
from PIL import Image, ImageChops
from test_book import chapters_of_toc

pytest_plugins = ["browser"]
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SCREENS = ROOT / "tests" / "screens"
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
#: axe-core 4.14.1 from npm, unchanged.
AXE = ROOT / "tests" / "axe.min.js"

FIRST = chapters_of_toc()[0] + ".html"
CHAPTER = "notebooks/03_locality_attention.html"
RESULT = "notebooks/08_how_small_is_small.html"
LIVE = "book/explorer.html"
SEARCH = "search.html?q=softmax"
PAGES = [f"{name}.html" for name in chapters_of_toc()] + [SEARCH]
DESKTOP = {"width": 1280, "height": 900}
PHONES = ({"width": 390, "height": 844}, {"width": 360, "height": 740})

#: What the pages are compared with, by the name of its file.
LOOKS = {
    f"{name}-{mode}": (page, scheme, size)
    for name, page in (
        ("index", FIRST),
        ("chapter", CHAPTER),
        ("result", RESULT),
        ("explorer", LIVE),
    )
    for mode, scheme, size in (
        ("light", "light", DESKTOP),
        ("dark", "dark", DESKTOP),
        ("phone", "light", PHONES[0]),
    )
}
SCREEN_WIDTH = 320
#: Screens are compared as so many squares in a row, on 0..255. Measured:
#: other hinting of letters 0.3, one more line in the contents 1.2; code
#: without its frame 2.8, no figures 6, a style sheet lost or the sidebar
#: gone 7 to 24, the colours of the wrong mode 200.
SQUARES = 64
LOOKS_LIMIT = 1.5
#: Letters that do not depend on the machine: those that matplotlib ships.
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
PINNED = """
@font-face { font-family: Pinned; src: url(/DejaVuSans.ttf); }
@font-face { font-family: Pinned; font-weight: 700;
  src: url(/DejaVuSans-Bold.ttf); }
@font-face { font-family: Fixed; src: url(/DejaVuSansMono.ttf); }
html { --pst-font-family-base: Pinned !important;
  --book-font-prose: Pinned !important;
  --pst-font-family-heading: Pinned !important;
  --pst-font-family-monospace: Fixed !important; }
"""

#: How far down badge and install cell push a published page's text.
PUBLISHED = 60
#: What the address of the repository adds to a page.
UNPUBLISHED = """
.published, p:has(> a > img[alt="Open in Colab"]), .article-header-buttons,
  .tag_colab-install { display: none !important; }
"""

MEGABYTE = 1_000_000
#: Endings of files that a server sends with gzip.
TEXT = {".css", ".html", ".js", ".json", ".mjs", ".svg", ".txt"}

FACTS = """async () => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const figure = all(".bd-article img, .bd-article .live").find(
    (e) => e.getBoundingClientRect().height > 60);
  const top = figure && figure.getBoundingClientRect().top + scrollY;
  for (const closed of all("details:not([open])")) closed.open = true;
  await document.fonts.ready;
  const wide = (e) => e.scrollWidth > e.clientWidth;
  return {
    figure: top ?? null,
    overflow: document.documentElement.scrollWidth - innerWidth,
    scrolling: all(".highlight pre").filter(wide).map((e) => e.innerText),
    searches: all(".search-button__button, input[type=search]").filter(
      (e) => e.checkVisibility({ visibilityProperty: true })).length,
    formulas: all(".math").length,
    typeset: all(".math > mjx-container").length,
    refused: all("mjx-merror").map((e) => e.innerText),
    images: all("img").map((e) => e.src),
  };
}"""
#: Colours that are on their way are not the ones to judge.
STILL = """addEventListener("DOMContentLoaded", () => {
  const style = document.createElement("style");
  style.textContent =
    "*, ::before, ::after { transition: none !important; " +
    "animation: none !important; }";
  document.head.append(style);
})"""
RECOLOURED = """() => [...document.querySelectorAll(
  ".bd-article img, .bd-article canvas"
)].filter((e) => {
  const { filter, backgroundColor } = getComputedStyle(e);
  return (filter !== "none") !== e.matches(".chart") ||
    backgroundColor !== "rgba(0, 0, 0, 0)";
}).map((e) => e.outerHTML)"""
#: Light pages are held to all rules. Dark ones differ in colours alone.
SERIOUS = """(only) => axe.run({
  resultTypes: ["violations"],
  ...(only && { runOnly: { type: "rule", values: only } }),
}).then(({ violations }) => violations
  .filter(({ impact }) => impact !== "minor")
  .flatMap(({ id, nodes }) => nodes.map(
    ({ html, failureSummary }) => [id, html, failureSummary].join("\\n"))))"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("book")
    command = Path(sys.executable).with_name("jupyter-book")
    options = ["-W", "--keep-going", "-n", "--path-output", str(folder)]
    done = subprocess.run(
        [command, "build", ROOT, *options], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder / "_build" / "html"


@pytest.fixture(scope="module")
def address(site):
    """Where the site is served, without a slash at the end."""
    with serve(site) as base:
        yield base


@dataclass
class Visit:
    """What a browser met on a page.

    Attributes:
        requests: all addresses asked for.
        first: those before the models of a live figure are.
        complaints: errors and warnings of the console, and failed requests.
        desktop: FACTS on a desktop.
        phones: FACTS on phones.
        serious: what axe finds on the light page, but for the minor: a
            table's corner may be empty.
        serious_dark: the same of the dark page's contrasts.
        wrong: charts without a filter when dark, and other pictures with
            one or with a background.
    """

    requests: list[str] = field(default_factory=list)
    first: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    desktop: dict = field(default_factory=dict)
    phones: list[dict] = field(default_factory=list)
    serious: list[str] = field(default_factory=list)
    serious_dark: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def visit(context, url: str) -> Visit:
    """Go to a page, run its models, and look at it in every way."""
    seen = Visit()
    page = context.new_page()
    page.on("request", lambda request: seen.requests.append(request.url))
    page.on(
        "requestfailed",
        lambda request: seen.complaints.append(f"failed: {request.url}"),
    )
    page.on(
        "response",
        lambda response: (
            response.status < 400
            or seen.complaints.append(f"{response.status}: {response.url}")
        ),
    )
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on(
        "console",
        lambda message: (
            message.type in ("error", "warning")
            and seen.complaints.append(message.text)
        ),
    )
    page.goto(url, wait_until="networkidle")
    seen.desktop = page.evaluate(FACTS)
    seen.first = seen.requests.copy()
    if page.locator("img[src*=live-attention], .live-attention").count():
        page.locator(".live-attention").scroll_into_view_if_needed()
        page.wait_for_selector(".live-attention select:enabled")
    page.evaluate(AXE.read_text("utf-8"))
    seen.serious = page.evaluate(SERIOUS)
    page.emulate_media(color_scheme="dark")
    page.wait_for_selector("html[data-theme=dark]")
    seen.serious_dark = page.evaluate(SERIOUS, ["color-contrast"])
    seen.wrong = page.evaluate(RECOLOURED)
    for size in PHONES:
        page.set_viewport_size(size)
        seen.phones.append(page.evaluate(FACTS))
    page.close()
    return seen


@pytest.fixture(scope="module")
def visits(chromium, address):
    """`visits(page)` is the Visit of a page; each page is visited once."""
    context = chromium.new_context(viewport=DESKTOP, color_scheme="light")
    context.add_init_script(STILL)
    yield cache(lambda page: visit(context, f"{address}/{page}"))
    context.close()


each_page = pytest.mark.parametrize("page", PAGES)


@each_page
def test_nothing_is_asked_of_another_host(visits, address, page):
    own = (f"{address}/", "data:", "blob:")
    assert [u for u in visits(page).requests if not u.startswith(own)] == []


@each_page
def test_console_is_silent(visits, page):
    """No error, no warning, and nothing that the policy refused."""
    assert visits(page).complaints == []


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.startswith("notebooks/")]
)
def test_a_figure_comes_within_two_screens(visits, page):
    """With what is folded still folded, and also when it is published."""
    room = 0 if tool.is_set() else PUBLISHED
    assert visits(page).desktop["figure"] + room < 2 * DESKTOP["height"]


def test_models_run_in_the_page(visits):
    """The policy allows the worker, and the weights from the same host."""
    asked = [url for url in visits(LIVE).requests if "/models/" in url]
    assert sum(url.endswith(".safetensors") for url in asked) == 2


def test_models_far_away_are_not_asked_for(visits):
    """Chapter 3 ends with them: they come when the reader does."""
    seen = visits(CHAPTER)
    assert not any(url.endswith(".safetensors") for url in seen.first)
    assert any(url.endswith(".safetensors") for url in seen.requests)


@pytest.mark.parametrize("size", [DESKTOP, PHONES[0]], ids=["desk", "phone"])
@pytest.mark.parametrize("page", [FIRST, CHAPTER, LIVE])
def test_nothing_jumps(chromium, address, page, size):
    """The layout shift, as browsers sum it up."""
    context = chromium.new_context(viewport=size)
    opened = context.new_page()
    opened.goto(f"{address}/{page}", wait_until="networkidle")
    opened.locator(".live").first.wait_for()
    opened.wait_for_timeout(500)
    shift = opened.evaluate(
        """() => new Promise((done) => new PerformanceObserver((list) => done(
          list.getEntries().reduce((sum, { value }) => sum + value, 0)
        )).observe({ type: "layout-shift", buffered: true })
          || setTimeout(() => done(0), 500))"""
    )
    context.close()
    assert shift < 0.1


@pytest.mark.parametrize("name", ["index-light", "index-phone"])
def test_first_screen_of_the_first_page_is_complete(chromium, address, name):
    """Promise, both buttons, photograph and crops, without scrolling."""
    size = {"index-light": {"width": 1280, "height": 800}}
    context = chromium.new_context(viewport=size.get(name, PHONES[0]))
    page = context.new_page()
    page.goto(f"{address}/{FIRST}", wait_until="networkidle")
    height = page.viewport_size["height"]
    for part in (".hero-words", ".hero .sd-btn", ".live-stage", ".live-crops"):
        for box in page.locator(part).all():
            place = box.bounding_box()
            assert place["y"] + place["height"] <= height, part
    context.close()


def weight(site: Path, addresses) -> int:
    """Bytes that a server with gzip sends for these addresses, once each."""
    total = 0
    for path in {unquote(urlsplit(url).path) for url in addresses}:
        content = (site / path.removeprefix("/")).read_bytes()
        packed = PurePosixPath(path).suffix in TEXT
        total += len(gzip.compress(content, 6) if packed else content)
    return total


@each_page
def test_page_is_light(visits, site, address, page):
    seen = visits(page)
    sent = {*seen.first, *seen.desktop["images"]}
    files = {url for url in sent if url.startswith(address)}
    assert weight(site, files) < 3 * MEGABYTE
    if page == FIRST:
        assert weight(site, files) < 1 * MEGABYTE


@each_page
def test_formulas_are_typeset_where_there_are_any(visits, page):
    seen = visits(page)
    loaded = any("/mathjax/" in url for url in seen.requests)
    assert loaded == (seen.desktop["formulas"] > 0)
    assert seen.desktop["typeset"] == seen.desktop["formulas"]
    assert seen.desktop["refused"] == []


@each_page
def test_one_search_box(visits, page):
    seen = visits(page)
    assert [f["searches"] for f in (seen.desktop, *seen.phones)] == [1, 1, 1]


@each_page
def test_no_page_scrolls_sideways(visits, page):
    seen = visits(page)
    assert [f["overflow"] for f in (seen.desktop, *seen.phones)] == [0, 0, 0]


@each_page
def test_no_code_scrolls_on_a_desktop(visits, page):
    assert visits(page).desktop["scrolling"] == []


@each_page
def test_dark_pages_recolour_charts_alone(visits, page):
    assert visits(page).wrong == []


@each_page
def test_axe_finds_nothing_serious(visits, page):
    assert visits(page).serious == []
    assert visits(page).serious_dark == []


def screenshot(chromium, url: str, scheme: str, size: dict) -> Image.Image:
    """What a reader sees of a page first, SCREEN_WIDTH pixels wide."""
    context = chromium.new_context(
        viewport=size, color_scheme=scheme, reduced_motion="reduce"
    )
    context.route(
        "**/*.ttf",
        lambda route: route.fulfill(
            path=FONTS / PurePosixPath(route.request.url).name
        ),
    )
    page = context.new_page()
    page.goto(url, wait_until="networkidle")
    if page.locator("img[src*=live-attention], .live-attention").count():
        page.locator(".live-attention").wait_for()
        if page.url.endswith(LIVE):
            page.wait_for_selector(".live-attention select:enabled")
    page.add_style_tag(content=PINNED)
    page.evaluate("document.fonts.ready")
    page.add_style_tag(content=UNPUBLISHED)
    # It scrolls to the page's own entry, sooner or later.
    page.evaluate(
        "document.querySelector('.bd-sidebar-primary').scrollTo(0, 0)"
    )
    # What came into view by these styles may still be on its way.
    page.wait_for_function(
        """() => [...document.images].every((e) => e.complete ||
          e.getBoundingClientRect().top > innerHeight)"""
    )
    taken = page.screenshot(animations="disabled")
    context.close()
    with Image.open(io.BytesIO(taken)) as image:
        height = round(SCREEN_WIDTH * image.height / image.width)
        small = image.convert("RGB")
        return small.resize((SCREEN_WIDTH, height), Image.Resampling.BOX)


def distance(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference of two screens in squares, on 0..255."""
    if one.size != other.size:
        return float("inf")
    size = (SQUARES, round(SQUARES * one.height / one.width))
    pair = [i.resize(size, Image.Resampling.BOX) for i in (one, other)]
    return float(np.asarray(ImageChops.difference(*pair)).mean())


@pytest.mark.parametrize("name", LOOKS)
def test_page_looks_as_it_did(chromium, address, name):
    page, scheme, size = LOOKS[name]
    taken = screenshot(chromium, f"{address}/{page}", scheme, size)
    path = SCREENS / f"{name}.webp"
    if os.environ.get("VITSD_WRITE_SCREENS") == "1":
        SCREENS.mkdir(exist_ok=True)
        taken.save(path, lossless=True, quality=100, method=6)
        pytest.skip(f"{path.name} is written")
    with Image.open(path) as stored:
        apart = distance(taken, stored.convert("RGB"))
    assert apart < LOOKS_LIMIT, (
        f"{path.name} differs by {apart:.1f}. If the page was meant to "
        "change: VITSD_WRITE_SCREENS=1 pytest tests/test_site.py -k looks"
    )


def files_of(site: Path) -> list[Path]:
    """Every page of the site, the one that leads on to the first included.

    Left out are the listings of the package's source.
    """
    found = sorted(site.rglob("*.html"))
    apart = ("_static", "_modules")
    return [p for p in found if p.relative_to(site).parts[0] not in apart]


@cache
def read(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text("utf-8"), "html.parser")


def content(soup: BeautifulSoup, selector: str) -> str:
    """The content of the one meta element that a selector finds."""
    (meta,) = soup.select(selector)
    return meta["content"]


def located(site: Path, page: Path, url: str) -> Path:
    """The file of the site that an address on a page means."""
    own = tool.site()
    for start in filter(None, (own, urlsplit(own).path)):
        if url.startswith(start):
            return site / url.removeprefix(start)
    return page.parent / url


def test_every_page_was_visited(site):
    listed = {urlsplit(page).path for page in PAGES}
    listed |= {"index.html", "404.html"}
    built = {path.relative_to(site).as_posix() for path in files_of(site)}
    assert built == listed


def test_every_page_introduces_itself(site):
    seen = set()
    for path in files_of(site):
        soup = read(path)
        assert soup.html["lang"] == "en", path
        assert soup.title.string.endswith(CONFIG["title"]), path
        about = content(soup, "meta[name=description]")
        assert 40 <= len(about) <= pages.DESCRIPTION_LENGTH, path
        assert content(soup, "meta[property='og:description']") == about
        named = content(soup, "meta[property='og:title']")
        assert soup.title.string.startswith(named), path
        seen.add(soup.title.string)
        icon = soup.select_one("link[rel=icon]")["href"]
        assert located(site, path, icon).exists(), path
        picture = content(soup, "meta[property='og:image']")
        with Image.open(located(site, path, picture)) as image:
            assert image.size == (card.WIDTH, card.HEIGHT), path
    book = content(read(site / FIRST), "meta[name=description]")
    assert book.startswith("Two ideas for vision transformers")
    assert content(read(site / "index.html"), "meta[name=description]") == book
    # The first page and the one that leads to it share theirs.
    assert len(seen) == len(files_of(site)) - 1


def test_no_button_is_dead(site):
    """Until the address is set, none needs it; then every notebook does."""
    for path in files_of(site):
        links = [link.get("href", "") for link in read(path).find_all("a")]
        assert not any("/OWNER/" in link for link in links), path
        installs = read(path).select(".tag_colab-install")
        notebook = path.parent.name in ("notebooks", "runs")
        colab = any("colab.research.google.com/" in link for link in links)
        assert colab == (notebook and tool.is_set()), path
        assert bool(installs) == (notebook and tool.is_set()), path


def test_host_finds_what_it_asks_for(site):
    assert (site / ".nojekyll").exists()
    assert (site / "robots.txt").read_text("utf-8").startswith("User-agent: *")
    assert (site / "sitemap.xml").exists() == tool.is_set()
    links = read(site / "404.html").select("main a")
    page = site / "404.html"
    assert all(located(site, page, a["href"]).exists() for a in links)


def test_footer_names_both_licences(site):
    footer = read(site / FIRST).select_one(".bd-footer-content").get_text()
    assert "Text and figures: CC BY 4.0." in footer
    assert "Code, records and weights: MIT." in footer


def test_footer_has_the_years_of_the_licence(site):
    licence = (ROOT / "LICENSE").read_text("utf-8")
    year, holder = re.search(r"Copyright \(c\) (\S+) (.+)", licence).groups()
    footer = read(site / FIRST).select_one(".bd-footer-content").get_text()
    assert f"© Copyright {year}." in " ".join(footer.split())
    assert f"By {holder}" in " ".join(footer.split())


def test_every_page_keeps_its_policy(site):
    for path in files_of(site):
        soup = read(path)
        charset, meta = soup.head.find_all(True, limit=2)
        assert charset.has_attr("charset"), path
        assert meta["http-equiv"] == "Content-Security-Policy", path
        rules = dict(r.split(" ", 1) for r in meta["content"].split("; "))
        assert rules["default-src"] == "'none'"
        assert rules["object-src"] == rules["base-uri"] == "'none'"
        assert "unsafe" not in rules["script-src"], path
        assert "http" not in meta["content"], path


@pytest.mark.parametrize("page", ["index.html", FIRST, CHAPTER])
def test_a_finished_page_stays_as_it_is(site, page):
    """So a site can be built again over the old one."""
    shared = pages.Site(CONFIG["title"], site, FIRST, address=tool.site())
    html = (site / page).read_text("utf-8")
    again = pages.finish(html, PurePosixPath(page), shared)
    assert again == str(read(site / page))


def test_a_number_and_its_signs_stay_on_one_line(site):
    for name in ("book/index", "notebooks/07_ablation"):
        soup = read(site / f"{name}.html")
        for code in soup.select("code, pre, script, style"):
            code.decompose()
        assert re.search(r"±\N{NO-BREAK SPACE}\d", soup.get_text())
        assert not re.search(r"\d [%±]|± \d", soup.get_text())


def test_policy_refuses_what_is_not_in_the_page(chromium, address):
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{address}/{FIRST}")
    refused = page.evaluate(
        """async () => {
          const refused = [];
          document.addEventListener("securitypolicyviolation",
            (event) => refused.push(event.effectiveDirective));
          const script = document.createElement("script");
          script.textContent = "window.intruder = true";
          document.body.append(script);
          document.body.insertAdjacentHTML("beforeend",
            "<img alt='' src='http://other.invalid/' onerror='intruder = 1'>");
          await fetch("http://other.invalid/").catch(() => {});
          await new Promise((done) => setTimeout(done, 100));
          return [window.intruder, ...refused.sort()];
        }"""
    )
    context.close()
    assert refused == [
        None,
        "connect-src",
        "img-src",
        "script-src-attr",
        "script-src-elem",
    ]


def test_search_finds_a_word(chromium, address):
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{address}/{SEARCH}")
    page.wait_for_selector("#search-results li")
    found = page.eval_on_selector_all(
        "#search-results li a", "links => links.map((link) => link.href)"
    )
    context.close()
    assert any(CHAPTER in link for link in found)


def test_search_shows_formulas_as_text(chromium, address):
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{address}/search.html?q=temperature")
    page.wait_for_selector("#search-results li p.context")
    page.locator("#search-results", has_text="τ").wait_for()
    text = page.inner_text("#search-results")
    context.close()
    assert "\\(" not in text and "\\tau" not in text


def test_dark_pages_are_printed_light(chromium, address):
    context = chromium.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(f"{address}/{CHAPTER}")
    themes = page.evaluate(
        """["beforeprint", "afterprint"].map((name) => {
          dispatchEvent(new Event(name));
          return document.documentElement.dataset.theme;
        })"""
    )
    context.close()
    assert themes == ["light", "dark"]


def test_chapters_have_their_numbers(site):
    for name in chapters_of_toc():
        number = read(site / f"{name}.html").select_one("h1 .section-number")
        chapter = re.match(r"notebooks/(\d+)_", name)
        if chapter:
            assert int(number.get_text().strip(". \xa0")) == int(chapter[1])
        else:
            assert number is None, name


def test_no_two_pages_share_a_name(site):
    """Nor is one's name the beginning of another's, before a colon."""
    headings = [
        read(site / f"{name}.html").select_one("h1").get_text()
        for name in chapters_of_toc()
    ]
    titles = [re.sub(r"^[\d.\s]+|#$", "", text) for text in headings]
    assert len(set(titles)) == len(titles)
    assert not {t.partition(":")[0] for t in titles if ":" in t} & {*titles}


def test_citations_say_what_the_bibliography_says(site):
    soup = read(site / "book" / "references.html")
    labels = [e.get_text() for e in soup.select(".citation .label")]
    assert labels
    for label in labels:
        assert re.fullmatch(r"\[[^\d\[]+ \d{4}[a-c]?\]", label), label
    # The text cites "Lee et al. [2021]": what it leads to has no letter.
    named = {e["id"]: e.select_one(".label") for e in soup.select(".citation")}
    for path in files_of(site):
        for link in read(path).select("a[href*='references.html#id']"):
            label = named[urlsplit(link["href"]).fragment].get_text()
            assert f" {link.get_text().strip('[]')}]" in label, (path, link)


def test_an_accuracy_leads_to_the_row_of_its_runs(site):
    rows = {
        row["id"]: [cell.get_text(strip=True) for cell in row.select("td")]
        for row in read(site / "book" / "results.html").select("tr[id]")
    }
    links = read(site / "book" / "images.html").select("a[href*='#run-']")
    assert len(links) >= 20
    for link in links:
        where = urlsplit(link["href"])
        assert where.path == "results.html"
        mean = re.match(r"[\d.]+", link.get_text()).group()
        assert mean in rows[where.fragment], link


def test_curves_stay_without_javascript(chromium, address):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/book/images.html")
    assert not page.locator(".live-curves").count()
    still = page.locator("img[src*='live-curves']")
    assert still.bounding_box()["width"] > 300
    # A number and its sign stay on one line.
    told = page.locator("main").inner_text().replace("\N{NO-BREAK SPACE}", " ")
    for curve in ("pretrained", "sl"):
        assert curves.chosen(curve, "best")[5_000].top1 in told
    context.close()


@pytest.mark.parametrize("page", [CHAPTER, RESULT])
def test_paper_shows_the_chapter_alone(chromium, address, page):
    """No bars, no folded code, and nothing wider than the sheet."""
    context = chromium.new_context(viewport={"width": 720, "height": 1000})
    opened = context.new_page()
    opened.goto(f"{address}/{page}", wait_until="networkidle")
    opened.emulate_media(media="print")
    assert opened.locator(".bd-article h1").is_visible()
    for apart in (".bd-sidebar-primary", ".bd-header-article", ".live"):
        for one in opened.locator(apart).all():
            assert not one.is_visible(), apart
    wide = "document.documentElement.scrollWidth - innerWidth"
    assert opened.evaluate(wide) <= 0
    context.close()


def test_print_button_prints(chromium, address):
    context = chromium.new_context(viewport=DESKTOP)
    page = context.new_page()
    page.add_init_script("window.print = () => { window.printed = true }")
    page.goto(f"{address}/{FIRST}", wait_until="networkidle")
    page.get_by_label("Download this page").click()
    page.locator(".btn-download-pdf-button").click()
    assert page.evaluate("window.printed")
    context.close()


def test_address_of_the_site_makes_links_absolute(site):
    shared = pages.Site("Title", site, FIRST, address="https://a.org/book/")
    html = (site / CHAPTER).read_text("utf-8")
    soup = BeautifulSoup(
        pages.finish(html, PurePosixPath(CHAPTER), shared), "html.parser"
    )
    picture = content(soup, "meta[property='og:image']")
    assert picture == f"https://a.org/book/{pages.CARD}"
    url = content(soup, "meta[property='og:url']")
    assert url == f"https://a.org/book/{CHAPTER}"


def test_book_on_one_page_lies_where_its_links_start(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "index.html").write_text(
        "<nav id='pst-primary-sidebar'></nav>"
        "<a href='book/index.html#id3'>2021</a> <a href='#chapters'>1</a>",
        "utf-8",
    )
    pages.unite(tmp_path, "book/index.html")
    assert not (tmp_path / "book" / "index.html").exists()
    soup = read(tmp_path / "index.html")
    assert not soup.find("nav")
    links = [link["href"] for link in soup.find_all("a")]
    assert links == ["#references", "#chapters"]


def test_inline_handler_is_an_error():
    soup = BeautifulSoup(
        '<head><meta charset="utf-8"></head><a onclick="f()">a</a>',
        "html.parser",
    )
    with pytest.raises(ValueError, match=r"<a> .* onclick='f\(\)'"):
        pages.protect(soup)


def test_card_is_what_its_script_draws():
    with Image.open(card.FILE) as stored:
        pair = [card.draw().convert("RGB"), stored.convert("RGB")]
    assert np.asarray(ImageChops.difference(*pair)).mean() < 1
