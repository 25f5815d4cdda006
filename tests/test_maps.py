"""Attention maps, distance and entropy, against known answers and loops."""

import json
from dataclasses import asdict, replace

import keras
import numpy as np
import pytest
import reference
from keras.ops import convert_to_numpy

from vitsd_helpers import PRESETS, build_vit
from vitsd_helpers.evidence.maps import (
    attention_weights,
    mean_attention_distance,
    mean_entropy,
    patch_distances,
)
from vitsd_helpers.training.weights import load_model, save_weights

TINY = replace(PRESETS["small-sl"], width=16, depth=2, num_heads=2, key_dim=8)
IMAGES = reference.pixels(3, 32, 32, 3, dtype="uint8")
HEADS, SIDE = 2, 3
COUNT = SIDE * SIDE


def shares(seed: int = 0) -> np.ndarray:
    """Random weights of two images, (2, HEADS, COUNT, COUNT)."""
    random = np.random.default_rng(seed).random((2, HEADS, COUNT, COUNT))
    return random / random.sum(-1, keepdims=True)


def one_hot(keys: list[int]) -> np.ndarray:
    """Each query looks at one key, (1, 1, N, N)."""
    return np.eye(len(keys))[keys][None, None]


@pytest.mark.parametrize("mask", [True, False])
def test_weights_are_those_of_the_blocks(mask: bool) -> None:
    """Block 1 is fed by block 0's output, so a wrong order would show."""
    config = TINY if mask else TINY.vanilla
    model = build_vit(config)
    for index in range(config.depth):
        reference.randomise(model.get_layer(f"block{index}_attention"), index)
    found = attention_weights(model, IMAGES)
    assert len(found) == config.depth
    for index, weights in enumerate(found):
        assert weights.shape == (3, 2, 64, 64) and weights.dtype == "float32"
        np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
        diagonal = np.diagonal(weights, axis1=2, axis2=3)
        assert (diagonal == 0).all() if mask else (diagonal > 0).all()
        norm = model.get_layer(f"block{index}_norm1").output
        tokens = convert_to_numpy(keras.Model(model.input, norm)(IMAGES))
        layer = model.get_layer(f"block{index}_attention")
        kernel, out, out_bias = layer.get_weights()[-3:]
        pieces = [kernel, np.zeros(kernel.shape[1]), out, out_bias]
        expected = reference.attention(tokens, pieces, layer.temperature, mask)
        np.testing.assert_allclose(weights, expected[1], atol=1e-4)


def test_weights_of_a_trained_models_file_are_repeatable(tmp_path) -> None:
    config = replace(TINY, drop_path=0.5, attention_dropout=0.5, dropout=0.5)
    model = build_vit(config)
    header = json.dumps(asdict(config))
    path = save_weights(model, tmp_path / "w", "float32", config=header)
    once = attention_weights(model, IMAGES)
    again = attention_weights(load_model(path), IMAGES)
    np.testing.assert_allclose(once, again, atol=1e-6)


def test_a_class_token_is_counted() -> None:
    model = build_vit(replace(TINY, pooling="token", depth=1))
    (weights,) = attention_weights(model, IMAGES)
    assert weights.shape == (3, 2, 65, 65)
    with pytest.raises(ValueError, match=r"65 tokens.*class token"):
        mean_attention_distance(weights, 4)


def test_a_model_without_attention_is_named() -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs), name="plain")
    with pytest.raises(ValueError, match="'plain' has no Locality"):
        attention_weights(model, np.zeros((1, 4)))


def test_distances_of_four_patches() -> None:
    far = 4 * 2**0.5
    expected = [[0, 4, 4, far], [4, 0, far, 4], [4, far, 0, 4], [far, 4, 4, 0]]
    np.testing.assert_allclose(patch_distances(4, 4), expected)
    assert patch_distances(1, 4).tolist() == [[0]]


def test_distance_of_attention_to_a_neighbour_is_a_patch() -> None:
    right = one_hot([1, 2, 1, 4, 5, 4, 7, 8, 7])
    below = one_hot([3, 4, 5, 6, 7, 8, 3, 4, 5])
    both = np.concatenate([right, below], axis=1)
    np.testing.assert_allclose(mean_attention_distance(both, 4), [4, 4])
    np.testing.assert_allclose(mean_attention_distance(both, 1), [1, 1])


def test_distance_of_attention_to_itself_is_zero() -> None:
    itself = one_hot(list(range(COUNT)))
    np.testing.assert_allclose(mean_attention_distance(itself, 4), [0])


def test_distance_of_uniform_attention() -> None:
    """Masked, the zero on the diagonal no longer counts."""
    uniform = np.full((1, 1, 4, 4), 1 / 4)
    mean = (4 + 4 + 4 * 2**0.5) / 4
    np.testing.assert_allclose(mean_attention_distance(uniform, 4), [mean])
    masked = (1 - np.eye(4))[None, None] / 3
    np.testing.assert_allclose(
        mean_attention_distance(masked, 4), [mean * 4 / 3]
    )


def test_distance_equals_a_loop() -> None:
    weights, size = shares(), 6
    expected = np.zeros(HEADS)
    for head in range(HEADS):
        for image in range(2):
            for query in range(COUNT):
                for key in range(COUNT):
                    down = query // SIDE - key // SIDE
                    right = query % SIDE - key % SIDE
                    length = size * (down**2 + right**2) ** 0.5
                    share = weights[image, head, query, key]
                    expected[head] += share * length / (2 * COUNT)
    np.testing.assert_allclose(
        mean_attention_distance(weights, size), expected
    )


def test_distance_of_attention_to_a_corner() -> None:
    corner = one_hot([0] * 4)
    mean = (0 + 4 + 4 + 4 * 2**0.5) / 4
    np.testing.assert_allclose(mean_attention_distance(corner, 4), [mean])


def test_entropy_of_known_weights() -> None:
    certain = one_hot([1, 0, 3, 2])
    alike = np.full((1, 1, 4, 4), 1 / 4)
    pair = np.array([0, 0.5, 0.5, 0]) * np.ones((1, 1, 4, 1))
    weights = np.concatenate([certain, alike, pair], axis=1)
    expected = np.log([1, 4, 2])
    np.testing.assert_allclose(mean_entropy(weights), expected, atol=1e-12)


def test_entropy_equals_a_loop() -> None:
    weights = shares()
    rows = weights.transpose(1, 0, 2, 3).reshape(HEADS, -1, COUNT)
    expected = [
        np.mean([-sum(w * np.log(w) for w in row) for row in head])
        for head in rows
    ]
    np.testing.assert_allclose(mean_entropy(weights), expected)


def test_weights_of_another_shape_are_named() -> None:
    for shape in ((2, 9, 9), (1, 2, 9, 4)):
        for measure in (
            mean_entropy,
            lambda weights: mean_attention_distance(weights, 4),
        ):
            message = str(shape).strip("()")
            with pytest.raises(ValueError, match=message):
                measure(np.zeros(shape))


@pytest.mark.parametrize(
    ("count", "size", "message"),
    [
        (0, 4, "0 tokens"),
        (8, 4, "8 tokens"),
        (9, 0, "patch_size=0 "),
        (9, -1, "patch_size=-1 "),
    ],
)
def test_grids_that_do_not_exist(count, size, message) -> None:
    with pytest.raises(ValueError, match=message):
        patch_distances(count, size)
