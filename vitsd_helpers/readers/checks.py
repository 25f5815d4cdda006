"""What images and labels must be."""

import numpy as np


def check_part(
    images: np.ndarray,
    labels: np.ndarray,
    classes: int,
    names: tuple[str, str],
) -> None:
    """Refuse images or labels that a training would take for others.

    Args:
        images: (N, H, W, C), uint8.
        labels: (N,), whole numbers from 0 to below `classes`.
        classes: how many there are.
        names: what images and labels are called, for the message.

    Raises:
        ValueError: if they are not.
    """
    if images.dtype != "uint8" or images.ndim != 4:
        raise ValueError(
            f"{names[0]} holds {images.dtype} {images.shape}: images must be "
            "uint8 (N, height, width, channels), on the scale 0..255."
        )
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{names[1]} holds {labels.dtype} {labels.shape}: it needs "
            f"{len(images)} whole numbers, a label for each image."
        )
    odd = labels[(labels < 0) | (labels >= classes)]
    if len(odd):
        raise ValueError(
            f"{names[1]} holds the label {odd[0]}, and there are {classes} "
            f"names of classes: labels go from 0 to {classes - 1}."
        )
