"""The attention explorer, in a browser, against Keras."""

import io
import json
import re
import shutil
from base64 import b64decode, b64encode
from pathlib import Path

import live
import numpy as np
import pytest
from browser import serve
from keras import ops
from matplotlib import colormaps
from PIL import Image

from vitsd_helpers.evidence.maps import attention_weights, mean_entropy
from vitsd_helpers.training.weights import load_model

pytest_plugins = ["browser"]

STATIC = Path(__file__).parents[1] / "book" / "_static"
LOAD = "Load both models"
PICTURES = STATIC / "live" / "pictures"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Test</title><link rel="stylesheet" href="live/live.css">
<link rel="stylesheet" href="book.css">
<script type="module" src="live/main.mjs"></script>
<body style="margin: 0 1rem"><article class="bd-article">{before}
<p><img src="stills/live-attention.webp" alt="still"> A still picture.</p>
<p>After.</p></article>"""
SAVE_DATA = """Object.defineProperty(
  navigator, "connection", { value: { saveData: true } });"""
#: A colour of the canvas in the middle of a patch, counted from 1.
MIDDLE = """(canvas, [row, column]) => {
  const at = (i) => Math.round(((i - 0.5) / 8) * canvas.width);
  const context = canvas.getContext("2d");
  const { data } = context.getImageData(at(column), at(row), 1, 1);
  return [...data.slice(0, 3)];
}"""
#: How much of a patch, counted from 1, has a colour.
SHARE = """(canvas, [row, column, colour]) => {
  const cell = canvas.width / 8;
  const context = canvas.getContext("2d");
  const { data } = context.getImageData(
    (column - 1) * cell, (row - 1) * cell, cell, cell);
  let count = 0;
  for (let i = 0; i < data.length; i += 4)
    count += colour.every((value, c) => Math.abs(data[i + c] - value) <= 2);
  return (4 * count) / data.length;
}"""
COVER = [20, 22, 34]
COLOURS = {"ViT": (0, 114, 178), "SL-ViT": (213, 94, 0)}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "static"
    shutil.copytree(STATIC, folder)
    live.write_models(folder / "live" / "models")
    (folder / "index.html").write_text(PAGE.format(before=""), "utf-8")
    (folder / "far.html").write_text(
        PAGE.format(before="<p style='height: 4000px'>Before.</p>"), "utf-8"
    )
    with serve(folder) as url:
        yield folder, url


@pytest.fixture(scope="module")
def classes(site):
    listed = (site[0] / "live" / "models" / "models.json").read_text("utf-8")
    return json.loads(listed)["classes"]


@pytest.fixture(scope="module")
def keras_models(site):
    """The models by title."""
    folder = site[0] / "live" / "models"
    listed = json.loads((folder / "models.json").read_text("utf-8"))
    return {
        model["title"]: load_model(folder / model["file"])
        for model in listed["models"]
    }


def begin(page, address):
    page.goto(address)
    page.locator("tbody td").first.wait_for()
    return page


def running(page):
    """Wait for the models, and for their first answer."""
    page.get_by_label("Temperature", exact=True).and_(
        page.locator(":enabled")
    ).wait_for()
    settle(page)
    return page


@pytest.fixture
def loaded(page, site):
    """The figure with its models, and their answer to the rocket."""
    running(begin(page, site[1]))
    pick(page, "Rocket")
    return page


def small(name):
    """A sample picture as the models see it: (1, 32, 32, 3)."""
    pixels = np.asarray(Image.open(PICTURES / f"{name}.webp").convert("RGB"))
    blocks = pixels.reshape(32, 8, 32, 8, 3).astype("float32")
    return blocks.mean((1, 3))[None]


def answers(page, title):
    """What the page shows: {class: per cent}, likeliest of either first."""
    table = page.get_by_role("table", name="The likeliest classes")
    names = table.locator("tbody th").all_inner_texts()
    column = 1 + list(COLOURS).index(title)
    shares = table.locator(f"tbody td:nth-of-type({column})").all_inner_texts()
    return {
        name.removesuffix(" ✓"): float(share.removesuffix(" %"))
        for name, share in zip(names, shares, strict=True)
    }


def half(page, title):
    """The part of the figure that shows a model."""
    return page.locator(".live-pair > div").nth(list(COLOURS).index(title))


def board(page, title):
    return page.get_by_role("application", name=f"Where the {title} looks")


def entropies(page, title):
    """The entropy here and of all patches, as shown."""
    text = half(page, title).locator(".live-spread").inner_text()
    return [float(n) for n in re.findall(r"\d\.\d+", text)]


def spot(page, title, row, column):
    """Where a patch of a board is, counted from 1, for a mouse."""
    step = board(page, title).bounding_box()["width"] / 8
    return {"x": (column - 0.5) * step, "y": (row - 0.5) * step}


def keras_row(model, pixels, block, head, row, column):
    """The weights of a patch, counted from 1, by a head or all (None)."""
    weights = attention_weights(model, pixels)[block][0]
    chosen = weights if head is None else weights[head : head + 1]
    return chosen[:, (row - 1) * 8 + column - 1].mean(0)


def settle(page):
    """Wait for the answers to the last change."""
    page.locator(".live[aria-busy=false]").wait_for()


def place(page):
    """The chosen row and column, as announced after a pause."""
    page.wait_for_timeout(800)
    said = page.locator("p[role=status]").inner_text()
    return tuple(map(int, re.match(r"Row (\d), column (\d)", said).groups()))


def pick(page, picture):
    page.get_by_role("radio", name=picture).check()
    page.get_by_text(f"{picture}: ").first.wait_for()
    settle(page)


def choose(page, label, words):
    page.get_by_label(label, exact=True).select_option(label=words)
    settle(page)


def slide(page, label, value):
    page.get_by_label(label, exact=True).fill(str(value))
    settle(page)


def test_first_answer_is_there_without_models(page, site, keras_models):
    """At once: it is stored with the page, and it is Keras's."""
    page.route("**/*.safetensors", lambda route: None)  # they never come
    waited = []
    for _ in range(3):
        begin(page, site[1])
        waited.append(page.evaluate("performance.now()"))
    assert min(waited) < 1000, waited
    for title, model in keras_models.items():
        shares = ops.convert_to_numpy(ops.softmax(model(small(live.FIRST))))[0]
        assert (
            abs(max(answers(page, title).values()) - 100 * max(shares)) < 0.2
        )
        weights = attention_weights(model, small(live.FIRST))[-1]
        rows = weights[0, :, 3 * 8 + 3]
        here = -(rows * np.log(np.where(rows > 0, rows, 1))).sum(-1).mean()
        expected = [here, mean_entropy(weights).mean()]
        np.testing.assert_allclose(entropies(page, title), expected, atol=0.02)
    assert page.get_by_label("Temperature", exact=True).is_disabled()


