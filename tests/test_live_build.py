"""What the site's build adds for the live figures, and their stills."""

import base64
import io
import json
from pathlib import Path

import live
import numpy as np
import pytest
import stills
from keras import ops
from PIL import Image
from sphinx.application import Sphinx

from vitsd_helpers.evidence.maps import attention_weights
from vitsd_helpers.evidence.records import (
    read_labels,
    read_records,
    results_folder,
)
from vitsd_helpers.training.weights import load_model

STATIC = Path(__file__).parents[1] / "book" / "_static"
RECORDS = results_folder()


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A site of three pages, of which two have a still."""
    source = tmp_path_factory.mktemp("source")
    for name in ("live-patches-1", "live-patches-2"):
        Image.new("RGB", (8, 8)).save(source / f"{name}.png")
    (source / "index.rst").write_text(
        "First\n=====\n\n.. image:: live-patches-1.png\n\n"
        ".. toctree::\n\n   other\n   alone\n",
        "utf-8",
    )
    (source / "alone.rst").write_text(
        ":html_theme.sidebar_secondary.remove: true\n\n"
        "Alone\n=====\n\n.. image:: live-patches-2.png\n",
        "utf-8",
    )
    (source / "other.rst").write_text(
        "Other\n=====\n\nNo live figure.\n", "utf-8"
    )
    settings = {
        "extensions": ["live"],
        "html_static_path": [str(STATIC)],
        "html_theme": "basic",
    }
    app = Sphinx(
        source, None, source / "html", source / "trees", "html", settings
    )
    app.build()
    assert app.statuscode == 0
    return source / "html"


def test_only_pages_with_a_still_load_the_figures(site):
    first = (site / "index.html").read_text("utf-8")
    assert first.count("live/main.mjs") == first.count("live/live.css") == 1
    assert 'type="module"' in first
    assert "live/" not in (site / "other.html").read_text("utf-8")


def test_a_page_without_contents_is_wide(site):
    assert "live/wide.css" in (site / "alone.html").read_text("utf-8")
    assert "live/wide.css" not in (site / "index.html").read_text("utf-8")


def test_site_has_the_models(site):
    folder = site / "_static" / "live" / "models"
    listed = json.loads((folder / "models.json").read_text("utf-8"))
    assert [model["variant"] for model in listed["models"]] == ["vit", "sl"]
    assert [model["title"] for model in listed["models"]] == ["ViT", "SL-ViT"]
    records = read_records()
    for model in listed["models"]:
        name = Path(model["file"]).stem
        assert name == f"{listed['recipe']}-{model['variant']}-seed0"
        assert model["top1"] == records[name]["test"]["top1"]
        stored = (RECORDS / "weights" / model["file"]).read_bytes()
        assert (folder / model["file"]).read_bytes() == stored
        assert model["bytes"] == len(stored)
    assert len(listed["classes"]) == 100
    assert listed["classes"][1] == "aquarium fish"
    assert [c.replace(" ", "_") for c in listed["classes"]] == [
        *read_labels()[1]
    ]
    assert len(list(folder.iterdir())) == 4
    assert not live.too_large(listed["models"])


def test_best_pair_is_chosen_of_those_that_are_whole(monkeypatch, tmp_path):
    monkeypatch.setattr(live, "results_folder", lambda: tmp_path)
    folder = tmp_path / "weights"
    folder.mkdir()
    with pytest.raises(FileNotFoundError, match="vit and sl with seed 0"):
        live.choose_pair()
    records = {}
    monkeypatch.setattr(live, "read_records", lambda: records)
    for name, top1, data, expected in (
        ("a-vit", 0.4, "cifar100", None),
        ("a-sl", 0.4, "cifar100", "a"),
        ("b-vit", 0.9, "cifar100", "a"),
        ("c-sl", 0.5, "cifar100", "a"),
        ("c-vit", 0.6, "cifar100", "c"),
        ("digits-vit", 0.9, "digits", "c"),
        ("digits-sl", 0.9, "digits", "c"),
        ("b-sl", 0.1, "cifar100", "c"),
    ):
        records[f"{name}-seed0"] = {"test": {"top1": top1}, "data": data}
        (folder / f"{name}-seed0.safetensors").touch()
        if expected:
            recipe, files = live.choose_pair()
            assert recipe == expected
            assert all(path.exists() for path in files.values())
    monkeypatch.setattr(live, "MOST_IN_ONE", 3)
    (folder / "c-sl-seed0.safetensors").write_text("large", "utf-8")
    assert live.choose_pair()[0] == "b"


def test_stored_answer_is_the_models(site):
    folder = site / "_static" / "live" / "models"
    first = json.loads((folder / "first.json").read_text("utf-8"))
    listed = json.loads((folder / "models.json").read_text("utf-8"))["models"]
    pixels = live.read_picture(first["picture"])
    for model, stored in zip(listed, first["answers"], strict=True):
        run = load_model(folder / model["file"])
        logits = ops.convert_to_numpy(run(pixels))[0]
        np.testing.assert_allclose(stored["logits"], logits, atol=1e-3)
        weights = np.stack(attention_weights(run, pixels))[:, 0]
        packed = base64.b64decode(stored["attention"])
        roots = np.frombuffer(packed, "uint8").reshape(weights.shape) / 255
        np.testing.assert_allclose(roots, np.sqrt(weights), atol=1 / 500)
        config = model["config"]
        assert weights.shape[:2] == (config["depth"], config["num_heads"])


def test_long_downloads_are_named():
    def model(name, megabytes):
        return {"file": name, "bytes": megabytes * live.MEGABYTE}

    assert live.too_large([model("a", 6), model("b", 6)]) == []
    (one,) = live.too_large([model("a", 6.5), model("b", 1)])
    assert one.startswith("a: 6.5 MB, more than 6;")
    *_, both = live.too_large([model("a", 6.5), model("b", 6)])
    assert both.startswith("all models: 12.5 MB, more than 12;")


@pytest.mark.parametrize("path", sorted((STATIC / "stills").iterdir()))
def test_stills_are_small_and_have_no_ground(path):
    assert path.stat().st_size < stills.MOST_BYTES
    with Image.open(path) as picture:
        opacity = np.asarray(picture.convert("RGBA"))[..., 3]
    assert opacity.min() == 0 and opacity.max() == 255


def test_the_page_of_a_still_is_found(site):
    assert stills.find_page(site, "live-patches-1.png") == "index.html"
    with pytest.raises(FileNotFoundError, match=r"shows live-x\.png"):
        stills.find_page(site, "live-x.png")


def test_few_colours_look_alike():
    y, x = np.mgrid[:60, :80]
    opacity = np.where(x < 60, 255, 255 - 12 * (x - 60)).clip(0)
    pixels = np.stack([3 * y, 3 * x, 255 - y - x, opacity], -1)
    file = io.BytesIO()
    Image.fromarray(pixels.astype("uint8")).save(file, "PNG")
    with Image.open(io.BytesIO(stills.compress(file.getvalue()))) as small:
        assert small.mode == "P"
        found = np.asarray(small.convert("RGBA")).astype(float)
    apart = np.abs(found - pixels)
    assert apart[:, :60, :3].mean() < 5
    assert (apart[:, :60, 3] == 0).all()
    assert apart[..., 3].mean() < 5
