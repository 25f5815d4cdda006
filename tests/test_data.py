import hashlib
import os
import pickle
import tarfile
from collections.abc import Callable
from dataclasses import astuple, replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import reference
from PIL import Image

from vitsd_helpers import ImageData, load_data
from vitsd_helpers.data import load_photo
from vitsd_helpers.readers import cifar100
from vitsd_helpers.readers.pictures import read_picture
from vitsd_helpers.training.splits import hold_out, subset

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def example(count: int = 12, classes: int = 3) -> ImageData:
    """Images that say which they are, in balanced classes."""
    x = np.arange(count, dtype="uint8")[:, None, None, None]
    x = np.broadcast_to(x, (count, 2, 2, 3))
    y = np.arange(count) % classes
    return ImageData(x, y, x[:2], y[:2], tuple("abcdef"[:classes]))


def same(one: ImageData, other: ImageData) -> bool:
    pairs = zip(astuple(one), astuple(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


# ImageData and hold_out


def test_statistics_are_those_of_the_training_images() -> None:
    x = reference.pixels(20, 4, 4, 3, dtype="uint8")
    images = replace(example(20), x_train=x)
    mean, std = images.statistics
    np.testing.assert_allclose(mean, x.mean((0, 1, 2)))
    np.testing.assert_allclose(std, x.std((0, 1, 2)))
    assert all(type(value) is float for value in mean + std)


def test_md5_covers_every_image_and_label() -> None:
    start = example()
    assert start.md5 == example().md5
    assert start.md5 == replace(start, y_test=start.y_test.astype("int8")).md5
    changed = [
        replace(start, **{name: getattr(start, name)[::-1]}).md5
        for name in ("x_train", "y_train", "x_test", "y_test")
    ]
    assert len({start.md5, *changed}) == 5


def test_hold_out_parts_the_training_images() -> None:
    start = example(count=30)
    parts = hold_out(start, 6)
    train, held = parts.x_train[:, 0, 0, 0], parts.x_val[:, 0, 0, 0]
    assert sorted([*train, *held]) == list(range(30))
    np.testing.assert_array_equal(parts.y_train, train % 3)
    np.testing.assert_array_equal(parts.y_val, held % 3)
    np.testing.assert_array_equal(np.bincount(parts.y_val), [2, 2, 2])
    assert parts.class_names == start.class_names
    assert not len(parts.x_test) and parts.tested == "val"
    assert len({start.md5, parts.md5}) == 2
    # Records name held-out images so since before they had a place.
    old = replace(parts, x_test=held_images(parts), y_test=parts.y_val)
    assert replace(old, x_val=None, y_val=None).md5 == parts.md5


def held_images(parts: ImageData) -> np.ndarray:
    return parts.split("val")[0]


def test_hold_out_goes_by_its_seed() -> None:
    start = example(count=30)
    assert same(hold_out(start, 6, seed=1), hold_out(start, 6, seed=1))
    assert not same(hold_out(start, 6, seed=1), hold_out(start, 6, seed=2))


@pytest.mark.parametrize("count", [-1, 2, 10, 12])
def test_hold_out_names_a_count_that_empties_a_class(count: int) -> None:
    with pytest.raises(ValueError, match=f"count={count} of 12 .* 3 classes"):
        hold_out(example(), count)


def test_hold_out_leaves_no_class_out() -> None:
    x = np.zeros((102, 2, 2, 3), "uint8")
    y = np.array([0] * 100 + [1] * 2)
    uneven = ImageData(x, y, x[:0], y[:0], ("many", "few"))
    with pytest.raises(ValueError, match=r"count=20 .* 2 classes.* has 2\."):
        hold_out(uneven, 20)


def test_hold_out_names_a_class_of_one_image() -> None:
    x = np.zeros((11, 2, 2, 3), "uint8")
    y = np.array([0] * 10 + [1])
    alone = ImageData(x, y, x[:0], y[:0], ("a", "b"))
    with pytest.raises(ValueError, match=r"smallest class has 1\. Add images"):
        hold_out(alone, 5)


# digits and photographs


def test_digits() -> None:
    digits = load_data("digits")
    assert digits.x_train.shape == (1438, 32, 32, 3)
    assert digits.x_test.shape == (359, 32, 32, 3)
    assert digits.x_train.dtype == digits.x_test.dtype == "uint8"
    assert (digits.x_train.min(), digits.x_train.max()) == (0, 255)
    assert digits.class_names == tuple("0123456789")
    every = np.concatenate([digits.x_train, digits.x_test])
    assert (every == every[..., :1]).all()


def test_digits_are_split_class_by_class() -> None:
    digits = load_data("digits")
    train, test = np.bincount(digits.y_train), np.bincount(digits.y_test)
    assert (train + test).sum() == 1797
    assert np.abs(test - 0.2 * (train + test)).max() < 1


def test_digits_are_always_the_same() -> None:
    assert same(load_data("digits"), load_data("digits"))


def test_unknown_data_set_is_named() -> None:
    with pytest.raises(ValueError, match="'mnist': choose 'digits'"):
        load_data("mnist")


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
def test_photographs(name: str) -> None:
    photo = load_photo(name, 24)
    assert (photo.shape, photo.dtype) == ((24, 24, 3), "uint8")
    assert photo.std() > 20


def test_unknown_photograph_is_named() -> None:
    with pytest.raises(ValueError, match=r"'cat.jpg': choose 'china.jpg'"):
        load_photo("cat.jpg")


# CIFAR-100


def cifar_part(images: np.ndarray) -> bytes:
    """A pickle like the official ones: red, green and blue planes."""
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), 3072)
    labels = [i % 2 for i in range(len(images))]
    return pickle.dumps({b"data": planes, b"fine_labels": labels})


