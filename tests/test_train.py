"""The training engine: it learns, resumes bit for bit, and fails clearly."""

import dataclasses
import functools
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import keras
import numpy as np
import pytest
from keras import ops

import vitsd_helpers.training.loop as engine
from vitsd_helpers import load_data
from vitsd_helpers.data import ImageData
from vitsd_helpers.training.loop import (
    epoch_order,
    train,
)
from vitsd_helpers.training.optimizer import UNDECAYED, make_optimizer
from vitsd_helpers.training.progress import Progress
from vitsd_helpers.training.recipes import Recipe, get_recipe
from vitsd_helpers.training.trainer import Trainer


def few_digits(train: int, test: int | None = 50) -> ImageData:
    """The first digits, so many to train and to test on; None: all."""
    digits = load_data("digits")
    return dataclasses.replace(
        digits,
        x_train=digits.x_train[:train],
        y_train=digits.y_train[:train],
        x_test=digits.x_test[:test],
        y_test=digits.y_test[:test],
    )


def tiny(**changes) -> Recipe:
    """Three short epochs of a tiny model, with everything switched on."""
    recipe = get_recipe("quick")
    model = dataclasses.replace(
        recipe.model, width=16, depth=1, num_heads=2, key_dim=8, dropout=0.1
    )
    settings = {
        "name": "tiny",
        "model": model,
        "epochs": 3,
        "batch_size": 32,
        "flip": True,
        "crop": 2,
        "random_erasing": 0.25,
        "mix": 0.5,
        "label_smoothing": 0.1,
        "ema": 0.9,
    }
    return dataclasses.replace(recipe, **settings | changes)


@pytest.fixture(scope="module")
def data():
    return few_digits(100)


def weights(trainer) -> list[np.ndarray]:
    return [ops.convert_to_numpy(v) for v in trainer.model.variables]


def quiet(line: str) -> None:
    pass


def fit(recipe, variant, data, *, seed=0, **options):
    """Build a variant of the recipe and train it."""
    model = recipe.build(variant, data, seed)
    return train(model, data, recipe, seed=seed, **options)


@pytest.fixture(scope="module")
def ended(data):
    """The tiny run as it ends by itself."""
    return fit(tiny(), "sl", data, report=quiet)


@pytest.fixture(scope="module")
def ended_without_average(data):
    return fit(tiny(ema=0.0), "sl", data, report=quiet)


def test_every_epoch_has_an_order_of_its_own():
    first = epoch_order(100, 32, 7, 0, 3)
    assert len(first) == 96
    assert len(np.unique(first)) == 96
    np.testing.assert_array_equal(first, epoch_order(100, 32, 7, 0, 3))
    for other in ((7, 1), (8, 0)):
        assert not np.array_equal(first, epoch_order(100, 32, *other, 3))


@pytest.mark.parametrize("steps", [1, 3, 10, 25])
def test_all_images_are_seen_equally_often(steps):
    """Epochs shorter and longer than the data, in whole passes over it."""
    epochs = [epoch_order(100, 32, 7, epoch, steps) for epoch in range(100)]
    stream = np.concatenate(epochs)
    assert len(stream) >= 200
    assert len(epochs[0]) == 32 * steps
    passes = stream[: len(stream) // 100 * 100].reshape(-1, 100)
    for one in passes:
        assert len(np.unique(one)) == 100
    # Each pass is shuffled anew.
    assert len(np.unique(passes, axis=0)) == len(passes)


def test_test_images_are_as_they_are(data):
    recipe = tiny()
    model = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Flatten()]
    )
    trainer = Trainer(model, data, recipe, 0)
    out = trainer(np.array([100, 101], "int32"), training=False)
    seen = ops.convert_to_numpy(out["logits"]).reshape(2, 32, 32, 3)
    np.testing.assert_array_equal(seen, data.x_test[:2])
    labels = ops.convert_to_numpy(out["targets"]).argmax(-1)
    np.testing.assert_array_equal(labels, data.y_test[:2])


