"""The face of a researcher: a folder of pictures, a model, a prediction."""

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from PIL import Image

from vitsd_helpers import (
    evaluate,
    get_recipe,
    hold_out,
    load_data,
    load_model,
    predict,
    train,
)
from vitsd_helpers.evidence.records import write_record
from vitsd_helpers.training.recipes import Recipe
from vitsd_helpers.training.weights import save_model

NAMES = ("daisy", "rose", "tulip")


def quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def flowers(tmp_path_factory) -> Path:
    """Pictures of odd sizes, JPEG and PNG, each class of one colour."""
    folder = tmp_path_factory.mktemp("data") / "flowers"
    random = np.random.default_rng(0)
    for label, name in enumerate(NAMES):
        (folder / name).mkdir(parents=True)
        for number in range(14):
            height, width = random.integers(37, 90, 2)
            pixels = random.integers(0, 90, (height, width, 3))
            pixels[..., label] += 160
            picture = Image.fromarray(pixels.astype("uint8"))
            suffix = ("jpg", "png")[number % 2]
            picture.save(folder / name / f"{number}.{suffix}")
    return folder


def short(**changes) -> Recipe:
    """The recipe of the example, for few pictures and little time."""
    recipe = get_recipe("quick")
    model = dataclasses.replace(
        recipe.model, patch_size=8, width=16, depth=1, num_heads=2
    )
    changes = {"model": model, "batch_size": 8, "epochs": 12} | changes
    return dataclasses.replace(recipe, **changes)


@pytest.fixture(scope="module")
def data(flowers):
    return load_data("folder", flowers, image_size=48)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    recipe = short()
    model = recipe.build("sl", data, seed=0)
    folder = tmp_path_factory.mktemp("work")
    return train(
        model,
        data,
        recipe,
        name="flowers-sl",
        seed=0,
        folder=folder,
        report=quiet,
    )


def test_one_array_is_one_picture(run):
    """And the names of classes may be an array."""
    grey, colour = np.zeros((40, 30)), np.zeros((40, 30, 3), "uint8")
    names = np.array(NAMES)
    for picture in (grey, colour):
        (found,) = predict(run.model, picture, names)
        assert {name for name, _ in found} == set(NAMES)
    assert len(predict(run.model, np.zeros((5, 40, 30, 3)))) == 5


def test_from_a_folder_to_predictions(run, data, flowers, tmp_path):
    assert data.x_train.shape[1:] == (48, 48, 3)
    assert run.test["top1"] > 0.6 and run.test["top5"] == 1
    record = run.record
    assert record["data"] == "flowers" and record["name"] == "flowers-sl"
    assert record["variant"] == "sl" and record["model"] == "SL-ViT"
    assert record["recipe"]["name"] == "quick" and record["seed"] == 0
    assert record["config"]["input_size"] == 48
    assert str(flowers) not in json.dumps(record)
    path = run.save(tmp_path / "flowers-model", formats=())
    model = load_model(path)
    array = np.asarray(Image.open(flowers / "rose" / "1.png"))
    predictions = predict(model, [flowers / "tulip" / "0.jpg", array])
    assert len(predictions) == 2
    for pairs in predictions:
        assert {name for name, _ in pairs} == set(NAMES)
        shares = [share for _, share in pairs]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1)
    again = predict(run.model, [array])
    assert [name for name, _ in again[0]] == [
        name for name, _ in predictions[1]
    ]
    np.testing.assert_allclose(
        [share for _, share in again[0]],
        [share for _, share in predictions[1]],
        atol=1e-6,
    )


def test_a_saved_model_is_the_same_bit_for_bit(run, data, tmp_path):
    path = run.save(tmp_path / "saved", formats=())
    assert {p.name for p in path.iterdir()} == {
        "README.md",
        "classes.txt",
        "model.json",
        "model.keras",
        "model.safetensors",
        "record.json",
    }
    assert (path / "classes.txt").read_text("utf-8").split() == [*NAMES]
    record = json.loads((path / "record.json").read_text("utf-8"))
    assert record == json.loads(json.dumps(run.record))
    loaded = load_model(
        run.save(path, formats=())
    )  # what was saved there is replaced
    assert loaded.class_names == NAMES
    for one, other in zip(run.model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(one), ops.convert_to_numpy(other)
        )
    assert evaluate(loaded, data)["top1"] == run.test["top1"]
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileExistsError, match="no saved model"):
        run.save(tmp_path / "mine")
    with pytest.raises(ValueError, match=r"no model\.json"):
        load_model(tmp_path / "mine")


