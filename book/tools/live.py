"""Sphinx: the live figures on their pages, and the models that they run.

A page with a still picture whose file name begins with "live-" gets the
script that puts the live figure in its place, and the style sheet. No other
page gets them. The site gets the weights of chapter 9's pair of models and a
list of them, `_static/live/models/models.json`.
"""

import json
import shutil
from pathlib import Path

from docutils import nodes
from sphinx.util import logging

from vitsd_helpers.evidence.records import (
    read_labels,
    read_records,
    record_name,
    results_folder,
)
from vitsd_helpers.training.recipes import VARIANTS

#: Chapter 9's: the longest training first.
RECIPES = ("paper", "epochs-50000", "laptop")
PAIR = ("vit", "sl")
SEED = 0
STILL = "live-"
MEGABYTE = 1_000_000
#: What a reader downloads to run both models, and for one of them.
MOST_IN_ALL = 12 * MEGABYTE
MOST_IN_ONE = 6 * MEGABYTE

logger = logging.getLogger(__name__)


def choose_pair() -> tuple[str, dict[str, Path]]:
    """The recipe, and each variant's file of weights.

    Raises:
        FileNotFoundError: if no recipe has the weights of both.
    """
    folder = results_folder() / "weights"
    for recipe in RECIPES:
        files = {
            variant: folder
            / f"{record_name(recipe, variant, SEED)}.safetensors"
            for variant in PAIR
        }
        if all(path.exists() for path in files.values()):
            return recipe, files
    raise FileNotFoundError(
        f"{folder} has no weights of {' and '.join(PAIR)} with seed {SEED} by "
        f"any of {', '.join(RECIPES)}: make train WEIGHTS=1 "
        "PUBLISH=1"
    )


def write_models(folder: Path) -> dict:
    """Write the weights and `models.json` into a folder, made anew.

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
            }
        )
    classes = [name.replace("_", " ") for name in read_labels()[1]]
    listed = {"recipe": recipe, "models": models, "classes": classes}
    (folder / "models.json").write_text(json.dumps(listed) + "\n")
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
    app.connect("html-page-context", add_files)
    app.connect("build-finished", add_models)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
