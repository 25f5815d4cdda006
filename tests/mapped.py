"""A data set in files of NumPy's, and what is read of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from vitsd_helpers import ImageData, load_data


class Counted(np.memmap):
    """A mapped array that notes what is read of it by index."""

    #: Of each time the indices.
    reads: list

    def __getitem__(self, key):
        if isinstance(key, np.ndarray) and len(key):
            self.reads.append(key.tolist())
        return super().__getitem__(key)


def write(folder: Path, data: ImageData) -> Path:
    """Files that `load_data("arrays", folder)` reads."""
    folder.mkdir()
    for name in ("x_train", "y_train", "x_test", "y_test"):
        array = getattr(data, name)
        file = np.lib.format.open_memmap(
            folder / f"{name}.npy", "w+", array.dtype, array.shape
        )
        file[:] = array
        file.flush()
    names = "\n".join(data.class_names)
    (folder / "classes.txt").write_text(names + "\n", "utf-8")
    return folder


def counted(folder: Path) -> tuple[ImageData, list, list]:
    """The data of a folder; what is read to train on, and to test on."""
    data = load_data("arrays", folder)
    parts = {}
    for name in ("x_train", "x_test"):
        parts[name] = getattr(data, name).view(Counted)
        parts[name].reads = []
    reads = [part.reads for part in parts.values()]
    return replace(data, **parts), *reads
