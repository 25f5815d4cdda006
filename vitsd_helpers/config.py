"""The configuration of a vision transformer, without any of Keras.

What only asks which recipes, models and settings there are need not wait
for a backend to be imported.
"""

from dataclasses import dataclass, field, replace

#: Where the content of the image moves: (down, right), in shifts.
OFFSETS = {
    "left-up": (-1, -1),
    "left-down": (1, -1),
    "right-up": (-1, 1),
    "right-down": (1, 1),
    "left": (0, -1),
    "right": (0, 1),
    "up": (-1, 0),
    "down": (1, 0),
}
#: The paper's four directions, in the order of the Keras example.
DIAGONAL = ("left-up", "left-down", "right-up", "right-down")
#: The four cardinal directions.
CARDINAL = ("left", "right", "up", "down")
#: All eight.
ALL_DIRECTIONS = CARDINAL + DIAGONAL


@dataclass(frozen=True)
class ViTConfig:
    """Everything that decides the shape of a vision transformer.

    The defaults are the paper's SL-ViT at 32 x 32 pixels, mean-pooled.
    Make variants with `dataclasses.replace(config, depth=4)`.

    Raises:
        ValueError: if the sizes do not fit together; the message names the
            value and the remedy.
    """

    #: Pixels on a side of the images that the model is given.
    input_size: int = 32
    #: Pixels on a side after resizing inside the model.
    image_size: int = 32
    channels: int = 3
    num_classes: int = 100
    #: Mean and standard deviation of each channel, on the scale 0..255.
    #: These are CIFAR-100's training images.
    mean: tuple[float, ...] = (129.30, 124.07, 112.43)
    std: tuple[float, ...] = (68.17, 65.39, 70.42)

    patch_size: int = 4
    #: Shifted Patch Tokenization; no directions: the vanilla tokenizer.
    shift_directions: tuple[str, ...] = DIAGONAL
    shift_ratio: float = 0.5

    #: Length of a token.
    width: int = 192
    #: Number of transformer blocks.
    depth: int = 9
    num_heads: int = 12
    #: Length of a query, key and value of one head.
    key_dim: int = 16
    #: Hidden width of the MLP, as a multiple of `width`.
    mlp_ratio: float = 2.0
    #: GELU and dropout after both layers of the MLP (the Keras example),
    #: or GELU after the first only (the authors' code).
    mlp_gelu_twice: bool = False
    qkv_bias: bool = False

    #: Locality Self-Attention; see `LocalitySelfAttention`.
    diagonal_mask: bool = True
    learnable_temperature: bool = True
    temperature_per: str = "head"
    temperature_form: str = "multiply"

    #: "mean" over tokens, "token" (a class token), or "flatten".
    pooling: str = "mean"
    #: Hidden widths of the classifier.
    head_units: tuple[int, ...] = ()
    head_dropout: float = 0.0
    #: After the MLP's layers.
    dropout: float = 0.0
    attention_dropout: float = 0.0
    #: Probability that a training image skips a residual branch.
    drop_path: float = 0.0

    norm_epsilon: float = 1e-5
    #: Standard deviation of the normal start of the positions; "uniform"
    #: is Keras's U(-0.05, 0.05).
    position_init: float | str = 1.0
    kernel_init: str = "glorot_normal"
    #: LayerNorm over the patches, before they are projected; None: if the
    #: tokenizer has shifts. Younger than the first records: at its default
    #: it is no part of a recipe's hash.
    tokenizer_norm: bool | None = field(default=None, metadata={"later": True})

    def __post_init__(self):
        sizes = ("input_size", "image_size", "channels", "patch_size")
        for name in (*sizes, "width", "depth", "num_heads", "key_dim"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name}={getattr(self, name)} must be at least 1."
                )
        if self.image_size % self.patch_size:
            raise ValueError(
                f"image_size={self.image_size} does not divide into "
                f"patches of {self.patch_size}: choose a patch_size that "
                "divides it."
            )
        if self.num_classes < 2:
            raise ValueError(
                f"num_classes={self.num_classes}: a classifier needs at "
                "least 2."
            )
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(
                f"mean={self.mean} and std={self.std} need one value for "
                f"each of the {self.channels} channels."
            )
        if self.pooling not in ("mean", "token", "flatten"):
            raise ValueError(
                f"pooling={self.pooling!r} is unknown: choose 'mean', "
                "'token' or 'flatten'."
            )

    @property
    def num_patches(self) -> int:
        """Patches of an image."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def num_tokens(self) -> int:
        """Patches, and the class token if there is one."""
        return self.num_patches + (self.pooling == "token")

    @property
    def vanilla(self) -> "ViTConfig":
        """The same model with neither SPT nor LSA."""
        return replace(
            self,
            shift_directions=(),
            diagonal_mask=False,
            learnable_temperature=False,
        )


_PAPER = ViTConfig()
_SMALL = ViTConfig(width=96, depth=4, num_heads=6, position_init=0.02)
_SEED = ViTConfig(
    image_size=72,
    patch_size=6,
    width=64,
    depth=8,
    num_heads=4,
    key_dim=64,
    mlp_gelu_twice=True,
    qkv_bias=True,
    temperature_per="layer",
    temperature_form="divide",
    pooling="flatten",
    head_units=(2048, 1024),
    head_dropout=0.5,
    dropout=0.1,
    attention_dropout=0.1,
    norm_epsilon=1e-6,
    position_init="uniform",
    kernel_init="glorot_uniform",
)
#: seed: the Keras example. paper: the authors' ViT, mean-pooled. small: for
#: laptops. "-vit" is the vanilla twin of "-sl", which has SPT and LSA.
#:
#: :meta hide-value:
PRESETS = {
    "seed-vit": _SEED.vanilla,
    "seed-sl": _SEED,
    "paper-vit": _PAPER.vanilla,
    "paper-sl": _PAPER,
    "small-vit": _SMALL.vanilla,
    "small-sl": _SMALL,
}
