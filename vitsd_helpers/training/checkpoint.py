"""Checkpoints that survive being killed at any moment.

A checkpoint is one file: a line with the SHA-256 of what follows, then a
NumPy archive. It is written aside, flushed to the disk and renamed, so a
file of the right name is a whole one unless the disk failed; the digest
tells that too. The two newest are kept.

`keras.callbacks.BackupAndRestore` is not used: it keeps one state only,
does not find a damaged one, and cannot tell that it is of another run.
"""

import hashlib
import io
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ..evidence.files import write_whole

KEEP = 2
_NAME = re.compile(r"epoch-(\d+)\.ckpt")
_META = "__meta__"


def differing(one, other, place: str = "") -> Iterator[str]:
    """Say where two values that JSON can hold differ, a line each."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in dict.fromkeys([*one, *other]):
            inner = f"{place}.{name}" if place else name
            yield from differing(one.get(name), other.get(name), inner)
    elif isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            yield f"{place}: {len(one)} there, {len(other)} here"
        for index, pair in enumerate(zip(one, other, strict=False)):
            inner = list(differing(*pair, f"{place}[{index}]"))
            yield from inner[:1]
            if inner:
                break
    elif one != other:
        yield f"{place}: {one} there, {other} here"


class Checkpoints:
    """The checkpoints of one run, in a folder of their own.

    Args:
        folder: where to keep them; made if it does not exist.
        name: of the run.
        key: what makes it this run and no other, such as its seed and its
            recipe; JSON must be able to hold it.
        writes: whether this process does; of several one does, and all
            read.

    Raises:
        OSError: if the folder cannot be made or written to.
        ValueError: if there are checkpoints of the same name with another
            key; the message says what differs.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        name: str,
        key: Mapping | None = None,
        writes: bool = True,
    ):
        self.folder, self.writes = Path(folder) / name, writes
        path = self.folder / "key.json"
        key = json.loads(json.dumps(key))
        if path.exists() and self._paths():
            differences = list(
                differing(json.loads(path.read_text("utf-8")), key)
            )
            if differences:
                listing = "\n  ".join(differences)
                raise ValueError(
                    f"{self.folder} holds the checkpoints of another run, "
                    f"which differs from this one in\n  {listing}\n"
                    "Give this run another name or another folder, or "
                    "delete that one."
                )
        if writes:
            write_whole(path, json.dumps(key, indent=1) + "\n")

    def save(
        self, epoch: int, arrays: Mapping[str, np.ndarray], meta: dict
    ) -> Path:
        """Write the state after `epoch` epochs; drop all but the newest two.

        Args:
            epoch: how many epochs are done.
            arrays: the state, by name.
            meta: what else to keep; JSON must be able to hold it.

        Raises:
            OSError: if the disk is full or fails. Earlier checkpoints are
                left as they were.
        """
        path = self.folder / f"epoch-{epoch:06d}.ckpt"
        if not self.writes:
            return path
        buffer = io.BytesIO()
        text = json.dumps(meta).encode()
        extra = {_META: np.frombuffer(text, "uint8")}
        np.savez(buffer, **arrays, **extra)
        content = buffer.getvalue()
        digest = hashlib.sha256(content).hexdigest().encode()
        try:
            write_whole(path, digest + b"\n" + content)
        except OSError as error:
            raise OSError(
                error.errno,
                f"the checkpoint of epoch {epoch} could not be written "
                f"({error.strerror}); earlier ones are intact. Make room "
                "or choose another folder, and run the same command again",
                str(path),
            ) from error
        for old in self._paths()[:-KEEP]:
            if old != path:  # later ones may be there, and damaged
                old.unlink(missing_ok=True)
        return path

    def load(self) -> tuple[int, dict[str, np.ndarray], dict] | None:
        """The newest whole checkpoint: epochs done, arrays, meta.

        A damaged file is reported by a warning and passed over. None if
        there is no whole one.
        """
        for path in reversed(self._paths()):
            digest, _, content = path.read_bytes().partition(b"\n")
            if hashlib.sha256(content).hexdigest().encode() != digest:
                warnings.warn(
                    f"{path} is damaged; going back to the one before it.",
                    stacklevel=2,
                )
                continue
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            meta = json.loads(arrays.pop(_META).tobytes())
            return int(path.stem.removeprefix("epoch-")), arrays, meta
        return None

    @property
    def begun(self) -> bool:
        """Whether there is a checkpoint, be it whole or not."""
        return bool(self._paths())

    def _paths(self) -> list[Path]:
        """The checkpoints there are, oldest first."""
        paths = self.folder.glob("epoch-*.ckpt")
        return sorted(path for path in paths if _NAME.fullmatch(path.name))
