r"""Choose a recipe: train changed ones on the held-out split, side by side.

    python book/tools/try_recipes.py BASE FOLDER NAME=CHANGES ...
        [--models vit,sl,cnn] [--seeds 0 1]

CHANGES is a JSON object of settings of the recipe BASE, with those of the
model under "model"; {} changes nothing. For instance:

    python book/tools/try_recipes.py ladder-2 trials plain={} \
        muon='{"optimizer": "muon"}' deep='{"model": {"depth": 6}}' \
        drop='{"keep_tokens": 0.5, "keep_until": 0.5, "epochs": 3}'

Every trial is tested on 5,000 training images that it does not learn from;
the test's own images are never looked at. Each leaves a record in FOLDER,
and what has one there is not run again. A table comes at the end.
"""

import argparse
import dataclasses
import itertools
import json
import shutil
import sys
from pathlib import Path

import keras

from vitsd_helpers.evidence.records import record_name
from vitsd_helpers.training.loop import train
from vitsd_helpers.training.recipes import (
    BASELINES,
    VARIANTS,
    Recipe,
    get_recipe,
    parse_variants,
)

HELD_OUT = 5_000
ROW = "{:28} {:8} {:>4} {:>7} {:>7} {:>9} {:>9}"


def parse_trial(base: Recipe, text: str) -> Recipe:
    """A changed recipe from "NAME=JSON", tested on held-out images.

    Raises:
        ValueError: if the text is not of this form, or a setting unknown.
    """
    name, _, changes = text.partition("=")
    try:
        settings = json.loads(changes)
        model = dataclasses.replace(base.model, **settings.pop("model", {}))
        return dataclasses.replace(
            base,
            **{"held_out": HELD_OUT} | settings,
            model=model,
            name=f"{base.name}-{name}",
        )
    except (AttributeError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{text!r} is not NAME=JSON of changed settings, such as "
            f'muon=\'{{"optimizer": "muon"}}\': {error}.'
        ) from error


def run_trial(recipe: Recipe, variant: str, seed: int, folder: Path) -> dict:
    """The record of a trial, trained now unless it lies in the folder."""
    name = record_name(recipe.name, variant, seed)
    path, work = folder / f"{name}.json", folder / ".checkpoints" / name
    if path.exists():
        record = json.loads(path.read_text("utf-8"))
        if record["recipe_hash"] != recipe.hash:
            sys.exit(f"{path} is of another recipe: give another name.")
        if record["finished"]:
            return record
    keras.utils.clear_session()
    data = recipe.load(seed=seed)
    model = recipe.build(variant, data, seed)
    run = train(model, data, recipe, seed=seed, folder=work)
    if not run.record["finished"]:
        raise KeyboardInterrupt
    run.write(folder)
    shutil.rmtree(work)
    return run.record


def row(record: dict) -> str:
    """A line of the table."""
    return ROW.format(
        record["recipe"]["name"],
        record["variant"],
        record["seed"],
        f"{record['test']['top1']:.2%}",
        f"{record['test']['loss']:.4f}",
        f"{record['seconds']:.1f}",
        f"{record['images_per_second']:.0f}",
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("base")
    parser.add_argument("folder", type=Path)
    parser.add_argument("trials", nargs="+", metavar="NAME=CHANGES")
    parser.add_argument("--models", default="sl")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    given = parser.parse_args()
    try:
        variants = parse_variants(given.models, [*VARIANTS, *BASELINES])
        base = get_recipe(given.base)
        recipes = [parse_trial(base, text) for text in given.trials]
    except (TypeError, ValueError) as error:
        sys.exit(str(error))
    records = [
        run_trial(recipe, variant, seed, given.folder)
        for seed, recipe, variant in itertools.product(
            given.seeds, recipes, variants
        )
    ]
    print(
        ROW.format(
            "recipe", "model", "seed", "top-1", "loss", "seconds", "images/s"
        ),
        *map(row, records),
        sep="\n",
    )


if __name__ == "__main__":
    main()
