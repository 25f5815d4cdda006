"""Models that travel: the folder, its card, and the way over the Hub."""

import dataclasses
import functools
import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import share
import yaml
from hub import TOKEN, serve_hub
from keras import ops
from test_training import short_run

from vitsd_helpers import PRESETS, build_vit, load_model
from vitsd_helpers.evidence import cards
from vitsd_helpers.evidence.records import read_records
from vitsd_helpers.evidence.statistics import share_interval
from vitsd_helpers.training import export
from vitsd_helpers.training.loop import Run
from vitsd_helpers.training.weights import save_model

ROOT = Path(__file__).parents[1]
FORMATS = export.FORMATS
CONFIG = dataclasses.replace(
    PRESETS["small-sl"], width=16, depth=1, num_heads=2, key_dim=8
)
#: Loads a model where no TensorFlow can be imported, and says its logits.
ELSEWHERE = """\
import sys


class NoTensorFlow:
    def find_spec(name, path=None, target=None):
        if name == "tensorflow":
            raise ModuleNotFoundError("there is no tensorflow")


sys.meta_path.insert(0, NoTensorFlow)
import numpy as np
from keras import ops
from vitsd_helpers import load_model
model = load_model(sys.argv[1])
images = np.load(sys.argv[2])
np.save(sys.argv[3], ops.convert_to_numpy(model(images)))
print(*model.class_names)
"""


@pytest.fixture(scope="module")
def run() -> Run:
    return short_run(epochs=1)


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("share") / "sl"
    return run.save(path, formats=(), repository="ada/sl", licence="mit")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (4, 32, 32, 3)).astype("float32")


def logits(model, images) -> np.ndarray:
    return ops.convert_to_numpy(model(images, training=False))


def head(card: str) -> dict:
    """The YAML head of a card."""
    return yaml.safe_load(card.split("---\n")[1])


def test_every_file_has_the_model(run, folder, images):
    expected = logits(run.model, images)
    for model in (
        load_model(folder),
        keras.saving.load_model(folder / "model.keras"),
    ):
        np.testing.assert_array_equal(logits(model, images), expected)
    assert load_model(folder).class_names == tuple("0123456789")
    assert (folder / "classes.txt").read_text("utf-8").split() == [
        *"0123456789"
    ]
    assert not (folder / "config.json").exists()  # Keras's own name


def test_a_model_in_half_precision_is_saved_in_float32(tmp_path, images):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_vit(CONFIG)
        path = save_model(model, tmp_path / "half", formats=())
        loaded = load_model(path)
    finally:
        keras.config.set_dtype_policy("float32")
    whole = keras.saving.load_model(path / "model.keras")
    for one in (loaded, whole):
        assert one.get_layer("block0_mlp1").compute_dtype == "float32"
    np.testing.assert_array_equal(
        logits(whole, images), logits(loaded, images)
    )


def test_the_card_says_what_the_record_does(run, folder):
    card = (folder / "README.md").read_text("utf-8")
    record, test = run.record, run.test
    found = head(card)
    assert found["license"] == "mit"
    assert found["library_name"] == "vitsd-helpers"
    (result,) = found["model-index"][0]["results"]
    values = {m["name"]: m["value"] for m in result["metrics"]}
    assert values == {"top-1": test["top1"], "top-5": test["top5"]}
    low, high = share_interval(test["top1"], 359)
    for said in (
        f"| top-1 | {100 * test['top1']:.1f} % "
        f"| {100 * low:.1f} to {100 * high:.1f} % |",
        "on 359 test images",
        "seed 7",
        f"{record['parameters']:,} parameters",
        "from scratch on 96 images of Digits",
        f"quick (hash {record['recipe_hash']})",
        f"keras {keras.__version__}",
        record["data_md5"],
        "one of its 10 classes",
        'load_model("hf://ada/sl")',
        "- `model.safetensors`:",
    ):
        assert said in card, said
    assert "onnx" not in card
    for name in folder.iterdir():
        assert name.name == "README.md" or f"`{name.name}`" in card


def test_cards_of_all_records_are_whole():
    for name, record in read_records().items():
        card = cards.model_card(record, ["model.json"])
        found = head(card)
        assert found["datasets"] == ["uoft-cs/cifar100"], name
        assert "license" not in found and "None is stated yet" in card
        assert f"{100 * record['test']['top1']:.1f} %" in card
        other = json.loads(json.dumps(record))
        other["test"]["top1"] /= 2  # nothing of it is typed
        assert cards.model_card(other, ["model.json"]) != card


def test_a_card_of_an_unfinished_run_and_of_own_pictures(run):
    record = {**run.record, "data": "flowers: red", "config": {}}
    card = cards.model_card(record, ["model.onnx"], apart={"model.onnx": 2e-6})
    (result,) = head(card)["model-index"][0]["results"]
    assert result["dataset"]["name"] == "flowers: red"
    assert "by at most 2e-06 of the largest" in card
    assert "onnxruntime" in card
    card = cards.model_card({**record, "test": None}, [])
    assert "not tested" in card and "metrics" not in head(card)


