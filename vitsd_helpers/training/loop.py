"""Train a model by a recipe: one path for a laptop and for a GPU."""

import dataclasses
import hashlib
import json
import math
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

import keras
import numpy as np
from keras import ops

from ..data import ImageData
from ..evidence.records import (
    commit,
    make_record,
    record_name,
    variant_of,
    write_record,
)
from .checkpoint import Checkpoints, differing
from .devices import lay, parts, spread
from .inference import score
from .optimizer import make_optimizer
from .processes import first_process, same_everywhere
from .progress import Progress
from .recipes import VARIANTS, Recipe
from .scan import EpochScan
from .trainer import Trainer
from .weights import save_model, save_weights


@dataclass(frozen=True)
class Run:
    """What came out of a training.

    Attributes:
        trainer: the optimiser and all state.
        record: see `records.make_record`.
        class_names: of the data, in the order of the logits.
        predictions: "predicted" and "top5" of every test image, (N,) each;
            None if the run did not come to its end.
    """

    trainer: Trainer
    record: dict
    class_names: tuple[str, ...]
    predictions: dict[str, np.ndarray] | None

    @property
    def model(self) -> keras.Model:
        """The trained model, from pixels to logits."""
        return self.trainer.model

    @property
    def test(self) -> dict[str, float] | None:
        """Loss, top-1 and top-5 of the test; None if it was not reached."""
        return self.record["test"]

    def write(self, folder: str | os.PathLike) -> Path:
        """Write the record, and the predictions beside it."""
        return write_record(self.record, folder, self.predictions)

    def write_weights(self, folder: str | os.PathLike) -> Path:
        """Write the weights in half precision, named as the record is."""
        config = self.record["config"]
        about = {"config": json.dumps(config)} if config else {}
        about["class_names"] = json.dumps(self.class_names)
        path = Path(folder) / f"{self.record['name']}.safetensors"
        return save_weights(self.model, path, **about)

    def save(self, path: str | os.PathLike, **options) -> Path:
        """Write a folder that `load_model` makes the model of again.

        It is complete for the Hugging Face Hub, with a model card made from
        the record. The options are those of `weights.save_model`.
        """
        names, record = self.class_names, self.record
        return save_model(self.model, path, names, record, **options)


def epoch_steps(recipe: Recipe, count: int) -> int:
    """Steps of an epoch, all of whole batches, on `count` images."""
    return (recipe.samples_per_epoch or count) // recipe.batch_size


