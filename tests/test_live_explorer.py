"""The patch explorer, in a browser, against the Keras layer."""

import io
import re
from base64 import b64encode

import numpy as np
import pytest
from figures import serve_figures
from keras import ops
from PIL import Image

from vitsd_helpers import ShiftedPatchTokenization
from vitsd_helpers.patches import (
    ALL_DIRECTIONS,
    CARDINAL,
    DIAGONAL,
    patchify,
    shift_images,
)

pytest_plugins = ["browser"]

SIDE = 72
DIRECTIONS = {
    "none": (),
    "diagonal": DIAGONAL,
    "cardinal": CARDINAL,
    "eight": ALL_DIRECTIONS,
}
#: Patch size, shifted copies, shift in pixels.
SETTINGS = [
    (6, "none", 0),
    (6, "diagonal", 3),
    (6, "diagonal", 0),
    (8, "cardinal", 8),
    (9, "diagonal", 4),
    (12, "eight", 5),
    (24, "diagonal", 24),
]
COLOUR = (40, 200, 120)
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Test</title>
<link rel="stylesheet" href="live/live.css">
<script type="module" src="live/main.mjs"></script>
<body style="margin: 0"><p>Before.</p>
<p><img src="stills/live-patches-{}.png" alt="still"> A still picture.</p>"""
#: Which of a board's pixels have a colour, in the middle of any of its lines,
#: as a text of 0 and 1: a list comes far more slowly.
BRIGHT = """(canvas, [colour, side]) => {
  const context = canvas.getContext("2d");
  const { data, width } = context.getImageData(
    0, 0, canvas.width, canvas.height);
  const inside = (i) => {
    const places = [];
    const first = Math.ceil((i * width) / side);
    for (let at = first; at + 1 <= ((i + 1) * width) / side; at++)
      places.push(at);
    return places;
  };
  const is = (y, x) => colour.every(
    (value, c) => Math.abs(data[(y * width + x) * 4 + c] - value) <= 2);
  const bright = [];
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++)
      bright.push(inside(y).some((v) => inside(x).some((u) => is(v, u))));
  return bright.map(Number).join("");
}"""
#: The colours in the middle of the squares of a canvas.
MIDDLES = """(canvas, count) => {
  const context = canvas.getContext("2d");
  const at = (i) => Math.floor(((i + 0.5) * canvas.width) / count);
  const colours = [];
  for (let y = 0; y < count; y++)
    for (let x = 0; x < count; x++) {
      const { data } = context.getImageData(at(x), at(y), 1, 1);
      colours.push(...data.slice(0, 3));
    }
  return colours;
}"""
DROP = """(figure, [name, type, data]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name, { type }));
  const settings = { dataTransfer, bubbles: true, cancelable: true };
  figure.dispatchEvent(new DragEvent("dragover", settings));
  figure.dispatchEvent(new DragEvent("drop", settings));
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    pages = {str(chapter): PAGE.format(chapter) for chapter in (1, 2)}
    with serve_figures(folder, **pages) as address:
        yield address


@pytest.fixture
def explorer(page, site):
    """Chapter 2's figure."""
    return begin(page, site)


def begin(page, site, chapter=2):
    page.goto(f"{site}/{chapter}.html")
    page.get_by_text("The patch explorer").wait_for()
    return page


def board(page):
    return page.get_by_role("application")


def click(page, row, column, count, act="click"):
    """Click in the middle of a patch, of which there are `count` a side."""
    step = board(page).bounding_box()["width"] / count
    at = {"x": (column + 0.5) * step, "y": (row + 0.5) * step}
    getattr(board(page), act)(position=at)


def choose(page, label, value):
    page.get_by_label(label, exact=True).select_option(value)


def slide(page, pixels):
    page.get_by_label("Shift", exact=True).fill(str(pixels))


def setting(page, patch_size, copies, shift):
    choose(page, "Patch", str(patch_size))
    choose(page, "Shifted copies", copies)
    if copies != "none":
        slide(page, shift)


def counts(page):
    """The table's numbers by their names."""
    rows = page.get_by_role("table", name="Counts").locator("tr")
    found = {}
    for row in rows.all():
        name = row.locator("th").inner_text().splitlines()[0]
        number = row.locator("td").inner_text()
        found[name.split(",")[0]] = int(number.replace(",", ""))
    return found


