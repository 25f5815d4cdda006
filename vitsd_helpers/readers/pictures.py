"""Pictures of a reader's own: one, or a folder of classes."""

import os
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

PICTURE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"}
#: Sub-folders of a folder that is split already: each holds the classes.
SORTED = ({"train", "test"}, {"train", "val", "test"})


def read_picture(
    source: str | os.PathLike | np.ndarray, size: int, channels: int = 3
) -> np.ndarray:
    """A picture as a model takes it, (size, size, channels) uint8.

    Turned as its EXIF data say, cropped to its central square and resized.
    What is transparent is white.

    Args:
        source: a file, or an array (H, W, C) or (H, W) on the scale 0..255.
        size: pixels on a side.
        channels: 3 for RGB, 1 for grey.

    Raises:
        ValueError: for an array of another shape, or other channels.
        OSError: if the file cannot be read or is no picture.
    """
    check_channels(channels)
    if isinstance(source, str | os.PathLike):
        try:
            with Image.open(source) as picture:
                return square(picture, size, channels)
        except (SyntaxError, Image.DecompressionBombError) as error:
            # What Pillow raises for some files that are damaged.
            raise OSError(f"cannot read {source}: {error}") from error
    pixels = np.asarray(source)
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim != 2 and pixels.shape[2:] not in ((3,), (4,)):
        raise ValueError(
            f"a picture of shape {pixels.shape} must be (height, width) or "
            "(height, width, channels), with 1, 3 or 4 channels."
        )
    pixels = np.clip(np.rint(pixels), 0, 255).astype("uint8")
    return square(Image.fromarray(pixels), size, channels)


def read_folder(
    data_dir: str | os.PathLike | None,
    size: int,
    channels: int,
    test_fraction: float,
    seed: int,
) -> tuple:
    """A folder of classes: split at random, or sorted into parts already.

    Args:
        data_dir, test_fraction, seed: see `load_data`.
        size, channels: of the images.

    Returns:
        x_train, y_train, x_test, y_test, class_names, name of the folder,
        x_val, y_val; the last two are None if there is no part "val".

    Raises:
        ValueError, FileNotFoundError: see `load_data`.
    """
    check_channels(channels)
    if size < 1:
        raise ValueError(
            f"image_size={size}: an image needs at least one pixel on a side."
        )
    if not 0 < test_fraction < 1:
        raise ValueError(
            f"test_fraction={test_fraction} is outside 0..1: it is the part "
            "of each class to test on, 0.2 for a fifth."
        )
    if data_dir is None:
        raise ValueError(
            "load_data('folder') needs data_dir: a folder with one "
            "sub-folder of pictures for each class."
        )
    root = Path(data_dir).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder.")
    name = root.resolve().name
    names = _folders(root)
    if set(names) in SORTED and all(_folders(root / part) for part in names):
        classes = _folders(root / "train")
        by_part = _sorted(root, names, classes)
        x, y = _read([*chain(*by_part.values())], size, channels)
        ends = np.cumsum([len(part) for part in by_part.values()])[:-1]
        split = zip(np.split(x, ends), np.split(y, ends), strict=True)
        parts = dict(zip(by_part, split, strict=True))
        val = parts.get("val", (None, None))
        return *parts["train"], *parts["test"], tuple(classes), name, *val
    files = _files(root, names, 2, "two, one to train on and one to test on")
    x, y = _read(files, size, channels)
    order = np.random.default_rng(seed).permutation(len(y))
    test = np.zeros(len(y), bool)
    for label in range(len(names)):
        members = order[y[order] == label]
        count = round(test_fraction * len(members))
        test[members[: min(max(count, 1), len(members) - 1)]] = True
    train, test = order[~test[order]], order[test[order]]
    halves = x[train], y[train], x[test], y[test]
    return *halves, tuple(names), name, None, None


def _folders(root: Path) -> list[str]:
    return sorted(
        p.name
        for p in root.iterdir()
        if p.is_dir() and not p.name.startswith(".")
    )


def _sorted(root: Path, parts: list[str], names: list[str]) -> dict:
    """Files of each part, with their labels."""
    for part in parts:
        odd = sorted(set(_folders(root / part)) ^ set(names))
        if odd:
            raise ValueError(
                f"{root} has the class {odd[0]!r} in only one of its parts "
                f"'train' and {part!r}: each needs the same sub-folders."
            )
    return {part: _files(root / part, names, 1, "one") for part in parts}


def _files(
    root: Path, names: list[str], least: int, needed: str
) -> list[tuple[Path, int]]:
    """The pictures of all classes, each with its label."""
    if len(names) < 2:
        raise ValueError(
            f"{root} holds {len(names)} sub-folders of pictures: a "
            "classifier needs at least two classes, one sub-folder each."
        )
    found = []
    for label, name in enumerate(names):
        files = sorted(
            p
            for p in (root / name).iterdir()
            if p.suffix.lower() in PICTURE_SUFFIXES
        )
        if len(files) < least:
            raise ValueError(
                f"{root / name} holds {len(files)} pictures: a class needs "
                f"at least {needed}."
            )
        found += [(path, label) for path in files]
    return found


def _read(
    files: list[tuple[Path, int]], size: int, channels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels; ValueError names every file that is broken."""
    images, broken = [], []
    for path, _ in files:
        try:
            images.append(read_picture(path, size, channels))
        except (OSError, ValueError) as error:
            broken.append(f"{path} ({error})")
    if broken:
        listing = "\n  ".join(broken)
        raise ValueError(
            f"{len(broken)} pictures cannot be read; replace or remove "
            f"them:\n  {listing}"
        )
    return np.stack(images), np.array([label for _, label in files], "int64")


def check_channels(channels: int) -> None:
    """Raise ValueError unless pictures are to be in colour or grey."""
    if channels not in (1, 3):
        raise ValueError(
            f"channels={channels}: pictures are read with 3, as RGB, or with "
            "1, as grey."
        )


def square(picture: Image.Image, size: int, channels: int = 3) -> np.ndarray:
    """An open picture as `read_picture` gives it."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):  # 16 bits: convert() would clip them
        picture = Image.fromarray((np.asarray(picture) >> 8).astype("uint8"))
    if picture.has_transparency_data:  # else what lies below would show
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    picture = picture.convert("RGB" if channels == 3 else "L")
    pixels = np.asarray(ImageOps.fit(picture, (size, size)))
    return pixels.reshape(size, size, channels)
