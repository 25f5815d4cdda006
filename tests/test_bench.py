"""The benchmark: its arithmetic, its record, its page and a short run."""

import copy
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import bench
import bench_contenders
import bench_page
import bench_record
import bench_runner
import bench_ways
import bench_worker
import jsonschema
import keras
import keras_example
import numpy as np
import pytest
from arithmetic import multiply_adds
from experiments import GUIDES, STUDIES
from keras import ops

from vitsd_helpers import PRESETS, attention, build_vit, dense
from vitsd_helpers.training import trainer
from vitsd_helpers.training.recipes import get_recipe

ROOT = Path(__file__).parents[1]
SCHEMA = json.loads((ROOT / "book" / "bench.schema.json").read_text("utf-8"))
validator = jsonschema.Draft202012Validator(SCHEMA)
on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="needs TensorFlow"
)
not_on_windows = pytest.mark.skipif(
    os.name == "nt", reason="the benchmark is for Linux and macOS"
)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("seed-vit", 203),
        ("seed-sl", 247),
        ("paper-vit", 188),
        ("paper-sl", 190),
    ],
)
def test_known_multiply_adds(name, millions):
    """The example's with its way to cut patches, the paper's with a token."""
    config = PRESETS[name]
    if name.startswith("seed"):
        # `extract_patches` is a convolution with a kernel of zeros and ones.
        copies = 1 + len(config.shift_directions)
        values = config.patch_size**2 * config.channels * copies
        count = multiply_adds(config) + config.num_patches * values**2
    else:
        count = multiply_adds(replace(config, pooling="token"))
    assert round(count / 1e6) == millions


def products_of(model: keras.Model, side: int) -> int:
    """Multiply-adds of all products in the model's graph, for one image."""
    import tensorflow as tf

    spec = tf.TensorSpec((1, side, side, 3), "float32")
    graph = tf.function(model).get_concrete_function(spec).graph
    total = 0
    for op in graph.get_operations():
        if op.type in ("MatMul", "BatchMatMulV2"):
            flag = "transpose_a" if op.type == "MatMul" else "adj_x"
            inner = op.inputs[0].shape[-2 if op.get_attr(flag) else -1]
            total += op.outputs[0].shape.num_elements() * inner
        assert op.type not in ("Einsum", "Conv2D"), "not counted"
    return total


@on_tensorflow
@pytest.mark.parametrize(
    "config",
    [
        PRESETS["paper-sl"],
        PRESETS["paper-vit"],
        PRESETS["seed-sl"],
        replace(PRESETS["small-sl"], pooling="token", patch_size=8),
    ],
    ids=["paper-sl", "paper-vit", "seed-sl", "token"],
)
def test_multiply_adds_are_those_of_the_built_model(config):
    config = replace(config, depth=2)
    built = products_of(build_vit(config), config.input_size)
    assert multiply_adds(config) == built


def test_a_training_step_is_three_forward_passes_of_two_flop():
    config = PRESETS["paper-sl"]
    contender = {"mode": "train", "multiply_adds": multiply_adds(config)}
    assert bench_record.flop(contender) == 6 * multiply_adds(config)
    contender["mode"] = "infer"
    assert 3 * bench_record.flop(contender) == 6 * multiply_adds(config)


