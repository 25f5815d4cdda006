"""Plain NumPy twins of the layers, and random material for the tests."""

from collections.abc import Sequence

import keras
import numpy as np


def pixels(*shape: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    """Random whole numbers from 1 to 255: no zero, which marks padding."""
    return np.random.default_rng(seed).integers(1, 256, shape).astype(dtype)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def randomise(layer: keras.layers.Layer, seed: int = 0) -> None:
    """Replace every weight, also those that start at zero or one."""
    random = np.random.default_rng(seed)
    layer.set_weights(
        [random.uniform(-0.5, 0.5, w.shape) for w in layer.get_weights()]
    )


def check_config(
    kind: type[keras.layers.Layer], settings: dict[str, object]
) -> None:
    """Assert that a layer's settings outlive get_config and from_config."""
    config = kind(**settings).get_config()
    again = kind.from_config(config).get_config()
    for name, value in settings.items():
        if name.endswith("initializer"):
            initializer = keras.initializers.get(value)
            value = keras.initializers.serialize(initializer)
        assert config[name] == again[name] == value


def patches(images: np.ndarray, size: int) -> np.ndarray:
    """Cut (B, H, W, C) into (B, N, size * size * C), one by one."""
    _, height, width, _ = images.shape
    cut = [
        images[:, top : top + size, left : left + size].reshape(
            len(images), -1
        )
        for top in range(0, height, size)
        for left in range(0, width, size)
    ]
    return np.stack(cut, axis=1)


def moved(images: np.ndarray, down: int, right: int) -> np.ndarray:
    """Move the content pixel by pixel; zero where nothing comes in."""
    result = np.zeros_like(images)
    _, height, width, _ = images.shape
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                result[:, y, x] = images[:, y - down, x - right]
    return result


def layer_norm(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, epsilon: float
) -> np.ndarray:
    x = x.astype("float64")
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon) * gamma + beta


def attention(
    tokens: np.ndarray,
    weights: Sequence[np.ndarray],
    tau: np.ndarray,
    mask: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Self-attention with one temperature for each head.

    Args:
        tokens: (B, N, width).
        weights: kernel and bias of the queries, keys and values side by
            side, then kernel and bias of the output.
        tau: (heads,), what the scores are divided by.
        mask: whether a token may not look at itself.

    Returns:
        Outputs (B, N, width), and weights (B, heads, N, N).
    """
    qkv_kernel, qkv_bias, out_kernel, out_bias = weights
    batch, count, _ = tokens.shape
    qkv = tokens.astype("float64") @ qkv_kernel + qkv_bias
    query, key, value = (
        part.reshape(batch, count, len(tau), -1).swapaxes(1, 2)
        for part in np.split(qkv, 3, axis=-1)
    )
    scores = query @ key.swapaxes(2, 3) / tau[:, None, None]
    if mask:
        scores[..., np.eye(count, dtype=bool)] = -np.inf
    odds = np.exp(scores - scores.max(-1, keepdims=True))
    share = odds / odds.sum(-1, keepdims=True)
    mixed = (share @ value).swapaxes(1, 2).reshape(batch, count, -1)
    return mixed @ out_kernel + out_bias, share