def test_targets_are_smoothed_in_training_only(data):
    model = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Flatten()]
    )
    trainer = Trainer(model, data, tiny(mix=0.0), 0)
    indices = np.arange(8, dtype="int32")
    for training, high, low in ((True, 0.91, 0.01), (False, 1.0, 0.0)):
        targets = trainer(indices, training=training)["targets"]
        targets = ops.convert_to_numpy(targets)
        np.testing.assert_allclose(targets.max(-1), high, atol=1e-6)
        np.testing.assert_allclose(targets.min(-1), low, atol=1e-6)
        np.testing.assert_allclose(targets.sum(-1), 1, atol=1e-6)


def test_schedule_ends_at_zero(ended_without_average):
    run = ended_without_average
    rate = ops.convert_to_numpy(run.trainer.optimizer.learning_rate)
    assert float(rate) == pytest.approx(0, abs=1e-9)
    assert run.record["finished"]
    assert len(run.record["epochs"]["loss"]) == 3
    constant = make_optimizer(tiny(schedule="constant"), 9)
    rate = float(ops.convert_to_numpy(constant.learning_rate))
    assert rate == pytest.approx(tiny().learning_rate)


@pytest.mark.parametrize("everything", [False, True])
def test_what_is_decayed(everything):
    """With no gradient a step moves only what is decayed."""
    recipe = tiny(schedule="constant", decay_everything=everything)
    names = ["kernel", *UNDECAYED]
    variables = [keras.Variable(np.ones(3), name=name) for name in names]
    optimizer = make_optimizer(recipe, 9)
    optimizer.build(variables)
    optimizer.apply([ops.zeros(3) for _ in variables])
    moved = {v.name for v in variables if (ops.convert_to_numpy(v) < 1).all()}
    assert moved == (set(names) if everything else {"kernel"})


@pytest.mark.parametrize("pooling", ["mean", "token"])
def test_muon_is_for_matrices_of_products_alone(data, pooling):
    recipe = tiny(optimizer="muon")
    model = dataclasses.replace(recipe.model, pooling=pooling, head_units=(8,))
    recipe = dataclasses.replace(recipe, model=model)
    model = recipe.build("sl", data)
    trainer = engine._compiled(model, recipe, data, seed=0, steps=9)
    # It keeps a second moment for what AdamW is to learn.
    by_adam = trainer.optimizer.adam_velocities
    pairs = zip(trainer.trainable_variables, by_adam, strict=True)
    assert {v.path for v, slot in pairs if slot is None} == {
        "block0_attention/qkv/kernel",
        "block0_attention/output/kernel",
        "block0_mlp1/kernel",
        "block0_mlp2/kernel",
        "head_0/kernel",
    }


def test_muons_step_is_orthogonal_and_of_adams_size():
    """All singular values of a step are near one, times 0.2 sqrt(side)."""
    recipe = tiny(optimizer="muon", schedule="constant", ema=0, weight_decay=0)
    matrix = keras.Variable(np.zeros((24, 16), "float32"), name="kernel")
    optimizer = make_optimizer(recipe, 9)
    optimizer.build([matrix])
    gradient = np.random.default_rng(0).normal(size=(24, 16))
    optimizer.apply([ops.convert_to_tensor(gradient.astype("float32"))])
    step = ops.convert_to_numpy(matrix) / recipe.learning_rate
    sizes = np.linalg.svd(step, compute_uv=False) / (0.2 * 24**0.5)
    assert (np.abs(sizes - 1) < 0.4).all()
    assert np.sum(step * gradient) < 0


