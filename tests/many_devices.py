"""Run by test_devices.py with eight virtual devices: what one run gives.

    python tests/many_devices.py FOLDER

Writes FOLDER/found.json.
"""

import json
import re
import sys
from pathlib import Path

import jax
import keras
import mapped
import numpy as np
from test_train import Stop, few_digits, quiet, stop_after, tiny

from vitsd_helpers import load_data
from vitsd_helpers.training import loop
from vitsd_helpers.training.devices import spread
from vitsd_helpers.training.loop import train
from vitsd_helpers.training.scan import EpochScan

#: Columns, then rows: one sum for two kernels.
CUT = {
    ".*attention/qkv/kernel": (None, "model"),
    ".*attention/output/kernel": ("model", None),
    ".*mlp1/kernel": (None, "model"),
    ".*mlp1/bias": ("model",),
    ".*mlp2/kernel": ("model", None),
}
#: 64 images do not divide by 3, and 50 test images not by 8.
RECIPE = tiny(epochs=2, batch_size=64, learning_rate=1e-3)


def run(data, model=None, **options) -> dict:
    """The record of a run, with its predictions.

    Scanned, it has the losses of the steps and the compiled program, too.
    """
    losses, texts = [], []

    class Spy(EpochScan):
        def __call__(self, order):
            logs = super().__call__(order)
            losses.extend(logs["loss"].tolist())
            texts.append(self.run.as_text())
            return logs

    loop.EpochScan = Spy
    model = model or RECIPE.build("sl", data)
    report = options.pop("report", quiet)
    predictions, record = [], {}
    try:
        found = train(model, data, RECIPE, report=report, **options)
        predictions = found.predictions["predicted"].tolist()
        record = found.record
    except Stop:
        pass
    finally:
        loop.EpochScan = EpochScan
    more = {"predicted": predictions, "losses": losses}
    return record | more | {"step": read(texts[-1]) if texts else None}


def step_of_fit(data, devices: int) -> dict:
    """What the compiled step of `fit` holds."""

    def laid(array):
        """As Keras lays the arrays of a batch."""
        layout = keras.distribution.distribution().get_data_layout(array.shape)
        return jax.make_array_from_process_local_data(
            layout.backend_layout, array
        )

    with spread(devices):
        model = RECIPE.build("sl", data)
        trainer = loop._compiled(model, RECIPE, data, 0, 6)
        order = np.arange(RECIPE.batch_size, dtype="int32")
        groups = (
            trainer.trainable_variables,
            trainer.non_trainable_variables,
            trainer.optimizer.variables,
            trainer.metrics_variables,
        )
        state = tuple([v.value for v in group] for group in groups)
        step = jax.jit(trainer.train_step)
        batch = jax.tree.map(laid, (trainer.batch(order), data.y_train[order]))
        lowered = step.lower(state, batch)
        return read(lowered.compile().as_text())


def cut(data) -> dict:
    """A run with each large kernel in four parts, twice."""
    mesh = keras.distribution.DeviceMesh((2, 4), ("batch", "model"))
    layouts = keras.distribution.LayoutMap(mesh)
    for pattern, axes in CUT.items():
        layouts[pattern] = axes
    keras.distribution.set_distribution(
        keras.distribution.ModelParallel(
            layout_map=layouts, batch_dim_name="batch"
        )
    )
    model = RECIPE.build("sl", data)
    before = logits(model, data)
    found = run(data, model, scan=True)
    keras.distribution.set_distribution(None)
    parts = {
        v.path: v.value.size // v.value.addressable_shards[0].data.size
        for v in model.trainable_variables
    }
    return found | {"logits": before, "parts": parts}


def logits(model, data) -> list:
    return keras.ops.convert_to_numpy(model(data.x_test)).tolist()


def read(text: str) -> dict:
    """A compiled program: what devices exchange, and batches of images."""
    return {
        "reduces": len(re.findall(r" all-reduce(?:-start)?\(", text)),
        "gathers": len(re.findall(r" all-gather(?:-start)?\(", text)),
        "images": sorted(
            {int(n) for n in re.findall(r"f32\[(\d+),32,32,3\]", text)}
        ),
    }


def main(folder: Path) -> None:
    data = few_digits(192)
    model = RECIPE.build("sl", data)
    before = logits(model, data)
    one = run(data, model, scan=True) | {"logits": before}
    options = {"folder": folder, "scan": True}
    first = run(data, devices=8, report=stop_after(1), **options)
    rest = run(data, devices=3, **options)
    fit = run(data, scan=False, devices=3)
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    ambient = run(data, scan=False)
    keras.distribution.set_distribution(None)
    file = load_data("arrays", mapped.write(folder / "digits", data))
    found = {
        "devices": keras.distribution.list_devices(),
        "one": one,
        "scan 8": first,
        "scan 3": rest,
        "fit 3": fit | {"step": step_of_fit(data, 3)},
        "fit 8": ambient | {"step": step_of_fit(data, 8)},
        "file 8": run(file, devices=8) | {"step": step_of_fit(file, 8)},
        "cut 2 x 4": cut(data),
        "file 3": run(file, devices=3),
    }
    (folder / "found.json").write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
