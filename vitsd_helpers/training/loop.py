"""Train a model by a recipe: one path for a laptop and for a GPU."""

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import ops

from ..data import ImageData
from ..evidence.records import make_record, record_name, write_record
from ..model import ViTConfig, build_vit
from .checkpoint import Checkpoints
from .dropping import TokenDropping
from .optimizer import make_optimizer
from .progress import Progress
from .recipes import VARIANTS, Recipe
from .scan import EpochScan
from .trainer import Trainer
from .weights import save_weights


@dataclass(frozen=True)
class Run:
    """What came out of a training.

    Attributes:
        trainer: the optimiser and all state.
        record: see `records.make_record`.
        answers: "answer" and "top5" of every test image, (N,) each; None
            if the run did not come to its end.
    """

    trainer: Trainer
    record: dict
    answers: dict[str, np.ndarray] | None

    @property
    def model(self) -> keras.Model:
        """The trained model, from pixels to logits."""
        return self.trainer.model

    def write(self, folder: str | os.PathLike) -> Path:
        """Write the record, and the answers beside it."""
        return write_record(self.record, folder, self.answers)

    def write_weights(self, folder: str | os.PathLike) -> Path:
        """Write the weights in half precision, named as the record is."""
        record = self.record
        name = record_name(
            record["recipe"]["name"], record["variant"], record["seed"]
        )
        config = json.dumps(record["config"])
        path = Path(folder) / f"{name}.safetensors"
        return save_weights(self.model, path, config=config)


def epoch_steps(recipe: Recipe, count: int) -> int:
    """Steps of an epoch, all of whole batches, on `count` images."""
    return (recipe.epoch_images or count) // recipe.batch_size


