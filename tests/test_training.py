"""Recipes, records, and the numbers that pages read from records."""

import dataclasses
import json
import os
import re
import subprocess

import jsonschema
import nbformat
import numpy as np
import papermill
import pytest
import records as pages
from safetensors import safe_open
from test_train import few_digits

import notebooks as tool
from vitsd_helpers import load_data
from vitsd_helpers.evidence import records
from vitsd_helpers.evidence.records import (
    read_labels,
    read_predictions,
    read_records,
    record_name,
    write_record,
)
from vitsd_helpers.model import build_vit
from vitsd_helpers.patches import ALL_DIRECTIONS, CARDINAL
from vitsd_helpers.training.loop import Run, epoch_steps, train
from vitsd_helpers.training.recipes import (
    CONTROLS,
    FACTORS,
    PARAMETERS,
    RECIPES,
    SHIFTS,
    VARIANTS,
    Recipe,
    check_parameters,
    get_recipe,
    parse_variants,
)


@pytest.fixture(scope="module")
def digits():
    return load_data("digits")


def short_run(epochs: int) -> Run:
    """Short epochs on a few digits."""
    data = few_digits(96, test=None)
    recipe = dataclasses.replace(get_recipe("quick"), epochs=epochs)
    model = recipe.build("sl", data, seed=7)
    return train(model, data, recipe, seed=7, report=lambda line: None)


@pytest.fixture(scope="module")
def run() -> Run:
    return short_run(epochs=2)


@pytest.fixture(scope="module")
def record(run) -> dict:
    return run.record


def test_recipes_are_named_by_their_keys():
    for name, recipe in RECIPES.items():
        assert recipe.name == name
        assert get_recipe(name) is recipe


def test_hash_changes_with_every_setting():
    recipe = get_recipe("quick")
    assert recipe.hash == Recipe(**vars(recipe)).hash
    other = dataclasses.replace(recipe, weight_decay=0.051)
    assert other.hash != recipe.hash


def test_settings_younger_than_the_records_change_no_old_hash():
    """At their defaults they are left out; else they count."""
    recipe = get_recipe("quick")
    assert recipe.hash == "cfc5a60b8fbe"
    later = {"optimizer", "keep_tokens", "keep_until"}
    assert not later & recipe.settings.keys()
    muon = dataclasses.replace(recipe, optimizer="muon")
    assert muon.settings == recipe.settings | {"optimizer": "muon"}
    dropping = dataclasses.replace(recipe, keep_tokens=0.5, keep_until=0.5)
    assert len({recipe.hash, muon.hash, dropping.hash}) == 3
    names = {field.name for field in dataclasses.fields(Recipe)}
    renamed = {"samples_per_epoch", "random_erasing"}
    keys = recipe.settings.keys() | later
    assert names - renamed == keys - {"epoch_images", "erase"}
    assert renamed < names
    assert "tokenizer_norm" not in recipe.settings["model"]
    model = dataclasses.replace(recipe.model, tokenizer_norm=False)
    changed = dataclasses.replace(recipe, model=model)
    assert changed.settings["model"]["tokenizer_norm"] is False
    assert changed.hash != recipe.hash


def test_records_keep_the_keys_of_renamed_settings():
    recipe = dataclasses.replace(
        get_recipe("quick"), samples_per_epoch=640, random_erasing=0.25
    )
    assert recipe.settings["epoch_images"] == 640
    assert recipe.settings["erase"] == 0.25


def test_every_record_has_the_hash_of_its_recipe():
    """Whatever is added since: a record is of the recipe of its name."""
    for name, record in read_records().items():
        recipe = get_recipe(record["recipe"]["name"])
        assert record["recipe_hash"] == recipe.hash, name


