"""How long a run will take, measured before it starts."""

import dataclasses
from dataclasses import dataclass

from ..data import ImageData
from .loop import epoch_steps, train
from .progress import duration
from .recipes import Recipe

STEPS = 20


@dataclass(frozen=True)
class Rehearsal:
    """What a few steps say of a whole run.

    Attributes:
        epochs: of the run.
        samples_per_epoch: images an epoch.
        compile_seconds: of compiling; where `fit` trains, with the first step.
        images_per_second: of the steps after it.
    """

    epochs: int
    samples_per_epoch: int
    compile_seconds: float
    images_per_second: float

    @property
    def seconds(self) -> float:
        """Of the whole run but for the test at its end, an estimate."""
        images = self.epochs * self.samples_per_epoch
        return self.compile_seconds + images / self.images_per_second

    def epochs_within(self, seconds: float) -> int:
        """How many epochs so much time is enough for."""
        left = max(seconds - self.compile_seconds, 0)
        return int(left * self.images_per_second / self.samples_per_epoch)

    def __str__(self) -> str:
        return (
            f"about {duration(self.seconds)} for {self.epochs} epochs, at "
            f"{self.images_per_second:,.0f} images/s over {STEPS} steps"
        )


def rehearse(
    recipe: Recipe, variant: str, data: ImageData, seed: int = 0
) -> Rehearsal:
    """Train a throwaway model for a few steps, and say how long all take.

    Nothing of it is kept. The first steps of a run are not its slowest: a
    laptop that gets warm, or a card that others use too, takes longer. With
    patch dropout the steps with all tokens are timed, the slower ones.

    Args:
        recipe, variant: what is to be trained.
        data: what `recipe.load` gave.
        seed: of the throwaway model.

    Raises:
        ValueError: see `train`.
    """
    size = recipe.batch_size
    # One more: the first step is timed apart, with what it compiles.
    short = dataclasses.replace(
        recipe,
        epochs=1,
        samples_per_epoch=(STEPS + 1) * size,
        keep_tokens=1.0,
        keep_until=0.0,
    )
    images, labels = data.split(data.tested)
    few = {
        f"x_{data.tested}": images[:size],
        f"y_{data.tested}": labels[:size],
    }
    model = recipe.build(variant, data, seed)
    run = train(
        model,
        dataclasses.replace(data, **few),
        short,
        seed=seed,
        report=lambda line: None,
    )
    steps = epoch_steps(recipe, len(data.x_train))
    return Rehearsal(
        recipe.epochs,
        steps * size,
        run.record["compile_seconds"],
        run.record["images_per_second"],
    )
