"""From images to position-encoded tokens: SPT and the patch encoder."""

from collections.abc import Sequence

import keras
from keras import layers, ops

from .dense import PACKAGE, TokenDense
from .patches import (
    DIAGONAL,
    check_directions,
    check_images,
    patchify,
    shift_images,
)


@keras.saving.register_keras_serializable(PACKAGE)
class ShiftedPatchTokenization(layers.Layer):
    """Shifted Patch Tokenization (Lee et al. 2021, section 3.2).

    Concatenates the image with shifted copies of itself along the channels,
    cuts the stack into patches, and projects each patch:
    `Dense(LayerNorm(patches([x, s1, ..., sD])))`. Without directions it is
    the vanilla ViT's tokenizer, `Dense(patches(x))`, with no LayerNorm.

    Call with images (B, H, W, C); returns tokens (B, N, width).

    Args:
        patch_size: P, the side of a patch in pixels.
        width: length of a token.
        directions: where the copies move; see `shift_images`.
        shift_ratio: shift in patches, from 0 to 1 (paper: 0.5). The shift
            in pixels is `int(patch_size * shift_ratio)`: an odd patch
            rounds down, as in the authors' code.
        norm: whether a LayerNorm stands before the projection; None: if
            there are directions, as in the paper.
        epsilon: of the LayerNorm.
        kernel_initializer: of the projection.

    Raises:
        ValueError: at construction for a bad `patch_size`, `width`,
            direction or ratio; at build for images that are not 4-D or do
            not divide into patches.
    """

    def __init__(
        self,
        patch_size: int,
        width: int,
        *,
        directions: Sequence[str] = DIAGONAL,
        shift_ratio: float = 0.5,
        norm: bool | None = None,
        epsilon: float = 1e-6,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if patch_size < 1 or width < 1:
            raise ValueError(
                f"patch_size={patch_size} and width={width} must both be "
                "at least 1."
            )
        if not 0 <= shift_ratio <= 1:
            raise ValueError(
                f"shift_ratio={shift_ratio} is outside 0..1: it is the "
                "shift as a part of the patch, 0.5 in the paper."
            )
        check_directions(directions)
        self.patch_size = patch_size
        self.width = width
        self.directions = tuple(directions)
        self.shift_ratio = shift_ratio
        self.epsilon = epsilon
        self.projection = TokenDense(
            width,
            kernel_initializer=kernel_initializer,
            dtype=self.dtype_policy,
            name="projection",
        )
        self.norm = (
            layers.LayerNormalization(
                epsilon=epsilon, dtype=self.dtype_policy, name="norm"
            )
            if (bool(self.directions) if norm is None else norm)
            else None
        )

    @property
    def shift(self) -> int:
        """Distance of the shift in pixels."""
        return int(self.patch_size * self.shift_ratio)

    def build(self, input_shape):
        check_images(keras.KerasTensor(input_shape), self.patch_size)
        copies = 1 + len(self.directions)
        patch = self.patch_size**2 * input_shape[-1] * copies
        if self.norm is not None:
            self.norm.build((None, None, patch))
        self.projection.build((None, None, patch))

    def call(self, images):
        if self.directions:
            shifted = shift_images(images, self.shift, self.directions)
            images = ops.concatenate([images, shifted], axis=-1)
        patches = patchify(images, self.patch_size)
        if self.norm is not None:
            patches = self.norm(patches)
        return self.projection(patches)

    def get_config(self):
        return {
            **super().get_config(),
            "patch_size": self.patch_size,
            "width": self.width,
            "directions": list(self.directions),
            "shift_ratio": self.shift_ratio,
            "norm": self.norm is not None,
            "epsilon": self.epsilon,
            "kernel_initializer": keras.initializers.serialize(
                self.projection.kernel_initializer
            ),
        }


@keras.saving.register_keras_serializable(PACKAGE)
class PatchEncoder(layers.Layer):
    """Add a learned position to every token, after an optional class token.

    Dosovitskiy et al. 2021, eq. 1. Call with tokens (B, N, width); returns
    (B, N, width), or (B, N + 1, width) with the class token first.

    Args:
        class_token: whether to put a learned class token first.
        position_initializer: of the positions (and the class token). The
            Keras example draws U(-0.05, 0.05), the authors' code N(0, 1).

    Raises:
        ValueError: at build, if the tokens are not 3-D or N is unknown.
    """

    def __init__(
        self,
        *,
        class_token: bool = False,
        position_initializer="uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.class_token = class_token
        self.position_initializer = keras.initializers.get(
            position_initializer
        )

    def build(self, input_shape):
        if len(input_shape) != 3 or input_shape[1] is None:
            raise ValueError(
                "tokens must have shape (batch, tokens, width) with a known "
                f"number of tokens, got {tuple(input_shape)}."
            )
        count, width = input_shape[1:]
        if self.class_token:
            self.token = self.add_weight(
                shape=(1, 1, width),
                initializer=self.position_initializer.clone(),
                name="class_token",
            )
        self.position = self.add_weight(
            shape=(count + self.class_token, width),
            initializer=self.position_initializer,
            name="position",
        )

    def call(self, tokens):
        if self.class_token:
            batch = ops.shape(tokens)[0]
            token = ops.broadcast_to(
                ops.cast(self.token, tokens.dtype),
                (batch, 1, tokens.shape[-1]),
            )
            tokens = ops.concatenate([token, tokens], axis=1)
        return tokens + self.position

    def compute_output_shape(self, input_shape):
        batch, count, width = input_shape
        return batch, count + self.class_token, width

    def get_config(self):
        return {
            **super().get_config(),
            "class_token": self.class_token,
            "position_initializer": keras.initializers.serialize(
                self.position_initializer
            ),
        }
