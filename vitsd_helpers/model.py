"""The vision transformer, from a frozen configuration to a Keras model."""

from dataclasses import dataclass, field, replace

import keras
from keras import layers

from .attention import LocalitySelfAttention
from .dense import TokenDense
from .dropping import TokenDropping
from .patches import DIAGONAL
from .tokenizer import PACKAGE, PatchEncoder, ShiftedPatchTokenization


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
PRESETS = {
    "seed-vit": _SEED.vanilla,
    "seed-sl": _SEED,
    "paper-vit": _PAPER.vanilla,
    "paper-sl": _PAPER,
    "small-vit": _SMALL.vanilla,
    "small-sl": _SMALL,
}


@keras.saving.register_keras_serializable(PACKAGE)
class PixelNormalization(layers.Normalization):
    """`Normalization` that does not broadcast grey images to its channels."""

    def build(self, input_shape):
        super().build(input_shape)
        self.input_spec = layers.InputSpec(
            ndim=len(input_shape), axes={-1: input_shape[-1]}
        )


def build_vit(
    config: ViTConfig,
    name: str | None = None,
    dropping: TokenDropping | None = None,
) -> keras.Model:
    """A vision transformer that maps pixels 0..255 to logits.

    Normalisation and resizing are inside the model, augmentation is not.

    Args:
        config: see `ViTConfig`; `PRESETS` holds ready ones.
        name: of the model.
        dropping: stands before the blocks, for training alone.

    Returns:
        A functional model from (B, input_size, input_size, channels), uint8
        or float on the scale 0..255, to logits (B, num_classes).

    Raises:
        ValueError: for `dropping` with the pooling "flatten", which needs
            every token in its place.
    """
    c = config
    if dropping is not None and c.pooling == "flatten":
        raise ValueError(
            "pooling='flatten' needs every token in its place, so none can "
            "be dropped: choose pooling 'mean' or 'token', or keep_tokens=1."
        )
    shape = (c.input_size, c.input_size, c.channels)
    inputs = keras.Input(shape, name="images")
    variance = [s * s for s in c.std]
    x = PixelNormalization(
        mean=c.mean, variance=variance, name="normalization"
    )(inputs)
    if c.image_size != c.input_size:
        x = layers.Resizing(c.image_size, c.image_size)(x)
    x = ShiftedPatchTokenization(
        c.patch_size,
        c.width,
        directions=c.shift_directions,
        shift_ratio=c.shift_ratio,
        norm=c.tokenizer_norm,
        epsilon=c.norm_epsilon,
        kernel_initializer=c.kernel_init,
        name="tokenizer",
    )(x)
    x = PatchEncoder(
        class_token=c.pooling == "token",
        position_initializer=c.position_init
        if isinstance(c.position_init, str)
        else keras.initializers.RandomNormal(stddev=c.position_init),
        name="encoder",
    )(x)
    if dropping is not None:
        x = dropping(x)
    for index in range(c.depth):
        x = _block(x, c, f"block{index}")
    x = _norm(c, "norm")(x)
    x = _pool(x, c)
    if c.head_dropout:
        x = layers.Dropout(c.head_dropout)(x)
    for index, units in enumerate(c.head_units):
        x = _dense(c, units, f"head_{index}", activation="gelu")(x)
        x = layers.Dropout(c.head_dropout)(x)
    logits = _dense(c, c.num_classes, "logits", dtype="float32")(x)
    return keras.Model(inputs, logits, name=name)


def _block(x, c: ViTConfig, name: str):
    """One pre-norm transformer block: attention, then an MLP."""
    y = _norm(c, f"{name}_norm1")(x)
    y = LocalitySelfAttention(
        c.num_heads,
        c.key_dim,
        diagonal_mask=c.diagonal_mask,
        learnable_temperature=c.learnable_temperature,
        temperature_per=c.temperature_per,
        temperature_form=c.temperature_form,
        use_bias=c.qkv_bias,
        dropout=c.attention_dropout,
        kernel_initializer=c.kernel_init,
        name=f"{name}_attention",
    )(y)
    x = layers.Add(name=f"{name}_add1")([x, _drop_path(y, c)])
    y = _norm(c, f"{name}_norm2")(x)
    hidden = round(c.mlp_ratio * c.width)
    y = _dense(c, hidden, f"{name}_mlp1", activation="gelu")(y)
    y = _drop(y, c.dropout)
    last = "gelu" if c.mlp_gelu_twice else None
    y = _dense(c, c.width, f"{name}_mlp2", activation=last)(y)
    y = _drop(y, c.dropout)
    return layers.Add(name=f"{name}_add2")([x, _drop_path(y, c)])


def _pool(x, c: ViTConfig):
    if c.pooling == "mean":
        return layers.GlobalAveragePooling1D(name="pool")(x)
    if c.pooling == "flatten":
        return layers.Flatten(name="pool")(x)
    return x[:, 0]


def _norm(c: ViTConfig, name: str):
    return layers.LayerNormalization(epsilon=c.norm_epsilon, name=name)


def _dense(c: ViTConfig, units: int, name: str, **kwargs):
    return TokenDense(
        units, kernel_initializer=c.kernel_init, name=name, **kwargs
    )


def _drop(x, rate: float):
    return layers.Dropout(rate)(x) if rate else x


def _drop_path(y, c: ViTConfig):
    """Drop a whole residual branch for some of the training images."""
    if not c.drop_path:
        return y
    return layers.Dropout(c.drop_path, noise_shape=(None, 1, 1))(y)
