"""One contender of the benchmark, in a process of its own.

`bench.py` starts it and talks to it in lines of JSON, through what were
standard input and output; see `Session`. Every contender is trained and
asked as a reader's code would do it, ours by `vitsd_helpers.train`.
"""

import contextlib
import importlib.util
import json
import os
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import keras
import numpy as np
from keras import ops

from vitsd_helpers import ImageData, ViTConfig, build_vit
from vitsd_helpers.recipes import get_recipe
from vitsd_helpers.records import commit, device_name, versions

#: Epochs that are never reached: the parent ends a training.
ENDLESS = 1_000_000
#: Sides of the square matrices whose product is timed.
SIDE_ON_CPU, SIDE_ON_GPU = 2048, 8192
#: Names of kernels that do attention in one piece.
FUSED = re.compile(
    rb"[\w.:$]*(?:flash_|fmha|sdpa|scaled_dot_product)[\w.:$]*", re.IGNORECASE
)


class Session:
    """The contender's side of the talk with the parent.

    A contender works in turns of equally many steps. It calls `pause`
    after each, the first of which compiles and warms up. `pause` tells the
    parent the time, answers what it asks, and returns when the next turn is
    due. At the end it raises KeyboardInterrupt, which ends our training and
    Keras's.
    """

    def __init__(self, product_dtypes: list[str], commands, answers):
        self.product_dtypes = product_dtypes
        self.commands, self.answers = commands, answers
        self.start = time.perf_counter()
        self.turns = 0
        self.peak = None
        self.profile = None
        self.ended = False

    def pause(self, _line: str = "") -> None:
        seconds = time.perf_counter() - self.start
        if self.ended:
            return
        if self.profile:
            self._answer(fused_kernels=self.profile.fused_kernels())
            self.profile = None
        elif not self.turns:
            self._answer(
                compile_seconds=seconds,
                backend=keras.backend.backend(),
                device=device_name(),
                versions=versions(),
                commit=commit(),
            )
        else:
            # Later turns may hold what `product` needs.
            self.peak = self.peak or peak_bytes()
            self._answer(seconds=seconds, peak_bytes=self.peak)
        self.turns += 1
        while (command := self.commands.readline().strip()) == "product":
            self._answer(products=products(self.product_dtypes))
        if command == "profile":
            self.profile = Profile()
        elif command != "turn":
            self.ended = True
            raise KeyboardInterrupt
        self.start = time.perf_counter()

    def repeat(self, turn: Callable[[], object]) -> None:
        """Take turns until the end."""
        while True:
            turn()
            self.pause()

    def _answer(self, **values) -> None:
        print(json.dumps(values), file=self.answers, flush=True)


class Profile:
    """A running profile, for the names of the kernels that ran."""

    def __init__(self):
        if keras.backend.backend() == "torch":
            import torch

            self.torch = torch.profiler.profile()
            self.torch.start()
            return
        self.folder = tempfile.TemporaryDirectory()
        _tracer().start(self.folder.name)

    def fused_kernels(self) -> list[str]:
        """End the profile; the attention kernels that it has seen."""
        if keras.backend.backend() == "torch":
            self.torch.stop()
            seen = [e.key.encode() for e in self.torch.key_averages()]
        else:
            _tracer().stop()
            paths = Path(self.folder.name).rglob("*.xplane.pb")
            seen = [path.read_bytes() for path in paths]
            self.folder.cleanup()
        found = {name for text in seen for name in FUSED.findall(text)}
        return sorted(name.decode() for name in found)


def _tracer():
    """The profiler of TensorFlow or JAX, with `start` and `stop`."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.profiler.experimental
    import jax

    class Tracer:
        start = staticmethod(jax.profiler.start_trace)
        stop = staticmethod(jax.profiler.stop_trace)

    return Tracer


def on_cpu() -> bool:
    return "cpu" in str(keras.Variable(0.0).value.device).lower()


def products(dtypes: list[str]) -> dict[str, float]:
    """FLOP a second of the backend's product of two matrices, best of 5."""
    side = SIDE_ON_CPU if on_cpu() else SIDE_ON_GPU
    values = np.random.default_rng(0).random((side, side), "float32")
    found = {}
    for dtype in dtypes:
        matrix = ops.cast(ops.convert_to_tensor(values), dtype)
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            # Copying a number waits for it.
            float(ops.convert_to_numpy(ops.matmul(matrix, matrix)[0, 0]))
            seconds.append(time.perf_counter() - start)
        found[dtype] = 2 * side**3 / min(seconds)
    return found


def peak_bytes() -> int:
    """The most memory held so far: of the GPU, or else of the process."""
    if on_cpu():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        return torch.cuda.max_memory_allocated()
    if backend == "jax":
        import jax

        return jax.devices()[0].memory_stats()["peak_bytes_in_use"]
    import tensorflow as tf

    return tf.config.experimental.get_memory_info("GPU:0")["peak"]


def make_data(spec: dict, config: ViTConfig) -> ImageData:
    """Random images: their number matters to speed, what they show not."""
    random = np.random.default_rng(0)
    shape = (config.input_size, config.input_size, config.channels)
    arrays = []
    for count in (spec["images"], spec["batch"]):
        arrays.append(random.integers(0, 256, (count, *shape), "uint8"))
        arrays.append(random.integers(0, config.num_classes, count))
    return ImageData(*arrays, tuple(map(str, range(config.num_classes))))