def test_interval_of_a_share():
    low, high = share_interval(0.3835, 10_000)
    assert (low, high) == pytest.approx((0.3740, 0.3931), abs=1e-4)
    assert share_interval(1.0, 359)[1] == 1.0
    assert 0.985 < share_interval(1.0, 359)[0] < 0.995
    with pytest.raises(ValueError, match=r"share=1\.5"):
        share_interval(1.5, 10)


def test_formats_that_cannot_be_made(run, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"'tfjs'.*onnx, litert"):
        run.save(tmp_path / "a", formats=["tfjs"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert export.available() == ()
    with pytest.raises(ModuleNotFoundError, match=r"onnx needs .*\[export\]"):
        run.save(tmp_path / "a", formats=["onnx"])
    assert not list(tmp_path.iterdir())


def test_a_format_that_fails_is_left_out_or_refused(
    run, tmp_path, monkeypatch
):
    def fail(folder, names):
        said = "the model has no {} file: it is odd"
        return {name: ValueError(said.format(name)) for name in names}

    monkeypatch.setattr("vitsd_helpers.training.weights.export_folder", fail)
    monkeypatch.setattr(export, "missing", lambda name: [])
    with pytest.raises(ValueError, match="no onnx file"):
        run.save(tmp_path / "a", formats=["onnx"])
    assert not list(tmp_path.iterdir())
    with pytest.warns(UserWarning) as told:
        path = run.save(tmp_path / "a")
    said = [str(w.message) for w in told if "the model" in str(w.message)]
    assert said == [f"the model has no {x} file: it is odd" for x in FORMATS]
    assert not list(path.glob("*.onnx")) and load_model(path)


@pytest.mark.parametrize("scale", [1, 1.001, np.nan])
def test_only_equal_logits_pass(scale):
    model = build_vit(CONFIG)
    apart = export.difference(model, lambda x: scale * logits(model, x))
    passes = apart <= FORMATS["onnx"].limit
    assert passes == (scale == 1)


#: A saved model that Keras serialises, with a side that is not fixed.
def own_network() -> keras.Model:
    layers = [
        keras.Input((None, None, 3)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(4, 3, activation="gelu"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(3),
    ]
    return keras.Sequential(layers, name="cnn")


#: Class token, resizing, a large head, temperatures of each kind: all that a
#: configuration can bring into the graph.
ODD = dataclasses.replace(
    CONFIG,
    image_size=36,
    pooling="token",
    head_units=(7,),
    temperature_form="divide",
    temperature_per="layer",
    qkv_bias=True,
)


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda: build_vit(CONFIG), id="sl"),
        pytest.param(lambda: build_vit(ODD), id="odd"),
        pytest.param(own_network, id="own"),
    ],
)
def test_runtimes_give_the_logits(build, tmp_path):
    """In a batch of another size than those of the check."""
    formats = export.available()
    if len(formats) < len(FORMATS):
        absent = {x for name in FORMATS for x in export.missing(name)}
        pytest.skip(f"needs {', '.join(absent)}: make .venv/export")
    model = build()
    shape = (3, *(side or 40 for side in model.input_shape[1:]))
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, shape).astype("float32")
    expected = logits(model, pixels)
    path = save_model(model, tmp_path / "m", formats=formats)
    for name, runtime in (("onnx", onnx), ("litert", litert)):
        found = runtime(path / FORMATS[name].file, pixels)
        apart = np.abs(found - expected).max() / np.abs(expected).max()
        assert apart <= FORMATS[name].limit, name


def onnx(path, pixels):
    import onnxruntime

    return onnxruntime.InferenceSession(path).run(None, {"images": pixels})[0]