@pytest.mark.parametrize(
    ("name", "limit", "images"),
    [
        ("best-30s", 3_000_000, 2_000_000),
        ("best", 3_000_000, 15_000_000),
        ("best-9min", 4_000_000, 30_000_000),
        ("ladder-2", 500_000, 100_000),
        ("ladder-4", 500_000, 200_000),
        ("ladder-8", 500_000, 400_000),
        ("ladder-16", 500_000, 800_000),
    ],
)
def test_rungs_of_the_ladder(name, limit, images):
    """Parameters with 100 classes, and images seen, to one in a hundred."""
    recipe = get_recipe(name)
    assert build_vit(recipe.model).count_params() <= limit
    seen = epoch_steps(recipe, 50_000) * recipe.batch_size * recipe.epochs
    assert seen == pytest.approx(images, rel=0.01)
    assert not recipe.held_out and not recipe.train_images


def test_seeds_rung_is_one_pass_with_its_settings():
    seed, rung = get_recipe("seed-as-printed"), get_recipe("ladder-seed")
    changes = {"name": "ladder-seed", "epochs": 1, "jit_compile": False}
    assert rung == dataclasses.replace(seed, **changes)


def test_config_fits_the_data(digits):
    recipe = get_recipe("quick")
    sl, vit = (recipe.config(v, digits) for v in ("sl", "vit"))
    assert sl.num_classes == 10
    assert sl.mean == pytest.approx(digits.x_train.mean((0, 1, 2)))
    assert vit == sl.vanilla


@pytest.mark.parametrize(("size", "channels"), [(48, 3), (32, 1)])
def test_config_takes_the_images_as_they_are(digits, size, channels):
    shape = (4, size, size, channels)
    images = np.random.default_rng(0).integers(0, 256, shape, "uint8")
    few = {"y_train": digits.y_train[:4]}
    data = dataclasses.replace(digits, x_train=images, **few)
    config = get_recipe("quick").config("sl", data)
    assert config.input_size == config.image_size == size
    assert config.channels == channels == len(config.mean)
    example = get_recipe("seed-as-printed").config("sl", data)
    assert (example.input_size, example.image_size) == (size, 72)
    with pytest.raises(ValueError, match="48 x 32 pixels: crop"):
        wide = np.zeros((4, 48, 32, 3), "uint8")
        wide = dataclasses.replace(data, x_train=wide)
        get_recipe("quick").config("sl", wide)


@pytest.mark.parametrize("variant", FACTORS)
def test_factors_are_what_their_letters_say(digits, variant):
    config = get_recipe("quick").config(variant, digits)
    has = FACTORS[variant][1]
    assert bool(config.shift_directions) == ("s" in has)
    assert config.diagonal_mask == ("m" in has)
    assert config.learnable_temperature == ("t" in has)


def test_all_combinations_of_the_factors():
    letters = {"".join(sorted(has)) for _, has in FACTORS.values()}
    assert len(letters) == len(FACTORS) == 2**3
    assert set(VARIANTS) == set(FACTORS) | set(SHIFTS) | set(CONTROLS)


@pytest.mark.parametrize("variant", CONTROLS)
def test_controls_differ_from_a_factor_by_their_changes(digits, variant):
    recipe = get_recipe("quick")
    _, has, changes = CONTROLS[variant]
    base = next(name for name, (_, x) in FACTORS.items() if x == has)
    config = recipe.config(variant, digits)
    assert config == dataclasses.replace(
        recipe.config(base, digits), **changes
    )
    model = build_vit(config)
    norm = model.get_layer("tokenizer").norm is not None
    assert norm == changes.get("tokenizer_norm", "s" in has)


def test_shifts_are_of_the_sl_vit(digits):
    recipe = get_recipe("quick")
    sl = recipe.config("sl", digits)
    for variant, (_, change) in SHIFTS.items():
        config = recipe.config(variant, digits)
        assert config != sl
        assert config == dataclasses.replace(sl, **change)
    assert recipe.config("cardinal", digits).shift_directions == CARDINAL
    eight = recipe.config("eight", digits).shift_directions
    assert eight == ALL_DIRECTIONS


