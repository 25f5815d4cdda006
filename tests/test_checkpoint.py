"""Checkpoints: whole or absent, two kept, damage found."""

import contextlib
import errno
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from vitsd_helpers.evidence import files
from vitsd_helpers.training.checkpoint import Checkpoints


def state(epoch: int) -> dict[str, np.ndarray]:
    return {"a": np.full((2, 3), epoch, "float32"), "b": np.arange(epoch)}


@pytest.fixture
def checkpoints(tmp_path) -> Checkpoints:
    """A run with three epochs saved."""
    found = Checkpoints(tmp_path, "run")
    for epoch in (1, 2, 3):
        found.save(epoch, state(epoch), {"loss": [0.1] * epoch})
    return found


def test_newest_comes_back(checkpoints):
    epoch, arrays, meta = checkpoints.load()
    assert epoch == 3
    assert meta == {"loss": [0.1] * 3}
    assert arrays.keys() == {"a", "b"}
    for name, value in state(3).items():
        np.testing.assert_array_equal(arrays[name], value)
        assert arrays[name].dtype == value.dtype


def test_two_are_kept(checkpoints):
    names = sorted(p.name for p in checkpoints.folder.iterdir())
    assert names == ["epoch-000002.ckpt", "epoch-000003.ckpt", "key.json"]


def test_nothing_yet(tmp_path):
    assert Checkpoints(tmp_path, "new").load() is None


def test_runs_are_kept_apart(checkpoints, tmp_path):
    assert Checkpoints(tmp_path, "other").load() is None
    assert Checkpoints(tmp_path, "run").load()[0] == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    ],
    ids=["torn", "empty", "one bit"],
)
def test_damage_is_found_and_the_one_before_used(checkpoints, damage):
    path = checkpoints.folder / "epoch-000003.ckpt"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match="epoch-000003.*damaged"):
        epoch, arrays, _ = checkpoints.load()
    assert epoch == 2
    np.testing.assert_array_equal(arrays["a"], state(2)["a"])


def test_full_disk_leaves_earlier_ones(checkpoints, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"epoch 4.*No space.*intact") as caught:
        checkpoints.save(4, state(4), {})
    assert caught.value.errno == errno.ENOSPC
    assert checkpoints.load()[0] == 3
    assert len(list(checkpoints.folder.glob("epoch*"))) == 2


def test_killed_while_writing(checkpoints):
    (checkpoints.folder / "epoch-000004.ckpt.1.part").write_bytes(b"half")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is no damaged checkpoint
        assert checkpoints.load()[0] == 3
        checkpoints.save(4, state(4), {})
        assert checkpoints.load()[0] == 4
    names = sorted(p.name for p in checkpoints.folder.glob("*.ckpt"))
    assert names == ["epoch-000003.ckpt", "epoch-000004.ckpt"]


def test_a_run_begun_anew_keeps_its_checkpoints(checkpoints):
    """Though later ones are there, and damaged."""
    for path in checkpoints.folder.glob("epoch*"):
        path.write_bytes(b"damaged")
    for epoch in (0, 1):
        checkpoints.save(epoch, state(epoch), {})
        with pytest.warns(UserWarning, match="damaged"):
            assert checkpoints.load()[0] == epoch


def test_two_processes_write_one_file_whole(tmp_path):
    code = (
        "import sys; from vitsd_helpers.evidence.files import write_whole\n"
        "for _ in range(300): write_whole(sys.argv[1], sys.argv[2] * 9999)"
    )
    path = tmp_path / "file"
    writers = [
        subprocess.Popen([sys.executable, "-c", code, path, letter])
        for letter in "ab"
    ]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert path.read_text("utf-8") in ("a" * 9999, "b" * 9999)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("refusals", "whole"), [(2, "new"), (3, "old")])
def test_a_file_that_another_holds_open_is_tried_again(
    tmp_path, monkeypatch, refusals, whole
):
    """As on Windows, where renaming onto it is refused."""
    path, rename, times = tmp_path / "file", Path.replace, []

    def replace(self, target):
        times.append(target)
        if len(times) <= refusals:
            raise PermissionError(errno.EACCES, "Access is denied")
        return rename(self, target)

    files.write_whole(path, "old")
    monkeypatch.setattr(files, "PAUSES", (0, 0))
    monkeypatch.setattr(Path, "replace", replace)
    with (
        contextlib.nullcontext()
        if whole == "new"
        else pytest.raises(PermissionError)
    ):
        files.write_whole(path, "new")
    assert path.read_text("utf-8") == whole
    assert list(tmp_path.iterdir()) == [path] and len(times) == 3


def test_unwritable_folder(tmp_path):
    file = tmp_path / "file"
    file.write_text("in the way", "utf-8")
    with pytest.raises(OSError, match="file"):
        Checkpoints(file, "run")


def test_the_others_of_several_processes_write_nothing(tmp_path):
    others = Checkpoints(tmp_path, "run", {"seed": 1}, writes=False)
    others.save(1, {"a": np.zeros(2)}, {})
    assert not others.begun and not list(tmp_path.rglob("*"))


def test_another_key_is_refused_and_what_differs_is_said(tmp_path):
    key = {"seed": 1, "recipe": {"name": "a", "epochs": 2}, "sizes": [1, 2]}
    Checkpoints(tmp_path, "run", {"nothing": "saved yet"})
    Checkpoints(tmp_path, "run", key).save(1, state(1), {})
    assert Checkpoints(tmp_path, "run", key).load()[0] == 1
    other = {"seed": 1, "recipe": {"name": "a", "epochs": 3}, "sizes": [1, 3]}
    with pytest.raises(ValueError, match="another name or another") as caught:
        Checkpoints(tmp_path, "run", other)
    text = str(caught.value)
    assert "recipe.epochs: 2 there, 3 here" in text
    assert "sizes[1]: 2 there, 3 here" in text
    assert "seed" not in text and "name: " not in text
    assert Checkpoints(tmp_path, "run", key).load()[0] == 1
