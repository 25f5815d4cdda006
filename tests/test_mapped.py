"""Images that stay in a file: read by index, with the losses of memory."""

import dataclasses
import tracemalloc

import keras
import mapped
import numpy as np
import pytest
from keras import ops
from test_train import (
    Stop,
    few_digits,
    fit,
    quiet,
    stop_after,
    tiny,
    weights,
)

import vitsd_helpers.data
from vitsd_helpers import load_data
from vitsd_helpers.training.loop import epoch_order
from vitsd_helpers.training.splits import hold_out, subset
from vitsd_helpers.training.trainer import Trainer


@pytest.fixture(scope="module")
def data():
    return few_digits(100)


@pytest.fixture
def folder(tmp_path, data):
    """Named as the data are, so that a run of both is one run."""
    return mapped.write(tmp_path / "digits", data)


def test_arrays_are_what_was_written(folder, data, monkeypatch):
    monkeypatch.setattr(vitsd_helpers.data, "PIECE", 7 * 32 * 32 * 3)
    found = load_data("arrays", folder)
    assert found.mapped and not data.mapped
    assert found.name == "digits"
    for name in ("x_train", "y_train", "x_test", "y_test"):
        one, other = getattr(data, name), getattr(found, name)
        np.testing.assert_array_equal(one, other)
    assert isinstance(found.x_train, np.memmap)
    assert found.class_names == data.class_names
    assert found.x_val is found.y_val is None
    assert found.md5 == data.md5
    assert found.statistics == data.statistics


def test_arrays_may_have_validation_images(folder, data):
    for name in ("x", "y"):
        np.save(folder / f"{name}_val.npy", getattr(data, f"{name}_test")[:9])
    found = load_data("arrays", folder)
    np.testing.assert_array_equal(found.x_val, data.x_test[:9])
    np.testing.assert_array_equal(found.y_val, data.y_test[:9])


def test_the_file_is_never_in_memory_whole(folder, data, monkeypatch):
    """For the numbers that are of all images; a run has its own test."""
    large = np.tile(data.x_train, (20, 1, 1, 1))
    np.save(folder / "x_train.npy", large)
    np.save(folder / "y_train.npy", np.tile(data.y_train, 20))
    monkeypatch.setattr(vitsd_helpers.data, "PIECE", large.nbytes // 50)
    found = load_data("arrays", folder)
    tracemalloc.start()
    try:
        assert found.md5 and found.statistics
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # NumPy's bincount has eight bytes for a byte of a channel.
    assert most < large.nbytes / 5


def test_a_run_is_that_of_memory_and_reads_its_batches(folder, data):
    recipe = tiny(epochs=2)
    found, trained, tested = mapped.counted(folder)
    memory = fit(recipe, "sl", data, seed=5, report=quiet)
    run = fit(recipe, "sl", found, seed=5, report=quiet)
    for part in ("epochs", "test", "data_md5"):
        assert run.record[part] == memory.record[part]
    for name, values in memory.predictions.items():
        np.testing.assert_array_equal(run.predictions[name], values)
    orders = [epoch_order(100, 32, 5, epoch, 3) for epoch in range(2)]
    steps = np.concatenate(orders).reshape(-1, 32)
    # Keras fetches one or two batches once more, to build with.
    assert trained[-len(steps) :] == steps.tolist()
    assert len(trained) <= len(steps) + 2
    assert tested[-2:] == [[*range(32)], [*range(32, 50)]]
    assert len(tested) <= 4
    assert not any(v.dtype == "uint8" for v in run.trainer.variables)


@pytest.mark.slow
def test_a_run_goes_on_from_a_file(folder, data, tmp_path):
    """Even one that began in memory."""
    whole = fit(tiny(), "sl", load_data("arrays", folder), report=quiet)
    kept = tmp_path / "kept"
    with pytest.raises(Stop):
        fit(tiny(), "sl", data, folder=kept, scan=False, report=stop_after(1))
    found, lines = load_data("arrays", folder), []
    run = fit(tiny(), "sl", found, folder=kept, report=lines.append)
    assert len(lines) == 2
    assert run.record["epochs"] == whole.record["epochs"]
    assert run.record["test"] == whole.record["test"]
    for one, other in zip(weights(whole), weights(run), strict=True):
        np.testing.assert_array_equal(one, other)


def test_only_the_test_may_be_in_a_file(folder, data):
    file = load_data("arrays", folder).x_test
    found = dataclasses.replace(data, x_test=file)
    assert found.mapped
    model = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Flatten()]
    )
    trainer = Trainer(model, found, tiny(), 0)
    both = np.array([103, 4, 100], "int32")
    out = trainer(trainer.batch(both), training=False)
    seen = ops.convert_to_numpy(out["logits"]).reshape(3, 32, 32, 3)
    images = [data.x_test[3], data.x_train[4], data.x_test[0]]
    np.testing.assert_array_equal(seen, images)


def test_a_compiled_epoch_cannot_read(folder):
    found = load_data("arrays", folder)
    with pytest.raises(ValueError, match=r"scan=True.*'digits' are in a f"):
        fit(tiny(), "sl", found, scan=True, report=quiet)


@pytest.mark.parametrize("draw", [hold_out, subset])
def test_nothing_is_drawn_from_a_file(folder, draw):
    with pytest.raises(ValueError, match=r"'digits' are in a file.*x_val"):
        draw(load_data("arrays", folder), 20)


# What is wrong with a folder


def test_arrays_ask_for_data_dir():
    with pytest.raises(ValueError, match="needs data_dir"):
        load_data("arrays")


@pytest.mark.parametrize("name", ["x_train.npy", "y_test.npy", "classes.txt"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} does not exist"):
        load_data("arrays", folder)


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("x_train", np.zeros((100, 8, 8, 3)), r"float64 \(100, 8, 8, 3\)"),
        ("x_test", np.zeros((50, 8, 8), "uint8"), r"uint8 \(50, 8, 8\)"),
        ("x_test", np.zeros((50, 8, 8, 3), "uint8"), r"holds images \(8, "),
        ("y_train", np.zeros(99, int), r"\(99,\): it needs 100 whole"),
        ("y_test", np.zeros(50), r"float64 \(50,\): it needs 50 whole"),
        ("y_test", np.full(50, 10), r"the label 10, and .*0 to 9"),
        ("y_test", np.full(50, -1), r"the label -1, and"),
        ("y_test", np.array([{}] * 50), "is not a whole array"),
    ],
)
def test_a_wrong_array_is_named(folder, name, array, said):
    np.save(folder / f"{name}.npy", array)
    with pytest.raises(ValueError, match=rf"{name}.npy .*{said}"):
        load_data("arrays", folder)


@pytest.mark.parametrize("size", [0, 5, 1000])
def test_half_a_file_is_named(folder, size):
    path = folder / "x_train.npy"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"x_train.npy is not a whole arr"):
        load_data("arrays", folder)


@pytest.mark.parametrize("text", ["one\n", "a\nb\na\n", "a\n\nb\n"])
def test_wrong_names_of_classes_are_refused(folder, text):
    (folder / "classes.txt").write_text(text, "utf-8")
    with pytest.raises(ValueError, match=r"classes.txt holds \d lines"):
        load_data("arrays", folder)