def epoch_order(
    count: int, batch_size: int, seed: int, epoch: int, steps: int
) -> np.ndarray:
    """Indices of an epoch, (steps * batch_size,), from seed and epoch alone.

    The images come in one shuffled pass after another, and an epoch goes
    on where the one before stopped: each is seen as often as any other,
    or once more.
    """
    size = steps * batch_size
    first, last = epoch * size, (epoch + 1) * size
    passes = range(first // count, -(-last // count))
    stream = [
        np.random.default_rng((seed, k)).permutation(count) for k in passes
    ]
    start = first - passes[0] * count
    return np.concatenate(stream)[start : start + size].astype("int32")


def train(
    model: keras.Model,
    data: ImageData,
    recipe: Recipe,
    *,
    name: str | None = None,
    seed: int = 0,
    folder: str | os.PathLike | None = None,
    scan: bool | None = None,
    devices: int | None = None,
    report: Callable[[str], None] | None = None,
) -> Run:
    """Train a model by a recipe, from the start or from where it stopped.

    Args:
        model: from images (B, H, W, C), floats on the scale 0..255, to
            logits (B, classes): `recipe.build` makes one, any other of
            Keras's will do. It is trained in place, in its own precision.
        data: trains on `x_train`; `x_test`, or without it `x_val`, is
            looked at after the last epoch only. `recipe.load()` gives it.
            `numpy.memmap` arrays stay in files: each step reads its images,
            on several machines each process those of its devices.
        recipe: says how to train.
        name: of the record and the checkpoints; without it the recipe's,
            the model's and the seed.
        seed: draws the order and the augmentation of the images. The
            weights are the model's own: `recipe.build` takes a seed, too.
        folder: where checkpoints are kept, one an epoch. Run the same call
            again after a stop, of whatever kind, and it goes on from the
            last whole epoch. Without a folder nothing is kept.
        scan: run each epoch as one compiled function, on JAX only; see
            `scan.EpochScan`. The losses are those of `fit`. None: on JAX if
            the recipe asks for XLA and the images are not in a file.
        devices: spread the run over the first so many, on JAX only; see
            `devices.spread`. The losses are those of one device, and a run
            goes on from its checkpoints on any number of them. None: as
            `keras.distribution.set_distribution` says, or one. It may say
            `ModelParallel`, in one process, and the weights stay cut so.
        report: is given a line after every epoch. Without it the line is
            printed, and there are signs of life; see `Progress`.

    Returns:
        The trained model with its record. After Ctrl-C the record says
        where it stopped, and the test is not looked at. If the recipe has
        EMA, the model's weights are the averaged ones.

    Raises:
        ValueError: if an epoch has fewer images than a batch; if the
            model does not take the data's images or does not give logits
            of its classes; if its precision is not the recipe's; if the
            folder holds another run of that name, or one that began with
            other weights; if there are not so many devices, or weights cut
            over several processes; if machines do not share the folder; for
            `scan` of images in a file.
        RuntimeError: for `scan` or several devices on another backend than
            JAX; after a Ctrl-C that took JAX's weights with it, if there is
            no checkpoint.
        FloatingPointError: if the loss is not finite; the checkpoints of
            the epochs before are intact.
        OSError: if the folder cannot be written to or the disk is full.
    """
    with spread(devices) as number:
        return _train(
            model, data, recipe, name, seed, folder, scan, number, report
        )


def _train(
    model, data, recipe, name, seed, folder, scan, devices, report
) -> Run:
    """`train`, on the devices that are spread over."""
    count = len(data.x_train)
    epoch_size = recipe.samples_per_epoch or count
    if epoch_size < recipe.batch_size:
        raise ValueError(
            f"{epoch_size} training images are fewer than the batch of "
            f"{recipe.batch_size}: take a smaller batch."
        )
    scan = _scans(scan, data, recipe)
    keras.utils.set_random_seed(seed)
    lay(model.variables)
    if not first_process():
        report = _silent
    check_model(model, data, recipe)
    variant = variant_of(model)
    name = name or record_name(recipe.name, variant, seed)
    steps = epoch_steps(recipe, count)
    size = steps * recipe.batch_size
    bar = Progress(
        size * recipe.epochs, report, recipe.batch_size, recipe.epochs
    )
    finished, predictions, test = True, None, None
    with bar:
        checkpoints = None
        if folder is not None:
            key = _key(model, data, recipe, seed)
            checkpoints = Checkpoints(folder, name, key, first_process())
        digest = _start_weights(model, checkpoints)
        started = {"commit": commit(), "start_weights": digest}
        bar.begin("compiling")
        trainer = _compiled(model, recipe, data, seed, steps * recipe.epochs)
        done, state = _restore(trainer, checkpoints, started)
        bar.resume(size * done)
        state["devices"] = devices
        if not same_everywhere(done):
            raise ValueError(
                f"folder={str(folder)!r} holds other checkpoints for one "
                "process than for another: give one that all machines share."
            )
        if checkpoints and done:
            bar.tell(
                f"goes on from epoch {done} of {recipe.epochs}, checkpoint "
                f"{checkpoints.folder / f'epoch-{done:06d}.ckpt'}"
            )
        try:
            if done < recipe.epochs:
                batches = _Epochs(
                    trainer, data.y_train, recipe.batch_size, seed, steps
                )
                keeper = _Keeper(recipe, batches, state, checkpoints, bar)
                run = _run_scanned if scan else _run_steps
                run(trainer, batches, keeper, done, recipe.epochs)
        except KeyboardInterrupt:
            finished = False
            _sync(trainer)
            if _lost(trainer):
                done, state = _again(trainer, checkpoints, started)
                state["devices"] = devices
            bar.line(f"stopped after {_epochs_done(state)} epochs")
        if finished:
            bar.begin("testing")
            test, predictions = _test(trainer, recipe, data)
        model.class_names = tuple(data.class_names)
        record = make_record(
            recipe,
            model,
            data,
            name=name,
            seed=seed,
            title=VARIANTS.get(variant, variant) if _ours(model) else variant,
            started=state["started"],
            outcome={
                **state,
                "finished": finished,
                "steps": steps * _epochs_done(state),
                "test": test,
            },
        )
    return Run(trainer, record, model.class_names, predictions)


def _scans(scan: bool | None, data: ImageData, recipe: Recipe) -> bool:
    """Whether to run each epoch as one function; `scan` is what was asked.

    Raises:
        ValueError: if the images are in a file.
    """
    if scan and data.mapped:
        raise ValueError(
            f"scan=True, and the images of {data.name!r} are in a file: a "
            "compiled epoch would need them all on the device. Leave out "
            "scan, and each step is given its images."
        )
    if scan is None:
        on_jax = keras.backend.backend() == "jax"
        return on_jax and recipe.jit_compile and not data.mapped
    return scan


def check_model(model: keras.Model, data: ImageData, recipe: Recipe) -> None:
    """Raise ValueError if a model cannot be trained on the data as asked.

    A model that is not built yet is built for the data's images.
    """
    images = data.x_train[:2].astype("float32")
    takes = tuple(getattr(model, "input_shape", None) or ())[1:]
    pairs = list(zip(takes, images.shape[1:], strict=False))
    if any(size not in (None, given) for size, given in pairs):
        raise ValueError(
            f"the model {model.name!r} takes images {takes}, and those of "
            f"the data {data.name!r} are {images.shape[1:]}: build it for "
            "them, or load them with another image_size or channels."
        )
    logits = ops.convert_to_numpy(model(images, training=False))
    logits = logits.astype("float32")
    if logits.shape != (len(images), len(data.class_names)):
        raise ValueError(
            f"the model {model.name!r} makes {logits.shape} of "
            f"{len(images)} images, and the data {data.name!r} have "
            f"{len(data.class_names)} classes: it must give one logit for "
            "each class."
        )
    if (logits >= 0).all() and np.allclose(logits.sum(-1), 1, atol=1e-2):
        raise ValueError(
            f"the model {model.name!r} gives probabilities: leave out its "
            "softmax, so that it gives logits."
        )
    asked = keras.dtype_policies.get(recipe.precision).name
    found = {layer.dtype_policy.name for layer in _leaves(model)}
    # The last layer of a model in half precision may be in float32.
    if asked not in found or found - {asked, "float32"}:
        raise ValueError(
            f"the model {model.name!r} computes in "
            f"{' and '.join(sorted(found))}, and the recipe "
            f"{recipe.name!r} asks for {asked}: build the model under "
            f"keras.config.set_dtype_policy({asked!r}), or take "
            "dataclasses.replace(recipe, precision=...)."
        )


def _leaves(model):
    """The layers with weights, also of models within models."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer)
        elif layer.weights:
            yield layer


def _ours(model) -> bool:
    return hasattr(model, "vit_config")


def _layout(variables) -> list:
    """Path, shape and dtype of each, without the counters in Keras's names.

    Those depend on what else was built in the process.
    """
    return [
        [
            re.sub(r"_\d+(?=_|/|$)", "", v.path),
            list(v.shape),
            keras.backend.standardize_dtype(v.dtype),
        ]
        for v in variables
    ]


def _key(model, data, recipe, seed) -> dict:
    """What makes a run this one and no other."""
    config = dataclasses.asdict(model.vit_config) if _ours(model) else None
    tested = data.y_val, data.y_test
    return {
        "seed": seed,
        "recipe": recipe.settings,
        "variant": variant_of(model),
        "model": config or _layout(model.weights),
        "data": data.name,
        "data_md5": data.md5,
        # The digest is of all images in a row: where it is cut counts, too.
        "images": [len(y) for y in (data.y_train, *tested) if y is not None],
        "backend": keras.backend.backend(),
    }


def weights_digest(model: keras.Model) -> str:
    """Sixteen hex digits that change with any weight of a model.

    The states of its random generators are left out.
    """
    digest = hashlib.sha256()
    for variable in model.weights:
        value = ops.convert_to_numpy(variable)
        digest.update(f"{value.dtype} {value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()[:16]


#: Of models that were trained here: the digests of the weights that they began
#: with, by folder of checkpoints.
_BEGUN: WeakKeyDictionary = WeakKeyDictionary()


def _start_weights(model, checkpoints) -> str:
    """The digest of the weights that a run begins with.

    Called again after a stop, `train` may be given the model as the stop
    left it: what counts is how it came first.
    """
    if checkpoints is None:
        return weights_digest(model)
    begun = _BEGUN.setdefault(model, {})
    if not checkpoints.begun or checkpoints.folder not in begun:
        begun[checkpoints.folder] = weights_digest(model)
    return begun[checkpoints.folder]


def _epochs_done(state) -> int:
    return len(state["epochs"].get("loss", ()))


def _outputs(model) -> tuple[str, ...]:
    """Names of the layer that makes the logits, if it is not named so."""
    names = [layer.name for layer in _leaves(model)]
    return () if "logits" in names else tuple(names[-1:])


def _compiled(model, recipe, data, seed, steps) -> Trainer:
    trainer = Trainer(model, data, recipe, seed)
    # With fewer classes than five, JAX and torch find no five best.
    best = min(5, len(data.class_names))
    metrics = [
        keras.metrics.SparseCategoricalAccuracy(name="top1"),
        keras.metrics.SparseTopKCategoricalAccuracy(best, name="top5"),
    ]
    # On torch, jit_compile=True would run torch's compiler, which is
    # slower here; "auto" does not.
    wanted = recipe.jit_compile and keras.backend.backend() != "torch"
    trainer.compile(
        make_optimizer(recipe, steps, _outputs(model)),
        metrics=metrics,
        jit_compile=True if wanted else "auto",
    )
    trainer(trainer.blank(parts()))
    trainer.optimizer.build(trainer.trainable_variables)
    return trainer


def _run_steps(trainer, batches, keeper, done, epochs) -> None:
    """Train step by step, with Keras's `fit`."""
    trainer.fit(
        batches,
        epochs=epochs,
        initial_epoch=done,
        shuffle=False,
        verbose=0,
        callbacks=[keeper],
    )


def _run_scanned(trainer, batches, keeper, done, epochs) -> None:
    """Train epoch by epoch, each one compiled function."""
    keeper.set_model(trainer)
    for epoch in range(done, epochs):
        keeper.on_epoch_begin(epoch)
        if not keeper.warm:
            run_epoch = EpochScan(trainer, batches.order, batches.batch_size)
            keeper.compiled()
        logs = run_epoch(batches.order)
        keeper.bar.advance(len(batches.order))
        means = {name: float(values.mean()) for name, values in logs.items()}
        keeper.on_epoch_end(epoch, means)


class _Batches(keras.utils.PyDataset):
    """An order of images, batch by batch."""

    def __init__(self, trainer, order, batch_size: int):
        super().__init__()
        self.trainer, self.order = trainer, order
        self.batch_size = batch_size

    def __len__(self):
        return -(-len(self.order) // self.batch_size)

    def indices(self, step: int) -> np.ndarray:
        start = step * self.batch_size
        return self.order[start : start + self.batch_size]

    def __getitem__(self, step):
        return (self.trainer.batch(self.indices(step)),)


class _Epochs(_Batches):
    """Batches of indices and labels, each epoch in an order of its own.

    The epoch is set by `start`: Keras calls `on_epoch_end` once more, after
    the batch that it builds the model with.
    """

    def __init__(
        self, trainer, labels, batch_size: int, seed: int, steps: int
    ):
        super().__init__(trainer, None, batch_size)
        self.labels, self.seed, self.steps = labels, seed, steps
        self.start(0)

    def start(self, epoch: int) -> None:
        self.order = epoch_order(
            len(self.labels), self.batch_size, self.seed, epoch, self.steps
        )

    def __getitem__(self, step):
        indices = self.indices(step)
        return self.trainer.batch(indices), self.labels[indices]


class _Keeper(keras.callbacks.Callback):
    """After every epoch: check the loss, keep the state, report.

    The first step of a start, which compiles, is timed apart; so is the
    first with all tokens, if some were dropped before.
    """

    def __init__(self, recipe, batches, state, checkpoints, bar):
        super().__init__()
        self.recipe, self.batches, self.state = recipe, batches, state
        self.checkpoints, self.bar = checkpoints, bar
        self.warm = False

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.start(epoch)
        if keras.backend.backend() == "torch":
            # Its dropout draws from the global state, which no variable
            # holds: start it from seed and epoch. Elsewhere it would change
            # nothing, and TensorFlow would prepare its functions anew.
            seeds = np.random.SeedSequence((self.batches.seed, epoch))
            words = seeds.generate_state(1)
            keras.utils.set_random_seed(int(words[0]))
        self.steps = self.batches.steps
        self.start = time.perf_counter()
        if self.model.set_patch_dropout(epoch < self.recipe.full_from):
            self.model.make_train_function(force=True)
            self.warm = False

    def on_train_batch_end(self, batch, logs=None):
        self.bar.advance(self.recipe.batch_size, logs)
        if not self.warm:
            self.compiled()
            self.steps -= 1

    def compiled(self) -> None:
        """All the time since the epoch began went into compiling."""
        now = time.perf_counter()
        self.state["compile_seconds"] += now - self.start
        self.start, self.warm = now, True
        self.bar.compiled()

    def on_epoch_end(self, epoch, logs=None):
        state, loss = self.state, logs["loss"]
        state["seconds"] += time.perf_counter() - self.start
        state["images"] += self.steps * self.recipe.batch_size
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} in epoch {epoch + 1}: lower the "
                f"learning rate ({self.recipe.learning_rate}) or raise the "
                "warm-up. The checkpoints of the epochs before are intact."
            )
        for name, value in logs.items():
            state["epochs"].setdefault(name, []).append(float(value))
        if self.checkpoints:
            _sync(self.model)
            self.checkpoints.save(epoch + 1, _arrays(self.model), state)
        self.bar.line(_line(self.recipe, state))