@pytest.mark.parametrize("everything", [False, True])
def test_muon_decays_what_adamw_does(everything):
    recipe = tiny(
        optimizer="muon", schedule="constant", decay_everything=everything
    )
    names = ["kernel", *UNDECAYED]
    shapes = [(3, 3), (3,)]
    variables = [
        keras.Variable(np.ones(shape, "float32"), name=name)
        for name in names
        for shape in shapes
    ]
    optimizer = make_optimizer(recipe, 9)
    optimizer.build(variables)
    optimizer.apply([ops.zeros(v.shape) for v in variables])
    kept = 1 - recipe.learning_rate * recipe.weight_decay
    for variable in variables:
        decayed = everything or variable.name == "kernel"
        np.testing.assert_allclose(
            ops.convert_to_numpy(variable), kept if decayed else 1, rtol=1e-6
        )


def test_unknown_optimizer_is_an_error():
    with pytest.raises(ValueError, match=r"'sgd' is unknown: .*'muon'"):
        make_optimizer(tiny(optimizer="sgd"), 9)


def test_muon_of_an_old_keras_is_refused(monkeypatch):
    """Keras before 3.13 had one that cannot scale its steps."""

    def old(learning_rate, weight_decay, use_ema, ema_momentum):
        raise AssertionError("not to be made")

    monkeypatch.setattr(keras.optimizers, "Muon", old)
    with pytest.raises(ValueError, match=r"Keras 3\.13 or newer.*'adamw'"):
        make_optimizer(tiny(optimizer="muon"), 9)


@pytest.mark.parametrize(
    ("optimizer", "rate"), [("adamw", 1e-2), ("muon", 3e-2)]
)
def test_it_learns(data, optimizer, rate):
    recipe = tiny(
        epochs=15,
        crop=0,
        random_erasing=0,
        mix=0,
        flip=False,
        ema=0,
        learning_rate=rate,
        optimizer=optimizer,
    )
    record = fit(recipe, "sl", data, report=quiet).record
    losses = record["epochs"]["loss"]
    assert losses[-1] < 0.9 * losses[0]
    assert record["test"]["top1"] > 0.2
    assert record["test"]["top5"] >= record["test"]["top1"]


def test_average_is_what_is_tested(ended_without_average, ended):
    pairs = zip(weights(ended_without_average), weights(ended), strict=True)
    assert any(not np.allclose(a, b) for a, b in pairs)


class Stop(Exception):
    """Raised in place of a kill."""


def stop_after(epochs: int):
    def report(line: str) -> None:
        if line.startswith(f"{epochs}/"):
            raise Stop

    return report


def test_resumed_run_says_from_where(data, tmp_path, capsys):
    with pytest.raises(Stop):
        fit(tiny(), "sl", data, folder=tmp_path, report=stop_after(2))
    fit(tiny(), "sl", data, folder=tmp_path)
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("goes on from epoch 2 of 3, checkpoint ")
    assert first.endswith("epoch-000002.ckpt")
    # On a busy machine signs of life come between.
    assert lines[-1].startswith("3/3 loss ")
    assert not any(line.startswith(("1/", "2/")) for line in lines)


@pytest.mark.parametrize(
    "optimizer", ["adamw", pytest.param("muon", marks=pytest.mark.slow)]
)
def test_resumes_bit_for_bit(data, ended, tmp_path, optimizer):
    recipe = tiny(optimizer=optimizer)
    alike = recipe == tiny()
    whole = ended if alike else fit(recipe, "sl", data, report=quiet)
    with pytest.raises(Stop):
        fit(recipe, "sl", data, folder=tmp_path, report=stop_after(2))
    lines = []
    resumed = fit(recipe, "sl", data, folder=tmp_path, report=lines.append)
    assert len(lines) == 1  # the third epoch only
    for part in ("epochs", "test", "steps"):
        assert resumed.record[part] == whole.record[part]
    np.testing.assert_array_equal(
        resumed.predictions["predicted"], whole.predictions["predicted"]
    )
    for one, other in zip(weights(whole), weights(resumed), strict=True):
        np.testing.assert_array_equal(one, other)


