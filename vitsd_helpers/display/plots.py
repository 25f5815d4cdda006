"""Figures of one width, one size of letters and the same two colours.

Charts are drawn in dark ink on nothing; their cells say so to the page,
which turns light and dark round in its dark mode: `{"mystnb": {"image":
{"classes": "chart"}}}`. Photographs and heat maps stay as they are. What is
drawn is named where it is drawn, without a legend.
"""

import sys
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from keras import ops

from ..config import ViTConfig

STYLES = ("-", "--", "-.", ":")
# Okabe and Ito's hues (2008), dark enough for letters: 4.5 to 1 on white, and
# on a dark page, where light and dark change places and the hues stay.
#: Of the ViT.
BLUE = "#0072b2"
#: Of the SL-ViT.
ORANGE = "#c05000"
#: Of a third thing.
GREEN = "#007a59"
#: Of a fourth thing.
PINK = "#a84f83"
INK, AXIS = "#1f2328", "#5c6370"
#: How the two models are drawn in every chapter.
MODELS = {
    "vit": {"color": BLUE, "linestyle": "-", "marker": "o"},
    "sl": {"color": ORANGE, "linestyle": "--", "marker": "^"},
}
NAMES = ("ViT", "SL-ViT")
#: Of every figure, in inches: that of the page's column.
WIDTH = 6.4


def set_style() -> None:
    """Set matplotlib's defaults for the book's figures."""
    plt.rcParams.update(
        {
            **dict.fromkeys(
                ("figure.facecolor", "axes.facecolor", "savefig.facecolor"),
                "none",
            ),
            "figure.dpi": 150,
            "figure.figsize": (WIDTH, 3.2),
            "figure.constrained_layout.use": True,
            "font.size": 12,
            "axes.labelsize": 12,
            "axes.titlesize": 12,
            "xtick.labelsize": 12,
            "ytick.labelsize": 12,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.titlecolor": INK,
            "axes.edgecolor": AXIS,
            "xtick.color": AXIS,
            "ytick.color": AXIS,
            "xtick.labelcolor": INK,
            "ytick.labelcolor": INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": plt.cycler(color=(BLUE, ORANGE, GREEN, PINK))
            + plt.cycler(linestyle=STYLES),
            "lines.linewidth": 2,
            "lines.markersize": 7,
            "image.cmap": "viridis",
        }
    )
    # A notebook would crop each figure to a width of its own.
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        from matplotlib_inline.config import InlineBackend

        backend = InlineBackend.instance(parent=ipython.get_ipython())
        whole = {"bbox_inches": None}
        backend.print_figure_kwargs = whole  # type: ignore[assignment]


def panels(rows: int = 1, columns: int = 1, height: float = 3.2, **options):
    """`plt.subplots` on a figure of the column's width and this height."""
    return plt.subplots(rows, columns, figsize=(WIDTH, height), **options)


def name_lines(axis) -> None:
    """Write the label of each line at its right end, in its colour."""
    axis.figure.draw_without_rendering()
    size = plt.rcParams["font.size"]
    points = 72 / axis.figure.dpi
    ends = []
    for line in axis.get_lines():
        if not line.get_label().startswith("_"):
            end = line.get_xdata()[-1], line.get_ydata()[-1]
            height = axis.transData.transform(end)[1] * points
            ends.append((height, end, line))
    ends.sort(key=lambda item: item[0])
    heights = [height for height, *_ in ends]
    places = list(heights)
    for index in range(1, len(places)):
        places[index] = max(places[index], places[index - 1] + 1.15 * size)
    shift = np.mean(heights) - np.mean(places) if ends else 0
    for place, (height, end, line) in zip(places, ends, strict=True):
        axis.annotate(
            line.get_label(),
            end,
            (8, place + shift - height),
            textcoords="offset points",
            va="center",
            color=line.get_color(),
            annotation_clip=False,
        )


def name_models(axis, left: float = 0.04, top: float = 0.97) -> None:
    """Write both models' names into an axis, each in its colour."""
    looks = dict(zip(NAMES, MODELS.values(), strict=True))
    write_names(axis, looks, left, top)


