"""The runs that our models are held against: a peer's loop, a pretrained net.

Both need torch; the peer needs vit-pytorch too.
"""

import argparse
import importlib.util
import json
import os

import jsonschema
import keras
import numpy as np
import pretrained
import pytest

from vitsd_helpers.data import ImageData
from vitsd_helpers.evidence.records import results_folder

SCHEMA = json.loads(
    (results_folder().parent / "record.schema.json").read_text("utf-8")
)


def some_data(train: int, classes: int = 8) -> ImageData:
    rng = np.random.default_rng(0)

    def half(count):
        labels = np.arange(count) % classes
        noise = rng.integers(0, 60, (count, 32, 32, 3))
        return (noise + 40 * labels[:, None, None, None]).astype("uint8"), (
            labels.astype("int64")
        )

    return ImageData(*half(train), *half(500), tuple(map(str, range(classes))))


@pytest.fixture
def peer():
    # In one process with TensorFlow, torch can end it.
    if keras.backend.backend() != "torch":
        pytest.skip("the backend is not torch")
    # Importing the package needs torchvision, which the model does not.
    if importlib.util.find_spec("vit_pytorch") is None:
        needed = os.environ.get("VITSD_REQUIRE_PEER") == "1"
        (pytest.fail if needed else pytest.skip)("vit-pytorch is not there")
    import peer

    return peer


def asked(**changes) -> argparse.Namespace:
    given = {"passes": 2, "precision": "float32", "rate": 1e-3}
    given |= {"optimizer": "adamw", "seed": 0, "held_out": 0}
    return argparse.Namespace(**given | changes)


def test_peer_learns_and_leaves_a_record(peer, tmp_path):
    data = some_data(512)
    record = peer.train(peer.settings_of(asked()), data, tmp_path)
    jsonschema.validate(record, SCHEMA)
    assert record["steps"] == 8
    assert len(record["epochs"]["loss"]) == 2
    assert record["epochs"]["loss"][1] < record["epochs"]["loss"][0]
    assert record["test"]["top1"] <= record["test"]["top5"] <= 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_stopped_peer_goes_on_to_the_same_end(
    peer, tmp_path, monkeypatch, optimizer
):
    data = some_data(256)
    settings = peer.settings_of(asked(optimizer=optimizer))
    whole = peer.train(settings, data, tmp_path)
    train_pass, passes = peer.Peer.train_pass, []

    def interrupted(self):
        if len(passes) == 1:
            raise KeyboardInterrupt
        passes.append(self)
        return train_pass(self)

    with monkeypatch.context() as context:
        context.setattr(peer.Peer, "train_pass", interrupted)
        with pytest.raises(KeyboardInterrupt):
            peer.train(settings, data, tmp_path)
    again = peer.train(settings, data, tmp_path)
    assert again["epochs"] == whole["epochs"]
    assert again["test"] == whole["test"]


def test_muon_has_the_matrices_of_the_blocks_and_adamw_the_rest(peer):
    settings = peer.settings_of(asked(optimizer="muon"))
    assert settings["name"] == "vit-pytorch-2-muon"
    loop = peer.Peer(settings, some_data(128))
    names = {id(p): name for name, p in loop.model.named_parameters()}
    muons, adams = (
        {names[id(p)] for group in one.param_groups for p in group["params"]}
        for one in loop.optimizers
    )
    assert muons | adams == set(names.values()) and not muons & adams
    # Queries, keys and values at once, the output, two of the MLP: a block.
    assert len(muons) == 4 * peer.OURS.model.depth
    assert all(name.startswith("transformer.") for name in muons)
    before = {n: p.clone() for n, p in loop.model.named_parameters()}
    loop.train_pass()
    moved = {
        n for n, p in loop.model.named_parameters() if not p.equal(before[n])
    }
    # The mask's diagonal and the like are buffers: all parameters learn.
    assert moved == set(names.values())


def test_peers_crops_are_windows_of_the_padded_image(peer):
    data = some_data(128)
    loop = peer.Peer(peer.settings_of(asked()), data)
    images = loop.images[:16]
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (4, 4), (4, 4)))
    for number, got in enumerate(loop.augmented(images).numpy()):
        windows = np.lib.stride_tricks.sliding_window_view(
            padded[number], (3, 32, 32)
        )[0]
        found = [
            (windows[..., ::step] == got).all((-3, -2, -1)).any()
            for step in (1, -1)
        ]
        assert any(found)


def test_classifier_gets_the_images_our_models_get(tmp_path, monkeypatch):
    data = some_data(400)
    monkeypatch.setattr(pretrained, "load_data", lambda name: data)
    known = {}
    for name in ("train", "test"):
        x = getattr(data, f"x_{name}")
        known[f"x_{name}"] = x.mean((1, 2)).astype("float16")
    path = tmp_path / "features.npz"
    np.savez(path, **known, seconds=9.0, md5=data.md5)
    record = pretrained.fit(path, 100, 1)
    jsonschema.validate(record, SCHEMA)
    assert record["train_images"] == 100
    assert record["data_md5"] == pretrained.subset(data, 100, 1).md5
    assert record["test"]["top1"] > 0.9
    assert record["seconds"] >= 9.0 * 100 / 900
    trials = record["recipe"]["trials"]
    assert [t["C"] for t in trials] == list(pretrained.STRENGTHS)
    everything = pretrained.fit(path, len(data.y_train), 0)  # none is drawn
    assert everything["data_md5"] == data.md5
    np.savez(path, **known, seconds=9.0, md5="other")
    with pytest.raises(SystemExit, match="of other images"):
        pretrained.fit(path, 100, 1)
