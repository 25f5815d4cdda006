"""Models on the disk: weights as safetensors, and what builds the model."""

import dataclasses
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np
from keras import ops

from ..evidence.files import write_whole
from ..model import ViTConfig, build_vit

#: The files of a saved model. A folder that has the first is one.
DESCRIPTION, WEIGHTS, RECORD = "model.json", "model.safetensors", "record.json"


def save_weights(
    model: keras.Model,
    path: str | os.PathLike,
    dtype: str = "float16",
    **about: str,
) -> Path:
    """Write all weights of a model, ours by their path in it.

    The states of its random generators are left out.

    Args:
        model: whose weights to write.
        path: of the file; it is complete or absent.
        dtype: "float16" halves the file; "float32" keeps every bit.
        about: is kept in the header.

    Returns:
        The path.

    Raises:
        ValueError: if a value does not fit into `dtype`.
    """
    from safetensors.numpy import save

    arrays = {}
    for name, variable in _named(model).items():
        value = ops.convert_to_numpy(variable)
        with np.errstate(over="ignore"):
            small = np.ascontiguousarray(value.astype(dtype))
        if not np.isfinite(small).all():
            raise ValueError(
                f"{name} has values up to {np.abs(value).max()}, "
                f"which {dtype} cannot hold: save as float32."
            )
        arrays[name] = small
    return write_whole(path, save(arrays, metadata=about or None))


def load_weights(model: keras.Model, path: str | os.PathLike) -> None:
    """Read what `save_weights` wrote into a model of the same shape.

    Raises:
        ValueError: if the names or shapes are not the model's; the model
            is left as it was.
    """
    from safetensors.numpy import load_file

    arrays = load_file(path)
    variables = _named(model)
    odd = sorted(variables.keys() ^ arrays.keys())
    if odd:
        raise ValueError(
            f"{path} is not of this model: {odd[0]!r} is in only one of them."
        )
    for name, variable in variables.items():
        if tuple(variable.shape) != arrays[name].shape:
            raise ValueError(
                f"{name} has shape {tuple(variable.shape)} in the model and "
                f"{arrays[name].shape} in {path}."
            )
    for name, variable in variables.items():
        variable.assign(arrays[name].astype("float32"))


def save_model(
    model: keras.Model,
    path: str | os.PathLike,
    class_names: Iterable[str] | None = None,
    record: dict | None = None,
) -> Path:
    """Write a folder that `load_model` makes the model of again.

    `model.json` holds the configuration: of ours its `ViTConfig`, of
    another model what Keras serialises. `model.safetensors` holds the
    weights in float32, `record.json` the record.

    Args:
        model: what to save.
        path: of the folder. A model that was saved there is replaced.
        class_names: in the order of the logits.
        record: of its training.

    Returns:
        The path.

    Raises:
        FileExistsError: if there is something else at `path`.
        ValueError: if Keras cannot serialise the model.
    """
    path = Path(path)
    if path.exists() and not (path / DESCRIPTION).is_file():
        raise FileExistsError(
            f"{path} exists and is no saved model: choose another path."
        )
    if hasattr(model, "vit_config"):
        config = dataclasses.asdict(model.vit_config)
        what = {"kind": "vit", "config": config}
        what["name"] = model.name
    else:
        try:
            config = keras.saving.serialize_keras_object(model)
            what = {"kind": "keras", "config": json.loads(json.dumps(config))}
        except (NotImplementedError, TypeError, ValueError) as error:
            raise ValueError(
                f"Keras cannot serialise the model {model.name!r} ({error}): "
                "give its class get_config, or save its weights alone with "
                "save_weights."
            ) from error
    if class_names is not None:
        what["class_names"] = list(class_names)
    aside = path.with_name(path.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    save_weights(model, aside / WEIGHTS, "float32")
    if record is not None:
        write_whole(aside / RECORD, json.dumps(record, indent=1) + "\n")
    write_whole(aside / DESCRIPTION, json.dumps(what, indent=1) + "\n")
    if path.exists():
        shutil.rmtree(path)
    return aside.replace(path)


def load_model(path: str | os.PathLike) -> keras.Model:
    """Build the model that was saved, and load its weights.

    Args:
        path: what `save_model` or `Run.save` wrote; or a single file of
            `save_weights` with `config`, the model's `ViTConfig` as JSON,
            such as `Run.write_weights` writes.

    Returns:
        The model. Its `class_names` are those that it was saved with, if
        any.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ValueError: if the folder is no saved model, the header of the file
            does not hold the configuration, or the weights are of another
            model.
    """
    path = Path(path)
    if path.is_dir():
        return _load_folder(path)
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        about = file.metadata() or {}
    if "config" not in about:
        raise ValueError(
            f"{path} has no 'config' in its header: build its model "
            "yourself and call load_weights."
        )
    model = build_vit(config_of(json.loads(about["config"])))
    load_weights(model, path)
    return model


def config_of(settings: dict) -> ViTConfig:
    """A configuration from its settings as JSON holds them."""
    tuples = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in settings.items()
    }
    return ViTConfig(**tuples)


def _load_folder(path: Path) -> keras.Model:
    description = path / DESCRIPTION
    if not description.is_file():
        raise ValueError(f"{path} is no saved model: it has no {DESCRIPTION}.")
    what = json.loads(description.read_text())
    if what["kind"] == "vit":
        model = build_vit(config_of(what["config"]), what["name"])
    else:
        model = keras.saving.deserialize_keras_object(what["config"])
    load_weights(model, path / WEIGHTS)
    if "class_names" in what:
        model.class_names = tuple(what["class_names"])
    return model


def _named(model: keras.Model) -> dict:
    """The weights by path; those of a model that is not ours by place.

    What Keras puts into their paths depends on how the model was built.
    """
    if hasattr(model, "vit_config"):
        return {variable.path: variable for variable in model.weights}
    return {
        f"{index:04d}/{variable.name}": variable
        for index, variable in enumerate(model.weights)
    }
