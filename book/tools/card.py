"""Draw the picture that a link to the book shows elsewhere.

    python book/tools/card.py

It is the book's first figure, Shifted Patch Tokenization, on a photograph:
1200 x 630 pixels, as such pictures are. The same pixels every time.
"""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from vitsd_helpers import patchify, shift_images
from vitsd_helpers.data import load_photo
from vitsd_helpers.patches import DIAGONAL, OFFSETS

FILE = Path(__file__).parents[1] / "_static" / "card.png"
WIDTH, HEIGHT, DPI = 1200, 630, 100
COLOURS_IN_FILE = 256
PAPER, INK = "#ffffff", "#23263a"
BLUE, ORANGE = "#0072b2", "#d55e00"  # Okabe and Ito's

PHOTO, SIDE, PATCH = "china.jpg", 480, 80
COLUMNS = SIDE // PATCH
#: Row and column of the patch that becomes a token.
CHOSEN = (3, 2)
TITLE = "Vision\ntransformers\nfor small\ndatasets"
SUBTITLE = "Shifted Patch Tokenization and\nLocality Self-Attention in Keras 3"
CAPTION = "one token: a patch and four shifted copies"
LEFT, TOP = 64, 66


def frame(axes: Axes, left: float, top: float, style: dict) -> None:
    """Outline a patch whose left upper corner is given."""
    axes.add_patch(Rectangle((left, top), PATCH, PATCH, fill=False, **style))


def show(axes: Axes, picture: np.ndarray, left: float, top: float) -> None:
    """Put a square picture on the card, pixel on pixel."""
    side = len(picture)
    extent = (left, left + side, top + side, top)
    axes.imshow(picture, extent=extent, interpolation="none")


def token(photo: np.ndarray) -> list[np.ndarray]:
    """The chosen patch of the photograph and of its four shifted copies."""
    copies = shift_images(photo[None].astype("float32"), PATCH // 2, DIAGONAL)
    row, column = CHOSEN
    number = row * COLUMNS + column
    stack = [photo[None], *np.split(np.asarray(copies), len(DIAGONAL), -1)]
    tokens = (np.asarray(patchify(image, PATCH)) for image in stack)
    patches = (patches[0, number] for patches in tokens)
    return [p.reshape(PATCH, PATCH, 3).astype("uint8") for p in patches]


def draw_photo(axes: Axes, photo: np.ndarray, left: float, top: float) -> None:
    """The photograph in patches, one framed, and where its copies look."""
    show(axes, photo, left, top)
    for step in range(1, COLUMNS):
        grid = {"color": PAPER, "linewidth": 1.5}
        axes.plot([left + step * PATCH] * 2, [top, top + SIDE], **grid)
        axes.plot([left, left + SIDE], [top + step * PATCH] * 2, **grid)
    row, column = (PATCH * index for index in CHOSEN)
    for direction in DIAGONAL:
        # Where the content moves up, the frame sees what is below.
        down, right = (-step * PATCH // 2 for step in OFFSETS[direction])
        for style in (
            {"edgecolor": PAPER, "linewidth": 5},
            {"edgecolor": ORANGE, "linewidth": 3, "linestyle": (0, (3, 1))},
        ):
            frame(axes, left + column + right, top + row + down, style)
    for colour, width in ((PAPER, 8), (BLUE, 5)):
        style = {"edgecolor": colour, "linewidth": width}
        frame(axes, left + column, top + row, style)


def draw_token(axes: Axes, photo: np.ndarray, left: float, top: float) -> None:
    """The five patches of a token, side by side."""
    for index, patch in enumerate(token(photo)):
        x = left + index * (PATCH + 14)
        show(axes, patch, x, top)
        style = {"edgecolor": ORANGE, "linewidth": 3}
        if index == 0:
            style = {"edgecolor": BLUE, "linewidth": 5}
        frame(axes, x, top, style)


def draw() -> Image.Image:
    """The card, in colours few enough for a palette."""
    # An Agg canvas of its own, whatever backend matplotlib has.
    figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI)
    canvas = FigureCanvasAgg(figure)
    figure.set_facecolor(PAPER)
    axes = figure.add_axes((0, 0, 1, 1))
    photo = load_photo(PHOTO, SIDE)
    draw_photo(axes, photo, WIDTH - LEFT - SIDE, (HEIGHT - SIDE) / 2)
    draw_token(axes, photo, LEFT, HEIGHT - TOP - PATCH - 34)
    for line, top, style in (
        (TITLE, TOP, {"size": 41, "weight": "bold", "linespacing": 1.12}),
        (SUBTITLE, TOP + 274, {"size": 18, "linespacing": 1.35}),
        (CAPTION, HEIGHT - TOP - 22, {"size": 13}),
    ):
        more = {"color": INK, "va": "top", "family": "DejaVu Sans"}
        axes.text(LEFT, top, line, **style, **more)
    axes.axis("off")
    axes.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0))
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    # A palette makes the file a third as large, and nobody sees it.
    return Image.fromarray(pixels).quantize(COLOURS_IN_FILE)


if __name__ == "__main__":
    draw().save(FILE, optimize=True)
