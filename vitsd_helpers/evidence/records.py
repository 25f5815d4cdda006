"""Training records: what was run, on what, and what came out, as JSON."""

import contextlib
import dataclasses
import datetime
import io
import json
import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..config import ViTConfig
from ..data import ImageData
from .files import write_whole

if TYPE_CHECKING:
    import keras

#: Folders beside the results: the benchmark's records, the trials by which
#: a recipe was chosen, the runs of others' networks, studies that are not
#: complete yet, and the losses of chapter 14 on several devices.
APART = ("bench", "trials", "peers", "incoming", "devices")
#: The array of predicted classes in the file beside a record.
_PREDICTED = "answer"
PACKAGES = ("tensorflow", "tensorflow-cpu", "jax", "torch", "numpy")


def make_record(
    recipe,
    model: "keras.Model",
    data: ImageData,
    *,
    name: str,
    seed: int,
    title: str,
    started: dict,
    outcome: dict,
) -> dict:
    """Everything there is to say about one training run.

    Args:
        recipe: its settings and its hash are kept.
        model: what was trained; its name is the variant.
        data: what it was trained and tested on.
        name, seed: of the run.
        title: of the variant, for the reader.
        started: has "commit" and "start_weights", as they were at the start.
        outcome: has "finished", "epochs" (a list of values an epoch for
            each metric), "test" (metrics, or None), "steps", "images",
            "seconds", "compile_seconds" and "devices", their number.

    Returns:
        A dictionary that JSON can hold.
    """
    import keras

    seconds = max(outcome["seconds"], 1e-9)
    rate = outcome["images"] / seconds
    config: ViTConfig | None = getattr(model, "vit_config", None)
    return {
        "name": name,
        "recipe": recipe.settings,
        "recipe_hash": recipe.hash,
        "variant": variant_of(model),
        "model": title,
        "config": dataclasses.asdict(config) if config else {},
        "parameters": int(
            sum(np.prod(w.shape) for w in model.trainable_variables)
        ),
        "start_weights": started["start_weights"],
        "data": data.name,
        "data_md5": data.md5,
        "train_images": len(data.x_train),
        "test_images": len(data.split(data.tested)[0]),
        "tested_on": "held out" if data.tested == "val" else "test",
        "tested_weights": "averaged" if recipe.ema else "last",
        "seed": seed,
        "finished": outcome["finished"],
        "epochs": outcome["epochs"],
        "test": outcome["test"],
        "steps": outcome["steps"],
        "images": outcome["images"],
        "seconds": round(outcome["seconds"], 2),
        "compile_seconds": round(outcome["compile_seconds"], 2),
        "images_per_second": round(rate, 1),
        "images_per_second_each": round(rate / outcome["devices"], 1),
        "device": device_name(),
        "devices": outcome["devices"],
        "backend": keras.backend.backend(),
        "versions": versions(),
        "commit": started["commit"],
        "date": datetime.date.today().isoformat(),
    }


def variant_of(model) -> str:
    """A model's name, without the counter that Keras gives one of its own.

    The same CNN built twice is "sequential" and "sequential_1".
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(model).__name__)
    if re.fullmatch(rf"{re.escape(words.lower())}_\d+", model.name):
        return words.lower()
    return model.name


def record_name(recipe: str, variant: str, seed: int) -> str:
    """The name of a run's files, without an ending."""
    return f"{recipe}-{variant}-seed{seed}"


def write_record(
    record: dict,
    folder: str | os.PathLike,
    predictions: dict[str, np.ndarray] | None = None,
) -> Path:
    """Write a record, under its name.

    Args:
        record: see `make_record`.
        folder: made if it does not exist.
        predictions: "predicted", the class predicted for every test image,
            and "top5", whether its class was among the five best: (N,)
            each. They go into a file of the same name that ends in ".npz".

    Returns:
        The path of the record.

    Raises:
        FileExistsError: if an unfinished record would replace a finished
            one, or any one of another recipe, other data or a model with
            another number of parameters.
    """
    name = record.get("name") or record_name(
        record["recipe"]["name"], record["variant"], record["seed"]
    )
    folder = Path(folder)
    path = folder / f"{name}.json"
    old = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if old.get("finished") and not record["finished"]:
        raise FileExistsError(
            f"{path} is of a finished run, and this one is not: finish it "
            "by the same call, or choose another folder."
        )
    for key in ("recipe_hash", "data_md5", "parameters"):
        if key in old and key in record and old[key] != record[key]:
            raise FileExistsError(
                f"{path} is of another run: its {key} is {old[key]}, and "
                f"this one's {record[key]}. Give this one another name or "
                "another folder."
            )
    if predictions is not None:
        packed = {
            _PREDICTED: np.asarray(predictions["predicted"], "uint16"),
            "top5": np.packbits(np.asarray(predictions["top5"], bool)),
        }
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **packed)
        write_whole(folder / f"{name}.npz", buffer.getvalue())
    text = json.dumps(record, indent=1) + "\n"
    return write_whole(path, text)


