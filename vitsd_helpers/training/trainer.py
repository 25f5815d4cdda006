"""The training step: indices in, augmented and mixed images to learn from.

The images stay on the device as bytes. A step is given indices; it fetches
its images, augments and mixes them, and learns, all in one compiled
function. Images in a file are read by index and given to the same step.
"""

import keras
import numpy as np
from keras import ops

from ..data import ImageData
from . import augment
from .devices import gather, own, split
from .patch_dropout import PatchDropout
from .recipes import Recipe


class Trainer(keras.Model):
    """A model that is fed indices of images and learns from augmented ones.

    Call with the `batch` of indices (B,) into the training images followed
    by those that it is tested on; returns a dictionary of logits and
    targets, both (B, classes).
    In training the images are augmented and mixed as the recipe says.

    Args:
        model: maps images on the scale 0..255 to logits.
        data: the images and labels.
        recipe: says how to augment, mix and smooth.
        seed: of the augmentation.
    """

    def __init__(
        self, model: keras.Model, data: ImageData, recipe: Recipe, seed: int
    ):
        super().__init__()
        self.model = model
        self.recipe = recipe
        if keras.backend.backend() == "torch":
            # Keras adds the number of draws to it there, so that what seed 0
            # drew in one step seed 1 would draw in the step before.
            drawn = np.random.SeedSequence(seed).generate_state(1)
            seed = int(drawn[0] >> 1)
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.classes = len(data.class_names)
        x_test, y_test = data.split(data.tested)
        labels = np.concatenate([data.y_train, y_test])
        self.images = self.file = None
        if data.mapped:
            self.file = _File(data.x_train, x_test)
        else:
            images = np.concatenate([data.x_train, x_test])
            self.images = keras.Variable(
                images, dtype="uint8", trainable=False
            )
        self.labels = keras.Variable(labels, dtype="int32", trainable=False)

    @property
    def learned(self) -> list:
        """All variables but the data: what a checkpoint must hold."""
        data = (self.images, self.labels)
        return [
            v
            for v in (*self.variables, *self.optimizer.variables)
            if not any(v is d for d in data)
        ]

    def batch(self, indices: np.ndarray):
        """What a call takes: indices (B,), and their images from a file."""
        if self.file is None:
            return indices
        return indices, self.file.read(own(indices))

    def blank(self, count: int):
        """A batch to build with: of all processes together, unread."""
        indices = np.zeros(count, "int32")
        if self.file is None:
            return indices
        shape = (count, *self.file.train.shape[1:])
        return indices, np.zeros(shape, "uint8")

    def set_patch_dropout(self, wanted: bool) -> bool:
        """Have training drop tokens or not.

        Returns:
            Whether that is new: then the step must be compiled anew.
        """
        found = [x for x in self.model.layers if isinstance(x, PatchDropout)]
        new = any(layer.active != wanted for layer in found)
        for layer in found:
            layer.active = wanted
        return new

    def call(self, batch, training=False):
        r = self.recipe
        if self.file is None:
            indices = split(batch)
            images = ops.take(self.images, indices, axis=0)
        else:
            indices, images = batch
            # Without what fills up a batch that does not divide.
            images = split(images[: indices.shape[0]])
            indices = split(indices)
        images = ops.cast(images, "float32")
        labels = ops.take(self.labels, indices, axis=0)
        targets = ops.one_hot(labels, self.classes, dtype="float32")
        if training:
            seed = self.seed_generator
            if r.flip:
                images = augment.flip(images, seed)
            if r.crop:
                images = augment.crop(images, seed, r.crop)
            if r.rotate or r.zoom:
                images = augment.rotate_zoom(images, seed, r.rotate, r.zoom)
            if r.rand_augment:
                images = augment.rand_augment(
                    images, seed, magnitude=r.rand_augment
                )
            if r.random_erasing:
                images = augment.random_erasing(images, seed, r.random_erasing)
            if r.mix:
                images, targets = augment.mix(
                    images, targets, seed, r.mix, r.cutmix
                )
            smoothing = r.label_smoothing
            targets = targets * (1 - smoothing) + smoothing / self.classes
            images, targets = split(images), split(targets)
        # A model of one's own may end in half precision.
        logits = ops.cast(self.model(images, training=training), "float32")
        if not training:
            # Each process shall see all predictions.
            logits, targets = gather(logits), gather(targets)
        return {"logits": logits, "targets": targets}

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        # And the model's own losses, such as a regularizer's.
        return sum(self.losses, cross_entropy(y_pred))

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(x, y, y_pred["logits"], sample_weight)


def cross_entropy(outputs: dict):
    """The mean over a batch, of logits and targets (B, classes)."""
    losses = ops.categorical_crossentropy(
        outputs["targets"], outputs["logits"], from_logits=True
    )
    return ops.mean(losses)


class _File:
    """Training images, then those that it is tested on: read by index."""

    def __init__(self, train: np.ndarray, test: np.ndarray):
        self.train, self.test = train, test

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Images of indices (B,), in their order."""
        count = len(self.train)
        trained = indices < count
        images = np.empty((len(indices), *self.train.shape[1:]), "uint8")
        images[trained] = self.train[indices[trained]]
        images[~trained] = self.test[indices[~trained] - count]
        return images
