"""Look into a trained model: who attends to whom, how far, how sharply.

Shapes: B images; `heads` heads; N = side * side patches, row by row, in a
square grid. Weights are (B, heads, queries, keys), each row summing to 1.
"""

import math

import keras
import numpy as np
from keras import ops

from ..attention import LocalitySelfAttention


def attention_weights(model: keras.Model, images) -> list[np.ndarray]:
    """The attention weights of every block, without training's dropout.

    Args:
        model: from `build_vit`, or another functional model with
            `LocalitySelfAttention` layers.
        images: (B, H, W, C), what the model takes.

    Returns:
        (B, heads, N, N) float32 for each block, first block first; N
        counts the class token, if the model has one.

    Raises:
        ValueError: if the model has no such layer.
    """
    layers = [
        layer
        for layer in model.layers
        if isinstance(layer, LocalitySelfAttention)
    ]
    if not layers:
        raise ValueError(
            f"the model {model.name!r} has no LocalitySelfAttention layer "
            "to ask for its weights."
        )
    probe = keras.Model(model.input, {x.name: x.input for x in layers})
    tokens = probe(images)
    found = []
    for layer in layers:
        _, weights = layer(tokens[layer.name], return_attention_scores=True)
        found.append(ops.convert_to_numpy(ops.cast(weights, "float32")))
    return found


def patch_distances(count: int, patch_size: int) -> np.ndarray:
    """Distances between the centres of all patches of a square image.

    Args:
        count: N, the number of patches.
        patch_size: side of a patch in pixels; 1 gives distances in patches.

    Returns:
        (N, N), in the unit of `patch_size`.

    Raises:
        ValueError: if `count` patches do not fill a square grid, or
            `patch_size` is not positive.
    """
    side = math.isqrt(count)
    if side < 1 or side * side != count:
        raise ValueError(
            f"{count} tokens do not fill a square grid: leave out a class "
            "token, and give all the patches."
        )
    if patch_size <= 0:
        raise ValueError(
            f"patch_size={patch_size} must be above 0, in pixels."
        )
    places = np.stack(np.divmod(np.arange(count), side), axis=-1)
    steps = places[:, None] - places[None, :]
    return patch_size * np.sqrt((steps**2).sum(-1))


def mean_attention_distance(weights, patch_size: int) -> np.ndarray:
    """How far each head looks (Dosovitskiy et al. 2021, appendix D.7).

    The distance between the centres of the query's and the key's patch,
    averaged by the attention weight, then over all queries and images. A
    patch that looks at itself looks zero far.

    Args:
        weights: (B, heads, N, N), patches only.
        patch_size: side of a patch in pixels.

    Returns:
        (heads,), in pixels.

    Raises:
        ValueError: if `weights` is not of that shape, N is not the number
            of patches of a square image, or `patch_size` is not positive.
    """
    weights = _checked(weights)
    distances = patch_distances(weights.shape[-1], patch_size)
    return (weights * distances).sum(-1).mean((0, 2))


def mean_entropy(weights) -> np.ndarray:
    """How widely each head spreads its attention.

    The entropy of a row of weights, averaged over queries and images: 0 if
    every query looks at one key only, log(N) if it looks at all keys alike.
    Its exponential is a number of keys.

    Args:
        weights: (B, heads, N, N).

    Returns:
        (heads,), in nats.

    Raises:
        ValueError: if `weights` is not of that shape.
    """
    weights = _checked(weights)
    logs = np.log(np.where(weights > 0, weights, 1))  # 0 log 0 counts as 0
    return -(weights * logs).sum(-1).mean((0, 2))


def _checked(weights) -> np.ndarray:
    weights = np.asarray(weights, "float64")
    if weights.ndim != 4 or weights.shape[2] != weights.shape[3]:
        raise ValueError(
            "weights must have shape (images, heads, N, N), got "
            f"{weights.shape}."
        )
    return weights
