"""What a ViT may learn beside its classes: two rows of the price list.

A model here adds a loss of its own while it trains, and its logits are the
ViT's. See `tricks.py`.
"""

import keras
from keras import layers, ops

from vitsd_helpers.dense import TokenDense
from vitsd_helpers.patches import patchify
from vitsd_helpers.training.trainer import cross_entropy


class Reconstructing(keras.Model):
    """SSAT: from a quarter of the patches, what the others hold.

    The blocks see the kept tokens, one block more sees every place, and the
    loss is the squared error of the hidden pixels. It weighs 0.9 and the
    classes' 0.1 (Das et al. 2024, whose decoder is two blocks), so here
    nine times as much.

    Call with images (B, H, W, C); returns the ViT's logits (B, classes).

    Args:
        vit: of `build_vit`, without dropout, pooled by the mean.
    """

    KEEP, WEIGHT = 0.25, 9.0

    def __init__(self, vit: keras.Model, **rest):
        super().__init__(**rest)
        config = vit.vit_config
        tokens = vit.get_layer("encoder").output
        pixels = vit.get_layer("tokenizer").input
        outputs = [pixels, tokens, vit.outputs[0]]
        self.vit = keras.Model(vit.inputs[0], outputs)
        self.blocks = [_block(vit, index) for index in range(config.depth)]
        self.norm = vit.get_layer("norm")
        _, self.count, width = tokens.shape
        self.kept = round(self.KEEP * self.count)
        self.patch_size = config.patch_size
        self.draws = keras.random.SeedGenerator()
        shapes = {"mask_token": (1, width), "position": (self.count, width)}
        self.mask_token, self.places = (
            self.add_weight(shape=shape, initializer="zeros", name=name)
            for name, shape in shapes.items()
        )
        self.decoder = [_alike(layer) for layer in self.blocks[0]]
        self.decoder_norm = _alike(self.norm)
        values = config.patch_size**2 * config.channels
        self.to_pixels = TokenDense(values, name="pixel_logits")
        # Their weights are made by the first call.
        order = ops.arange(self.count)[None]
        self.reconstruct(ops.zeros((1, self.count, width)), order)

    def call(self, images, training=False):
        pixels, tokens, logits = self.vit(images, training=training)
        if training:
            shape = (ops.shape(tokens)[0], self.count)
            draws = keras.random.uniform(shape, seed=self.draws)
            order = ops.argsort(draws)
            found = self.reconstruct(tokens, order)
            self.add_loss(self.WEIGHT * self.error(found, pixels, order))
        return logits

    def reconstruct(self, tokens, order):
        """Pixels (B, N, P * P * C) from the first quarter of an order (B, N).

        Tokens (B, N, width) have their positions.
        """
        x = _take(tokens, order[:, : self.kept])
        for block in self.blocks:
            x = _through(block, x)
        hidden = ops.zeros_like(tokens[:, self.kept :]) + self.mask_token
        x = ops.concatenate([self.norm(x), hidden], axis=1)
        x = _take(x, ops.argsort(order)) + self.places
        return self.to_pixels(self.decoder_norm(_through(self.decoder, x)))

    def error(self, found, images, order):
        """The mean squared error of what was hidden."""
        wanted = patchify(ops.cast(images, "float32"), self.patch_size)
        errors = ops.mean((ops.cast(found, "float32") - wanted) ** 2, axis=-1)
        hidden = order[:, self.kept :]
        return ops.mean(ops.take_along_axis(errors, hidden, axis=1))


# A model of the blocks alone would refuse another number of tokens.
def _block(vit: keras.Model, index: int) -> list[layers.Layer]:
    parts = ("norm1", "attention", "norm2", "mlp1", "mlp2")
    return [vit.get_layer(f"block{index}_{part}") for part in parts]


def _alike(layer: layers.Layer) -> layers.Layer:
    """Another of the same kind, with weights of its own."""
    config = layer.get_config()
    return type(layer).from_config(config | {"name": f"decoder_{layer.name}"})


def _through(block: list[layers.Layer], x):
    """Tokens (B, any number, width) through the layers of a block."""
    norm1, attend, norm2, mlp1, mlp2 = block
    x = x + attend(norm1(x))
    return x + mlp2(mlp1(norm2(x)))


def _take(tokens, places):
    return ops.take_along_axis(tokens, places[..., None], axis=1)


class Guided(keras.Model):
    """A ViT that learns from a trained CNN's logits beside the labels.

    The cross-entropy to the CNN's shares of the same augmented image, both
    softened by a temperature of 3, weighs as much as the labels' (Touvron et
    al. 2021, DeiT, soft distillation with their 0.1: 0.9 to 0.1 * 3 * 3).

    Call with images (B, H, W, C); returns the ViT's logits (B, classes).

    Args:
        vit: the model that learns.
        guide: maps the same images to logits. It is left as it is.
    """

    TEMPERATURE = 3.0

    def __init__(self, vit: keras.Model, guide: keras.Model, **rest):
        super().__init__(**rest)
        self.vit, self.guide = vit, guide
        guide.trainable = False

    def call(self, images, training=False):
        logits = self.vit(images, training=training)
        if training:
            soft = self.guide(images, training=False) / self.TEMPERATURE
            outputs = {
                "targets": ops.stop_gradient(ops.softmax(soft)),
                "logits": logits / self.TEMPERATURE,
            }
            self.add_loss(cross_entropy(outputs))
        return logits