TRAIN = reference.pixels(6, 32, 32, 3, dtype="uint8", seed=1)
TEST = reference.pixels(4, 32, 32, 3, dtype="uint8", seed=2)


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Small files that are taken for the official ones."""
    files = {
        "train": cifar_part(TRAIN),
        "test": cifar_part(TEST),
        "meta": pickle.dumps({b"fine_label_names": [b"apple", b"baby"]}),
    }
    known = {name: (len(c), md5(c)) for name, c in files.items()}
    monkeypatch.setattr(cifar100, "CIFAR100_FILES", known)
    monkeypatch.delenv(cifar100.DATA_DIR_VARIABLE, raising=False)
    return files


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def check_cifar(images: ImageData) -> None:
    np.testing.assert_array_equal(images.x_train, TRAIN, strict=True)
    np.testing.assert_array_equal(images.x_test, TEST, strict=True)
    np.testing.assert_array_equal(images.y_train, [0, 1] * 3)
    np.testing.assert_array_equal(images.y_test, [0, 1] * 2)
    assert images.y_train.dtype == "int64"
    assert images.class_names == ("apple", "baby")


@pytest.mark.parametrize("inner", ["", cifar100.CIFAR100_FOLDER])
@pytest.mark.parametrize("by_variable", [False, True])
def test_cifar_is_found(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    official: dict[str, bytes],
    inner: str,
    by_variable: bool,
) -> None:
    folder = tmp_path / "cifar"
    write(folder / inner, official)
    if by_variable:
        monkeypatch.setenv(cifar100.DATA_DIR_VARIABLE, str(folder))
    check_cifar(load_data("cifar100", None if by_variable else folder))


def test_cifar_data_dir_wins_over_the_variable(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    official: dict[str, bytes],
) -> None:
    good = write(tmp_path / "good", official)
    empty = write(tmp_path / "empty", {})
    monkeypatch.setenv(cifar100.DATA_DIR_VARIABLE, str(empty))
    check_cifar(load_data("cifar100", good))
    monkeypatch.setenv(cifar100.DATA_DIR_VARIABLE, str(good))
    with pytest.raises(FileNotFoundError, match="data_dir must hold"):
        load_data("cifar100", empty)


@pytest.fixture
def archive(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    official: dict[str, bytes],
) -> Path:
    """The files as an archive to download, with a cache of its own."""
    write(tmp_path / cifar100.CIFAR100_FOLDER, official)
    path = tmp_path / "origin.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(tmp_path / cifar100.CIFAR100_FOLDER, cifar100.CIFAR100_FOLDER)
    monkeypatch.setattr(cifar100, "CIFAR100_URL", path.as_uri())
    monkeypatch.setattr(
        cifar100, "CIFAR100_ARCHIVE_MD5", md5(path.read_bytes())
    )
    cache = tmp_path / "cache"
    cache.mkdir()  # Keras turns to another folder if there is none.
    get_file = partial(keras.utils.get_file, cache_dir=cache)
    monkeypatch.setattr(keras.utils, "get_file", get_file)
    return path


def test_cifar_is_downloaded_once(tmp_path: Path, archive: Path) -> None:
    check_cifar(load_data("cifar100"))
    assert [p.name for p in (tmp_path / "cache").rglob("*.gz")] == [
        "cifar-100-python.tar.gz"
    ]
    archive.unlink()
    check_cifar(load_data("cifar100"))


def test_cifar_download_is_checked(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-1])
    with pytest.raises(ValueError, match=cifar100.CIFAR100_ARCHIVE_MD5):
        load_data("cifar100")


def test_cifar_files_from_the_archive_are_checked(
    monkeypatch: pytest.MonkeyPatch, archive: Path
) -> None:
    known = cifar100.CIFAR100_FILES | {"test": (7, md5(b"another"))}
    monkeypatch.setattr(cifar100, "CIFAR100_FILES", known)
    with pytest.raises(ValueError, match="'test' is not the official one"):
        load_data("cifar100")


def flip_a_byte(content: bytes) -> bytes:
    middle = len(content) // 2
    flipped = bytes([content[middle] ^ 1])
    return content[:middle] + flipped + content[middle + 1 :]


@pytest.mark.parametrize("file", ["train", "test", "meta"])
@pytest.mark.parametrize("damage", [flip_a_byte, lambda content: content[:-9]])
def test_a_damaged_cifar_file_is_named(
    tmp_path: Path,
    official: dict[str, bytes],
    file: str,
    damage: Callable[[bytes], bytes],
) -> None:
    damaged = damage(official[file])
    folder = write(tmp_path / "cifar", official | {file: damaged})
    with pytest.raises(ValueError, match="is not the official one") as error:
        load_data("cifar100", folder)
    message = str(error.value)
    assert f"file {file!r}" in message
    for content in (official[file], damaged):
        assert f"{len(content):,} bytes with MD5 {md5(content)}" in message


def test_swapped_cifar_files_are_named(
    tmp_path: Path, official: dict[str, bytes]
) -> None:
    swapped = official | {"test": official["train"]}
    folder = write(tmp_path / "cifar", swapped)
    with pytest.raises(ValueError, match="'test' is not the official one"):
        load_data("cifar100", folder)


class Touch:
    """A pickle that creates a file when it is loaded."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("file", ["train", "test", "meta"])