def said(page):
    """What the live region says after a pause."""
    page.wait_for_timeout(700)
    return page.locator("p[role=status]").inner_text()


def place(page):
    found = re.match(r"Row (\d+), column (\d+): ", said(page))
    return tuple(map(int, found.groups()))


def drawing(page):
    return board(page).evaluate("canvas => canvas.toDataURL()")


def encoded(kind, size=(50, 40), colour=COLOUR):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


def upload(page, name, kind, data):
    file = {"name": name, "mimeType": kind, "buffer": data}
    page.locator("input[type=file]:not([capture])").set_input_files(file)


def upload_plain(page):
    """A picture of one colour, so that brightness can be read."""
    upload(page, "plain.png", "image/png", encoded("PNG"))
    page.get_by_text("plain.png: your picture").wait_for()


def layer(patch_size, copies, shift):
    ratio = shift / patch_size
    names = DIRECTIONS[copies]
    made = ShiftedPatchTokenization(
        patch_size, 8, directions=names, shift_ratio=ratio
    )
    assert made.shift == shift
    return made


def receptive_fields(tokenizer):
    """Which pixel moves which token: (pixels, tokens), as in chapter 2."""
    picture = np.random.default_rng(0).random((1, SIDE, SIDE, 1), "float32")
    tokens = tokenizer(picture)
    moved = []
    for spots in np.split(np.eye(SIDE**2, dtype="float32"), 16):
        changed = picture + spots.reshape(-1, SIDE, SIDE, 1)
        distance = ops.norm(tokenizer(changed) - tokens, axis=-1)
        moved.append(ops.convert_to_numpy(distance) > 1e-4)
    return np.concatenate(moved)


def padding_of(patch_size, copies, shift):
    """How many of each token's pixels are padding, row by row."""
    ones = np.ones((1, SIDE, SIDE, 1), "float32")
    if copies != "none":
        copied = shift_images(ones, shift, DIRECTIONS[copies])
        ones = np.concatenate([ones, copied], axis=-1)
    patches = ops.convert_to_numpy(patchify(ones, patch_size))
    return (patches == 0).sum(-1)[0]


@pytest.mark.parametrize(("patch_size", "copies", "shift"), SETTINGS)
def test_bright_is_what_moves_the_token(explorer, patch_size, copies, shift):
    tokenizer = layer(patch_size, copies, shift)
    fields = receptive_fields(tokenizer)
    length = 3 * tokenizer.projection.kernel.shape[0]
    padding = 3 * padding_of(patch_size, copies, shift)
    upload_plain(explorer)
    setting(explorer, patch_size, copies, shift)
    count = SIDE // patch_size
    last, middle = count - 1, count // 2
    for row, column in (
        (0, 0),
        (0, middle),
        (middle, middle),
        (middle, last),
        (last, last),
    ):
        click(explorer, row, column, count)
        token = row * count + column
        bright = board(explorer).evaluate(BRIGHT, [COLOUR, SIDE])
        np.testing.assert_array_equal(
            np.reshape([*bright], (SIDE, SIDE)) == "1",
            fields[:, token].reshape(SIDE, SIDE),
        )
        found = counts(explorer)
        assert found["Tokens"] == count**2
        seen = found["Pixels seen"]
        assert seen == fields[:, token].sum()
        assert found["Numbers per token"] == length
        if copies != "none":
            assert found["from pixels"] == 3 * seen
            assert found["padding (zeros)"] == padding[token]
            rest = length - 3 * seen - padding[token]
            assert found["repeated"] == rest


def test_counts_are_those_of_chapter_2(explorer):
    slide(explorer, 3)
    for spot, pixels in (
        ((5, 5), 144),
        ((0, 5), 108),
        ((5, 11), 108),
        ((0, 0), 81),
        ((11, 11), 81),
    ):
        click(explorer, *spot, 12)
        assert counts(explorer)["Pixels seen"] == pixels
        assert counts(explorer)["Numbers per token"] == 540
    choose(explorer, "Shifted copies", "none")
    assert counts(explorer)["Pixels seen"] == 36
    assert counts(explorer)["Numbers per token"] == 108


