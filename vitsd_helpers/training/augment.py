"""Augment training images, each in its own way, inside the training step.

Shapes: B images of H x W pixels and C channels, of any dtype on the scale
0..255; they come back as float32 on that scale. H, W and C must be known
beforehand, B need not be.

`seed` is a `keras.random.SeedGenerator`: every call moves it on, so that the
next call draws anew. A layer or model that keeps one as an attribute may
call these functions in its compiled step. A whole number is for experiments:
it draws the same numbers in every call and in every function. TensorFlow
draws other numbers from the same seed once XLA compiles the step.

Train on `flip`, `crop`, `rotate_zoom`, `rand_augment`, `random_erasing` and
`mix`, in this order.

Keras has such layers, and they are not used. `RandAugment` draws one row of
operations for a whole batch. `ops.image.affine_transform`, by which it and
`RandomRotation` move pixels, does not compile on TensorFlow (there is no XLA
kernel for it) and loops over the images on torch.
"""

import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from ..patches import check_images
from .devices import parts

#: What `rand_augment` draws from: RandAugment's fourteen.
OPERATIONS = (
    "identity",
    "autocontrast",
    "equalize",
    "rotate",
    "solarize",
    "color",
    "posterize",
    "contrast",
    "brightness",
    "sharpness",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
)
#: Largest rotation, in degrees.
ROTATION = 30
#: Largest shear, in pixels of shift per pixel.
SHEAR = 0.3
#: Largest translation, as a part of the side.
TRANSLATION = 0.45
#: Red, green and blue in the brightness of a pixel (ITU-R 601, as PIL).
LUMA = (0.299, 0.587, 0.114)


def flip(images, seed):
    """Mirror images left to right, each with probability 0.5.

    Args:
        images: (B, H, W, C).
        seed: see the module.

    Returns:
        (B, H, W, C), exact copies of pixels.

    Raises:
        ValueError: if `images` is not 4-D or `seed` is None.
    """
    images = _as_floats(images)
    (draw,) = _columns(_draw(images, seed, 1))
    return _once(ops.where(draw < 0.5, ops.flip(images, axis=2), images))


def crop(images, seed, padding: int = 4):
    """Pad with black and crop back to size at a random place in each image.

    Args:
        images: (B, H, W, C).
        seed: see the module.
        padding: pixels on each of the four sides; the content moves by up
            to as many, every one of the (2 * padding + 1) ** 2 offsets
            being as likely.

    Returns:
        (B, H, W, C), exact copies of pixels.

    Raises:
        ValueError: if `images` is not 4-D, `seed` is None or `padding` is
            negative.
    """
    images = _as_floats(images)
    if padding < 0:
        raise ValueError(f"padding={padding} must be at least 0 pixels.")
    height, width = images.shape[1:3]
    sides = (padding, padding)
    padded = ops.pad(images, ((0, 0), sides, sides, (0, 0)))
    down, right = _columns(_draw(images, seed, 2))
    rows, columns = _grid(height, width, "int32")
    rows = rows + _whole(down, 2 * padding + 1)
    columns = columns + _whole(right, 2 * padding + 1)
    return _once(_pick(padded, rows, columns))


