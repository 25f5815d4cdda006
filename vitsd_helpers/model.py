"""The vision transformer, from a frozen configuration to a Keras model."""

import keras
from keras import layers

from .attention import LocalitySelfAttention
from .config import PRESETS, ViTConfig  # noqa: F401, PRESETS to be had here
from .dense import TokenDense
from .tokenizer import PACKAGE, PatchEncoder, ShiftedPatchTokenization


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
    patch_dropout: layers.Layer | None = None,
) -> keras.Model:
    """A vision transformer that maps pixels 0..255 to logits.

    Normalisation and resizing are inside the model, augmentation is not.

    Args:
        config: see `ViTConfig`; `PRESETS` holds ready ones.
        name: of the model.
        patch_dropout: a layer that leaves out tokens in training; it stands
            before the blocks.

    Returns:
        A functional model from (B, input_size, input_size, channels), uint8
        or float on the scale 0..255, to logits (B, num_classes). Its
        `vit_config` is `config`.
    """
    c = config
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
    if patch_dropout is not None:
        x = patch_dropout(x)
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
    model = keras.Model(inputs, logits, name=name)
    model.vit_config = config
    return model


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
