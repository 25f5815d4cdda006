"""The live curves of "I have N images", in a browser, against the records."""

import json
import math
import re

import curves
import experiments
import numpy as np
import pytest
from figures import open_figure, serve_figures

from vitsd_helpers.evidence.records import read_records, results_folder
from vitsd_helpers.evidence.statistics import summarize
from vitsd_helpers.training.recipes import get_recipe

pytest_plugins = ["browser"]

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Test</title>
<link rel="stylesheet" href="live/live.css">
<script type="module" src="live/main.mjs"></script>
<body style="margin: 0 1rem">
<p><img src="stills/live-curves.png" alt="still"></p>
<script type="application/json" id="live-curves-data">DATA</script>"""


@pytest.fixture(scope="module")
def data():
    return curves.collect()


@pytest.fixture(scope="module")
def site(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("site")
    html = PAGE.replace("DATA", json.dumps(data))
    with serve_figures(folder, index=html) as address:
        yield address


@pytest.fixture
def figure(page, site):
    return open_figure(page, site, "curves")


def go(page, images):
    """Move the slider to a number, by keys."""
    slider = page.get_by_label("Images", exact=True)
    slider.focus()
    page.keyboard.press("Home")
    for _ in range(100):
        if slider.get_attribute("aria-valuetext") == f"{images:,}":
            return
        page.keyboard.press("ArrowRight")
    raise AssertionError(f"the slider has no {images:,}")


def row(page, name):
    head = page.get_by_role("rowheader", name=name, exact=True)
    return head.locator("xpath=../td").all_inner_texts()


def test_points_are_the_records():
    runs = [
        100 * record["test"]["top1"]
        for name, record in read_records().items()
        if re.fullmatch(r"steps-5000-sl-seed\d+", name)
    ]
    point = curves.chosen("sl", "steps")[5000]
    expected = summarize(runs)
    assert (point.mean, point.half, point.runs) == pytest.approx(
        (expected.mean, expected.half, expected.count), abs=1e-3
    )
    peers = read_records(results_folder() / "peers")
    known = [
        100 * record["test"]["top1"]
        for name, record in peers.items()
        if name.startswith("pretrained-2000-seed")
    ]
    found = curves.chosen("pretrained", "best")[2000]
    assert found.mean == pytest.approx(np.mean(known), abs=1e-3)
    best, ladder = (curves.chosen("sl", b) for b in ("best", "steps"))
    assert all(best[n].mean >= ladder[n].mean for n in ladder)


def test_a_cnn_comes_with_its_records(monkeypatch):
    found = dict(curves.read())
    for seed, top1 in enumerate((0.30, 0.32)):
        name, key = "steps-2000-bf16", ("cnn", 2000)
        record = found["vit", 2000]["steps-2000"][seed]
        record = record | {"seed": seed, "test": {"top1": top1}}
        by_recipe = dict(found.get(key, {})) if seed else {}
        by_recipe[name] = [*by_recipe.get(name, []), record]
        found[key] = by_recipe
    monkeypatch.setattr(curves, "read", lambda: found)
    assert curves.chosen("cnn", "steps")[2000].mean == pytest.approx(31)
    assert curves.advise(2000, "steps")[0].endswith("from scratch: CNN")
    assert "CNN" in curves.advise(2000, "steps")[1]


def test_it_begins_with_5000_and_shows_the_records(figure, data):
    for images in (5000, 50000):
        go(figure, images)
        for curve in data["budgets"][0]["curves"]:
            at = {p["images"]: p for p in curve["points"]}
            top1, how = row(figure, curve["title"])[:2]
            if images in at:
                assert top1 == at[images]["top1"]
                assert at[images]["recipe"] in how
            else:
                assert top1 == "not measured"


def test_keys_change_the_sentence_and_the_choice_the_numbers(figure, data):
    best, *_, steps, _ = data["budgets"]
    status = figure.locator("p[role=status]")
    assert status.inner_text() == best["advice"][5000]
    go(figure, 500)
    figure.get_by_text(best["advice"][500], exact=True).wait_for()
    figure.get_by_label("Trained").select_option("steps")
    figure.get_by_text(steps["advice"][500], exact=True).wait_for()
    point = curves.chosen("sl", "steps")[500]
    assert point.top1 in figure.get_by_role("table").first.inner_text()


def test_between_is_interpolated_and_outside_refused(figure):
    go(figure, 3000)
    a, b = (curves.chosen("pretrained", "best")[n].mean for n in (2000, 5000))
    part = math.log(3000 / 2000) / math.log(5000 / 2000)
    top1, how = row(figure, "Pretrained features")
    shown = float(re.search(r"[\d.]+", top1).group())
    assert shown == pytest.approx(a + part * (b - a), abs=0.06)
    assert how == "interpolated, 2,000 to 5,000"
    for images in (200, 100_000):
        go(figure, images)
        assert row(figure, "SL-ViT")[0] == "not measured"
        figure.get_by_text("do not extrapolate").wait_for()


@pytest.mark.slow
def test_the_mark_is_dragged(figure):
    box = figure.locator(".live-curves svg").bounding_box()
    y = box["y"] + box["height"] / 2
    figure.mouse.move(box["x"] + box["width"] / 2, y)
    figure.mouse.down()
    figure.mouse.move(box["x"] + 41, y, steps=3)
    figure.mouse.up()
    slider = figure.get_by_label("Images", exact=True)
    assert slider.get_attribute("aria-valuetext") == "200"


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1280])
def test_no_sideways_scrolling_and_no_jump(figure, width):
    figure.set_viewport_size({"width": width, "height": 800})
    assert figure.evaluate("document.documentElement.scrollWidth") <= width
    heights = set()
    for images in (200, 500, 3000, 5000, 50000):
        go(figure, images)
        figure.wait_for_timeout(400)
        box = figure.locator(".live-curves").bounding_box()
        heights.add(round(box["height"]))
    assert len(heights) == 1


def test_a_row_says_how_the_best_recipe_trained():
    """A transformer's, the CNN's, the pretrained network's."""
    assert curves.training("sl", 500) == (
        "500",
        "from scratch",
        "4",
        "mirror, crop, CutMix, Muon, 899 passes",
        "35",
        "KERAS_BACKEND=torch make train RECIPE=longer-500 MODELS=sl",
    )
    cnn = curves.training("cnn", 5000)
    assert cnn[1:4] == ("from scratch", "–", "mirror, crop, CutMix, 90 passes")
    assert cnn[-1] == (
        "make studies STUDIES=longer RECIPES=longer-5000-adamw SEEDS=0 "
        "RESULTS=runs/again"
    )
    *_, command = curves.training("pretrained", 2000)
    assert command.endswith("fit F.npz FOLDER --images 2000 --seeds 0")


@pytest.mark.parametrize("curve", ["sl", "cnn"])
def test_a_command_names_a_recipe_and_a_study_that_make_the_run(curve):
    for images, point in curves.chosen(curve, "best").items():
        words = dict(
            word.split("=")
            for word in curves.training(curve, images)[-1].split()
            if "=" in word
        )
        assert get_recipe(words["RECIPE" if curve == "sl" else "RECIPES"])
        if curve == "cnn":
            runs = experiments.STUDIES[words["STUDIES"]]
            assert (point.recipe, curve, 0) in runs


@pytest.mark.parametrize("budget", curves.LIMITS)
def test_what_takes_longer_is_not_chosen(budget):
    """And of the rest nothing better is left out."""
    left_out = 0
    for curve in curves.CURVES:
        found = curves.chosen(curve, budget)
        for images, point in curves.chosen(curve, "best").items():
            if point.middle <= curves.LIMITS[budget]:
                assert found[images] == point
            else:
                left_out += 1
                at = found.get(images)
                assert at is None or at.mean < point.mean
    assert left_out
    title, note = curves.about(budget)
    assert str(curves.LIMITS[budget]) in title
    assert str(curves.LIMITS[budget]) in note
