"""Records in tables, for the pages."""

import json
import re
import statistics
from pathlib import Path

import keras
import losses
import pytest
import records as pages
from experiments import PAIR

from vitsd_helpers.evidence.records import read_records, versions

ROOT = Path(__file__).parents[1]
BOOK = read_records()
PEERS = ROOT / "book" / "results" / "peers"
RESULTS = (ROOT / "book" / "results.md").read_text("utf-8")
TABLES = re.findall(r"^```\{records\} (.*)$", RESULTS, re.M)


def rows_of(*recipes: str) -> list[tuple[str, ...]]:
    """The table of some recipes."""
    found = [run for name in recipes for _, run in pages.of_recipe(name)]
    return pages.RecordsDirective.rows(found)


def test_a_row_is_a_model():
    head, vit, sl = rows_of("steps-500")
    numbers = ("runs", "top-1 %", "spread", "top-5 %", "min")
    assert head == ("model", *numbers)
    assert (vit[0], sl[0]) == ("ViT", "SL-ViT")
    runs = [BOOK[f"steps-500-sl-seed{seed}"] for seed in (0, 1, 2)]
    mean = sum(run["test"]["top1"] for run in runs) / len(runs)
    assert sl[1:3] == ("3", f"{100 * mean:.1f}")
    spread = statistics.stdev(100 * run["test"]["top1"] for run in runs)
    assert float(sl[3]) == pytest.approx(spread, abs=0.051)


def test_one_run_has_no_spread():
    _, (_, runs, top1, spread, *_), _ = rows_of("laptop")
    share = BOOK["laptop-vit-seed0"]["test"]["top1"]
    assert (runs, top1, spread) == ("1", f"{100 * share:.1f}", "")


def test_several_recipes_are_named():
    head, *rows = rows_of("steps-500", "epochs-500")
    assert head[:2] == ("recipe", "model")
    assert [row[0] for row in rows] == ["steps-500"] * 2 + ["epochs-500"] * 2
    assert {len(row) for row in (head, *rows)} == {7}


def test_other_networks_come_after_the_transformers(tmp_path, monkeypatch):
    for variant, model in (("cnn", "ResNet-14"), ("vit", "ViT")):
        made = BOOK["steps-500-vit-seed0"] | {
            "variant": variant,
            "model": model,
        }
        path = tmp_path / f"steps-500-{variant}-seed0.json"
        path.write_text(json.dumps(made), "utf-8")
    monkeypatch.setattr(pages, "FOLDER", tmp_path)
    assert [row[0] for row in rows_of("steps-500")[1:]] == ["ViT", "ResNet-14"]


def test_an_origin_names_all_that_a_number_hangs_on():
    record = BOOK["ladder-2-sl-seed0"]
    said = pages.RecordsDirective.origin(record)
    versions = record["versions"]
    for part in (
        record["device"],
        f"Python {versions['python']}, Keras {versions['keras']} on torch "
        f"{versions['torch']}",
        record["date"],
        record["commit"][:7],
        record["recipe_hash"],
    ):
        assert part in said


def test_an_origin_says_whose_it_is():
    runs = [BOOK[f"steps-500-{of}-seed{s}"] for of in PAIR for s in (0, 1)]
    same = [run | {"commit": "c", "date": "d"} for run in runs]
    (line,) = pages.RecordsDirective.origins(same)
    assert line.startswith("ViT, seeds 0, 1; SL-ViT, seeds 0, 1: ")
    assert line.endswith(pages.RecordsDirective.origin(same[0]))
    same[2:] = [run | {"commit": "e"} for run in same[2:]]
    other = BOOK["epochs-500-vit-seed0"]
    lines = pages.RecordsDirective.origins([*same, other])
    assert [line.split(":")[0] for line in lines] == [
        "steps-500 ViT, seeds 0, 1",
        "steps-500 SL-ViT, seeds 0, 1",
        "epochs-500 ViT, seed 0",
    ]


def test_every_record_has_a_table():
    shown = {recipe for table in TABLES for recipe in table.split()}
    ours = {run["recipe"]["name"] for run in BOOK.values()}
    theirs = {path.name.split("-seed")[0] for path in PEERS.glob("*.json")}
    assert shown == ours | theirs


def test_a_record_names_the_keras_that_ran(monkeypatch):
    """A nightly build leaves the entry of the release that it replaces."""
    monkeypatch.setattr(keras, "version", lambda: "3.16.0.dev1")
    assert versions()["keras"] == "3.16.0.dev1"


def test_the_losses_on_several_devices_can_be_made_again():
    """The tool writes what lies there, and finds its cell in the chapter."""
    stored = json.loads(losses.RECORD.read_text("utf-8"))
    entries = set(re.findall(r'^    "(.+?)": ', losses.SAY, re.M))
    assert set(stored) == entries | {"versions"}
    assert "jax" in stored["versions"]
    chapter = json.loads(losses.CHAPTER.read_text("utf-8"))
    (cell,) = (c for c in chapter["cells"] if c["id"] == losses.WIDE)
    source = "".join(cell["source"])
    assert {"alone", "many"} <= set(re.findall(r"^(\w+) = ", source, re.M))
