"""Weights as safetensors."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from vitsd_helpers import PRESETS, build_vit
from vitsd_helpers.training import weights
from vitsd_helpers.training.weights import (
    load_model,
    load_weights,
    save_weights,
)

CONFIG = dataclasses.replace(
    PRESETS["small-sl"], width=16, depth=1, num_heads=2, key_dim=8
)


def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 0), ("float16", 1e-2)]
)
def test_weights_come_back(tmp_path, dtype, tolerance):
    model, other = build_vit(CONFIG), build_vit(CONFIG)
    path = save_weights(model, tmp_path / "new" / "w.safetensors", dtype)
    load_weights(other, path)
    expected = model.predict(pixels(), verbose=0)
    found = other.predict(pixels(), verbose=0)
    np.testing.assert_allclose(found, expected, atol=tolerance)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_half_precision_is_half_the_size(tmp_path):
    model = build_vit(CONFIG)
    sizes = [
        save_weights(model, tmp_path / dtype, dtype).stat().st_size
        for dtype in ("float32", "float16")
    ]
    numbers = sum(int(np.prod(v.shape)) for v in model.variables)
    assert sizes[0] - sizes[1] == pytest.approx(2 * numbers, abs=64)


def test_another_model_is_refused_and_left_as_it_was(tmp_path):
    path = save_weights(build_vit(CONFIG), tmp_path / "w")
    deeper = build_vit(dataclasses.replace(CONFIG, depth=2))
    with pytest.raises(ValueError, match=r"block1.*in only one"):
        load_weights(deeper, path)
    narrow = build_vit(dataclasses.replace(CONFIG, mlp_ratio=1.0))
    before = narrow.predict(pixels(), verbose=0)
    with pytest.raises(ValueError, match=r"\(16, 16\).*\(16, 32\)"):
        load_weights(narrow, path)
    np.testing.assert_array_equal(narrow.predict(pixels(), verbose=0), before)


def test_values_too_large_for_half_precision(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.weights[0].assign([[1e6]])
    with pytest.raises(ValueError, match=r"kernel.*1000000.*float32"):
        save_weights(model, tmp_path / "w")
    assert not list(tmp_path.iterdir())
    save_weights(model, tmp_path / "w", "float32")


def test_dropouts_random_states_are_no_weights(tmp_path):
    config = dataclasses.replace(CONFIG, drop_path=0.1, dropout=0.1)
    model, other = build_vit(config), build_vit(config)
    assert len(model.variables) > len(model.weights)
    load_weights(other, save_weights(model, tmp_path / "w", "float32"))
    expected = model.predict(pixels(), verbose=0)
    np.testing.assert_array_equal(other.predict(pixels(), verbose=0), expected)


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        CONFIG.vanilla,
        dataclasses.replace(CONFIG, drop_path=0.1, head_units=(7, 5)),
    ],
)
def test_a_model_comes_back_from_its_file_alone(tmp_path, config, monkeypatch):
    model = build_vit(config)
    built = []
    monkeypatch.setattr(
        weights, "build_vit", lambda c: built.append(c) or build_vit(c)
    )
    header = json.dumps(dataclasses.asdict(config))
    path = save_weights(model, tmp_path / "w", "float32", config=header)
    loaded = load_model(path)
    expected = model.predict(pixels(), verbose=0)
    found = loaded.predict(pixels(), verbose=0)
    np.testing.assert_array_equal(found, expected)
    assert built == [config]


def test_a_file_that_does_not_name_its_model(tmp_path):
    model = build_vit(CONFIG)
    for about in ({}, {"recipe": "laptop"}):
        path = save_weights(model, tmp_path / "w", **about)
        with pytest.raises(ValueError, match=r"w has no 'config'.*load_w"):
            load_model(path)
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "none")


def test_a_file_whose_header_is_of_another_model(tmp_path):
    other = dataclasses.replace(CONFIG, depth=2)
    header = json.dumps(dataclasses.asdict(other))
    path = save_weights(build_vit(CONFIG), tmp_path / "w", config=header)
    with pytest.raises(ValueError, match=r"block1.*in only one"):
        load_model(path)


def test_what_is_loaded_computes_in_float32(tmp_path):
    """Whatever the global policy is, and whatever it was trained in."""
    model = build_vit(PRESETS["small-sl"])
    config = json.dumps(dataclasses.asdict(model.vit_config))
    weights.save_weights(model, tmp_path / "one.safetensors", config=config)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layers = [keras.Input((8, 8, 3)), keras.layers.Flatten()]
        other = keras.Sequential([*layers, keras.layers.Dense(3)])
        weights.save_model(other, tmp_path / "other", formats=())
        found = [
            weights.load_model(tmp_path / name)
            for name in ("one.safetensors", "other")
        ]
    finally:
        keras.config.set_dtype_policy("float32")
    assert other.layers[-1].dtype_policy.name == "mixed_bfloat16"
    for one in found:
        names = {layer.dtype_policy.name for layer in one.layers}
        assert names == {"float32"}


def test_a_file_that_is_no_safetensors_is_named(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(b"PK" + bytes(100))
    with pytest.raises(ValueError, match="is no file of safetensors"):
        weights.load_model(path)
