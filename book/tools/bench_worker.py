"""One contender of the benchmark, in a process of its own.

`bench.py` starts it with its specification, and they talk in lines, through
what were standard input and output; see `Session`. Every contender is
trained and asked as a reader's code would do it, ours by
`vitsd_helpers.training`.
"""

import contextlib
import importlib.util
import json
import math
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import bench_ways
import keras
import numpy as np
import tricks
from experiments import PRICED
from keras import ops

from vitsd_helpers import ImageData, ViTConfig, build_vit
from vitsd_helpers.evidence.records import commit, device_name, versions
from vitsd_helpers.training.recipes import get_recipe
from vitsd_helpers.training.weights import config_of

#: Epochs that are never reached: the parent ends a training.
ENDLESS = 1_000_000
#: Sides of the square matrices whose product is timed.
SIDE_ON_CPU, SIDE_ON_GPU = 2048, 8192
#: Numbers in the arrays that are added.
STREAM_ON_CPU, STREAM_ON_GPU = 2**25, 2**28
#: Names of kernels that do attention in one piece.
FUSED = re.compile(
    rb"[\w.:$]*(?:flash_|fmha|sdpa_|_efficient_attention|_cudnn_attention)"
    rb"[\w.:$]*",
    re.IGNORECASE,
)
#: Every profile of a model has a product of matrices.
PRODUCT = re.compile(rb"matmul|gemm|dot|mm", re.IGNORECASE)


class Session:
    """The contender's side of the talk with the parent.

    It says that it is ready, and begins when it is told to. A contender
    works in turns of equally many steps. It calls `pause` after each, the
    first of which compiles. `pause` tells the parent the time, answers what
    it asks, and returns when the next turn is due. At the end it raises
    KeyboardInterrupt, which ends our training and Keras's.
    """

    def __init__(self, spec: dict, commands, answers):
        self.spec, self.commands, self.answers = spec, commands, answers
        self.turns = 0
        self.parameters = 0
        self.peak: int | None = None
        self.profile: Profile | None = None
        self.ended = False
        self._answer(ready=True)
        self._wait()

    def pause(self, _line: str = "") -> None:
        """End a turn, and begin the next one when it is due."""
        seconds = time.perf_counter() - self.start
        if self.ended:
            return
        if self.profile:
            self._answer(attention_kernels=self.profile.attention_kernels())
            self.profile = None
        elif not self.turns:
            self._answer(
                compile_seconds=seconds,
                parameters=self.parameters,
                commit=commit(),
            )
        else:
            # Later turns may hold what `product` needs.
            self.peak = self.peak or peak_bytes()
            self._answer(seconds=seconds, peak_bytes=self.peak)
        self.turns += 1
        self._wait()

    def _wait(self) -> None:
        """Answer questions until the next turn is due."""
        while (command := self.commands.readline().strip()) == "product":
            self._answer(
                products=products(self.spec["dtypes"]), stream=stream()
            )
        if command == "profile":
            self.profile = Profile()
        elif command != "turn":
            self.ended = True
            raise KeyboardInterrupt
        self.start = time.perf_counter()

    def count(self, weights) -> None:
        """Note the size of the model, which its trained weights make."""
        self.parameters = sum(math.prod(w.shape) for w in weights)

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

    def attention_kernels(self) -> list[str] | None:
        """End the profile; the fused attention kernels that it has seen.

        None if it has seen nothing at all.
        """
        if keras.backend.backend() == "torch":
            self.torch.stop()
            seen = [e.key.encode() for e in self.torch.key_averages()]
        else:
            _tracer().stop()
            paths = Path(self.folder.name).rglob("*.xplane.pb")
            seen = [path.read_bytes() for path in paths]
            self.folder.cleanup()
        if not any(map(PRODUCT.search, seen)):
            return None
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
    """Whether Keras computes on the processor."""
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
            corner = ops.matmul(matrix, matrix)[0, 0]
            float(ops.convert_to_numpy(ops.cast(corner, "float32")))
            seconds.append(time.perf_counter() - start)
        found[dtype] = 2 * side**3 / min(seconds)
    return found


def stream() -> float:
    """Bytes a second of adding two large arrays, best of 5."""
    size = STREAM_ON_CPU if on_cpu() else STREAM_ON_GPU
    one, other = ops.ones(size, "float32"), ops.zeros(size, "float32")
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        float(ops.convert_to_numpy(ops.add(one, other)[0]))
        seconds.append(time.perf_counter() - start)
    return 3 * 4 * size / min(seconds)


def peak_bytes() -> int:
    """The most memory held so far: of the GPU, or else of the process."""
    status = Path("/proc/self/status")
    if on_cpu() and status.exists():
        # What getrusage says counts the parent before exec, too.
        (most,) = re.findall(r"VmHWM:\s+(\d+)", status.read_text("utf-8"))
        return 1024 * int(most)
    if on_cpu():
        if sys.platform == "win32":
            raise OSError("the benchmark needs Linux or macOS")
        import resource

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
    from vitsd_helpers.training.loop import train

    session.start = time.perf_counter()
    recipe = replace(
        get_recipe(spec["recipe"]),
        model=config,
        epochs=ENDLESS,
        batch_size=spec["batch"],
        samples_per_epoch=spec["batch"] * spec["steps"],
        train_images=0,
        precision=spec["precision"],
        jit_compile=spec["xla"],
        **spec["changes"],
    )
    way = spec["way"]
    scan = False if way == "fit" else None
    variant = way if way in PRICED else spec["model"]
    model = tricks.build(recipe, variant, data, 0)
    session.count(model.trainable_variables)
    train(model, data, recipe, scan=scan, report=session.pause)


