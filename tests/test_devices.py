"""One run on several devices gives what it gives on one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from test_train import data, fit, quiet, tiny  # noqa: F401

from vitsd_helpers.training import devices

HERE = Path(__file__).parent
on_jax = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="several devices need JAX"
)


def environment(devices: int) -> dict[str, str]:
    """Of a process with virtual devices."""
    paths = [str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    flag = f"--xla_force_host_platform_device_count={devices}"
    return os.environ | {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": flag,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }


def answer(script: str, devices: int, file: Path) -> dict:
    """What a script of this folder writes of so many virtual devices."""
    words = [sys.executable, HERE / script, file.parent]
    subprocess.run(words, check=True, env=environment(devices))
    return json.loads(file.read_text("utf-8"))


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict:
    """What runs on one, three and eight virtual devices gave."""
    folder = tmp_path_factory.mktemp("devices")
    return answer("many_devices.py", 8, folder / "found.json")


@on_jax
@pytest.mark.parametrize(
    "way", ["scan 3", "fit 3", "fit 8", "file 3", "file 8", "cut 2 x 4"]
)
def test_the_run_is_that_of_one_device(found, way):
    """Of "scan 3" the first epoch ran on eight devices."""
    one, other = found["one"], found[way]
    for name, values in one["epochs"].items():
        np.testing.assert_allclose(
            other["epochs"][name], values, rtol=1e-5, err_msg=name
        )
    assert other["predicted"] == one["predicted"]
    assert other["test"] == pytest.approx(one["test"], rel=1e-4)


@on_jax
def test_steps_are_those_of_one_device(found):
    losses = found["scan 8"]["losses"] + found["scan 3"]["losses"]
    np.testing.assert_allclose(losses, found["one"]["losses"], rtol=1e-4)
    assert len(losses) == 6


@on_jax
@pytest.mark.parametrize("way", ["scan 8", "fit 8", "file 8"])
def test_each_device_has_its_share_of_the_batch(found, way):
    """Of 64 images 8, and gradients are added up in one all-reduce."""
    step = found[way]["step"]
    assert step["images"][-1] == 8
    assert step["reduces"] == 1 and step["gathers"] == 0


@on_jax
@pytest.mark.parametrize("way", ["scan 3", "fit 3"])
def test_a_batch_that_does_not_divide_is_padded(found, way):
    """22 images on each of three devices."""
    step = found[way]["step"]
    assert 22 in step["images"] and step["images"][-1] < 64
    assert step["reduces"] >= 1


@on_jax
def test_a_cut_model_is_that_of_one_device(found):
    """In its logits and in each step; and it stays cut in training."""
    one, other = found["one"], found["cut 2 x 4"]
    np.testing.assert_allclose(other["logits"], one["logits"], atol=1e-5)
    np.testing.assert_allclose(other["losses"], one["losses"], rtol=1e-4)
    cut = {path for path, count in other["parts"].items() if count > 1}
    assert {other["parts"][path] for path in cut} == {4}
    inside = {path.removeprefix("block0_") for path in cut}
    assert inside == {
        "attention/qkv/kernel",
        "attention/output/kernel",
        "mlp1/kernel",
        "mlp1/bias",
        "mlp2/kernel",
    }
    assert other["devices"] == 8


@on_jax
def test_a_model_cut_over_processes_is_refused(data, monkeypatch):  # noqa: F811
    layouts = keras.distribution.LayoutMap(
        keras.distribution.DeviceMesh((1, 1), ("batch", "model"))
    )
    found = keras.distribution.ModelParallel(layout_map=layouts)
    monkeypatch.setattr(devices, "process_count", lambda: 2)
    with found.scope(), pytest.raises(ValueError, match="on 2 processes"):
        fit(tiny(), "sl", data, report=quiet)


@on_jax
def test_the_record_has_the_devices(found):
    assert len(found["devices"]) == 8
    assert found["one"]["devices"] == 1
    record = found["fit 8"]
    assert record["devices"] == 8
    assert record["device"] == found["one"]["device"]
    assert record["images_per_second_each"] == pytest.approx(
        record["images_per_second"] / 8, abs=0.1
    )
    assert found["scan 3"]["devices"] == 3


@on_jax
def test_more_devices_than_there_are_is_an_error(data):  # noqa: F811
    with pytest.raises(ValueError, match=r"devices=99, .*XLA_FLAGS"):
        fit(tiny(), "sl", data, devices=99, report=quiet)


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="JAX has several devices"
)
def test_another_backend_names_jax(data):  # noqa: F811
    with pytest.raises(RuntimeError, match="KERAS_BACKEND=jax"):
        fit(tiny(), "sl", data, devices=2, report=quiet)