def test_batches_come_in_the_order_of_seed_and_epoch(data, monkeypatch):
    seen = []
    fetch = engine._Epochs.__getitem__

    def spy(self, step):
        batch = fetch(self, step)
        seen.append(batch[0])
        return batch

    monkeypatch.setattr(engine._Epochs, "__getitem__", spy)
    fit(tiny(), "sl", data, seed=5, report=quiet)
    orders = [epoch_order(100, 32, 5, epoch, 3) for epoch in range(3)]
    # Keras fetches the first batch once more, to build with.
    np.testing.assert_array_equal(
        np.concatenate(seen[-9:]), np.concatenate(orders)
    )


@pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="scanning needs JAX"
)
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_scanned_epochs_have_the_losses_of_fit(data, tmp_path, optimizer):
    recipe = tiny(optimizer=optimizer)
    plain = fit(recipe, "sl", data, report=quiet)
    with pytest.raises(Stop):
        fit(
            recipe,
            "sl",
            data,
            folder=tmp_path,
            scan=True,
            report=stop_after(1),
        )
    scanned = fit(recipe, "sl", data, folder=tmp_path, scan=True, report=quiet)
    for name, values in plain.record["epochs"].items():
        found = scanned.record["epochs"][name]
        np.testing.assert_allclose(found, values, rtol=1e-5)
    for one, other in zip(weights(plain), weights(scanned), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="JAX can scan epochs"
)
def test_scan_on_another_backend_is_refused(data):
    with pytest.raises(RuntimeError, match="KERAS_BACKEND=jax"):
        fit(tiny(), "sl", data, scan=True, report=quiet)


def test_another_run_of_the_same_name_is_refused(data, tmp_path):
    """The message says what differs; the checkpoints stay."""
    options = {"name": "mine", "folder": tmp_path, "report": quiet}
    recipe = tiny(epochs=1, batch_size=50)
    fit(recipe, "sl", data, **options)
    kept = sorted(tmp_path.rglob("*"))
    other = dataclasses.replace(data, x_train=data.x_train[::-1])
    wider = dataclasses.replace(recipe.model, width=32)
    for change, text in (
        ({"recipe": tiny(epochs=2, batch_size=50)}, r"epochs: 1 there, 2 he"),
        ({"recipe": dataclasses.replace(recipe, model=wider)}, "width: 16"),
        ({"seed": 1}, "seed: 0 there, 1 here"),
        ({"variant": "vit"}, "model.diagonal_mask: True there, False"),
        ({"data": other}, "data_md5: "),
    ):
        given = {"recipe": recipe, "variant": "sl", "data": data} | change
        with pytest.raises(ValueError, match=f"(?s){text}.*another name"):
            fit(**given, **options)
    assert sorted(tmp_path.rglob("*")) == kept
    lines = []
    fit(recipe, "sl", data, **options | {"report": lines.append})
    assert not lines  # it was done


def cnn(classes: int = 10, side: int = 32, channels: int = 3, width: int = 4):
    """A reader's own network, one of Keras's Sequential."""
    return keras.Sequential(
        [
            keras.Input((side, side, channels)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(width, 3, strides=2),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(classes),
        ]
    )


#: Without augmentation a step compiles in a fraction of the time.
BARE = {"flip": False, "crop": 0, "mix": 0.0, "random_erasing": 0.0}


def linear():
    """As small a network as can learn."""
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )


def plain(**changes) -> Recipe:
    return tiny(ema=0.0, rand_augment=0, **changes)


def test_any_model_goes_through_the_engine(data, tmp_path):
    """Built twice it has other names, and still goes on, bit for bit."""

    def run(**options):
        keras.utils.set_random_seed(3)
        return train(cnn(), data, plain(), name="cnn", **options)

    whole = run(report=quiet)
    with pytest.raises(Stop):
        run(folder=tmp_path, report=stop_after(2))
    rest = run(folder=tmp_path, report=quiet)
    assert rest.record["epochs"] == whole.record["epochs"]
    for one, other in zip(weights(whole), weights(rest), strict=True):
        np.testing.assert_array_equal(one, other)
    assert rest.record["variant"] == rest.record["model"] == "sequential"
    assert rest.record["config"] == {} and rest.record["parameters"] > 0
    assert rest.record["start_weights"] == whole.record["start_weights"]
    with pytest.raises(ValueError, match=r"model\[0\].*4 there, 6 here"):
        train(cnn(width=6), data, plain(), name="cnn", folder=tmp_path)


