"""Chapter 3's four tokens, in a browser, against NumPy."""

import re

import numpy as np
import pytest
from figures import open_figure, serve_figures

pytest_plugins = ["browser"]

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Test</title>
<link rel="stylesheet" href="live/live.css">
<script type="module" src="live/main.mjs"></script>
<body style="margin: 0 1rem">
<p><img src="stills/live-tokens.png" alt="still"> A still picture.</p>"""
#: The chapter's.
TOKENS = [[3, 0], [0, 2], [1, 1], [-2, 1]]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with serve_figures(folder, index=PAGE) as address:
        yield address


@pytest.fixture
def figure(page, site):
    return open_figure(page, site, "tokens")


def expected(tokens, tau, masked=False):
    """Scores, weights and entropies, as the chapter computes them."""
    scores = np.array(tokens, float) @ np.transpose(tokens)
    if masked:
        np.fill_diagonal(scores, -np.inf)
    powers = np.exp((scores - scores.max(1, keepdims=True)) / tau)
    weights = powers / powers.sum(1, keepdims=True)
    safe = np.where(weights > 0, weights, 1)
    return scores, weights, -(weights * np.log(safe)).sum(1)


def numbers(page, name):
    """A table as it is shown, without its heads."""
    cells = page.get_by_role("table", name=name).locator("td")
    words = [text.replace("−", "-") for text in cells.all_inner_texts()]
    found = [float(text.replace("∞", "inf")) for text in words]
    return np.reshape(found, (4, -1))


def assert_shows(page, tokens, tau, masked=False):
    scores, weights, entropies = expected(tokens, tau, masked)
    np.testing.assert_allclose(numbers(page, "Scores"), scores, atol=0.006)
    shown = numbers(page, "Weights")
    np.testing.assert_allclose(shown[:, :4], weights, atol=0.006)
    np.testing.assert_allclose(shown[:, 4], entropies, atol=0.006)


def handle(page, token):
    return page.get_by_role("application", name=f"Token {token} at")


def place(page, token):
    words = handle(page, token).get_attribute("aria-label")
    found = re.match(r"Token \d at (\S+), (\S+)\. ", words).groups()
    return [float(each.replace("−", "-")) for each in found]


def test_it_begins_with_the_chapters_numbers(figure):
    assert_shows(figure, TOKENS, 2)
    assert [place(figure, i) for i in range(4)] == TOKENS


def test_temperature_and_mask_change_the_weights(figure):
    slider = figure.get_by_label("Temperature", exact=True)
    for power in (-2, 0, 4):
        slider.fill(str(power))
        assert_shows(figure, TOKENS, 2.0**power)
    figure.get_by_label("Mask the diagonal").check()
    assert_shows(figure, TOKENS, 16, masked=True)
    figure.get_by_role("button", name="again").click()
    assert_shows(figure, TOKENS, 2)
    assert not figure.get_by_label("Mask the diagonal").is_checked()


@pytest.mark.slow
@pytest.mark.parametrize("touch", [False, True])
def test_a_token_is_dragged(chromium, site, touch):
    context = chromium.new_context(
        has_touch=touch, viewport={"width": 390, "height": 844}
    )
    page = context.new_page()
    page.goto(site)
    page.locator(".live-tokens").wait_for()
    box = page.locator(".live-plane").bounding_box()
    unit = box["width"] / 8

    def at(x, y):
        return {"x": box["x"] + (4 + x) * unit, "y": box["y"] + (4 - y) * unit}

    start, end = at(0, 2), at(-3, -1)
    if touch:
        client = context.new_cdp_session(page)

        def send(kind, points):
            client.send(
                "Input.dispatchTouchEvent",
                {"type": kind, "touchPoints": points},
            )

        send("touchStart", [start])
        send("touchMove", [at(-1, 1)])
        send("touchMove", [end])
        send("touchEnd", [])
    else:
        page.mouse.move(**start)
        page.mouse.down()
        page.mouse.move(**end, steps=4)
        page.mouse.up()
        page.mouse.move(**at(2, 2))
    np.testing.assert_allclose(place(page, 1), [-3, -1], atol=0.11)
    moved = [place(page, i) for i in range(4)]
    assert moved[0] == TOKENS[0] and moved[2:] == TOKENS[2:]
    assert_shows(page, moved, 2)
    assert page.evaluate("scrollY") == 0
    context.close()


def test_keys_move_a_token_within_the_plane(figure):
    handle(figure, 2).focus()
    for key in ("ArrowUp", "ArrowLeft", "ArrowLeft"):
        figure.keyboard.press(key)
    assert place(figure, 2) == [0.5, 1.25]
    for _ in range(30):
        figure.keyboard.press("ArrowDown")
    assert place(figure, 2) == [0.5, -4]
    moved = [*TOKENS[:2], [0.5, -4], TOKENS[3]]
    assert_shows(figure, moved, 2)
    assert handle(figure, 2).get_attribute("aria-current") == "true"


@pytest.mark.slow
def test_what_changed_is_said_after_a_pause(figure):
    status = figure.locator("p[role=status]")
    assert "Token 1 attends most to itself, 53 %." in status.inner_text()
    assert "0.82 of at most 1.39" in status.inner_text()
    figure.get_by_label("Mask the diagonal").check()
    figure.get_by_text("of at most 1.10").wait_for()
    assert "itself" not in status.inner_text()


def test_a_mask_leaves_nothing_on_the_diagonal(figure):
    figure.get_by_label("Mask the diagonal").check()
    weights = numbers(figure, "Weights")[:, :4]
    assert (np.diag(weights) == 0).all()
    assert np.isneginf(np.diag(numbers(figure, "Scores"))).all()


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1280])
def test_no_sideways_scrolling(figure, width):
    figure.set_viewport_size({"width": width, "height": 800})
    assert figure.evaluate("document.documentElement.scrollWidth") <= width
    for target in figure.locator("button, input").all():
        box = target.bounding_box()
        assert min(box["width"], box["height"]) >= 20, target
