"""What a trained model says: of a data set, and of new pictures."""

import os
from collections.abc import Iterable

import keras
import numpy as np
from keras import ops

from ..data import ImageData, read_picture

#: Predictions that come with a score: the best, and the best five.
BEST = 5


def within(labels, logits, count: int):
    """Whether the class of an image is among the `count` best, (B,) bool.

    Args:
        labels: (B,), whole numbers.
        logits: (B, classes).
        count: where there are fewer classes, every image's is.
    """
    count = min(count, logits.shape[-1])
    return ops.in_top_k(ops.cast(labels, "int32"), logits, count)


def share_within(labels, logits, count: int):
    """The share of the images whose class is among the `count` best."""
    return ops.mean(ops.cast(within(labels, logits, count), "float32"))


def score(logits: np.ndarray, labels: np.ndarray) -> tuple[dict, dict]:
    """Metrics, and predictions of each image.

    Args:
        logits: (N, classes).
        labels: (N,).

    Returns:
        "loss" (cross-entropy), "top1" and "top5"; then "predicted", the
        predicted class (N,), and "top5", whether the class is among the
        five best (N,).
    """
    top5 = ops.convert_to_numpy(within(labels, logits, BEST)).astype(bool)
    logits = logits.astype("float64")
    logits -= logits.max(-1, keepdims=True)
    losses = np.log(np.exp(logits).sum(-1))
    right = logits[np.arange(len(logits)), labels]
    predicted = logits.argmax(-1)
    metrics = {
        "loss": float((losses - right).mean()),
        "top1": float((predicted == labels).mean()),
        "top5": float(top5.mean()),
    }
    return metrics, {"predicted": predicted, "top5": top5}


def evaluate(
    model: keras.Model,
    data: ImageData,
    split: str = "test",
    batch_size: int = 128,
) -> dict:
    """Judge a model on one part of a data set.

    Args:
        model: from images (B, H, W, C) on the scale 0..255 to logits.
        data: the images and labels.
        split: "test", "val" or "train".
        batch_size: images at a time.

    Returns:
        "loss" (cross-entropy), "top1", "top5", and "predictions", the
        predicted class of every image, (N,).

    Raises:
        ValueError: for an unknown split, or one without images.
    """
    images, labels = data.split(split)
    metrics, found = score(_logits(model, images, batch_size), labels)
    return metrics | {"predictions": found["predicted"]}


def predict(
    model: keras.Model,
    pictures: Iterable[str | os.PathLike | np.ndarray],
    class_names: Iterable[str] | None = None,
    batch_size: int = 128,
    image_shape: tuple[int, int, int] | None = None,
) -> list[list[tuple[str, float]]]:
    """What a model takes pictures to be.

    Args:
        model: what `train` or `load_model` gave, or another from images
            (B, H, W, C) on the scale 0..255 to logits (B, classes).
        pictures: files, or arrays (H, W, C) or (H, W) on the scale 0..255,
            of any size; or a single one. Each is cropped to its central
            square and resized as the model takes it.
        class_names: in the order of the logits. Without them the model's
            own, which `train` and `load_model` give it.
        batch_size: pictures at a time.
        image_shape: (H, W, C) that the model takes, H and W the same.
            Without it the model's own `input_shape`, which one of a class
            of your own need not have.

    Returns:
        For each picture the pairs of class name and share, best first. The
        shares are the softmax of the logits and add up to one.

    Raises:
        ValueError: if the model has no names of classes and none are given,
            or if their number is not that of the logits; if it does not take
            squares of one size; for an array of another shape.
        OSError: if a file cannot be read or is no picture.
    """
    names = class_names
    if names is None:
        names = getattr(model, "class_names", None)
    if names is None:
        raise ValueError(
            f"the model {model.name!r} does not know the names of its "
            "classes: give class_names."
        )
    names = tuple(names)
    own = tuple(getattr(model, "input_shape", None) or ())[1:]
    shape = tuple(image_shape or own)
    if not shape:
        raise ValueError(
            f"the model {model.name!r} does not say what images it takes: "
            "give image_shape, such as (32, 32, 3)."
        )
    if len(shape) != 3 or None in shape or shape[0] != shape[1]:
        raise ValueError(
            f"the model {model.name!r} takes images {shape}: pictures are "
            "cropped to squares, so it must take squares of one size."
        )
    if isinstance(pictures, str | os.PathLike) or _one_picture(pictures):
        pictures = [pictures]
    images = [read_picture(one, shape[0], shape[2]) for one in pictures]
    if not images:
        return []
    logits = _logits(model, np.stack(images), batch_size).astype("float64")
    if logits.shape[-1] != len(names):
        raise ValueError(
            f"the model {model.name!r} gives {logits.shape[-1]} logits for "
            f"{len(names)} names of classes."
        )
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    shares = odds / odds.sum(-1, keepdims=True)
    return [
        [(names[index], float(row[index])) for index in np.argsort(-row)]
        for row in shares
    ]


def _one_picture(pictures) -> bool:
    """Whether an array is one picture, (H, W) or (H, W, C)."""
    shape: tuple = getattr(pictures, "shape", ())
    return len(shape) == 2 or (len(shape) == 3 and shape[-1] in (1, 3, 4))


def _logits(model, images, batch_size) -> np.ndarray:
    """Of images of any dtype, in batches: (N, classes)."""
    parts = [
        ops.convert_to_numpy(
            model(
                images[start : start + batch_size].astype("float32"),
                training=False,
            )
        )
        for start in range(0, len(images), batch_size)
    ]
    return np.concatenate(parts)
