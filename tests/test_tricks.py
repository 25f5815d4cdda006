"""The models of the price list: the small ViT with one thing more."""

import dataclasses

import experiments
import keras
import numpy as np
import pytest
import tasks
import tricks
from keras import ops

from vitsd_helpers import load_data, train
from vitsd_helpers.config import PRESETS
from vitsd_helpers.training.optimizer import make_optimizer
from vitsd_helpers.training.recipes import get_recipe
from vitsd_helpers.training.weights import save_weights

SIDE, HEADS, SIZE = 4, 2, 8
ALL = (*experiments.TRICKS, *experiments.TASKS)


@pytest.fixture(scope="module")
def data():
    return load_data("digits")


@pytest.fixture(scope="module")
def recipe():
    """The study's, small."""
    return dataclasses.replace(
        get_recipe("ladder-8"),
        name="short",
        data="digits",
        model=dataclasses.replace(PRESETS["small-sl"], width=32, depth=1),
        epochs=1,
        jit_compile=False,
    )


def attention(kind):
    keras.utils.set_random_seed(0)
    layer = kind(HEADS, SIZE, kernel_initializer="glorot_normal")
    layer.build((None, SIDE**2, 16))
    return layer


def by_hand(layer, tokens):
    """The layer without its change, in NumPy."""
    qkv = tokens @ ops.convert_to_numpy(layer.qkv.kernel)
    shape = (len(tokens), SIDE**2, 3, HEADS, SIZE)
    query, key, value = np.moveaxis(qkv.reshape(shape), 2, 0)
    scores = np.einsum("bnhd,bmhd->bhnm", query, key) / SIZE**0.5
    return scores, value


def finish(layer, scores, value):
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    mixed = np.einsum("bhnm,bmhd->bnhd", weights, value)
    mixed = mixed.reshape(*mixed.shape[:2], -1)
    output = layer.output_projection
    return mixed @ ops.convert_to_numpy(output.kernel)


@pytest.fixture(scope="module")
def tokens():
    return np.random.default_rng(0).normal(size=(2, SIDE**2, 16)).astype("f4")


def test_names_are_those_of_the_study():
    assert tuple(tricks.MODELS) == experiments.TRICKS


def test_separate_matrices_are_plain_attention(tokens):
    layer = attention(tricks.SeparateAttention)
    shapes = [tuple(w.shape) for w in layer.trainable_variables]
    assert shapes == [(16, 16)] * 4 + [(16,)]
    expected = finish(layer, *by_hand(layer, tokens))
    found = ops.convert_to_numpy(layer(tokens))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_relative_position_is_one_number_a_distance(tokens):
    layer = attention(tricks.RelativeAttention)
    table = np.random.default_rng(1).normal(size=((2 * SIDE - 1) ** 2, HEADS))
    layer.bias.assign(table)
    scores, value = by_hand(layer, tokens)
    for n in range(SIDE**2):
        for m in range(SIDE**2):
            down = n // SIDE - m // SIDE + SIDE - 1
            right = n % SIDE - m % SIDE + SIDE - 1
            scores[:, :, n, m] += table[down * (2 * SIDE - 1) + right]
    found = ops.convert_to_numpy(layer(tokens))
    np.testing.assert_allclose(found, finish(layer, scores, value), atol=1e-5)