def test_another_cut_of_the_same_images_is_another_run(data, tmp_path):
    """Else what one run was tested on the other would have learned."""
    options = {"name": "cnn", "folder": tmp_path, "report": quiet}
    x = np.concatenate([data.x_train, data.x_test])
    y = np.concatenate([data.y_train, data.y_test])
    parts = {"x_train": x[:64], "y_train": y[:64]}
    cut = dataclasses.replace(data, **parts, x_test=x[64:], y_test=y[64:])
    assert cut.md5 == data.md5
    train(linear(), data, plain(epochs=1, **BARE), **options)
    with pytest.raises(ValueError, match=r"images\[0\]: 100 there, 64 here"):
        train(linear(), cut, plain(epochs=1, **BARE), **options)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_any_model_may_end_in_half_precision(data, precision):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        model = linear()
    finally:
        keras.config.set_dtype_policy(before)
    run = train(
        model, data, plain(epochs=1, precision=precision, **BARE), report=quiet
    )
    assert run.record["finished"]
    outputs = run.trainer(np.zeros(2, "int32"))
    dtype = keras.backend.standardize_dtype(outputs["logits"].dtype)
    assert dtype == "float32"


def test_muon_leaves_the_outputs_of_any_model_to_adamw(data):
    layers = [
        keras.Input((32, 32, 3)),
        keras.layers.Flatten(),
        keras.layers.Dense(8, name="hidden"),
        keras.layers.Dense(10, name="hid"),
        keras.layers.Activation("linear"),
    ]
    model = keras.Sequential(layers)
    trainer = engine._compiled(model, plain(optimizer="muon"), data, 0, 9)
    kernels = [v for v in trainer.trainable_variables if len(v.shape) == 2]
    left = [trainer.optimizer._should_use_adamw(v) for v in kernels]
    assert left == [False, True]


def test_seeds_draw_streams_of_their_own(data):
    """On torch Keras's generator of seed 1 is that of seed 0, a draw on."""

    def stream(seed):
        trainer = Trainer(linear(), data, plain(), seed)
        generator = trainer.seed_generator
        draws = [keras.random.uniform((3,), seed=generator) for _ in range(4)]
        return {tuple(ops.convert_to_numpy(draw).tolist()) for draw in draws}

    streams = [stream(seed) for seed in range(3)]
    assert len(set.union(*streams)) == 12


@pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="JAX alone gives arrays away"
)
def test_weights_lost_by_a_stop_come_from_the_checkpoint(
    data, tmp_path, monkeypatch
):
    recipe = plain(epochs=2, **BARE)
    sync, advance = engine._sync, Progress.advance

    def interrupt(progress, count, logs=None):
        advance(progress, count, logs)
        if progress.seen == 4 * recipe.batch_size:
            raise KeyboardInterrupt

    def lose(trainer):
        sync(trainer)
        if len(trainer.losing) == 1:
            trainer.learned[0].value.delete()
        trainer.losing.append(1)

    def run(model, **options):
        options |= {"name": "cnn", "report": quiet, "scan": False}
        return train(model, data, recipe, **options)

    def network():
        keras.utils.set_random_seed(3)
        return linear()

    model = network()
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "advance", interrupt)
        patch.setattr(Trainer, "losing", [], raising=False)
        patch.setattr(engine, "_sync", lose)
        stopped = run(model, folder=tmp_path)
        assert not stopped.record["finished"]
        assert len(stopped.record["epochs"]["loss"]) == 1
        patch.setattr(Trainer, "losing", [1])
        with pytest.raises(RuntimeError, match="build the model anew"):
            run(network())
    rest = run(model, folder=tmp_path)
    assert rest.record["epochs"] == run(network()).record["epochs"]


