"""What is each trick worth? The models of the study "prices".

Each is the small ViT with one thing more, in the recipe of eight passes over
all images. A trick that pays goes into the package and into a chapter; one
that does not stays a row of the price list, and its code goes.

What needs no other model, such as CutMix, is a recipe: `price-cutmix` and so
on, in `vitsd_helpers/training/recipes.py`. A LayerNorm in the tokenizer, SPT
and LSA are variants of the package's own.
"""

import math

import keras
import numpy as np
from keras import layers, ops

from vitsd_helpers.data import ImageData
from vitsd_helpers.dense import TokenDense
from vitsd_helpers.training.recipes import Recipe


class TrickAttention(layers.Layer):
    """Plain self-attention with one change.

    Call with tokens (B, N, width) of a square of patches; returns the same
    shape. It computes as `LocalitySelfAttention` does in half precision on
    a CPU, by plain products, so that seconds can be compared.

    Args:
        change: "relative": a learned number for each head and each distance
            of two tokens is added to their score (Liu et al. 2021, Swin,
            eq. 4). "rotary": queries and keys are turned by angles that
            grow with row and column, so that a product knows the distance
            (Heo et al. 2024, axial). "separate": a matrix each for
            queries, keys and values, which Muon then sees one by one.
        num_heads, key_dim: as in `LocalitySelfAttention`.
        kernel_initializer: of all matrices.
    """

    def __init__(self, change, num_heads, key_dim, kernel_initializer, **rest):
        super().__init__(**rest)
        self.change = change
        self.num_heads, self.key_dim = num_heads, key_dim
        self.kernel_initializer = kernel_initializer

    def build(self, input_shape):
        _, count, width = input_shape
        inner = self.num_heads * self.key_dim
        names = ("query", "key", "value")
        parts = names if self.change == "separate" else ("qkv",)
        self.projections = [
            self._dense(inner * 3 // len(parts), name, width) for name in parts
        ]
        self.output_projection = self._dense(width, "output", inner, True)
        side = math.isqrt(count)
        if self.change == "relative":
            self.bias = self.add_weight(
                shape=((2 * side - 1) ** 2, self.num_heads),
                initializer="zeros",
                name="position_bias",
            )
            row, column = np.divmod(np.arange(count), side)
            down = row[:, None] - row + side - 1
            right = column[:, None] - column + side - 1
            self.distance = (down * (2 * side - 1) + right).astype("int32")
        elif self.change == "rotary":
            angles = axial_angles(side, self.key_dim)[:, None]  # (N, 1, D/2)
            self.cos, self.sin = np.cos(angles), np.sin(angles)

    def _dense(self, units: int, name: str, width: int, use_bias=False):
        dense = TokenDense(
            units,
            use_bias=use_bias,
            kernel_initializer=self.kernel_initializer,
            dtype=self.dtype_policy,
            name=name,
        )
        dense.build((None, None, width))
        return dense

    def call(self, tokens):
        count = tokens.shape[1]  # N
        parts = [projection(tokens) for projection in self.projections]
        qkv = ops.concatenate(parts, axis=-1)  # (B, N, 3 H D)
        shape = (-1, count, 3, self.num_heads, self.key_dim)
        query, key, value = ops.unstack(ops.reshape(qkv, shape), axis=2)
        if self.change == "rotary":
            query, key = self._turn(query), self._turn(key)
        query = ops.transpose(query, (0, 2, 1, 3)) / self.key_dim**0.5
        scores = ops.matmul(query, ops.transpose(key, (0, 2, 3, 1)))
        scores = ops.cast(scores, "float32")  # (B, H, N, N)
        if self.change == "relative":
            bias = ops.take(self.bias, self.distance, axis=0)  # (N, N, H)
            scores = scores + ops.cast(
                ops.transpose(bias, (2, 0, 1)), "float32"
            )
        weights = ops.cast(ops.softmax(scores), self.compute_dtype)
        mixed = ops.matmul(weights, ops.transpose(value, (0, 2, 1, 3)))
        mixed = ops.transpose(mixed, (0, 2, 1, 3))  # (B, N, H, D)
        inner = self.num_heads * self.key_dim
        return self.output_projection(ops.reshape(mixed, (-1, count, inner)))

    def _turn(self, x):
        """Queries or keys (B, N, H, D), turned by place."""
        first, second = ops.split(x, 2, axis=-1)  # (B, N, H, D/2) each
        cos = ops.cast(self.cos, x.dtype)
        sin = ops.cast(self.sin, x.dtype)
        turned = [first * cos - second * sin, first * sin + second * cos]
        return ops.concatenate(turned, axis=-1)


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


def overlapping(config) -> keras.Sequential:
    """One convolution of the size that SPT sees, two patches wide."""
    size = config.patch_size
    convolution = layers.Conv2D(
        config.width,
        2 * size,
        strides=size,
        padding="same",
        kernel_initializer=config.kernel_init,
    )
    return _tokens([convolution], config)


def stem(config) -> keras.Sequential:
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
    return _tokens([*parts, last], config)


def _tokens(parts: list, config) -> keras.Sequential:
    shape = layers.Reshape((-1, config.width))
    return keras.Sequential([*parts, shape], name="tokenizer")


#: The models by name: what the price list says, the layer of the ViT that is
#: exchanged (the end of its name), and what stands in its place.
MODELS = {
    "relative": ("relative positions", "attention", "relative"),
    "rotary": ("rotary positions, 2-D", "attention", "rotary"),
    "separate": ("Muon on separate q, k, v", "attention", "separate"),
    "seqpool": ("sequence pooling", "pool", SequencePool),
    "overlap": ("overlapping patches", "tokenizer", overlapping),
    "stem": ("convolutional stem", "tokenizer", stem),
}


def build(
    recipe: Recipe, variant: str, data: ImageData, seed: int
) -> keras.Model:
    """The recipe's ViT with one layer exchanged.

    Args:
        recipe, data, seed: see `Recipe.build`.
        variant: a name in `MODELS`; the model is named so.

    Returns:
        A model from images (B, H, W, C) to logits (B, classes), in the
        recipe's precision.
    """
    _, place, new = MODELS[variant]
    base = recipe.build("vit", data, seed)
    config = base.vit_config

    def exchange(layer):
        if not layer.name.endswith(place):
            return type(layer).from_config(layer.get_config())
        if place == "tokenizer":
            return new(config)
        if place == "pool":
            return new(name="pool")
        return TrickAttention(
            new,
            config.num_heads,
            config.key_dim,
            config.kernel_init,
            name=layer.name,
        )

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(recipe.precision)
    try:
        keras.utils.set_random_seed(seed)
        inner = keras.models.clone_model(base, clone_function=exchange)
    finally:
        keras.config.set_dtype_policy(policy)
    return keras.Model(inner.inputs[0], inner.outputs[0], name=variant)