def invented(**rates: list[float]) -> dict:
    """A record of contenders that did so many images a second."""
    record = {
        "device": "Some CPU, 2 cores",
        "on_cpu": True,
        "threads": 2,
        "options": asdict(
            bench_runner.Options(3, 2, 128, 32, "float32", quick=False)
        ),
        "environment": {},
        "versions": {"tensorflow": {"keras": "3"}, "torch": {"keras": "3"}},
        "products": {
            "tensorflow": {"float32": 1e11, "bfloat16": 9e11},
            "torch": {"float32": 2e11},
        },
        "streams": {"tensorflow": 1e10, "torch": 2e10},
        "contenders": [],
        "measured": {},
        "missing": [bench_runner.lacking("jax", "pip install jax")],
    }
    known = {
        c.name: c
        for c in bench_contenders.contenders(128, "tensorflow", 32, "float32")
    }
    for name, values in rates.items():
        kept = asdict(known[name.replace("_", "-")])
        del kept["recipe"], kept["changes"], kept["longer"]
        record["contenders"].append(
            {
                **kept,
                "steps": 2,
                "parameters": 1000,
                "multiply_adds": 200_000_000,
                "compile_seconds": 3.0,
                "peak_bytes": 2**30,
                "attention_kernels": [],
                "rounds": list(range(len(values))),
                "seconds": [2 * kept["batch"] / rate for rate in values],
            }
        )
        origin = {"commit": None, "date": "2026-01-02"}
        record["measured"][kept["section"]] = origin
    return json.loads(json.dumps(record))


@pytest.fixture
def record() -> dict:
    return invented(
        peer_train=[10, 20, 40],
        sl_train_torch=[20, 30, 40],
        vit_train_torch=[20, 40, 40],
        sl_train_tensorflow=[9, 18, 36],
        peer_infer=[100, 100, 100],
        growth_base=[60, 60, 60],
        growth_patch_2=[12, 10, 15],
    )


def test_spread():
    spread = bench_record.Spread.of([5.0, 1.0, 3.0, 2.0, 4.0])
    assert (spread.low, spread.median, spread.high) == (2, 3, 4)
    assert f"{spread:.1f}" == "3.0 [2.0, 4.0]"
    assert bench_record.Spread.of([7.0]) == bench_record.Spread(7, 7, 7)


def test_ratio_is_taken_within_rounds(record):
    found = bench_record.ratio(record, "sl-train-torch", "peer-train")
    assert found == bench_record.Spread.of([2.0, 1.5, 1.0])
    # Which is not the ratio of any other pairing.
    peer = bench_record.contender(record, "peer-train")
    peer["rounds"] = [2, 1, 0]
    other = bench_record.ratio(record, "sl-train-torch", "peer-train")
    assert other == bench_record.Spread.of([0.5, 1.5, 4.0])


def test_ratio_uses_the_rounds_of_both(record):
    ours = bench_record.contender(record, "sl-train-torch")
    ours["rounds"], ours["seconds"] = ours["rounds"][1:], ours["seconds"][1:]
    found = bench_record.ratio(record, "sl-train-torch", "peer-train")
    assert found == bench_record.Spread.of([1.5, 1.0])
    ours["rounds"] = [7, 8]
    with pytest.raises(ValueError, match="never met"):
        bench_record.ratio(record, "sl-train-torch", "peer-train")
    assert bench_record.ratio(record, "sl-train-jax", "peer-train") is None
    assert bench_record.ratio(record, "peer-train", None) is None


def test_share_of_peak(record):
    """In the record's precision, of the fastest backend."""
    peer = bench_record.contender(record, "peer-train")
    share = 20 * 6 * 200e6 / 2e11
    assert bench_record.share_of_peak(record, peer) == pytest.approx(share)
    peer["way"] = "bfloat16"
    share = 20 * 6 * 200e6 / 9e11
    assert bench_record.share_of_peak(record, peer) == pytest.approx(share)
    record["options"]["precision"] = "mixed_bfloat16"
    assert bench_record.peak(record) == 9e11


def test_goals(record):
    found = {
        goal.text: (goal.target, goal.reached.median, goal.met)
        for goal in bench_record.goals(record)
    }
    assert found == {
        "SL-ViT on torch against vit-pytorch": (1.3, 1.5, True),
        "SL-ViT on tensorflow against vit-pytorch": (
            1.0,
            pytest.approx(0.9),
            False,
        ),
        "SL-ViT against our ViT, both on torch": (0.95, 1.0, True),
    }
    assert not bench_record.goals(record | {"on_cpu": False})