def random_erasing(
    images,
    seed,
    rate: float = 0.25,
    area: tuple[float, float] = (0.02, 0.33),
    aspect: tuple[float, float] = (0.3, 3.3),
):
    """Random erasing (Zhong et al. 2020): noise in one rectangle.

    The noise is uniform on 0..255, one number for each value of a pixel,
    which the paper found best (RE-R). The authors of SPT and LSA fill with
    the data set's mean, and erase up to 0.4 of the area. Where the paper
    draws again until the rectangle fits, this draws the aspect from those
    that fit.

    Args:
        images: (B, H, W, C).
        seed: see the module.
        rate: probability that an image is erased.
        area: least and greatest part of the image, uniform between; the
            sides are then rounded to whole pixels.
        aspect: least and greatest height over width, uniform between on a
            logarithmic scale.

    Returns:
        (B, H, W, C).

    Raises:
        ValueError: if `images` is not 4-D, `seed` is None, `rate` is not a
            probability, `area` or `aspect` is no range, or the greatest
            area does not fit into the image at any aspect.
    """
    images = _as_floats(images)
    _check_probability("rate", rate)
    height, width, channels = images.shape[1:]
    if not 0 < area[0] <= area[1] <= 1:
        raise ValueError(
            f"area={tuple(area)} must be two parts of the image, the smaller "
            "first, above 0 and up to 1."
        )
    if not 0 < aspect[0] <= aspect[1]:
        raise ValueError(
            f"aspect={tuple(aspect)} must be two ratios of height to width, "
            "the smaller first, above 0."
        )
    if (
        area[1] * height / width > aspect[1]
        or aspect[0] > height / width / area[1]
    ):
        raise ValueError(
            f"a rectangle of area={area[1]} and aspect={tuple(aspect)} does "
            f"not fit into {height} x {width} pixels: lower the area or "
            "widen the aspect."
        )
    draws = _draw(images, seed, 5 + height * width * channels)
    chosen, part, shape, down, right = _columns(draws[:, :5])
    part = area[0] + (area[1] - area[0]) * part
    low = ops.maximum(aspect[0], part * height / width)
    high = ops.minimum(aspect[1], height / width / part)
    ratio = ops.exp(ops.log(low) + (ops.log(high) - ops.log(low)) * shape)
    pixels = part * height * width
    tall = _side(ops.sqrt(pixels * ratio), height)
    wide = _side(ops.sqrt(pixels / ratio), width)
    top = _whole(down, height + 1 - tall)
    left = _whole(right, width + 1 - wide)
    rows, columns = _grid(height, width, "int32")
    inside = (
        (rows >= top)
        & (rows < top + tall)
        & (columns >= left)
        & (columns < left + wide)
    )
    noise = ops.reshape(draws[:, 5:], (-1, height, width, channels)) * 255
    return _once(ops.where((chosen < rate) & inside, noise, images))


def mix(images, targets, seed, rate: float = 0.5, cutmix: float = 0.5):
    """Mix images and their targets: CutMix or MixUp, drawn for each image.

    CutMix (Yun et al. 2019) pastes a box of a partner, MixUp (Zhang et al.
    2018) blends with all of it, both with alpha = 1: the partner's share is
    uniform. The partner is the image before in the batch, whose order must
    be random. A box that sticks out is clipped, and the targets are weighed
    by the pixels that remain. The authors of SPT and LSA decide for whole
    batches.

    Args:
        images: (B, H, W, C).
        targets: (B, classes), such as one-hot floats.
        seed: see the module.
        rate: probability that an image is mixed.
        cutmix: the part of the mixed images that CutMix mixes; the rest is
            MixUp's.

    Returns:
        The pair of images (B, H, W, C) and float32 targets (B, classes).

    Raises:
        ValueError: if `images` is not 4-D, `targets` is not 2-D or counts
            other than the images, `seed` is None, or `rate` or `cutmix` is
            not a probability.
    """
    images = _as_floats(images)
    targets = ops.cast(targets, "float32")
    if len(targets.shape) != 2:
        raise ValueError(
            "targets must have shape (batch, classes), got "
            f"{tuple(targets.shape)}: turn labels into floats by "
            "keras.ops.one_hot."
        )
    counts = images.shape[0], targets.shape[0]
    if None not in counts and counts[0] != counts[1]:
        raise ValueError(f"{counts[0]} images have {counts[1]} targets.")
    _check_probability("rate", rate)
    _check_probability("cutmix", cutmix)
    chosen, method, part, y, x = _columns(_draw(images, seed, 5))
    height, width = images.shape[1:3]
    rows, columns = _grid(height, width, "float32")
    half = ops.sqrt(part) / 2
    box = (ops.abs(rows + 0.5 - y * height) < half * height) & (
        ops.abs(columns + 0.5 - x * width) < half * width
    )
    share = ops.where(method < cutmix, ops.cast(box, "float32"), part)
    share = ops.where(chosen < rate, share, 0.0)
    weight = ops.mean(share, axis=(1, 2))
    return tuple(
        _once((1 - w) * values + w * ops.roll(values, 1, axis=0))
        for values, w in ((images, share), (targets, weight))
    )