def test_other_starting_weights_are_refused(data, tmp_path):
    """What was stopped goes on from its own beginning only."""
    options = {"name": "cnn", "folder": tmp_path}

    def network(seed):
        keras.utils.set_random_seed(seed)
        return cnn()

    model = network(3)
    with pytest.raises(Stop):
        train(model, data, plain(), **options, report=stop_after(1))
    with pytest.raises(ValueError, match="began with other weights"):
        train(network(4), data, plain(), **options, report=quiet)
    # The same call again, with the model as the stop left it.
    lines = []
    train(model, data, plain(), **options, report=lines.append)
    assert len(lines) == 2


def test_a_changed_layer_order_is_found(data, tmp_path, monkeypatch):
    """Of one shape each, they would restore silently wrong."""
    options = {"folder": tmp_path, "report": quiet}
    fit(plain(epochs=1), "sl", data, **options)
    layout = engine._layout
    monkeypatch.setattr(engine, "_layout", lambda v: layout(v)[::-1])
    with pytest.raises(ValueError, match=r"another model: variables\["):
        fit(plain(epochs=1), "sl", data, **options)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (lambda: cnn(side=48), r"\(48, 48, 3\).*\(32, 32, 3\).*image_size"),
        (lambda: cnn(channels=1), r"\(32, 32, 1\).*channels"),
        (lambda: cnn(classes=7), r"\(2, 7\).*10 classes"),
        (
            lambda: keras.Sequential([cnn(), keras.layers.Softmax()]),
            "probabilities: leave out",
        ),
    ],
    ids=["size", "channels", "classes", "softmax"],
)
def test_a_model_that_does_not_fit_is_refused(data, model, text):
    with pytest.raises(ValueError, match=text):
        train(model(), data, plain())


def test_a_models_precision_is_the_recipes_or_refused(data):
    half = plain(precision="mixed_bfloat16")
    with pytest.raises(ValueError, match=r"in float32, .* mixed_bfloat16"):
        train(cnn(), data, half)
    model = half.build("sl", data)
    with pytest.raises(ValueError, match=r"mixed_bfloat16.* asks for float"):
        train(model, data, plain())
    assert keras.config.dtype_policy().name == "float32"


def test_build_draws_the_weights_from_the_seed(data):
    recipe = tiny()
    one, again, other = (
        engine.weights_digest(recipe.build("sl", data, seed))
        for seed in (1, 1, 2)
    )
    assert one == again != other


@pytest.mark.slow
def test_another_name_does_not_resume(data, tmp_path):
    fit(tiny(epochs=1), "sl", data, folder=tmp_path, report=quiet)
    lines = []
    options = {"folder": tmp_path, "report": lines.append}
    fit(tiny(epochs=1), "sl", data, seed=1, **options)
    fit(tiny(epochs=1, name="other"), "sl", data, **options)
    assert [line.split()[0] for line in lines] == ["1/1", "1/1"]