def test_goal_of_the_example():
    record = invented(
        example_sl_seed_train=[10, 10],
        seed_sl_seed_train_torch=[19, 19],
        seed_sl_seed_train_tensorflow=[15, 15],
    )
    (goal,) = bench_record.goals(record)
    assert (goal.target, goal.reached.median, goal.met) == (2.0, 1.9, False)
    assert goal.row[-1] == "missed"
    assert "torch" in goal.text


def test_tables_name_everyone(record):
    rows = bench_record.table(record, "train")
    assert len(rows) == 1 + 4
    assert rows[1][3] == "reference"
    assert rows[2][2:4] == ("30 [25, 35]", "1.50 [1.25, 1.75]")
    assert not bench_record.table(record, "seed-train")
    base, patch = bench_record.table(record, "growth")[1:]
    assert base[1:4] == ("64", "60 [60, 60]", "1.00 [1.00, 1.00]")
    assert patch[1:4] == ("256", "12 [11, 14]", "5.00 [4.50, 5.50]")
    text = "\n".join(bench.report(record))
    assert "Not measured: jax. Remedy: pip install jax" in text
    assert bench_record.SECTIONS["growth"] in text


def test_schema_takes_a_record(record):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    validator.validate(record)
    assert set(
        SCHEMA["properties"]["contenders"]["items"]["properties"]["section"][
            "enum"
        ]
    ) == set(bench_record.SECTIONS)
    for key in record:
        rest = {k: v for k, v in record.items() if k != key}
        assert not validator.is_valid(rest), key


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("surprise", 1),
        ("seconds", [0.0]),
        ("seconds", []),
        ("backend", "numpy"),
        ("peak_bytes", 0),
        ("attention_kernels", "flash"),
    ],
)
def test_schema_refuses(record, place, value):
    wrong = copy.deepcopy(record)
    wrong["contenders"][0][place] = value
    assert not validator.is_valid(wrong)


def test_record_is_complete_or_absent(record, tmp_path):
    folder = tmp_path / "new"
    path = bench_record.write(record, folder)
    gpu = bench_record.write(
        record | {"device": "A GPU", "on_cpu": False}, folder
    )
    assert path.name == "some-cpu-2-cores.json"
    # A file that a stop left behind is no record.
    (folder / "torn.json.part").write_text("{", "utf-8")
    assert list(bench_record.read(folder)) == [path, gpu]
    assert bench_record.read(folder)[path] == record


def test_a_section_is_measured_anew_and_the_others_stay():
    old = invented(
        peer_train=[10, 20],
        sl_train_torch=[20, 30],
        peer_infer=[100, 100],
        sl_infer_torch=[150, 200],
    )
    old["missing"] += [
        bench_runner.lacking("vit-infer-torch", "look", "infer"),
        bench_runner.lacking("vit-train-torch", "look", "train"),
    ]
    old["versions"]["torch"]["vit-pytorch"] = "1"
    old["products"]["torch"]["bfloat16"] = 5e11
    new = invented(peer_train=[10, 10], sl_train_torch=[40, 40])
    new["measured"]["train"]["date"] = "2026-02-03"
    new["products"]["torch"]["float32"] = 3e11
    new["streams"]["tensorflow"] = 5e9
    whole = bench_record.merge(old, new)
    validator.validate(whole)
    name = "sl-train-torch"
    assert bench_record.ratio(whole, name, "peer-train").median == 4
    name = "sl-infer-torch"
    assert bench_record.ratio(whole, name, "peer-infer").median == 1.75
    # What was measured at another time does not compare.
    with pytest.raises(ValueError, match="never met"):
        bench_record.ratio(whole, "sl-train-torch", "peer-infer")
    assert whole["measured"] == {
        "infer": old["measured"]["infer"],
        "train": new["measured"]["train"],
    }
    assert [m["what"] for m in whole["missing"]] == ["jax", "vit-infer-torch"]
    # JAX was not there this time, but what it did before is kept.
    kept = next(c for c in old["contenders"] if c["section"] == "infer")
    kept["backend"] = "jax"
    found = bench_record.merge(old, new)["missing"]
    assert [m["what"] for m in found] == ["vit-infer-torch"]
    assert whole["versions"]["torch"]["vit-pytorch"] == "1"
    assert whole["products"]["torch"] == {"float32": 3e11, "bfloat16": 5e11}
    assert whole["streams"] == old["streams"]
    assert new["contenders"][0]["rounds"] == [0, 1], "its input was changed"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"threads": 3}, "threads"),
        ({"environment": {"OMP_NUM_THREADS": "1"}}, "environment"),
        ({"versions": {"torch": {"keras": "4"}}}, "keras on torch"),
    ],
)
def test_only_what_was_measured_alike_is_kept(change, reason, tmp_path):
    old = invented(peer_train=[10], peer_infer=[100])
    new = invented(peer_train=[20]) | change
    with pytest.raises(ValueError, match=reason):
        bench_record.merge(old, new)
    path = bench_record.write(old, tmp_path)
    found = bench_contenders.of_the_paper("train", "train", 8)
    with pytest.raises(SystemExit, match=f"{reason}.*infer.*--out"):
        bench.earlier(path, new, found)
    # Where all is measured anew, nothing can be lost.
    found += bench_contenders.of_the_paper("infer", "infer", 8)
    assert bench.earlier(path, new, found) is None
    assert bench.earlier(path, old, found[:1]) == old