def write_names(
    axis,
    looks: Mapping[str, Mapping],
    left: float,
    top: float = 0.97,
    ha: str = "left",
) -> None:
    """Write names into an axis, one below the other, each in its colour.

    Args:
        axis: matplotlib's.
        looks: by name; as those of `MODELS`, with a "color".
        left, top: where the first stands, in parts of the axis.
        ha: whether the names begin or end there.
    """
    size = 1.25 * plt.rcParams["font.size"]
    for row, (name, look) in enumerate(looks.items()):
        axis.annotate(
            name,
            (left, top),
            (0, -row * size),
            xycoords="axes fraction",
            textcoords="offset points",
            va="top",
            ha=ha,
            color=look["color"],
        )


def plates(figure) -> None:
    """Put white behind the words of a figure of photographs or heat maps.

    A dark page leaves such a figure as it is, so its words bring their own
    ground.
    """
    figure.draw_without_rendering()
    for text in figure.findobj(plt.Text):
        if text.get_text():
            text.set_bbox({"facecolor": "white", "lw": 0, "pad": 2})


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
    side = min(WIDTH / columns, 2)
    height = rows * (side + (0.25 if titles else 0))
    figure, axes = panels(rows, columns, height, squeeze=False)
    figure.set_layout_engine("compressed")
    for axis in axes.flat:
        axis.axis("off")
    for index, image in enumerate(images):
        # Of pictures in colour the three settings are ignored.
        axes.flat[index].imshow(image, cmap="gray", vmin=0, vmax=255)
        if titles is not None:
            axes.flat[index].set_title(titles[index])
    plates(figure)
    return axes.ravel()[: len(images)]


def show_heatmap(values, axis=None, *, title="", vmax: float | None = None):
    """Draw a matrix from 0 up, with its colour bar; returns the axis."""
    if axis is None:
        figure, axis = panels(height=2.8)
        figure.set_layout_engine("compressed")
    picture = axis.imshow(ops.convert_to_numpy(values), vmin=0, vmax=vmax)
    axis.set_title(title)
    bar = axis.figure.colorbar(picture, ax=axis, shrink=0.85)
    bar.outline.set_visible(False)
    plates(axis.figure)
    return axis


def show_curves(
    lines: Mapping[str, Sequence[float]], xlabel: str, ylabel: str, axis=None
):
    """Draw named lines over 1, 2, 3, ...; returns the axis."""
    if axis is None:
        axis = panels()[1]
    for name, values in lines.items():
        axis.plot(np.arange(1, len(values) + 1), values, label=name)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    name_lines(axis)
    return axis


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
    axis = panels(height=8)[1]
    for row, (text, size) in enumerate(rows):
        name, *choices = text.split("|")
        if choices:
            _box(axis, row, f"{name}\n{choices[0]}", -2.5, 0)
            _box(axis, row, f"{name}\n{choices[1]}", 0, 2.5, ORANGE)
        elif name == "+":
            _box(axis, row, name, -0.5, 0.5)
            around = ([0, 3, 3], [row - 2.58, row - 2.58, row])
            axis.plot(*around, "-", linewidth=1, color=AXIS)
            _arrow(axis, (3.1, row), (0.5, row))
        else:
            _box(axis, row, name, -2.5, 2.5)
        if row:
            _arrow(axis, (0, row - 0.65), (0, row - 0.38))
        axis.text(-3.4, row, size, ha="right", va="center")
    block = plt.Rectangle((-3.1, 3.36), 6.7, 6.03, fill=False, ls="--")
    block.set(edgecolor=BLUE, linewidth=1.5)
    axis.add_patch(block)
    axis.text(3.8, 6.4, f"x {c.depth}", rotation=90, va="center")
    axis.set(xlim=(-6.6, 6), ylim=(12.4, -0.4))
    axis.axis("off")
    return axis


def _box(axis, row, text, left, right, colour=INK):
    outline = plt.Rectangle((left, row - 0.38), right - left, 0.76, fill=False)
    outline.set(edgecolor=colour, linewidth=1.5)
    axis.add_patch(outline)
    style = {"color": colour, "ha": "center", "va": "center"}
    axis.text((left + right) / 2, row, text, **style)


def _arrow(axis, start, end):
    style = {"arrowstyle": "-|>", "color": AXIS, "shrinkB": 0}
    axis.annotate("", end, start, arrowprops=style)