@pytest.mark.parametrize("channels", [1, 3])
def test_a_readers_own_network(flowers, tmp_path, channels):
    data = load_data("folder", flowers, image_size=24, channels=channels)
    model = keras.Sequential(
        [
            keras.Input((24, 24, channels)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3),
        ],
        name="my_cnn_2",
    )
    run = train(model, data, short(epochs=2), report=quiet)
    assert run.record["variant"] == run.record["model"] == "my_cnn_2"
    assert run.record["name"] == "quick-my_cnn_2-seed0"
    write_record(run.record, tmp_path)
    loaded = load_model(run.save(tmp_path / "saved", formats=()))
    images = data.x_test[:3].astype("float32")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(model(images)),
        ops.convert_to_numpy(loaded(images)),
    )
    assert len(predict(loaded, list(data.x_test))[0]) == 3


def test_one_channel_of_ours(flowers):
    data = load_data("folder", flowers, channels=1)
    recipe = short(epochs=1, flip=True, crop=2, mix=0.5)
    run = train(recipe.build("sl", data), data, recipe, report=quiet)
    assert run.record["config"]["channels"] == 1
    assert np.isfinite(run.test["loss"])


def test_evaluate_says_what_the_metrics_say(run, data):
    found = evaluate(run.model, data, batch_size=5)
    logits = ops.convert_to_numpy(run.model(data.x_test.astype("float32")))
    np.testing.assert_array_equal(found["predictions"], logits.argmax(-1))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    expected = float(ops.convert_to_numpy(loss(data.y_test, logits)))
    assert found["loss"] == pytest.approx(expected, rel=1e-5)
    assert found["top1"] == np.mean(logits.argmax(-1) == data.y_test)
    assert found["top5"] == 1
    whole = evaluate(run.model, data, "train")
    assert len(whole["predictions"]) == len(data.x_train)


def test_validation_images_have_a_place_of_their_own(data):
    parts = hold_out(data, 6)
    recipe = short(epochs=1)
    run = train(recipe.build("vit", parts), parts, recipe, report=quiet)
    assert run.record["tested_on"] == "held out"
    assert run.record["test_images"] == 6
    assert evaluate(run.model, parts, "val")["top1"] == run.test["top1"]
    with pytest.raises(ValueError, match=r"no images in split='test'"):
        evaluate(run.model, parts)
    both = dataclasses.replace(parts, x_test=data.x_test, y_test=data.y_test)
    assert both.tested == "test"


def test_mistakes_name_the_remedy(run, data, tmp_path):
    with pytest.raises(ValueError, match=r"split='tset'.*'test'"):
        evaluate(run.model, data, "tset")
    plain = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match="give class_names"):
        predict(plain, [data.x_test[0]])
    with pytest.raises(ValueError, match="192 logits for 2 names"):
        predict(plain, [data.x_test[0]], ["a", "b"])
    with pytest.raises(ValueError, match=r"shape \(4, 8, 8, 3\)"):
        predict(run.model, [np.zeros((4, 8, 8, 3))])
    with pytest.raises(FileNotFoundError):
        predict(run.model, [tmp_path / "no.jpg"])
    assert predict(run.model, []) == []


def test_a_model_of_a_class_of_its_own(data, flowers):
    """It has no input_shape: that it takes is to be said."""

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def call(self, images):
            return self.dense(ops.mean(images, (1, 2)) / 255)

    run = train(Own(), data, short(epochs=1), report=quiet)
    picture = flowers / "tulip" / "0.jpg"
    with pytest.raises(ValueError, match="give image_shape"):
        predict(run.model, picture)
    (pairs,) = predict(run.model, picture, image_shape=(48, 48, 3))
    assert {name for name, _ in pairs} == set(NAMES)
    with pytest.raises(ValueError, match=r"\(48, 32, 3\).*squares"):
        predict(run.model, picture, image_shape=(48, 32, 3))


def test_a_model_that_keras_cannot_serialise(tmp_path):
    class Own(keras.Model):
        def __init__(self, size):
            super().__init__()
            self.dense = keras.layers.Dense(size)

        def call(self, images):
            return self.dense(ops.mean(images, (1, 2)))

        def get_config(self):
            raise NotImplementedError("no configuration")

    model = Own(3)
    model(np.zeros((1, 8, 8, 3), "float32"))
    with pytest.raises(ValueError, match="give its class get_config"):
        save_model(model, tmp_path / "own")
    assert not list(tmp_path.iterdir())