def test_committed_records_are_whole():
    for path, record in bench_record.read().items():
        validator.validate(record)
        assert not record["options"]["quick"], path.name
        sections = {c["section"] for c in record["contenders"]}
        assert sections == set(record["measured"]), path.name
        for origin in record["measured"].values():
            assert origin["commit"] and "dirty" not in origin["commit"]


def test_records_may_name_each_way():
    fields = SCHEMA["properties"]["contenders"]["items"]["properties"]
    assert set(fields["way"]["enum"]) == set(bench_ways.WAYS)


def test_contenders_are_unique_and_meet_their_reference():
    found = bench_contenders.contenders(128, "jax", 32, "float32")
    by_name = {c.name: c for c in found}
    assert len(by_name) == len(found)
    for c in found:
        assert re.fullmatch("[a-z0-9-]+", c.name)
        if c.reference:
            assert by_name[c.reference].section == c.section
    assert {c.section for c in found} == set(bench_record.SECTIONS)


def test_half_precision_is_everybodys():
    places = dict.fromkeys(bench_contenders.BACKENDS)
    options = bench_runner.Options(1, 1, 128, 32, "float32", quick=False)
    benchmark = bench_runner.Benchmark(options, places)
    specs = {
        c.name: benchmark.spec(c)
        for c in bench_contenders.contenders(128, "jax", 32, "float32")
    }
    half = {n for n, s in specs.items() if s["precision"] != "float32"}
    assert {n for n, s in specs.items() if s["section"] == "half"} <= half
    assert {s["code"] for n, s in specs.items() if n in half} == {
        "peer",
        "ours",
    }
    assert all("bfloat16" in specs[n]["dtypes"] for n in half)
    assert specs["sl-train-torch"]["dtypes"] == ["float32"]
    # Where everything is in half precision, there is no section for it.
    found = bench_contenders.contenders(128, "jax", 32, "mixed_bfloat16")
    assert not {"half", "small-half"} & {c.section for c in found}


def test_turns_of_small_models_are_longer():
    options = bench_runner.Options(1, 2, 128, 32, "float32", quick=False)
    benchmark = bench_runner.Benchmark(options, {})
    for c in bench_contenders.contenders(128, "jax", 32, "float32"):
        spec = benchmark.spec(c)
        small = c.section in ("prices", "small", "small-half")
        assert spec["steps"] == (16 if small else 2), c.name
        assert spec["images"] == c.batch * spec["steps"]


