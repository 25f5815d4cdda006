"""Load images, check them, and split them.

Everything comes back as `ImageData`: uint8 images (N, H, W, 3) on the scale
0..255 and integer labels (N,).
"""

import hashlib
import os
import pickle
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CIFAR100_URL = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
CIFAR100_ARCHIVE_MD5 = "eb9058c3a382ffc7106e4002c42a8d85"
CIFAR100_FOLDER = "cifar-100-python"
#: The official files: size in bytes and MD5.
CIFAR100_FILES = {
    "train": (155_249_918, "16019d7e3df5f24257cddd939b257f8d"),
    "test": (31_049_707, "f0ef6b0ae62326f3e7ffdfab6717acfc"),
    "meta": (1_473, "7973b15100ade9c7d40fb424638fde48"),
}
DATA_DIR_VARIABLE = "VITSD_DATA_DIR"
PICTURE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"}


@dataclass(frozen=True)
class ImageData:
    """A data set: uint8 images (N, H, W, 3), integer labels (N,)."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]

    @property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel, training images."""
        values = np.arange(256)
        mean, std = [], []
        for channel in range(self.x_train.shape[-1]):
            pixels = self.x_train[..., channel].ravel()
            share = np.bincount(pixels, minlength=256) / pixels.size
            centre = float(share @ values)
            mean.append(centre)
            std.append(float(share @ (values - centre) ** 2) ** 0.5)
        return tuple(mean), tuple(std)

    @property
    def md5(self) -> str:
        """MD5 of all images and labels, for a training record."""
        digest = hashlib.md5(usedforsecurity=False)
        for array in (self.x_train, self.x_test):
            digest.update(np.ascontiguousarray(array))
        for labels in (self.y_train, self.y_test):
            digest.update(np.ascontiguousarray(labels, "int64"))
        return digest.hexdigest()


def load_data(
    name: str,
    data_dir: str | os.PathLike | None = None,
    *,
    image_size: int = 32,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> ImageData:
    """Load a data set by name.

    Args:
        name: "digits", scikit-learn's 1,797 handwritten digits, as 32 x 32
            RGB (80 % train, 20 % test, always the same split); "cifar100",
            the official Python files, 50,000 train and 10,000 test;
            "folder", your own pictures, `data_dir/<class>/<picture>`.
        data_dir: for "cifar100", a folder with the official files or with
            their folder `cifar-100-python`; without it `$VITSD_DATA_DIR` is
            searched, then the archive is downloaded once into Keras's
            cache. For "folder", the folder of classes.
        image_size: for "folder", pixels on a side after a central square
            crop and a resize.
        test_fraction: for "folder", the part of each class to test on.
        seed: for "folder", of the split.

    Returns:
        `ImageData`.

    Raises:
        ValueError: for an unknown name; a CIFAR-100 file that is not the
            official one (checked by size and MD5 before it is unpickled);
            broken pictures (all of them named), or a class with fewer than
            two.
        FileNotFoundError: if `data_dir`, or a file in it, does not exist.
    """
    if name == "digits":
        return _digits()
    if name == "cifar100":
        return _cifar100(data_dir)
    if name == "folder":
        return _folder(data_dir, image_size, test_fraction, seed)
    raise ValueError(
        f"unknown data set {name!r}: choose 'digits', 'cifar100' or 'folder'."
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
    return _square(Image.fromarray(load_sample_image(name)), size)


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
    return ImageData(x_train, y_train, x_test, y_test, names)


def _cifar100(data_dir) -> ImageData:
    read = _cifar100_reader(data_dir)
    train, test, meta = (_unpickle(f, read(f)) for f in CIFAR100_FILES)

    def images(part):
        planes = part[b"data"].reshape(-1, 3, 32, 32)
        return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))

    names = (n.decode() for n in meta[b"fine_label_names"])
    return ImageData(
        images(train),
        np.array(train[b"fine_labels"], "int64"),
        images(test),
        np.array(test[b"fine_labels"], "int64"),
        tuple(names),
    )


