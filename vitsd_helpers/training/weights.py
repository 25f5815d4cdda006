"""Models on the disk and on the Hugging Face Hub."""

import dataclasses
import json
import os
import shutil
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from ..evidence.cards import model_card
from ..evidence.files import replace_folder, write_whole
from ..model import ViTConfig, build_vit
from .export import FORMATS, KERAS, available, check_formats, export_folder
from .recipes import computing_in

#: Of a saved model: its configuration. A folder that has this file is one.
DESCRIPTION = "model.json"
#: Of a saved model: its weights.
WEIGHTS = "model.safetensors"
#: Of a saved model: the record of its training.
RECORD = "record.json"
CLASSES, CARD = "classes.txt", "README.md"
#: How the place of a model on the Hub begins.
HUB = "hf://"


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
    *,
    formats: Iterable[str] | None = None,
    **about,
) -> Path:
    """Write a folder that `load_model` makes the model of again.

    It is what a repository on the Hugging Face Hub holds. `model.json` has
    the configuration: of ours its `ViTConfig`, of another model what Keras
    serialises. `model.safetensors` has the weights in float32, `model.keras`
    both in Keras's own format, `classes.txt` the names, `record.json` the
    record and `README.md` a model card made from it.

    Args:
        model: what to save.
        path: of the folder. A model that was saved there is replaced.
        class_names: in the order of the logits.
        record: of its training.
        formats: "onnx" and "litert" add `model.onnx` and `model.tflite`;
            see `export`. None: those whose packages are installed, but with
            a warning instead of an error if the model has no such file.
        about: for the card, `repository`, `licence` and `notes`; see
            `cards.model_card`.

    Returns:
        The path.

    Raises:
        FileExistsError: if there is something else at `path`.
        ValueError: if Keras cannot serialise the model, for an unknown
            format, or if a format that was asked for cannot be made.
        ModuleNotFoundError: if a package of such a format is missing.
    """
    path = Path(path)
    if path.exists() and not (path / DESCRIPTION).is_file():
        raise FileExistsError(
            f"{path} exists and is no saved model: choose another path."
        )
    asked = formats is not None
    formats = available() if formats is None else tuple(formats)
    check_formats(formats)
    what = _describe(model)
    if class_names is not None:
        what["class_names"] = list(class_names)
    aside = path.with_name(path.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    save_weights(model, aside / WEIGHTS, "float32")
    write_whole(aside / DESCRIPTION, json.dumps(what, indent=1) + "\n")
    if class_names is not None:
        lines = [f"{name}\n" for name in what["class_names"]]
        write_whole(aside / CLASSES, "".join(lines))
    # The model that is loaded: in float32, and without dropped tokens.
    _load_folder(aside).save(aside / KERAS)
    apart = {}
    for name, found in export_folder(aside, formats).items():
        if not isinstance(found, ValueError):
            apart[FORMATS[name].file] = found
        elif asked:
            shutil.rmtree(aside)
            raise found
        else:
            warnings.warn(str(found), stacklevel=2)
    if record is not None:
        write_whole(aside / RECORD, json.dumps(record, indent=1) + "\n")
        files = sorted(file.name for file in aside.iterdir())
        card = model_card(record, files, apart=apart, **about)
        write_whole(aside / CARD, card)
    return replace_folder(aside, path)


def _describe(model: keras.Model) -> dict:
    """What builds a model again, for `model.json`."""
    if hasattr(model, "vit_config"):
        config = dataclasses.asdict(model.vit_config)
        return {"kind": "vit", "config": config, "name": model.name}
    try:
        config = keras.saving.serialize_keras_object(model)
        return {"kind": "keras", "config": json.loads(json.dumps(config))}
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(
            f"Keras cannot serialise the model {model.name!r} ({error}): "
            "give its class get_config, or save its weights alone with "
            "save_weights."
        ) from error


def load_model(path: str | os.PathLike) -> keras.Model:
    """Build the model that was saved, and load its weights.

    Nothing that comes with a model is executed: of another's Lambda layers
    Keras refuses to make code.

    Args:
        path: what `save_model` or `Run.save` wrote; or such a folder on the
            Hugging Face Hub, "hf://user/name" or, at a branch, tag or
            commit, "hf://user/name@v1"; or a single file of `save_weights`
            with `config`, the model's `ViTConfig` as JSON, such as
            `Run.write_weights` writes.

    Returns:
        The model, in float32. Its `class_names` are those that it was saved
        with, if any.

    Raises:
        FileNotFoundError: if there is no such file, folder or repository.
        ModuleNotFoundError: if huggingface_hub is needed and missing.
        ConnectionError: if the Hub cannot be reached, and the model was not
            loaded before.
        ValueError: if the folder is no saved model, the header of the file
            does not hold the configuration, or the weights are of another
            model.
    """
    if str(path).startswith(HUB):
        return _load_folder(_download(str(path)))
    path = Path(path)
    if path.is_dir():
        return _load_folder(path)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            about = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(
            f"{path} is no file of safetensors ({error}): give the folder of "
            "a saved model, or a file of save_weights."
        ) from error
    if "config" not in about:
        raise ValueError(
            f"{path} has no 'config' in its header: build its model "
            "yourself and call load_weights."
        )
    with computing_in("float32"):
        model = build_vit(config_of(json.loads(about["config"])))
    load_weights(model, path)
    if "class_names" in about:
        model.class_names = tuple(json.loads(about["class_names"]))
    return model


def _download(place: str) -> Path:
    """The folder of a model on the Hub, kept in the Hub's own cache.

    `keras.saving.load_model("hf://...")` is not used: it needs TensorFlow
    to read files, whatever the backend.
    """
    name, _, revision = place.removeprefix(HUB).partition("@")
    if name.count("/") != 1 or not all(name.split("/")):
        raise ValueError(f"{place!r} must have the form hf://user/name.")
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{place} needs huggingface_hub: pip install huggingface_hub"
        ) from error
    try:
        folder = huggingface_hub.snapshot_download(
            name,
            revision=revision or None,
            allow_patterns=[DESCRIPTION, WEIGHTS],
        )
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as e:
        raise FileNotFoundError(
            f"the Hub has no {place} that you may read: check its name. A "
            "private one needs your token: hf auth login"
        ) from e
    except errors.LocalEntryNotFoundError as error:
        raise ConnectionError(
            f"{place} is not in the cache and the Hub cannot be reached: "
            "check the connection."
        ) from error
    return Path(folder)


def config_of(settings: dict[str, Any]) -> ViTConfig:
    """A configuration from its settings as JSON holds them."""
    tuples: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in settings.items()
    }
    return ViTConfig(**tuples)


def _of_float32(config):
    """What Keras serialised, with every layer's policy float32."""
    if isinstance(config, list):
        return [_of_float32(value) for value in config]
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy":
        return {**config, "config": {"name": "float32"}}
    return {key: _of_float32(value) for key, value in config.items()}


def _load_folder(path: Path) -> keras.Model:
    description = path / DESCRIPTION
    if not description.is_file():
        raise ValueError(f"{path} is no saved model: it has no {DESCRIPTION}.")
    what = json.loads(description.read_text("utf-8"))
    if what["kind"] == "vit":
        with computing_in("float32"):
            model = build_vit(config_of(what["config"]), what["name"])
    else:
        config = _of_float32(what["config"])
        model = keras.saving.deserialize_keras_object(config)
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
