"""Training records: what was run, on what, and what came out, as JSON."""

import dataclasses
import datetime
import json
import os
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path

import keras
import numpy as np

from .data import ImageData
from .model import ViTConfig
from .recipes import VARIANTS, Recipe

PACKAGES = ("keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "numpy")


class StopWatch(keras.callbacks.Callback):
    """Seconds of training, with the first step, which compiles, apart."""

    def on_train_begin(self, logs=None):
        self.compile_seconds = None
        self.train_seconds = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        if self.compile_seconds is None:
            self.compile_seconds = time.perf_counter() - self.start
            self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.train_seconds += time.perf_counter() - self.start


def make_record(
    recipe: Recipe,
    variant: str,
    seed: int,
    data: ImageData,
    config: ViTConfig,
    model: keras.Model,
    history: dict[str, list[float]],
    test: dict[str, float],
    watch: StopWatch,
) -> dict:
    """Everything there is to say about one training run.

    Args:
        recipe, variant, seed: what was asked for.
        data: what it was trained and tested on.
        config, model: what was trained.
        history: metrics of the training images, a list an epoch each.
        test: metrics of the test images after the last epoch.
        watch: was a callback of the training.

    Returns:
        A dictionary that JSON can hold.
    """
    steps = -(-len(data.x_train) // recipe.batch_size) * recipe.epochs
    images = len(data.x_train) * recipe.epochs - recipe.batch_size
    return {
        "recipe": dataclasses.asdict(recipe),
        "recipe_hash": recipe.hash,
        "model": VARIANTS[variant],
        "config": dataclasses.asdict(config),
        "parameters": int(
            sum(np.prod(w.shape) for w in model.trainable_variables)
        ),
        "data": recipe.data,
        "data_md5": data.md5,
        "train_images": len(data.x_train),
        "test_images": len(data.x_test),
        "seed": seed,
        "steps": steps,
        "epochs": {name: [*map(float, v)] for name, v in history.items()},
        "test": {name: float(value) for name, value in test.items()},
        "seconds": round(watch.train_seconds, 2),
        "compile_seconds": round(watch.compile_seconds, 2),
        "images_per_second": round(images / watch.train_seconds, 1),
        "device": device_name(),
        "backend": keras.backend.backend(),
        "versions": versions(),
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
    }


def write_record(record: dict, folder: str | os.PathLike) -> Path:
    """Write a record; its name is recipe, variant and seed.

    The file is complete or absent: it is written aside, then renamed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    short = {long: key for key, long in VARIANTS.items()}[record["model"]]
    name = f"{record['recipe']['name']}-{short}-seed{record['seed']}.json"
    aside = folder / (name + ".part")
    aside.write_text(json.dumps(record, indent=1) + "\n")
    return aside.replace(folder / name)


def read_records(folder: str | os.PathLike) -> dict[str, dict]:
    """All records of a folder, by file name without its ending."""
    paths = sorted(Path(folder).glob("*.json"))
    return {path.stem: json.loads(path.read_text()) for path in paths}


def device_name() -> str:
    """The processor that Keras computes on, as its maker calls it."""
    cores = f"{os.cpu_count()} cores"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.split(':', 1)[1].strip()}, {cores}"
    return f"{platform.processor() or platform.machine()}, {cores}"


def versions() -> dict[str, str]:
    """Python's version, and those of the packages that matter here."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """The commit of the checkout this package lies in, "-dirty" if changed.

    None outside a git checkout.
    """
    git = ("git", "-C", str(Path(__file__).parent))
    try:
        name = subprocess.run(
            [*git, "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return name.stdout.strip()