SCRIPT = """\
import sys, time
sys.path[:0] = {path}
from test_train import few_digits, fit, tiny
data = few_digits(100)
def report(line):
    print(line, flush=True)
    time.sleep(0.1)
fit(
    tiny(epochs=10), "sl", data, folder=sys.argv[1], report=report
)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_run_goes_on(data, tmp_path):
    """SIGKILL at whatever moment; the end is that of a run never stopped."""
    script = textwrap.dedent(SCRIPT).format(path=[p for p in sys.path if p])
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line.startswith("3/"):
            break
    time.sleep(random.uniform(0, 0.4))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    lines = []
    options = {"folder": tmp_path, "report": lines.append}
    rest = fit(tiny(epochs=10), "sl", data, **options)
    assert 0 < len(lines) <= 7, "it was killed too late, or began anew"
    whole = fit(tiny(epochs=10), "sl", data, report=quiet)
    assert rest.record["epochs"] == whole.record["epochs"]
    assert rest.test == whole.test
    for one, other in zip(weights(whole), weights(rest), strict=True):
        np.testing.assert_array_equal(one, other)


def test_ctrl_c_says_where_it_stopped(data, tmp_path):
    def report(line):
        if line.startswith("2/"):
            raise KeyboardInterrupt

    run = fit(tiny(), "sl", data, folder=tmp_path, report=report)
    assert not run.record["finished"]
    assert run.record["steps"] == 6
    assert len(run.record["epochs"]["loss"]) == 2
    assert run.record["test"] is None and run.predictions is None
    again = fit(tiny(), "sl", data, folder=tmp_path, report=quiet)
    assert again.record["finished"]


def test_ctrl_c_before_the_first_epoch(data, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "_run_steps", interrupt)
    lines = []
    run = fit(tiny(), "sl", data, report=lines.append)
    assert lines == ["stopped after 0 epochs"]
    assert run.record["steps"] == 0


@pytest.mark.parametrize("deleted", [False, True])
def test_ctrl_c_in_the_first_epoch_loses_nothing(
    data, tmp_path, monkeypatch, deleted
):
    """The same call with the same model begins where the first one began.

    Without the folder it begins from what the model has learned, and says so.
    """
    recipe = tiny(ema=0.0)
    model = recipe.build("sl", data, 0)
    advance = Progress.advance

    def interrupt(progress, count, logs=None):
        advance(progress, count, logs)
        if progress.seen == 2 * recipe.batch_size:
            raise KeyboardInterrupt

    options = {"folder": tmp_path / "work", "report": quiet, "scan": False}
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "advance", interrupt)
        stopped = train(model, data, recipe, **options)
    assert stopped.record["steps"] == 0
    if deleted:
        shutil.rmtree(tmp_path / "work")
    rest = train(model, data, recipe, **options)
    whole = fit(recipe, "sl", data, report=quiet, scan=False)
    same = rest.record["start_weights"] == whole.record["start_weights"]
    assert same == (not deleted)
    losses = [run.record["epochs"]["loss"] for run in (rest, whole)]
    assert (losses[0] == losses[1]) == (not deleted)


def test_losses_of_the_model_itself_count(data):
    """Of a regularizer, by `fit` and, on JAX, by the scan."""
    recipe = tiny(epochs=1, ema=0.0, mix=0.0)

    def first_loss(strength, **options):
        keras.utils.set_random_seed(0)
        layers = [
            keras.Input((32, 32, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(10, kernel_regularizer=strength),
        ]
        model = keras.Sequential(layers, name="linear")
        run = train(model, data, recipe, report=quiet, **options)
        return run.record["epochs"]["loss"][0]

    ways = [False, True] if keras.backend.backend() == "jax" else [False]
    for scan in ways:
        plain, heavy = (
            first_loss(strength, scan=scan)
            for strength in (None, keras.regularizers.L2(1.0))
        )
        assert heavy > plain + 1


def test_a_mistyped_schedule_is_refused(data):
    with pytest.raises(ValueError, match="schedule='linear' is unknown"):
        fit(tiny(schedule="linear"), "sl", data, report=quiet)


def test_predictions_are_what_the_metrics_count(data, ended):
    run = ended
    logits = run.model.predict(data.x_test, verbose=0)
    np.testing.assert_array_equal(
        run.predictions["predicted"], logits.argmax(-1)
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    top5 = keras.metrics.SparseTopKCategoricalAccuracy(5)
    top5.update_state(data.y_test, logits)
    test = run.record["test"]
    assert test["loss"] == pytest.approx(float(loss(data.y_test, logits)))
    assert test["top1"] == np.mean(logits.argmax(-1) == data.y_test)
    assert test["top5"] == pytest.approx(float(top5.result()))
    assert run.predictions["top5"].mean() == pytest.approx(test["top5"])


def test_half_precision_is_of_the_model_alone(data):
    """Products in bfloat16; weights, loss and logits in float32."""
    recipe = tiny(precision="mixed_bfloat16", epochs=1)
    run = fit(recipe, "sl", data, report=quiet)
    layer = run.model.get_layer("block0_attention")
    assert layer.compute_dtype == "bfloat16"
    assert layer.variable_dtype == "float32"
    assert run.model.output.dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"
    assert np.isfinite(run.record["test"]["loss"])


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(
    monkeypatch, capsys
):
    def show():
        with Progress(100) as progress:
            progress.resume(20)
            progress.advance(60)
            progress.line("1/2 loss 3.0")
        return capsys.readouterr().out

    assert show() == "1/2 loss 3.0\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    shown = show()
    assert "80.0/100" in shown and "image/s" in shown
    assert "1/2 loss 3.0\n" in shown


def test_loss_that_is_not_finite_is_an_error(data, tmp_path):
    recipe = tiny(learning_rate=float("nan"), schedule="constant")
    with pytest.raises(FloatingPointError, match="nan in epoch 1"):
        fit(recipe, "sl", data, folder=tmp_path, report=quiet)
    (start,) = tmp_path.rglob("*.ckpt")
    assert start.name == "epoch-000000.ckpt"


def test_fewer_images_than_a_batch(data):
    with pytest.raises(ValueError, match=r"100 training.*batch of 128"):
        fit(tiny(batch_size=128), "sl", data, report=quiet)


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_float16_goes_on_after_an_overflow(data, monkeypatch, scan, optimizer):
    """Steps that overflow are left out, and the scale is halved by each."""
    if scan and keras.backend.backend() != "jax":
        pytest.skip("scanning needs JAX")
    start = 2.0**24  # far too large: gradients of the first steps overflow
    scaled = functools.partial(
        keras.optimizers.LossScaleOptimizer, initial_scale=start
    )
    monkeypatch.setattr(keras.optimizers, "LossScaleOptimizer", scaled)
    recipe = tiny(
        precision="mixed_float16", epochs=8, mix=0.0, optimizer=optimizer
    )
    run = fit(recipe, "sl", data, scan=scan, report=quiet)
    outer = run.trainer.optimizer
    left_out = np.log2(
        start / float(ops.convert_to_numpy(outer.dynamic_scale))
    )
    assert 0 < left_out < run.record["steps"] / 2
    taken = int(ops.convert_to_numpy(outer.inner_optimizer.iterations))
    assert taken == run.record["steps"] - left_out
    losses = run.record["epochs"]["loss"]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    assert losses[0] < 5  # of the images, not the scaled one
    assert all(np.isfinite(one).all() for one in weights(run.trainer))
    assert np.isfinite(run.test["loss"])


def test_float16_alone_is_scaled():
    for precision in ("float32", "mixed_bfloat16"):
        plain = make_optimizer(tiny(precision=precision), 10)
        assert isinstance(plain, keras.optimizers.AdamW)
    scaled = make_optimizer(tiny(precision="mixed_float16"), 10)
    assert type(scaled) is keras.optimizers.LossScaleOptimizer
    assert isinstance(scaled.inner_optimizer, keras.optimizers.AdamW)


@pytest.mark.slow
def test_float16_resumes_with_its_scale(data, tmp_path):
    recipe = tiny(precision="mixed_float16", epochs=3)
    whole = fit(recipe, "sl", data, report=quiet)
    with pytest.raises(RuntimeError, match="power cut"):
        fit(recipe, "sl", data, folder=tmp_path, report=power_cut)
    rest = fit(recipe, "sl", data, folder=tmp_path, report=quiet)
    assert rest.record["epochs"] == whole.record["epochs"]
    for one, other in zip(
        weights(whole.trainer), weights(rest.trainer), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    counts = [
        int(ops.convert_to_numpy(run.trainer.optimizer.step_counter))
        for run in (whole, rest)
    ]
    assert counts[0] == counts[1] > 3


def power_cut(line: str) -> None:
    raise RuntimeError("power cut")
