import keras
import numpy as np
import pytest
import reference
from keras.ops import convert_to_numpy

from vitsd_helpers import PatchEncoder, ShiftedPatchTokenization
from vitsd_helpers.patches import ALL_DIRECTIONS, CARDINAL, DIAGONAL, OFFSETS


def spt(
    *args, shape: tuple[int, ...] = (None, 12, 18, 3), **kwargs
) -> ShiftedPatchTokenization:
    """A built tokenizer with random weights."""
    layer = ShiftedPatchTokenization(*args, **kwargs)
    layer.build(shape)
    reference.randomise(layer)
    return layer


@pytest.mark.parametrize("directions", [DIAGONAL, CARDINAL, ("up",)])
@pytest.mark.parametrize("ratio", [0, 0.5, 1])
def test_spt_equals_numpy(directions: tuple[str, ...], ratio: float) -> None:
    images = reference.normal(2, 12, 18, 3)
    layer = spt(6, 10, directions=directions, shift_ratio=ratio, epsilon=1e-3)
    shift = round(6 * ratio)
    shifted = [
        reference.moved(images, down * shift, right * shift)
        for down, right in map(OFFSETS.get, directions)
    ]
    stack = np.concatenate([images, *shifted], axis=-1)
    kernel, bias, gamma, beta = layer.get_weights()
    normed = reference.layer_norm(
        reference.patches(stack, 6), gamma, beta, epsilon=1e-3
    )
    np.testing.assert_allclose(
        convert_to_numpy(layer(images)), normed @ kernel + bias, atol=1e-4
    )


def test_without_directions_it_is_the_vanilla_tokenizer() -> None:
    images = reference.normal(2, 12, 18, 3)
    layer = spt(6, 10, directions=())
    kernel, bias = layer.get_weights()
    np.testing.assert_allclose(
        convert_to_numpy(layer(images)),
        reference.patches(images, 6) @ kernel + bias,
        atol=1e-4,
    )


def test_norm_is_to_be_had_without_shifts_and_shifts_without_norm() -> None:
    images = reference.normal(2, 12, 18, 3)
    layer = spt(6, 10, directions=(), norm=True, epsilon=1e-3)
    kernel, bias, gamma, beta = layer.get_weights()
    patches = reference.patches(images, 6)
    normed = reference.layer_norm(patches, gamma, beta, epsilon=1e-3)
    np.testing.assert_allclose(
        convert_to_numpy(layer(images)), normed @ kernel + bias, atol=1e-4
    )
    layer = spt(6, 10, directions=("up",), norm=False)
    stack = [images, reference.moved(images, -3, 0)]
    kernel, bias = layer.get_weights()
    patches = reference.patches(np.concatenate(stack, axis=-1), 6)
    np.testing.assert_allclose(
        convert_to_numpy(layer(images)), patches @ kernel + bias, atol=1e-4
    )


@pytest.mark.parametrize(
    ("patch_size", "ratio", "shift"),
    [(5, 0.5, 2), (1, 0.5, 0), (6, 0.5, 3), (6, 0, 0), (6, 1, 6)],
)
def test_shift_in_pixels_is_rounded_down(
    patch_size: int, ratio: float, shift: int
) -> None:
    layer = ShiftedPatchTokenization(patch_size, 4, shift_ratio=ratio)
    assert layer.shift == shift


def test_odd_patch_shifts_by_the_floor_of_its_half() -> None:
    images = reference.normal(1, 10, 10, 1)
    layer = spt(5, 4, directions=("left",), shape=(None, 10, 10, 1))
    stack = np.concatenate([images, reference.moved(images, 0, -2)], axis=-1)
    kernel, bias, gamma, beta = layer.get_weights()
    normed = reference.layer_norm(
        reference.patches(stack, 5), gamma, beta, epsilon=1e-6
    )
    np.testing.assert_allclose(
        convert_to_numpy(layer(images)), normed @ kernel + bias, atol=1e-4
    )


