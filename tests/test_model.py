import functools
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import keras
import numpy as np
import pytest
import reference
from keras.ops import convert_to_numpy

import vitsd_helpers
from vitsd_helpers import PRESETS, ViTConfig, build_vit

SIZES = {
    "width": 16,
    "depth": 1,
    "num_heads": 2,
    "key_dim": 8,
    "num_classes": 5,
}
TINY = replace(PRESETS["small-sl"], **SIZES)
TOKEN = replace(TINY, pooling="token", drop_path=0.2, attention_dropout=0.1)
#: Resizing, dropout, flattened, with a hidden layer in its head.
SEED = replace(PRESETS["seed-sl"], **SIZES, image_size=36, head_units=(32,))
IMAGES = reference.pixels(10, 32, 32, 3, dtype="uint8")
LABELS = np.arange(10) % 5


@functools.cache
def preset(name: str) -> keras.Model:
    return build_vit(PRESETS[name])


def trainable(model: keras.Model) -> int:
    return sum(math.prod(w.shape) for w in model.trainable_weights)


@pytest.fixture
def half_precision() -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize(
    ("name", "count"), [("seed-vit", 21_759_012), ("seed-sl", 21_787_748)]
)
def test_seed_has_the_keras_examples_parameters(name: str, count: int) -> None:
    assert trainable(preset(name)) == count


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("paper-vit", 2.7),
        ("paper-sl", 2.7),
        ("small-vit", 0.3),
        ("small-sl", 0.3),
    ],
)
def test_parameter_counts(name: str, millions: float) -> None:
    count = trainable(preset(name)) / 1e6
    assert count == pytest.approx(millions, abs=0.05)


def test_a_class_token_adds_itself_and_a_position() -> None:
    mean, token = build_vit(TINY), build_vit(replace(TINY, pooling="token"))
    assert trainable(token) == trainable(mean) + 2 * TINY.width


@pytest.mark.parametrize("name", PRESETS)
def test_presets_give_finite_logits(name: str) -> None:
    model = preset(name)
    assert model.output_shape == (None, 100)
    logits = convert_to_numpy(model(IMAGES[:2]))
    assert logits.shape == (2, 100)
    assert logits.dtype == "float32"
    assert np.isfinite(logits).all()
    assert np.abs(logits[0] - logits[1]).max() > 0


@pytest.mark.parametrize("name", PRESETS)
def test_every_layer_can_be_compiled(name: str) -> None:
    slow = [layer for layer in preset(name).layers if not layer.supports_jit]
    assert not slow


@pytest.mark.parametrize("config", [TINY, SEED], ids=["tiny", "seed"])
def test_logits_do_not_depend_on_the_pixels_dtype(config: ViTConfig) -> None:
    model = build_vit(config)
    np.testing.assert_allclose(
        convert_to_numpy(model(IMAGES)),
        convert_to_numpy(model(IMAGES.astype("float32"))),
        atol=1e-6,
    )


def test_pixels_are_normalised_inside_the_model() -> None:
    config = replace(TINY, mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 8.0))
    model = build_vit(config)
    inner = keras.Model(model.input, model.get_layer("tokenizer").input)
    np.testing.assert_allclose(
        convert_to_numpy(inner(IMAGES)),
        (IMAGES - np.array(config.mean)) / np.array(config.std),
        rtol=1e-5,
    )


def test_images_are_resized_inside_the_model() -> None:
    model = build_vit(SEED)
    assert model.input_shape == (None, 32, 32, 3)
    assert model.get_layer("tokenizer").input.shape == (None, 36, 36, 3)
    assert model.get_layer("tokenizer").output.shape == (None, 36, 16)