def test_a_hostile_cifar_file_is_never_unpickled(
    tmp_path: Path, official: dict[str, bytes], file: str
) -> None:
    hostile = pickle.dumps(Touch(tmp_path / "trap"))
    folder = write(tmp_path / "cifar", official | {file: hostile})
    with pytest.raises(ValueError, match=f"{file!r} is not .*not opened"):
        load_data("cifar100", folder)
    assert not (tmp_path / "trap").exists()
    pickle.loads(hostile)
    assert (tmp_path / "trap").exists(), "the trap does not work"


@pytest.mark.parametrize("file", ["train", "test", "meta"])
@pytest.mark.parametrize(
    ("by_variable", "origin"),
    [(False, "data_dir"), (True, r"\$VITSD_DATA_DIR")],
)
def test_a_missing_cifar_file_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    official: dict[str, bytes],
    file: str,
    by_variable: bool,
    origin: str,
) -> None:
    size = len(official.pop(file))
    folder = write(tmp_path / "cifar", official)
    if by_variable:
        monkeypatch.setenv(cifar100.DATA_DIR_VARIABLE, str(folder))
    message = rf"cifar.{file} does not exist: {origin} .* \({size:,} bytes\)"
    with pytest.raises(FileNotFoundError, match=message):
        load_data("cifar100", None if by_variable else folder)


