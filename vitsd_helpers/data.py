"""Load images, check them, and split them.

Everything comes back as `ImageData`: uint8 images (N, H, W, C) on the scale
0..255 and integer labels (N,).
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .readers.arrays import read_arrays
from .readers.checks import check_part
from .readers.pictures import (
    PICTURE_SUFFIXES,
    read_folder,
    read_picture,
    square,
)

__all__ = [
    "PICTURE_SUFFIXES",
    "ImageData",
    "load_data",
    "load_photo",
    "read_picture",
]

#: Bytes of images that are looked at together: they may lie in a file.
PIECE = 2**26


@dataclass(frozen=True)
class ImageData:
    """A data set: uint8 images (N, H, W, C), integer labels (N,).

    Images may be `numpy.memmap` arrays: these are never read whole. A training
    reads the images of each step.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]
    #: What a record calls it.
    name: str = "unnamed"
    #: Validation images and labels, to choose by; see `hold_out`.
    x_val: np.ndarray | None = None
    y_val: np.ndarray | None = None

    def __post_init__(self):
        for part in ("train", "test", "val"):
            names = f"x_{part}", f"y_{part}"
            images, labels = (getattr(self, name) for name in names)
            if images is not None:
                classes = len(self.class_names)
                check_part(images, np.asarray(labels), classes, names)

    @cached_property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel, training images."""
        values = np.arange(256)
        counts = np.zeros((self.x_train.shape[-1], 256), int)
        for images in _pieces(self.x_train):
            for channel, count in enumerate(counts):
                pixels = images[..., channel].ravel()
                count += np.bincount(pixels, minlength=256)
        mean, std = [], []
        for count in counts:
            share = count / count.sum()
            centre = float(share @ values)
            mean.append(centre)
            std.append(float(share @ (values - centre) ** 2) ** 0.5)
        return tuple(mean), tuple(std)

    @cached_property
    def md5(self) -> str:
        """MD5 of all images and labels, for a training record."""
        digest = hashlib.md5(usedforsecurity=False)
        for images in (self.x_train, self.x_val, self.x_test):
            if images is not None:
                for piece in _pieces(images):
                    digest.update(np.ascontiguousarray(piece))
        for labels in (self.y_train, self.y_val, self.y_test):
            if labels is not None:
                digest.update(np.ascontiguousarray(labels, "int64"))
        return digest.hexdigest()

    @property
    def tested(self) -> str:
        """What a run is tested on: "test", or "val" if there is no test."""
        return "test" if len(self.x_test) or self.x_val is None else "val"

    @property
    def mapped(self) -> bool:
        """Whether images to train or to test on stay in a file."""
        parts = (self.x_train, getattr(self, f"x_{self.tested}"))
        return any(isinstance(images, np.memmap) for images in parts)

    def split(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Images and labels of "train", "val" or "test".

        Raises:
            ValueError: for another name, or if there are no images.
        """
        if name not in ("train", "val", "test"):
            raise ValueError(
                f"split={name!r} is unknown: choose 'train', 'val' or 'test'."
            )
        images = getattr(self, f"x_{name}")
        if images is None or not len(images):
            raise ValueError(
                f"the data {self.name!r} have no images in split={name!r}: "
                "choose another; hold_out makes one to choose by."
            )
        return images, getattr(self, f"y_{name}")


def load_data(
    name: str,
    data_dir: str | os.PathLike | None = None,
    *,
    image_size: int = 32,
    channels: int = 3,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> ImageData:
    """Load a data set by name.

    Args:
        name: "digits", scikit-learn's 1,797 handwritten digits, as 32 x 32
            RGB (80 % train, 20 % test, always the same split); "cifar100",
            the official Python files, 50,000 train and 10,000 test;
            "folder", your own pictures, `data_dir/<class>/<picture>`, or
            `data_dir/<part>/<class>/<picture>` where the parts "train",
            "test" and, if you like, "val" are split already; "arrays",
            images that need not fit into memory, in files of NumPy's:
            `data_dir` holds `x_train.npy` and `x_test.npy`, uint8
            (N, H, W, C), `y_train.npy` and `y_test.npy`, (N,), and
            `classes.txt`, a name a line; if you like `x_val.npy` and
            `y_val.npy`, too.
        data_dir: for "cifar100", a folder with the official files or with
            their folder `cifar-100-python`; without it `$VITSD_DATA_DIR` is
            searched, then the archive is downloaded once into Keras's
            cache. For "folder", the folder of classes; for "arrays", that
            of the files.
        image_size: for "folder", pixels on a side after a central square
            crop and a resize.
        channels: for "folder", 3 for RGB or 1 for grey.
        test_fraction: for "folder", the part of each class to test on, if
            it is not split already.
        seed: for "folder", of the split.

    Returns:
        `ImageData`, named as here; "folder" and "arrays" as the folder is.
        The images of "arrays" stay in their files, mapped into memory.

    Raises:
        ValueError: for an unknown name; a CIFAR-100 file that is not the
            official one (checked by MD5 before it is unpickled);
            broken pictures (all of them named), a class with fewer than two,
            or parts that differ in their classes; an array of another
            shape or type, or a label that is no class.
        FileNotFoundError: if `data_dir`, or a file in it, does not exist.
    """
    if name == "digits":
        return _digits()
    if name == "cifar100":
        from .readers.cifar100 import read_cifar100

        return ImageData(*read_cifar100(data_dir), name)
    if name == "folder":
        size = (image_size, channels)
        return ImageData(*read_folder(data_dir, *size, test_fraction, seed))
    if name == "arrays":
        return ImageData(*read_arrays(data_dir))
    raise ValueError(
        f"unknown data set {name!r}: choose 'digits', 'cifar100', 'folder' "
        "or 'arrays'."
    )


def load_photo(name: str = "china.jpg", size: int = 72) -> np.ndarray:
    """A photograph that scikit-learn ships, as (size, size, 3) uint8.

    Args:
        name: "china.jpg" (a pavilion) or "flower.jpg" (a dahlia).
        size: pixels on a side, after a central square crop.

    Raises:
        ValueError: for another name.
    """
    from PIL import Image
    from sklearn.datasets import load_sample_image

    if name not in ("china.jpg", "flower.jpg"):
        raise ValueError(
            f"unknown photograph {name!r}: choose 'china.jpg' or 'flower.jpg'."
        )
    return square(Image.fromarray(load_sample_image(name)), size)


def _pieces(images: np.ndarray) -> Iterator[np.ndarray]:
    """Images (N, ...), some at a time."""
    rows = max(1, PIECE // max(1, images[:1].nbytes))
    for start in range(0, len(images), rows):
        yield np.asarray(images[start : start + rows])


def _digits() -> ImageData:
    from PIL import Image
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    grey = np.rint(digits.images * (255 / 16)).astype("uint8")
    bilinear = Image.Resampling.BILINEAR
    large = [Image.fromarray(g).resize((32, 32), bilinear) for g in grey]
    x = np.repeat(np.stack(large)[..., None], 3, axis=-1)
    y = digits.target.astype("int64")
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=round(0.2 * len(y)), stratify=y, random_state=0
    )
    names = tuple("0123456789")
    return ImageData(x_train, y_train, x_test, y_test, names, "digits")
