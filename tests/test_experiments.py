"""The list of runs behind the result chapters, and the runner."""

import dataclasses
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import chapter5
import experiments
import pytest
import yaml
from estimate import IMAGES, estimate, images_seen

from vitsd_helpers.evidence.records import read_records, record_name
from vitsd_helpers.training.loop import epoch_steps
from vitsd_helpers.training.recipes import (
    BASELINES,
    FACTORS,
    RECIPES,
    VARIANTS,
    get_recipe,
)

ROOT = Path(__file__).parents[1]
in_bash = pytest.mark.skipif(
    os.name == "nt", reason="a cluster's; on Windows `bash` may be WSL's"
)


def test_every_run_can_be_run():
    tools = [*experiments.TRICKS, *experiments.TASKS]
    for study, runs in experiments.STUDIES.items():
        assert len(set(runs)) == len(runs), study
        for recipe, variant, _ in runs:
            get_recipe(recipe)
            assert variant in [*VARIANTS, *BASELINES, *tools]


def test_no_run_is_in_two_studies():
    runs = [run for study in experiments.STUDIES.values() for run in study]
    assert len(set(runs)) == len(runs)


def test_factorial_is_full_and_seeds_come_in_turn():
    runs = experiments.STUDIES["factorial"]
    assert {variant for _, variant, _ in runs} == set(FACTORS)
    assert len(runs) == 8 * len(experiments.SEEDS)
    assert [seed for *_, seed in runs] == sorted(s for *_, s in runs)


def test_what_needs_a_gpu_is_not_for_two_cores():
    assert not {"gpu", "speedrun"} & set(experiments.ON_A_CPU)
    assert {"laptop", "night"} < set(experiments.ON_A_CPU)
    assert experiments.ON_A_CPU[-1] == "prices"
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


def test_one_run_leaves_a_record_and_is_then_done(place, monkeypatch):
    short = dataclasses.replace(get_recipe("quick"), epochs=1)
    monkeypatch.setitem(RECIPES, "quick", short)
    run = ("quick", "vit", 0)
    assert not experiments.done("some", run)
    experiments.one("some", run)
    assert experiments.done("some", run)
    path = place / "results" / "studies" / "quick-vit-seed0.json"
    assert json.loads(path.read_text("utf-8"))["finished"]
    assert path.with_suffix(".npz").exists()
    assert not list((place / "work").iterdir())


def test_a_run_that_another_has_just_ended_is_not_run_again(
    place, monkeypatch
):
    import vitsd_helpers.training.loop as engine

    asked = iter([False, True])
    monkeypatch.setattr(experiments, "done", lambda *_: next(asked))
    monkeypatch.setattr(engine, "train", lambda *_, **__: 1 / 0)
    run = ("quick", "vit", 0)
    assert not experiments.done("some", run)
    experiments.one("some", run)
    assert not list((place / "work").glob("*"))


def test_a_study_keeps_its_checkpoints_apart():
    """`make train` has runs of the same name, and keeps theirs."""
    assert experiments.WORK.parent == chapter5.WORK


def test_unfinished_record_is_not_done(place):
    run = ("quick", "vit", 0)
    folder = experiments.folder("some")
    folder.mkdir(parents=True)
    path = folder / "quick-vit-seed0.json"
    path.write_text(json.dumps({"finished": False}), "utf-8")
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


@pytest.mark.slow
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


def test_the_book_takes_no_record_of_changed_files(monkeypatch, place):
    monkeypatch.setattr(experiments, "commit", lambda: "abc-dirty")
    monkeypatch.setattr(experiments, "backend_of", lambda study: "keras")
    todo = [("laptop", ("laptop", "vit", 0))]
    monkeypatch.setattr(experiments, "BOOK", experiments.RESULTS)
    with pytest.raises(SystemExit, match=r"changed files.*RESULTS=runs/mine"):
        experiments.check_machine(todo, force=False)
    monkeypatch.setattr(experiments, "BOOK", place)
    experiments.check_machine(todo, force=False)


@pytest.fixture
def some(monkeypatch, place):
    """A study of three short runs, the first of them done."""
    runs = [("quick", v, 0) for v in ("vit", "sl", "lsa")]
    monkeypatch.setitem(experiments.STUDIES, "some", runs)
    folder = experiments.folder("some")
    folder.mkdir(parents=True)
    path = folder / "quick-vit-seed0.json"
    path.write_text(json.dumps({"finished": True}), "utf-8")
    return runs


def test_a_place_in_the_list_is_one_run(some, monkeypatch, capsys):
    """What has a record keeps its place and is not made again."""
    made = []
    monkeypatch.setattr(experiments, "one", lambda *given: made.append(given))
    monkeypatch.setenv("KERAS_BACKEND", experiments.backend_of("some"))
    runs = experiments.chosen(["some"])
    for index in range(3):
        experiments.run_index(runs, index)
    assert made == [("some", run) for run in some[1:]]
    assert "quick vit 0 has a record" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no run 3: give 0 to 2"):
        experiments.run_index(runs, 3)


def test_a_place_in_the_list_is_trained(tmp_path):
    """As a Slurm array or an Indexed Job calls it."""
    run = [
        sys.executable, experiments.__file__, "run", "laptop", "--index", "0",
        "--results", "kept", "--work", "state",
    ]  # fmt: skip
    folder = tmp_path / "kept"
    folder.mkdir()
    record = folder / "laptop-vit-seed0.json"
    record.write_text(json.dumps({"finished": True}), "utf-8")
    said = subprocess.run(
        run, check=True, cwd=tmp_path, capture_output=True, text=True
    ).stdout
    assert said == "laptop vit 0 has a record\n"


