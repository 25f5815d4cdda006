import keras
import numpy as np
import pytest
import reference
from keras.ops import convert_to_numpy

from vitsd_helpers import patchify, shift_images, unpatchify
from vitsd_helpers.patches import ALL_DIRECTIONS, CARDINAL, DIAGONAL, OFFSETS

# Batch, height, width, channels, and side of a patch.
SHAPES = [
    (2, 12, 18, 3, 6),
    (1, 8, 8, 1, 4),
    (3, 10, 4, 5, 2),
    (2, 5, 7, 2, 1),
    (2, 9, 9, 3, 9),
]


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("shape", SHAPES)
def test_patchify_cuts_row_by_row(shape: tuple, dtype: str) -> None:
    images = reference.pixels(*shape[:4], dtype=dtype)
    result = convert_to_numpy(patchify(images, shape[4]))
    assert result.dtype == dtype
    np.testing.assert_array_equal(
        result, reference.patches(images, shape[4]), strict=True
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_patchify_equals_extract_patches(shape: tuple) -> None:
    images = reference.pixels(*shape[:4])
    result = convert_to_numpy(patchify(images, shape[4]))
    expected = keras.ops.image.extract_patches(images, shape[4])
    np.testing.assert_array_equal(
        result, convert_to_numpy(expected).reshape(result.shape)
    )


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("shape", SHAPES)
def test_unpatchify_is_the_exact_inverse(shape: tuple, dtype: str) -> None:
    _, height, width, channels, size = shape
    images = reference.pixels(*shape[:4], dtype=dtype)
    patches = patchify(images, size)
    result = convert_to_numpy(unpatchify(patches, (height, width), channels))
    np.testing.assert_array_equal(result, images, strict=True)
    again = convert_to_numpy(patchify(result, size))
    np.testing.assert_array_equal(again, convert_to_numpy(patches))


def test_unpatchify_takes_one_number_for_a_square_image() -> None:
    images = reference.pixels(1, 6, 6, 3)
    result = unpatchify(patchify(images, 3), 6)
    np.testing.assert_array_equal(convert_to_numpy(result), images)


def test_patchify_takes_a_symbolic_batch() -> None:
    images = keras.Input((12, 18, 3))
    assert patchify(images, 6).shape == (None, 6, 108)
    assert shift_images(images, 3).shape == (None, 12, 18, 12)


def copies(
    images: np.ndarray, shift: int, directions: tuple[str, ...]
) -> list[np.ndarray]:
    """The shifted copies, one array for each direction."""
    stack = convert_to_numpy(shift_images(images, shift, directions))
    assert stack.dtype == images.dtype
    return np.split(stack, len(directions), axis=-1)


def crop_shift_pad(images: np.ndarray, half: int, mode: str) -> np.ndarray:
    """The Keras example's tokenizer, word for word but for the sizes."""
    crop_height, crop_width, shift_height, shift_width = {
        "left-up": (half, half, 0, 0),
        "left-down": (0, half, half, 0),
        "right-up": (half, 0, 0, half),
        "right-down": (0, 0, half, half),
    }[mode]
    height, width = images.shape[1:3]
    crop = keras.ops.image.crop_images(
        images,
        top_cropping=crop_height,
        left_cropping=crop_width,
        target_height=height - half,
        target_width=width - half,
    )
    pad = keras.ops.image.pad_images(
        crop,
        top_padding=shift_height,
        left_padding=shift_width,
        target_height=height,
        target_width=width,
    )
    return convert_to_numpy(pad)


@pytest.mark.parametrize("shift", [1, 3])
def test_shift_images_equals_the_keras_example(shift: int) -> None:
    images = reference.pixels(2, 12, 18, 3)
    modes = ("left-up", "left-down", "right-up", "right-down")
    assert modes == DIAGONAL
    result = convert_to_numpy(shift_images(images, shift))
    expected = [crop_shift_pad(images, shift, mode) for mode in modes]
    np.testing.assert_array_equal(result, np.concatenate(expected, axis=-1))


def test_shift_images_equals_the_authors_crops_by_the_opposite_name() -> None:
    s = 3
    images = reference.pixels(2, 12, 18, 3)
    padded = np.pad(images, ((0, 0), (s, s), (s, s), (0, 0)))
    near, far = slice(0, -2 * s), slice(2 * s, None)
    windows = {
        "left-up": padded[:, near, near],
        "right-up": padded[:, near, far],
        "left-down": padded[:, far, near],
        "right-down": padded[:, far, far],
    }
    opposite = {
        "left-up": "right-down",
        "right-up": "left-down",
        "left-down": "right-up",
        "right-down": "left-up",
    }
    directions = tuple(opposite[name] for name in windows)
    result = convert_to_numpy(shift_images(images, s, directions))
    np.testing.assert_array_equal(
        result, np.concatenate(list(windows.values()), axis=-1)
    )


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize(
    "directions", [CARDINAL, ALL_DIRECTIONS, ("up",), ("down", "left", "down")]
)
def test_shift_images_moves_the_content(
    directions: tuple[str, ...], dtype: str
) -> None:
    images = reference.pixels(2, 6, 8, 2, dtype=dtype)
    result = copies(images, 2, directions)
    for copy, direction in zip(result, directions, strict=True):
        down = 2 * (("down" in direction) - ("up" in direction))
        right = 2 * (("right" in direction) - ("left" in direction))
        np.testing.assert_array_equal(
            copy, reference.moved(images, down, right), err_msg=direction
        )


def test_shift_of_zero_copies() -> None:
    images = reference.pixels(1, 4, 6, 3)
    for copy in copies(images, 0, ALL_DIRECTIONS):
        np.testing.assert_array_equal(copy, images)


def test_shift_by_the_whole_image_leaves_zeros() -> None:
    images = reference.pixels(1, 6, 6, 3)
    for copy in copies(images, 6, ALL_DIRECTIONS):
        assert not copy.any()


def test_there_are_eight_different_directions() -> None:
    assert sorted(ALL_DIRECTIONS) == sorted(OFFSETS)
    assert len(set(OFFSETS.values())) == 8


@pytest.mark.parametrize(
    ("shape", "size", "message"),
    [
        ((1, 12, 10, 3), 6, "12 x 10 pixels .* patches of 6 x 6"),
        ((1, 10, 12, 3), 6, "10 x 12 pixels .* patches of 6 x 6"),
        ((12, 12, 3), 6, r"\(12, 12, 3\).*image\[None\]"),
        ((1, 12, 12, 3), 0, "patch_size=0 "),
    ],
)
def test_patchify_names_bad_input(
    shape: tuple[int, ...], size: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        patchify(np.zeros(shape), size)


@pytest.mark.parametrize(
    ("shape", "image_size", "message"),
    [
        ((4, 27), 6, r"\(4, 27\)"),
        ((1, 4, 27), 9, "4 patches of 27 values .* 9 x 9 image of 3 channels"),
        ((1, 4, 26), 6, "4 patches of 26 values .* 6 x 6 image"),
        ((1, 4, 27), (6, 7), "6 x 7 image"),
        ((1, 4, 27), (7, 6), "7 x 6 image"),
        ((1, 4, 0), 6, "4 patches of 0 values"),
    ],
)
def test_unpatchify_names_bad_input(
    shape: tuple[int, ...], image_size: int | tuple[int, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        unpatchify(np.zeros(shape), image_size)


@pytest.mark.parametrize(
    ("shape", "shift", "directions", "message"),
    [
        ((6, 8, 3), 1, DIAGONAL, r"\(6, 8, 3\)"),
        ((1, 6, 8, 3), -1, DIAGONAL, "shift=-1 .* 6 pixels"),
        ((1, 6, 8, 3), 7, DIAGONAL, "shift=7 .* 6 pixels"),
        ((1, 6, 8, 3), 1, ("left", "north"), "'north': choose from left-up"),
        ((1, 6, 8, 3), 1, "left", r"directions='left' .*\('left',\)"),
        ((1, 6, 8, 3), 1, (), "directions is empty"),
    ],
)
def test_shift_images_names_bad_input(
    shape: tuple[int, ...],
    shift: int,
    directions: tuple[str, ...],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        shift_images(np.zeros(shape), shift, directions)