def test_config_reaches_the_layers() -> None:
    model = build_vit(
        replace(
            TINY,
            width=24,
            shift_directions=("up", "left"),
            shift_ratio=0.25,
            mlp_ratio=3.0,
            norm_epsilon=1e-3,
            diagonal_mask=False,
            qkv_bias=True,
            attention_dropout=0.1,
            temperature_per="layer",
            temperature_form="divide",
            kernel_init="he_normal",
            head_units=(7, 6),
        )
    )
    tokenizer = model.get_layer("tokenizer").get_config()
    attention = model.get_layer("block0_attention").get_config()
    expected = {
        "patch_size": TINY.patch_size,
        "width": 24,
        "directions": ["up", "left"],
        "shift_ratio": 0.25,
        "epsilon": 1e-3,
        "num_heads": TINY.num_heads,
        "key_dim": TINY.key_dim,
        "diagonal_mask": False,
        "learnable_temperature": True,
        "temperature_per": "layer",
        "temperature_form": "divide",
        "use_bias": True,
        "dropout": 0.1,
    }
    found = tokenizer | attention
    assert {name: found[name] for name in expected} == expected
    for name, layer in {x.name: x.get_config() for x in model.layers}.items():
        if "norm" in name and name != "normalization":
            assert layer["epsilon"] == 1e-3
        if "kernel_initializer" in layer:
            kind = layer["kernel_initializer"]["class_name"]
            assert kind == "HeNormal"
    units = {"block0_mlp1": 72, "block0_mlp2": 24, "head_0": 7, "head_1": 6}
    assert {name: model.get_layer(name).units for name in units} == units


@pytest.mark.parametrize(
    ("init", "std"), [(1.0, 1.0), (0.02, 0.02), ("uniform", 0.1 / 12**0.5)]
)
def test_start_of_the_positions(init: float | str, std: float) -> None:
    keras.utils.set_random_seed(0)
    model = build_vit(replace(TINY, position_init=init))
    (position,) = model.get_layer("encoder").get_weights()
    assert position.std() == pytest.approx(std, rel=0.1)


@pytest.mark.parametrize("pooling", ["mean", "token", "flatten"])
def test_pooling(pooling: str) -> None:
    config = replace(TINY, pooling=pooling)
    model = build_vit(config)
    norm = model.get_layer("norm").output
    head = model.get_layer("logits")
    assert norm.shape == (None, config.num_tokens, config.width)
    assert config.num_tokens == 64 + (pooling == "token")
    inner = keras.Model(model.input, [norm, head.input, head.output])
    tokens, pooled, logits = map(convert_to_numpy, inner(IMAGES))
    expected = {
        "mean": tokens.mean(axis=1),
        "token": tokens[:, 0],
        "flatten": tokens.reshape(len(tokens), -1),
    }[pooling]
    np.testing.assert_allclose(pooled, expected, atol=1e-5)
    kernel, bias = head.get_weights()
    np.testing.assert_allclose(logits, expected @ kernel + bias, atol=1e-4)


@pytest.mark.parametrize(("twice", "last"), [(True, "gelu"), (False, None)])
def test_mlp_activations(twice: bool, last: str | None) -> None:
    model = build_vit(replace(TINY, mlp_gelu_twice=twice))
    first, second = (
        model.get_layer(f"block0_mlp{i}").activation for i in (1, 2)
    )
    assert first == keras.activations.get("gelu")
    assert second == keras.activations.get(last)


def test_drop_path_drops_whole_branches_in_training() -> None:
    model = build_vit(replace(TINY, drop_path=0.25))
    drops = [x for x in model.layers if isinstance(x, keras.layers.Dropout)]
    assert len(drops) == 2 * TINY.depth
    ones = np.ones((400, 3, 4), "float32")
    for drop in drops:
        assert (convert_to_numpy(drop(ones)) == 1).all()
        images = convert_to_numpy(drop(ones, training=True)).reshape(400, -1)
        assert (images == images[:, :1]).all()
        assert (images == 0).mean() == pytest.approx(0.25, abs=0.1)
        assert images.mean() == pytest.approx(1, abs=0.1)


def test_vanilla_switches_off_both_mechanisms_and_nothing_else() -> None:
    one, other = asdict(SEED), asdict(SEED.vanilla)
    changed = {name: other[name] for name in one if one[name] != other[name]}
    assert changed == {
        "shift_directions": (),
        "diagonal_mask": False,
        "learnable_temperature": False,
    }
    model = build_vit(SEED.vanilla)
    assert model.get_layer("tokenizer").norm is None
    assert not model.get_layer("block0_attention").diagonal_mask
    assert len(model.get_layer("block0_attention").weights) == 4