def epoch_order(
    count: int, batch_size: int, seed: int, epoch: int, steps: int
) -> np.ndarray:
    """Indices of an epoch, (steps * batch_size,), from seed and epoch alone.

    The images come in one shuffled pass after another, and an epoch goes
    on where the one before stopped: all are seen equally often.
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
    recipe: Recipe,
    variant: str,
    data: ImageData,
    *,
    seed: int = 0,
    folder: str | os.PathLike | None = None,
    scan: bool | None = None,
    report: Callable[[str], None] | None = None,
) -> Run:
    """Train a variant by a recipe, from the start or from where it stopped.

    Args:
        recipe, variant, seed: what to train.
        data: trains on `x_train`; `x_test` is looked at after the last
            epoch only. `recipe.load()` gives it.
        folder: where checkpoints are kept, one an epoch. Run the same call
            again after a stop, of whatever kind, and it goes on from the
            last whole epoch. Without a folder nothing is kept.
        scan: run each epoch as one compiled function, on JAX only; see
            `scan.EpochScan`. The losses are those of `fit`. None: on JAX if
            the recipe asks for XLA.
        report: is given a line after every epoch. Without it the line is
            printed, and there are signs of life; see `Progress`.

    Returns:
        The trained model with its record. After Ctrl-C the record says
        where it stopped, and the test is not looked at. If the recipe has
        EMA, the model's weights are the averaged ones.

    Raises:
        ValueError: if there are fewer training images than a batch.
        RuntimeError: for `scan` on another backend than JAX.
        FloatingPointError: if the loss is not finite; the checkpoints of
            the epochs before are intact.
        OSError: if the folder cannot be written to or the disk is full.
    """
    count = len(data.x_train)
    epoch_size = recipe.epoch_images or count
    if epoch_size < recipe.batch_size:
        raise ValueError(
            f"{epoch_size} training images are fewer than the batch of "
            f"{recipe.batch_size}: take a smaller batch."
        )
    keras.utils.set_random_seed(seed)
    steps = epoch_steps(recipe, count)
    config = recipe.config(variant, data)
    trainer = _compiled(recipe, config, data, seed, steps * recipe.epochs)
    checkpoints = None
    if folder is not None:
        key = f"{record_name(recipe.name, variant, seed)}-{recipe.hash}"
        checkpoints = Checkpoints(folder, f"{key}-{data.md5[:8]}")
    done, state = _restore(trainer, checkpoints)
    finished, answers, test = True, None, None
    size = steps * recipe.batch_size
    bar = Progress(
        size * recipe.epochs,
        size * done,
        report,
        recipe.batch_size,
        recipe.epochs,
    )
    with bar:
        if done:
            bar.tell(
                f"goes on from epoch {done} of {recipe.epochs}, checkpoint "
                f"{checkpoints.folder / f'epoch-{done:06d}.ckpt'}"
            )
        try:
            if done < recipe.epochs:
                batches = _Epochs(data.y_train, recipe.batch_size, seed, steps)
                keeper = _Keeper(recipe, batches, state, checkpoints, bar)
                if scan is None:
                    on_jax = keras.backend.backend() == "jax"
                    scan = on_jax and recipe.jit_compile
                run = _run_scanned if scan else _run_steps
                run(trainer, batches, keeper, done, recipe.epochs)
        except KeyboardInterrupt:
            finished = False
            bar.line(f"stopped after {_epochs_done(state)} epochs")
        if finished:
            bar.doing = "testing"
            test, answers = _test(trainer, recipe, data)
    outcome = {
        **state,
        "finished": finished,
        "steps": steps * _epochs_done(state),
        "test": test,
    }
    title = VARIANTS[variant]
    record = make_record(
        recipe, variant, title, seed, data, trainer.model, config, outcome
    )
    return Run(trainer, record, answers)


def _epochs_done(state) -> int:
    return len(state["epochs"].get("loss", ()))


def _compiled(recipe, config, data, seed, steps) -> Trainer:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(recipe.precision)
    try:
        model = build_vit(config, dropping=_dropping(recipe, config))
    finally:
        keras.config.set_dtype_policy(policy)
    trainer = Trainer(model, data, recipe, seed)
    metrics = [
        keras.metrics.SparseCategoricalAccuracy(name="top1"),
        keras.metrics.SparseTopKCategoricalAccuracy(5, name="top5"),
    ]
    # On torch, jit_compile=True would run torch's compiler, which is
    # slower here; "auto" does not.
    wanted = recipe.jit_compile and keras.backend.backend() != "torch"
    trainer.compile(
        make_optimizer(recipe, steps),
        metrics=metrics,
        jit_compile=True if wanted else "auto",
    )
    trainer(np.zeros(1, "int32"))
    trainer.optimizer.build(trainer.trainable_variables)
    return trainer


def _dropping(recipe, config: ViTConfig) -> TokenDropping | None:
    """The layer that drops tokens, if the recipe wants it to."""
    if not recipe.full_from:
        return None
    if config.pooling == "flatten":
        raise ValueError(
            "pooling='flatten' needs every token in its place, so none can "
            "be dropped: choose pooling 'mean' or 'token', or keep_tokens=1."
        )
    return TokenDropping(
        recipe.keep_tokens, class_token=config.pooling == "token"
    )


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


class _Epochs(keras.utils.PyDataset):
    """Batches of indices and labels, each epoch in an order of its own.

    The epoch is set by `start`: Keras calls `on_epoch_end` once more, after
    the batch that it builds the model with.
    """

    def __init__(self, labels, batch_size: int, seed: int, steps: int):
        super().__init__()
        self.labels, self.batch_size = labels, batch_size
        self.seed, self.steps = seed, steps
        self.start(0)

    def start(self, epoch: int) -> None:
        self.order = epoch_order(
            len(self.labels), self.batch_size, self.seed, epoch, self.steps
        )

    def __len__(self):
        return self.steps

    def __getitem__(self, step):
        start = step * self.batch_size
        indices = self.order[start : start + self.batch_size]
        return indices, self.labels[indices]


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
        if self.model.drop_tokens(epoch < self.recipe.full_from):
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
            if keras.backend.backend() == "jax":
                self.model.jax_state_sync()
            self.checkpoints.save(epoch + 1, _arrays(self.model), state)
        self.bar.line(_line(self.recipe, state))


def _arrays(trainer) -> dict[str, np.ndarray]:
    """The state of the training, by place in the list of variables."""
    return {
        f"{index:04d}": ops.convert_to_numpy(variable)
        for index, variable in enumerate(trainer.learned)
    }


def _restore(trainer, checkpoints) -> tuple[int, dict]:
    """Epochs done and their metrics; sets the trainer's variables."""
    found = checkpoints.load() if checkpoints else None
    if found is None:
        return 0, {
            "epochs": {},
            "seconds": 0.0,
            "compile_seconds": 0.0,
            "images": 0,
        }
    done, arrays, state = found
    for index, variable in enumerate(trainer.learned):
        variable.assign(arrays[f"{index:04d}"])
    return done, state


def _test(trainer, recipe, data) -> tuple[dict, dict]:
    """Loss, top-1 and top-5 of the test images, and the answers."""
    count = len(data.x_train)
    indices = np.arange(count, count + len(data.x_test), dtype="int32")
    if recipe.ema:
        trainer.optimizer.finalize_variable_values(trainer.trainable_variables)
    outputs = trainer.predict(indices, batch_size=recipe.batch_size, verbose=0)
    logits = outputs["logits"].astype("float64")
    logits -= logits.max(-1, keepdims=True)
    losses = np.log(np.exp(logits).sum(-1))
    right = logits[np.arange(len(logits)), data.y_test]
    top5 = (logits > right[:, None]).sum(-1) < 5
    answer = logits.argmax(-1)
    test = {
        "loss": float((losses - right).mean()),
        "top1": float((answer == data.y_test).mean()),
        "top5": float(top5.mean()),
    }
    return test, {"answer": answer, "top5": top5}


def _line(recipe, state) -> str:
    """What is printed after an epoch."""
    logs = {name: values[-1] for name, values in state["epochs"].items()}
    number = len(state["epochs"]["loss"])
    rate = state["images"] / max(state["seconds"], 1e-9)
    metrics = " ".join(f"{name} {value:.4f}" for name, value in logs.items())
    return f"{number}/{recipe.epochs} {metrics} {rate:.0f} images/s"