@pytest.mark.parametrize(
    ("directions", "norm"),
    [((), []), (DIAGONAL, [(540,)] * 2), (ALL_DIRECTIONS, [(972,)] * 2)],
)
def test_spt_weight_shapes(
    directions: tuple[str, ...], norm: list[tuple[int]]
) -> None:
    layer = spt(6, 10, directions=directions)
    values = 6 * 6 * 3 * (1 + len(directions))
    shapes = [w.shape for w in layer.get_weights()]
    assert shapes == [(values, 10), (10,), *norm]


def test_spt_output_shape_is_known_before_any_data() -> None:
    layer = ShiftedPatchTokenization(6, 10)
    assert layer(keras.Input((12, 18, 3))).shape == (None, 6, 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patch_size": 0}, "patch_size=0 "),
        ({"width": 0}, "width=0 "),
        ({"shift_ratio": -0.1}, "shift_ratio=-0.1 "),
        ({"shift_ratio": 1.1}, "shift_ratio=1.1 "),
        ({"directions": ("north",)}, "'north': choose from"),
        ({"directions": "left"}, "directions='left' is one string"),
    ],
)
def test_spt_names_a_bad_argument(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ShiftedPatchTokenization(**{"patch_size": 6, "width": 8} | arguments)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 12, 13, 3), "12 x 13 pixels .* patches of 6 x 6"),
        ((12, 12, 3), r"\(12, 12, 3\)"),
    ],
)
def test_spt_names_bad_images(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ShiftedPatchTokenization(6, 8)(np.zeros(shape))


def test_encoder_adds_a_position_to_every_token() -> None:
    tokens = reference.normal(3, 5, 4)
    layer = PatchEncoder()
    result = convert_to_numpy(layer(tokens))
    (position,) = layer.get_weights()
    assert position.shape == (5, 4)
    assert position.std() > 0
    np.testing.assert_allclose(result, tokens + position, atol=1e-6)


def test_encoder_puts_the_class_token_first() -> None:
    tokens = reference.normal(3, 5, 4)
    layer = PatchEncoder(class_token=True)
    result = convert_to_numpy(layer(tokens))
    token, position = layer.get_weights()
    assert (token.shape, position.shape) == ((1, 1, 4), (6, 4))
    first = np.broadcast_to(token, (3, 1, 4))
    np.testing.assert_allclose(
        result, np.concatenate([first, tokens], axis=1) + position, atol=1e-6
    )


@pytest.mark.parametrize(("class_token", "count"), [(False, 5), (True, 6)])
def test_encoder_output_shape(class_token: bool, count: int) -> None:
    layer = PatchEncoder(class_token=class_token)
    assert layer(keras.Input((5, 4))).shape == (None, count, 4)


def test_encoder_starts_from_the_given_initializer() -> None:
    start = keras.initializers.RandomNormal(stddev=3.0, seed=1)
    layer = PatchEncoder(class_token=True, position_initializer=start)
    layer.build((None, 63, 64))
    token, position = layer.get_weights()
    assert position.std() == pytest.approx(3.0, rel=0.1)
    assert token.std() == pytest.approx(3.0, rel=0.4)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((None, 4), r"\(None, 4\)"), ((None, None, 4), r"\(None, None, 4\)")],
)
def test_encoder_names_bad_tokens(shape: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PatchEncoder().build(shape)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (
            ShiftedPatchTokenization,
            {
                "patch_size": 6,
                "width": 10,
                "directions": ["left", "up"],
                "shift_ratio": 0.25,
                "norm": False,
                "epsilon": 1e-3,
                "kernel_initializer": "he_normal",
            },
        ),
        (PatchEncoder, {"class_token": True, "position_initializer": "ones"}),
    ],
)
def test_config_keeps_every_setting(kind: type, settings: dict) -> None:
    reference.check_config(kind, settings)


def test_parts_follow_the_layers_own_dtype() -> None:
    layer = ShiftedPatchTokenization(6, 10, dtype="mixed_bfloat16")
    result = layer(reference.pixels(1, 12, 18, 3))
    assert keras.backend.standardize_dtype(result.dtype) == "bfloat16"
