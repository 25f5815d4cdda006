"""Patch dropout: what is kept, and when."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops
from test_train import Stop, data, fit, quiet, stop_after, tiny, weights

from vitsd_helpers import PRESETS, build_vit, load_data
from vitsd_helpers.training.patch_dropout import PatchDropout

__all__ = ["data"]  # a fixture
ON_JAX = keras.backend.backend() == "jax"


def numbered(images: int, count: int) -> np.ndarray:
    """Tokens (images, count, 2) that say which image and place they are of."""
    image, place = np.indices((images, count), "float32")
    return np.stack([image, place], -1)


def flat():
    """A recipe that drops tokens of a model that needs them all."""
    recipe = tiny(keep_tokens=0.5, keep_until=0.5)
    model = dataclasses.replace(recipe.model, pooling="flatten")
    return dataclasses.replace(recipe, model=model)


def dropped(layer, tokens) -> np.ndarray:
    return ops.convert_to_numpy(layer(tokens, training=True))


@pytest.mark.parametrize("class_token", [False, True])
@pytest.mark.parametrize(("keep", "kept"), [(0.75, 12), (0.3, 5), (0.01, 1)])
def test_each_image_keeps_tokens_of_its_own(class_token, keep, kept):
    """Exact copies, none twice, the class token first."""
    layer = PatchDropout(keep, class_token=class_token, seed=0)
    tokens = numbered(50, 16 + class_token)
    found = dropped(layer, tokens)
    assert found.shape == (50, kept + class_token, 2)
    assert (found[..., 0] == np.arange(50)[:, None]).all()
    places = found[..., 1]
    assert all(len(set(row)) == kept + class_token for row in places)
    if class_token:
        assert (places[:, 0] == 0).all()
    assert len({tuple(sorted(row)) for row in places}) > 10
    assert not np.array_equal(found, dropped(layer, tokens))


def test_all_tokens_are_equally_likely():
    layer = PatchDropout(0.25, seed=1)
    places = dropped(layer, numbered(4000, 16))[..., 1].astype(int)
    counts = np.bincount(places.ravel(), minlength=16)
    # 1000 each; the standard deviation is below 28.
    assert np.abs(counts - 1000).max() < 5 * 28


def test_nothing_is_dropped_outside_training_or_while_inactive():
    layer, tokens = PatchDropout(0.5, seed=0), numbered(3, 16)
    np.testing.assert_array_equal(layer(tokens), tokens)
    np.testing.assert_array_equal(layer(tokens, training=False), tokens)
    layer.active = False
    np.testing.assert_array_equal(layer(tokens, training=True), tokens)


def test_model_is_the_same_but_in_training():
    config = PRESETS["small-sl"]
    plain = build_vit(config)
    dropping = build_vit(config, patch_dropout=PatchDropout(0.5, seed=0))
    dropping.set_weights(plain.get_weights())
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3))
    images = images.astype("float32")
    one, other = (ops.convert_to_numpy(m(images)) for m in (plain, dropping))
    np.testing.assert_array_equal(one, other)
    trained = ops.convert_to_numpy(dropping(images, training=True))
    assert not np.allclose(one, trained, atol=1e-3)
    paths = [[v.path for v in m.weights] for m in (plain, dropping)]
    assert paths[0] == paths[1]


def test_layer_survives_its_configuration():
    layer = PatchDropout(0.3, class_token=True, seed=5)
    again = PatchDropout.from_config(layer.get_config())
    tokens = numbered(4, 17)
    np.testing.assert_array_equal(
        dropped(layer, tokens), dropped(again, tokens)
    )


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: PatchDropout(0.0), "keep=0.0 must be above 0"),
        (
            lambda: fit(flat(), "sl", load_data("digits")),
            "pooling 'mean' or 'token', or keep_tokens=1",
        ),
        (lambda: tiny(keep_tokens=0.5), "keep_until=0.0: .*give both"),
        (lambda: tiny(keep_until=0.5), r"keep_tokens=1.0 .*leave both out"),
        (lambda: tiny(keep_tokens=0.5, keep_until=2.0), "up to 1"),
        (
            lambda: tiny(keep_tokens=0.5, keep_until=0.1),
            "0.1 of 3 epochs is less than one",
        ),
    ],
)
def test_mistakes_name_the_remedy(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def half(**changes):
    """Four epochs; the first two on half of the tokens."""
    changes = {"epochs": 4, "keep_tokens": 0.5, "keep_until": 0.5} | changes
    return tiny(**changes)


@pytest.fixture
def seen(monkeypatch) -> list[int]:
    """How many tokens went on, for every function that was compiled."""
    counts = []
    call = PatchDropout.call

    def spy(self, tokens, training=False):
        outputs = call(self, tokens, training)
        if training:
            counts.append(outputs.shape[1])
        return outputs

    monkeypatch.setattr(PatchDropout, "call", spy)
    return counts


@pytest.mark.parametrize("scan", [False] + [True] * ON_JAX)
def test_tokens_are_switched_at_the_epoch(data, seen, scan):
    """Dropping is over, in what is compiled too, after two epochs."""
    at = {}

    def report(line):
        at[line.split("/")[0]] = sorted(set(seen))
        seen.clear()

    run = fit(half(), "sl", data, scan=scan, report=report)
    eager = keras.backend.backend() == "torch"
    assert at == {
        "1": [32],
        "2": [32] * eager,
        "3": [64],
        "4": [64] * eager,
    }
    # The steps that compile, one in each part, are not in the rate.
    assert run.record["images"] == 4 * 96 - (0 if scan else 2 * 32)
    assert run.record["recipe"]["keep_tokens"] == 0.5


@pytest.mark.parametrize(
    "epochs", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 3))]
)
def test_resumes_bit_for_bit_across_the_switch(data, tmp_path, epochs):
    whole = fit(half(), "sl", data, report=quiet)
    with pytest.raises(Stop):
        fit(half(), "sl", data, folder=tmp_path, report=stop_after(epochs))
    lines = []
    rest = fit(half(), "sl", data, folder=tmp_path, report=lines.append)
    assert len(lines) == 4 - epochs
    assert rest.record["epochs"] == whole.record["epochs"]
    for one, other in zip(weights(whole), weights(rest), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(not ON_JAX, reason="scanning needs JAX")
def test_scanned_epochs_have_the_losses_of_fit(data):
    plain, scanned = (
        fit(half(), "sl", data, scan=scan, report=quiet)
        for scan in (False, True)
    )
    for name, values in plain.record["epochs"].items():
        found = scanned.record["epochs"][name]
        np.testing.assert_allclose(found, values, rtol=1e-5)


def test_class_token_of_a_trained_model(data, seen):
    recipe = half(epochs=2)
    model = dataclasses.replace(recipe.model, pooling="token")
    recipe = dataclasses.replace(recipe, model=model)
    fit(recipe, "sl", data, report=quiet)
    assert set(seen) == {33, 65}


@pytest.mark.slow
def test_compiled_by_xla_and_in_half_precision(data):
    recipe = half(jit_compile=True, precision="mixed_bfloat16")
    record = fit(recipe, "sl", data, report=quiet).record
    assert record["finished"] and np.isfinite(record["test"]["loss"])
