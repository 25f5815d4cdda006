"""Progress of a training: a sign of life at least every ten seconds."""

import contextvars
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

#: Seconds between two signs of life.
EVERY = 10.0
#: Steps after which the time of the whole run is told.
ENOUGH = 20


def duration(seconds: float) -> str:
    """A length of time in words, such as "14 min"."""
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            count = seconds / size
            return f"{count:.{int(count < 10 and unit != 'min')}f} {unit}"
    return f"{seconds:.0f} s"


class Progress:
    """Counts images; knows the images per second and the time left.

    On a terminal there is a bar. In a notebook there is one output that
    changes and is empty at the end, so that nothing of it is stored.
    Elsewhere a line is printed every `EVERY` seconds, also while nothing can
    be counted: reading, a compilation, or an epoch that is one function.

    Args:
        total: images of the whole run.
        report: is given every `line`, and no other sign is given.
        batch_size: images a step.
        epochs: of the whole run.
    """

    def __init__(
        self,
        total: int,
        report: Callable[[str], None] | None = None,
        batch_size: int = 1,
        epochs: int = 1,
    ):
        self.total, self.seen, self.report = total, 0, report
        self.batch_size, self.epochs = batch_size, epochs
        self.doing = "reading the data"
        self.loss: float | None = None
        self.warm_since: tuple[float, int] | None = None
        self.told = False
        self.begun = self.said = self.counted = time.monotonic()
        #: IPython's handle of what is displayed.
        self.output: Any = None
        self.display = _notebook_display() if report is None else None
        terminal = sys.stdout.isatty() and self.display is None
        self.bar = tqdm(
            total=total,
            unit="image",
            unit_scale=True,
            file=sys.stdout,
            disable=report is not None or not terminal,
        )
        self.ended = threading.Event()
        # In a notebook the context says which cell an output belongs to.
        self.watcher = threading.Thread(
            target=contextvars.copy_context().run,
            args=(self._watch,),
            daemon=True,
        )

    def __enter__(self) -> "Progress":
        if self.report is None:
            self.watcher.start()
        return self

    def __exit__(self, *_) -> None:
        self.ended.set()
        if self.watcher.is_alive():
            self.watcher.join()
        if self.output is not None:
            self.output.update({}, raw=True)
        self.bar.close()

    def advance(self, count: int, logs: dict | None = None) -> None:
        """Count images; `logs` may hold the loss."""
        self.seen += count
        self.counted = time.monotonic()
        self.loss = (logs or {}).get("loss", self.loss)
        self.bar.update(count)
        if self.warm_since and self.rate and not self.told:
            _, first = self.warm_since
            steps = (self.seen - first) // self.batch_size
            if steps >= ENOUGH and self.left > EVERY:
                self.told = True
                whole = duration(self.total / self.rate)
                self.tell(
                    f"after {steps} steps: about {whole} for the whole run, "
                    f"{duration(self.left)} left"
                )

    def resume(self, done: int) -> None:
        """So many images were seen before."""
        self.seen = self.bar.n = self.bar.initial = done
        self.bar.refresh()

    def begin(self, doing: str) -> None:
        """Say from here on that so long this is being done."""
        self.doing, self.begun = doing, time.monotonic()

    def compiled(self) -> None:
        """From here on the time is that of steps."""
        self.doing = "training"
        self.warm_since = time.monotonic(), self.seen

    @property
    def rate(self) -> float:
        """Images per second since all is compiled; 0: not known yet."""
        if self.warm_since is None:
            return 0.0
        start, first = self.warm_since
        return (self.seen - first) / max(self.counted - start, 1e-9)

    @property
    def left(self) -> float:
        """Seconds to the end of the training."""
        return (self.total - self.seen) / self.rate

    def status(self) -> str:
        """Where the run is: step, epoch, loss, images/s and time left."""
        now = time.monotonic()
        if self.doing != "training":
            return f"{self.doing}, {duration(now - self.begun)} so far"
        steps = self.total // self.batch_size
        step = self.seen // self.batch_size
        epoch = min(self.seen * self.epochs // self.total + 1, self.epochs)
        parts = [f"step {step} of {steps}, epoch {epoch} of {self.epochs}"]
        if self.loss is not None:
            parts.append(f"loss {float(self.loss):.4f}")
        if self.rate:
            parts.append(f"{self.rate:.0f} images/s")
            parts.append(f"{duration(self.left)} left")
        if now - self.counted >= EVERY:
            parts.append(f"{duration(now - self.counted)} since that step")
        return ", ".join(parts)

    def line(self, text: str) -> None:
        """Say something: to `report`, above the bar, or printed."""
        self.said = time.monotonic()
        if self.report is not None:
            self.report(text)
        elif self.bar.disable:
            print(text, flush=True)
        else:
            self.bar.write(text, file=sys.stdout)

    def tell(self, text: str) -> None:
        """Say something that a notebook does not store."""
        self.said = time.monotonic()
        if self.report is not None:
            return
        if self.display is None:
            self.line(text)
            return
        if self.output is None:
            self.output = self.display({}, raw=True, display_id=True)
        self.output.update({"text/plain": text}, raw=True)

    def _watch(self) -> None:
        while not self.ended.wait(min(EVERY, 1)):
            if time.monotonic() - self.said < EVERY:
                continue
            if self.bar.disable:
                self.tell(self.status())
            else:
                self.said = time.monotonic()
                self.bar.set_postfix_str(
                    self.doing
                    if self.loss is None
                    else f"loss {float(self.loss):.4f}"
                )


def _notebook_display() -> Callable | None:
    """IPython's `display` in the kernel of a notebook, else None."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if getattr(shell, "kernel", None) is None:
        return None
    from IPython.display import display

    return display
