"""The official files of CIFAR-100, checked before they are opened.

`keras.datasets.cifar100` is not used: it only downloads, it unpickles what
it finds in its cache, and it does not give the names of the classes.
"""

import hashlib
import os
import pickle
import tarfile
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


def read_cifar100(
    data_dir: str | os.PathLike | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """Training and test images and labels, and the classes' names.

    Args:
        data_dir: see `load_data`.

    Returns:
        x_train, y_train, x_test, y_test, class_names.

    Raises:
        ValueError: for a file that is not the official one.
        FileNotFoundError: if `data_dir`, or a file in it, does not exist.
    """
    read = _reader(data_dir)
    train, test, meta = (_unpickle(f, read(f)) for f in CIFAR100_FILES)

    def images(part):
        planes = part[b"data"].reshape(-1, 3, 32, 32)
        return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))

    names = (n.decode() for n in meta[b"fine_label_names"])
    return (
        images(train),
        np.array(train[b"fine_labels"], "int64"),
        images(test),
        np.array(test[b"fine_labels"], "int64"),
        tuple(names),
    )


def _reader(data_dir):
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