def test_recipe_loads_what_it_asks_for():
    recipe = dataclasses.replace(
        get_recipe("quick"), held_out=100, train_images=200
    )
    digits, data = load_data("digits"), recipe.load()
    assert len(data.x_train) == 200 and len(data.x_val) == 100
    pictures = {image.tobytes() for image in digits.x_train}
    assert all(image.tobytes() in pictures for image in data.x_val)
    other = recipe.load(seed=1)
    np.testing.assert_array_equal(other.x_val, data.x_val)
    assert data.tested == "val" and not len(data.x_test)
    assert other.md5 != data.md5


def test_paper_has_the_authors_steps():
    """117,100 steps of 128 images: see the notes on their sampler."""
    paper = get_recipe("paper")
    assert epoch_steps(paper, 50_000) * paper.epochs == 117_100


def test_seed_has_the_examples_steps():
    """176 steps an epoch in its logs; whole batches are 175."""
    for name in ("seed-as-printed", "seed-2022"):
        assert epoch_steps(get_recipe(name), 45_000) == 175


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: get_recipe("quik"), "'quik'.*quick"),
        (lambda: parse_variants("vit,ls"), "'ls'.*sl"),
        (lambda: check_parameters({"recipe", "sede"}), "'sede'.*seed"),
    ],
)
def test_mistyped_names_are_errors(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_parameters_pass_over_pythons_own_names():
    check_parameters({"recipe", "seed", "_", "_i7", "__doc__"})


CHAPTER = tool.NOTEBOOKS / "05_training.ipynb"


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"sede": 1}, "unknown parameter 'sede'"),
        pytest.param(
            {"recipe": "latpop"},
            "unknown recipe 'latpop'",
            marks=pytest.mark.slow,  # one notebook that is started is enough
        ),
    ],
)
def test_papermill_refuses_mistyped_parameters(tmp_path, parameters, text):
    with pytest.raises(papermill.PapermillExecutionError, match=text):
        papermill.execute_notebook(
            CHAPTER,
            tmp_path / "out.ipynb",
            parameters,
            cwd=tool.NOTEBOOKS,
            kernel_name="python3",
            progress_bar=False,
        )


def test_the_parameters_are_those_of_the_chapter():
    assert tuple(papermill.inspect_notebook(CHAPTER)) == PARAMETERS


def test_published_run_keeps_the_code_and_turns_the_links(tmp_path):
    path = tmp_path / "05_some.ipynb"
    notebook = nbformat.read(CHAPTER, as_version=4)
    notebook.cells[-2].outputs.append(
        nbformat.v4.new_output("display_data", data={})
    )
    source = tmp_path / "executed.ipynb"
    nbformat.write(notebook, source)
    tool.publish(source, tool.ROOT / "book" / "runs" / path.name, path)
    published = nbformat.read(path, as_version=4)
    code, other = (
        [c.source for c in n.cells if c.cell_type == "code"]
        for n in (notebook, published)
    )
    assert code == other
    text = "\n".join(c.source for c in published.cells)
    assert text.count("# The some run, cell by cell") == 1
    assert tool.BADGE_PATTERN.search(text) is None
    assert "](../results.md)" in text
    outputs = [o for c in published.cells for o in c.get("outputs", ())]
    assert all(o.get("data") != {} for o in outputs)
    assert tool.relink("../book/results.md", tool.ROOT / "book" / "runs") == (
        "../results.md"
    )


def test_record_is_complete(record):
    assert record["model"] == "SL-ViT"
    assert record["seed"] == 7
    assert record["steps"] == 2
    assert record["parameters"] == 87_346
    assert len(record["epochs"]["loss"]) == 2
    assert record["seconds"] > 0
    assert record["compile_seconds"] > 0
    assert record["device"] and record["versions"]["keras"]
    assert record["recipe_hash"] != get_recipe("quick").hash
    images = record["images_per_second"] * record["seconds"]
    assert images == pytest.approx(2 * 64 - 64, rel=0.05)


