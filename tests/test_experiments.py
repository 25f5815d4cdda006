"""The list of runs behind the result chapters, and the runner."""

import dataclasses
import json
import subprocess
import sys
from collections import Counter

import experiments
import pytest
from estimate import IMAGES, estimate, images_seen

from vitsd_helpers.evidence.records import read_records, record_name
from vitsd_helpers.training.loop import epoch_steps
from vitsd_helpers.training.recipes import (
    BASELINES,
    FACTORS,
    VARIANTS,
    get_recipe,
)


def test_every_run_can_be_run():
    for study, runs in experiments.STUDIES.items():
        assert len(set(runs)) == len(runs), study
        for recipe, variant, _ in runs:
            get_recipe(recipe)
            assert variant in VARIANTS | BASELINES


def test_no_run_is_in_two_studies():
    runs = [run for study in experiments.STUDIES.values() for run in study]
    assert len(set(runs)) == len(runs)


def test_factorial_is_full_and_seeds_come_in_turn():
    runs = experiments.STUDIES["factorial"]
    assert {variant for _, variant, _ in runs} == set(FACTORS)
    assert len(runs) == 8 * len(experiments.SEEDS)
    assert [seed for *_, seed in runs] == sorted(s for *_, s in runs)


def test_what_needs_a_gpu_is_not_for_two_cores():
    assert not {"gpu", "speedrun", "laptop"} & set(experiments.ON_A_CPU)
    assert experiments.ON_A_CPU[-1] == "long"
    assert experiments.folder("speedrun") == experiments.RESULTS


def test_headline_has_five_seeds_and_the_rest_three():
    counts = Counter(run[:2] for run in experiments.STUDIES["speedrun"])
    assert counts == {
        ("best", "sl"): 5,
        ("best", "vit"): 3,
        ("best-30s", "sl"): 3,
        ("best-9min", "sl"): 3,
    }
    rungs = Counter(run[:2] for run in experiments.STUDIES["ladder"])
    assert set(rungs.values()) == {3} and len(rungs) == 10


