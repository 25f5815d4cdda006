"""Checkpoints that survive being killed at any moment.

A checkpoint is one file: a line with the SHA-256 of what follows, then a
NumPy archive. It is written aside, flushed to the disk and renamed, so a
file of the right name is a whole one unless the disk failed; the digest
tells that too. The two newest are kept.
"""

import hashlib
import io
import json
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

KEEP = 2
_NAME = re.compile(r"epoch-(\d+)\.ckpt")
_META = "__meta__"


class Checkpoints:
    """The checkpoints of one run, in a folder of their own.

    Args:
        folder: where to keep them; made if it does not exist.
        key: names the run, such as recipe hash, variant and seed. Another
            key is another run: its checkpoints are never mixed up.

    Raises:
        OSError: if the folder cannot be made or written to.
    """

    def __init__(self, folder: str | os.PathLike, key: str):
        self.folder = Path(folder) / key
        self.folder.mkdir(parents=True, exist_ok=True)
        probe = self.folder / ".writable"
        probe.touch()
        probe.unlink()

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
        buffer = io.BytesIO()
        text = json.dumps(meta).encode()
        extra = {_META: np.frombuffer(text, "uint8")}
        np.savez(buffer, **arrays, **extra)
        content = buffer.getvalue()
        digest = hashlib.sha256(content).hexdigest().encode()
        path = self.folder / f"epoch-{epoch:06d}.ckpt"
        aside = path.with_suffix(".part")
        try:
            with aside.open("wb") as file:
                file.write(digest + b"\n" + content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise OSError(
                error.errno,
                f"the checkpoint of epoch {epoch} could not be written "
                f"({error.strerror}); earlier ones are intact. Make room "
                "or choose another folder, and run the same command again",
                str(path),
            ) from error
        aside.replace(path)
        for old in self._paths()[:-KEEP]:
            old.unlink()
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
            return int(_NAME.fullmatch(path.name)[1]), arrays, meta
        return None

    def remove(self) -> None:
        """Delete the run's checkpoints and their folder."""
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()

    def _paths(self) -> list[Path]:
        """The checkpoints there are, oldest first."""
        paths = self.folder.glob("epoch-*.ckpt")
        return sorted(path for path in paths if _NAME.fullmatch(path.name))