def test_parts_leave_out_something_that_was_there():
    parts = bench_contenders.of_the_parts("parts", 128)
    by_name = {c.name: c for c in parts}
    for c in parts:
        if not c.reference:
            continue
        base = by_name[c.reference]
        recipe = get_recipe(c.recipe)
        assert (c.config != base.config) + bool(c.changes or c.way) == 1
        for name, value in c.changes.items():
            assert getattr(recipe, name) and not value
        for name, value in asdict(c.config).items():
            old = getattr(base.config, name)
            assert value == old or (old and not value)


def test_growth_changes_one_size_at_a_time():
    base, *others = bench_contenders.of_growth("growth", "jax", 32)
    for c in others:
        changed = {
            name
            for name, value in asdict(c.config).items()
            if value != getattr(base.config, name)
        }
        assert (len(changed - {"num_heads"}) == 1) != (c.batch != 32), c.name


def test_every_change_of_the_price_list_has_a_price():
    base, *others = bench_contenders.of_the_prices("prices", 128)
    study = STUDIES["prices"]
    assert [(c.recipe, c.way or "vit", 0) for c in others] == [
        run for run in study if not run[2] and run not in GUIDES
    ]
    assert {name for name, _, _ in study} >= {base.recipe}
    for c in others:
        assert (c.recipe != base.recipe) + bool(c.way) == 1
        assert c.reference == base.name and c.title


@pytest.mark.parametrize("together", [1, 4, 6, 100])
def test_groups_keep_ratios_within_a_round(together):
    found = bench_contenders.contenders(128, "jax", 32, "float32")
    for section in bench_record.SECTIONS:
        members = [c for c in found if c.section == section]
        split = list(bench_contenders.groups(members, together))
        seen = set()
        for group in split:
            names = {c.name for c in group}
            assert {c.reference for c in group} - {None} <= names
            seen |= names
            assert len(group) <= max(together, 4)
            ours = [c for c in group if c.code == "ours" and c.reference]
            assert {c.name.replace("vit", "sl", 1) for c in ours} <= names
        assert seen == {c.name for c in members}
        if together == 100:
            assert len(split) == 1


def test_choosing_keeps_the_reference():
    found = bench_contenders.contenders(128, "jax", 32, "float32")
    names = [c.name for c in bench_contenders.choose(found, "^sl-train-jax$")]
    assert names == ["peer-train", "sl-train-jax"]
    assert not bench_contenders.choose(found, "nobody")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rounds", "0"], "'0' is not 1 or more"),
        (["--python", "numpy=python"], "one of torch, tensorflow, jax"),
        (["--python", "jax=/no/python"], "'/no/python' cannot be run"),
        (["--only", "("], "--only '('"),
        (["--precision", "float16"], "float16"),
    ],
)
def test_wrong_arguments(arguments, words, capsys):
    with pytest.raises(SystemExit):
        bench.parse(arguments)
    assert words in capsys.readouterr().err


def test_a_stop_keeps_the_sections_that_were_done(tmp_path, monkeypatch):
    """Ctrl-C in the second section, over a record that has both."""
    place = bench_runner.Place("torch", "python", "X", True, {"keras": "3"})
    seconds = 1.0

    def run(self, group):
        section = group[0].section
        if section == stop:
            raise KeyboardInterrupt
        like = invented(sl_infer_torch=[1], sl_train_torch=[1])
        for name in ("products", "streams"):
            setattr(self, name, {"torch": like[name]["torch"]})
        for c in like["contenders"]:
            if c["section"] == section:
                self.results[c["name"]] = c | {"seconds": [seconds]}
                self.measured[section] = {
                    "commit": None,
                    "date": f"2026-01-0{seconds:.0f}",
                }

    monkeypatch.setattr(bench, "find_places", lambda _: ({"torch": place}, []))
    monkeypatch.setattr(bench_runner.Benchmark, "run", run)
    monkeypatch.setattr(
        sys, "argv", ["bench.py", "--sections", "train", "infer"]
    )
    monkeypatch.setattr(bench_record, "FOLDER", tmp_path)
    stop = None
    bench.main()
    stop, seconds = "infer", 2.0
    bench.main()
    record = json.loads((tmp_path / "x.json").read_text("utf-8"))
    validator.validate(record)
    for name, expected in (("sl-train-torch", 2), ("sl-infer-torch", 1)):
        contender = bench_record.contender(record, name)
        assert contender["seconds"] == [expected]
        day = record["measured"][contender["section"]]["date"][-1]
        assert int(day) == expected


