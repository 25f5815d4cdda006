"""Images in files of NumPy's, which stay there."""

import os
from pathlib import Path

import numpy as np

from .checks import check_part

PARTS = ("train", "test", "val")


def read_arrays(data_dir: str | os.PathLike | None) -> tuple:
    """Images, mapped into memory and not read, with labels and classes.

    Args:
        data_dir: see `load_data`.

    Returns:
        x_train, y_train, x_test, y_test, class_names, name of the folder,
        x_val, y_val; the last two are None if there are no such files.

    Raises:
        ValueError, FileNotFoundError: see `load_data`.
    """
    if data_dir is None:
        raise ValueError(
            "load_data('arrays') needs data_dir: a folder with x_train.npy, "
            "y_train.npy, x_test.npy, y_test.npy and classes.txt."
        )
    root = Path(data_dir).expanduser()
    path = root / "classes.txt"
    _check_there(path)
    names = tuple(path.read_text(encoding="utf-8").splitlines())
    if len(names) < 2 or len(set(names)) < len(names) or "" in names:
        raise ValueError(
            f"{path} holds {len(names)} lines: it must have the name of a "
            "class on each, two or more, no two the same."
        )
    train, test = (_part(root, part, len(names)) for part in PARTS[:2])
    val = (None, None)
    if (root / "x_val.npy").exists():
        val = _part(root, "val", len(names))
    for images, _ in (test, val):
        if images is not None and images.shape[1:] != train[0].shape[1:]:
            raise ValueError(
                f"{images.filename} holds images {images.shape[1:]}, and "
                f"x_train.npy {train[0].shape[1:]}: make them the same."
            )
    return *train, *test, names, root.resolve().name, *val


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist: load_data('arrays') needs it."
        )


def _open(path: Path) -> np.memmap:
    _check_there(path)
    try:
        return np.load(path, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise ValueError(
            f"{path} is not a whole array of NumPy's ({error}): write it "
            "with numpy.save or numpy.lib.format.open_memmap."
        ) from error


def _part(root: Path, part: str, classes: int) -> tuple:
    """Images and labels of a part, checked."""
    images = _open(root / f"x_{part}.npy")
    labels = np.array(_open(root / f"y_{part}.npy"))
    names = str(images.filename), str(root / f"y_{part}.npy")
    check_part(images, labels, classes, names)
    if not len(images):
        raise ValueError(f"{names[0]} holds no image: it needs one or more.")
    return images, labels.astype("int64")
