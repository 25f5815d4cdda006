"""What is each trick worth? The models of the study "prices".

Each is the small ViT with one thing more, in the recipe of eight passes over
all images: a layer exchanged, or a second task while it trains (`tasks.py`).
A trick that pays goes into the package and into a chapter; one that does not
stays a row of the price list, and its code goes.

What needs no other model, such as CutMix, is a recipe: `price-cutmix` and so
on, in `vitsd_helpers/training/recipes.py`. A LayerNorm in the tokenizer, SPT
and LSA are variants of the package's own.
"""

import math

import keras
import numpy as np
import tasks
from keras import layers, ops

from vitsd_helpers.attention import LocalitySelfAttention
from vitsd_helpers.data import ImageData
from vitsd_helpers.dense import TokenDense
from vitsd_helpers.training.recipes import Recipe, computing_in


class PlainAttention(LocalitySelfAttention):
    """Self-attention with neither mask nor temperature, step by step.

    No fused kernel takes what is added below. So its accuracy can be held
    against the ViT's, its seconds cannot.
    """

    def __init__(self, num_heads, key_dim, **rest):
        super().__init__(
            num_heads,
            key_dim,
            diagonal_mask=False,
            learnable_temperature=False,
            use_bias=False,
            **rest,
        )

    def call(self, tokens, training=False):
        outputs, _ = super().call(
            tokens, training=training, return_attention_scores=True
        )
        return outputs

    def compute_output_spec(self, tokens, training=False):
        return super().compute_output_spec(tokens, training)


class RelativeAttention(PlainAttention):
    """A learned number for each head and distance is added to the score.

    Liu et al. 2021 (Swin), eq. 4. Tokens (B, N, width) of a square.
    """

    def build(self, input_shape):
        super().build(input_shape)
        count = input_shape[1]
        side = math.isqrt(count)
        self.bias = self.add_weight(
            shape=((2 * side - 1) ** 2, self.num_heads),
            initializer="zeros",
            name="position_bias",
        )
        row, column = np.divmod(np.arange(count), side)
        down = row[:, None] - row + side - 1
        right = column[:, None] - column + side - 1
        self.distance = (down * (2 * side - 1) + right).astype("int32")

    def _softmax(self, scores):
        bias = ops.take(self.bias, self.distance, axis=0)  # (N, N, H)
        bias = ops.cast(ops.transpose(bias, (2, 0, 1)), "float32")
        return super()._softmax(ops.cast(scores, "float32") + bias)


class RotaryAttention(PlainAttention):
    """Queries and keys are turned by angles that grow with row and column.

    So a product knows the distance (Heo et al. 2024, axial). Tokens
    (B, N, width) of a square.
    """

    def build(self, input_shape):
        super().build(input_shape)
        side = math.isqrt(input_shape[1])
        angles = axial_angles(side, self.key_dim)[:, None]  # (N, 1, D/2)
        self.cos, self.sin = np.cos(angles), np.sin(angles)

    def _project(self, tokens):
        query, key, value = ops.unstack(super()._project(tokens), axis=2)
        return ops.stack([self._turn(query), self._turn(key), value], axis=2)

    def _turn(self, x):
        """Queries or keys (B, N, H, D), turned by place."""
        first, second = ops.split(x, 2, axis=-1)  # (B, N, H, D/2) each
        cos = ops.cast(self.cos, x.dtype)
        sin = ops.cast(self.sin, x.dtype)
        turned = [first * cos - second * sin, first * sin + second * cos]
        return ops.concatenate(turned, axis=-1)


class SeparateAttention(PlainAttention):
    """A matrix each for queries, keys and values: Muon sees one by one."""

    def build(self, input_shape):
        # Not the parent's: its one matrix would stay among the weights.
        inner = self.num_heads * self.key_dim
        width = input_shape[-1]
        names = ("query", "key", "value")
        self.parts = [self._dense(inner, n, width, False) for n in names]
        self.qkv = _Joined(self.parts)
        self.output_projection = self._dense(width, "output", inner)
        self.drop = layers.Dropout(0.0)

    def _dense(self, units: int, name: str, width: int, use_bias=True):
        dense = TokenDense(
            units,
            use_bias=use_bias,
            kernel_initializer=self.kernel_initializer.clone(),
            dtype=self.dtype_policy,
            name=name,
        )
        dense.build((None, None, width))
        return dense


class _Joined:
    """Dense layers, to be asked for a kernel as if they were one."""

    def __init__(self, parts: list):
        self.parts = parts

    @property
    def kernel(self):
        kernels = [part.kernel for part in self.parts]
        return ops.concatenate(kernels, axis=1)


