"""The attention explorer, in a browser, against Keras."""

import io
import json
import re
import shutil
from pathlib import Path

import live
import numpy as np
import pytest
from browser import serve
from keras import ops
from PIL import Image

from vitsd_helpers.evidence.maps import attention_weights, mean_entropy
from vitsd_helpers.training.weights import load_model

pytest_plugins = ["browser"]

STATIC = Path(__file__).parents[1] / "book" / "_static"
LOAD = "Load both models"
PICTURES = STATIC / "live" / "pictures"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<title>Test</title><link rel="stylesheet" href="live/live.css">
<script type="module" src="live/main.mjs"></script>
<body style="margin: 0"><p><img src="stills/live-attention.png" alt="still">
A still picture.</p>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "static"
    shutil.copytree(STATIC, folder)
    live.write_models(folder / "live" / "models")
    (folder / "index.html").write_text(PAGE)
    with serve(folder) as url:
        yield folder, url


@pytest.fixture(scope="module")
def keras_models(site):
    """The models by title."""
    folder = site[0] / "live" / "models"
    listed = json.loads((folder / "models.json").read_text())
    return {
        model["title"]: load_model(folder / model["file"])
        for model in listed["models"]
    }


@pytest.fixture
def figure(page, site):
    """The figure before its models are asked for."""
    page.goto(site[1])
    page.get_by_text("The attention explorer").wait_for()
    return page


@pytest.fixture
def loaded(figure):
    """The figure with its models, and their first answer."""
    figure.get_by_role("button", name=LOAD).click()
    figure.locator("tbody tr").first.wait_for()
    return figure


def small(name):
    """A sample picture as the models see it: (1, 32, 32, 3)."""
    pixels = np.asarray(Image.open(PICTURES / f"{name}.webp").convert("RGB"))
    blocks = pixels.reshape(32, 8, 32, 8, 3).astype("float32")
    return blocks.mean((1, 3))[None]


def answers(page, title):
    """What the page shows: [(class, per cent), ...]."""
    table = page.get_by_role("table", name=f"classes of the {title}")
    names = table.locator("th").all_inner_texts()
    shares = table.locator(".live-number").all_inner_texts()
    return [
        (name, float(share.removesuffix(" %")))
        for name, share in zip(names, shares, strict=True)
    ]


def entropies(page, title):
    """The entropy here and of all patches, as shown."""
    table = page.get_by_role("table", name=f"Entropy of the {title}'s")
    return [float(n) for n in re.findall(r"([\d.]+) nats", table.inner_text())]


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


def test_models_come_when_asked_for(page, site):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site[1])
    button = page.get_by_role("button", name=LOAD)
    button.wait_for()
    assert not [url for url in asked if url.endswith(".safetensors")]
    button.click()
    page.locator("tbody tr").first.wait_for()
    assert len([url for url in asked if url.endswith(".safetensors")]) == 2
    assert all(url.startswith((site[1], "blob:")) for url in asked), asked
    assert not button.is_visible()


@pytest.mark.parametrize("name", ["flower", "rocket", "cat"])
def test_answers_are_keras_answers(loaded, site, keras_models, name):
    classes = json.loads(
        (site[0] / "live" / "models" / "models.json").read_text()
    )["classes"]
    pick(loaded, {"flower": "Dahlia"}.get(name, name.title()))
    for title, model in keras_models.items():
        shares = ops.convert_to_numpy(ops.softmax(model(small(name))))[0]
        shown = answers(loaded, title)
        best = np.argsort(-shares)[:5]
        assert [each[0] for each in shown] == [classes[i] for i in best]
        found = [each[1] for each in shown]
        np.testing.assert_allclose(found, 100 * shares[best], atol=0.3)


def test_entropies_are_keras_entropies(loaded, keras_models):
    pick(loaded, "Cup")
    slide(loaded, "Block", 1)
    choose(loaded, "Head", "3")
    for title, model in keras_models.items():
        weights = attention_weights(model, small("cup"))[0][:, 2:3]
        row = weights[..., 3 * 8 + 3, :].ravel()
        here = -(row * np.log(np.where(row > 0, row, 1))).sum()
        expected = [here, mean_entropy(weights)[0]]
        np.testing.assert_allclose(
            entropies(loaded, title), expected, atol=0.02
        )


def test_keys_and_clicks_move_the_patch(loaded):
    board = loaded.get_by_role("application").first
    board.focus()
    board.press("ArrowUp")
    board.press("ArrowRight")
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


def shade(page, title, row, column):
    """Brightness of a patch's middle in the map of a model."""
    board = page.get_by_role("application", name=f"Where the {title} looks")
    return board.evaluate(
        """(canvas, [row, column]) => {
          const at = (i) => Math.round(((i - 0.5) / 8) * canvas.width);
          const context = canvas.getContext("2d");
          const { data } = context.getImageData(at(column), at(row), 1, 1);
          return data[0] + data[1] + data[2];
        }""",
        [row, column],
    )


def test_mask(loaded):
    """Without the mask the framed patch may be looked at."""
    slide(loaded, "Block", 1)
    dark = shade(loaded, "SL-ViT", 4, 4)
    before = entropies(loaded, "ViT"), entropies(loaded, "SL-ViT")
    choose(loaded, "Diagonal mask", "off in both")
    assert shade(loaded, "SL-ViT", 4, 4) > dark
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
    page.locator("input[type=file]").set_input_files(file)
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
    assert abs(answers(loaded, "SL-ViT")[0][1] - best) < 0.3
    assert all(url.startswith("blob:") for url in sent), sent


def test_wrong_file_is_named_and_the_figure_goes_on(loaded):
    before = answers(loaded, "SL-ViT")
    words = b"no picture"
    upload(loaded, "words.txt", "text/plain", words, "text/plain")
    upload(loaded, "torn.png", "image/png", png()[:40], "could not be read")
    assert answers(loaded, "SL-ViT") == before
    pick(loaded, "Cup")
    alert = loaded.locator(".live-pictures [role=alert]")
    assert not alert.is_visible()
    assert answers(loaded, "SL-ViT") != before


def test_torn_download_can_be_tried_again(figure, site):
    def tear(route):
        whole = route.fetch().body()
        route.fulfill(body=whole[: len(whole) // 2])

    figure.route("**/*-sl-*.safetensors", tear)
    button = figure.get_by_role("button", name=LOAD)
    button.click()
    alert = figure.get_by_role("alert").filter(has_text="could not be loaded")
    alert.wait_for()
    assert "-sl-" in alert.inner_text()
    assert "try again" in alert.inner_text()
    figure.unroute("**/*-sl-*.safetensors")
    button.click()
    figure.locator("tbody tr").first.wait_for()
    assert not alert.is_visible()


def test_still_stays_without_the_list_of_models(page, site):
    page.route("**/models.json", lambda route: route.fulfill(status=404))
    page.goto(site[1])
    page.get_by_text("The live figure could not start").wait_for()
    assert page.get_by_text("A still picture.").is_visible()
    assert not page.locator(".live").count()


@pytest.mark.parametrize("width", [360, 390, 1280])
def test_no_sideways_scrolling(loaded, width):
    loaded.set_viewport_size({"width": width, "height": 800})
    settle(loaded)
    wide = loaded.evaluate("document.documentElement.scrollWidth")
    assert wide <= width


def test_targets_are_large_enough(loaded):
    loaded.set_viewport_size({"width": 360, "height": 800})
    for target in loaded.locator(
        ".live input:visible, .live select, .live label.live-file"
    ).all():
        box = target.bounding_box()
        assert min(box["width"], box["height"]) >= 24, target