def test_record_survives_json_and_is_complete_or_absent(run, tmp_path):
    path = run.write(tmp_path / "new")
    assert path.name == "quick-sl-seed7.json"
    assert read_records(path.parent) == {
        "quick-sl-seed7": json.loads(json.dumps(run.record))
    }
    names = {p.name for p in path.parent.iterdir()}
    assert names == {path.name, "quick-sl-seed7.npz"}


def test_unfinished_record_replaces_no_finished_one(record, tmp_path):
    begun = record | {"finished": False, "test": None}
    path = write_record(begun, tmp_path)
    write_record(begun, tmp_path)
    write_record(record, tmp_path)
    whole = path.read_text("utf-8")
    with pytest.raises(FileExistsError, match="of a finished run"):
        write_record(begun, tmp_path)
    assert path.read_text("utf-8") == whole


@pytest.mark.parametrize("key", ["recipe_hash", "data_md5", "parameters"])
def test_a_record_of_another_run_is_not_replaced(record, tmp_path, key):
    path = write_record(record, tmp_path)
    write_record(record, tmp_path)  # the same run again
    whole = path.read_text("utf-8")
    with pytest.raises(FileExistsError, match=f"its {key} is .* another name"):
        write_record(record | {key: "other"}, tmp_path)
    assert path.read_text("utf-8") == whole


def test_the_commit_is_that_of_the_start(monkeypatch):
    """Whatever is committed while it trains."""
    import vitsd_helpers.training.loop as engine

    seen = iter(["at the start", "later"])
    monkeypatch.setattr(engine, "commit", lambda: next(seen))
    data = few_digits(64)
    recipe = dataclasses.replace(get_recipe("quick"), epochs=1)
    model = recipe.build("vit", data, 0)
    run = train(model, data, recipe, report=lambda line: None)
    assert run.record["commit"] == "at the start"
    assert data.statistics is data.statistics and data.md5 is data.md5


def test_another_projects_commit_is_not_the_packages(tmp_path, monkeypatch):
    """Installed into the environment of a project that is under git."""
    place = tmp_path / ".venv" / "lib" / "vitsd_helpers" / "evidence"
    place.mkdir(parents=True)
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@localhost")
    for command in (("init", "-q"), ("commit", "-q", "--allow-empty", "-mx")):
        subprocess.run(["git", "-C", tmp_path, *who, *command], check=True)
    monkeypatch.setattr(records, "__file__", str(place / "records.py"))
    assert records.commit() is None


def test_commit_is_dirty_by_code_not_by_records(tmp_path, monkeypatch):
    def git(*command):
        identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        subprocess.run(["git", *identity, *command], cwd=tmp_path, check=True)

    code = tmp_path / "vitsd_helpers" / "evidence" / "records.py"
    record = tmp_path / "book" / "results" / "some.json"
    for path in (code, record):
        path.parent.mkdir(parents=True)
        path.write_text("1", "utf-8")
    monkeypatch.setattr(records, "__file__", str(code))
    assert records.commit() is None
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "some")
    clean = records.commit()
    assert re.fullmatch("[0-9a-f]{40}", clean)
    record.write_text("2", "utf-8")
    assert records.commit() == clean
    code.write_text("2", "utf-8")
    assert records.commit() == clean + "-dirty"


def test_weights_are_named_as_the_record_and_know_their_config(run, tmp_path):
    path = run.write_weights(tmp_path)
    assert path.name == "quick-sl-seed7.safetensors"
    with safe_open(path, "numpy") as file:
        config = json.loads(file.metadata()["config"])
    assert config == json.loads(json.dumps(run.record["config"]))


