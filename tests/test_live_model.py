"""The model in the browser, against the model in Keras."""

import contextlib
import gzip
import json
import re
import struct
import time
from base64 import b64decode
from dataclasses import asdict, fields, replace
from pathlib import Path

import keras
import numpy as np
import pytest
import reference
from browser import Files, serve
from keras import ops
from PIL import Image
from playwright.sync_api import Error
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from sklearn.datasets import load_digits, load_sample_images

from vitsd_helpers import (
    PRESETS,
    LocalitySelfAttention,
    ViTConfig,
    build_vit,
    patches,
)
from vitsd_helpers.evidence.maps import attention_weights
from vitsd_helpers.training.weights import load_model, save_weights

pytest_plugins = ["browser"]

ROOT = Path(__file__).parents[1]
STORED = {
    path.stem: path
    for path in sorted((ROOT / "book/results/weights").glob("*.safetensors"))
}
VIT, SL = "laptop-vit-seed0", "laptop-sl-seed0"
#: Largest difference allowed, in logits and in attention weights. Keras's
#: own rounding on flat pictures reaches a third of them.
LOGITS, WEIGHTS = 1e-4, 5e-5

_TINY = replace(
    PRESETS["small-sl"],
    num_classes=7,
    patch_size=8,
    width=24,
    depth=2,
    num_heads=3,
    key_dim=8,
)
#: Models with random weights. Together they take every branch.
CONFIGS = {
    "class-token": replace(
        _TINY,
        pooling="token",
        shift_directions=patches.CARDINAL,
        shift_ratio=0.25,
        temperature_per="layer",
    ),
    "keras-example": replace(
        PRESETS["seed-sl"],
        num_classes=7,
        image_size=42,
        width=20,
        depth=2,
        key_dim=12,
        head_units=(40, 24),
    ),
    "smaller-inside": replace(
        _TINY,
        image_size=15,
        patch_size=5,
        shift_directions=patches.ALL_DIRECTIONS,
        learnable_temperature=False,
    ),
    "norm-alone": replace(_TINY, shift_directions=(), tokenizer_norm=True),
    "one-grey-token": replace(
        _TINY,
        input_size=16,
        image_size=16,
        patch_size=16,
        channels=1,
        mean=(100.0,),
        std=(50.0,),
        shift_directions=("up",),
        shift_ratio=1.0,
        qkv_bias=True,
        temperature_form="divide",
    ),
    "odd-sizes": replace(
        _TINY.vanilla,
        width=9,
        mlp_ratio=2.5,
        mlp_gelu_twice=True,
        norm_epsilon=1e-2,
    ),
}
#: What a page may ask of a model beside how it was trained. Tried on every
#: third picture.
OPTIONS = [
    {"mask": mask, "temperature": temperature}
    for mask in (True, False)
    for temperature in (0.5, 1, 2)
]
STEP = 3
#: Settings of `ViTConfig` that matter in training only.
TRAINING = {
    "head_dropout",
    "dropout",
    "attention_dropout",
    "drop_path",
    "position_init",
    "kernel_init",
}

PROBE = """
import { readSafetensors, ViT } from "./live/vit.mjs";
export { loadModel } from "./live/client.mjs";
export * as pixels from "./live/pixels.mjs";
export { readSafetensors };

export async function read(url) {
  return (await fetch(url)).arrayBuffer();
}

/** The numbers of some arrays, one after the other, as text. */
export function encode(...arrays) {
  return new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.split(",")[1] ?? "");
    reader.readAsDataURL(new Blob(arrays));
  });
}

/** A model without a worker, perhaps with another configuration. */
export async function load(url, changes = {}) {
  const { about, tensors } = readSafetensors(await read(url));
  const config = { ...JSON.parse(about.config), ...changes };
  return new ViT({ about: { config: JSON.stringify(config) }, tensors });
}

/** Logits and attention, picture by picture of every `step`th in a file. */
export async function answer(model, url, options, step) {
  const numbers = new Float32Array(await read(url));
  const { input_size, channels } = model.config;
  const size = input_size ** 2 * channels;
  const forward = (model.run ?? model.forward).bind(model);
  const answers = [];
  for (let start = 0; start < numbers.length; start += step * size) {
    const picture = numbers.subarray(start, start + size);
    answers.push(await forward(picture, options));
  }
  return encode(...answers.flatMap((a) => [a.logits, ...a.attention]));
}
"""


