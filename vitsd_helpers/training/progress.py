"""Progress of a training: a bar on a terminal, a line an epoch elsewhere."""

import sys
from collections.abc import Callable

from tqdm import tqdm


class Progress:
    """Counts images; knows the images per second and the time left.

    Args:
        total: images of the whole run.
        done: how many of them were seen before.
        report: is given every line; then there is no bar.
    """

    def __init__(
        self,
        total: int,
        done: int = 0,
        report: Callable[[str], None] | None = None,
    ):
        self.report = report
        self.bar = tqdm(
            total=total,
            initial=done,
            unit="image",
            unit_scale=True,
            file=sys.stdout,
            disable=report is not None or not sys.stdout.isatty(),
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        self.bar.close()

    def advance(self, count: int) -> None:
        """Count images."""
        self.bar.update(count)

    def line(self, text: str) -> None:
        """Say something: to `report`, above the bar, or printed."""
        if self.report is not None:
            self.report(text)
        elif self.bar.disable:
            print(text, flush=True)
        else:
            self.bar.write(text, file=sys.stdout)