@not_on_windows
def test_what_is_missing_comes_with_the_remedy(tmp_path):
    """An interpreter that has nothing."""
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n', "utf-8")
    bare.chmod(0o755)
    places, missing = bench_runner.find_places(
        dict.fromkeys(("torch", "jax"), str(bare))
    )
    assert not places
    remedies = {item["what"]: item["remedy"] for item in missing}
    assert remedies["torch"] == "pip install torch"
    assert remedies["jax"] == "pip install jax"
    assert "--no-deps vit-pytorch einops" in remedies["vit-pytorch"]


def test_the_cpu_is_not_measured_beside_a_gpu(monkeypatch):
    def probe(backend, python):
        return bench_runner.Place(backend, python, "X", backend != "torch", {})

    monkeypatch.setattr(bench_runner, "probe", probe)
    places, missing = bench_runner.find_places(
        {"torch": "p", "tensorflow": "p"}
    )
    assert list(places) == ["torch"]
    remedies = {item["what"]: item["remedy"] for item in missing}
    assert "for this GPU" in remedies["tensorflow on the GPU"]
    assert remedies["vit-pytorch"].startswith("pip install --no-deps")


@not_on_windows
def test_a_contender_that_dies_does_not_stop_the_others(tmp_path):
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\necho Boom >&2\nexit 3\n", "utf-8")
    dying.chmod(0o755)
    with (
        bench_runner.Worker({}, str(dying), "jax") as worker,
        pytest.raises(bench_runner.Failed, match="Boom"),
    ):
        worker.ask("turn")
    options = bench_runner.Options(1, 1, 8, 4, "float32", quick=True)
    place = bench_runner.Place("jax", str(dying), "X", True, {})
    benchmark = bench_runner.Benchmark(options, {"jax": place})
    benchmark.run(bench_contenders.of_growth("growth", "jax", 4)[:2])
    assert [f["what"] for f in benchmark.failed] == [
        "growth-base",
        "growth-patch-8",
    ]
    assert not benchmark.results