@pytest.mark.slow
def test_models_come_when_the_figure_comes_near(page, site):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    begin(page, f"{site[1]}/far.html")
    page.wait_for_timeout(300)
    assert not [url for url in asked if url.endswith(".safetensors")]
    page.locator(".live").scroll_into_view_if_needed()
    running(page)
    assert len([url for url in asked if url.endswith(".safetensors")]) == 2
    assert all(url.startswith((site[1], "blob:")) for url in asked), asked
    assert not page.get_by_role("button", name=LOAD).is_visible()


@pytest.mark.slow
def test_models_wait_for_a_click_where_data_is_saved(page, site):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.add_init_script(SAVE_DATA)
    begin(page, site[1])
    button = page.get_by_role("button", name=LOAD)
    before = entropies(page, "ViT")
    slide(page, "Block", 1)
    assert entropies(page, "ViT") != before
    assert not [url for url in asked if url.endswith(".safetensors")]
    button.click()
    running(page)
    assert len([url for url in asked if url.endswith(".safetensors")]) == 2
    assert not button.is_visible()


@pytest.mark.parametrize("name", ["Dahlia", "Rocket", "Cat"])
def test_answers_are_keras_answers(loaded, classes, keras_models, name):
    pick(loaded, name)
    pixels = small({"Dahlia": "flower"}.get(name, name.lower()))
    said = {
        title: ops.convert_to_numpy(ops.softmax(model(pixels)))[0]
        for title, model in keras_models.items()
    }
    larger = np.maximum(*said.values())
    best = [classes[i] for i in np.argsort(-larger)[:5]]
    for title, shares in said.items():
        shown = answers(loaded, title)
        assert list(shown) == best
        expected = [100 * shares[classes.index(each)] for each in best]
        np.testing.assert_allclose([*shown.values()], expected, atol=0.3)