def rand_augment(
    images,
    seed,
    num_ops: int = 2,
    magnitude: float = 9,
    operations: Sequence[str] = OPERATIONS,
):
    """RandAugment (Cubuk et al. 2020): random operations in a row.

    In every round each image draws one operation. Strength grows with the
    magnitude. At 10 it is a rotation by 30 degrees, a shear by 0.3, a
    translation by 0.45 of a side, and for color, contrast, brightness and
    sharpness a factor of 0.1 or 1.9, each to either side with probability
    0.5; solarize inverts every pixel, and posterize keeps 4 bits.
    Autocontrast and equalize have no strength.

    These are the ranges that timm calls increasing, but for posterize, of
    which timm keeps 4 bits at 0 and none at 10. torchvision's are nearly
    the same on a scale of 30, so its 9 is a 3 here. Rotations and shears
    are about the centre of the image, where the published code shears about
    a corner. All motion is bilinear and leaves mid grey, 128, where nothing
    comes in.

    Args:
        images: (B, H, W, C), C being 1 or 3.
        seed: see the module.
        num_ops: number of rounds.
        magnitude: strength, 0 to 10.
        operations: names from `OPERATIONS` to draw from.

    Returns:
        (B, H, W, C), within 0..255 if the images are.

    Raises:
        ValueError: if `images` is not 4-D or has other than 1 or 3
            channels, `seed` is None, `num_ops` is negative, `magnitude` is
            outside 0..10, or an operation is unknown or missing.
    """
    images = _as_floats(images)
    if num_ops < 0:
        raise ValueError(f"num_ops={num_ops} must be at least 0 rounds.")
    if not 0 <= magnitude <= 10:
        raise ValueError(
            f"magnitude={magnitude} is outside 0..10: 10 is full strength."
        )
    _check_operations(operations)
    _check_channels(images)
    if not num_ops:
        return images
    height, width = images.shape[1:3]
    strength = magnitude / 10
    matrices = np.array(
        [
            _matrix(name, sign * strength, height, width)
            for name in operations
            for sign in (-1, 1)
        ],
        "float32",
    )
    moves = bool(np.ptp(matrices, axis=0).any())
    draws = _columns(_draw(images, seed, 2 * num_ops))
    for draw, side in zip(draws[::2], draws[1::2], strict=True):
        index, sign = _whole(draw, len(operations)), _whole(side, 2)
        factor = 1 + 0.9 * strength * ops.cast(2 * sign - 1, "float32")
        result = images
        for number, name in enumerate(operations):
            if name in _PHOTOMETRIC:
                changed = _PHOTOMETRIC[name](images, strength, factor)
                result = ops.where(index == number, changed, result)
        images = _once(result)
        if moves:
            which = ops.reshape(2 * index + sign, (-1,))
            images = _once(warp(images, ops.take(matrices, which, axis=0)))
    return images


def rotate_zoom(images, seed, degrees: float = 7.2, zoom: float = 0.2):
    """Rotate and zoom each image by random amounts, mirrored at the edges.

    The defaults are the Keras example's: an angle up to 0.02 of a turn
    either way, height and width each scaled by up to a fifth either way.

    Args:
        images: (B, H, W, C).
        seed: see the module.
        degrees: largest angle.
        zoom: largest part by which height or width grows or shrinks.

    Returns:
        (B, H, W, C).

    Raises:
        ValueError: if `images` is not 4-D, `seed` is None, or `zoom` is
            outside 0 to below 1.
    """
    images = _as_floats(images)
    if not 0 <= zoom < 1:
        raise ValueError(f"zoom={zoom} must be from 0 to below 1.")
    draws = 2 * _draw(images, seed, 3) - 1
    angle = draws[:, 0] * math.radians(degrees)
    wide, high = 1 + zoom * draws[:, 1], 1 + zoom * draws[:, 2]
    sine, cosine, none = ops.sin(angle), ops.cos(angle), ops.zeros_like(angle)
    matrices = ops.stack(
        [wide * cosine, -high * sine, none, wide * sine, high * cosine, none],
        axis=-1,
    )
    return _once(warp(images, ops.reshape(matrices, (-1, 2, 3)), "mirror"))