class Faulty(Files):
    """Files. After `?half` half a file, after `?gzip` a compressed one."""

    def do_GET(self) -> None:
        path, _, wish = self.path.partition("?")
        if not wish:
            return super().do_GET()
        body = Path(self.translate_path(path)).read_bytes()
        self.send_response(200)
        if wish == "gzip":
            body = gzip.compress(body)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if wish == "half":
            body = body[: len(body) // 2]
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    (folder / "live").symlink_to(ROOT / "book" / "_static" / "live")
    (folder / "probe.mjs").write_text(PROBE, "utf-8")
    (folder / "index.html").write_text(
        "<!doctype html><title>Test</title>", "utf-8"
    )
    return folder


@pytest.fixture(scope="module")
def site(folder):
    with serve(folder, Faulty) as address:
        yield address


@pytest.fixture
def run(page, site):
    """Runs JavaScript, which may use `probe` and `argument`, in a page."""
    page.goto(f"{site}/index.html")

    def run(script: str, argument=None):
        return page.evaluate(
            "(argument) => Promise.race([(async () => {"
            f"  const probe = await import('/probe.mjs'); {script}"
            "})(), new Promise((_, reject) => setTimeout("
            "  () => reject(new Error('no answer in a minute')), 60000))])",
            argument,
        )

    return run


def write_random(name: str, path: Path) -> None:
    """Save a model of CONFIGS, with no weight at a special value."""
    keras.utils.set_random_seed(0)
    config = CONFIGS[name]
    model = build_vit(config)
    random = np.random.default_rng(0)
    for variable in model.weights:
        start = ops.convert_to_numpy(variable)
        if variable.path.endswith("temperature"):
            value = start * random.uniform(0.6, 1.6, start.shape)
        else:
            value = start + random.normal(0, 0.2, start.shape)
        variable.assign(value)
    save_weights(model, path, config=json.dumps(asdict(config)))


def read_config(path: Path) -> dict:
    with safe_open(path, "numpy") as file:
        return json.loads(file.metadata()["config"])


def pictures(side: int, channels: int) -> np.ndarray:
    """Crops of photographs, digits, noise and flat areas, on 0..255."""
    boxes = [(0, 0, 427, 427), (213, 0, 640, 427), (200, 100, 264, 164)]
    found = [
        Image.fromarray(photo).crop(box)
        for photo in load_sample_images().images
        for box in boxes
    ]
    for digit in load_digits().images[:3]:
        grey = (16 * digit).clip(0, 255).astype("uint8")
        found.append(Image.fromarray(grey).convert("RGB"))
    noise = np.random.default_rng(0).integers(0, 256, (2, side, side, 3))
    areas = [np.full((side, side, 3), value) for value in (0, 128, 255)]
    images = [*(image.resize((side, side)) for image in found), *noise, *areas]
    return np.stack(images)[..., :channels].astype("float32")


def in_keras(path: Path, images: np.ndarray):
    """What to ask of a file's model, and its logits and attention weights.

    Yields:
        Options, the step through the pictures, the answers.
    """
    model = load_model(path)
    yield {}, 1, answers(model, images)
    layers = [x for x in model.layers if isinstance(x, LocalitySelfAttention)]
    weights = [layer.qkv.get_weights() for layer in layers]
    for options in OPTIONS:
        for layer, arrays in zip(layers, weights, strict=True):
            layer.diagonal_mask = options["mask"]
            # Queries over a factor: a temperature times this factor.
            queries = layer.num_heads * layer.key_dim
            scale = np.ones(3 * queries, "float32")
            scale[:queries] /= options["temperature"]
            layer.qkv.set_weights([array * scale for array in arrays])
        yield options, STEP, answers(model, images[::STEP])


def answers(model: keras.Model, images: np.ndarray) -> list[np.ndarray]:
    logits = ops.convert_to_numpy(model(images))
    return [logits, *attention_weights(model, images)]


def gaps(text: str, expected: list[np.ndarray]) -> tuple[float, float]:
    """How far a browser's answer is off, in logits and in attention."""
    numbers = np.frombuffer(b64decode(text), "float32")
    found = numbers.reshape(len(expected[0]), -1)
    each = np.abs(found - np.concatenate(list(map(flat, expected)), axis=1))
    logits = expected[0].shape[1]
    return each[:, :logits].max(), each[:, logits:].max()


def flat(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), -1)