def test_the_official_cifar() -> None:
    if not os.environ.get(cifar100.DATA_DIR_VARIABLE):
        pytest.skip(
            f"{cifar100.DATA_DIR_VARIABLE} names no folder of CIFAR-100"
        )
    images = load_data("cifar100")
    assert images.x_train.shape == (50_000, 32, 32, 3)
    assert images.x_test.shape == (10_000, 32, 32, 3)
    assert set(np.bincount(images.y_train, minlength=100)) == {500}
    assert set(np.bincount(images.y_test, minlength=100)) == {100}
    assert len(set(images.class_names)) == 100
    assert images.class_names[0] == "apple"
    mean, std = images.statistics
    np.testing.assert_allclose(mean, (129.30, 124.07, 112.43), atol=0.01)
    np.testing.assert_allclose(std, (68.17, 65.39, 70.42), atol=0.01)


# A folder of pictures


def plain(size: tuple[int, int], mode: str, colour) -> Image.Image:
    return Image.new(mode, size, colour)


def save(root: Path, name: str, picture: Image.Image, **kwargs) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **kwargs)


def fill(root: Path, counts: dict[str, int]) -> Path:
    """Classes of pictures that say which they are."""
    for name, count in counts.items():
        for index in range(count):
            picture = plain((8, 8), "L", 10 * index)
            save(root, f"{name}/{index}.png", picture)
    return root


def one_class(images: ImageData, label: int) -> np.ndarray:
    """All pictures of one class, from both sides of the split."""
    train = images.x_train[images.y_train == label]
    return np.concatenate([train, images.x_test[images.y_test == label]])


@pytest.mark.parametrize(
    "suffix", ["png", "jpg", "JPEG", "gif", "bmp", "webp"]
)
@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGB", (200, 100, 50), (200, 100, 50)),
        ("L", 90, (90, 90, 90)),
        ("RGBA", (200, 100, 50, 255), (200, 100, 50)),
        ("P", 0, (200, 100, 50)),
    ],
)
def test_folder_reads_every_format(
    tmp_path: Path, suffix: str, mode: str, colour, expected: tuple
) -> None:
    fill(tmp_path, {"a": 2})
    for index, size in enumerate([(40, 30), (7, 90)]):
        picture = plain(size, mode, colour)
        if mode == "P":
            picture.putpalette([200, 100, 50])
        if suffix in ("jpg", "JPEG"):
            picture = picture.convert("RGB")
        save(tmp_path, f"b/{index}.{suffix}", picture)
    images = load_data("folder", tmp_path, image_size=16)
    pictures = one_class(images, 1)
    assert (pictures.shape, pictures.dtype) == ((2, 16, 16, 3), "uint8")
    np.testing.assert_allclose(
        pictures.astype(int),
        np.broadcast_to(expected, pictures.shape),
        atol=6,
    )


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(tmp_path: Path, mode: str) -> None:
    """Not whatever colour lies below: here black, as the disc is."""
    pixels = np.zeros((8, 8, 4), "uint8")
    pixels[2:6, 2:6, 3] = 255
    path = tmp_path / "disc.png"
    Image.fromarray(pixels).convert(mode).save(path)
    found = read_picture(path, 8)
    expected = np.where(pixels[..., 3:] > 0, 0, 255)
    np.testing.assert_array_equal(found, np.repeat(expected, 3, axis=-1))


def test_folder_scales_16_bit_pictures(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 2})
    deep = np.full((8, 8), 100 * 256 + 7, "uint16")
    for index in range(2):
        save(tmp_path, f"b/{index}.png", Image.fromarray(deep))
    assert (one_class(load_data("folder", tmp_path), 1) == 100).all()


