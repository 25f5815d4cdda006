"""Trained models for other runtimes: ONNX and LiteRT.

A file is handed out only if its runtime gives the model's logits. Both are
made by Keras's `export` on TensorFlow, whatever the backend here, in a
process of its own: what is changed for tf2onnx stays there.
"""

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

#: The model that is exported, as `save_model` writes it.
KERAS = "model.keras"
EXTRA = 'pip install "vitsd-helpers[export]" tensorflow'
#: What a side without a size becomes in a check.
SIDE = 64
#: A batch of one, and of a number that no kernel prefers.
BATCHES = (1, 7)


@dataclass(frozen=True)
class Format:
    """How a model travels.

    Attributes:
        file: its name in the folder.
        limit: the largest difference of a logit, as a part of the largest
            logit.
        needs: what must be installed.
    """

    file: str
    limit: float
    needs: tuple[str, ...]


FORMATS = {
    "onnx": Format(
        "model.onnx", 1e-4, ("tensorflow", "tf2onnx", "onnxruntime")
    ),
    "litert": Format("model.tflite", 1e-5, ("tensorflow", "ai_edge_litert")),
}


def missing(name: str) -> list[str]:
    """Packages that a format needs and that are not installed.

    Raises:
        ValueError: for an unknown format.
    """
    if name not in FORMATS:
        raise ValueError(
            f"unknown format {name!r}: choose from {', '.join(FORMATS)}."
        )
    needs = FORMATS[name].needs
    return [x for x in needs if importlib.util.find_spec(x) is None]


def available() -> tuple[str, ...]:
    """The formats whose packages are installed."""
    return tuple(name for name in FORMATS if not missing(name))


def check_formats(names: Iterable[str]) -> None:
    """Raise an error if a format cannot be made here.

    Raises:
        ValueError: for an unknown format.
        ModuleNotFoundError: if a package is missing.
    """
    for name in names:
        if absent := missing(name):
            raise ModuleNotFoundError(
                f"{name} needs {' and '.join(absent)}: {EXTRA}"
            )


def export_folder(
    folder: str | os.PathLike, names: Iterable[str]
) -> dict[str, float | ValueError]:
    """Put other formats beside the `model.keras` of a folder.

    Args:
        folder: see `save_model`.
        names: of the formats, in `FORMATS`.

    Returns:
        For each the largest difference of a logit from Keras's, as a part
        of the largest logit; or an error, if the model cannot be exported
        or the runtime does not give its logits. There is no file then.

    Raises:
        ValueError: for an unknown format.
        ModuleNotFoundError: if a package is missing.
    """
    names = tuple(names)
    check_formats(names)
    if not names:
        return {}
    # On the processor: a GPU multiplies with fewer bits.
    settings = {
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    package = str(Path(__file__).parents[2])
    paths = [package, os.environ.get("PYTHONPATH")]
    settings["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    done = subprocess.run(
        [sys.executable, "-m", __name__, os.fspath(folder), *names],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
    )
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        said = (done.stderr.strip() or "it ended").splitlines()[-1]
        found = dict.fromkeys(names, said)
    results = {}
    for name in names:
        results[name] = found[name]
        if isinstance(found[name], str):
            (Path(folder) / FORMATS[name].file).unlink(missing_ok=True)
            said = f"the model has no {name} file: {found[name]}"
            results[name] = ValueError(said)
    return results


def sample_images(shape: tuple) -> np.ndarray:
    """Images to compare runtimes on, (7, H, W, C) on the scale 0..255.

    Noise, and noise as coarse as things in photographs.

    Args:
        shape: of the model's input, (None, H, W, C); a side may be None.
    """
    height, width, channels = (size or SIDE for size in shape[1:])
    random = np.random.default_rng(0)
    size = (BATCHES[-1], height, width, channels)
    images = random.integers(0, 256, size)
    coarse = random.integers(0, 256, (4, -(-height // 8), -(-width // 8), 1))
    images[3:] = coarse.repeat(8, 1).repeat(8, 2)[:, :height, :width]
    return images.astype("float32")


def difference(model, run) -> float:
    """How far a runtime is from Keras, as a part of the largest logit.

    Args:
        model: Keras's.
        run: from images (B, H, W, C) to logits (B, classes).
    """
    from keras import ops

    images = sample_images(model.input_shape)
    worst = 0.0
    for count in BATCHES:
        logits = model(images[:count], training=False)
        expected = ops.convert_to_numpy(logits)
        found = np.asarray(run(images[:count]))
        if found.shape != expected.shape:
            return float("inf")
        apart = np.abs(found - expected).max() / np.abs(expected).max()
        worst = np.maximum(worst, apart)  # nan stays
    return float(worst)


def _convert_onnx(model, path: Path) -> None:
    import keras
    from tf2onnx.handler import tf_op

    # tf2onnx 1.17 has no handler for `Erfc`, of which TensorFlow makes the
    # exact GELU; it writes a file that no runtime takes.
    @tf_op("Erfc")
    class Erfc:
        @classmethod
        def version_9(cls, graph, node, **_):
            dtype = graph.get_dtype(node.output[0])
            one = graph.make_const(f"{node.name}_one", np.float32(1))
            erf = graph.make_node("Erf", node.input, dtypes=[dtype])
            outputs = node.output
            graph.remove_node(node.name)
            graph.make_node(
                "Sub",
                [one.output[0], erf.output[0]],
                outputs=outputs,
                dtypes=[dtype],
            )

    # Constants that are tensors would become inputs of their own.
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.mean = np.asarray(layer.mean)
            layer.variance = np.asarray(layer.variance)
    images = keras.InputSpec(
        shape=model.input_shape, dtype="float32", name="images"
    )
    model.export(path, format="onnx", verbose=False, input_signature=[images])


def _convert_litert(model, path: Path) -> None:
    model.export(path, format="litert", verbose=False)


def _onnx_runtime(path: Path):
    import onnxruntime

    session = onnxruntime.InferenceSession(
        os.fspath(path), providers=["CPUExecutionProvider"]
    )
    (images,) = session.get_inputs()
    return lambda batch: session.run(None, {images.name: batch})[0]


def _litert_runtime(path: Path):
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(os.fspath(path)).get_signature_runner()
    (name,) = runner.get_input_details()

    def run(batch):
        (logits,) = runner(**{name: batch}).values()
        return logits

    return run


def _export(model, name: str, path: Path) -> float | str:
    """How far the runtime is off, or what is wrong."""
    convert, runtime = {
        "onnx": (_convert_onnx, _onnx_runtime),
        "litert": (_convert_litert, _litert_runtime),
    }[name]
    try:
        convert(model, path)
        apart = difference(model, runtime(path))
    except Exception as error:  # whatever the converters raise
        return f"{type(error).__name__}: {error}".splitlines()[0]
    limit = FORMATS[name].limit
    if apart <= limit:  # which nan is not
        return apart
    return f"its logits differ by {apart:.1g} of the largest, not {limit:.0e}"


def main(folder: str, *names: str) -> None:
    """Export the model of a folder, and print what came out as JSON."""
    import keras

    # With Keras there, the package registers its layers.
    importlib.import_module("vitsd_helpers.model")
    model = keras.saving.load_model(Path(folder) / KERAS, compile=False)
    model(sample_images(model.input_shape)[:1])  # a model that never ran
    files = {name: Path(folder) / FORMATS[name].file for name in names}
    found = {name: _export(model, name, files[name]) for name in names}
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