def warp(images, matrices, fill: float | str = 128.0):
    """Move pixels by one affine map for each image, bilinear.

    Args:
        images: (B, H, W, C).
        matrices: (B, 2, 3), or (2, 3) for all. Row by row they turn where
            a pixel of the result is, (x, y, 1) in pixels right and down of
            the centre, into where in the image it comes from. As in PIL
            the image reaches half a pixel beyond its outermost pixels'
            centres. The identity copies exactly.
        fill: value where nothing comes in; "mirror" folds the image over
            at its edges, as the mode "reflect" of Keras's layers does.

    Returns:
        (B, H, W, C).

    Raises:
        ValueError: if `images` is not 4-D, or `matrices` has another shape.
    """
    images = _as_floats(images)
    matrices = ops.cast(matrices, "float32")
    shape = tuple(matrices.shape)
    if shape[-2:] != (2, 3) or len(shape) > 3:
        raise ValueError(
            f"matrices must have shape (batch, 2, 3) or (2, 3), got {shape}."
        )
    if len(shape) == 3 and shape[0] not in (1, None, images.shape[0]):
        raise ValueError(
            f"{images.shape[0]} images and {shape[0]} matrices: give one "
            "matrix for each image, or one for all."
        )
    height, width = images.shape[1:3]
    a, b, c, d, e, f = _columns(ops.reshape(matrices, (-1, 6)))
    middle, centre = (height - 1) / 2, (width - 1) / 2
    rows, columns = _grid(height, width, "float32")
    down, right = rows - middle, columns - centre
    x = a * right + b * down + c + centre
    y = d * right + e * down + f + middle
    if fill == "mirror":
        x, y = _fold(x, width), _fold(y, height)
    left, top = ops.floor(x), ops.floor(y)
    across, along = x - left, y - top

    def pixel(y, x):
        return _pick(
            images,
            ops.cast(ops.clip(y, 0, height - 1), "int32"),
            ops.cast(ops.clip(x, 0, width - 1), "int32"),
        )

    def row(y):
        return (1 - across) * pixel(y, left) + across * pixel(y, left + 1)

    values = (1 - along) * row(top) + along * row(top + 1)
    if fill == "mirror":
        return values
    inside = (ops.abs(x - centre) <= width / 2) & (
        ops.abs(y - middle) <= height / 2
    )
    return ops.where(inside, values, fill)


def autocontrast(images):
    """Stretch each channel of each image (B, H, W, C) to 0..255.

    A channel of one value stays as it is.
    """
    images = _as_floats(images)
    low = ops.min(images, axis=(1, 2), keepdims=True)
    span = ops.max(images, axis=(1, 2), keepdims=True) - low
    stretched = (images - low) * (255 / ops.maximum(span, 1e-3))
    return ops.where(span > 0, ops.clip(stretched, 0, 255), images)


