import itertools
from collections.abc import Iterator

import keras
import numpy as np
import pytest
import reference
from keras.ops import convert_to_numpy

from vitsd_helpers import LocalitySelfAttention, attention

WIDTH, HEADS, KEY_DIM = 12, 3, 5
PER, FORM = ("head", "layer"), ("divide", "multiply")


def lsa(**kwargs) -> LocalitySelfAttention:
    """A built layer with random weights and positive temperatures."""
    layer = LocalitySelfAttention(HEADS, KEY_DIM, **kwargs)
    layer.build((None, None, WIDTH))
    reference.randomise(layer)
    if layer.learnable_temperature:
        weight = layer.temperature_weight
        random = np.random.default_rng(1)
        weight.assign(random.uniform(0.5, 2, weight.shape))
    return layer


def expected(
    layer: LocalitySelfAttention, tokens: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What NumPy makes of a layer's weights: outputs and weights."""
    *temperature, qkv, qkv_bias, out, out_bias = layer.get_weights()
    tau = np.full(HEADS, KEY_DIM**0.5)
    if layer.learnable_temperature:
        (raw,) = temperature
        per_head = layer.temperature_per == "head"
        assert raw.shape == ((HEADS, 1) if per_head else (1, 1))
        divide = layer.temperature_form == "divide"
        tau = np.broadcast_to(raw[:, 0] if divide else 1 / raw[:, 0], HEADS)
    weights = qkv, qkv_bias, out, out_bias
    return reference.attention(tokens, weights, tau, layer.diagonal_mask)


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize(
    ("learnable", "per", "form"),
    [(False, "head", "divide")]
    + [(True, per, form) for per, form in itertools.product(PER, FORM)],
)
def test_both_paths_equal_numpy(
    mask: bool, learnable: bool, per: str, form: str
) -> None:
    tokens = reference.normal(2, 7, WIDTH)
    layer = lsa(
        diagonal_mask=mask,
        learnable_temperature=learnable,
        temperature_per=per,
        temperature_form=form,
    )
    outputs, weights = expected(layer, tokens)
    fused = layer(tokens)
    unfused, shares = layer(tokens, return_attention_scores=True)
    np.testing.assert_allclose(convert_to_numpy(fused), outputs, atol=1e-5)
    np.testing.assert_allclose(convert_to_numpy(unfused), outputs, atol=1e-5)
    np.testing.assert_allclose(convert_to_numpy(shares), weights, atol=1e-5)


@pytest.mark.parametrize("mask", [True, False])
def test_weights_are_shares(mask: bool) -> None:
    tokens = reference.normal(2, 7, WIDTH)
    layer = lsa(diagonal_mask=mask)
    _, weights = layer(tokens, return_attention_scores=True)
    weights = convert_to_numpy(weights)
    assert weights.shape == (2, HEADS, 7, 7)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    diagonal = np.diagonal(weights, axis1=2, axis2=3)
    assert (diagonal == 0).all() if mask else (diagonal > 0).all()


def test_plain_setting_equals_keras_attention() -> None:
    tokens = reference.normal(2, 7, WIDTH)
    layer = lsa(diagonal_mask=False, learnable_temperature=False)
    theirs = keras.layers.MultiHeadAttention(HEADS, KEY_DIM)
    theirs.build((None, 7, WIDTH), (None, 7, WIDTH))
    kernel, bias, out, out_bias = layer.get_weights()
    kernels = kernel.reshape(WIDTH, 3, HEADS, KEY_DIM)
    biases = bias.reshape(3, HEADS, KEY_DIM)
    copied = [w for i in range(3) for w in (kernels[:, i], biases[i])]
    out = out.reshape(HEADS, KEY_DIM, WIDTH)
    theirs.set_weights([*copied, out, out_bias])
    outputs, weights = theirs(tokens, tokens, return_attention_scores=True)
    ours, shares = layer(tokens, return_attention_scores=True)
    for one, other in [(layer(tokens), outputs), (ours, outputs)]:
        np.testing.assert_allclose(
            convert_to_numpy(one), convert_to_numpy(other), atol=1e-5
        )
    np.testing.assert_allclose(
        convert_to_numpy(shares), convert_to_numpy(weights), atol=1e-5
    )


@pytest.mark.parametrize("scores", [False, True])
def test_number_of_tokens_may_vary(scores: bool) -> None:
    inputs = keras.Input((None, WIDTH))
    layer = LocalitySelfAttention(HEADS, KEY_DIM)
    outputs = layer(inputs, return_attention_scores=scores)
    model = keras.Model(inputs, outputs)
    reference.randomise(layer)
    layer.temperature_weight.assign([[0.5], [1.0], [2.0]])
    for count in (2, 7, 4, 1):
        tokens = reference.normal(2, count, WIDTH)
        if count == 1:
            result, share = layer(tokens, return_attention_scores=True)
            assert (convert_to_numpy(share) == 1).all()
            answers = (convert_to_numpy(result), convert_to_numpy(share))
        else:
            answers = expected(layer, tokens)
        found = model.predict_on_batch(tokens)
        pairs = zip(found if scores else [found], answers, strict=False)
        for one, other in pairs:
            np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.filterwarnings("error:You are using a softmax")
def test_a_single_token_attends_to_itself(mask: bool, scores: bool) -> None:
    tokens = reference.normal(2, 1, WIDTH)
    layer = lsa(diagonal_mask=mask)
    _, qkv, qkv_bias, out, out_bias = layer.get_weights()
    value = np.split(tokens @ qkv + qkv_bias, 3, axis=-1)[2]
    result = layer(tokens, return_attention_scores=scores)
    if scores:
        result, weights = result
        assert (convert_to_numpy(weights) == np.ones((2, HEADS, 1, 1))).all()
    np.testing.assert_allclose(
        convert_to_numpy(result), value @ out + out_bias, atol=1e-5
    )


@pytest.mark.parametrize(
    ("per", "form", "dropout"),
    [
        ("head", "divide", 0.0),
        ("head", "multiply", 0.2),
        ("layer", "divide", 0.2),
        ("layer", "multiply", 0.0),
    ],
)
def test_training_moves_every_temperature(
    per: str, form: str, dropout: float
) -> None:
    keras.utils.set_random_seed(0)
    layer = LocalitySelfAttention(
        HEADS,
        KEY_DIM,
        temperature_per=per,
        temperature_form=form,
        dropout=dropout,
    )
    model = keras.Sequential([keras.Input((7, WIDTH)), layer])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    before = layer.temperature
    model.train_on_batch(
        3 * reference.normal(8, 7, WIDTH), reference.normal(8, 7, WIDTH)
    )
    assert (np.abs(layer.temperature - before) > 1e-6).all()
    if per == "layer":
        assert len(set(layer.temperature)) == 1


@pytest.mark.parametrize("form", FORM)
@pytest.mark.parametrize("per", PER)
def test_temperature_starts_at_the_root_of_key_dim(
    per: str, form: str
) -> None:
    layer = LocalitySelfAttention(
        HEADS, KEY_DIM, temperature_per=per, temperature_form=form
    )
    layer.build((None, None, WIDTH))
    np.testing.assert_allclose(
        layer.temperature, np.full(HEADS, KEY_DIM**0.5), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("kwargs", "raw", "tau"),
    [
        ({}, [[1], [2], [4]], [1, 2, 4]),
        ({"temperature_form": "multiply"}, [[1], [2], [4]], [1, 0.5, 0.25]),
        ({"temperature_per": "layer"}, [[2]], [2, 2, 2]),
        ({"learnable_temperature": False}, None, [KEY_DIM**0.5] * 3),
    ],
)
def test_temperature_is_tau(
    kwargs: dict, raw: list | None, tau: list[float]
) -> None:
    layer = lsa(**kwargs)
    if raw:
        layer.temperature_weight.assign(raw)
    assert isinstance(layer.temperature, np.ndarray)
    np.testing.assert_allclose(layer.temperature, tau, rtol=1e-6)


def test_switched_off_parts_have_no_weights() -> None:
    plain = lsa(learnable_temperature=False, use_bias=False)
    shapes = [w.shape for w in plain.get_weights()]
    inner = HEADS * KEY_DIM
    assert shapes == [(WIDTH, 3 * inner), (inner, WIDTH), (WIDTH,)]


def test_dropout_acts_only_in_training() -> None:
    tokens = reference.normal(2, 7, WIDTH)
    without, layer = lsa(), lsa(dropout=0.5, seed=3)
    still = convert_to_numpy(without(tokens, training=True))
    for result in (
        layer(tokens),
        layer(tokens, training=False),
        layer(tokens, return_attention_scores=True)[0],
    ):
        np.testing.assert_allclose(convert_to_numpy(result), still, atol=1e-5)
    one, other = (layer(tokens, training=True) for _ in range(2))
    assert np.abs(convert_to_numpy(one) - still).max() > 1e-2
    assert np.abs(convert_to_numpy(one) - convert_to_numpy(other)).max() > 1e-2


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_kernel_is_given_a_key_for_every_query(
    count: int, monkeypatch
) -> None:
    """What it makes of a query that may look nowhere differs by version.

    Today Keras gives torch a large negative number for False, and a single
    token still comes out; torch itself makes zeros of it.
    """
    masks = []
    operation = keras.ops.dot_product_attention

    def seen(*args, mask=None, **kwargs):
        masks.append(convert_to_numpy(mask))
        return operation(*args, mask=mask, **kwargs)

    monkeypatch.setattr(keras.ops, "dot_product_attention", seen)
    monkeypatch.setattr(attention, "_fused_kernel", lambda *_: True)
    lsa()(reference.normal(2, count, WIDTH))
    (mask,) = masks
    assert mask.shape[-2:] == (count, count)
    assert mask.any(-1).all()
    assert count == 1 or not np.diagonal(mask, axis1=-2, axis2=-1).any()


def test_dropout_keeps_the_mean() -> None:
    tokens = np.repeat(reference.normal(1, 7, WIDTH), 1000, axis=0)
    layer = lsa(dropout=0.5, seed=3)
    mean = convert_to_numpy(layer(tokens, training=True)).mean(0)
    still = convert_to_numpy(layer(tokens[:1]))[0]
    np.testing.assert_allclose(mean, still, atol=0.1)


@pytest.fixture(params=["mixed_bfloat16", "mixed_float16"])
def policy(request: pytest.FixtureRequest) -> Iterator[str]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("count", [1, 7])
def test_half_precision_is_finite(policy: str, count: int) -> None:
    tokens = 20 * reference.normal(2, count, WIDTH)
    layer = lsa()
    result, weights = layer(tokens, return_attention_scores=True)
    for array in (result, weights, layer(tokens)):
        dtype = keras.backend.standardize_dtype(array.dtype)
        assert dtype == policy.removeprefix("mixed_")
        array = convert_to_numpy(keras.ops.cast(array, "float32"))
        assert np.isfinite(array).all()
    if count > 1:
        weights = convert_to_numpy(keras.ops.cast(weights, "float32"))
        assert (np.diagonal(weights, axis1=2, axis2=3) == 0).all()


@pytest.mark.parametrize(
    ("dtype", "count", "fused"),
    [
        ("float32", 7, True),
        ("mixed_bfloat16", 7, False),
        ("mixed_bfloat16", 191, False),
        ("mixed_bfloat16", 192, True),
    ],
)
@pytest.mark.skipif(
    keras.backend.backend() != "torch"
    or str(keras.Variable(0.0).value.device) != "cpu",
    reason="elsewhere one kernel is there always or never",
)
def test_torch_on_a_cpu_takes_what_is_faster(
    dtype: str, count: int, fused: bool, monkeypatch
) -> None:
    calls = []
    operation = keras.ops.dot_product_attention

    def counted(*args, **kwargs):
        calls.append(args)
        return operation(*args, **kwargs)

    monkeypatch.setattr(keras.ops, "dot_product_attention", counted)
    layer = lsa(dtype=dtype)
    tokens = reference.normal(2, count, WIDTH)
    found = convert_to_numpy(keras.ops.cast(layer(tokens), "float32"))
    assert len(calls) == fused
    outputs, _ = layer(tokens, return_attention_scores=True)
    outputs = convert_to_numpy(keras.ops.cast(outputs, "float32"))
    tolerance = 1e-5 if dtype == "float32" else 0.05
    np.testing.assert_allclose(found, outputs, atol=tolerance)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_parts_follow_the_layers_own_dtype(dropout: float) -> None:
    layer = LocalitySelfAttention(
        HEADS, KEY_DIM, dropout=dropout, dtype="mixed_bfloat16"
    )
    result = layer(reference.normal(2, 7, WIDTH), training=True)
    assert keras.backend.standardize_dtype(result.dtype) == "bfloat16"


def test_output_shapes_are_known_before_any_data() -> None:
    layer = LocalitySelfAttention(HEADS, KEY_DIM)
    outputs, weights = layer(
        keras.Input((7, WIDTH)), return_attention_scores=True
    )
    assert outputs.shape == (None, 7, WIDTH)
    assert weights.shape == (None, HEADS, 7, 7)


def test_config_keeps_every_setting() -> None:
    settings = {
        "num_heads": HEADS,
        "key_dim": KEY_DIM,
        "diagonal_mask": False,
        "learnable_temperature": False,
        "temperature_per": "layer",
        "temperature_form": "multiply",
        "use_bias": False,
        "dropout": 0.25,
        "kernel_initializer": "he_normal",
        "seed": 7,
    }
    reference.check_config(LocalitySelfAttention, settings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_heads": 0}, "num_heads=0 "),
        ({"key_dim": 0}, "key_dim=0 "),
        ({"dropout": -0.1}, "dropout=-0.1 "),
        ({"dropout": 1.0}, "dropout=1.0 "),
        ({"temperature_per": "token"}, "temperature_per='token' .*'layer'"),
        ({"temperature_form": "add"}, "temperature_form='add' .*'multiply'"),
    ],
)
def test_a_bad_argument_is_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LocalitySelfAttention(**{"num_heads": 2, "key_dim": 4} | arguments)


@pytest.mark.parametrize("shape", [(2, 12), (2, 3, 4, 12)])
def test_tokens_of_another_rank_are_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=str(shape).strip("()")):
        LocalitySelfAttention(2, 4)(np.zeros(shape))
