"""The convolutional network beside the vision transformers."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from arithmetic import multiply_adds

from vitsd_helpers import PRESETS, get_recipe, load_data, train
from vitsd_helpers.training.baseline import build_resnet


@pytest.fixture(scope="module")
def digits():
    return load_data("digits")


def work(model) -> int:
    """Multiply-adds of one image, of convolutions and dense layers."""
    return sum(
        int(np.prod(layer.output.shape[1:-1]) * np.prod(layer.kernel.shape))
        for layer in model.layers
        if hasattr(layer, "kernel")
    )


def test_it_does_about_the_work_of_the_small_vit():
    model = build_resnet(PRESETS["small-sl"])
    assert model.output_shape == (None, 100)
    ours = multiply_adds(PRESETS["small-sl"])
    assert 0.9 < work(model) / ours < 1.25


def test_it_has_fourteen_layers_beside_the_shortcuts():
    layers = [
        layer
        for layer in build_resnet(PRESETS["small-sl"]).layers
        if hasattr(layer, "kernel")
        and getattr(layer, "kernel_size", None) != (1, 1)
    ]
    assert len(layers) == 14


def test_recipe_builds_it_in_its_precision(digits):
    policy = keras.config.dtype_policy()
    model = get_recipe("steps-500-bf16").build("cnn", digits, seed=0)
    assert keras.config.dtype_policy() == policy
    assert model.name == "cnn"
    assert model.output_shape == (None, 10)
    assert model.layers[-1].compute_dtype == "float32"
    assert model.layers[-2].compute_dtype == "bfloat16"
    again = get_recipe("steps-500-bf16").build("cnn", digits, seed=0)
    for one, other in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_an_unknown_model_is_told_of_it(digits):
    with pytest.raises(ValueError, match=r"unknown model 'nope'.*, cnn\."):
        get_recipe("quick").build("nope", digits)


def test_it_learns(digits, tmp_path):
    recipe = replace(get_recipe("quick"), epochs=2)
    model = recipe.build("cnn", digits, seed=0)
    run = train(model, digits, recipe, seed=0, folder=tmp_path)
    assert run.record["variant"] == "cnn"
    assert run.test["top1"] > 0.9