def block(language: str, word: str) -> str:
    """The block of chapter 14's text that has a word in it."""
    path = ROOT / "notebooks" / "14_scaling_out.ipynb"
    cells = json.loads(path.read_text("utf-8"))["cells"]
    prose = "\n".join("".join(cell["source"]) for cell in cells)
    blocks = re.findall(rf"```{language}\n(.*?)```", prose, re.DOTALL)
    (found,) = [text for text in blocks if word in text]
    return found


def shell(script: str, **variables: str) -> str:
    """What a script says in the checkout, with this Python."""
    here = str(Path(sys.executable).parent)
    env = {"PATH": os.pathsep.join([here, os.environ["PATH"]])} | variables
    return subprocess.run(
        ["bash", "-c", script],
        check=True,
        cwd=ROOT,
        env=os.environ | env,
        capture_output=True,
        text=True,
    ).stdout


@in_bash
def test_the_chapters_slurm_array_is_the_list():
    script = block("bash", "#SBATCH --array")
    count = len(experiments.chosen(["factorial"]))
    assert f"--array=0-{count - 1}\n" in script
    place = {"SLURM_ARRAY_TASK_ID": "23", "SLURM_SUBMIT_DIR": str(ROOT)}
    # Into a folder of one's own it would train; the book's has the record.
    own = "--results runs/again"
    assert own in script
    script = script.replace(own, "").replace(".venv/bin/python", "python")
    study, run = experiments.chosen(["factorial"])[23]
    assert experiments.done(study, run)
    words = " ".join(map(str, run))
    assert shell(script, **place) == f"{words} has a record\n"


@in_bash
def test_the_chapters_indexed_job_is_the_list():
    job = yaml.safe_load(block("yaml", "kind: Job"))
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == len(experiments.chosen(["factorial"]))
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    assert mounts == {pod["volumes"][0]["name"]: "/shared"}
    *_, script = container["command"]
    places = {
        "/shared/results": experiments.RESULTS,
        "/shared/work": experiments.WORK,
        "/vitsd": ROOT,
    }
    # At once: the checkout's own path may have "/vitsd" in it.
    script = re.sub("|".join(places), lambda m: str(places[m[0]]), script)
    said = shell(script, JOB_COMPLETION_INDEX="0")
    assert said == "steps-5000 vit 0 has a record\n"


INDEX = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import experiments
experiments.STUDIES["ladder"] = [("quick", "vit", 0), ("quick", "sl", 0)]
experiments.main()
"""


@pytest.mark.slow
def test_an_index_of_an_array_is_trained_once(tmp_path):
    """As Slurm and Kubernetes start it, each place in a process of its own."""
    places = ["--results", tmp_path / "kept", "--work", tmp_path / "state"]
    tools = Path(experiments.__file__).parent
    words = [sys.executable, "-c", INDEX, tools, "run", "ladder", *places]
    for index in (0, 1, 1):
        done = subprocess.run(
            [*map(str, words), "--index", str(index)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        last = done.stdout
    assert "quick sl 0 has a record" in last
    kept = {path.name for path in (tmp_path / "kept").rglob("*.json")}
    assert kept == {"quick-vit-seed0.json", "quick-sl-seed0.json"}


NODES = """
import os, sys, threading, time
from pathlib import Path
sys.path.insert(0, TOOLS)
from ray.cluster_utils import Cluster
import experiments

runs = [("quick", v, 0) for v in ("vit", "sl", "lsa", "spt")]
experiments.STUDIES["ladder"] = runs
experiments.place(Path("kept").resolve(), Path("state").resolve())
experiments.WORK.mkdir()
ip = {"node_ip_address": "127.0.0.1", "include_dashboard": False}
cluster = Cluster(True, head_node_args={"num_cpus": 0, **ip})
nodes = [cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1")
         for _ in range(2)]

def lose():
    learned = "*/*/epoch-00000[1-9].ckpt"  # 0 is the start
    while len({p.parent for p in experiments.WORK.glob(learned)}) < 2:
        time.sleep(0.1)
    cluster.remove_node(nodes[1], allow_graceful=False)
    print("one is lost", flush=True)

threading.Thread(target=lose, daemon=True).start()
todo = experiments.missing(["ladder"])
print("failed:", experiments.run_on_ray(todo, cluster.address), flush=True)
cluster.shutdown()
"""


@pytest.mark.heavy
@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs Ray"
)
def test_a_lost_machine_of_a_ray_cluster_loses_nothing(tmp_path):
    tools = str(Path(experiments.__file__).parent)
    said = subprocess.run(
        [sys.executable, "-c", f"TOOLS = {tools!r}\n{NODES}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ
        | {
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
        },
    )
    assert "failed: 0" in said.stdout, said.stdout + said.stderr
    assert "one is lost" in said.stdout and "4 of 4" in said.stdout
    assert len(list((tmp_path / "kept").rglob("*.json"))) == 4
    logs = [
        log.read_text("utf-8") for log in (tmp_path / "state").glob("*.log")
    ]
    assert len(logs) == 4
    for log in logs:  # no finished run was made twice
        assert log.count("\n5/5 ") == 1
    assert sum("goes on from epoch" in log for log in logs) >= 1
