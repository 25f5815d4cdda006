"""What the command-line tools have in common: how they refuse and stop."""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path


class Parser(argparse.ArgumentParser):
    """argparse, which says in one line what is wrong."""

    def error(self, message: str):
        sys.exit(f"{message} ({self.prog} --help)")


def command(main: Callable[[], None], goes_on: str = "") -> None:
    """Run a tool; Ctrl-C is one quiet line that says how to go on.

    A tool refuses by `sys.exit` with a line of text.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        print(f"\nStopped. {goes_on}".rstrip(), file=sys.stderr, flush=True)
        # Nothing is left to tidy, and threads shall not hold it up.
        os._exit(130)


@contextlib.contextmanager
def alone(lock: Path, busy: str) -> Iterator[None]:
    """Let one process in at a time; refuse another with the text `busy`.

    The system itself unlocks the file when its holder ends, however it ends.
    """
    with lock.open("w", encoding="utf-8") as file:
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit(busy)
        yield


def check_data(name: str) -> None:
    """Raise FileNotFoundError if CIFAR-100 is not where it should be."""
    from vitsd_helpers.readers import cifar100

    folder = os.environ.get(cifar100.DATA_DIR_VARIABLE)
    if name != "cifar100" or not folder:
        return
    root = Path(folder).expanduser()
    for file, (size, _) in cifar100.CIFAR100_FILES.items():
        places = (root / cifar100.CIFAR100_FOLDER / file, root / file)
        if not any(p.is_file() and p.stat().st_size == size for p in places):
            raise FileNotFoundError(
                f"{cifar100.DATA_DIR_VARIABLE}={folder} does not hold "
                f"CIFAR-100's file {file!r} of {size:,} bytes: unpack "
                f"{cifar100.CIFAR100_URL} there, or unset the variable to "
                "have it downloaded."
            )
