"""Trials of changed recipes on the held-out split."""

import dataclasses
import json
import re
import shlex
from pathlib import Path

import pytest
import try_recipes

from vitsd_helpers.training.recipes import get_recipe

QUICK = get_recipe("quick")
BOOK = Path(__file__).parents[1] / "book"


def test_trial_is_the_changed_recipe_on_held_out_images():
    text = 'deep={"optimizer": "muon", "model": {"depth": 3}}'
    recipe = try_recipes.parse_trial(QUICK, text)
    assert recipe == dataclasses.replace(
        QUICK,
        name="quick-deep",
        optimizer="muon",
        held_out=5_000,
        model=dataclasses.replace(QUICK.model, depth=3),
    )


@pytest.mark.parametrize(
    "text", ["plain", 'a={"optimiser": "muon"}', "a=[1]", 'a={"model": 3}']
)
def test_mistyped_trial_is_an_error(text):
    with pytest.raises(ValueError, match="is not NAME=JSON"):
        try_recipes.parse_trial(QUICK, text)


def test_the_books_commands_are_those_of_its_trials():
    """A trial typed from the page has the hash of the record it repeats."""
    page = (BOOK / "reproduce.md").read_text("utf-8")
    found = set()
    for block in re.findall(r"^```\n(.*?)^```", page, re.M | re.S):
        for line in block.replace("\\\n", " ").split("KERAS_BACKEND="):
            if "try_recipes.py" not in line:
                continue
            words = shlex.split(line)
            base = get_recipe(words[words.index("runs/trials") - 1])
            models = words[words.index("--models") + 1].split(",")
            for text in (word for word in words if "={" in word):
                recipe = try_recipes.parse_trial(base, text)
                for model in models:
                    name = f"{recipe.name}-{model}-seed0"
                    path = BOOK / "results" / "trials" / f"{name}.json"
                    record = json.loads(path.read_text("utf-8"))
                    assert record["recipe_hash"] == recipe.hash, name
                    found.add(name)
    # The CNN's other rates are told in words, vit-pytorch's have a tool.
    ours = {p.stem for p in (BOOK / "results" / "trials").glob("*.json")}
    left = {n for n in ours - found if not n.startswith("vit-pytorch")}
    assert left == {f"steps-5000-cutmix30-rate{n}-cnn-seed0" for n in (4, 8)}


@pytest.mark.slow
def test_trial_leaves_a_record_and_is_not_run_again(tmp_path, monkeypatch):
    text = 'short={"epochs": 1, "held_out": 100, "train_images": 128}'
    recipe = try_recipes.parse_trial(QUICK, text)
    record = try_recipes.run_trial(recipe, "sl", 0, tmp_path)
    assert record["tested_on"] == "held out"
    assert record["test_images"] == 100
    path = tmp_path / "quick-short-sl-seed0.json"
    assert json.loads(path.read_text("utf-8")) == json.loads(
        json.dumps(record)
    )
    assert f"{record['test']['top1']:.2%}" in try_recipes.row(record)
    assert not list((tmp_path / ".checkpoints").iterdir())
    runs = []
    monkeypatch.setattr(try_recipes, "train", lambda *a, **k: runs.append(a))
    assert try_recipes.run_trial(recipe, "sl", 0, tmp_path)["finished"]
    assert not runs
    other = dataclasses.replace(recipe, batch_size=32)
    with pytest.raises(SystemExit, match=r"quick-short-sl.* another recipe"):
        try_recipes.run_trial(other, "sl", 0, tmp_path)
    assert not runs and json.loads(path.read_text("utf-8"))["finished"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ladder2", "out", "a={}"], "ladder-2"),
        (["quick", "out", "a"], "is not NAME=JSON"),
        (["quick", "out", "a={}", "--models", "vitt"], "vit"),
    ],
)
def test_a_wrong_word_is_one_line(monkeypatch, words, said):
    monkeypatch.setattr("sys.argv", ["try_recipes.py", *words])
    with pytest.raises(SystemExit, match=said):
        try_recipes.main()


def test_the_cnn_can_be_tried(monkeypatch, tmp_path):
    tried = []

    def run(recipe, variant, seed, folder):
        tried.append((recipe.name, variant))
        return {
            "recipe": {"name": recipe.name},
            "variant": variant,
            "seed": seed,
            "test": {"top1": 0.5, "loss": 1.0},
            "seconds": 1.0,
            "images_per_second": 1.0,
        }

    words = ["try_recipes.py", "quick", str(tmp_path), "a={}"]
    monkeypatch.setattr("sys.argv", [*words, "--models", "sl,cnn"])
    monkeypatch.setattr(try_recipes, "run_trial", run)
    try_recipes.main()
    assert tried == [("quick-a", "sl"), ("quick-a", "cnn")]
