"""The first page's live figure and its cards, in a browser and without."""

from pathlib import Path

import chapters
import numpy as np
import pytest
from figures import open_figure, serve_figures
from keras import ops
from PIL import Image
from playwright.sync_api import expect

from vitsd_helpers.patches import DIAGONAL, patchify, shift_images

pytest_plugins = ["browser"]

ROOT = Path(__file__).parents[1]
STATIC = ROOT / "book" / "_static"
COUNT = 6
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Test</title>
<link rel="stylesheet" href="live/live.css">
<script type="module" src="live/main.mjs"></script>
<body style="margin: 0"><main style="width: 340px">
<p><img src="stills/live-hero.webp" alt="still"></p></main>"""
#: The mean colour of a canvas's middle part.
MEAN = """(canvas) => {
  const { width } = canvas;
  const at = Math.round(width / 4);
  const { data } = canvas.getContext("2d").getImageData(
    at, at, width - 2 * at, width - 2 * at);
  const sums = [0, 0, 0];
  for (let i = 0; i < data.length; i++) if (i % 4 < 3) sums[i % 4] += data[i];
  return sums.map((sum) => (4 * sum) / data.length);
}"""
#: The colour of a board's pixel at a part of its width and height.
COLOUR = """(canvas, [x, y]) => [...canvas.getContext("2d").getImageData(
  Math.round(x * canvas.width), Math.round(y * canvas.width), 1, 1).data]"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with serve_figures(folder, index=PAGE) as address:
        yield address


@pytest.fixture
def open_hero(chromium, site):
    """`open_hero(**settings)` is a page of a context with these settings."""
    contexts = []

    def begin(**settings):
        context = chromium.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        return open_figure(page, site, "hero")

    yield begin
    for context in contexts:
        context.close()


@pytest.fixture
def hero(open_hero):
    """The figure at rest."""
    return open_hero(reduced_motion="reduce")


def board(page):
    return page.get_by_role("application")


def drawing(page):
    return board(page).evaluate("canvas => canvas.toDataURL()")


def spot(page, row, column):
    """The middle of a patch, from 0, within the board."""
    step = board(page).bounding_box()["width"] / COUNT
    return {"x": (column + 0.5) * step, "y": (row + 0.5) * step}


def crops(page):
    """Mean colours of the five crops."""
    return [
        canvas.evaluate(MEAN)
        for canvas in page.locator(".live-crops canvas").all()
    ]


