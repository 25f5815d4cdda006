"""Recipes: everything that decides a training run, by name.

They are plain dataclasses. hydra and its YAML files are not used: a reader
sees a recipe in one place, an editor checks its settings, and its hash is of
what is written here.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..config import ALL_DIRECTIONS, CARDINAL, PRESETS, ViTConfig
from ..data import ImageData, load_data
from .splits import hold_out, subset

if TYPE_CHECKING:
    import keras

#: The models of a comparison by their short names: the title, and what the
#: model has of the SL-ViT, "s" for SPT, "m" for the mask, "t" for the
#: learned temperature.
FACTORS = {
    "vit": ("ViT", ""),
    "spt": ("ViT + SPT", "s"),
    "mask": ("ViT + mask", "m"),
    "tau": ("ViT + temperature", "t"),
    "spt_mask": ("ViT + SPT + mask", "sm"),
    "spt_tau": ("ViT + SPT + temperature", "st"),
    "lsa": ("ViT + LSA", "mt"),
    "sl": ("SL-ViT", "smt"),
}
#: SL-ViTs with other shifts. A ratio of 0 is the control: four copies of
#: the image, not shifted, so the parameters are the SL-ViT's and the pixels
#: are the ViT's.
SHIFTS: dict[str, tuple[str, dict]] = {
    "shift0": ("SL-ViT, shift 0", {"shift_ratio": 0.0}),
    "shift25": ("SL-ViT, shift 1/4", {"shift_ratio": 0.25}),
    "shift75": ("SL-ViT, shift 3/4", {"shift_ratio": 0.75}),
    "shift100": ("SL-ViT, shift 1", {"shift_ratio": 1.0}),
    "cardinal": ("SL-ViT, cardinal", {"shift_directions": CARDINAL}),
    "eight": ("SL-ViT, eight shifts", {"shift_directions": ALL_DIRECTIONS}),
}
#: Controls: the title, what the model has of the SL-ViT, and what else is
#: changed. They part SPT's LayerNorm from its pixels, and the temperature
#: as a divisor from the temperature as a factor.
CONTROLS = {
    "vit_norm": ("ViT + LayerNorm", "", {"tokenizer_norm": True}),
    "lsa_norm": ("ViT + LSA + LayerNorm", "mt", {"tokenizer_norm": True}),
    "spt_nonorm": ("ViT + SPT, no LayerNorm", "s", {"tokenizer_norm": False}),
    "sl_nonorm": ("SL-ViT, no LayerNorm", "smt", {"tokenizer_norm": False}),
    "shift0_nonorm": (
        "SL-ViT, shift 0, no LayerNorm",
        "smt",
        {"tokenizer_norm": False, "shift_ratio": 0.0},
    ),
    "sl_divide": (
        "SL-ViT, temperature as divisor",
        "smt",
        {"temperature_form": "divide"},
    ),
}
VARIANTS = {
    name: title for name, (title, *_) in (FACTORS | SHIFTS | CONTROLS).items()
}
#: What is no vision transformer, for `Recipe.build`.
BASELINES = {"cnn": "ResNet-14"}
#: What chapter 5 takes from papermill. The notebook says it in its first cell,
#: but cannot read its own cells; a test compares the two.
PARAMETERS = (
    "recipe",
    "models",
    "seed",
    "data_dir",
    "record_dir",
    "weights_dir",
    "work_dir",
)


def _later(default):
    """A setting younger than the first records.

    At its default it is no part of `Recipe.settings`: the hash of a recipe
    that does not use it stays what it was.
    """
    return field(default=default, metadata={"later": True})


def _stored_as(key: str, default):
    """A setting that records, and so hashes, know by another name."""
    return field(default=default, metadata={"key": key})


def _settings(part) -> dict:
    """The fields of a dataclass as a record holds them."""
    values = dataclasses.asdict(part)
    return {
        setting.metadata.get("key", setting.name): values[setting.name]
        for setting in dataclasses.fields(part)
        if not setting.metadata.get("later")
        or values[setting.name] != setting.default
    }


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """What is built inside has this dtype policy of Keras."""
    import keras

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


@dataclass(frozen=True)
class Recipe:
    """A training run, but for the seed and the variant of the model."""

    name: str
    #: A name that `load_data` knows.
    data: str
    #: The SL-ViT; other variants are made from it by `config`.
    model: ViTConfig
    epochs: int
    batch_size: int
    #: The highest learning rate.
    learning_rate: float
    #: As Keras's AdamW means it: multiplied by the learning rate.
    weight_decay: float
    #: How many of the training images to use, drawn by the seed; 0: all.
    train_images: int = 0
    #: Training images set aside for validation, on which the run is then
    #: tested in place of the test images; 0: none.
    held_out: int = 0
    #: Images that count as an epoch; 0: as many as there are.
    samples_per_epoch: int = _stored_as("epoch_images", 0)
    #: "cosine" with warm-up, or "constant".
    schedule: str = "cosine"
    #: The part of all steps that the warm-up takes.
    warmup: float = 0.1
    #: Decay biases, norms, positions and temperatures too.
    decay_everything: bool = False
    #: Momentum of the weights' moving average; 0: none.
    ema: float = 0.0
    #: Mirror each training image left to right with probability 0.5.
    flip: bool = False
    #: Zero-pad by so many pixels and crop back at random.
    crop: int = 0
    #: Largest angle of a random rotation, in degrees.
    rotate: float = 0.0
    #: Largest part by which height and width are scaled at random.
    zoom: float = 0.0
    #: Magnitude of RandAugment, two operations an image; 0: none.
    rand_augment: float = 0
    #: Probability of random erasing.
    random_erasing: float = _stored_as("erase", 0.0)
    #: Probability that an image is mixed with another.
    mix: float = 0.0
    #: The part of the mixed images that CutMix mixes; the rest is MixUp's.
    cutmix: float = 0.5
    label_smoothing: float = 0.0
    #: Keras's dtype policy: "float32", "mixed_bfloat16" or "mixed_float16".
    precision: str = "float32"
    #: Ask for XLA; what Keras does by itself on a CPU differs by backend.
    jit_compile: bool = False
    #: "adamw", or "muon": Muon for the matrices of the blocks and of the
    #: head's hidden layers, AdamW for the rest.
    optimizer: str = _later("adamw")
    #: The part of the tokens that a training image keeps in the first
    #: epochs; see `PatchDropout`.
    keep_tokens: float = _later(1.0)
    #: The part of the epochs that are the first.
    keep_until: float = _later(0.0)

    def __post_init__(self):
        dropping = self.keep_tokens < 1
        if not 0 <= self.keep_until <= 1 or dropping != (self.keep_until > 0):
            raise ValueError(
                f"keep_tokens={self.keep_tokens} with keep_until="
                f"{self.keep_until}: to drop tokens give both, the second "
                "up to 1; to keep all leave both out."
            )
        if dropping and not self.full_from:
            raise ValueError(
                f"keep_until={self.keep_until} of {self.epochs} epochs is "
                "less than one: no token would be dropped."
            )

    @property
    def full_from(self) -> int:
        """The epoch, from 0, from which on all tokens are kept."""
        return round(self.keep_until * self.epochs)

    @property
    def settings(self) -> dict:
        """All settings that decide the run, as a record holds them."""
        return _settings(self) | {"model": _settings(self.model)}

    @property
    def hash(self) -> str:
        """Twelve hex digits that change with any setting."""
        text = json.dumps(self.settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def config(self, variant: str, data: ImageData) -> ViTConfig:
        """The configuration of a variant, fitted to the data.

        Args:
            variant: a name in `VARIANTS`.
            data: gives the classes, the normalisation, and the size of the
                images. A recipe that does not resize takes them as they
                are; one that does resizes them to its own fixed size.

        Raises:
            ValueError: for an unknown variant, images that are not square,
                or a size that does not divide into the recipe's patches.
        """
        check_variants([variant])
        mean, std = data.statistics
        size, width, channels = data.x_train.shape[1:]
        if size != width:
            raise ValueError(
                f"the images are {size} x {width} pixels: crop or resize "
                "them to squares."
            )
        resizes = self.model.image_size != self.model.input_size
        config = replace(
            self.model,
            num_classes=len(data.class_names),
            mean=mean,
            std=std,
            input_size=size,
            image_size=self.model.image_size if resizes else size,
            channels=channels,
        )
        if variant in SHIFTS:
            return replace(config, **SHIFTS[variant][1])
        _, has, changes = (*(FACTORS | CONTROLS)[variant], {})[:3]
        return replace(
            config,
            shift_directions=config.shift_directions if "s" in has else (),
            diagonal_mask="m" in has,
            learnable_temperature="t" in has,
            **changes,
        )

    def build(
        self, variant: str, data: ImageData, seed: int = 0
    ) -> "keras.Model":
        """A model of the recipe, to be trained on `data`.

        Args:
            variant: a name in `VARIANTS` or `BASELINES`; the model is
                named so.
            data: see `config`.
            seed: draws the weights. Keras's global seed is set to it.

        Returns:
            A model from images (B, H, W, C) on the scale 0..255 to logits
            (B, classes), in the recipe's precision. The `vit_config` of a
            variant is its configuration; a baseline has none.

        Raises:
            ValueError: see `config`; or if tokens are to be dropped and the
                pooling is "flatten".
        """
        import keras

        from ..model import build_vit
        from .baseline import build_resnet
        from .patch_dropout import PatchDropout

        check_variants([variant], [*VARIANTS, *BASELINES])
        baseline = variant in BASELINES
        config = self.config("vit" if baseline else variant, data)
        if self.full_from and config.pooling == "flatten":
            raise ValueError(
                "pooling='flatten' needs every token in its place, so none "
                "can be dropped: choose pooling 'mean' or 'token', or "
                "keep_tokens=1."
            )
        keras.utils.set_random_seed(seed)
        with computing_in(self.precision):
            if baseline:
                return build_resnet(config, variant)
            patch_dropout = None
            if self.full_from:
                patch_dropout = PatchDropout(
                    self.keep_tokens, class_token=config.pooling == "token"
                )
            return build_vit(config, variant, patch_dropout)

    def load(
        self, data_dir: str | os.PathLike | None = None, seed: int = 0
    ) -> ImageData:
        """The images to train and to test on.

        Args:
            data_dir: see `load_data`.
            seed: draws `train_images`; what is held out is always the same.
        """
        data = load_data(self.data, data_dir)
        if self.held_out:
            data = hold_out(data, self.held_out)
        if self.train_images:
            data = subset(data, self.train_images, seed)
        return data


_QUICK = Recipe(
    name="quick",
    data="digits",
    model=replace(PRESETS["small-sl"], width=64, depth=2, num_heads=4),
    epochs=5,
    batch_size=64,
    learning_rate=2e-3,
    weight_decay=0.05,
)
_LAPTOP = Recipe(
    name="laptop",
    data="cifar100",
    model=PRESETS["small-sl"],
    epochs=6,
    batch_size=128,
    learning_rate=2e-3,
    weight_decay=0.05,
    flip=True,
    jit_compile=True,
)
#: The authors' settings. Their sampler yields the data three times an
#: epoch, and their AutoAugment is RandAugment here.
_PAPER = Recipe(
    name="paper",
    data="cifar100",
    model=replace(PRESETS["paper-sl"], drop_path=0.1),
    epochs=100,
    samples_per_epoch=150_000,
    batch_size=128,
    learning_rate=3e-3,
    weight_decay=0.05,
    flip=True,
    crop=4,
    rand_augment=9,
    random_erasing=0.25,
    mix=0.5,
    label_smoothing=0.1,
    precision="mixed_bfloat16",
    jit_compile=True,
)
#: The Keras example's printed settings.
_SEED = Recipe(
    name="seed-as-printed",
    data="cifar100",
    model=PRESETS["seed-sl"],
    epochs=50,
    batch_size=256,
    learning_rate=1e-3,
    weight_decay=1e-4,
    train_images=45_000,
    schedule="constant",
    decay_everything=True,
    flip=True,
    rotate=7.2,
    zoom=0.2,
    jit_compile=True,
)
SIZES = (500, 1_000, 2_000, 5_000, 10_000, 50_000)
#: One run of the studies of chapters 7 and 8.
_STUDY = Recipe(
    name="steps-5000",
    data="cifar100",
    model=PRESETS["small-sl"],
    epochs=18,
    samples_per_epoch=5_000,
    train_images=5_000,
    batch_size=64,
    learning_rate=2e-3,
    weight_decay=0.05,
    flip=True,
    crop=4,
    label_smoothing=0.1,
    jit_compile=True,
)

#: For one large GPU: as many images as the authors' run, in larger batches.
#: An epoch is five passes, so that checkpoints are rare. The rate is the
#: authors'; a quarter of their steps with four times their decay shrinks
#: the weights as much over the whole run.
_BEST = replace(
    _PAPER,
    name="best",
    epochs=60,
    samples_per_epoch=250_000,
    batch_size=512,
    weight_decay=0.2,
    mix=0.8,
    cutmix=0.75,
)
#: The same for runs too short to overfit: CutMix is what is left of its
#: augmentation.
_SHORT = replace(
    _BEST,
    model=PRESETS["paper-sl"],
    rand_augment=0,
    random_erasing=0.0,
    mix=0.5,
    cutmix=1.0,
)
#: For Colab's free card, a T4: both models of chapter 5 in about half an
#: hour. That is an estimate: none of our runs was on a T4, on which models
#: of this size take some 2.5 TFLOP/s, 2,200 images/s. Chapter 5 measures
#: before it starts. Epochs are short: after each there is a checkpoint.
_COLAB = replace(_SHORT, name="colab", epochs=20, samples_per_epoch=100_000)
#: The rungs for two cores: one recipe, N passes over all images. Optimiser
#: and rate are the best of the trials in `book/results/trials`.
_LADDER = replace(
    _STUDY,
    name="ladder-2",
    epochs=2,
    samples_per_epoch=0,
    train_images=0,
    batch_size=128,
    optimizer="muon",
    learning_rate=6e-3,
)


#: How many passes over all images each rung of the ladder makes.
RUNGS = (2, 4, 8, 16, 32, 64)


def _halved(recipe: Recipe) -> Recipe:
    """The same recipe in bfloat16, which doubles what a core does."""
    return replace(
        recipe, name=f"{recipe.name}-bf16", precision="mixed_bfloat16"
    )


def _ladder() -> list[Recipe]:
    """Runs of all lengths, each a point of accuracy over time.

    "best-30s", "best" and "best-9min" are for a GPU, the rest for two
    cores; "ladder-N-bf16" is "ladder-N" in bfloat16, and
    "ladder-64-cutmix-bf16" the longest with CutMix on half of the images.
    "large-50-cutmix-bf16" is that, a little shorter, at the paper's size.
    "ladder-seed" is one pass with the Keras example's settings; it does not
    ask for XLA, which slows its step on a CPU (chapter 13).
    """
    short = replace(_SHORT, name="best-30s", epochs=8)
    long = replace(
        _BEST,
        name="best-9min",
        model=replace(_PAPER.model, depth=12),
        epochs=120,
        weight_decay=0.1,
    )
    rungs = [
        replace(_LADDER, name=f"ladder-{count}", epochs=count)
        for count in RUNGS
    ]
    float32 = [rung for rung in rungs if rung.epochs <= 16]
    mixed = replace(rungs[-1], name="ladder-64-cutmix", mix=0.5, cutmix=1.0)
    small = _LADDER.model.position_init  # as in the trials of its rate
    size = replace(PRESETS["paper-sl"], position_init=small)
    large = replace(mixed, name="large-50-cutmix", epochs=50, model=size)
    seed = replace(_SEED, name="ladder-seed", epochs=1, jit_compile=False)
    halved = map(_halved, [*rungs, mixed, large])
    return [short, _BEST, long, *float32, seed, *halved]


def _prices() -> list[Recipe]:
    """The recipe "ladder-8" with one change: the study "prices".

    In float32, as its base: not every processor does bfloat16 well.
    """
    # Half of its images mixed, as in the study of CutMix; the authors'
    # magnitude and probability; AdamW's better rate of the trials; a mean
    # over the last 500 of some 3,000 steps.
    changes: dict[str, dict] = {
        "adamw": {"optimizer": "adamw", "learning_rate": 4e-3},
        "cutmix": {"mix": 0.5, "cutmix": 1.0},
        "mixup": {"mix": 0.5, "cutmix": 0.0},
        "randaugment": {"rand_augment": 9},
        "erasing": {"random_erasing": 0.25},
        "no-smoothing": {"label_smoothing": 0.0},
        "ema": {"ema": 0.998},
        "patch-dropout": {"keep_tokens": 0.5, "keep_until": 0.5},
    }
    return [
        replace(_LADDER, name=f"price-{name}", epochs=8, **change)
        for name, change in changes.items()
    ]


def _sizes() -> list[Recipe]:
    """The study's recipe on other numbers of images.

    "steps-N": as many steps for every N. "epochs-N": as many epochs.
    "cutmix-N": as many steps, with CutMix on half of the images.
    "steps-N-bf16" is "steps-N" in bfloat16.
    """
    recipes = []
    for count in SIZES:
        steps = replace(_STUDY, name=f"steps-{count}", train_images=count)
        epochs = replace(steps, name=f"epochs-{count}", samples_per_epoch=0)
        mixed = replace(steps, name=f"cutmix-{count}", mix=0.5, cutmix=1.0)
        recipes += [steps, epochs, mixed, _halved(steps)]
    return recipes


def _longer() -> list[Recipe]:
    """The study's images for five times as many steps.

    As the best of the trials of 5,000 images in `book/results/trials`, for
    which it is 90 passes. The CNN's kernels are no matrices for Muon: it has
    the best of three rates of AdamW, in bfloat16 where the trials and its
    first runs were. The others are in float32, which every processor does
    well. With all images the CNN alone has one:
    for the transformers there is the ladder.
    """
    recipes = []
    for count in SIZES:
        muon = replace(
            _STUDY,
            name=f"longer-{count}",
            train_images=count,
            epochs=18,
            samples_per_epoch=25_000,
            optimizer="muon",
            learning_rate=6e-3,
            mix=0.5,
            cutmix=1.0,
        )
        adamw = replace(
            _halved(muon) if count in (5_000, 10_000) else muon,
            name=f"longer-{count}-adamw",
            optimizer="adamw",
            learning_rate=4e-3,
        )
        recipes += [adamw] if count == SIZES[-1] else [muon, adamw]
    return recipes


RECIPES = {
    recipe.name: recipe
    for recipe in (
        _QUICK,
        _LAPTOP,
        _PAPER,
        _SEED,
        # The 2022 logs came from an AdamW that did not multiply its decay
        # by the learning rate: 1e-4 then is 1e-4 / 1e-3 now.
        replace(_SEED, name="seed-2022", weight_decay=0.1),
        _COLAB,
        *_sizes(),
        *_longer(),
        *_ladder(),
        *_prices(),
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


def parse_variants(
    models: str, known: Iterable[str] = tuple(VARIANTS)
) -> list[str]:
    """Variants from a list with commas, such as "vit,sl".

    Args:
        models: the list.
        known: what may be in it.

    Raises:
        ValueError: for an unknown variant.
    """
    names = [name.strip() for name in models.split(",")]
    check_variants(names, known)
    return names


def check_variants(
    names: Iterable[str], known: Iterable[str] = tuple(VARIANTS)
) -> None:
    """Raise ValueError if a variant is not a known one."""
    for name in names:
        if name not in known:
            raise ValueError(
                f"unknown model {name!r}: choose from {', '.join(known)}."
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