def test_turned_products_know_the_distance_alone():
    """The same pair of contents, elsewhere: the same product."""
    layer = attention(tricks.RotaryAttention)
    rng = np.random.default_rng(2)
    one, other = rng.normal(size=(2, 1, 1, HEADS, SIZE)).astype("f4")
    everywhere = (1, SIDE**2, HEADS, SIZE)
    query = ops.convert_to_numpy(layer._turn(np.broadcast_to(one, everywhere)))
    key = ops.convert_to_numpy(layer._turn(np.broadcast_to(other, everywhere)))
    products = np.einsum("bnhd,bmhd->bhnm", query, key)[0]
    by_distance = {}
    for n in range(SIDE**2):
        for m in range(SIDE**2):
            apart = (n // SIDE - m // SIDE, n % SIDE - m % SIDE)
            by_distance.setdefault(apart, []).append(products[:, n, m])
    for found in by_distance.values():
        np.testing.assert_allclose(found, found[:1] * len(found), atol=1e-4)
    middle = [found[0][0] for found in by_distance.values()]
    assert np.std(middle) > 0.1, "distances must differ"


def test_rows_and_columns_turn_different_values():
    angles = tricks.axial_angles(SIDE, SIZE)
    assert angles.shape == (SIDE**2, SIZE // 2)
    np.testing.assert_allclose(angles[1], [0, 0, 1, 0.1])
    np.testing.assert_allclose(angles[SIDE], [1, 0.1, 0, 0])


def test_pool_begins_as_the_mean_and_learns_shares(tokens):
    pool = tricks.SequencePool()
    found = ops.convert_to_numpy(pool(tokens))
    np.testing.assert_allclose(found, tokens.mean(1), atol=1e-5)
    pool.scores.assign(np.eye(16, 1) * 100)
    found = ops.convert_to_numpy(pool(tokens))
    first = tokens[np.arange(2), tokens[..., 0].argmax(1)]
    np.testing.assert_allclose(found, first, atol=1e-2)


def test_overlapping_patches_begin_as_a_dense_layer_of_their_size():
    config = PRESETS["small-sl"]
    keras.utils.set_random_seed(0)
    tokenizer = tricks.overlapping(config, "tokenizer")
    tokenizer.build((None, 32, 32, 3))
    kernel = tokenizer.layers[0].kernel
    dense = keras.layers.Dense(
        config.width, kernel_initializer=config.kernel_init
    )
    dense.build((None, np.prod(kernel.shape[:-1])))
    found, expected = (
        ops.convert_to_numpy(k).std() for k in (kernel, dense.kernel)
    )
    assert found == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("variant", tricks.MODELS)
def test_one_layer_is_exchanged(variant, recipe, data):
    base = recipe.build("vit", data, 0)
    model = tricks.build(recipe, variant, data, 0)
    assert model.name == variant
    assert model.output_shape == base.output_shape
    place = tricks.MODELS[variant][0]
    kept = {x.name for x in base.layers if not x.name.endswith(place)}
    exchanged = {x.name: type(x) for x in model.layers}
    for layer in base.layers:
        same = exchanged[layer.name] is type(layer)
        assert same == (layer.name in kept), layer.name
        if same and layer.weights:
            pairs = zip(
                layer.weights, model.get_layer(layer.name).weights, strict=True
            )
            assert all(a.shape == b.shape for a, b in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ALL)
def test_it_trains_under_muon(variant, recipe, data):
    model = tricks.build(recipe, variant, data, 0)
    before = [np.array(w) for w in model.trainable_variables]
    run = train(model, data, recipe, seed=0, report=None)
    assert run.record["variant"] == variant and run.record["config"] == {}
    assert np.isfinite(run.test["loss"])
    after = model.trainable_variables
    still = [
        w.path
        for old, w in zip(before, after, strict=True)
        if np.array_equal(old, np.array(w))
    ]
    assert not still


def test_muon_takes_matrices_of_blocks_only(recipe, data):
    """Neither a table of positions nor what stands for the tokenizer."""
    for variant in ALL:
        model = tricks.build(recipe, variant, data, 0)
        optimizer = make_optimizer(recipe, 10)
        optimizer.build(model.trainable_variables)
        adams = {
            w.path
            for w in model.trainable_variables
            if optimizer._should_use_adamw(w)
        }
        for weight in model.trainable_variables:
            matrix = "block" in weight.path and weight.path.endswith("kernel")
            assert (weight.path not in adams) == matrix, weight.path


@pytest.fixture
def ssat(recipe, data):
    """The model, and an order of patches for each of eight images."""
    model = tricks.build(recipe, "ssat", data, 0)
    rng = np.random.default_rng(3)
    order = np.stack([rng.permutation(model.count) for _ in range(8)])
    return model, order


@pytest.mark.parametrize("variant", experiments.TASKS)
def test_logits_are_the_vits(variant, recipe, data):
    """And a second loss is there in training alone."""
    images = data.x_train[:4].astype("float32")
    base = recipe.build("vit", data, 0)
    model = tricks.build(recipe, variant, data, 0)
    expected = ops.convert_to_numpy(base(images))
    found = ops.convert_to_numpy(model(images))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not model.losses
    model(images, training=True)
    (loss,) = model.losses
    assert ops.convert_to_numpy(loss) > 0


def test_hidden_patches_are_not_seen(ssat):
    model, order = ssat
    rng = np.random.default_rng(4)
    shape = (8, model.count, model.mask_token.shape[-1])
    tokens = rng.normal(size=shape).astype("f4")
    kept = order[:, : model.kept]
    assert kept.shape[1] == model.count / 4
    others = np.array(tokens)
    for image, places in enumerate(order):
        others[image, places[model.kept :]] *= -1
    first, second = (
        ops.convert_to_numpy(model.reconstruct(x, order))
        for x in (tokens, others)
    )
    np.testing.assert_allclose(first, second, atol=1e-5)
    others[0, order[0, 0]] *= -1
    third = ops.convert_to_numpy(model.reconstruct(others, order))
    changed = np.abs(third - second).max((1, 2)) > 1e-4
    assert changed.tolist() == [True] + [False] * 7


def test_a_place_keeps_its_token(ssat):
    """What comes out at a place hangs on where it was, not on the order."""
    model, order = ssat
    again = np.concatenate(
        [order[:, : model.kept][:, ::-1], order[:, model.kept :][:, ::-1]], 1
    )
    rng = np.random.default_rng(5)
    model.places.assign(rng.normal(size=model.places.shape))
    shape = (8, model.count, model.mask_token.shape[-1])
    tokens = rng.normal(size=shape).astype("f4")
    first, second = (
        ops.convert_to_numpy(model.reconstruct(tokens, x))
        for x in (order, again)
    )
    np.testing.assert_allclose(first, second, atol=1e-4)


def test_error_is_that_of_the_hidden_pixels(ssat, data):
    model, order = ssat
    images = data.x_train[:8].astype("float32") / 255
    size = model.patch_size
    side = images.shape[1] // size
    wanted = images.reshape(8, side, size, side, size, -1)
    wanted = wanted.swapaxes(2, 3).reshape(8, model.count, -1)
    errors = [
        np.mean(wanted[image, places[model.kept :]] ** 2)
        for image, places in enumerate(order)
    ]
    found = model.error(np.zeros_like(wanted), images, order)
    np.testing.assert_allclose(float(found), np.mean(errors), rtol=1e-5)


def test_a_guide_pulls_towards_its_logits():
    """Least where the soft shares are the same, whatever the labels."""
    wanted = np.array([[2.0, -1.0, 0.5]], "f4")
    guide = keras.Sequential([keras.Input((3,)), keras.layers.Identity()])

    def loss(logits):
        vit = keras.Sequential(
            [keras.Input((3,)), keras.layers.Rescaling(0.0, offset=logits)]
        )
        model = tasks.Guided(vit, guide)
        model(wanted, training=True)
        return float(ops.convert_to_numpy(model.losses[0]))

    softened = np.exp(wanted / 3) / np.exp(wanted / 3).sum()
    entropy = -(softened * np.log(softened)).sum()
    assert loss(wanted) == pytest.approx(entropy, abs=1e-5)
    assert loss(wanted + 1) == pytest.approx(entropy, abs=1e-5)
    for moved in np.eye(3, dtype="f4"):
        assert loss(wanted + moved) > entropy + 1e-3


@pytest.mark.slow
def test_a_guide_stays_as_it_is(recipe, data):
    model = tricks.build(recipe, "guide", data, 0)
    before = [np.array(w) for w in model.guide.weights]
    train(model, data, recipe, seed=0, report=None)
    for old, weight in zip(before, model.guide.weights, strict=True):
        np.testing.assert_array_equal(old, np.array(weight))


def test_a_guide_is_trained_before_its_pupil():
    runs = experiments.STUDIES["prices"]
    for run in experiments.GUIDES:
        assert run in experiments.KEPT
        assert runs.index(run) < runs.index(("ladder-8", "guide", run[2]))


def test_a_guide_has_the_weights_of_its_run(
    recipe, data, tmp_path, monkeypatch
):
    monkeypatch.setattr(experiments, "WEIGHTS", tmp_path)
    model = tricks.build(recipe, "guide", data, 0)
    with pytest.raises(SystemExit, match=r"price-adamw cnn 1 .*first"):
        experiments.read_guide(model.guide, 1)
    other = recipe.build("cnn", data, 7)
    save_weights(other, tmp_path / "price-adamw-cnn-seed1.safetensors")
    experiments.read_guide(model.guide, 1)
    images = data.x_train[:4].astype("float32")
    np.testing.assert_allclose(
        ops.convert_to_numpy(model.guide(images)),
        ops.convert_to_numpy(other(images)),
        atol=1e-2,
    )