def equalize(images):
    """Flatten the histogram of each channel of each image (B, H, W, C).

    Pixels are rounded to whole numbers, and come out as PIL's, bit for bit.
    A channel with too few values to spread stays as it is.
    """
    images = _as_floats(images)
    count, channels = ops.shape(images)[0], images.shape[-1]
    values = ops.cast(ops.round(ops.clip(images, 0, 255)), "int32")
    start = ops.arange(count * channels, dtype="int32")
    start = ops.reshape(start, (-1, 1, 1, channels))
    bins = start * 256 + values
    flat = ops.reshape(bins, (-1,))
    histogram = ops.reshape(
        ops.segment_sum(
            ops.ones_like(flat, dtype="float32"),
            flat,
            num_segments=count * channels * 256,
        ),
        (-1, channels, 256),
    )
    histogram = ops.cast(histogram, "int32")
    below = ops.cumsum(histogram, axis=-1) - histogram
    # PIL leaves the brightest pixels out of the count.
    greatest = ops.max(ops.where(histogram > 0, below, 0), -1, keepdims=True)
    step = greatest // 255
    spread = (step // 2 + below) // ops.maximum(step, 1)
    table = ops.where(
        step > 0, ops.minimum(spread, 255), ops.arange(256, dtype="int32")
    )
    equal = ops.take(ops.reshape(_once(table), (-1,)), bins, axis=0)
    enough = ops.take(ops.reshape(step, (-1,)), start, axis=0) > 0
    return ops.where(enough, ops.cast(equal, "float32"), images)


def solarize(images, threshold: float):
    """Invert the values of images (B, H, W, C) from `threshold` on."""
    images = _as_floats(images)
    return ops.where(images < threshold, images, 255 - images)


def posterize(images, bits: int):
    """Keep the leading `bits` of 8 of images (B, H, W, C).

    Raises:
        ValueError: if `bits` is outside 1..8.
    """
    images = _as_floats(images)
    if not 1 <= bits <= 8:
        raise ValueError(f"bits={bits} is outside 1..8.")
    if bits == 8:
        return images
    step = 2 ** (8 - bits)
    return ops.floor(images / step) * step


def color(images, factor):
    """Blend images (B, H, W, C) with their grey: 0 is grey, 1 no change.

    `factor` is one number, or one for each image, (B,): above 1 the blend
    goes beyond the image, and is clipped to 0..255. So it is for `contrast`,
    `brightness` and `sharpness`.
    """
    images = _as_floats(images)
    return _blend(_grey(images), images, factor)


def contrast(images, factor):
    """Blend each image (B, H, W, C) with its mean grey; see `color`."""
    images = _as_floats(images)
    mean = ops.mean(_grey(images), axis=(1, 2), keepdims=True)
    return _blend(mean, images, factor)


def brightness(images, factor):
    """Blend images (B, H, W, C) with black; see `color`."""
    images = _as_floats(images)
    return _blend(0.0, images, factor)


def sharpness(images, factor):
    """Blend images (B, H, W, C) with a smoothed copy; see `color`.

    The outermost pixels stay as they are, as in PIL.
    """
    images = _as_floats(images)
    x = images[:, :-2] + images[:, 1:-1] + images[:, 2:]
    x = x[:, :, :-2] + x[:, :, 1:-1] + x[:, :, 2:]
    inner = images[:, 1:-1, 1:-1]
    change = (x + 4 * inner) / 13 - inner
    change = ops.pad(change, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return _blend(images + change, images, factor)


#: From (images, strength, factor): strength 0..1, a factor for each image.
_PHOTOMETRIC = {
    "autocontrast": lambda x, strength, factor: autocontrast(x),
    "equalize": lambda x, strength, factor: equalize(x),
    "solarize": lambda x, strength, factor: solarize(x, 256 - 256 * strength),
    "color": lambda x, strength, factor: color(x, factor),
    "posterize": lambda x, strength, factor: posterize(
        x, 8 - round(4 * strength)
    ),
    "contrast": lambda x, strength, factor: contrast(x, factor),
    "brightness": lambda x, strength, factor: brightness(x, factor),
    "sharpness": lambda x, strength, factor: sharpness(x, factor),
}


def _matrix(name: str, strength: float, height: int, width: int):
    """What `warp` needs for an operation, strength -1..1; else identity."""
    if name == "rotate":
        angle = math.radians(ROTATION * strength)
        sine, cosine = math.sin(angle), math.cos(angle)
        return (cosine, -sine, 0), (sine, cosine, 0)
    entries = {
        "shear_x": (0, 1, SHEAR),
        "shear_y": (1, 0, SHEAR),
        "translate_x": (0, 2, TRANSLATION * width),
        "translate_y": (1, 2, TRANSLATION * height),
    }
    matrix = np.eye(2, 3)
    if name in entries:
        row, column, most = entries[name]
        matrix[row, column] = most * strength
    return matrix


def _blend(degenerate, images, factor):
    """From `degenerate`, at a factor of 0, through `images`, at 1."""
    factor = ops.cast(factor, "float32")
    if len(factor.shape):
        factor = ops.reshape(factor, (-1, 1, 1, 1))
    return ops.clip(degenerate + factor * (images - degenerate), 0, 255)


def _grey(images):
    """Brightness of each pixel, (B, H, W, 1)."""
    _check_channels(images)
    if images.shape[-1] == 1:
        return images
    parts = (w * images[..., i : i + 1] for i, w in enumerate(LUMA))
    return sum(parts)


def _as_floats(images):
    images = ops.cast(images, "float32")
    check_images(images)
    return images


def _draw(images, seed, count: int):
    """Uniform numbers from 0 to below 1, `count` for each image."""
    if seed is None:
        raise ValueError("seed=None: give a keras.random.SeedGenerator.")
    shape = ops.shape(images)[0], count
    return _once(keras.random.uniform(shape, dtype="float32", seed=seed))


def _once(x):
    """The same values, (B, ...), computed once and kept.

    XLA on a CPU repeats a computation wherever its result is used, the
    drawing of random numbers too.
    It does not see through a sum over segments, even of one row each. On
    several devices that sum would bring the whole batch to each.
    """
    if parts() > 1:
        return x
    count = ops.shape(x)[0]
    rows = ops.reshape(x, (count, -1))
    index = ops.arange(count, dtype="int32")
    rows = ops.segment_sum(rows, index, num_segments=count)
    return ops.reshape(rows, (-1, *x.shape[1:]))


def _fold(x, size: int):
    """Places beyond the edges of `size` pixels, mirrored back inside."""
    beyond = ops.mod(x + 0.5, 2.0 * size) - size
    return size - ops.abs(beyond) - 0.5


def _columns(table):
    """Columns of (B, count), each as (B, 1, 1, 1)."""
    columns = ops.split(table, table.shape[1], axis=1)
    return [ops.reshape(column, (-1, 1, 1, 1)) for column in columns]


def _whole(draw, count):
    """Whole numbers from 0 to below `count`, from numbers below 1."""
    numbers = ops.cast(ops.floor(draw * ops.cast(count, "float32")), "int32")
    return ops.minimum(numbers, count - 1)  # the product may round up


def _side(length, limit: int):
    """A length as whole pixels, from 1 to `limit`."""
    return ops.cast(ops.clip(ops.round(length), 1, limit), "int32")


def _grid(height: int, width: int, dtype: str):
    """Numbers of rows, (1, H, 1, 1), and of columns, (1, 1, W, 1)."""
    return (
        ops.reshape(ops.arange(height, dtype=dtype), (1, -1, 1, 1)),
        ops.reshape(ops.arange(width, dtype=dtype), (1, 1, -1, 1)),
    )


def _pick(images, rows, columns):
    """The pixels at (row, column), whole numbers, (B, H, W, 1) each."""
    count = ops.shape(images)[0]
    height, width, channels = images.shape[1:]
    if parts() > 1:
        # By one index into all images, all would come to each device.
        index = rows * width + columns
        size = index.shape[1:3]
        images = ops.reshape(images, (count, height * width, channels))
        index = ops.reshape(index, (count, -1, 1))
        pixels = ops.take_along_axis(images, index, axis=1)
        return ops.reshape(pixels, (count, *size, channels))
    first = ops.reshape(ops.arange(count, dtype="int32"), (-1, 1, 1, 1))
    index = (first * height + rows) * width + columns
    pixels = ops.reshape(images, (-1, channels))
    return ops.take(pixels, index[..., 0], axis=0)


def _check_channels(images) -> None:
    if images.shape[-1] not in (1, 3):
        raise ValueError(
            f"images have {images.shape[-1]} channels: give 1 (grey) or 3 "
            "(red, green, blue)."
        )


def _check_probability(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(
            f"{name}={value} is outside 0..1: it is a probability."
        )


def _check_operations(names: Sequence[str]) -> None:
    if isinstance(names, str) or not names:
        raise ValueError(
            f"operations={names!r} must be a tuple of one name or more."
        )
    unknown = [name for name in names if name not in OPERATIONS]
    if unknown:
        raise ValueError(
            f"unknown operation {unknown[0]!r}: choose from "
            f"{', '.join(OPERATIONS)}."
        )
