r"""Take the still pictures of the live figures, from the built site.

    python book/tools/stills.py live-patches-1.png
    python book/tools/stills.py live-patches-2.png --click Play
    python book/tools/stills.py live-attention.webp --part .live-pair \
        --wait "tbody td"
    python book/tools/stills.py live-hero.webp --part :scope

A still stands where the live figure will be, so the page needs one before
the site can be built: any picture of that name will do the first time. Then
build, take the stills, and build again. Like the book's other figures they
are transparent, with text in a grey that shows on light and dark pages.
"""

import argparse
import io
import re
import shutil
from pathlib import Path

import numpy as np
from browser import FLAGS, NAMES, serve
from PIL import Image
from playwright.sync_api import Page, ViewportSize, sync_playwright

ROOT = Path(__file__).parents[2]
STILLS = ROOT / "book" / "_static" / "stills"
#: So high that the page's header need not cover a part of any figure.
VIEWPORT: ViewportSize = {"width": 1280, "height": 2400}
#: Shows on light and on dark pages.
GREY = "#7d7d7d"
MOST_BYTES = 60_000
COLOURS = 256
#: Of them, those for the soft edges of letters.
EDGES = 32
STYLE = f"""
:root, :has(.live), .live {{ background: transparent !important; }}
.live, .live * {{ color: {GREY} !important; }}
.bd-header, .live-hint, .live-play {{ display: none !important; }}
"""


def find_page(site: Path, still: str) -> str:
    """The first page of a site that shows a still, as its address there.

    Raises:
        FileNotFoundError: if there is none.
    """
    for path in sorted(site.rglob("*.html")):
        if f'/{still}"' in path.read_text("utf-8"):
            return path.relative_to(site).as_posix()
    raise FileNotFoundError(
        f"no page below {site} shows {still}: put it into a chapter and "
        "`make book`"
    )


def take(
    page: Page, address: str, kind: str, part: str, click: str, wait: str
) -> bytes:
    """A picture of a part of a page's live figure, as PNG.

    Args:
        page: an empty page of a browser.
        address: of the page to open.
        kind: the figure's class.
        part: selects what to show of the figure.
        click: a button to press before, or "".
        wait: selects what must have appeared in the figure before, or "".
    """
    page.goto(address)
    figure = page.locator(f"section.{kind}")
    figure.wait_for()
    if click:
        figure.get_by_role("button", name=click).click()
    if wait:
        figure.locator(wait).first.wait_for()
    page.add_style_tag(content=STYLE)
    page.wait_for_timeout(1000)  # for what is said after a pause
    return figure.locator(part).screenshot(omit_background=True)


def compress(png: bytes) -> bytes:
    """The same picture with 256 colours, a few of them for soft edges."""
    with Image.open(io.BytesIO(png)) as picture:
        pixels = np.asarray(picture.convert("RGBA"))
    solid = pixels[..., 3] == 255
    indices = np.empty(solid.shape, "uint8")
    palette = np.zeros((COLOURS, 4), "uint8")
    for place, start, count, method in (
        (solid, 0, COLOURS - EDGES, Image.Quantize.MAXCOVERAGE),
        (~solid, COLOURS - EDGES, EDGES, Image.Quantize.FASTOCTREE),
    ):
        mode = "RGB" if place is solid else "RGBA"
        line = Image.fromarray(pixels[place][None]).convert(mode)
        few = line.quantize(count, method, kmeans=place is solid)
        colours = np.array(few.getpalette("RGBA")).reshape(-1, 4)
        palette[start : start + len(colours)] = colours
        indices[place] = start + np.asarray(few).ravel()
    small, out = Image.fromarray(indices, "P"), io.BytesIO()
    small.putpalette(palette.tobytes(), "RGBA")
    small.save(out, "PNG", optimize=True)
    return out.getvalue()


def photographic(png: bytes) -> bytes:
    """The same picture as WebP, for one that is mostly a photograph."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGBA").save(out, "WEBP", quality=80, method=6)
    return out.getvalue()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("still", help="file name in book/_static/stills")
    parser.add_argument("--site", type=Path, default=ROOT / "_build" / "html")
    parser.add_argument(
        "--part", default=".live-main", help="CSS, within the figure"
    )
    parser.add_argument("--click", default="", help="name of a button")
    parser.add_argument("--wait", default="", help="CSS, within the figure")
    given = parser.parse_args()
    where = find_page(given.site, given.still)
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        parser.error("no Chromium: apt install chromium")
    with serve(given.site) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=list(FLAGS)
        )
        page = browser.new_page(viewport=VIEWPORT, reduced_motion="reduce")
        kind = re.sub(r"(-\d+)?\.\w+$", "", given.still)
        png = take(
            page,
            f"{address}/{where}",
            kind,
            given.part,
            given.click,
            given.wait,
        )
        browser.close()
    few = given.still.endswith(".png")
    small = compress(png) if few else photographic(png)
    if len(small) > MOST_BYTES:
        parser.error(
            f"{given.still} would have {len(small):,} bytes, more than "
            f"{MOST_BYTES:,}: show a smaller part of the figure"
        )
    STILLS.mkdir(exist_ok=True)
    path = STILLS / given.still
    path.write_bytes(small)
    print(f"{path.relative_to(ROOT)}: {len(small):,} bytes, from {where}")


if __name__ == "__main__":
    main()