def test_every_committed_record_is_of_a_study():
    runs = {
        record_name(*run)
        for study in experiments.STUDIES.values()
        for run in study
    }
    assert set(read_records()) <= runs


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Results and checkpoints in a folder of the test's."""
    monkeypatch.setattr(experiments, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(experiments, "WORK", tmp_path / "work")
    return tmp_path


def test_one_run_leaves_a_record_and_is_then_done(place):
    run = ("quick", "vit", 0)
    assert not experiments.done("some", run)
    experiments.one("some", run)
    assert experiments.done("some", run)
    path = place / "results" / "studies" / "quick-vit-seed0.json"
    assert json.loads(path.read_text())["finished"]
    assert path.with_suffix(".npz").exists()
    assert not list((place / "work").iterdir())


def test_unfinished_record_is_not_done(place):
    run = ("quick", "vit", 0)
    folder = experiments.folder("some")
    folder.mkdir(parents=True)
    path = folder / "quick-vit-seed0.json"
    path.write_text(json.dumps({"finished": False}))
    assert not experiments.done("some", run)


def test_runner_does_what_is_missing_and_counts_failures(place, monkeypatch):
    """Two runs to do, of which one fails; a third is done already."""
    runs = [("quick", v, 0) for v in ("vit", "sl", "lsa")]
    monkeypatch.setitem(experiments.STUDIES, "some", runs)
    monkeypatch.setattr(
        experiments, "done", lambda study, run: run[1] == "vit"
    )
    started = []

    class Child:
        def __init__(self, command, env):
            where = command.index("one") + 1
            started.append(command[where : where + 4])
            self.code = 1 if "lsa" in command else 0

        def wait(self):
            return self.code

    monkeypatch.setattr(experiments.subprocess, "Popen", Child)
    assert experiments.run_all(experiments.missing(["some"]), 1) == 1
    assert started == [
        ["some", "quick", "sl", "0"],
        ["some", "quick", "lsa", "0"],
    ]


def test_runs_can_be_chosen(place):
    """The fixture's folder is empty, so every run is missing."""
    everything = experiments.missing(["factorial", "sizes"])
    assert len(everything) == 24 + 30
    some = experiments.missing(
        ["factorial", "sizes"], ["steps-500", "steps-5000"], [1]
    )
    assert len(some) == 8 + 2
    assert {seed for _, (*_, seed) in some} == {1}


def test_results_and_checkpoints_go_where_they_are_told(tmp_path):
    run = [
        sys.executable, experiments.__file__, "one", "ladder", "quick", "vit",
        "0", "--results", "kept", "--work", "state",
    ]  # fmt: skip
    subprocess.run(run, check=True, cwd=tmp_path)
    folder = tmp_path / "kept" / "studies"
    assert (folder / "quick-vit-seed0.json").exists()
    assert not list((tmp_path / "state").iterdir())


def test_ten_pairs_tell_whether_bfloat16_is_the_same():
    runs = set(experiments.STUDIES["pair"] + experiments.STUDIES["precision"])
    for variant in experiments.PAIR:
        for seed in experiments.TEN:
            assert ("steps-5000-bf16", variant, seed) in runs
            old = seed in experiments.SEEDS
            assert (("steps-5000", variant, seed) in runs) != old
    float32, half = get_recipe("steps-5000"), get_recipe("steps-5000-bf16")
    assert half.settings == float32.settings | {
        "name": "steps-5000-bf16",
        "precision": "mixed_bfloat16",
    }


def test_time_is_that_of_the_same_recipe_or_of_the_nearest_record():
    def record(name, variant, rate, seconds, **changes):
        recipe = dataclasses.replace(get_recipe(name), **changes)
        return {
            "recipe": json.loads(json.dumps(recipe.settings)),
            "recipe_hash": recipe.hash,
            "variant": variant,
            "finished": True,
            "seconds": seconds,
            "compile_seconds": 10.0,
            "images_per_second": rate,
        }

    recipe = get_recipe("ladder-4")
    large = dataclasses.replace(recipe.model, depth=2 * recipe.model.depth)
    records = {
        "a": record("ladder-4", "vit", 100, 500.0),
        "b": record("ladder-4", "vit", 100, 700.0),
        "c": record("ladder-4", "sl", 100, 900.0),
        "d": record("ladder-8-bf16", "vit", 200, 1.0),
        "e": record("ladder-8", "vit", 10, 1.0, model=large),
    }
    assert estimate(recipe, "vit", records) == (610.0, "a and 1 more")
    assert estimate(recipe, "sl", records) == (910.0, "c")
    assert estimate(recipe, "tau", records)[0] == pytest.approx(710.0)
    other = get_recipe("ladder-16-bf16")
    seconds, words = estimate(other, "vit", records)
    assert words == "d's 200 images/s"
    assert seconds == images_seen(other) / 200 + 10
    assert images_seen(other) == 50_000 // 128 * 128 * 16
    only = {"e": records["e"]}
    seconds, words = estimate(other, "vit", only)
    assert words.startswith("e's 10 images/s, at 0.5")
    assert 0.5 < seconds / (images_seen(other) / 10) < 0.6


@pytest.mark.parametrize("name", ["quick", "steps-500", "seed-2022"])
def test_images_seen_are_the_engines(name):
    recipe = get_recipe(name)
    count = recipe.train_images or IMAGES[recipe.data]
    steps = epoch_steps(recipe, count)
    assert images_seen(recipe) == steps * recipe.batch_size * recipe.epochs


def test_gpu_studies_are_for_a_gpu(monkeypatch, place):
    monkeypatch.delenv("VITSD_DATA_DIR", raising=False)
    todo = experiments.missing(["speedrun"], ["best"], [0])
    monkeypatch.setattr(experiments, "has_gpu", lambda: False)
    with pytest.raises(SystemExit, match="weeks without a GPU"):
        experiments.check_machine(todo, force=False)
    experiments.check_machine(todo, force=True)
    monkeypatch.setattr(experiments, "has_gpu", lambda: True)
    experiments.check_machine(todo, force=False)


def test_missing_backend_is_named_with_its_remedy(monkeypatch, place):
    monkeypatch.setitem(experiments.BACKENDS, "laptop", "torsch")
    todo = [("laptop", ("laptop", "vit", 0))]
    with pytest.raises(SystemExit, match=r"torsch.*-m pip install torsch"):
        experiments.check_machine(todo, force=False)
