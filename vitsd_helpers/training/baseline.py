"""The convolutional network that the vision transformers are held against."""

import keras
import numpy as np
from keras import layers

from ..config import ViTConfig
from ..model import PixelNormalization

#: Channels of the three stages.
CHANNELS = (16, 32, 64)
#: In each stage: so the network has fourteen layers, which do about as many
#: multiply-adds as the small ViT at 32 pixels.
BLOCKS = 2


def build_resnet(config: ViTConfig, name: str | None = None) -> keras.Model:
    """A small residual network (He et al. 2016, section 4.2).

    Where a stage halves the sides, the shortcut is a convolution of one
    pixel, which has weights of its own (their option B).

    Args:
        config: gives the size of the images, their channels, statistics and
            classes; the rest of it is the vision transformer's.
        name: of the model.

    Returns:
        A functional model from (B, H, W, C) on the scale 0..255 to logits
        (B, classes).
    """
    c = config
    inputs = keras.Input((c.input_size, c.input_size, c.channels))
    x = PixelNormalization(mean=c.mean, variance=np.square(c.std))(inputs)
    x = layers.ReLU()(_convolution(x, CHANNELS[0]))
    for stage, channels in enumerate(CHANNELS):
        for block in range(BLOCKS):
            stride = 2 if stage and not block else 1
            y = layers.ReLU()(_convolution(x, channels, stride=stride))
            y = _convolution(y, channels)
            if stride > 1:
                x = _convolution(x, channels, size=1, stride=stride)
            x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    logits = layers.Dense(c.num_classes, dtype="float32")(x)
    return keras.Model(inputs, logits, name=name)


def _convolution(x, channels: int, size: int = 3, stride: int = 1):
    """A convolution, normalised over the batch."""
    x = layers.Conv2D(
        channels,
        size,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
    )(x)
    # Keras's default of 0.99 would forget too slowly for runs this short.
    return layers.BatchNormalization(momentum=0.9)(x)
