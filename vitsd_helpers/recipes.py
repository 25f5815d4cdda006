"""Recipes: everything that decides a training run, by name."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from .data import ImageData
from .model import PRESETS, ViTConfig

#: The two models of every comparison, by their short names.
VARIANTS = {"vit": "ViT", "sl": "SL-ViT"}
#: What chapter 5 takes from papermill.
PARAMETERS = ("recipe", "models", "seed", "data_dir", "record_dir")


@dataclass(frozen=True)
class Recipe:
    """A training run, but for the seed and the variant of the model."""

    name: str
    #: A name that `load_data` knows.
    data: str
    #: The SL-ViT; the vanilla ViT is its twin, `model.vanilla`.
    model: ViTConfig
    epochs: int
    batch_size: int
    #: Peak of the warm-up cosine schedule.
    learning_rate: float
    #: As Keras's AdamW means it: multiplied by the learning rate.
    weight_decay: float
    #: The part of all steps that the warm-up takes.
    warmup: float = 0.1
    #: Mirror each training image left to right with probability 0.5.
    flip: bool = False
    #: Compile the training step with XLA (not on torch).
    jit_compile: bool = False
    # From here on: for `train.train`; chapter 5 has a loop of its own.
    #: "cosine" with warm-up, or "constant".
    schedule: str = "cosine"
    #: Decay biases, norms, positions and temperatures too.
    decay_everything: bool = False
    #: Zero-pad by so many pixels and crop back at random.
    crop: int = 0
    #: Magnitude of RandAugment, two operations an image; 0: none.
    rand_augment: float = 0
    #: Probability of random erasing.
    erase: float = 0.0
    #: Probability of CutMix or MixUp.
    mix: float = 0.0
    label_smoothing: float = 0.0
    #: Momentum of the weights' moving average; 0: none.
    ema: float = 0.0

    @property
    def hash(self) -> str:
        """Twelve hex digits that change with any setting."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def config(self, variant: str, data: ImageData) -> ViTConfig:
        """The configuration of a variant, fitted to the data.

        Args:
            variant: "vit" or "sl".
            data: gives the classes and the normalisation.
        """
        check_variants([variant])
        mean, std = data.statistics
        config = replace(
            self.model,
            num_classes=len(data.class_names),
            mean=mean,
            std=std,
        )
        return config if variant == "sl" else config.vanilla


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="quick",
            data="digits",
            model=replace(PRESETS["small-sl"], width=64, depth=2, num_heads=4),
            epochs=5,
            batch_size=64,
            learning_rate=2e-3,
            weight_decay=0.05,
        ),
        Recipe(
            name="laptop",
            data="cifar100",
            model=PRESETS["small-sl"],
            epochs=6,
            batch_size=128,
            learning_rate=2e-3,
            weight_decay=0.05,
            flip=True,
            jit_compile=True,
        ),
    )
}


def get_recipe(name: str) -> Recipe:
    """A recipe by name.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in RECIPES:
        raise ValueError(
            f"unknown recipe {name!r}: choose from {', '.join(RECIPES)}."
        )
    return RECIPES[name]


def parse_variants(models: str) -> list[str]:
    """Variants from a list with commas, such as "vit,sl".

    Raises:
        ValueError: for an unknown variant.
    """
    names = [name.strip() for name in models.split(",")]
    check_variants(names)
    return names


def check_variants(names: Iterable[str]) -> None:
    """Raise ValueError if a variant is unknown."""
    for name in names:
        if name not in VARIANTS:
            raise ValueError(
                f"unknown model {name!r}: choose from {', '.join(VARIANTS)}."
            )


def check_parameters(given: Iterable[str]) -> None:
    """Raise ValueError for a parameter that chapter 5 does not take.

    papermill only logs a mistyped name and runs on without it. Names that
    start with an underscore are Python's own and are passed over.
    """
    names = {name for name in given if not name.startswith("_")}
    unknown = sorted(names.difference(PARAMETERS))
    if unknown:
        raise ValueError(
            f"unknown parameter {unknown[0]!r}: this notebook takes "
            f"{', '.join(PARAMETERS)}."
        )