def test_folder_crops_the_middle_square(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 2})
    for index, size in enumerate([(30, 10), (10, 30)]):
        picture = plain(size, "RGB", RED)
        left, top = (n // 2 - 5 for n in size)
        picture.paste(GREEN, (left, top, left + 10, top + 10))
        save(tmp_path, f"b/{index}.png", picture)
    images = one_class(load_data("folder", tmp_path, image_size=10), 1)
    assert (images == GREEN).all()


@pytest.mark.parametrize(
    ("orientation", "red"),
    [
        (1, np.s_[:, :4]),
        (3, np.s_[:, 4:]),
        (6, np.s_[:4]),
        (8, np.s_[4:]),
    ],
)
def test_folder_turns_pictures_upright(
    tmp_path: Path, orientation: int, red: tuple
) -> None:
    fill(tmp_path, {"a": 2})
    picture = plain((8, 8), "RGB", BLUE)
    picture.paste(RED, (0, 0, 4, 8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    for index in range(2):
        save(tmp_path, f"b/{index}.png", picture, exif=exif)
    expected = np.full((8, 8, 3), BLUE)
    expected[red] = RED
    for image in one_class(load_data("folder", tmp_path, image_size=8), 1):
        np.testing.assert_array_equal(image, expected)


def test_folder_names_classes_by_their_sub_folders(tmp_path: Path) -> None:
    fill(tmp_path, {"tulip": 2, "daisy": 3, ".hidden": 5})
    (tmp_path / "notes.txt").write_text("not a class", "utf-8")
    (tmp_path / "daisy" / "notes.txt").write_text("not a picture", "utf-8")
    images = load_data("folder", tmp_path)
    assert images.class_names == ("daisy", "tulip")
    assert [len(one_class(images, label)) for label in (0, 1)] == [3, 2]
    assert images.y_train.dtype == images.y_test.dtype == "int64"


@pytest.mark.parametrize(
    ("fraction", "tests"),
    [(0.3, [6, 3, 1]), (0.1, [2, 1, 1]), (0.9, [18, 9, 1])],
)
def test_folder_is_split_class_by_class(
    tmp_path: Path, fraction: float, tests: list[int]
) -> None:
    counts = [20, 10, 2]
    fill(tmp_path, dict(zip("abc", counts, strict=True)))
    images = load_data("folder", tmp_path, test_fraction=fraction)
    np.testing.assert_array_equal(np.bincount(images.y_test), tests)
    for label, count in enumerate(counts):
        grey = one_class(images, label)[:, 0, 0, 0]
        np.testing.assert_array_equal(np.sort(grey), 10 * np.arange(count))


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 20])
def test_folder_refuses_a_bad_fraction(tmp_path: Path, fraction) -> None:
    fill(tmp_path, {"a": 2, "b": 2})
    with pytest.raises(ValueError, match=f"test_fraction={fraction} is"):
        load_data("folder", tmp_path, test_fraction=fraction)


def test_folder_is_split_by_seed(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 20, "b": 10})
    first = load_data("folder", tmp_path, seed=1)
    assert same(first, load_data("folder", tmp_path, seed=1))
    assert not same(first, load_data("folder", tmp_path, seed=2))