def test_samples_are_right_and_disputed(classes, keras_models):
    """What both models know, what is disputed, and what they cannot know."""
    script = (STATIC / "live" / "pictures.mjs").read_text("utf-8")
    samples = re.findall(
        r'name: "(\w+)".*?truth: "([\w ]*)"', script, re.DOTALL
    )
    assert len(samples) == script.count("truth: ")
    files = {path.stem for path in PICTURES.glob("*.webp")}
    assert files == {name for name, _ in samples}
    said = {
        name: [
            classes[int(ops.argmax(model(small(name))))]
            for model in keras_models.values()
        ]
        for name, _ in samples
    }
    known = [name for name, truth in samples if said[name] == [truth] * 2]
    assert {"raccoon", "rocket"} <= set(known), said
    disputed = [name for name, answers in said.items() if len({*answers}) > 1]
    assert {"flower", "pavilion"} <= set(disputed), said
    assert said["launch"] == ["skyscraper"] * 2  # the page says so


def test_entropies_are_keras_entropies(loaded, keras_models):
    pick(loaded, "Cat")
    slide(loaded, "Block", 1)
    head(loaded, "ViT", "head 3").click()
    for title, model in keras_models.items():
        weights = attention_weights(model, small("cat"))[0][:, 2:3]
        row = weights[..., 3 * 8 + 3, :].ravel()
        here = -(row * np.log(np.where(row > 0, row, 1))).sum()
        expected = [here, mean_entropy(weights)[0]]
        np.testing.assert_allclose(
            entropies(loaded, title), expected, atol=0.02
        )


def head(page, title, words):
    return page.get_by_role("button", name=f"{title}, {words}", exact=True)


@pytest.mark.slow
def test_heads_are_maps_to_click(loaded):
    """One choice for both models; a mouse over a map previews it."""
    all_heads, third = (
        head(loaded, "SL-ViT", words)
        for words in ("mean of all heads", "head 3")
    )
    assert half(loaded, "SL-ViT").get_by_role("button").count() == 7
    before = [entropies(loaded, title) for title in COLOURS]
    third.hover()
    over = [entropies(loaded, title) for title in COLOURS]
    assert over != before
    assert all_heads.get_attribute("aria-pressed") == "true"
    board(loaded, "ViT").hover()
    third.click()
    loaded.mouse.move(0, 0)
    assert [entropies(loaded, title) for title in COLOURS] == over
    for title in COLOURS:
        pressed = head(loaded, title, "head 3").get_attribute("aria-pressed")
        assert pressed == "true"
    assert all_heads.get_attribute("aria-pressed") == "false"


def test_maps_are_the_heads_weights(loaded, keras_models):
    """The brightest square of a small map is the largest weight."""
    for title, model in keras_models.items():
        for index in (0, 4):
            weights = keras_row(model, small("rocket"), -1, index, 4, 4)
            row, column = divmod(int(weights.argmax()), 8)
            canvas = head(loaded, title, f"head {index + 1}").locator("canvas")
            found = canvas.evaluate(MIDDLE, [row + 1, column + 1])
            expected = min(np.sqrt(weights.max() * 64 / 6), 1.0)
            colour = colormaps["viridis"](expected)[:3]  # as in `plots`
            np.testing.assert_allclose(found, 255 * np.array(colour), atol=8)


