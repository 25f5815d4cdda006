"""Training images set aside, and fewer of them."""

from dataclasses import replace

import numpy as np

from ..data import ImageData


def hold_out(data: ImageData, count: int, seed: int = 0) -> ImageData:
    """Set training images aside to choose by; the test set is put away.

    Args:
        data: what to split.
        count: how many training images become `x_val`, drawn class by
            class in proportion.
        seed: of the draw.

    Returns:
        `ImageData` whose training and validation images are both from
        `data.x_train`. It has no test images.

    Raises:
        ValueError: if `count` leaves some class with nothing on one side;
            if the images are in a file.
    """
    if data.mapped:
        raise ValueError(
            f"the images of {data.name!r} are in a file, and drawing some "
            "would read them all: write those to choose by as x_val.npy and "
            "y_val.npy, and fewer to train on as another x_train.npy."
        )
    rest, drawn = draw(data.y_train, count, seed)
    return replace(
        data,
        x_train=data.x_train[rest],
        y_train=data.y_train[rest],
        x_val=data.x_train[drawn],
        y_val=data.y_train[drawn],
        x_test=data.x_test[:0],
        y_test=data.y_test[:0],
    )


def draw(
    labels: np.ndarray, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices that are left and `count` that are drawn, in proportion.

    Args:
        labels: (N,), one for each image.
        count, seed: see `hold_out`.

    Raises:
        ValueError: if `count` leaves some class with nothing on one side.
    """
    from sklearn.model_selection import train_test_split

    sizes = np.unique(labels, return_counts=True)[1]
    classes = len(sizes)
    problem = (
        f"count={count} of {len(labels)} training images does not "
        f"leave each of the {classes} classes an image on both sides: the "
        f"smallest class has {min(sizes, default=0)}. Add images to it, draw "
        "another number, or sort your pictures into train, val and test."
    )
    if min(sizes, default=0) < 2 or not (
        classes <= count <= len(labels) - classes
    ):
        raise ValueError(problem)
    parts = train_test_split(
        np.arange(len(labels)),
        test_size=count,
        stratify=labels,
        random_state=seed,
    )
    # Sizes of classes that differ much can still leave a small one out.
    if any(len(np.unique(labels[part])) < classes for part in parts):
        raise ValueError(problem)
    return tuple(parts)


def subset(data: ImageData, count: int, seed: int = 0) -> ImageData:
    """Keep `count` training images, class by class in proportion.

    Args:
        data: what to draw from; its other images stay as they are.
        count: how many training images to keep.
        seed: of the draw.

    Raises:
        ValueError: if `count` leaves some class without an image, is larger
            than what there is, or leaves out some images, but fewer than
            there are classes: these could not be drawn in proportion; if
            the images are in a file.
    """
    if count == len(data.y_train):
        return data
    kept = hold_out(data, count, seed)
    return replace(data, x_train=kept.x_val, y_train=kept.y_val)
