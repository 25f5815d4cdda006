"""How long a run will take, from the records of those that were made."""

import math

from arithmetic import multiply_adds

from vitsd_helpers import ViTConfig
from vitsd_helpers.training.recipes import BASELINES, Recipe

#: Training images of the data sets that recipes name.
IMAGES = {"cifar100": 50_000, "digits": 1_438}


def images_seen(recipe: Recipe) -> int:
    """Images of a whole run, each counted as often as it is seen."""
    count = recipe.train_images or IMAGES[recipe.data] - recipe.held_out
    epoch = recipe.samples_per_epoch or count
    return epoch // recipe.batch_size * recipe.batch_size * recipe.epochs


def estimate(
    recipe: Recipe, variant: str, records: dict[str, dict]
) -> tuple[float, str]:
    """Seconds of a run, and by which record.

    The mean of the records of the same recipe, of the same model if there
    are any; else the images by the rate of the record nearest in work an
    image, then in precision and model, with the work in proportion.

    Args:
        recipe, variant: what is to be run.
        records: by name; see `read_records`.
    """
    same = {
        name: record
        for name, record in records.items()
        if record["recipe_hash"] == recipe.hash
        and record["finished"]
        and (record["variant"] in BASELINES) == (variant in BASELINES)
    }
    of_it = {n: r for n, r in same.items() if r["variant"] == variant}
    if same:
        used = of_it or same
        seconds = [r["seconds"] + r["compile_seconds"] for r in used.values()]
        first, *others = used
        more = f" and {len(others)} more" if others else ""
        return sum(seconds) / len(seconds), first + more

    work = multiply_adds(recipe.model)

    def ratio(record) -> float:
        settings = record["recipe"]["model"]
        return work / multiply_adds(ViTConfig(**settings))

    def distance(name):
        record = records[name]
        settings = record["recipe"]
        return (
            round(abs(math.log(ratio(record))), 2),
            settings["precision"] != recipe.precision,
            record["variant"] != variant,
            settings["batch_size"] != recipe.batch_size,
        )

    name = min(records, key=distance)
    record, times = records[name], ratio(records[name])
    rate = record["images_per_second"]
    words = f"{name}'s {rate:.0f} images/s"
    if not 0.95 < times < 1.05:
        words += f", at {times:.2g} times its work"
    seconds = images_seen(recipe) / rate * times + record["compile_seconds"]
    return seconds, words
