"""Augmentation, against PIL where PIL has the operation."""

import functools
import math

import keras
import numpy as np
import pytest
import reference
from keras.ops import convert_to_numpy
from PIL import Image, ImageEnhance, ImageOps

from vitsd_helpers.data import load_photo
from vitsd_helpers.training import augment

BACKEND = keras.backend.backend()
#: With a strength, to either side.
SIGNED = (
    "rotate",
    "color",
    "contrast",
    "brightness",
    "sharpness",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
)


@functools.cache
def photos(height: int = 24, width: int = 28) -> np.ndarray:
    """Two photographs, and the first darker and flatter, (3, H, W, 3)."""
    size = max(height, width)
    both = [load_photo(name, size) for name in ("china.jpg", "flower.jpg")]
    images = np.stack([*both, both[0] // 3 + 40])
    return images[:, :height, :width].astype("float32")


def run(function, *args, **kwargs):
    """The result as a NumPy array, or as a tuple of them."""
    result = function(*args, **kwargs)
    if isinstance(result, tuple):
        return tuple(map(convert_to_numpy, result))
    return convert_to_numpy(result)


def with_pil(function, images: np.ndarray) -> np.ndarray:
    """Apply a function of a PIL picture to each image."""
    pictures = map(Image.fromarray, images.astype("uint8"))
    return np.stack([np.asarray(function(p), "float32") for p in pictures])


def enhance(name: str, factor: float):
    return lambda picture: getattr(ImageEnhance, name)(picture).enhance(factor)


def move(matrix):
    """`augment.warp` with PIL, which measures from the corner."""

    def transform(picture):
        (a, b, c), (d, e, f) = matrix
        x, y = picture.width / 2, picture.height / 2
        corner = (a, b, c + x - a * x - b * y, d, e, f + y - d * x - e * y)
        return picture.transform(
            picture.size,
            Image.Transform.AFFINE,
            corner,
            Image.Resampling.BILINEAR,
            fillcolor=(128, 128, 128),
        )

    return transform


def turn(degrees: float) -> np.ndarray:
    sine = math.sin(math.radians(degrees))
    cosine = math.cos(math.radians(degrees))
    return np.array([[cosine, -sine, 0], [sine, cosine, 0]])


# PIL rounds to whole numbers: the image once, and the grey or the smooth
# copy, which a factor of 1.9 multiplies by 0.9, once more.
@pytest.mark.parametrize(
    ("ours", "pil", "tolerance"),
    [
        (augment.autocontrast, ImageOps.autocontrast, 1.01),
        (augment.equalize, ImageOps.equalize, 0),
        *(
            (
                functools.partial(augment.solarize, threshold=threshold),
                functools.partial(ImageOps.solarize, threshold=threshold),
                0,
            )
            for threshold in (0, 100, 256)
        ),
        *(
            (
                functools.partial(augment.posterize, bits=bits),
                functools.partial(ImageOps.posterize, bits=bits),
                0,
            )
            for bits in range(1, 9)
        ),
        *(
            (
                functools.partial(getattr(augment, name), factor=factor),
                enhance(name.title(), factor),
                1.5,
            )
            for name in ("color", "contrast", "brightness", "sharpness")
            for factor in (0, 0.1, 0.55, 1, 1.9)
        ),
    ],
)
def test_photometric_operations_equal_pil(ours, pil, tolerance) -> None:
    images = photos()
    result = run(ours, images)
    assert result.dtype == "float32"
    np.testing.assert_allclose(
        result, with_pil(pil, images), rtol=0, atol=tolerance
    )


MATRICES = {
    "identity": np.eye(2, 3),
    "rotate": turn(27),
    "half turn": turn(180),
    "shear": [[1, 0.29, 0], [0, 1, 0]],
    "other shear": [[1, 0, 0], [-0.27, 1, 0]],
    "translate": [[1, 0, 10.25], [0, 1, -7.5]],
    "shrink": [[2.113, 0.317, 4.01], [0.109, 1.723, -3.02]],
}


@pytest.mark.parametrize("name", MATRICES)
def test_warp_equals_pil(name: str) -> None:
    matrix = MATRICES[name]
    images = photos()
    result = run(augment.warp, images, matrix)
    expected = with_pil(move(matrix), images)
    difference = result - expected  # PIL rounds down
    assert difference.min() > -0.01
    assert difference.max() < 1.01
    assert result.shape == images.shape


def test_warp_moves_each_image_by_its_own_matrix() -> None:
    images = photos()
    matrices = np.stack([MATRICES[n] for n in ("rotate", "shear", "identity")])
    result = run(augment.warp, images, matrices, fill=0)
    for index, matrix in enumerate(matrices):
        alone = run(augment.warp, images[index][None], matrix, fill=0)
        np.testing.assert_allclose(result[index], alone[0], atol=1e-3)
    np.testing.assert_array_equal(result[2], images[2])
    assert (result[0, 0, 0] == 0).all()


def test_factors_may_differ_from_image_to_image() -> None:
    images, factors = photos(), [0.1, 1.0, 1.9]
    for name in ("color", "contrast", "brightness", "sharpness"):
        function = getattr(augment, name)
        result = run(function, images, factors)
        for index, factor in enumerate(factors):
            alone = run(function, images[index][None], factor)
            np.testing.assert_allclose(
                result[index], alone[0], atol=1e-3, err_msg=name
            )


def test_channels_without_contrast_stay_as_they_are() -> None:
    flat = np.full((1, 24, 28, 3), 77.5, "float32")
    np.testing.assert_array_equal(run(augment.autocontrast, flat), flat)
    np.testing.assert_array_equal(run(augment.equalize, flat), flat)
    few = photos()[:1].copy()  # a tie of too many leaves too few to spread
    few[:, :20] = 255
    np.testing.assert_array_equal(run(augment.equalize, few), few)


def test_equalize_rounds() -> None:
    images = photos()
    expected = run(augment.equalize, images)
    for change in (-0.3, 0.3):
        result = run(augment.equalize, images + change)
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("count", [254, 255, 256, 509, 510, 511])
def test_equalize_counts_as_pil(count: int) -> None:
    values = np.full(24 * 28 * 3, 200, "float32")
    values[: 3 * count] = np.arange(3 * count) % 190
    images = np.stack([values.reshape(24, 28, 3)] * 3)
    np.testing.assert_array_equal(
        run(augment.equalize, images), with_pil(ImageOps.equalize, images)
    )


def expected_operation(name: str, sign: int, magnitude: float, images):
    """What `rand_augment` should make of `images`."""
    strength = sign * magnitude / 10
    _, height, width, _ = images.shape
    matrices = {
        "rotate": turn(30 * strength),
        "shear_x": [[1, 0.3 * strength, 0], [0, 1, 0]],
        "shear_y": [[1, 0, 0], [0.3 * strength, 1, 0]],
        "translate_x": [[1, 0, 0.45 * strength * width], [0, 1, 0]],
        "translate_y": [[1, 0, 0], [0, 1, 0.45 * strength * height]],
    }
    if name in matrices:
        return run(augment.warp, images, matrices[name])
    if name == "identity":
        return images
    arguments = {
        "autocontrast": (),
        "equalize": (),
        "solarize": (256 - 25.6 * magnitude,),
        "posterize": ({3: 7, 9: 4, 10: 4}[magnitude],),
    }.get(name, (1 + 0.9 * strength,))
    return run(getattr(augment, name), images, *arguments)


@pytest.mark.parametrize("magnitude", [3, 9])
@pytest.mark.parametrize("name", augment.OPERATIONS)
def test_rand_augment_applies_an_operation(
    name: str, magnitude: float
) -> None:
    images = np.repeat(photos(), 8, axis=0)
    result = run(
        augment.rand_augment,
        images,
        keras.random.SeedGenerator(1),
        num_ops=1,
        magnitude=magnitude,
        operations=(name,),
    )
    distances = np.stack(
        [
            np.abs(
                result - expected_operation(name, sign, magnitude, images)
            ).max(axis=(1, 2, 3))
            for sign in (-1, 1)
        ]
    )
    assert distances.min(axis=0).max() < 0.01
    if name in SIGNED:
        assert distances.max(axis=0).min() > 1
        counts = np.bincount(distances.argmin(axis=0))
        assert counts.tolist() == pytest.approx([12, 12], abs=8)


def test_rand_augment_draws_all_operations_for_each_image() -> None:
    images = np.repeat(photos()[:1], 24, axis=0)
    seed = keras.random.SeedGenerator(2)
    calls = [
        run(augment.rand_augment, images, seed, num_ops=1) for _ in range(20)
    ]
    # Both sides of the signed ones are kinds of their own.
    count = len(augment.OPERATIONS) + len(SIGNED)
    assert len(kinds(calls[0])) > 10
    everything = np.concatenate(calls)
    assert len(kinds(everything)) == count
    unchanged = (everything == images[0]).all(axis=(1, 2, 3))
    assert unchanged.mean() == pytest.approx(1 / 14, abs=0.04)


def kinds(images: np.ndarray) -> set[bytes]:
    """The different images, told apart by their hundredths."""
    return {image.round(2).tobytes() for image in images}


def test_rand_augment_applies_one_operation_a_round() -> None:
    images = np.repeat(photos()[:1], 24, axis=0)
    names = ("posterize", "equalize")
    seed = keras.random.SeedGenerator(0)
    result = run(augment.rand_augment, images, seed, 2, 9, names)
    steps = (lambda x: augment.posterize(x, 4), augment.equalize)
    expected = {
        run(lambda x, a=one, b=two: b(a(x)), images)[0].tobytes()
        for one in steps
        for two in steps
    }
    assert {image.tobytes() for image in result} == expected


def test_rand_augment_without_strength_or_rounds_changes_nothing() -> None:
    images = photos()
    np.testing.assert_array_equal(
        run(augment.rand_augment, images, 0, num_ops=0), images
    )
    # At magnitude 0 only the two that have no strength do anything.
    names = [n for n in augment.OPERATIONS if n[:2] not in ("au", "eq")]
    result = run(augment.rand_augment, images, 0, 3, 0, names)
    np.testing.assert_allclose(result, images, atol=1e-4)


def test_flip_mirrors_half_of_the_images() -> None:
    images = reference.pixels(2000, 2, 3, 2)
    result = run(augment.flip, images, keras.random.SeedGenerator(0))
    mirrored = (result == images[:, :, ::-1]).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(result[~mirrored], images[~mirrored])
    assert mirrored.mean() == pytest.approx(0.5, abs=0.05)


def test_crop_moves_exact_pixels_by_every_offset() -> None:
    image = np.arange(1, 61, dtype="float32").reshape(1, 5, 6, 2) + 0.1
    images = np.repeat(image, 600, axis=0)
    result = run(augment.crop, images, keras.random.SeedGenerator(0), 2)
    offsets = [(y, x) for y in range(-2, 3) for x in range(-2, 3)]
    places = np.stack([reference.moved(image, *o)[0] for o in offsets])
    same = (result[:, None] == places).all(axis=(2, 3, 4))
    assert (same.sum(axis=1) == 1).all()
    counts = same.sum(axis=0)
    assert counts.min() > 5
    assert counts.max() < 60  # 600 / 25 is 24


def rectangles(changed: np.ndarray) -> np.ndarray:
    """Top, left, height and width of what is True in (B, H, W)."""
    boxes = []
    for mask in changed:
        rows, columns = (
            np.flatnonzero(mask.any(1)),
            np.flatnonzero(mask.any(0)),
        )
        tall, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert mask.sum() == tall * wide, "not a rectangle"
        boxes.append((rows[0], columns[0], tall, wide))
    return np.array(boxes)


#: Marked by a value that no noise has.
BLANK = np.full((600, 12, 20, 3), -1, "float32")


@pytest.mark.parametrize(
    ("area", "aspect"),
    [((0.02, 0.33), (0.3, 3.3)), ((0.1, 0.2), (0.5, 1)), ((1, 1), (0.3, 3))],
)
def test_random_erasing_fills_a_rectangle_of_the_right_size(
    area, aspect
) -> None:
    seed = keras.random.SeedGenerator(0)
    result = run(augment.random_erasing, BLANK, seed, 1, area, aspect)
    changed = result[..., 0] != -1
    top, left, tall, wide = rectangles(changed).T
    # Sides are rounded: half a pixel more or less.
    low, high = (part * 12 * 20 for part in area)
    assert ((tall + 0.5) * (wide + 0.5) >= low).all()
    assert ((tall - 0.5) * (wide - 0.5) <= high).all()
    assert ((tall + 0.5) / (wide - 0.5) >= aspect[0]).all()
    assert ((tall - 0.5) / (wide + 0.5) <= aspect[1]).all()
    assert (tall * wide).mean() == pytest.approx((low + high) / 2, rel=0.07)
    assert changed.any(axis=0).all(), "some place is never erased"
    assert (top + tall).max() == 12
    assert (left + wide).max() == 20


def test_random_erasing_spreads_the_aspect_evenly() -> None:
    seed = keras.random.SeedGenerator(0)
    result = run(
        augment.random_erasing, BLANK, seed, 1, (0.2, 0.2), (0.4, 2.5)
    )
    _, _, tall, wide = rectangles(result[..., 0] != -1).T
    logs = np.log(tall / wide) / np.log(2.5)  # -1..1
    assert logs.mean() == pytest.approx(0, abs=0.08)
    assert logs.std() == pytest.approx(3**-0.5, abs=0.05)


def test_random_erasing_fills_a_part_of_the_images_with_noise() -> None:
    seed = keras.random.SeedGenerator(0)
    result = run(augment.random_erasing, BLANK, seed)
    changed = (result != BLANK).any(axis=(1, 2, 3))
    assert changed.mean() == pytest.approx(0.25, abs=0.07)
    noise = result[result != BLANK]
    assert noise.min() >= 0
    assert noise.max() <= 255
    assert noise.mean() == pytest.approx(127.5, abs=2)
    assert noise.std() == pytest.approx(255 / 12**0.5, abs=2)
    # A number of its own for each value.
    assert len(np.unique(noise)) > 0.95 * len(noise)
    none = run(augment.random_erasing, BLANK, seed, rate=0)
    np.testing.assert_array_equal(none, BLANK)


#: Image i is filled with i, and is of class i.
COUNT = 400
OWN = np.arange(COUNT)
PARTNER = np.roll(OWN, 1)
NUMBERED = np.tile(OWN[:, None, None, None].astype("float32"), (1, 9, 14, 1))
CLASSES = np.eye(COUNT, dtype="float32")


def test_cutmix_targets_are_the_shares_of_the_pixels() -> None:
    seed = keras.random.SeedGenerator(0)
    result, targets = run(augment.mix, NUMBERED, CLASSES, seed, 1, 1)
    pasted = result[..., 0] == PARTNER[:, None, None]
    assert (pasted | (result == NUMBERED)[..., 0]).all()
    share = pasted.mean(axis=(1, 2))
    rectangles(pasted[share > 0])
    np.testing.assert_allclose(targets[OWN, PARTNER], share, atol=1e-5)
    np.testing.assert_allclose(targets[OWN, OWN], 1 - share, atol=1e-5)
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    # The mean of (s - s ** 2 / 4) ** 2, s ** 2 uniform: clipped at the edge.
    assert share.mean() == pytest.approx(0.321, abs=0.05)
    assert pasted.any(axis=0).all(), "some place is never pasted"


def test_mixup_targets_are_the_shares_of_the_values() -> None:
    seed = keras.random.SeedGenerator(0)
    result, targets = run(augment.mix, NUMBERED, CLASSES, seed, 1, 0)
    share = targets[OWN, PARTNER]
    expected = ((1 - share) * OWN + share * PARTNER)[:, None, None, None]
    assert np.abs(result - expected).max() < 1e-3
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    assert share.mean() == pytest.approx(0.5, abs=0.06)
    assert share.std() == pytest.approx(12**-0.5, abs=0.03)
    assert len(np.unique(share)) > COUNT - 10


def test_mix_mixes_a_part_of_the_images_by_either_method() -> None:
    seed = keras.random.SeedGenerator(0)
    result, targets = run(augment.mix, NUMBERED, CLASSES, seed, 0.6, 0.25)
    alone = targets[OWN, OWN] == 1
    np.testing.assert_array_equal(result[alone], NUMBERED[alone])
    np.testing.assert_array_equal(targets[alone], CLASSES[alone])
    assert 1 - alone.mean() == pytest.approx(0.6, abs=0.08)
    whole = (result == result.round()).all(axis=(1, 2, 3))
    assert np.mean(whole[~alone]) == pytest.approx(0.25, abs=0.08)


def chain(images, targets, seed, rounds: int):
    """Everything, in the order of training."""
    images = augment.flip(images, seed)
    images = augment.crop(images, seed)
    images = augment.rand_augment(images, seed, rounds)
    images = augment.random_erasing(images, seed)
    return augment.mix(images, targets, seed)


CALLS = {
    "flip": augment.flip,
    "crop": augment.crop,
    "random_erasing": augment.random_erasing,
    "rand_augment": augment.rand_augment,
    "rotate_zoom": augment.rotate_zoom,
    "mix": lambda x, seed: augment.mix(x, np.eye(len(x)), seed)[0],
}


@pytest.mark.parametrize("name", CALLS)
def test_the_seed_decides(name: str) -> None:
    call = CALLS[name]
    images = reference.pixels(24, 24, 28, 3)
    seed = keras.random.SeedGenerator(3)
    first, second = run(call, images, seed), run(call, images, seed)
    again = run(call, images, keras.random.SeedGenerator(3))
    np.testing.assert_array_equal(first, again)
    assert (first != second).any()
    np.testing.assert_array_equal(run(call, images, 5), run(call, images, 5))
    assert (run(call, images, 5) != run(call, images, 6)).any()


@pytest.mark.parametrize(
    "name", ["crop", "random_erasing", "rand_augment", "rotate_zoom"]
)
def test_every_image_draws_its_own(name: str) -> None:
    images = np.repeat(photos()[:1], 24, axis=0)
    options = {"rate": 1} if name == "random_erasing" else {}
    seed = keras.random.SeedGenerator(0)
    result = run(CALLS[name], images, seed, **options)
    assert len(kinds(result)) > 12


@pytest.mark.parametrize("name", CALLS)
def test_values_stay_within_the_scale(name: str) -> None:
    images = np.random.default_rng(0).choice(
        np.array([0, 1, 128, 255], "uint8"), (24, 24, 28, 3)
    )
    seed = keras.random.SeedGenerator(0)
    for _ in range(2):
        result = run(CALLS[name], images, seed)
        assert result.shape == images.shape
        assert result.dtype == "float32"
        assert result.min() >= 0
        assert result.max() <= 255
    if name == "rand_augment":
        result = run(augment.rand_augment, images, seed, 3, 10)
        assert result.min() >= 0
        assert result.max() <= 255


def test_grey_images_have_no_colour_to_lose() -> None:
    images = photos()[..., :1]
    np.testing.assert_array_equal(run(augment.color, images, 0), images)
    names = ("contrast", "equalize", "rotate")
    result = run(augment.rand_augment, images, 0, operations=names)
    assert result.shape == images.shape


class Augment(keras.layers.Layer):
    """The whole chain; keeps its seed, as Keras wants it."""

    def __init__(self, rounds: int):
        super().__init__()
        self.rounds = rounds
        self.generator = keras.random.SeedGenerator(7)

    def call(self, inputs):
        return chain(*inputs, self.generator, self.rounds)

    def rewind(self):
        self.generator.state.assign([7, 0])


def augmenting_model(layer: Augment) -> keras.Model:
    inputs = keras.Input((24, 28, 3)), keras.Input((24,))
    return keras.Model(inputs, layer(inputs))


def batch(count: int):
    images = np.resize(photos(), (count, 24, 28, 3))
    return images, np.eye(count, 24, dtype="float32")


@pytest.mark.parametrize(
    ("jit", "count"), [(True, 24), (False, 24), (False, 5)]
)
def test_compiled_equals_eager(jit: bool, count: int, monkeypatch) -> None:
    if jit == (BACKEND == "torch") or (BACKEND == "jax" and not jit):
        pytest.skip(f"{BACKEND} does not compile that way")
    if jit and BACKEND == "tensorflow":
        # XLA draws other numbers from the same seed: take NumPy's.
        draws = np.random.default_rng(0).random((24, 3000), "float32")

        def uniform(shape, dtype, seed):
            count, numbers = shape
            return keras.ops.convert_to_tensor(draws[:, :numbers])[:count]

        monkeypatch.setattr(keras.random, "uniform", uniform)
    layer = Augment(rounds=2)
    model = augmenting_model(layer)
    model.compile(jit_compile=jit)
    data = batch(count)
    layer.rewind()
    eager = run(layer, data)
    layer.rewind()
    compiled = model.predict_on_batch(data)
    # Rounding may turn a pixel over: at a threshold, or in equalize.
    for one, other in zip(eager, compiled, strict=True):
        assert np.mean(np.abs(one - other) > 0.01) < 0.002
    assert (eager[0] != data[0]).any(axis=(1, 2, 3)).all()


class RotateZoom(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.generator = keras.random.SeedGenerator(7)

    def call(self, images):
        return augment.rotate_zoom(images, self.generator)


def test_rotate_zoom_compiles_for_a_fixed_batch() -> None:
    """TensorFlow's graph once turned the columns of a table around."""
    images = photos()
    model = keras.Sequential([keras.Input(images.shape[1:]), RotateZoom()])
    model.compile(jit_compile=False)
    compiled = model.predict_on_batch(images)
    eager = run(augment.rotate_zoom, images, keras.random.SeedGenerator(7))
    np.testing.assert_allclose(compiled, eager, atol=1e-2)


@pytest.mark.skipif(BACKEND == "torch", reason="torch runs eagerly")
def test_a_compiled_training_step_moves_the_seed_on() -> None:
    class Trained(keras.Model):
        def __init__(self):
            super().__init__()
            self.augment = Augment(rounds=1)
            self.dense = keras.layers.Dense(1)

        def call(self, inputs):
            images, targets = self.augment(inputs)
            self.add_loss(keras.ops.mean(targets))
            return self.dense(keras.layers.Flatten()(images) / 255)

    model = Trained()
    model.compile("sgd", "mse", jit_compile=True)
    losses = [
        model.train_on_batch(batch(4), np.zeros((4, 1))) for _ in range(2)
    ]
    assert np.isfinite(losses).all()
    state = convert_to_numpy(model.augment.generator.state.value)
    assert state.tolist()[0] == 7
    assert state.tolist()[1] >= 10


ONE = np.zeros((1, 8, 8, 3), "float32")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: augment.flip(ONE[0], 0), r"\(8, 8, 3\).*image\[None\]"),
        (lambda: augment.flip(ONE, None), "seed=None.*SeedGenerator"),
        (lambda: augment.crop(ONE, 0, -1), "padding=-1 "),
        (
            lambda: augment.random_erasing(ONE, 0, 1.5),
            "rate=1.5 is outside 0..1",
        ),
        (
            lambda: augment.random_erasing(ONE, 0, area=(0, 0.3)),
            r"area=\(0, 0.3\)",
        ),
        (
            lambda: augment.random_erasing(ONE, 0, area=(0.3, 0.2)),
            r"area=\(0.3, 0.2\)",
        ),
        (
            lambda: augment.random_erasing(ONE, 0, area=(0.3, 1.1)),
            r"area=\(0.3, 1.1\)",
        ),
        (
            lambda: augment.random_erasing(ONE, 0, aspect=(0, 3)),
            r"aspect=\(0, 3\)",
        ),
        (
            lambda: augment.random_erasing(ONE, 0, aspect=(3, 2)),
            r"aspect=\(3, 2\)",
        ),
        (
            lambda: augment.random_erasing(
                ONE, 0, area=(0.1, 0.6), aspect=(2, 3)
            ),
            r"area=0.6 and aspect=\(2, 3\) .* 8 x 8 pixels: lower the area",
        ),
        (
            lambda: augment.random_erasing(
                ONE, 0, area=(0.1, 0.6), aspect=(0.1, 0.5)
            ),
            r"area=0.6 and aspect=\(0.1, 0.5\) .* 8 x 8 pixels",
        ),
        (lambda: augment.mix(ONE, np.eye(2)[0], 0), r"\(2,\).*one_hot"),
        (lambda: augment.mix(ONE, np.eye(2), 0), "1 images have 2 targets"),
        (lambda: augment.mix(ONE, np.eye(1), 0, rate=-1), "rate=-1 is"),
        (lambda: augment.mix(ONE, np.eye(1), 0, cutmix=2), "cutmix=2 is"),
        (lambda: augment.rand_augment(ONE, 0, -1), "num_ops=-1 "),
        (lambda: augment.rand_augment(ONE, 0, 2, 11), "magnitude=11 is"),
        (lambda: augment.rand_augment(ONE, 0, 2, -1), "magnitude=-1 is"),
        (
            lambda: augment.rand_augment(ONE, 0, operations=("turn",)),
            "'turn': choose from identity",
        ),
        (
            lambda: augment.rand_augment(ONE, 0, operations="rotate"),
            "operations='rotate'",
        ),
        (lambda: augment.rand_augment(ONE, 0, operations=()), r"\(\) must"),
        (lambda: augment.color(ONE[..., :2], 0.5), "2 channels"),
        (lambda: augment.rand_augment(ONE[..., :2], 0), "2 channels"),
        (lambda: augment.warp(ONE, np.eye(3)), r"got \(3, 3\)"),
        (
            lambda: augment.warp(ONE, np.zeros((5, 2, 3))),
            r"1 images and 5 matrices",
        ),
        (lambda: augment.posterize(ONE, 0), "bits=0 is outside 1..8"),
        (lambda: augment.posterize(ONE, 9), "bits=9 is outside 1..8"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.skipif(BACKEND != "tensorflow", reason="known shapes elsewhere")
def test_images_of_unknown_size_are_refused() -> None:
    class Flip(keras.layers.Layer):
        def call(self, images):
            return augment.flip(images, 0)

    with pytest.raises(Exception, match="must have a known height, width"):
        Flip()(keras.Input((None, None, 3)))


def test_warp_mirrors_at_the_edges():
    """A shift by three pixels shows three mirrored ones."""
    images = np.arange(36, dtype="float32").reshape(1, 6, 6, 1)
    matrix = [[1.0, 0.0, 3.0], [0.0, 1.0, 0.0]]
    found = convert_to_numpy(augment.warp(images, matrix, "mirror"))
    expected = np.concatenate([images[:, :, 3:], images[:, :, :2:-1]], axis=2)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_rotate_zoom_draws_for_each_image_and_leaves_no_hole():
    images = np.full((8, 16, 16, 3), 200.0, "float32")
    images[:, 4:12, 6:10] = 20.0
    seed = keras.random.SeedGenerator(0)
    found = convert_to_numpy(augment.rotate_zoom(images, seed))
    assert found.min() >= 19.9 and found.max() <= 200.1
    assert len(np.unique(found.reshape(8, -1), axis=0)) == 8
    still = augment.rotate_zoom(images, seed, degrees=0, zoom=0)
    np.testing.assert_allclose(convert_to_numpy(still), images, atol=1e-4)
    with pytest.raises(ValueError, match="zoom=1"):
        augment.rotate_zoom(images, seed, zoom=1)


def test_rotation_stays_within_its_angle():
    """A bright pixel far from the centre moves along an arc."""
    images = np.zeros((64, 65, 65, 1), "float32")
    images[:, 31:34, 61:64] = 255.0
    seed = keras.random.SeedGenerator(1)
    turned = augment.rotate_zoom(images, seed, degrees=20, zoom=0)
    turned = convert_to_numpy(turned)[..., 0]
    rows, columns = np.mgrid[:65, :65] - 32.0
    mass = turned.sum((1, 2))
    angle = np.degrees(
        np.arctan2(
            (turned * rows).sum((1, 2)) / mass,
            (turned * columns).sum((1, 2)) / mass,
        )
    )
    assert np.abs(angle).max() <= 20.5
    assert angle.min() < -12 and angle.max() > 12