@pytest.mark.parametrize(
    ("chapter", "copies", "pictures"), [(1, "none", 1), (2, "diagonal", 5)]
)
def test_each_chapter_begins_where_it_is(
    page, site, chapter, copies, pictures
):
    begin(page, site, chapter)
    chosen = page.get_by_label("Shifted copies", exact=True)
    assert chosen.input_value() == copies
    shift = page.get_by_label("Shift", exact=True)
    assert shift.is_visible() == (copies != "none")
    play = page.get_by_role("button", name="Play")
    assert play.is_visible() == (copies != "none")
    assert counts(page)["Pixels seen"] == 36
    assert page.locator(".live-copies figure").count() == pictures
    assert page.get_by_role("radio", name="Pavilion").is_checked()
    assert page.get_by_text("Before.").is_visible()
    assert not page.get_by_text("A still picture.").count()


@pytest.mark.parametrize("copies", DIRECTIONS)
def test_copies_are_those_of_python(explorer, copies):
    """Each small drawing has its patch's pixels, the padding aside."""
    upload(explorer, "ramp.png", "image/png", ramp())
    explorer.get_by_text("ramp.png: your picture").wait_for()
    setting(explorer, 24, copies, 8)
    click(explorer, 0, 2, 3)
    figures = explorer.locator(".live-copies figure")
    picture = np.asarray(Image.open(io.BytesIO(ramp())), "float32")[None]
    pictures = [picture]
    if copies != "none":
        shifted = shift_images(picture, 8, DIRECTIONS[copies])
        pictures += np.split(
            ops.convert_to_numpy(shifted), figures.count() - 1, -1
        )
    names = figures.locator("figcaption").all_text_contents()
    assert names == ["original", *DIRECTIONS[copies]]
    for figure, moved in zip(figures.all(), pictures, strict=True):
        patch = ops.convert_to_numpy(patchify(moved, 24))[0, 2]
        expected = patch.reshape(24, 24, 3)
        shown = figure.locator("canvas").last.evaluate(MIDDLES, 24)
        pixels = np.reshape(shown, (24, 24, 3))
        there = expected.sum(-1) > 0
        np.testing.assert_allclose(pixels[there], expected[there], atol=1)


def ramp():
    """A picture with another colour at every pixel, none of them black."""
    y, x = np.mgrid[:SIDE, :SIDE]
    colours = np.stack([3 * y + 10, 3 * x + 10, 250 - y - x], -1)
    file = io.BytesIO()
    Image.fromarray(colours.astype("uint8")).save(file, "PNG")
    return file.getvalue()


#: The colours of the chapter's windows: the patch, then the copies.
WINDOWS = {
    "original": (0, 114, 178),
    "left-up": (213, 94, 0),
    "left-down": (230, 159, 0),
    "right-up": (0, 158, 115),
    "right-down": (204, 121, 167),
}
#: The colours along a line of a canvas, from and to parts of its side.
LINE = """(canvas, [from, to]) => {
  const context = canvas.getContext("2d");
  const at = (part) => Math.round(part * canvas.width);
  return Array.from({ length: 60 }, (_, i) => {
    const [x, y] = from.map((start, c) => start + (i / 59) * (to[c] - start));
    return [...context.getImageData(at(x), at(y), 1, 1).data.slice(0, 3)];
  });
}"""


def has(colours, colour):
    return (np.abs(np.array(colours) - colour).max(-1) <= 3).any()


def test_window_and_crop_of_a_copy_share_a_colour(explorer):
    setting(explorer, 24, "diagonal", 12)
    click(explorer, 1, 1, 3)
    figures = explorer.locator(".live-copies figure")
    for i, (name, colour) in enumerate(WINDOWS.items()):
        caption = figures.nth(i).locator("figcaption").inner_text()
        assert caption == name
        crop = figures.nth(i).locator("canvas").last
        border = crop.evaluate("e => getComputedStyle(e).borderTopColor")
        assert border == f"rgb{colour}"
        # The content moves one way, so the window lies the other way.
        down, right = (
            (
                {"left": 1, "up": 1}.get(w, -1)
                for w in reversed(name.split("-"))
            )
            if i
            else (0, 0)
        )
        top, left = (1 / 3 + step / 6 for step in (down, right))
        edge = [[left + 0.02, top + 0.3], [left + 0.3, top + 0.3]]
        outer = [[left - 0.01, top + 0.1], [left + 0.02, top + 0.1]]
        other = [[left + 0.32, top + 0.1], [left + 0.35, top + 0.1]]
        seen = [
            *board(explorer).evaluate(LINE, outer),
            *board(explorer).evaluate(LINE, other),
            *board(explorer).evaluate(LINE, edge),
        ]
        assert has(seen, colour), name