@pytest.mark.parametrize(
    ("config", "jit_compile"),
    [(TINY, False), (SEED, True)],
    ids=["tiny", "seed-jit"],
)
def test_training_lowers_the_loss(
    config: ViTConfig, jit_compile: bool
) -> None:
    if jit_compile and keras.backend.backend() == "torch":
        pytest.skip("torch needs a C++ compiler to compile a model")
    keras.utils.set_random_seed(0)
    config = replace(config, dropout=0.0, head_dropout=0.0)
    model = build_vit(replace(config, attention_dropout=0.0))
    model.compile(
        keras.optimizers.SGD(0.05),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile,
    )
    losses = [
        float(model.train_on_batch(IMAGES, LABELS, return_dict=True)["loss"])
        for _ in range(6)
    ]
    assert np.isfinite(losses).all()
    assert model.jit_compile == jit_compile
    assert losses[-1] < 0.98 * losses[0]


def test_half_precision_gives_finite_float32_logits(
    half_precision: None,
) -> None:
    logits = build_vit(TINY)(IMAGES)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    assert np.isfinite(convert_to_numpy(logits)).all()


LOAD = """
import sys
from pathlib import Path

import keras
import numpy as np

import vitsd_helpers

folder = Path(sys.argv[1])
images = np.load(folder / "images.npy")
for path in folder.glob("*.keras"):
    model = keras.saving.load_model(path, safe_mode=True)
    logits = keras.ops.convert_to_numpy(model(images))
    np.save(path.with_suffix(".npy"), logits)
"""


@pytest.mark.slow
def test_saved_models_load_in_a_fresh_process(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    models = {"token": build_vit(TOKEN), "seed": build_vit(SEED)}
    request.getfixturevalue("half_precision")
    models["half"] = build_vit(TINY.vanilla)
    for name, model in models.items():
        reference.randomise(model)
        model.save(tmp_path / f"{name}.keras")
    np.save(tmp_path / "images.npy", IMAGES)
    root = Path(vitsd_helpers.__file__).parents[1]
    subprocess.run(
        [sys.executable, "-c", LOAD, tmp_path], cwd=root, check=True
    )
    for name, model in models.items():
        np.testing.assert_allclose(
            np.load(tmp_path / f"{name}.npy"),
            convert_to_numpy(model(IMAGES)),
            rtol=1e-5,
            atol=1e-5,
            err_msg=name,
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patch_size": 5}, "image_size=32 .* patches of 5"),
        ({"patch_size": 0}, "patch_size=0 "),
        ({"depth": 0}, "depth=0 "),
        ({"image_size": 0}, "image_size=0 "),
        ({"input_size": -1}, "input_size=-1 "),
        ({"width": 0}, "width=0 "),
        ({"num_heads": 0}, "num_heads=0 "),
        ({"key_dim": -1}, "key_dim=-1 "),
        ({"num_classes": 1}, "num_classes=1:"),
        ({"channels": 1}, r"mean=\(129.3, .* each of the 1 channels"),
        ({"mean": (1.0, 2.0)}, r"mean=\(1.0, 2.0\) .* the 3 channels"),
        ({"std": (1.0, 2.0)}, r"std=\(1.0, 2.0\) .* the 3 channels"),
        ({"pooling": "max"}, "pooling='max' .*'flatten'"),
    ],
)
def test_config_names_a_bad_value(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ViTConfig(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shift_directions": ("north",)}, "'north': choose from"),
        ({"shift_directions": "left"}, "directions='left' is one string"),
        ({"shift_ratio": 1.1}, "shift_ratio=1.1 "),
        ({"temperature_per": "token"}, "temperature_per='token'"),
        ({"temperature_form": "add"}, "temperature_form='add'"),
        ({"attention_dropout": 1.0}, "dropout=1.0 "),
    ],
)
def test_build_names_a_bad_value(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_vit(replace(TINY, **arguments))


@pytest.mark.parametrize(
    "shape",
    [(2, 32, 32, 1), (2, 32, 32, 4), (2, 36, 32, 3), (32, 32, 3), (32, 32)],
)
def test_model_names_images_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=str(shape).strip("()")):
        build_vit(TINY)(np.zeros(shape, "uint8"))