def axial_angles(side: int, key_dim: int) -> np.ndarray:
    """Angles (side * side, key_dim / 2): half by row, half by column."""
    count = key_dim // 4
    speeds = 100.0 ** (-np.arange(count) / count)
    row, column = np.divmod(np.arange(side * side), side)
    places = np.stack([row, column], axis=1)  # (N, 2)
    return (places[..., None] * speeds).reshape(len(places), -1)


class SequencePool(layers.Layer):
    """A mean of tokens (B, N, width) with learned shares: (B, width).

    Hassani et al. 2021, Compact Transformers, section 3.2.
    """

    def build(self, input_shape):
        self.scores = self.add_weight(
            shape=(input_shape[-1], 1), initializer="zeros", name="token_score"
        )

    def call(self, tokens, mask=None):
        scores = ops.matmul(tokens, ops.cast(self.scores, tokens.dtype))
        shares = ops.softmax(ops.cast(scores, "float32"), axis=1)  # (B, N, 1)
        return ops.sum(tokens * ops.cast(shares, tokens.dtype), axis=1)


def overlapping(config, name: str) -> keras.Sequential:
    """One convolution of the size that SPT sees, two patches wide.

    It starts as a Dense layer of its inputs would by "glorot_normal". For a
    convolution Keras counts each output once for every place of the kernel,
    and its numbers would be several times smaller.
    """
    size = config.patch_size
    inputs = config.channels * (2 * size) ** 2
    convolution = layers.Conv2D(
        config.width,
        2 * size,
        strides=size,
        padding="same",
        kernel_initializer=keras.initializers.VarianceScaling(
            2 * inputs / (inputs + config.width)
        ),
    )
    return _tokens([convolution], config, name)


def stem(config, name: str) -> keras.Sequential:
    """Convolutions of 3 x 3 that halve the sides (Xiao et al. 2021)."""
    parts: list[layers.Layer] = []
    halvings = int(math.log2(config.patch_size))
    for left in reversed(range(halvings)):
        parts += [
            layers.Conv2D(
                config.width // 2**left,
                3,
                strides=2,
                padding="same",
                use_bias=False,
                kernel_initializer="he_normal",
            ),
            # Keras's default of 0.99 would forget too slowly.
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
        ]
    last = layers.Conv2D(
        config.width, 1, kernel_initializer=config.kernel_init
    )
    return _tokens([*parts, last], config, name)


def _tokens(parts: list, config, name: str) -> keras.Sequential:
    shape = layers.Reshape((-1, config.width))
    return keras.Sequential([*parts, shape], name=name)


def attention(kind: type[PlainAttention]):
    """What makes an attention of this kind as a configuration says."""
    return lambda config, name: kind(
        config.num_heads,
        config.key_dim,
        kernel_initializer=config.kernel_init,
        name=name,
    )


def sequence_pool(config, name: str) -> SequencePool:
    """A pool of any configuration."""
    return SequencePool(name=name)


#: The models by name: the layer of the ViT that is exchanged (the end of its
#: name), and what makes another of configuration and name.
MODELS = {
    "relative": ("attention", attention(RelativeAttention)),
    "rotary": ("attention", attention(RotaryAttention)),
    "separate": ("attention", attention(SeparateAttention)),
    "seqpool": ("pool", sequence_pool),
    "overlap": ("tokenizer", overlapping),
    "stem": ("tokenizer", stem),
}


def build(
    recipe: Recipe, variant: str, data: ImageData, seed: int
) -> keras.Model:
    """The recipe's ViT with one thing more, or another of its models.

    Args:
        recipe, data, seed: see `Recipe.build`.
        variant: a name in `MODELS`, "ssat", "guide" (its CNN is not trained
            yet), or one that the recipe builds; the model is named so.

    Returns:
        A model from images (B, H, W, C) to logits (B, classes), in the
        recipe's precision.
    """
    if variant == "guide":
        cnn, vit = (recipe.build(v, data, seed) for v in ("cnn", "vit"))
        return tasks.Guided(vit, cnn, name=variant)
    if variant not in (*MODELS, "ssat"):
        return recipe.build(variant, data, seed)
    base = recipe.build("vit", data, seed)
    with computing_in(recipe.precision):
        keras.utils.set_random_seed(seed)
        if variant == "ssat":
            return tasks.Reconstructing(base, name=variant)
        return exchanged(base, variant)


def exchanged(base: keras.Model, variant: str) -> keras.Model:
    """A ViT like the base, with one layer exchanged and new weights."""
    place, new = MODELS[variant]
    config = base.vit_config

    def exchange(layer):
        if not layer.name.endswith(place):
            return type(layer).from_config(layer.get_config())
        return new(config, layer.name)

    inner = keras.models.clone_model(base, clone_function=exchange)
    return keras.Model(inner.inputs[0], inner.outputs[0], name=variant)