@pytest.mark.slow
def test_play_slides_the_copies_out(explorer):
    """The field grows from 36 to 144 pixels, and does not jump."""
    big = explorer.locator(".live-big")
    assert big.inner_text() == "36 pixels"
    explorer.evaluate(
        """() => {
          window.seen = [];
          const big = document.querySelector(".live-big");
          new MutationObserver(() => seen.push(parseInt(big.textContent)))
            .observe(big, { childList: true, characterData: true,
                            subtree: true });
        }"""
    )
    explorer.get_by_role("button", name="Play").click()
    explorer.wait_for_function(
        "document.querySelector('input[type=range]').value === '3'"
    )
    seen = explorer.evaluate("seen")
    assert seen == sorted(seen) and seen[0] == 36
    assert len(set(seen)) > 5
    assert explorer.get_by_label("Shift", exact=True).input_value() == "3"
    assert counts(explorer)["Pixels seen"] == 144
    assert "sees 144 pixels" in said(explorer)


@pytest.mark.slow
def test_play_jumps_where_motion_is_reduced(chromium, site):
    context = chromium.new_context(reduced_motion="reduce")
    page = begin(context.new_page(), site)
    page.get_by_role("button", name="Play").click()
    assert page.locator(".live-big").inner_text() == "144 pixels"
    context.close()


@pytest.mark.slow
def test_a_change_stops_the_slide(explorer):
    explorer.get_by_role("button", name="Play").click()
    explorer.wait_for_timeout(300)
    slide(explorer, 1)
    explorer.wait_for_timeout(2600)
    assert explorer.get_by_label("Shift", exact=True).input_value() == "1"


def test_areas_of_whole_pixels_are_their_counts(explorer):
    """So what is shown between them fits what is shown at them."""
    differ = explorer.evaluate(
        """async () => {
          const { areasOf, fieldOf } = await import("./live/field.mjs");
          const { ALL_DIRECTIONS } = await import("./live/pixels.mjs");
          const differ = [];
          for (const shift of [0, 1, 5, 12])
            for (const place of [[0, 0], [2, 5], [3, 3]]) {
              const cut = { side: 72, patchSize: 12, shift,
                            directions: ALL_DIRECTIONS };
              const { windows, seen, padding } = fieldOf(cut, ...place);
              const areas = areasOf(windows, 12, 72);
              if (areas.seen !== seen || areas.padding !== padding)
                differ.push([shift, place, areas, seen, padding]);
            }
          return differ;
        }"""
    )
    assert differ == []


def test_keys_move_the_patch(explorer):
    click(explorer, 4, 4, 12)
    board(explorer).focus()
    for key, expected in (
        ("ArrowUp", (4, 5)),
        ("ArrowRight", (4, 6)),
        ("ArrowDown", (5, 6)),
        ("ArrowLeft", (5, 5)),
        ("Home", (5, 1)),
        ("ArrowLeft", (5, 1)),
        ("End", (5, 12)),
        ("ArrowRight", (5, 12)),
        ("PageUp", (1, 12)),
        ("ArrowUp", (1, 12)),
        ("PageDown", (12, 12)),
        ("ArrowDown", (12, 12)),
    ):
        explorer.keyboard.press(key)
        assert place(explorer) == expected
    assert explorer.evaluate("scrollY") == 0


@pytest.mark.slow
def test_all_controls_are_reached_by_tab(explorer):
    """And each shows that it has the focus."""
    outlined = """() => {
      const element = document.activeElement;
      const shown = element.closest(".live-thumb, .live-file") ?? element;
      return [element.tagName + (element.type ?? ""),
              getComputedStyle(shown).outlineStyle];
    }"""
    reached = []
    for _ in range(6):
        explorer.keyboard.press("Tab")
        name, style = explorer.evaluate(outlined)
        reached.append(name)
        assert style == "solid", name
    assert reached == [
        "INPUTradio",
        "INPUTfile",
        "SELECTselect-one",
        "SELECTselect-one",
        "INPUTrange",
        "CANVAS",
    ]