def _cifar100_reader(data_dir):
    """A function from the name of an official file to its bytes."""
    chosen = data_dir or os.environ.get(DATA_DIR_VARIABLE)
    if chosen:
        folder = Path(chosen).expanduser()
        if (folder / CIFAR100_FOLDER).is_dir():
            folder = folder / CIFAR100_FOLDER
        for file, (size, _) in CIFAR100_FILES.items():
            if not (folder / file).is_file():
                origin = "data_dir" if data_dir else f"${DATA_DIR_VARIABLE}"
                raise FileNotFoundError(
                    f"{folder / file} does not exist: {origin} must hold "
                    f"CIFAR-100's official file {file!r} ({size:,} bytes), "
                    f"from {CIFAR100_URL}. Unpack that archive there, or "
                    "give no folder to let it be downloaded."
                )
        return lambda file: (folder / file).read_bytes()

    import keras

    archive = keras.utils.get_file(
        CIFAR100_FOLDER + ".tar.gz",
        origin=CIFAR100_URL,
        file_hash=CIFAR100_ARCHIVE_MD5,
        cache_subdir="datasets",
    )

    def read(file):
        with tarfile.open(archive) as tar:
            return tar.extractfile(f"{CIFAR100_FOLDER}/{file}").read()

    return read


def _unpickle(file: str, content: bytes) -> dict:
    """Check that `content` is the official file, then unpickle it."""
    size, md5 = CIFAR100_FILES[file]
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise ValueError(
            f"CIFAR-100's file {file!r} is not the official one: expected "
            f"{size:,} bytes with MD5 {md5}, found {len(content):,} bytes "
            f"with MD5 {found}. It was not opened. Delete it and unpack "
            f"{CIFAR100_URL} again."
        )
    return pickle.loads(content, encoding="bytes")


def _folder(data_dir, image_size, test_fraction, seed) -> ImageData:
    from PIL import Image

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
    names = sorted(
        p.name
        for p in root.iterdir()
        if p.is_dir() and not p.name.startswith(".")
    )
    if len(names) < 2:
        raise ValueError(
            f"{root} holds {len(names)} sub-folders of pictures: a "
            "classifier needs at least two classes, one sub-folder each."
        )
    images, labels, broken = [], [], []
    for label, name in enumerate(names):
        files = sorted(
            p
            for p in (root / name).iterdir()
            if p.suffix.lower() in PICTURE_SUFFIXES
        )
        if len(files) < 2:
            raise ValueError(
                f"{root / name} holds {len(files)} pictures: a class needs "
                "at least two, one to train on and one to test on."
            )
        for path in files:
            try:
                with Image.open(path) as picture:
                    images.append(_square(picture, image_size))
                labels.append(label)
            except (
                OSError,
                ValueError,
                SyntaxError,
                Image.DecompressionBombError,
            ) as error:
                broken.append(f"{path} ({error})")
    if broken:
        listing = "\n  ".join(broken)
        raise ValueError(
            f"{len(broken)} pictures cannot be read; replace or remove "
            f"them:\n  {listing}"
        )
    x, y = np.stack(images), np.array(labels, "int64")
    order = np.random.default_rng(seed).permutation(len(y))
    test = np.zeros(len(y), bool)
    for label in range(len(names)):
        members = order[y[order] == label]
        count = round(test_fraction * len(members))
        test[members[: min(max(count, 1), len(members) - 1)]] = True
    train, test = order[~test[order]], order[test[order]]
    return ImageData(x[train], y[train], x[test], y[test], tuple(names))


def _square(picture, size: int) -> np.ndarray:
    """Central square crop of a PIL picture, resized, (size, size, 3)."""
    from PIL import Image, ImageOps

    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):  # 16 bits: convert() would clip them
        picture = Image.fromarray((np.asarray(picture) >> 8).astype("uint8"))
    return np.asarray(ImageOps.fit(picture.convert("RGB"), (size, size)))
