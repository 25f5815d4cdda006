"""A model's weights as a safetensors file, in half precision if wanted."""

import json
import os
from pathlib import Path

import keras
import numpy as np
from keras import ops

from ..model import ViTConfig, build_vit


def save_weights(
    model: keras.Model,
    path: str | os.PathLike,
    dtype: str = "float16",
    **about: str,
) -> Path:
    """Write all weights of a model, by path in the model.

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
    for variable in model.weights:
        value = ops.convert_to_numpy(variable)
        with np.errstate(over="ignore"):
            small = np.ascontiguousarray(value.astype(dtype))
        if not np.isfinite(small).all():
            raise ValueError(
                f"{variable.path} has values up to {np.abs(value).max()}, "
                f"which {dtype} cannot hold: save as float32."
            )
        arrays[variable.path] = small
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    aside.write_bytes(save(arrays, metadata=about or None))
    return aside.replace(path)


def load_weights(model: keras.Model, path: str | os.PathLike) -> None:
    """Read what `save_weights` wrote into a model of the same shape.

    Raises:
        ValueError: if the names or shapes are not the model's; the model
            is left as it was.
    """
    from safetensors.numpy import load_file

    arrays = load_file(path)
    variables = {v.path: v for v in model.weights}
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


def load_model(path: str | os.PathLike) -> keras.Model:
    """Build the model that a file of weights is of, and load them.

    Args:
        path: what `save_weights` wrote with `config`, the model's
            `ViTConfig` as JSON, such as `Run.write_weights` does.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the header does not hold the configuration, or the
            weights are of another model.
    """
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        about = file.metadata() or {}
    if "config" not in about:
        raise ValueError(
            f"{path} has no 'config' in its header: build its model "
            "yourself and call load_weights."
        )
    settings = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in json.loads(about["config"]).items()
    }
    model = build_vit(ViTConfig(**settings))
    load_weights(model, path)
    return model