def read_predictions(
    name: str, folder: str | os.PathLike | None = None
) -> dict[str, np.ndarray]:
    """The predictions beside a record.

    Args:
        name: of the record, without an ending.
        folder: it lies somewhere below; without one, among the book's own.

    Returns:
        "predicted", the class predicted for every test image, and "top5",
        whether its class was among the five best: (N,) each.

    Raises:
        FileNotFoundError: if there are no predictions of this name.
    """
    folder = Path(folder or results_folder())
    paths = [
        path
        for path in sorted(folder.rglob(f"{name}.npz"))
        if path.relative_to(folder).parts[0] not in APART
    ]
    if not paths:
        raise FileNotFoundError(
            f"there is no {name}.npz below {folder}: train it first, or "
            "read it in a checkout of the book, which has those of every "
            "study. Trials and the peers' runs have none."
        )
    with np.load(paths[0], allow_pickle=False) as archive:
        predicted = archive[_PREDICTED].astype("int64")
        top5 = np.unpackbits(archive["top5"], count=len(predicted))
    return {"predicted": predicted, "top5": top5.astype(bool)}


def results_folder() -> Path:
    """The folder of the book's own records.

    In a checkout it is `book/results`; an installed package brings a copy.
    """
    package = Path(__file__).parents[1]
    checkout = package.parent / "book" / "results"
    return checkout if checkout.is_dir() else package / "results"


def read_records(
    folder: str | os.PathLike | None = None,
) -> dict[str, dict]:
    """All records of trainings below a folder, by name without an ending.

    What lies in the folders `APART` of it is left out.

    Args:
        folder: without it, the book's own records are read.
    """
    folder = Path(folder or results_folder())
    return {
        path.stem: json.loads(path.read_text("utf-8"))
        for path in sorted(folder.rglob("*.json"))
        if path.relative_to(folder).parts[0] not in APART
    }


def read_labels() -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels (10000,) of CIFAR-100's test images, and the classes' names.

    They come with the records, so that predictions can be judged without the
    images.
    """
    path = results_folder() / "cifar100-test-labels.npz"
    with np.load(path, allow_pickle=False) as archive:
        return archive["label"].astype("int64"), tuple(
            map(str, archive["names"])
        )


def on_gpu() -> bool:
    """Whether Keras computes elsewhere than on the processor."""
    import keras

    value = keras.Variable(0.0).value
    # On JAX it may lie on several.
    places = value.devices() if hasattr(value, "devices") else value.device
    return "cpu" not in str(places).lower()


def device_name() -> str:
    """The processor that Keras computes on, as its maker calls it."""
    if on_gpu():
        query = ("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
        silent = OSError, subprocess.CalledProcessError, IndexError
        with contextlib.suppress(*silent):
            found = subprocess.run(
                query, capture_output=True, text=True, check=True
            )
            return found.stdout.splitlines()[0].strip()
        return "GPU"
    cores = f"{os.cpu_count()} cores"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return f"{line.split(':', 1)[1].strip()}, {cores}"
    return f"{platform.processor() or platform.machine()}, {cores}"


def versions() -> dict[str, str]:
    """Python's version, and those of the packages that matter here."""
    import keras

    # A nightly Keras lies in the folder of a released one, whose entry stays.
    found = {"python": platform.python_version(), "keras": keras.version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """The commit of the checkout this package lies in.

    "-dirty" follows if a file was changed, other than records and executed
    copies, which a run writes itself. None where the package lies in no git
    checkout of its own.
    """
    root = Path(__file__).parents[2]
    git = ("git", "-C", str(root))
    changes = ("status", "--porcelain", "--untracked-files=no", "--", ".")
    written = (":!book/results", ":!book/runs")
    try:
        where, changed = (
            subprocess.run(
                [*git, *command],
                capture_output=True,
                encoding="utf-8",  # git's own, on Windows too
                check=True,
            ).stdout.strip()
            for command in (
                ("rev-parse", "--show-toplevel", "HEAD"),
                (*changes, *written),
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    top, name = where.splitlines()
    if Path(top).resolve() != root.resolve():
        return None  # an environment within another project
    return name + "-dirty" * bool(changed)