def test_predictions_survive(run, digits, tmp_path):
    path = run.write(tmp_path / "below")
    found = read_predictions(path.stem, tmp_path)
    for part, values in run.predictions.items():
        np.testing.assert_array_equal(found[part], values)
    right = found["predicted"] == digits.y_test
    assert right.mean() == run.record["test"]["top1"]
    with pytest.raises(FileNotFoundError, match=r"other\.npz"):
        read_predictions("other", tmp_path)
    # An unfinished study is no more read than its records are.
    other = tmp_path / "incoming" / "studies"
    other.mkdir(parents=True)
    path.with_suffix(".npz").rename(other / f"{path.stem}.npz")
    with pytest.raises(FileNotFoundError):
        read_predictions(path.stem, tmp_path)


def test_pages_read_records(record, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "FOLDER", tmp_path)
    write_record(record, tmp_path)
    found = pages.load("quick-sl-seed7")
    assert pages.lookup(found, "test.top1") == record["test"]["top1"]
    with pytest.raises(ValueError, match=r"test\.top2"):
        pages.lookup(found, "test.top2")
    with pytest.raises(ValueError, match="quick-vit-seed7"):
        pages.load("quick-vit-seed7")


SCHEMA = json.loads(
    (pages.FOLDER.parent / "record.schema.json").read_text("utf-8")
)
validator = jsonschema.Draft202012Validator(SCHEMA)
BOOK = read_records()


def test_schema_takes_what_the_engine_writes(record):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    validator.validate(json.loads(json.dumps(record)))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", -1),
        ("device", ""),
        ("test", {"loss": 1.0, "top1": 1.5, "top5": 1.0}),
        ("test", None),
        ("surprise", 1),
        ("commit", "201059f"),
    ],
)
def test_schema_refuses(record, key, value):
    record = json.loads(json.dumps(record))
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(record | {key: value})


#: Keys younger than the first records.
LATER = {"name", "start_weights", "devices", "images_per_second_each"}


def test_schema_wants_every_key(record):
    assert record.keys() > LATER
    for key in record.keys() - LATER:
        rest = {k: v for k, v in record.items() if k != key}
        assert not validator.is_valid(json.loads(json.dumps(rest))), key


def test_there_are_records():
    assert len(BOOK) > 2


@pytest.mark.parametrize("name", sorted(BOOK))
def test_committed_records(name):
    record = BOOK[name]
    validator.validate(record)
    recipe = record["recipe"]
    assert name == record_name(
        recipe["name"], record["variant"], record["seed"]
    )
    current = get_recipe(recipe["name"])
    assert json.loads(json.dumps(current.settings)) == recipe
    assert record["recipe_hash"] == current.hash
    assert {len(v) for v in record["epochs"].values()} == {recipe["epochs"]}
    assert record["commit"] and "dirty" not in record["commit"]
    predictions = read_predictions(name)
    assert len(predictions["predicted"]) == record["test_images"]
    assert predictions["top5"].mean() == pytest.approx(record["test"]["top5"])
    right = predictions["predicted"] == read_labels()[0]
    assert right.mean() == pytest.approx(record["test"]["top1"])
    assert predictions["top5"][right].all()


@pytest.mark.skipif(
    "VITSD_DATA_DIR" not in os.environ, reason="needs CIFAR-100"
)
def test_labels_are_those_of_cifar100():
    labels, names = read_labels()
    data = load_data("cifar100")
    np.testing.assert_array_equal(labels, data.y_test)
    assert names == data.class_names


def test_a_study_that_is_not_complete_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "FOLDER", tmp_path)
    path = records.results_folder() / "laptop-sl-seed0.json"
    for folder in ("studies", "incoming"):
        (tmp_path / folder).mkdir()
    (tmp_path / "incoming" / path.name).write_text(
        path.read_text("utf-8"), "utf-8"
    )
    assert pages.of_recipe("laptop") == []
    with pytest.raises(ValueError, match="no record laptop-sl-seed0"):
        pages.find("laptop-sl-seed0")
    assert not read_records(tmp_path)
    kept = tmp_path / "studies" / path.name
    kept.write_text(path.read_text("utf-8"), "utf-8")
    assert [found for found, _ in pages.of_recipe("laptop")] == [kept]
    assert set(read_records(tmp_path)) == {"laptop-sl-seed0"}
