"""The chart of all main results."""

import overview
import pytest

from vitsd_helpers.evidence.records import read_records
from vitsd_helpers.evidence.statistics import summarize

NAMES = ["ladder-16", "steps-5000-bf16", "pretrained-500", "cutmix-500"]


@pytest.fixture
def rows():
    return overview.collect(NAMES)


def test_rows_are_sorted_and_said(rows):
    assert [overview.title(row) for row in rows] == [
        "50,000 images, 16 passes, Muon",
        "500 images, pretrained",
        "5,000 images, 18 passes, bfloat16",
        "500 images, 180 passes, CutMix",
    ]
    means = [overview.best(row) for row in rows]
    assert means == sorted(means, reverse=True)


def test_points_are_of_the_records(rows):
    runs = [
        100 * run["test"]["top1"]
        for name, run in read_records().items()
        if name.startswith("steps-5000-bf16-sl-")
    ]
    found, expected = rows[2]["sl"], summarize(runs)
    assert found.runs == expected.count
    assert found.mean == pytest.approx(expected.mean, abs=1e-3)
    assert found.half == pytest.approx(expected.half, abs=1e-3)
    assert set(rows[2]) >= {"vit", "sl", "cnn"}


def test_a_mark_of_one_run_is_hollow_and_has_no_bar(rows):
    figure, alt = overview.draw(rows)
    for container in figure.axes[0].containers:
        mark, _, bars = container
        assert (mark.get_markerfacecolor() == "none") == (not bars)
    assert "50,000 images, 16 passes, Muon: SL-ViT" in alt
    place = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert place[0].startswith("50,000") and place[-1].endswith("CutMix")


def test_the_best_from_scratch_is_named(rows):
    best = read_records()["ladder-16-sl-seed0"]
    text = overview.sentence(rows)
    assert f"SL-ViT with {100 * best['test']['top1']:.1f} %, one run" in text
    assert f"{best['seconds'] / 60:.0f} minutes" in text
    assert best["device"] in text


def test_a_recipe_without_a_record_is_named():
    with pytest.raises(ValueError, match="ladder-32"):
        overview.collect(["ladder-32", "ladder-16"])
