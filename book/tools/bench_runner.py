"""Runs the benchmark's contenders: a process each, and turns."""

import contextlib
import dataclasses
import datetime
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import bench_record
from arithmetic import multiply_adds
from bench_contenders import Contender

TOOLS = Path(__file__).parent
ROOT = TOOLS.parents[1]
#: The peer's packages.
PEER = ("vit-pytorch", "einops")


class Failed(Exception):
    """A contender has ended where it should not; says what it said last."""


class Worker:
    """A contender's process, seen from here.

    Args:
        spec: what `bench_worker.py` is told.
        python: the interpreter that it runs under.
        backend: Keras's.
    """

    def __init__(self, spec: dict, python: str, backend: str):
        path = os.pathsep.join(
            filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
        )
        self.errors = tempfile.TemporaryFile(  # noqa: SIM115
            "w+", encoding="utf-8"
        )
        self.process = subprocess.Popen(
            [python, TOOLS / "bench_worker.py", json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=os.environ
            | {
                "KERAS_BACKEND": backend,
                "PYTHONPATH": path,
                # Neighbours share the GPU.
                "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
                "TF_FORCE_GPU_ALLOW_GROWTH": "true",
            },
        )
        # Pipes, as both were asked for.
        assert self.process.stdin and self.process.stdout
        self.commands, self.answers = self.process.stdin, self.process.stdout

    def answer(self) -> dict:
        """What the contender says next.

        Raises:
            Failed: if it has ended.
        """
        line = self.answers.readline()
        if line.endswith("\n"):
            return json.loads(line)
        code = self.process.wait()
        self.errors.seek(0)
        said = self.errors.read().strip().splitlines()
        raise Failed(said[-1] if said else f"it ended with {code}")

    def ask(self, command: str) -> dict:
        """Send a command; what the contender answers."""
        with contextlib.suppress(BrokenPipeError):
            self.commands.write(command + "\n")
            self.commands.flush()
        return self.answer()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait()
        for file in (self.answers, self.errors):
            file.close()
        with contextlib.suppress(BrokenPipeError):
            self.commands.close()


@dataclass(frozen=True)
class Place:
    """Where a backend runs."""

    backend: str
    python: str
    device: str
    on_cpu: bool
    #: Of Keras, of what it runs on, and of the peer where it is installed.
    versions: dict[str, str]

    @property
    def has_peer(self) -> bool:
        """Whether vit-pytorch is installed."""
        return set(PEER) <= set(self.versions)


def probe(backend: str, python: str) -> Place:
    """What a backend is like under an interpreter.

    Raises:
        Failed: if it is not installed, or does not start.
    """
    with Worker({"code": "probe", "packages": PEER}, python, backend) as w:
        found = w.answer()
    return Place(backend, python, **found)


def lacking(what: str, remedy: str, section: str | None = None) -> dict:
    """What was not measured, in a section or at all."""
    return {"what": what, "remedy": remedy, "section": section}


def find_places(
    pythons: dict[str, str],
) -> tuple[dict[str, Place], list[dict]]:
    """The backends that there are, and what is missing, with the remedy.

    Where one computes on a GPU, none is measured on the CPU.
    """

    def look(backend: str) -> Place | dict:
        try:
            return probe(backend, pythons[backend])
        except Failed as error:
            print(f"{backend}: {error}", file=sys.stderr)
            return lacking(backend, f"pip install {backend}")

    with ThreadPoolExecutor(len(pythons)) as pool:
        found = list(pool.map(look, pythons))
    places = {p.backend: p for p in found if isinstance(p, Place)}
    missing = [m for m in found if not isinstance(m, Place)]
    if not all(p.on_cpu for p in places.values()):
        for name in [n for n, p in places.items() if p.on_cpu]:
            del places[name]
            remedy = f"install the build of {name} for this GPU"
            missing.append(lacking(f"{name} on the GPU", remedy))
    if "torch" not in places or not places["torch"].has_peer:
        remedy = f"pip install --no-deps {' '.join(PEER)}"
        if "torch" not in places:
            remedy = f"pip install torch, and {remedy}"
        missing.append(lacking("vit-pytorch", remedy))
    return places, missing


@dataclass(frozen=True)
class Options:
    """How a benchmark is run; `rounds` of `steps` each.

    `untimed` turns are taken before each one that is timed.
    """

    rounds: int
    steps: int
    batch: int
    growth_batch: int
    precision: str
    quick: bool
    untimed: int = 1


class Benchmark:
    """Runs contenders, group by group, and keeps what they answer."""

    def __init__(self, options: Options, places: dict[str, Place]):
        self.options, self.places = options, places
        self.random = random.Random(0)
        self.results: dict[str, dict] = {}
        self.products: dict[str, dict[str, float]] = {}
        self.streams: dict[str, float] = {}
        self.measured: dict[str, dict] = {}
        self.failed: list[dict] = []
        self.round = 0

    def spec(self, contender: Contender) -> dict:
        """What `bench_worker.py` is told."""
        o = self.options
        steps = o.steps * contender.longer
        half = contender.way == "bfloat16"
        precision = "mixed_bfloat16" if half else o.precision
        return {
            **dataclasses.asdict(contender),
            "images": contender.batch * steps,
            "steps": steps,
            "precision": precision,
            "dtypes": sorted({"float32", precision.removeprefix("mixed_")}),
        }

    def run(self, group: list[Contender]) -> None:
        """Start all of a group, warm them up one by one, then take turns."""
        with contextlib.ExitStack() as stack:
            workers = {}
            for contender in group:
                place = self.places[contender.backend]
                worker = Worker(
                    self.spec(contender), place.python, place.backend
                )
                workers[contender.name] = contender, worker
                stack.enter_context(worker)
            # They import at the same time, and compile one after another.
            for what in (self._ready, self._warm_up):
                for contender, worker in list(workers.values()):
                    with self._catching(contender, workers):
                        what(contender, worker)
            for _ in range(self.options.rounds):
                turns = list(workers.values())
                self.random.shuffle(turns)
                for contender, worker in turns:
                    with self._catching(contender, workers):
                        for _ in range(self.options.untimed):
                            worker.ask("turn")
                        seconds = worker.ask("turn")["seconds"]
                        result = self.results[contender.name]
                        result["rounds"].append(self.round)
                        result["seconds"].append(seconds)
                self.round += 1

    def _ready(self, contender: Contender, worker: Worker) -> None:
        worker.answer()

    def _warm_up(self, contender: Contender, worker: Worker) -> None:
        """Compile; memory, the rate of a product, and the profile."""
        start = time.perf_counter()
        first = worker.ask("turn")
        warm = worker.ask("turn")
        speed = worker.ask("product")
        kernels = None
        if contender.section in bench_record.PROFILED:
            kernels = worker.ask("profile")["attention_kernels"]
        backend = contender.backend
        known = self.products.setdefault(backend, {})
        for dtype, rate in speed["products"].items():
            known[dtype] = max(rate, known.get(dtype, 0.0))
        stream = max(speed["stream"], self.streams.get(backend, 0.0))
        self.streams[backend] = stream
        self.measured.setdefault(
            contender.section,
            {
                "commit": first["commit"],
                "date": datetime.date.today().isoformat(),
            },
        )
        kept = dataclasses.asdict(contender)
        for name in ("recipe", "changes", "longer"):
            del kept[name]
        self.results.setdefault(
            contender.name,
            {
                **kept,
                "steps": self.options.steps * contender.longer,
                "parameters": first["parameters"],
                "multiply_adds": multiply_adds(contender.config),
                "compile_seconds": first["compile_seconds"],
                "peak_bytes": warm["peak_bytes"],
                "attention_kernels": kernels,
                "rounds": [],
                "seconds": [],
            },
        )
        seconds = time.perf_counter() - start
        print(
            f"  {contender.name} is warm after {seconds:.0f} s, "
            f"a turn takes {warm['seconds']:.2f} s",
            file=sys.stderr,
            flush=True,
        )

    @contextlib.contextmanager
    def _catching(self, contender: Contender, workers: dict):
        """Go on without a contender that fails."""
        try:
            yield
        except Failed as error:
            print(f"  {contender.name} failed: {error}", file=sys.stderr)
            remedy = "run it alone with --only to see why"
            self.failed.append(
                lacking(contender.name, remedy, contender.section)
            )
            del workers[contender.name]

    def record(
        self, missing: list[dict], threads: int, environment: dict
    ) -> dict:
        """Everything that was measured, as JSON can hold it."""
        place = next(iter(self.places.values()))
        timed = [c for c in self.results.values() if c["seconds"]]
        record = {
            "device": place.device,
            "on_cpu": place.on_cpu,
            "threads": threads,
            "options": dataclasses.asdict(self.options),
            "environment": environment,
            "versions": {b: p.versions for b, p in self.places.items()},
            "products": self.products,
            "streams": self.streams,
            "contenders": timed,
            "measured": {
                c["section"]: self.measured[c["section"]] for c in timed
            },
            "missing": missing + self.failed,
        }
        return json.loads(json.dumps(record))
