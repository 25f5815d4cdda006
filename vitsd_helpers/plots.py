"""Figures that read on light and dark pages and to colour-blind eyes.

Backgrounds are transparent, text is a mid grey that stands out from white
and from black, and the colours are Okabe and Ito's (2008), each curve with
a line style of its own.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from keras import ops

from .model import ViTConfig

GREY = "#7d7d7d"
#: Okabe-Ito, the four that stand out from white and from near-black.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
STYLES = ("-", "--", "-.", ":")


def set_style() -> None:
    """Set matplotlib's defaults for the book's figures."""
    plt.rcParams.update(
        {
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "savefig.facecolor": "none",
            "figure.dpi": 110,
            "figure.constrained_layout.use": True,
            "font.size": 11,
            "text.color": GREY,
            "axes.labelcolor": GREY,
            "axes.titlecolor": GREY,
            "axes.edgecolor": GREY,
            "xtick.color": GREY,
            "ytick.color": GREY,
            "legend.frameon": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": plt.cycler(color=COLOURS)
            + plt.cycler(linestyle=STYLES),
            "lines.linewidth": 2,
            "image.cmap": "cividis",
        }
    )


def show_images(
    images, titles: Sequence[str] | None = None, columns: int | None = None
):
    """Draw images (N, H, W, C) in rows of `columns`, by default four.

    Floats are taken to be on the scale 0..255, like uint8. Returns the
    axes, an array of N.
    """
    images = np.clip(ops.convert_to_numpy(images), 0, 255).astype("uint8")
    columns = columns or min(len(images), 4)
    rows = -(-len(images) // columns)
    _, axes = plt.subplots(
        rows,
        columns,
        figsize=(1.7 * columns, 1.95 * rows),
        squeeze=False,
    )
    for axis in axes.flat:
        axis.axis("off")
    for index, image in enumerate(images):
        axes.flat[index].imshow(image)
        if titles is not None:
            axes.flat[index].set_title(titles[index], fontsize=10)
    return axes.ravel()[: len(images)]


def patch_grid(patches, columns: int | None = None, gap: int = 1):
    """One RGBA picture of patches laid out with transparent gaps.

    Args:
        patches: (N, P, P, 3) or (N, P * P * 3), on the scale 0..255.
        columns: patches in a row; a square grid without it.
        gap: pixels between patches.

    Returns:
        (height, width, 4) uint8, transparent where there is no patch.
    """
    patches = ops.convert_to_numpy(patches)
    if patches.ndim == 2:
        side = round((patches.shape[1] / 3) ** 0.5)
        patches = patches.reshape(-1, side, side, 3)
    count, side = patches.shape[:2]
    columns = columns or round(count**0.5)
    rows = -(-count // columns)
    step = side + gap
    canvas = np.zeros((rows * step - gap, columns * step - gap, 4), "uint8")
    for index, patch in enumerate(np.clip(patches, 0, 255)):
        top, left = index // columns * step, index % columns * step
        canvas[top : top + side, left : left + side, :3] = patch
        canvas[top : top + side, left : left + side, 3] = 255
    return canvas


def show_heatmap(
    values, axis=None, *, title: str = "", vmax: float | None = None
):
    """Draw a matrix from 0 up, with its colour bar; returns the axis."""
    if axis is None:
        axis = plt.subplots(figsize=(3.4, 2.8))[1]
    picture = axis.imshow(ops.convert_to_numpy(values), vmin=0, vmax=vmax)
    axis.set_title(title)
    bar = axis.figure.colorbar(picture, ax=axis, shrink=0.85)
    bar.outline.set_visible(False)
    return axis


def show_curves(
    curves: Mapping[str, Sequence[float]], xlabel: str, ylabel: str, axis=None
):
    """Draw named curves over 1, 2, 3, ...; returns the axis."""
    if axis is None:
        axis = plt.subplots(figsize=(5, 3.2))[1]
    for name, values in curves.items():
        axis.plot(np.arange(1, len(values) + 1), values, label=name)
    axis.set_xlabel(xlabel)
    axis.set_ylabel(ylabel)
    axis.legend()
    return axis


def show_model(config: ViTConfig):
    """Draw the model of a configuration, from the image to the logits.

    Where the paper has a piece of its own, both stand side by side, the
    paper's in orange. Sizes are on the left. Returns the axis.
    """
    c = config
    tokens = f"{c.num_tokens}x{c.width}"
    rows = [
        ("image", f"{c.input_size}x{c.input_size}x{c.channels}"),
        ("normalise", ""),
        ("tokenizer|vanilla|SPT", tokens),
        ("add positions", ""),
        ("norm", ""),
        ("attention|plain|LSA", ""),
        ("+", ""),
        ("norm", ""),
        ("MLP", ""),
        ("+", tokens),
        ("norm", ""),
        ("pool", f"{c.width}" if c.pooling != "flatten" else ""),
        ("head", f"{c.num_classes}"),
    ]
    axis = plt.subplots(figsize=(3.7, 7.6))[1]
    for row, (text, size) in enumerate(rows):
        name, *choices = text.split("|")
        if choices:
            _box(axis, row, f"{name}\n{choices[0]}", -2.5, 0)
            _box(axis, row, f"{name}\n{choices[1]}", 0, 2.5, COLOURS[1])
        elif name == "+":
            _box(axis, row, name, -0.5, 0.5)
            around = ([0, 3, 3], [row - 2.58, row - 2.58, row])
            axis.plot(*around, "-", linewidth=1, color=GREY)
            _arrow(axis, (3.1, row), (0.5, row))
        else:
            _box(axis, row, name, -2.5, 2.5)
        if row:
            _arrow(axis, (0, row - 0.75), (0, row - 0.3))
        axis.text(-3.4, row, size, ha="right", va="center", fontsize=10)
    block = plt.Rectangle((-3.1, 3.36), 6.7, 6.03, fill=False, ls="--")
    block.set(edgecolor=COLOURS[0], linewidth=1.5)
    axis.add_patch(block)
    axis.text(3.8, 6.4, f"x {c.depth}", rotation=90, va="center")
    axis.set(xlim=(-5.7, 4.5), ylim=(12.4, -0.4))
    axis.axis("off")
    return axis


def _box(axis, row, text, left, right, colour=GREY):
    outline = plt.Rectangle((left, row - 0.3), right - left, 0.6, fill=False)
    outline.set(edgecolor=colour, linewidth=1.5)
    axis.add_patch(outline)
    style = {"color": colour, "ha": "center", "va": "center"}
    axis.text((left + right) / 2, row, text, fontsize=10, **style)


def _arrow(axis, start, end):
    style = {"arrowstyle": "-|>", "color": GREY, "shrinkB": 0}
    axis.annotate("", end, start, arrowprops=style)