@pytest.fixture(scope="module")
def material(folder):
    """The file of a model, and what Keras answers to `NAME.f32`'s pictures."""
    made = {}

    def make(name: str):
        if name not in made:
            path = folder / f"{name}.safetensors"
            if name in STORED:
                path.symlink_to(STORED[name])
            else:
                write_random(name, path)
            config = read_config(path)
            images = pictures(config["input_size"], config["channels"])
            (folder / f"{name}.f32").write_bytes(images.tobytes())
            made[name] = path, list(in_keras(path, images))
        return made[name]

    return make


ANSWER = "return probe.answer(model, ...argument);"


@pytest.mark.filterwarnings("ignore:.*This axis has size 1")
@pytest.mark.parametrize("name", [*STORED, *CONFIGS])
def test_answers_are_those_of_keras(run, material, name) -> None:
    path, cases = material(name)
    assert len(cases[0][-1][0]) >= 12
    run("window.model = await probe.load(argument);", path.name)
    for options, step, expected in cases:
        text = run(ANSWER, [f"{name}.f32", options, step])
        logits, weights = gaps(text, expected)
        assert logits < LOGITS and weights < WEIGHTS, options


def test_another_model_would_be_noticed(run, material) -> None:
    name = SL
    path, cases = material(name)
    options, step, expected = cases[2]
    assert options == {"mask": True, "temperature": 1}
    for change in (
        {"shift_directions": patches.DIAGONAL[::-1]},
        {"shift_ratio": 0.25},
        {"norm_epsilon": 1e-6},
        {"std": [68.2, 65.4, 70.4]},
        {"temperature_form": "divide"},
        {"mlp_gelu_twice": True},
        {"diagonal_mask": False},
    ):
        run(
            "window.model = await probe.load(...argument);",
            [path.name, change],
        )
        logits, weights = gaps(
            run(ANSWER, [f"{name}.f32", {}, step]), expected
        )
        assert logits > 10 * LOGITS and weights > 2 * WEIGHTS, change


def test_every_setting_is_known() -> None:
    """A new field of ViTConfig needs a look at vit.mjs."""
    source = (ROOT / "book/_static/live/vit.mjs").read_text("utf-8")
    for field in fields(ViTConfig):
        assert field.name in TRAINING or re.search(
            rf"\b{field.name}\b", source
        ), field.name


def test_mistakes_are_named(run, material) -> None:
    path, _ = material("class-token")
    run("window.model = await probe.load(argument);", path.name)
    for script, message in (
        ("model.forward(argument, { temperature: 0 })", "temperature=0 must"),
        ("model.forward(argument, { temperature: NaN })", "temperature=NaN"),
        ("model.forward([1, 2])", "2 numbers .* 32 x 32 pixels"),
        ("await load({ depth: 3 })", "block2_norm1/gamma .*has none"),
        ("await load({ depth: 1 })", "no use for .*block1_"),
        ("await load({ width: 12 })", r"\(960,12\).* has \(960,24\)"),
        ("await load({ pooling: 'max' })", "pooling='max'"),
    ):
        with pytest.raises(Error, match=message):
            run(
                f"const load = (c) => probe.load('{path.name}', c); {script};",
                [0] * 32 * 32 * 3,
            )


def test_directions_are_those_of_python(run) -> None:
    found = run(
        "const { OFFSETS, DIAGONAL, CARDINAL, ALL_DIRECTIONS } = probe.pixels;"
        "return [Object.entries(OFFSETS), DIAGONAL, CARDINAL, ALL_DIRECTIONS];"
    )
    assert found == [
        [[name, list(offset)] for name, offset in patches.OFFSETS.items()],
        list(patches.DIAGONAL),
        list(patches.CARDINAL),
        list(patches.ALL_DIRECTIONS),
    ]


@pytest.mark.parametrize(
    ("side", "channels", "shift", "size"),
    [(12, 3, 2, 4), (9, 1, 0, 3), (8, 2, 8, 8), (6, 4, 5, 1)],
)
def test_pixels_are_those_of_python(run, side, channels, shift, size) -> None:
    image = reference.pixels(side, side, channels)
    every = patches.ALL_DIRECTIONS
    shifted = patches.shift_images(image[None], shift, every)
    stack = ops.concatenate([image[None], shifted], axis=-1)
    cut = patches.patchify(stack, size)
    text = run(
        "const [pixels, side, channels, shift, size] = argument;"
        "const { stackShifts, shiftImage, patchify } = probe.pixels;"
        "const every = probe.pixels.ALL_DIRECTIONS;"
        "const stack = stackShifts(pixels, side, channels, shift, every);"
        "const deep = channels * (1 + every.length);"
        "return probe.encode(...every.map((direction) =>"
        "  shiftImage(pixels, side, channels, shift, direction)),"
        "  stack, patchify(stack, side, deep, size));",
        [image.ravel().tolist(), side, channels, shift, size],
    )
    copies = np.split(ops.convert_to_numpy(shifted), len(every), axis=-1)
    expected = [*copies, stack, cut]
    np.testing.assert_array_equal(
        np.frombuffer(b64decode(text), "float32"),
        np.concatenate([ops.convert_to_numpy(x).ravel() for x in expected]),
    )