def train_ours(spec, config, data, session) -> None:
    """By the engine, each epoch a turn."""
    from vitsd_helpers.train import train

    recipe = replace(
        get_recipe(spec["recipe"]),
        model=config,
        epochs=ENDLESS,
        batch_size=spec["batch"],
        epoch_images=spec["batch"] * spec["steps"],
        train_images=0,
        precision=spec["precision"],
        jit_compile=spec["xla"],
        **spec["changes"],
    )
    train(recipe, spec["model"], data, report=session.pause)


def ask_ours(spec, config, data, session) -> None:
    """By Keras's `predict`, from bytes to logits."""
    keras.config.set_dtype_policy(spec["precision"])
    model = build_vit(config)
    images = data.x_train[: spec["batch"] * spec["steps"]]
    session.repeat(
        lambda: model.predict(images, batch_size=spec["batch"], verbose=0)
    )


def example(spec, data) -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """The Keras example's model, and the images and labels of a turn."""
    from keras_example import make_classifier

    model = make_classifier(data.x_train, vanilla=spec["model"] == "vit")
    count = spec["batch"] * spec["steps"]
    return model, data.x_train[:count], data.y_train[:count]


def train_example(spec, config, data, session) -> None:
    """By Keras's `fit`, each epoch a turn."""
    model, images, labels = example(spec, data)
    model.fit(
        images,
        labels,
        batch_size=spec["batch"],
        epochs=ENDLESS,
        verbose=0,
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: session.pause()
            )
        ],
    )


def ask_example(spec, config, data, session) -> None:
    model, images, _ = example(spec, data)
    session.repeat(
        lambda: model.predict(images, batch_size=spec["batch"], verbose=0)
    )


class Peer:
    """vit-pytorch's `vit_for_small_dataset`, with a plain loop of PyTorch.

    The bytes lie on the device; the optimiser is the fused one; half
    precision is `torch.autocast`'s.
    """

    def __init__(self, spec, config: ViTConfig, data: ImageData):
        import torch

        self.torch, self.spec = torch, spec
        self.device = "cpu" if on_cpu() else "cuda"
        self.model = _peers_class()(
            image_size=config.image_size,
            patch_size=config.patch_size,
            num_classes=config.num_classes,
            dim=config.width,
            depth=config.depth,
            heads=config.num_heads,
            dim_head=config.key_dim,
            mlp_dim=round(config.mlp_ratio * config.width),
            pool="mean",
        ).to(self.device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=1e-3, weight_decay=0.05, fused=True
        )
        channels_first = np.ascontiguousarray(
            data.x_train.transpose(0, 3, 1, 2)
        )
        self.images = torch.tensor(channels_first, device=self.device)
        self.labels = torch.tensor(data.y_train, device=self.device)
        self.mean, self.std = (
            torch.tensor(values, device=self.device).reshape(3, 1, 1)
            for values in (config.mean, config.std)
        )

    def logits(self, indices):
        images = (self.images[indices].float() - self.mean) / self.std
        with self.torch.autocast(
            self.device,
            dtype=self.torch.bfloat16,
            enabled=self.spec["precision"] == "mixed_bfloat16",
        ):
            return self.model(images).float()

    def batches(self):
        """Indices of the batches of a turn."""
        order = self.torch.randperm(len(self.images), device=self.device)
        size = self.spec["batch"]
        return order[: size * self.spec["steps"]].split(size)

    def train_turn(self) -> float:
        total = 0.0
        for indices in self.batches():
            loss = self.torch.nn.functional.cross_entropy(
                self.logits(indices), self.labels[indices]
            )
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        return float(total)  # waits for the device

    def ask_turn(self):
        with self.torch.inference_mode():
            logits = [self.logits(indices) for indices in self.batches()]
            return self.torch.cat(logits).cpu().numpy()


def _peers_class():
    """The model's class, from its own file.

    The package itself imports torchvision, which this model does not need.
    """
    folder = importlib.util.find_spec("vit_pytorch").submodule_search_locations
    spec = importlib.util.spec_from_file_location(
        "vit_for_small_dataset", Path(folder[0]) / "vit_for_small_dataset.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ViT


def train_peer(spec, config, data, session) -> None:
    session.repeat(Peer(spec, config, data).train_turn)


def ask_peer(spec, config, data, session) -> None:
    peer = Peer(spec, config, data)
    peer.model.eval()
    session.repeat(peer.ask_turn)


CONTENDERS = {
    ("ours", "train"): train_ours,
    ("ours", "infer"): ask_ours,
    ("example", "train"): train_example,
    ("example", "infer"): ask_example,
    ("peer", "train"): train_peer,
    ("peer", "infer"): ask_peer,
}


def main() -> None:
    spec = json.loads(sys.argv[1])
    # What libraries print goes elsewhere.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    tuples = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in spec["config"].items()
    }
    config = ViTConfig(**tuples)
    session = Session(spec["product_dtypes"], sys.stdin, answers)
    with contextlib.suppress(KeyboardInterrupt):
        run = CONTENDERS[spec["code"], spec["mode"]]
        run(spec, config, make_data(spec, config), session)


if __name__ == "__main__":
    main()