def test_a_damaged_picture_is_an_os_error(tmp_path: Path, monkeypatch) -> None:
    """Also where Pillow raises something else."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), "uint8")
    path = tmp_path / "noise.png"
    Image.fromarray(pixels).save(path)
    with monkeypatch.context() as patched:
        patched.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        with pytest.raises(OSError, match=r"noise\.png.*decompression bomb"):
            read_picture(path, 8)
    damaged = bytearray(path.read_bytes())
    length = damaged.index(b"IDAT") - 4
    damaged[length : length + 4] = (100).to_bytes(4, "big")
    path.write_bytes(damaged)
    with pytest.raises(OSError, match=r"noise\.png: broken PNG"):
        read_picture(path, 8)


def test_images_without_pixels_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 2, "b": 2})
    for size in (0, -1):
        with pytest.raises(ValueError, match=f"image_size={size}: .* pixel"):
            load_data("folder", tmp_path, image_size=size)


def test_folder_names_every_broken_picture(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 3, "b": 3})
    whole = (tmp_path / "a" / "2.png").read_bytes()
    huge = b"BM" + bytes(12) + b"(\0\0\0" + b"\xff\xff\0\0" * 2 + b"\1\0\1\0"
    broken = {
        "a/text.png": b"not a picture",
        "a/empty.jpg": b"",
        "a/half.png": whole[: len(whole) // 2],
        "b/huge.bmp": huge + bytes(40),
    }
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"^4 pictures cannot") as error:
        load_data("folder", tmp_path)
    for name in broken:
        assert str(tmp_path / name) in str(error.value)


@pytest.mark.parametrize("count", [0, 1])
def test_folder_names_a_class_with_too_few_pictures(
    tmp_path: Path, count: int
) -> None:
    fill(tmp_path, {"a": 3, "b": count})
    (tmp_path / "b").mkdir(exist_ok=True)
    with pytest.raises(ValueError, match=f"b holds {count} pictures"):
        load_data("folder", tmp_path)


def test_folder_names_a_folder_with_one_class(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 3})
    with pytest.raises(ValueError, match="holds 1 sub-folders"):
        load_data("folder", tmp_path)


def same_pictures(images: np.ndarray, values: list[int]) -> bool:
    return [int(image[0, 0, 0]) for image in images] == values


@pytest.mark.parametrize("val", [False, True])
def test_folder_that_is_split_already(tmp_path: Path, val: bool) -> None:
    fill(tmp_path / "train", {"a": 3, "b": 2})
    fill(tmp_path / "test", {"a": 1, "b": 2})
    if val:
        fill(tmp_path / "val", {"a": 2, "b": 1})
    images = load_data("folder", tmp_path, test_fraction=0.9, seed=3)
    assert images.class_names == ("a", "b")
    assert same_pictures(images.x_train, [0, 10, 20, 0, 10])
    assert images.y_train.tolist() == [0, 0, 0, 1, 1]
    assert same_pictures(images.x_test, [0, 0, 10])
    assert images.y_test.tolist() == [0, 1, 1]
    assert (images.x_val is None) != val
    if val:
        assert same_pictures(images.x_val, [0, 10, 0])
        assert images.y_val.tolist() == [0, 0, 1]
    assert images.tested == "test"


def test_folder_whose_parts_differ(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"a": 3, "b": 2})
    fill(tmp_path / "test", {"a": 1})
    with pytest.raises(ValueError, match="'b' in only one of its parts"):
        load_data("folder", tmp_path)


def test_folder_with_classes_named_train_and_test(tmp_path: Path) -> None:
    fill(tmp_path, {"train": 5, "test": 5})
    assert load_data("folder", tmp_path).class_names == ("test", "train")


def test_folder_names_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        load_data("folder", tmp_path / "nowhere")


def test_folder_asks_for_data_dir() -> None:
    with pytest.raises(ValueError, match="needs data_dir"):
        load_data("folder")


def test_subset_keeps_the_proportions_and_the_test():
    digits = load_data("digits")
    some = subset(digits, 200, seed=3)
    assert len(some.x_train) == len(some.y_train) == 200
    counts = np.bincount(some.y_train)
    assert counts.min() >= 18 and counts.max() <= 22
    assert some.x_test is digits.x_test
    again, other = subset(digits, 200, seed=3), subset(digits, 200, seed=4)
    np.testing.assert_array_equal(some.x_train, again.x_train)
    assert not np.array_equal(some.x_train, other.x_train)


def test_subset_of_all_is_all():
    digits = load_data("digits")
    assert subset(digits, len(digits.x_train)) is digits
    with pytest.raises(ValueError, match=r"count=9999"):
        subset(digits, 9999)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"x_train": np.zeros((12, 4, 4, 3))}, "x_train holds float64"),
        ({"y_train": np.arange(12) % 3 + 1}, "y_train holds the label 3"),
        ({"y_train": np.zeros(11, int)}, "12 whole numbers"),
        ({"y_test": np.zeros(12)}, "y_test holds float64"),
        ({"x_train": np.zeros((12, 4, 4), "uint8")}, r"\(N, height, width"),
    ],
)
def test_images_and_labels_are_what_they_must_be(changes, said) -> None:
    size = len(example().x_test)
    if "y_test" in changes:
        changes = {"y_test": changes["y_test"][:size]}
    with pytest.raises(ValueError, match=said):
        replace(example(), **changes)


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_pictures_are_in_colour_or_grey(tmp_path: Path, channels) -> None:
    fill(tmp_path / "pictures", {"a": 3, "b": 3})
    with pytest.raises(ValueError, match=f"channels={channels}: "):
        load_data("folder", tmp_path / "pictures", channels=channels)