@pytest.mark.slow
def test_lines_lead_to_the_five_strongest(loaded, keras_models):
    for title, model in keras_models.items():
        weights = keras_row(model, small("rocket"), -1, None, 4, 4)
        order = np.argsort(-weights)
        ends = [
            board(loaded, title).evaluate(MIDDLE, [i // 8 + 1, i % 8 + 1])
            for i in order[:5].tolist()
        ]
        np.testing.assert_allclose(ends, [COLOURS[title]] * 5, atol=2)


@pytest.mark.slow
def test_hover_previews_and_click_pins(loaded):
    def seen():
        return [entropies(loaded, title) for title in COLOURS]

    pinned = seen()
    board(loaded, "ViT").hover(position=spot(loaded, "ViT", 7, 2))
    over = seen()
    assert all(a != b for a, b in zip(over, pinned, strict=True))
    loaded.mouse.move(0, 0)
    assert seen() == pinned
    board(loaded, "SL-ViT").click(position=spot(loaded, "SL-ViT", 7, 2))
    loaded.mouse.move(0, 0)
    assert seen() == over
    assert place(loaded) == (7, 2)


#: A picture of two colours below one map, and the colours of its patches.
TWO_COLOURS = """async (values) => {
  const { paintCover, prepare } = await import("./live/draw.mjs");
  const context = prepare(document.createElement("canvas"), 320);
  context.fillStyle = "rgb(250 220 40)";
  context.fillRect(0, 0, 160, 320);
  context.fillStyle = "rgb(0 30 90)";
  context.fillRect(160, 0, 160, 320);
  paintCover(context, 320, values, 8);
  const { data } = context.getImageData(0, 0, 320, 320);
  return btoa(Array.from(data, (c) => String.fromCharCode(c)).join(""));
}"""


def test_brightness_does_not_depend_on_the_picture(page, site):
    """A uniform map looks uniform, and what is ignored is covered."""
    page.goto(site[1])

    def paint(values):
        # As text: 300,000 numbers in a list take a quarter of a minute.
        sent = page.evaluate(TWO_COLOURS, [float(v) for v in values])
        pixels = np.frombuffer(b64decode(sent), "uint8")
        return pixels.reshape(320, 320, 4)[..., :3].astype(float)

    clear, covered = paint(np.ones(64)), paint(np.zeros(64))
    assert (covered == COVER).all()
    for value in (0.2, 0.4, 0.8):
        even = paint(np.full(64, value))
        for side in np.split(even, 2, axis=1):  # no seam, no pattern
            assert (side == side[0, 0]).all()
        # As far from the cover as the map says, whatever the colour.
        np.testing.assert_allclose(
            even - COVER, value * (clear - COVER), atol=1.5
        )


def test_an_ignored_patch_is_covered_in_the_figure(loaded):
    """The SL-ViT's own patch, be the picture black there or white."""
    halves = Image.new("RGB", (64, 64), "black")
    halves.paste("white", (32, 0, 64, 64))
    file = io.BytesIO()
    halves.save(file, "PNG")
    upload(loaded, "halves.png", "image/png", file.getvalue(), "halves.png")
    for column in (2, 7):
        board(loaded, "SL-ViT").click(
            position=spot(loaded, "SL-ViT", 5, column)
        )
        loaded.mouse.move(0, 0)
        covered = board(loaded, "SL-ViT").evaluate(SHARE, [5, column, COVER])
        assert covered > 0.3
        other = board(loaded, "ViT").evaluate(SHARE, [5, column, COVER])
        assert other < 0.1


@pytest.mark.slow
def test_keys_and_clicks_move_the_patch(loaded):
    board = loaded.get_by_role("application").first
    board.focus()
    board.press("ArrowUp")
    board.press("ArrowRight")
    board.press("Alt+ArrowLeft")  # the browser's: back
    assert place(loaded) == (3, 5)
    board.press("End")
    board.press("ArrowRight")
    assert place(loaded) == (3, 8)
    box = board.bounding_box()
    step = box["width"] / 8
    board.click(position={"x": 1.5 * step, "y": 6.5 * step})
    assert place(loaded) == (7, 2)
    loaded.get_by_role("application").last.press("Home")
    assert place(loaded) == (7, 1)


def test_mask(loaded):
    """Without the mask the framed patch may be looked at."""
    slide(loaded, "Block", 1)
    own = [4, 4, COVER]
    assert board(loaded, "SL-ViT").evaluate(SHARE, own) > 0.3
    before = entropies(loaded, "ViT"), entropies(loaded, "SL-ViT")
    choose(loaded, "Diagonal mask", "off in both")
    assert board(loaded, "SL-ViT").evaluate(SHARE, own) < 0.1
    assert entropies(loaded, "ViT") == before[0]
    choose(loaded, "Diagonal mask", "on in both")
    assert entropies(loaded, "ViT") != before[0]
    assert entropies(loaded, "SL-ViT") == before[1]


def test_temperature_spreads_the_attention(loaded):
    found = []
    for power in (-2, 0, 2):
        slide(loaded, "Temperature", power)
        found.append(entropies(loaded, "SL-ViT")[1])
    assert found[0] < found[1] < found[2] < np.log(63) + 0.01
    assert "× 4.00" in loaded.locator("output").all_inner_texts()


@pytest.mark.slow
def test_the_last_of_many_changes_counts(loaded):
    slide(loaded, "Temperature", 1)
    calm = answers(loaded, "SL-ViT")
    slider = loaded.get_by_label("Temperature", exact=True)
    for power in (-2, 2, -1, 1.5, 0, 1):
        slider.fill(str(power))
    settle(loaded)
    assert answers(loaded, "SL-ViT") == calm


def png(size=(50, 40), colour=(200, 30, 40)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def upload(page, name, kind, data, message):
    """Choose a file, and wait for what the figure says of it."""
    file = {"name": name, "mimeType": kind, "buffer": data}
    page.locator("input[type=file]:not([capture])").set_input_files(file)
    page.get_by_text(message).wait_for()
    settle(page)


def test_own_picture_stays_in_the_page(loaded, keras_models):
    sent = []
    loaded.on("request", lambda request: sent.append(request.url))
    stays = "does not leave this page"
    upload(loaded, "red.png", "image/png", png(), stays)
    red = np.broadcast_to([200.0, 30, 40], (1, 32, 32, 3)).astype("float32")
    shares = ops.softmax(keras_models["SL-ViT"](red))
    best = 100 * float(ops.max(shares))
    assert abs(max(answers(loaded, "SL-ViT").values()) - best) < 0.3
    assert all(url.startswith("blob:") for url in sent), sent


@pytest.mark.slow
def test_wrong_file_is_named_and_the_figure_goes_on(loaded):
    before = answers(loaded, "SL-ViT")
    words = b"no picture"
    upload(loaded, "words.txt", "text/plain", words, "text/plain")
    upload(loaded, "torn.png", "image/png", png()[:40], "could not be read")
    assert answers(loaded, "SL-ViT") == before
    pick(loaded, "Cat")
    alert = loaded.locator(".live-pictures [role=alert]")
    assert not alert.is_visible()
    assert answers(loaded, "SL-ViT") != before


@pytest.mark.slow
@pytest.mark.parametrize("size", [(60, 400), (400, 60), (30, 30)])
@pytest.mark.parametrize("width", [390, 1280])
def test_own_picture_of_any_shape_fits_the_picker(loaded, size, width):
    loaded.set_viewport_size({"width": width, "height": 800})
    sample = loaded.locator(".live-thumb").first.bounding_box()
    upload(loaded, "own.png", "image/png", png(size), "own.png: your")
    for part in (".live-own", ".live-own img"):
        box = loaded.locator(part).bounding_box()
        assert box["width"] == box["height"] == sample["width"], part


@pytest.mark.slow
def test_a_picture_can_be_pasted(loaded):
    before = answers(loaded, "ViT")
    loaded.evaluate(
        """(data) => {
          const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
          const clipboardData = new DataTransfer();
          const file = new File([bytes], "pasted.png", { type: "image/png" });
          clipboardData.items.add(file);
          document.dispatchEvent(new ClipboardEvent("paste",
            { clipboardData, bubbles: true, cancelable: true }));
        }""",
        b64encode(png()).decode(),
    )
    loaded.get_by_text("pasted.png: your picture").wait_for()
    settle(loaded)
    assert answers(loaded, "ViT") != before


@pytest.mark.slow
def test_a_picture_that_is_dragged_is_awaited(loaded):
    figure = loaded.locator(".live")
    over = "(figure) => figure.classList.contains('live-over')"
    for event, expected in (
        ("dragover", True),
        ("dragleave", False),
        ("dragover", True),
        ("drop", False),
    ):
        figure.evaluate(
            """(figure, event) => figure.dispatchEvent(new DragEvent(event,
              { dataTransfer: new DataTransfer(), cancelable: true }))""",
            event,
        )
        assert figure.evaluate(over) == expected


@pytest.mark.slow
def test_a_phone_offers_its_camera(chromium, site):
    for touch in (True, False):
        context = chromium.new_context(has_touch=touch, is_mobile=touch)
        page = begin(context.new_page(), site[1])
        camera = page.locator("input[capture=environment]")
        assert camera.is_visible() == touch
        context.close()


@pytest.mark.slow
def test_on_a_phone_picture_and_maps_share_a_screen(chromium, site):
    context = chromium.new_context(
        has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844}
    )
    page = running(begin(context.new_page(), site[1]))
    boxes = [
        page.locator(part).last.bounding_box()
        for part in (".live-board", ".live-heads", "tbody tr")
    ]
    top = page.locator(".live-board").first.bounding_box()["y"]
    assert boxes[-1]["y"] + boxes[-1]["height"] - top < 844 - 60
    before = entropies(page, "ViT")
    board(page, "ViT").tap(position=spot(page, "ViT", 2, 2))
    assert entropies(page, "ViT") != before
    assert place(page) == (2, 2)
    context.close()


@pytest.mark.slow
def test_a_link_leads_back_to_the_view(chromium, site):
    context = chromium.new_context(
        permissions=["clipboard-read", "clipboard-write"]
    )
    page = running(begin(context.new_page(), site[1]))
    pick(page, "Dahlia")
    slide(page, "Block", 2)
    head(page, "ViT", "head 5").click()
    board(page, "ViT").click(position=spot(page, "ViT", 6, 3))
    page.mouse.move(0, 0)
    page.get_by_role("button", name="Copy link").click()
    page.get_by_text("The link is copied.").wait_for()
    address = page.evaluate("navigator.clipboard.readText()")
    assert address == f"{site[1]}/#view=flower,6,3,2,5"
    seen = [entropies(page, title) for title in COLOURS]
    said = answers(page, "SL-ViT")
    other = context.new_page()
    running(begin(other, address))
    assert [entropies(other, title) for title in COLOURS] == seen
    assert answers(other, "SL-ViT") == said
    assert other.get_by_role("radio", name="Dahlia").is_checked()
    assert place(other) == (6, 3)
    # The reader's own picture has no address.
    upload(other, "red.png", "image/png", png(), "red.png: your")
    assert other.get_by_role("button", name="Copy link").is_disabled()
    context.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "view", ["nobody,1,1,1,mean", "rocket,9,1,1,mean", "rocket,1,1,5,1", "x"]
)
def test_a_link_to_what_is_not_there_shows_the_first(page, site, view):
    running(begin(page, f"{site[1]}/#view={view}"))
    assert page.get_by_role("radio", name="Raccoon").is_checked()
    assert place(page) == (4, 4)


@pytest.mark.slow
def test_torn_download_can_be_tried_again(page, site):
    def tear(route):
        whole = route.fetch().body()
        route.fulfill(body=whole[: len(whole) // 2])

    page.route("**/*-sl-*.safetensors", tear)
    begin(page, site[1])
    alert = page.get_by_role("alert").filter(has_text="could not be loaded")
    alert.wait_for()
    assert "-sl-" in alert.inner_text()
    assert "try again" in alert.inner_text()
    page.unroute("**/*-sl-*.safetensors")
    page.get_by_role("button", name=LOAD).click()
    running(page)
    assert not alert.is_visible()


@pytest.mark.slow
@pytest.mark.parametrize("file", ["first.json", "raccoon.webp"])
def test_without_the_stored_answer_the_models_answer(page, site, file):
    page.route(f"**/{file}", lambda route: route.fulfill(status=404))
    page.goto(site[1])
    running(page)
    pick(page, "Rocket")
    assert answers(page, "ViT")
    assert not page.locator(".live-problem").first.is_visible()


@pytest.mark.slow
def test_still_stays_without_the_list_of_models(page, site):
    page.route("**/models.json", lambda route: route.fulfill(status=404))
    page.goto(site[1])
    page.get_by_text("The live figure could not start").wait_for()
    assert page.get_by_text("A still picture.").is_visible()
    assert not page.locator(".live").count()


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 390, 1280])
def test_no_sideways_scrolling(loaded, width):
    loaded.set_viewport_size({"width": width, "height": 800})
    settle(loaded)
    wide = loaded.evaluate("document.documentElement.scrollWidth")
    assert wide <= width


@pytest.mark.slow
def test_targets_are_large_enough(loaded):
    loaded.set_viewport_size({"width": 360, "height": 800})
    for target in (
        loaded.locator(
            ".live input:visible, .live select, .live button, .live summary, "
            ".live label.live-file"
        )
        .locator("visible=true")
        .all()
    ):
        box = target.bounding_box()
        assert min(box["width"], box["height"]) >= 24, target