def ask_ours(spec, config, data, session) -> None:
    """By Keras's `predict`, from bytes to logits."""
    keras.config.set_dtype_policy(spec["precision"])
    model = build_vit(config)
    session.count(model.trainable_variables)
    session.repeat(
        lambda: model.predict(
            data.x_train, batch_size=spec["batch"], verbose=0
        )
    )


def example(spec, data, session) -> keras.Model:
    """The Keras example's model, compiled."""
    from keras_example import make_classifier

    model = make_classifier(data.x_train, vanilla=spec["model"] == "vit")
    session.count(model.trainable_variables)
    return model


def train_example(spec, config, data, session) -> None:
    """By Keras's `fit`, each epoch a turn."""
    example(spec, data, session).fit(
        data.x_train,
        data.y_train,
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
    """The example's model, by Keras's `predict`."""
    model = example(spec, data, session)
    session.repeat(
        lambda: model.predict(
            data.x_train, batch_size=spec["batch"], verbose=0
        )
    )


class Peer:
    """vit-pytorch's `vit_for_small_dataset`, with a plain loop of PyTorch.

    The bytes lie on the device; AdamW is the fused one; half
    precision is `torch.autocast`'s.
    """

    def __init__(self, spec, config: ViTConfig, data: ImageData):
        import torch

        self.torch, self.spec = torch, spec
        self.device = "cpu" if on_cpu() else "cuda"
        self.model = peers_class()(
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
        optimizer = "muon" if spec["way"] == "muon" else "adamw"
        self.optimizers = peers_optimizers(self.model, optimizer, 1e-3, 0.05)
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
        """Of the images at these indices, from bytes."""
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
        return order.split(self.spec["batch"])

    def train_turn(self) -> float:
        """Train on a turn's batches; the mean loss."""
        total = 0.0
        for indices in self.batches():
            loss = self.torch.nn.functional.cross_entropy(
                self.logits(indices), self.labels[indices]
            )
            self.model.zero_grad()
            loss.backward()
            for optimizer in self.optimizers:
                optimizer.step()
            total += loss.detach()
        return float(total)  # waits for the device

    def ask_turn(self):
        """Logits of a turn's images, as NumPy."""
        with self.torch.inference_mode():
            logits = [self.logits(indices) for indices in self.batches()]
            return self.torch.cat(logits).cpu().numpy()


def peers_class():
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


def peers_optimizers(model, name: str, rate: float, decay: float) -> list:
    """The optimisers of a plain loop that trains the peer.

    Args:
        name: "adamw", or "muon": PyTorch's Muon for the matrices of the
            blocks, as in our recipes, and AdamW for the rest.
    """
    import torch

    settings = {"lr": rate, "weight_decay": decay}
    every = list(model.parameters())
    if name == "adamw":
        return [torch.optim.AdamW(every, fused=True, **settings)]
    blocks = [p for p in model.transformer.parameters() if p.ndim == 2]
    of_blocks = set(map(id, blocks))
    rest = [p for p in every if id(p) not in of_blocks]
    scaled = {"adjust_lr_fn": "match_rms_adamw"}  # to Adam's steps
    return [
        torch.optim.Muon(blocks, **scaled, **settings),
        torch.optim.AdamW(rest, fused=True, **settings),
    ]


def train_peer(spec, config, data, session) -> None:
    """The peer's own training loop, turn by turn."""
    peer = Peer(spec, config, data)
    session.count(peer.model.parameters())
    session.repeat(peer.train_turn)


def ask_peer(spec, config, data, session) -> None:
    """The peer from bytes to logits."""
    peer = Peer(spec, config, data)
    session.count(peer.model.parameters())
    peer.model.eval()
    session.repeat(peer.ask_turn)


def probe(packages: list[str]) -> dict:
    """Where this runs, and the versions of Keras's and these packages."""
    found = versions()
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return {"device": device_name(), "on_cpu": on_cpu(), "versions": found}


CONTENDERS = {
    ("ours", "train"): train_ours,
    ("ours", "infer"): ask_ours,
    ("example", "train"): train_example,
    ("example", "infer"): ask_example,
    ("peer", "train"): train_peer,
    ("peer", "infer"): ask_peer,
}


def main() -> None:
    """Run the command line."""
    spec = json.loads(sys.argv[1])
    # What libraries print goes elsewhere.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    if spec["code"] == "probe":
        print(json.dumps(probe(spec["packages"])), file=answers, flush=True)
        return
    config = config_of(spec["config"])
    bench_ways.apply(spec["way"])
    data = make_data(spec, config)
    with contextlib.suppress(KeyboardInterrupt):
        session = Session(spec, sys.stdin, answers)
        run = CONTENDERS[spec["code"], spec["mode"]]
        run(spec, config, data, session)


if __name__ == "__main__":
    main()