@pytest.mark.slow
def test_a_drag_of_the_mouse_moves_the_patch(explorer):
    click(explorer, 0, 0, 12)
    box = board(explorer).bounding_box()
    step = box["width"] / 12
    explorer.mouse.down()
    explorer.mouse.move(box["x"] + 7.5 * step, box["y"] + 2.5 * step)
    explorer.mouse.up()
    assert place(explorer) == (3, 8)


@pytest.mark.slow
def test_tap_and_targets_on_a_phone(chromium, site):
    context = chromium.new_context(
        viewport={"width": 360, "height": 740},
        has_touch=True,
        is_mobile=True,
        device_scale_factor=3,
    )
    page = begin(context.new_page(), site)
    click(page, 10, 3, 12, act="tap")
    assert place(page) == (11, 4)
    assert board(page).bounding_box()["width"] / 12 >= 24
    for copies in DIRECTIONS:
        setting(page, 9, copies, 4)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide == 360
    for target in page.locator(
        ".live input:visible, .live select, .live label.live-file"
    ).all():
        box = target.bounding_box()
        assert min(box["width"], box["height"]) >= 24
    context.close()


@pytest.mark.slow
def test_another_size_keeps_the_place_and_the_ratio(explorer):
    slide(explorer, 3)
    click(explorer, 6, 2, 12)
    output = explorer.locator("output")
    assert output.inner_text() == "1/2 of the patch = 3 pixels"
    choose(explorer, "Patch", "24")
    assert place(explorer) == (2, 1)
    assert output.inner_text() == "1/2 of the patch = 12 pixels"
    choose(explorer, "Patch", "9")
    assert output.inner_text() == "1/2 of the patch = 4 pixels, rounded down"
    assert counts(explorer)["Tokens"] == 64
    slider = explorer.get_by_label("Shift", exact=True)
    for pixels, words in (
        (0, "none = 0 pixels"),
        (1, "1/9 of the patch = 1 pixel"),
        (6, "2/3 of the patch = 6 pixels"),
        (9, "the whole patch = 9 pixels"),
    ):
        slide(explorer, pixels)
        assert output.inner_text() == words
        assert slider.get_attribute("aria-valuetext") == words
    assert slider.get_attribute("max") == "9"
    choose(explorer, "Patch", "6")
    assert output.inner_text() == "the whole patch = 6 pixels"


@pytest.mark.slow
def test_what_is_announced(explorer):
    slide(explorer, 3)
    click(explorer, 2, 3, 12)
    assert said(explorer) == "Row 3, column 4: the token sees 144 pixels."
    explorer.evaluate(
        """() => {
          window.announced = [];
          const status = document.querySelector("p[role=status]");
          new MutationObserver(() => announced.push(status.textContent))
            .observe(status, { childList: true, characterData: true });
        }"""
    )
    board(explorer).focus()
    for _ in range(12):
        explorer.keyboard.press("ArrowLeft")
    said(explorer)
    assert explorer.evaluate("announced") == [
        "Row 3, column 1: the token sees 108 pixels. "
        "108 of its 540 numbers are padding."
    ]


@pytest.mark.slow
def test_an_own_picture_stays_on_the_page(explorer):
    assert explorer.get_by_text("It stays on this page").is_visible()
    before, sent = drawing(explorer), []
    explorer.on("request", lambda request: sent.append(request.url))
    upload_plain(explorer)
    assert drawing(explorer) != before
    assert explorer.get_by_text("does not leave this page").is_visible()
    own = explorer.get_by_role("radio", name="plain.png")
    assert own.is_checked()
    mine = drawing(explorer)
    explorer.get_by_role("radio", name="Pavilion").check()
    explorer.get_by_text("danielbuechele").wait_for()
    assert drawing(explorer) == before
    own.check()
    explorer.get_by_text("does not leave this page").wait_for()
    assert drawing(explorer) == mine
    outside = [url for url in sent if not url.startswith("blob:")]
    assert len(outside) <= 1 and all("pavilion" in url for url in outside)


def huge():
    """A small file of a picture with 400 million pixels."""
    file = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "PNG")
    return file.getvalue()


