"""Files and folders that are complete or absent."""

import os
import shutil
import time
from pathlib import Path

#: Seconds between tries to rename: Windows refuses it while another process
#: has the old file open.
PAUSES = (0.01, 0.05, 0.2, 1.0) if os.name == "nt" else ()


def write_whole(path: str | os.PathLike, content: bytes | str) -> Path:
    """Write a file aside, flush it to the disk, then rename it.

    Args:
        path: of the file; its folder is made if it does not exist.
        content: text is written as UTF-8.

    Returns:
        The path.

    Raises:
        OSError: if the disk is full or fails, or on Windows another process
            keeps the old file open; what was at `path` stays.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        content = content.encode()
    # Two processes that write one file do not write into each other's.
    aside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        for pause in PAUSES:
            try:
                return aside.replace(path)
            except PermissionError:
                time.sleep(pause)
        return aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def replace_folder(new: Path, old: Path) -> Path:
    """Give the new folder the old one's name, by renaming alone.

    Returns:
        The old one's path, where the new one lies now.
    """
    away = old.with_name(old.name + ".old")
    shutil.rmtree(away, ignore_errors=True)
    if old.exists():
        old.rename(away)
    new.rename(old)
    shutil.rmtree(away, ignore_errors=True)
    return old