def _sync(trainer) -> None:
    """On JAX put the state of `fit` back into the variables."""
    if keras.backend.backend() == "jax":
        trainer.jax_state_sync()


def _lost(trainer) -> bool:
    """Whether a stop took the weights with it, as it can in JAX's `fit`.

    A step gives its variables away; Keras takes the new ones a moment later.
    """
    if keras.backend.backend() != "jax":
        return False
    return any(v.value.is_deleted() for v in trainer.learned)


def _again(trainer, checkpoints, started) -> tuple[int, dict]:
    """`_restore`, in place of weights that are lost.

    Raises:
        RuntimeError: if there is no checkpoint to take them from.
    """
    if checkpoints is None:
        raise RuntimeError(
            "the stop came in the middle of a step and took the weights with "
            "it: build the model anew. With folder= there would be a "
            "checkpoint to go back to."
        )
    return _restore(trainer, checkpoints, started)


def _arrays(trainer) -> dict[str, np.ndarray]:
    """The state of the training, by place in the list of variables."""
    return {
        f"{index:04d}": ops.convert_to_numpy(variable)
        for index, variable in enumerate(trainer.learned)
    }


def _restore(trainer, checkpoints, started) -> tuple[int, dict]:
    """Epochs done and their metrics; sets the trainer's variables.

    Raises:
        ValueError: if the variables of the checkpoint are not the trainer's,
            or it is of a run that began with other weights.
    """
    layout = _layout(trainer.learned)
    found = checkpoints.load() if checkpoints else None
    if found is None:
        state = {
            "epochs": {},
            "seconds": 0.0,
            "compile_seconds": 0.0,
            "images": 0,
            "started": started,
            "variables": layout,
        }
        if checkpoints:  # a stop in the first epoch goes back to here
            checkpoints.save(0, _arrays(trainer), state)
        return 0, state
    done, arrays, state = found
    for line in differing(state["variables"], layout, "variables"):
        raise ValueError(
            f"the checkpoints in {checkpoints.folder} are of another model: "
            f"{line}. Give this run another name or another folder."
        )
    old, new = (s["start_weights"] for s in (state["started"], started))
    if old != new:
        raise ValueError(
            f"the checkpoints in {checkpoints.folder} are of a run that began "
            f"with other weights (digest {old}, here {new}): build the model "
            "from the same seed, or load the same weights into it. For a new "
            "run give another name or another folder."
        )
    for index, variable in enumerate(trainer.learned):
        variable.assign(arrays[f"{index:04d}"])
    lay(trainer.learned)
    return done, state


def _test(trainer, recipe, data) -> tuple[dict, dict]:
    """Loss, top-1 and top-5 of the test images, and the predictions."""
    images, labels = data.split(data.tested)
    count = len(data.x_train)
    indices = np.arange(count, count + len(images), dtype="int32")
    if recipe.ema:
        trainer.optimizer.finalize_variable_values(trainer.trainable_variables)
    batches = _Batches(trainer, indices, recipe.batch_size)
    outputs = trainer.predict(batches, verbose=0)
    return score(outputs["logits"], labels)


def _line(recipe, state) -> str:
    """What is printed after an epoch."""
    logs = {name: values[-1] for name, values in state["epochs"].items()}
    number = len(state["epochs"]["loss"])
    rate = state["images"] / max(state["seconds"], 1e-9)
    metrics = " ".join(f"{name} {value:.4f}" for name, value in logs.items())
    line = f"{number}/{recipe.epochs} {metrics} {rate:.0f} images/s"
    count = state["devices"]
    each = f", {rate / count:.0f} on each of {count} devices"
    return line + each if count > 1 else line


def _silent(line: str) -> None:
    """What the processes but the first report."""