def expected(row, column):
    """The same of the patch and its shifted copies, by Python."""
    side = 480
    with Image.open(
        STATIC / "live" / "pictures" / "large" / "pavilion.webp"
    ) as photo:
        resized = photo.convert("RGB").resize((side, side))
    picture = np.asarray(resized, "float32")[None]
    size = side // COUNT
    shifted = ops.convert_to_numpy(shift_images(picture, size // 2, DIAGONAL))
    means = []
    for each in [picture, *np.split(shifted, len(DIAGONAL), -1)]:
        patches = ops.convert_to_numpy(patchify(each, size))[0]
        patch = patches[row * COUNT + column].reshape(size, size, 3)
        part = size // 4
        means.append(patch[part:-part, part:-part].mean((0, 1)))
    return means


@pytest.mark.parametrize("place", [(3, 2), (1, 4), (2, 3)])
def test_crops_are_those_of_python(hero, place):
    board(hero).click(position=spot(hero, *place))
    np.testing.assert_allclose(crops(hero), expected(*place), atol=5)


def test_frames_lie_around_the_patch_and_its_windows(hero):
    board(hero).click(position=spot(hero, 3, 2))
    blue = board(hero).evaluate(COLOUR, [2.5 / COUNT, 3 / COUNT])
    np.testing.assert_allclose(blue[:3], (0, 114, 178), atol=3)
    # A dashed line: somewhere along it there is a dash.
    line = [
        board(hero).evaluate(COLOUR, [(1.6 + i / 40) / COUNT, 2.5 / COUNT])
        for i in range(12)
    ]
    orange = np.abs(np.array(line)[:, :3] - (213, 94, 0)).max(-1) < 4
    assert orange.any()


@pytest.mark.slow
def test_it_moves_by_itself_until_it_is_touched(open_hero):
    page = open_hero()
    before = drawing(page)
    page.wait_for_timeout(2600)
    assert drawing(page) != before
    board(page).click(position=spot(page, 4, 1))
    page.wait_for_timeout(1000)
    rest = drawing(page)
    page.wait_for_timeout(2600)
    assert drawing(page) == rest
    np.testing.assert_allclose(crops(page)[0], expected(4, 1)[0], atol=5)


@pytest.mark.slow
def test_it_can_be_paused_and_played(open_hero):
    page = open_hero()
    page.get_by_role("button", name="Pause").click()
    page.wait_for_timeout(1500)
    rest = drawing(page)
    page.wait_for_timeout(2500)
    assert drawing(page) == rest
    page.get_by_role("button", name="Play").click()
    page.wait_for_timeout(2600)
    assert drawing(page) != rest


@pytest.mark.slow
def test_it_rests_where_motion_is_reduced(hero):
    rest = drawing(hero)
    hero.wait_for_timeout(2600)
    assert drawing(hero) == rest


def test_it_follows_pointer_and_keys(hero):
    board(hero).hover(position=spot(hero, 4, 1))
    np.testing.assert_allclose(crops(hero), expected(4, 1), atol=5)
    board(hero).focus()
    for key, place in (
        ("ArrowUp", (3, 1)),
        ("ArrowRight", (3, 2)),
        ("End", (3, 5)),
        ("PageUp", (0, 5)),
    ):
        hero.keyboard.press(key)
        found = crops(hero)
        np.testing.assert_allclose(found[0], expected(*place)[0], atol=5)


@pytest.mark.slow
def test_what_the_keys_reach_is_said(hero):
    board(hero).focus()
    hero.keyboard.press("Home")
    said = hero.get_by_role("status")
    expect(said).to_contain_text("column 1 of 6")
    assert said.bounding_box()["width"] <= 1


def test_it_follows_a_finger(open_hero):
    page = open_hero(
        has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844}
    )
    board(page).tap(position=spot(page, 4, 4))
    page.wait_for_timeout(1000)
    np.testing.assert_allclose(crops(page), expected(4, 4), atol=5)


@pytest.mark.slow
def test_still_stays_without_the_photograph(page, site):
    page.route("**/large/pavilion.webp", lambda route: route.abort())
    page.goto(site)
    page.get_by_text("could not start. Its photograph").wait_for()
    assert page.get_by_role("img", name="still").is_visible()


def test_card_reads_its_page(tmp_path):
    (tmp_path / "07_name.md").write_text(
        "# 7. The name: and more\n\n**Time**: a quarter\nof an hour to read; "
        "the cells run in a minute.\n\n![a](../stills/live-x.png)\n",
        "utf-8",
    )
    text = chapters.card(tmp_path, "07_name", "what it is about.")
    for part in ("7 · The name\n", "15 min", "**live**", "What it is about."):
        assert part in text
    with pytest.raises(FileNotFoundError, match="no page 08"):
        chapters.card(tmp_path, "08", "")
    with pytest.raises(ValueError, match="needs a heading"):
        chapters.name_of("no heading")


@pytest.mark.parametrize(
    ("said", "minutes"),
    [
        ("**Time**: twenty-five\nminutes to read; the cells: two.", 25),
        ("Chapter 5. **Time**:\nhalf an hour\nto read; no more.", 30),
        ("**Time**: twenty minutes; nothing is trained here.", 20),
        ("**Time**: a quarter of an hour.", 15),
    ],
)
def test_minutes_are_those_that_a_chapter_says(said, minutes):
    assert chapters.minutes(said) == minutes


@pytest.mark.parametrize("said", ["No word.", "**Time**: ages to read; two."])
def test_a_chapter_says_its_minutes_in_known_words(said):
    with pytest.raises(ValueError, match=r"\*\*Time\*\*: "):
        chapters.minutes(said)


def test_every_chapter_has_a_card_and_every_card_its_picture():
    index = (ROOT / "book" / "index.md").read_text("utf-8")
    cards = index.split("```{chapters}\n")[1].split("```")[0].splitlines()
    pages = [line.split(":")[0] for line in cards]
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert [p for p in pages if p.startswith("notebooks/")] == [
        f"notebooks/{path.stem}" for path in notebooks
    ]
    for page in pages:
        assert (STATIC / "cards" / f"{Path(page).name}.svg").exists()
