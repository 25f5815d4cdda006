"""Patch dropout: train on a part of the tokens, to see more images in time."""

import keras
from keras import layers, ops

from ..dense import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class PatchDropout(layers.Layer):
    """Keep a random part of the tokens of each training image.

    Each image draws its own tokens, all equally likely, anew in every call.
    They come in random order, so positions must be in them already. Outside
    training, and while `active` is False, all tokens pass.

    `active` is read when a function is compiled: whoever switches it must
    have the training step compiled anew.

    Call with tokens (B, N, width); returns (B, K, width), K being `kept(N)`.

    Args:
        keep: the part of the tokens to keep, above 0 and up to 1.
        class_token: whether the first token is a class token, which is
            always kept and not counted.
        seed: of the draws.

    Raises:
        ValueError: for `keep` outside 0..1, or 0.
    """

    def __init__(
        self,
        keep: float,
        *,
        class_token: bool = False,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not 0 < keep <= 1:
            raise ValueError(
                f"keep={keep} must be above 0 and up to 1: it is the part "
                "of the tokens to keep."
            )
        self.keep = keep
        self.class_token = class_token
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.active = True

    def kept(self, count: int) -> int:
        """How many of `count` tokens go on; at least one patch's."""
        patches = count - self.class_token
        return self.class_token + max(1, round(self.keep * patches))

    def call(self, tokens, training=False):
        count = tokens.shape[1]
        if not (training and self.active) or self.kept(count) == count:
            return tokens
        first = int(self.class_token)
        shape = (ops.shape(tokens)[0], count - first)
        draws = keras.random.uniform(shape, seed=self.seed_generator)
        _, chosen = ops.top_k(draws, self.kept(count) - first, sorted=False)
        rest = ops.take_along_axis(
            tokens[:, first:], chosen[:, :, None], axis=1
        )
        return ops.concatenate([tokens[:, :first], rest], axis=1)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "keep": self.keep,
            "class_token": self.class_token,
            "seed": self.seed,
        }
