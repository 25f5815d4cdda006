"""Cut images into patches, put them together again, and shift images.

Shapes: B images of H x W pixels and C channels; patches of P x P pixels;
N = (H / P) * (W / P) patches, row by row; D shift directions.
"""

from collections.abc import Sequence

from keras import ops

from .config import (  # noqa: F401, all of them are for the reader
    ALL_DIRECTIONS,
    CARDINAL,
    DIAGONAL,
    OFFSETS,
)


def patchify(images, patch_size: int):
    """Cut images into non-overlapping square patches and flatten each.

    A reshape and a transpose: no arithmetic, so the values are exact.

    Args:
        images: (B, H, W, C), any dtype. H and W are multiples of
            `patch_size`.
        patch_size: P, the side of a patch in pixels.

    Returns:
        (B, N, P * P * C), patches row by row; within a patch the pixels
        row by row, the channels of a pixel together.

    Raises:
        ValueError: if `images` is not 4-D, or H or W is not a multiple of
            `patch_size`.
    """
    images = ops.convert_to_tensor(images)
    check_images(images, patch_size)
    height, width, channels = images.shape[1:]
    rows, columns = height // patch_size, width // patch_size
    x = ops.reshape(
        images, (-1, rows, patch_size, columns, patch_size, channels)
    )
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(
        x, (-1, rows * columns, patch_size * patch_size * channels)
    )


def unpatchify(patches, image_size: int | tuple[int, int], channels: int = 3):
    """Put patches together again: the exact inverse of `patchify`.

    Args:
        patches: (B, N, P * P * C), as `patchify` returns them.
        image_size: (H, W) of the images in pixels, or one number for both.
        channels: the number C of channels.

    Returns:
        (B, H, W, C).

    Raises:
        ValueError: if `patches` is not 3-D, or N square patches of C
            channels do not tile an H x W image.
    """
    patches = ops.convert_to_tensor(patches)
    if len(patches.shape) != 3:
        raise ValueError(
            "patches must have shape (batch, patches, values), got "
            f"{tuple(patches.shape)}."
        )
    if isinstance(image_size, int):
        image_size = (image_size, image_size)
    height, width = image_size
    count, values = patches.shape[1:]
    side = round((values / max(channels, 1)) ** 0.5)
    if (
        channels < 1
        or side < 1
        or side * side * channels != values
        or height % side
        or width % side
        or (height // side) * (width // side) != count
    ):
        raise ValueError(
            f"{count} patches of {values} values do not tile a "
            f"{height} x {width} image of {channels} channels: check "
            "image_size and channels."
        )
    rows, columns = height // side, width // side
    x = ops.reshape(patches, (-1, rows, columns, side, side, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, height, width, channels))


def shift_images(images, shift: int, directions: Sequence[str] = DIAGONAL):
    """Copies of the images, each moved by `shift` pixels and zero-padded.

    This is the shifting strategy of the paper (Lee et al. 2021, section
    3.2); its S(x) is the whole of `ShiftedPatchTokenization`. A direction
    names where the *content* moves, as in the Keras example: in
    the "left-up" copy, pixel (y, x) holds the image's (y + shift,
    x + shift). The authors' code names and orders the same four copies by
    where the cropping window moves, which is the opposite corner. The order
    only permutes the rows of the projection that follows.

    Args:
        images: (B, H, W, C).
        shift: distance in pixels along each axis, from 0 to H or W.
        directions: keys of `OFFSETS`. `DIAGONAL` (the paper's), `CARDINAL`,
            `ALL_DIRECTIONS`, or any choice of them.

    Returns:
        (B, H, W, D * C): the D copies in the given order, without the
        original.

    Raises:
        ValueError: if `images` is not 4-D, `shift` is negative or larger
            than the image, or a direction is unknown or missing.
    """
    images = ops.convert_to_tensor(images)
    check_images(images)
    check_directions(directions)
    if not directions:
        raise ValueError(
            f"directions is empty: give at least one of {', '.join(OFFSETS)}."
        )
    height, width = images.shape[1:3]
    if not 0 <= shift <= min(height, width):
        raise ValueError(
            f"shift={shift} is not between 0 and the image's side, "
            f"{min(height, width)} pixels."
        )
    padded = ops.pad(images, ((0, 0), (shift, shift), (shift, shift), (0, 0)))
    copies = []
    for direction in directions:
        down, right = OFFSETS[direction]
        top, left = shift - down * shift, shift - right * shift
        copies.append(padded[:, top : top + height, left : left + width, :])
    return ops.concatenate(copies, axis=-1)


def check_images(images, patch_size: int = 1) -> None:
    """Raise ValueError unless `images` is (B, H, W, C) and tiles evenly."""
    shape = tuple(images.shape)
    if len(shape) != 4:
        raise ValueError(
            "images must have shape (batch, height, width, channels), got "
            f"{shape}. For one image, add a batch axis: image[None]."
        )
    if None in shape[1:]:
        raise ValueError(
            f"images of shape {shape} must have a known height, width and "
            "number of channels."
        )
    if patch_size < 1:
        raise ValueError(f"patch_size={patch_size} must be at least 1.")
    if shape[1] % patch_size or shape[2] % patch_size:
        raise ValueError(
            f"an image of {shape[1]} x {shape[2]} pixels does not divide "
            f"into patches of {patch_size} x {patch_size}: resize or crop "
            "it to a multiple, or choose another patch_size."
        )


def check_directions(directions: Sequence[str]) -> None:
    """Raise ValueError if a shift direction is unknown."""
    if isinstance(directions, str):
        raise ValueError(
            f"directions={directions!r} is one string: give a tuple, "
            f"({directions!r},)."
        )
    unknown = [d for d in directions if d not in OFFSETS]
    if unknown:
        raise ValueError(
            f"unknown shift direction {unknown[0]!r}: choose from "
            f"{', '.join(OFFSETS)}."
        )
