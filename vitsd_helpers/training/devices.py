"""One run on several devices, by Keras's own distribution: JAX only.

A step is one program for all devices. It is given the indices of the whole
batch; `split` cuts what follows from them into a part for each device, and
XLA adds up the gradients. Random numbers belong to the step and to the place
in the batch, so a run has the same losses on any number of devices.
Weights are copied, or cut as the layout map of a `ModelParallel` says.

XLA pads a batch that does not divide and masks what it adds; its devices
then exchange more than gradients, so a batch that divides is faster. Keras's
own `DataParallel` alone would refuse it, the last batch of a test too.
"""

import contextlib
import copy
from collections.abc import Iterable, Iterator

import keras
import numpy as np

from .processes import process_count


@contextlib.contextmanager
def spread(devices: int | None = None) -> Iterator[int]:
    """Spread what is built and trained within over several devices.

    Args:
        devices: the first so many of `keras.distribution.list_devices()`.
            None: as `keras.distribution.set_distribution` says, or one.

    Yields:
        The number of devices.

    Raises:
        RuntimeError: for several devices on another backend than JAX.
        ValueError: if there are not so many, or `set_distribution` says
            another number, or `ModelParallel` to several processes.
    """
    found = keras.distribution.distribution()
    if found is None and devices in (None, 1):
        yield 1
        return
    backend = keras.backend.backend()
    if backend != "jax":
        raise RuntimeError(
            f"the backend is {backend}: a run on several devices needs "
            "KERAS_BACKEND=jax. Keras has no distribution that works for "
            "it; leave out devices, and take back set_distribution."
        )
    if found is not None:
        cut = isinstance(found, keras.distribution.ModelParallel)
        if cut and process_count() > 1:
            raise ValueError(
                f"ModelParallel on {process_count()} processes: none has "
                "whole weights to write a checkpoint of. Take the devices of "
                "one process, or DataParallel."
            )
        count = found.device_mesh.devices.size
        if devices not in (None, count):
            raise ValueError(
                f"devices={devices}, and keras.distribution.set_distribution "
                f"says {count}: leave one of them out."
            )
    else:
        names = keras.distribution.list_devices()
        devices = devices or 0
        if not 0 < devices <= len(names):
            raise ValueError(
                f"devices={devices}, and JAX has {len(names)}: "
                f"{', '.join(names)}. To try on a CPU: "
                f"XLA_FLAGS=--xla_force_host_platform_device_count={devices} "
                "before JAX is imported."
            )
        found = keras.distribution.DataParallel(
            devices=names[:devices], auto_shard_dataset=False
        )
    # Each device is told all indices: `split` does what is left. Images of a
    # file come in parts.
    found = copy.copy(found)
    found.auto_shard_dataset = False
    mesh, rows = found.device_mesh, found.batch_dim_name
    found.get_data_layout = lambda shape: _layout(
        mesh, rows if len(shape) > 1 else None, len(shape)
    )
    with found.scope():
        yield int(mesh.devices.size)


def lay(variables: Iterable[keras.Variable]) -> None:
    """Give each device its copy of variables, or its part of them.

    Those that were built before `spread` lie on one device.
    """
    found = keras.distribution.distribution()
    if found is not None:
        for variable in variables:
            layout = found.get_variable_layout(variable)
            variable.assign(
                keras.distribution.distribute_tensor(variable.value, layout)
            )


def split(batch):
    """A batch (B, ...) cut along its rows, a part for each device."""
    found = keras.distribution.distribution()
    return batch if found is None else _put(batch, found.batch_dim_name)


def gather(batch):
    """A batch (B, ...) whole on every device."""
    found = keras.distribution.distribution()
    return batch if found is None else _put(batch, None)


def parts() -> int:
    """Into how many parts `split` cuts a batch."""
    found = keras.distribution.distribution()
    if found is None:
        return 1
    mesh = found.device_mesh
    return mesh.shape[mesh.axis_names.index(found.batch_dim_name)]


def own(indices: np.ndarray) -> np.ndarray:
    """Which of a batch (B,) the devices of this process have.

    Keras makes one array of what all processes then give. A batch that does
    not divide is filled up with its last index.
    """
    found = keras.distribution.distribution()
    if found is None:
        return indices
    missing = -len(indices) % parts()
    indices = np.pad(indices, (0, missing), mode="edge")
    layout = _layout(found.device_mesh, found.batch_dim_name, 1)
    places = layout.backend_layout.addressable_devices_indices_map(
        indices.shape
    )
    # Devices that share a part are given it once.
    starts = {rows.indices(len(indices))[:2] for (rows,) in places.values()}
    return np.concatenate([indices[slice(*s)] for s in sorted(starts)])


def _layout(mesh, rows, rank: int):
    return keras.distribution.TensorLayout([rows] + [None] * (rank - 1), mesh)


def _put(batch, rows):
    mesh = keras.distribution.distribution().device_mesh
    layout = _layout(mesh, rows, len(batch.shape))
    return keras.distribution.distribute_tensor(batch, layout)