def torn():
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3))
    file = io.BytesIO()
    Image.fromarray(noise.astype("uint8")).save(file, "JPEG")
    return file.getvalue()[: len(file.getvalue()) // 2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind", "data", "message"),
    [
        ("words.txt", "text/plain", lambda: b"words", "its type is text/pl"),
        ("words.png", "image/png", lambda: b"words", "could not be read"),
        ("torn.jpg", "image/jpeg", torn, "could not be read"),
        ("huge.png", "image/png", huge, "20000 x 20000 pixels"),
    ],
)
def test_what_is_no_picture_is_named(explorer, name, kind, data, message):
    before = drawing(explorer)
    upload(explorer, name, kind, data())
    alert = explorer.get_by_role("alert")
    alert.wait_for()
    assert message in alert.inner_text()
    assert drawing(explorer) == before
    assert explorer.get_by_role("radio", name="Pavilion").is_checked()
    explorer.get_by_role("radio", name="Cat").check()
    explorer.get_by_text("Stefan van der Walt").wait_for()
    assert not alert.is_visible()
    assert drawing(explorer) != before


@pytest.mark.slow
def test_a_large_file_is_not_opened(explorer):
    explorer.locator(".live").evaluate(
        """(figure) => {
          const dataTransfer = new DataTransfer();
          const type = "image/png";
          const file = new File([new Uint8Array(41e6)], "large.png", { type });
          dataTransfer.items.add(file);
          figure.dispatchEvent(new DragEvent("drop", { dataTransfer }));
        }"""
    )
    alert = explorer.get_by_role("alert")
    alert.wait_for()
    assert "has 41 MB, more than 40" in alert.inner_text()


@pytest.mark.slow
def test_a_picture_can_be_dropped(explorer):
    figure = explorer.locator(".live")
    data = b64encode(encoded("JPEG")).decode()
    figure.evaluate(DROP, ["dropped.jpg", "image/jpeg", data])
    explorer.get_by_text("dropped.jpg: your picture").wait_for()
    figure.evaluate(DROP, ["words.txt", "text/plain", data])
    alert = explorer.get_by_role("alert")
    alert.wait_for()
    assert "text/plain" in alert.inner_text()
    assert explorer.get_by_role("radio", name="dropped.jpg").is_checked()


@pytest.mark.slow
def test_without_samples_the_figure_works(page, site):
    page.route("**/*.webp", lambda route: route.abort())
    begin(page, site)
    alert = page.get_by_role("alert")
    assert "could not be loaded" in alert.inner_text()
    slide(page, 3)
    click(page, 0, 0, 12)
    assert counts(page)["Pixels seen"] == 81
    upload_plain(page)
    assert not alert.is_visible()


@pytest.mark.slow
@pytest.mark.parametrize("module", ["explorer", "field", "pixels"])
def test_still_stays_if_a_module_does_not_come(page, site, module):
    page.route(f"**/{module}.mjs", lambda route: route.abort())
    page.goto(f"{site}/2.html")
    note = page.get_by_text("The live figure could not start")
    note.wait_for()
    assert "check the connection" in note.inner_text()
    assert page.get_by_role("img", name="still").is_visible()
    assert page.get_by_text("A still picture.").is_visible()
    assert not page.locator(".live").count()


@pytest.mark.slow
def test_still_stays_if_there_is_no_canvas(page, site):
    page.add_init_script(
        "HTMLCanvasElement.prototype.getContext = () => null;"
    )
    page.goto(f"{site}/2.html")
    page.get_by_text(
        "could not start. This browser gives no canvas"
    ).wait_for()
    assert page.get_by_role("img", name="still").is_visible()


@pytest.mark.slow
def test_still_stays_without_javascript(chromium, site):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site}/2.html")
    still = page.get_by_role("img", name="still")
    assert still.bounding_box()["width"] > 300
    assert page.get_by_text("A still picture.").is_visible()
    assert not page.locator(".live").count()
    context.close()


@pytest.mark.slow
def test_nothing_moves_by_itself(chromium, site):
    context = chromium.new_context(reduced_motion="reduce")
    page = begin(context.new_page(), site)
    moving = page.locator(".live *").evaluate_all(
        """(all) => all.filter((element) => {
          const style = getComputedStyle(element);
          return parseFloat(style.transitionDuration) ||
                 style.animationName !== "none";
        }).length"""
    )
    assert moving == 0
    context.close()
