"""Sphinx: the live figures on their pages, and the models that they run.

A page with a still picture whose file name begins with "live-" gets the
script that puts the live figure in its place, and the style sheet. No other
page gets them. The site gets the best pair of models that the repository
holds, a list of them, `_static/live/models/models.json`, and their answers
to the first picture, `first.json`, so that it can be drawn before they come.
"""

import base64
import json
import shutil
from pathlib import Path

import numpy as np
from docutils import nodes
from keras import ops
from PIL import Image
from sphinx.util import logging

from vitsd_helpers.evidence.maps import attention_weights
from vitsd_helpers.evidence.records import (
    read_labels,
    read_records,
    record_name,
    results_folder,
)
from vitsd_helpers.training.recipes import VARIANTS
from vitsd_helpers.training.weights import load_model

PAIR = ("vit", "sl")
SEED = 0
STILL = "live-"
#: Stands in the head of a page that has no contents beside it.
ALONE = "html_theme.sidebar_secondary.remove"
MEGABYTE = 1_000_000
#: What a reader downloads to run both models, and for one of them.
MOST_IN_ALL = 12 * MEGABYTE
MOST_IN_ONE = 6 * MEGABYTE
#: The picture that is shown first, and the side that the models see.
PICTURES = Path(__file__).parents[1] / "_static" / "live" / "pictures"
FIRST = "raccoon"
SIDE = 32

logger = logging.getLogger(__name__)


def choose_pair() -> tuple[str, dict[str, Path]]:
    """The recipe whose pair answers best, and each variant's weights.

    Best is the mean top-1 of both on CIFAR-100's test images, of the pairs
    small enough to download.

    Raises:
        FileNotFoundError: if no recipe has the weights of both.
    """
    folder, records = results_folder() / "weights", read_records()
    pairs = {}
    for path in sorted(folder.glob(f"*-{PAIR[0]}-seed{SEED}.safetensors")):
        recipe = path.stem.removesuffix(f"-{PAIR[0]}-seed{SEED}")
        names = [record_name(recipe, variant, SEED) for variant in PAIR]
        files = [folder / f"{name}.safetensors" for name in names]
        if (
            all(file.exists() for file in files)
            and all(file.stat().st_size <= MOST_IN_ONE for file in files)
            and all(name in records for name in names)
            and all(records[name]["data"] == "cifar100" for name in names)
        ):
            top1 = sum(records[name]["test"]["top1"] for name in names)
            pairs[recipe] = top1, dict(zip(PAIR, files, strict=True))
    if not pairs:
        raise FileNotFoundError(
            f"{folder} has no weights of {' and '.join(PAIR)} with seed "
            f"{SEED} by one recipe on CIFAR-100, of at most "
            f"{MOST_IN_ONE / MEGABYTE:.0f} MB each: make train WEIGHTS=1 "
            "PUBLISH=1"
        )
    best = max(pairs, key=lambda recipe: pairs[recipe][0])
    return best, pairs[best][1]


def read_picture(name: str) -> np.ndarray:
    """A sample picture as the models see it: (1, SIDE, SIDE, 3) float32."""
    with Image.open(PICTURES / f"{name}.webp") as picture:
        pixels = np.asarray(picture.convert("RGB"), "float32")
    step = len(pixels) // SIDE
    return pixels.reshape(SIDE, step, SIDE, step, 3).mean((1, 3))[None]


def answer(path: Path, picture: str) -> dict:
    """What a model says to a sample picture, to be sent to a page.

    Returns:
        Its logits, and the attention weights of all blocks, heads, queries
        and keys as bytes in base64, each 255 times the weight's root.
    """
    model, pixels = load_model(path), read_picture(picture)
    weights = np.stack([each[0] for each in attention_weights(model, pixels)])
    roots = np.round(255 * np.sqrt(weights)).astype("uint8")
    logits = ops.convert_to_numpy(model(pixels))[0]
    return {
        "logits": [round(float(value), 4) for value in logits],
        "attention": base64.b64encode(roots.tobytes()).decode(),
    }


def write_models(folder: Path) -> dict:
    """Write weights, `models.json` and `first.json` into a folder, made anew.

    Returns:
        What `models.json` says.
    """
    recipe, files = choose_pair()
    records = read_records()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    models = []
    for variant, path in files.items():
        shutil.copyfile(path, folder / path.name)
        models.append(
            {
                "variant": variant,
                "title": VARIANTS[variant],
                "file": path.name,
                "bytes": path.stat().st_size,
                "top1": records[path.stem]["test"]["top1"],
                "config": records[path.stem]["config"],
            }
        )
    classes = [name.replace("_", " ") for name in read_labels()[1]]
    listed = {"recipe": recipe, "models": models, "classes": classes}
    (folder / "models.json").write_text(json.dumps(listed) + "\n", "utf-8")
    answers = [answer(path, FIRST) for path in files.values()]
    first = {"picture": FIRST, "answers": answers}
    (folder / "first.json").write_text(json.dumps(first) + "\n", "utf-8")
    return listed


def too_large(models: list[dict]) -> list[str]:
    """Complaints about models that are a long download."""
    sizes = {model["file"]: model["bytes"] for model in models}
    found = [(size, name, MOST_IN_ONE) for name, size in sizes.items()]
    found.append((sum(sizes.values()), "all models", MOST_IN_ALL))
    return [
        f"{name}: {size / MEGABYTE:.1f} MB, more than {most / MEGABYTE:.0f}; "
        "choose a smaller pair in book/tools/live.py"
        for size, name, most in found
        if size > most
    ]


def add_files(app, pagename, templatename, context, doctree) -> None:
    """Load script and style sheet on a page with a still picture."""
    images = doctree.findall(nodes.image) if doctree else ()
    if any(Path(image["uri"]).name.startswith(STILL) for image in images):
        app.add_css_file("live/live.css")
        if ALONE in (context["meta"] or ()):
            app.add_css_file("live/wide.css")
        app.add_js_file("live/main.mjs", type="module")


def add_models(app, exception) -> None:
    """Put the models into the site."""
    if exception or app.builder.format != "html":
        return
    folder = Path(app.outdir) / "_static" / "live" / "models"
    try:
        models = write_models(folder)["models"]
    except FileNotFoundError as error:
        logger.warning("%s", error)
        return
    for complaint in too_large(models):
        logger.warning("%s", complaint)


def setup(app):
    """Sphinx calls it."""
    app.connect("html-page-context", add_files)
    app.connect("build-finished", add_models)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
