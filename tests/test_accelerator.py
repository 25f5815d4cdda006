"""What a training runs on, and how long it will take there."""

import dataclasses
import subprocess

import numpy as np
import pytest
from keras import ops
from test_train import fit, quiet, tiny

from vitsd_helpers import get_recipe, load_data
from vitsd_helpers.training import accelerator as module
from vitsd_helpers.training import rehearsal
from vitsd_helpers.training.accelerator import (
    Accelerator,
    drive_folder,
    find_accelerator,
    fit_precision,
)
from vitsd_helpers.training.rehearsal import STEPS, Rehearsal, rehearse

T4 = Accelerator("Tesla T4", 15.0, False)
H100 = Accelerator("NVIDIA H100 80GB HBM3", 79.6, True)


@pytest.fixture(scope="module")
def data():
    digits = load_data("digits")
    few = {"x_train": digits.x_train[:96], "y_train": digits.y_train[:96]}
    return dataclasses.replace(digits, **few)


def says(monkeypatch, answer):
    """A driver that answers so."""

    def ask():
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(module, "on_gpu", lambda: True)
    monkeypatch.setattr(module, "_ask_driver", ask)


@pytest.mark.parametrize(
    ("answer", "name", "said"),
    [
        ("Tesla T4, 15360, 7.5\n", "Tesla T4", "15 GiB, without bfloat16"),
        ("NVIDIA A100, 40960, 8.0", "NVIDIA A100", "40 GiB, with bfloat16"),
        ("Tesla T4, 15360, 7.5\nNVIDIA L4, 23034, 8.9\n", "Tesla T4", "15 G"),
        ("NVIDIA H200, 143771, 10.0", "NVIDIA H200", "140 GiB, with bf"),
    ],
)
def test_a_card_is_asked(monkeypatch, answer, name, said):
    says(monkeypatch, answer)
    found = find_accelerator()
    assert found.name == name and str(found).startswith(f"{name}, {said}")


@pytest.mark.parametrize(
    "answer",
    [
        FileNotFoundError("nvidia-smi"),
        subprocess.CalledProcessError(9, "nvidia-smi"),
        "Tesla T4, [N/A], 7.5",
        "",
    ],
)
def test_a_card_that_does_not_answer(monkeypatch, answer):
    says(monkeypatch, answer)
    found = find_accelerator()
    assert found.memory is None and str(found) == found.name
    assert fit_precision(get_recipe("colab"), found) == get_recipe("colab")


def test_without_a_card(monkeypatch):
    says(monkeypatch, "Tesla T4, 15360, 7.5")
    monkeypatch.setattr(module, "on_gpu", lambda: False)
    assert str(find_accelerator()) == "no GPU"


def test_precision_is_what_the_card_can():
    recipe = get_recipe("colab")
    assert fit_precision(recipe, H100) is recipe
    changed = fit_precision(recipe, T4)
    assert changed.precision == "mixed_float16"
    assert changed.name == "colab-fp16" and changed.hash != recipe.hash
    same = {"name": recipe.name, "precision": recipe.precision}
    assert dataclasses.replace(changed, **same) == recipe
    laptop = get_recipe("laptop")  # float32 stays
    assert fit_precision(laptop, T4) is laptop


def test_drive_if_it_is_mounted(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "DRIVE", tmp_path / "MyDrive")
    assert drive_folder() is None
    (tmp_path / "MyDrive").mkdir()
    assert drive_folder() == str(tmp_path / "MyDrive" / "vitsd")


def test_time_is_arithmetic():
    time = Rehearsal(20, 100_000, 30.0, 2_000.0)
    assert time.seconds == 30 + 1_000
    assert str(time) == (
        "about 17 min for 20 epochs, at 2,000 images/s over 20 steps"
    )
    assert time.epochs_within(time.seconds) == 20
    assert time.epochs_within(30 + 99) == 1
    assert time.epochs_within(10) == 0


def test_colab_is_sized_for_half_an_hour_by_its_estimate():
    """Two models at the images a second that the recipe's comment names."""
    recipe = get_recipe("colab")
    size = recipe.samples_per_epoch // recipe.batch_size * recipe.batch_size
    time = Rehearsal(recipe.epochs, size, 0.0, 2_200.0)
    assert 2 * time.seconds == pytest.approx(30 * 60, rel=0.05)


@pytest.mark.slow
def test_a_rehearsal_measures_and_leaves_no_trace(data, monkeypatch):
    """The training after it is bit for bit the one without it."""
    recipe = tiny(epochs=2)
    plain = fit(recipe, "sl", data, report=quiet)
    lengths = []
    inner = rehearsal.train

    def watched(model, parts, short, **options):
        run = inner(model, parts, short, **options)
        lengths.append((short.epochs, run.record["steps"], len(parts.x_test)))
        return run

    monkeypatch.setattr(rehearsal, "train", watched)
    found = rehearse(recipe, "sl", data)
    assert lengths == [(1, STEPS + 1, recipe.batch_size)]
    assert found.epochs == 2 and found.samples_per_epoch == 96
    assert found.images_per_second > 0 and found.compile_seconds > 0
    again = fit(recipe, "sl", data, report=quiet)
    assert again.record["epochs"] == plain.record["epochs"]
    for one, other in zip(
        plain.model.weights, again.model.weights, strict=True
    ):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(one), ops.convert_to_numpy(other)
        )