def test_mistakes_with_pixels_are_named(run) -> None:
    for script, message in (
        ("shiftImage([1, 2], 2, 1, 1, 'up')", "2 numbers .* 2 x 2 pixels"),
        ("shiftImage([1], 1, 1, 2, 'up')", "shift=2 .* side, 1 pixels"),
        ("shiftImage([1], 1, 1, 0.5, 'up')", "shift=0.5 .* whole number"),
        ("stackShifts([1], 1, 1, 1, ['north'])", "'north'.*left-up.*down"),
        ("stackShifts([1], 1, 1, 1, ['toString'])", "'toString'"),
        ("patchify([1, 2, 3, 4], 2, 1, 3)", "2 x 2 pixels .* 3 x 3"),
        ("patchify([1], 1, 1, 0)", "0 x 0"),
    ):
        with pytest.raises(Error, match=message):
            run(f"probe.pixels.{script}")


def test_every_half_precision_number_is_read(run, folder) -> None:
    """Also where a header of odd length puts the numbers at odd bytes."""
    halves = np.arange(2**16, dtype="uint16").view("float16")
    halves = halves[np.isfinite(halves)]
    single = np.float32([np.pi, -1e-30, 1e30])
    header = {
        "half": {
            "dtype": "F16",
            "shape": [len(halves)],
            "data_offsets": [0, halves.nbytes],
        },
        "single": {
            "dtype": "F32",
            "shape": [3, 1],
            "data_offsets": [halves.nbytes, halves.nbytes + 12],
        },
    }
    head = json.dumps(header).encode()
    head += b" " * (1 - len(head) % 2)
    body = struct.pack("<Q", len(head)) + head
    body += halves.tobytes() + single.tobytes()
    (folder / "numbers.safetensors").write_bytes(body)
    shapes, text = run(
        "const buffer = await probe.read('numbers.safetensors');"
        "const tensors = [...probe.readSafetensors(buffer).tensors.values()];"
        "return [tensors.map((t) => t.shape),"
        "  await probe.encode(...tensors.map((t) => t.data))];"
    )
    assert shapes == [[len(halves)], [3, 1]]
    np.testing.assert_array_equal(
        np.frombuffer(b64decode(text), "float32"),
        np.concatenate([halves.astype("float32"), single]),
    )


LOAD = """
window.progress = [];
window.model = await probe.loadModel(argument, {
  onProgress: (done, all) => progress.push([done, all]),
});
"""


def no_worker_is_left(page) -> bool:
    """Workers end a moment after they are told to."""
    deadline = time.monotonic() + 5
    while page.workers and time.monotonic() < deadline:
        page.wait_for_timeout(10)
    return not page.workers


def test_the_worker_answers_the_same(page, run, material) -> None:
    path, _ = material(SL)
    ask = [f"{SL}.f32", {"mask": False, "temperature": 2}, STEP]
    run("window.model = await probe.load(argument);", path.name)
    expected = run(ANSWER, ask)
    for url in (path.name, f"{path.name}?gzip"):
        run(LOAD, url)
        assert run(ANSWER, ask) == expected
        config, progress = run("return [model.config, progress];")
        assert config == read_config(path)
        size = path.stat().st_size
        assert progress[-1] == [size, size]
        done = [step[0] for step in progress]
        assert done == sorted(set(done))
        run("model.close();")
    assert no_worker_is_left(page)