def litert(path, pixels):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(os.fspath(path))
    (entry,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(entry["index"], pixels.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(entry["index"], pixels)
    interpreter.invoke()
    (entry,) = interpreter.get_output_details()
    return interpreter.get_tensor(entry["index"])


@pytest.mark.slow
def test_a_model_that_cannot_be_exported_leaves_no_file(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow", reason="exports are TensorFlow's")
    monkeypatch.setattr(export, "missing", lambda name: [])
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    (tmp_path / "model.tflite").write_bytes(b"half")
    found = export.export_folder(tmp_path, ["litert"])
    assert str(found["litert"]).startswith("the model has no litert file")
    assert not (tmp_path / "model.tflite").exists()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    pytest.importorskip("huggingface_hub", reason="make .venv/export")
    with serve_hub() as server:
        yield server


def environment(hub, tmp_path, **changes) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_TOKEN": TOKEN,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        **changes,
    }


def load_elsewhere(hub, tmp_path, place, images, **changes):
    """Loads in a process of its own, on a backend that is not TensorFlow."""
    np.save(tmp_path / "images.npy", images)
    found = importlib.util.find_spec("jax")
    settings = {"KERAS_BACKEND": "jax" if found else "numpy"} | changes
    files = (tmp_path / "images.npy", tmp_path / "logits.npy")
    return subprocess.run(
        [sys.executable, "-c", ELSEWHERE, place, *files],
        env=environment(hub, tmp_path, **settings),
        capture_output=True,
        text=True,
    )


def test_pushed_by_one_command_and_loaded_in_one_line(
    hub, folder, tmp_path, images
):
    """The command that `make share` prints; then without TensorFlow."""
    command = share.push_command("ada/sl", folder)
    command[0] = str(Path(sys.executable).with_name(command[0]))
    done = subprocess.run(
        command,
        env=environment(hub, tmp_path),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert hub.repositories == {"ada/sl": files}
    answers = []
    for place in (folder, "hf://ada/sl", f"hf://ada/sl@{hub.sha}"):
        done = load_elsewhere(hub, tmp_path, place, images)
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.split() == [*"0123456789"]
        answers.append(np.load(tmp_path / "logits.npy"))
    np.testing.assert_array_equal(answers[1], answers[0])
    np.testing.assert_array_equal(answers[2], answers[0])
    expected = logits(load_model(folder), images)
    np.testing.assert_allclose(answers[0], expected, atol=1e-5)
    taken = {
        path.rpartition("/")[2] for path in hub.asked if "resolve" in path
    }
    assert taken == {"model.json", "model.safetensors"}
    # What was loaded once needs no Hub.
    away = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"}
    done = load_elsewhere(hub, tmp_path, "hf://ada/sl", images, **away)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    ("place", "error", "text"),
    [
        ("hf://ada", ValueError, "must have the form hf://user/name"),
        ("hf://ada/none", FileNotFoundError, "the Hub has no hf://ada/none"),
        ("hf://ada/bare@v9", FileNotFoundError, "no hf://ada/bare@v9"),
        ("hf://ada/bare", ValueError, r"it has no model\.json"),
        ("away", ConnectionError, "hf://ada/bare is not in the cache"),
    ],
)
def test_what_cannot_be_loaded(hub, tmp_path, monkeypatch, place, error, text):
    import huggingface_hub

    hub.repositories["ada/bare"] = {"README.md": b"# Nothing yet\n"}
    away = place == "away"
    download = functools.partial(
        huggingface_hub.snapshot_download,
        endpoint="http://127.0.0.1:9" if away else hub.url,
        cache_dir=tmp_path,
    )
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(error, match=text):
        load_model("hf://ada/bare" if away else place)


def test_no_client(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModuleNotFoundError, match="pip install hugging"):
        load_model("hf://ada/sl")


def test_models_are_found_by_run_and_by_record(tmp_path, monkeypatch):
    monkeypatch.setattr(share, "RUNS", tmp_path)
    (found,) = share.find_models("laptop-sl-seed0").items()
    assert [path.name for path in found] == [
        "laptop-sl-seed0.safetensors",
        "laptop-sl-seed0.json",
    ]
    run = tmp_path / "quick-seed0"
    run.mkdir()
    for variant in ("vit", "sl"):
        (run / f"quick-{variant}-seed0.json").write_text("{}", "utf-8")
    with pytest.raises(SystemExit, match="quick-seed0 has no weights"):
        share.find_models("quick")
    for variant in ("vit", "sl"):
        (run / f"quick-{variant}-seed0.safetensors").touch()
    names = [path.stem for path in share.find_models("quick").values()]
    assert names == ["quick-sl-seed0", "quick-vit-seed0"]
    (one,) = share.find_models("quick-vit-seed0")
    assert one.parent == run
    # A run of one's own comes before the book's of the same name.
    own = tmp_path / "laptop-seed0"
    own.mkdir()
    for ending in ("json", "safetensors"):
        (own / f"laptop-sl-seed0.{ending}").write_text("{}", "utf-8")
    (one,) = share.find_models("laptop-sl-seed0")
    assert one.parent == own
    with pytest.raises(SystemExit, match=r"no run 'latpop'.*laptop-sl-seed0"):
        share.find_models("latpop")


@pytest.mark.parametrize("which", ["laptop-sl-seed0", "own"])
def test_a_shared_model_is_that_of_its_record(
    run, images, tmp_path, monkeypatch, which
):
    monkeypatch.setattr(share, "SHARE", tmp_path / "share")
    monkeypatch.setattr(export, "FORMATS", {})
    if which == "own":
        weights = run.write_weights(tmp_path)
        record = run.write(tmp_path)
    else:
        ((weights, record),) = share.find_models(which).items()
    folder = share.write(weights, record, "ada", "")
    assert folder == tmp_path / "share" / record.stem
    model = load_model(folder)
    np.testing.assert_array_equal(
        logits(model, images), logits(load_model(weights), images)
    )
    classes = run.class_names if which == "own" else ["apple"]
    assert model.class_names[: len(classes)] == tuple(classes)
    assert len(model.class_names) == model.output_shape[-1]
    card = (folder / "README.md").read_text("utf-8")
    assert share.ROUNDED in card and f"hf://ada/{record.stem}" in card