@pytest.mark.slow
@on_tensorflow
@not_on_windows
def test_quick_run_leaves_a_valid_record(tmp_path):
    command = [sys.executable, ROOT / "book" / "tools" / "bench.py"]
    command += ["--quick", "--only", "^(vit|sl)-train-tensorflow-graph$"]
    result = subprocess.run(
        [*command, "--out", tmp_path], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    (path,) = tmp_path.iterdir()
    record = json.loads(path.read_text("utf-8"))
    validator.validate(record)
    measured = {
        c["name"]: c
        for c in record["contenders"]
        if c["backend"] == "tensorflow"
    }
    assert set(measured) == {
        "vit-train-tensorflow-graph",
        "sl-train-tensorflow-graph",
    }
    config = replace(PRESETS["paper-sl"], depth=1)
    sl = measured["sl-train-tensorflow-graph"]
    assert sl["parameters"] == build_vit(config).count_params()
    assert sl["multiply_adds"] == multiply_adds(config)
    # A profile was taken, and found no fused kernel.
    assert sl["attention_kernels"] == []
    assert sl["rounds"] == [0, 1] and len(sl["seconds"]) == 2
    assert "our SL-ViT, no XLA" in result.stdout
    assert path.name in result.stdout
    assert not re.search(r"(?<!\w)/\w+/", path.read_text("utf-8")), (
        "a local path"
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_products_are_timed_in_either_precision(dtype, monkeypatch):
    monkeypatch.setattr(bench_worker, "SIDE_ON_CPU", 64)
    assert bench_worker.products([dtype])[dtype] > 0


def test_nothing_to_run_says_so(capsys, monkeypatch):
    place = bench_runner.Place("jax", "python", "X", True, {})
    monkeypatch.setattr(bench, "find_places", lambda _: ({"jax": place}, []))
    monkeypatch.setattr(sys, "argv", ["bench.py", "--only", "nobody"])
    with pytest.raises(SystemExit, match="nobody"):
        bench.main()


@pytest.fixture
def restored(monkeypatch):
    """What the ways change is as before after the test."""
    for place, name in (
        (dense.TokenDense, "call"),
        (attention, "_fused_kernel"),
        (trainer.Trainer, "compile"),
        (keras_example, "ShiftedPatchTokenization"),
        (keras_example, "MultiHeadAttentionLSA"),
    ):
        monkeypatch.setattr(place, name, getattr(place, name))


@pytest.mark.parametrize("way", ["dense", "attention"])
@pytest.mark.parametrize("preset", ["small-vit", "small-sl"])
def test_a_way_moves_no_number(way, preset, restored):
    model = build_vit(replace(PRESETS[preset], depth=2))
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3))
    before = ops.convert_to_numpy(model(images))
    calls = dense.TokenDense.call, attention._fused_kernel
    bench_ways.apply(way)
    assert (dense.TokenDense.call, attention._fused_kernel) != calls
    after = ops.convert_to_numpy(model(images))
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_every_way_is_known():
    found = {
        c.way
        for c in bench_contenders.contenders(128, "tensorflow", 32, "float32")
    }
    assert found == set(bench_ways.WAYS)


@pytest.mark.parametrize(
    ("vanilla", "way"),
    [
        (True, ""),
        (False, ""),
        (False, "our-patches"),
        (False, "our-attention"),
    ],
)
@on_tensorflow
def test_the_example_learns_a_step(vanilla, way, restored):
    from keras_example import make_classifier

    bench_ways.apply(way)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (4, 32, 32, 3), "uint8")
    model = make_classifier(images, vanilla=vanilla)
    model.run_eagerly = True  # far quicker for one step
    loss = model.train_on_batch(images, np.arange(4), return_dict=True)["loss"]
    assert np.isfinite(loss)
    ours = build_vit(PRESETS["seed-vit" if vanilla else "seed-sl"])
    assert sum(w.shape.num_elements() for w in ours.trainable_weights) == sum(
        w.shape.num_elements() for w in model.trainable_weights
    )


def test_page_draws_every_contender(record):
    figure, alt = bench_page.draw_rates(record, "train")
    axis = figure.axes[0]
    labels = [text.get_text() for text in axis.get_yticklabels()]
    assert labels[:2] == ["vit-pytorch SL-ViT, torch", "our SL-ViT, torch"]
    assert len(labels) == 4
    assert all(label in alt for label in labels)
    figure, alt = bench_page.draw_growth(record)
    assert "tokens 256: 83.3 ms" in alt


def test_page_says_what_was_not_measured(record):
    section = bench_page.BenchDirective.section
    (said,) = section(None, None, record, "half")
    assert "does not have" in said.astext()


def test_page_tables(record):
    kernels = bench_record.contender(record, "sl-train-torch")
    kernels["attention_kernels"] = ["flash_some"]
    bench_record.contender(record, "peer-infer")["attention_kernels"] = None
    (table,) = bench_page.BenchDirective.kernels(record)
    assert "flash_some" in table.astext()
    assert "no profile" in table.astext()
    assert "missed" in bench_page.BenchDirective.goals(record)[0].astext()
    (origin,) = bench_page.BenchDirective.origin(record)
    assert "200 GFLOP/s" in origin.astext()
    assert "Not measured: jax" in origin.astext()
    assert "untimed turns before each: 1" in origin.astext()
    assert "train, infer, growth (2026-01-02" in origin.astext()