@pytest.mark.slow
def test_the_worker_answers_in_order(run, material) -> None:
    """It keeps the caller's picture, and goes on after a mistake."""
    path, _ = material("class-token")
    order, replies, length = run(
        LOAD + "const picture = new Float32Array(32 * 32 * 3).fill(100);"
        "const order = [];"
        "const ask = (temperature, pixels) => model"
        "  .run(pixels, { temperature })"
        "  .then((answer) => [answer.logits.length, answer.ms >= 0],"
        "    (error) => error.message)"
        "  .finally(() => order.push(temperature));"
        "const answers = await Promise.all([ask(1, picture),"
        "  ask(-1, picture), ask(2, picture), ask(3, picture.subarray(1))]);"
        "return [order, answers, picture.length];",
        path.name,
    )
    assert order == [1, -1, 2, 3]
    assert replies[0] == replies[2] == [7, True]
    assert "temperature=-1" in replies[1] and "3071 numbers" in replies[3]
    assert length == 3072


@pytest.mark.slow
def test_a_closed_model_says_so(page, run, material) -> None:
    path, _ = material("class-token")
    found = run(
        LOAD + "const picture = new Float32Array(32 * 32 * 3);"
        "const waiting = model.run(picture); model.close();"
        "const later = model.run(picture);"
        "return Promise.all([waiting, later].map("
        "  (promise) => promise.catch((error) => error.message)));",
        path.name,
    )
    assert found == ["The model is closed."] * 2
    assert no_worker_is_left(page)


def write_faulty(folder: Path, whole: Path) -> None:
    """Files that are no models, made of one that is."""
    body = whole.read_bytes()
    start = 8 + struct.unpack("<Q", body[:8])[0]
    for name, content in {
        "empty": b"",
        "short": body[:5],
        "in-header": body[: start - 1],
        "torn": body[:-1],
        "long": body + b"0",
        "page": b"<!doctype html><title>Not found</title>",
        "garbled": body[:9] + b"x" + body[10:],
    }.items():
        (folder / f"{name}.safetensors").write_bytes(content)
    arrays = load_file(whole)
    about = {"config": json.dumps(read_config(whole))}
    integers = {"a": np.arange(3)}
    save_file(arrays, folder / "bare.safetensors")
    save_file(integers, folder / "integers.safetensors", about)
    del arrays["norm/gamma"]
    save_file(arrays, folder / "lacking.safetensors", about)


@pytest.mark.slow
def test_what_is_no_model_is_named(page, run, material, folder) -> None:
    path, _ = material("class-token")
    write_faulty(folder, path)
    for name, message in (
        ("empty", "file is empty"),
        ("short", "torn: it has 5 bytes and ends in its header"),
        ("in-header", "torn: .* ends in its header"),
        ("torn", r"torn: it has \d+ bytes of \d+"),
        ("long", r"torn: it has \d+ bytes of \d+"),
        ("page", "not a safetensors file"),
        ("garbled", "header is damaged"),
        ("bare", "no 'config' in its header"),
        ("integers", "a is I64: save it as float16 or float32"),
        ("lacking", r"norm/gamma of shape \(24\); the file has none"),
        ("missing", "HTTP 404 File not found"),
    ):
        url = f"{name}.safetensors"
        message = f"The model {url} could not be loaded.*{message}"
        with pytest.raises(Error, match=message):
            run(LOAD, url)
    assert no_worker_is_left(page)


@pytest.mark.slow
def test_a_download_that_fails_is_named(page, run, material, folder) -> None:
    path, _ = material(VIT)
    with pytest.raises(Error, match=r"broke off after \d+ bytes"):
        run(LOAD, f"{path.name}?half")
    with serve(folder) as gone:
        pass
    with pytest.raises(Error, match="server cannot be reached"):
        run(LOAD, f"{gone}/{path.name}")
    assert no_worker_is_left(page)


@pytest.mark.slow
def test_loading_can_be_stopped(page, run, material) -> None:
    path, _ = material(VIT)
    for when in ("stop.abort();", "onProgress = () => stop.abort();"):
        found = run(
            "const stop = new AbortController(); let onProgress;"
            f"{when} const options = {{ onProgress, signal: stop.signal }};"
            "return probe.loadModel(argument, options)"
            "  .catch((error) => error.name);",
            path.name,
        )
        assert found == "AbortError"
    assert no_worker_is_left(page)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("delete window.Worker;", "cannot start.*needs a browser"),
        (
            "window.Worker = class extends Worker {"
            "  constructor(url, options) { super(url + 'x', options); } };",
            "worker failed.*needs a browser",
        ),
    ],
)
def test_a_browser_without_workers_is_told(run, material, fault, message):
    path, _ = material("class-token")
    with pytest.raises(Error, match=message):
        run(fault + LOAD, path.name)
