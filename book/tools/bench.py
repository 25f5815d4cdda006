"""Images per second, side by side: our models, the Keras example, a peer.

    python book/tools/bench.py [--quick] [--sections SECTION ...]
        [--only REGEX] [--rounds N] [--steps N] [--batch N]
        [--precision POLICY] [--growth BACKEND] [--threads N] [--together N]
        [--python BACKEND=PATH ...] [--out FOLDER]

Every contender is a process of its own. Those of a section live together and
take turns of a few steps, in an order shuffled each round, so that all meet
the same weather. Each turn is taken twice and the second is timed: while a
contender waits, the machine may give away its memory and pack its threads
on one core. On a machine with a GPU the same command measures the GPU.
What is not installed is listed with the remedy. The record goes to
`book/results/bench/`, section by section: those of it that were not measured
anew stay, if they were measured alike. `bench_record.py` says what it means.
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import bench_record
from arithmetic import multiply_adds

from vitsd_helpers import PRESETS, ViTConfig

TOOLS = Path(__file__).parent
ROOT = TOOLS.parents[1]
BACKENDS = ("torch", "tensorflow", "jax")
#: What a contender is reckoned to take of the memory.
EACH_BYTES = 2**32
#: The peer's packages.
PEER = ("vit-pytorch", "einops")
TITLES = {"vit": "ViT", "sl": "SL-ViT"}
#: The paper's recipe without its augmentation, which the peer has not.
PLAIN = {
    "flip": False,
    "crop": 0,
    "rand_augment": 0,
    "random_erasing": 0.0,
    "mix": 0.0,
    "label_smoothing": 0.0,
}
PAPER, SEED = "paper", "seed-as-printed"
#: What our step is measured without, or with, and where.
TRIED = {
    "dense": ("Keras's Dense, not tokens as rows", BACKENDS),
    "attention": ("the other attention", BACKENDS),
    "fit": ("Keras's fit, no scanned epoch", ("jax",)),
    "bfloat16": ("mixed bfloat16", BACKENDS),
    "compiled": ("torch.compile", ("torch",)),
}
#: What the example's SL-ViT is measured without: changes of the model, and
#: of the recipe.
LEFT_OUT = {
    "weights-dropout": (
        "no dropout on the attention weights",
        {"attention_dropout": 0.0},
        {},
    ),
    "dropout": (
        "no dropout",
        {"attention_dropout": 0.0, "dropout": 0.0, "head_dropout": 0.0},
        {},
    ),
    "augmentation": (
        "no augmentation",
        {},
        {"flip": False, "rotate": 0.0, "zoom": 0.0},
    ),
}


@dataclass(frozen=True)
class Contender:
    """Who runs what.

    Attributes:
        name: unique, of words joined by hyphens.
        section: those of a section run together.
        title: for the reader.
        code: "ours", "example" or "peer".
        model: "vit" or "sl".
        mode: "train" or "infer".
        reference: the name of whom it is compared with.
        recipe, changes: what ours trains by.
        xla: whether our recipe asks for it.
        way: what is done another way, see `bench_ways.py`.
    """

    name: str
    section: str
    title: str
    code: str
    model: str
    mode: str
    backend: str
    batch: int
    config: ViTConfig
    reference: str | None = None
    recipe: str = PAPER
    changes: dict = field(default_factory=lambda: dict(PLAIN))
    xla: bool = True
    way: str = ""


def peer(section: str, mode: str, batch: int) -> Contender:
    """vit-pytorch's SL-ViT, which always has a class token."""
    return Contender(
        name=f"peer-{section}",
        section=section,
        title="vit-pytorch SL-ViT",
        code="peer",
        model="sl",
        mode=mode,
        backend="torch",
        batch=batch,
        config=replace(PRESETS["paper-sl"], pooling="token"),
    )


def variation(base: Contender, name: str, title: str, **changes) -> Contender:
    """The base with something changed, to be compared with it."""
    return replace(
        base, name=name, title=title, reference=base.name, **changes
    )


def without_xla(contender: Contender) -> Contender:
    return replace(
        contender,
        name=f"{contender.name}-graph",
        title=f"{contender.title}, no XLA",
        xla=False,
    )


def of_the_paper(section: str, mode: str, batch: int) -> list[Contender]:
    """Both our models on every backend, and the peer."""
    found = [peer(section, mode, batch)]
    for backend in BACKENDS:
        for model, title in TITLES.items():
            one = Contender(
                name=f"{model}-{section}-{backend}",
                section=section,
                title=f"our {title}",
                code="ours",
                model=model,
                mode=mode,
                backend=backend,
                batch=batch,
                config=PRESETS[f"paper-{model}"],
                reference=f"peer-{section}",
            )
            found.append(one)
            # Whether XLA pays is measured where one can do without.
            if (backend, mode) == ("tensorflow", "train"):
                found.append(without_xla(one))
    return found


def of_the_example(section: str, mode: str, batch: int) -> list[Contender]:
    """The example's models in its own code and in ours."""
    found = []
    for model, title in TITLES.items():
        theirs = Contender(
            name=f"example-{model}-{section}",
            section=section,
            title=f"the example's {title}",
            code="example",
            model=model,
            mode=mode,
            backend="tensorflow",
            batch=batch,
            config=PRESETS[f"seed-{model}"],
        )
        found.append(theirs)
        for backend in BACKENDS:
            found.append(
                replace(
                    theirs,
                    name=f"seed-{model}-{section}-{backend}",
                    title=f"the same {title}, our code",
                    code="ours",
                    backend=backend,
                    reference=theirs.name,
                    recipe=SEED,
                    changes={},
                )
            )
    if mode == "train":
        found += of_the_chain(found)
    return found


def of_the_chain(found: list[Contender]) -> list[Contender]:
    """From the example's SL-ViT to ours in steps, and ours without XLA."""
    by_name = {c.name: c for c in found}
    theirs = by_name["example-sl-seed-train"]
    chain = [
        variation(
            theirs,
            f"example-sl-{way}",
            f"the example's SL-ViT, {title}",
            way=way,
        )
        for way, title in (
            ("our-patches", "our patches"),
            ("our-attention", "our patches and attention"),
        )
    ]
    ours = (by_name[f"seed-{m}-seed-train-tensorflow"] for m in TITLES)
    return [*chain, *map(without_xla, ours)]


def of_the_ways(section: str, batch: int) -> list[Contender]:
    """Our SL-ViT in training with one thing done another way."""
    found = []
    for backend in BACKENDS:
        base = Contender(
            name=f"way-none-{backend}",
            section=section,
            title="our SL-ViT",
            code="ours",
            model="sl",
            mode="train",
            backend=backend,
            batch=batch,
            config=PRESETS["paper-sl"],
        )
        found.append(base)
        found += [
            variation(base, f"way-{way}-{backend}", title, way=way)
            for way, (title, backends) in TRIED.items()
            if backend in backends
        ]
    return found


def of_the_parts(section: str, batch: int) -> list[Contender]:
    """The example's SL-ViT in our code, with something left out."""
    found = []
    for backend in ("torch", "tensorflow"):
        base = Contender(
            name=f"parts-all-{backend}",
            section=section,
            title="the example's SL-ViT, our code",
            code="ours",
            model="sl",
            mode="train",
            backend=backend,
            batch=batch,
            config=PRESETS["seed-sl"],
            recipe=SEED,
            changes={},
            xla=False,
        )
        found.append(base)
        found += [
            variation(
                base,
                f"parts-{name}-{backend}",
                title,
                config=replace(base.config, **sizes),
                changes=changes,
            )
            for name, (title, sizes, changes) in LEFT_OUT.items()
        ]
        name = f"parts-bfloat16-{backend}"
        found.append(variation(base, name, "mixed bfloat16", way="bfloat16"))
    return found


def of_half_precision(section: str, batch: int) -> list[Contender]:
    """The peer and our SL-ViT, all in mixed bfloat16."""
    return [
        replace(c, way="bfloat16")
        for c in of_the_paper(section, "train", batch)
        if c.model == "sl"
    ]


def of_growth(section: str, backend: str, batch: int) -> list[Contender]:
    """Our SL-ViT with one size changed at a time."""
    base = Contender(
        name="growth-base",
        section=section,
        title=f"patch 4, width 192, batch {batch}",
        code="ours",
        model="sl",
        mode="train",
        backend=backend,
        batch=batch,
        config=PRESETS["paper-sl"],
        reference="growth-base",
    )
    found = [base]
    for name, sizes in (("patch_size", (8, 2)), ("width", (96, 384))):
        for size in sizes:
            word = name.removesuffix("_size")
            changed = replace(base.config, **{name: size})
            if name == "width":
                # Heads keep their 16 values.
                changed = replace(changed, num_heads=size // 16)
            found.append(
                replace(
                    base,
                    name=f"growth-{word}-{size}",
                    title=f"{word} {size}",
                    config=changed,
                )
            )
    for size in (batch // 4, batch * 4):
        found.append(
            replace(
                base,
                name=f"growth-batch-{size}",
                title=f"batch {size}",
                batch=size,
            )
        )
    return found


def contenders(
    batch: int, growth: str | None, growth_batch: int, precision: str
) -> list[Contender]:
    """All there are, section by section."""
    found = [
        *of_the_paper("train", "train", batch),
        *of_the_paper("infer", "infer", batch),
        *of_the_example("seed-train", "train", batch),
        *of_the_example("seed-infer", "infer", batch),
        *of_the_parts("parts", batch),
        *of_the_ways("ways", batch),
    ]
    if precision == "float32":
        found += of_half_precision("half", batch)
    if growth:
        found += of_growth("growth", growth, growth_batch)
    return found


def shrink(contender: Contender) -> Contender:
    """The same with one block, to see that it runs.

    The example's own code stays as it is.
    """
    return replace(contender, config=replace(contender.config, depth=1))


def choose(found: list[Contender], pattern: str) -> list[Contender]:
    """Those whose name has the pattern, and whom they are compared with."""
    chosen = [c for c in found if re.search(pattern, c.name)]
    wanted = {c.name for c in chosen} | {c.reference for c in chosen}
    return [c for c in found if c.name in wanted]


def groups(
    section: list[Contender], together: int
) -> Iterator[list[Contender]]:
    """Split a section so that few enough live at once.

    Whom a contender is compared with takes part in its group, and so does
    its twin, the other model in the same setting: their ratios are of one
    round.
    """
    by_name = {c.name: c for c in section}
    wanted = {c.reference for c in section}

    def whole(members: list[Contender]) -> list[Contender]:
        """With their references, as far as there are any."""
        names = dict.fromkeys(c.reference for c in members)
        return [by_name[n] for n in names if n in by_name] + members

    twins: dict[tuple, list[Contender]] = {}
    for c in section:
        if c.name not in wanted:
            rest = re.sub("(^|-)(vit|sl)-", "", c.name)
            key = (BACKENDS.index(c.backend), rest)
            twins.setdefault(key, []).append(c)
    if not twins:
        yield [c for c in section if c.name in wanted]
        return
    group: list[Contender] = []
    for _, pair in sorted(twins.items()):
        if group and len(whole(group + pair)) > together:
            yield whole(group)
            group = []
        group = group + pair
    yield whole(group)


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
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
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

    def answer(self) -> dict:
        """What the contender says next.

        Raises:
            Failed: if it has ended.
        """
        line = self.process.stdout.readline()
        if line.endswith("\n"):
            return json.loads(line)
        code = self.process.wait()
        self.errors.seek(0)
        said = self.errors.read().strip().splitlines()
        raise Failed(said[-1] if said else f"it ended with {code}")

    def ask(self, command: str) -> dict:
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
        return self.answer()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait()
        for file in (self.process.stdout, self.errors):
            file.close()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()


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
        half = contender.way == "bfloat16"
        precision = "mixed_bfloat16" if half else o.precision
        return {
            **dataclasses.asdict(contender),
            "images": contender.batch * o.steps,
            "steps": o.steps,
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
        for name in ("recipe", "changes"):
            del kept[name]
        self.results.setdefault(
            contender.name,
            {
                **kept,
                "steps": self.options.steps,
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


def earlier(path: Path, new: dict, found: list[Contender]) -> dict | None:
    """The record at a place, if the new one may keep sections of it.

    None if there is none, or none is kept of it.

    Raises:
        SystemExit: if sections that are not measured anew would be lost.
    """
    if not path.exists():
        return None
    old = json.loads(path.read_text())
    reasons = bench_record.differs(old, new)
    if not reasons:
        return old
    lost = old["measured"].keys() - {c.section for c in found}
    if lost:
        sys.exit(
            f"{path.name} has sections that were measured otherwise "
            f"({', '.join(reasons)}): {', '.join(sorted(lost))}. Measure "
            "all sections, or write to another folder with --out."
        )
    return None


def free_bytes() -> int:
    """Memory that can be had without swapping."""
    path = Path("/proc/meminfo")
    if path.exists():
        found = re.search(r"MemAvailable:\s+(\d+) kB", path.read_text())
        if found:
            return 1024 * int(found[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def set_threads(count: int) -> None:
    """Let what is started from here use so many cores."""
    for name in (
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "TF_NUM_INTRAOP_THREADS",
    ):
        os.environ[name] = str(count)
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))[:count]
        os.sched_setaffinity(0, cores)


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def report(record: dict) -> Iterator[str]:
    """The lines that are printed of a record."""
    yield f"{record['device']}, {record['threads']} threads"
    for section, title in bench_record.SECTIONS.items():
        rows = bench_record.table(record, section)
        if rows:
            yield f"\n{title}"
            yield from layout(rows)
    goals = bench_record.goals(record)
    if goals:
        yield "\nGoals"
        yield from layout([goal.row for goal in goals])
    for item in record["missing"]:
        yield f"\nNot measured: {item['what']}. Remedy: {item['remedy']}"


def layout(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Lines of columns: the first to the left, the others to the right."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
        cells = [first.ljust(widths[0])]
        cells += [
            text.rjust(width)
            for text, width in zip(rest, widths[1:], strict=True)
        ]
        yield "  ".join(cells)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """What was asked for.

    Raises:
        SystemExit: with the value and the remedy, if it makes no sense.
    """
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )

    def positive(text: str) -> int:
        if not text.isdigit() or not int(text):
            raise argparse.ArgumentTypeError(f"{text!r} is not 1 or more")
        return int(text)

    def interpreter(text: str) -> tuple[str, str]:
        backend, _, path = text.partition("=")
        if backend not in BACKENDS:
            raise argparse.ArgumentTypeError(
                f"{text!r}: write BACKEND=PATH, BACKEND one of "
                f"{', '.join(BACKENDS)}"
            )
        if not shutil.which(path):
            raise argparse.ArgumentTypeError(f"{path!r} cannot be run")
        return backend, path

    parser.add_argument(
        "--quick",
        action="store_true",
        help="one block, small batches; no record without --out",
    )
    parser.add_argument(
        "--sections",
        nargs="+",
        choices=bench_record.SECTIONS,
        default=[*bench_record.SECTIONS],
        help="what to measure; the record keeps the others",
    )
    parser.add_argument(
        "--only",
        default="",
        metavar="REGEX",
        help="of contenders' names; no record without --out",
    )
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument(
        "--steps", type=positive, default=2, help="batches of a turn"
    )
    parser.add_argument("--batch", type=positive, default=128)
    parser.add_argument(
        "--precision",
        choices=("float32", "mixed_bfloat16"),
        help="default: mixed_bfloat16 on a GPU, else float32",
    )
    parser.add_argument(
        "--growth",
        choices=BACKENDS,
        help="whose growth to measure; default: TensorFlow's, or another",
    )
    parser.add_argument(
        "--threads", type=positive, help="default: as many as cores"
    )
    parser.add_argument(
        "--together",
        type=positive,
        help="contenders alive at once; default: as many as fit in memory",
    )
    parser.add_argument(
        "--python",
        type=interpreter,
        action="append",
        default=[],
        metavar="BACKEND=PATH",
        help="the interpreter of a backend; default: this one for all",
    )
    parser.add_argument("--out", type=Path, help="folder of the record")
    given = parser.parse_args(arguments)
    try:
        re.compile(given.only)
    except re.error as error:
        parser.error(f"--only {given.only!r}: {error}")
    given.pythons = dict.fromkeys(BACKENDS, sys.executable)
    given.pythons |= dict(given.python)
    return given


def main() -> None:
    given = parse()
    if given.threads:
        set_threads(given.threads)
    places, missing = find_places(given.pythons)
    if not places:
        sys.exit("no backend is installed: pip install tensorflow")
    on_cpu = next(iter(places.values())).on_cpu
    batch = 8 if given.quick else given.batch
    options = Options(
        rounds=min(given.rounds, 2) if given.quick else given.rounds,
        steps=1 if given.quick else given.steps,
        batch=batch,
        growth_batch=max(4, batch // 4) if on_cpu else batch,
        precision=given.precision
        or ("float32" if on_cpu else "mixed_bfloat16"),
        quick=given.quick,
    )
    growth = given.growth or next(
        name for name in ("tensorflow", *BACKENDS) if name in places
    )
    found = [
        c
        for c in contenders(
            options.batch, growth, options.growth_batch, options.precision
        )
        if c.backend in places
        and (c.code != "peer" or places["torch"].has_peer)
    ]
    if given.quick:
        found = list(map(shrink, found))
    found = [c for c in found if c.section in given.sections]
    found = choose(found, given.only)
    if not found:
        sys.exit(f"no contender's name has {given.only!r}: see --help")
    benchmark = Benchmark(options, places)
    environment = {
        name: os.environ[name]
        for name in bench_record.ENVIRONMENT
        if name in os.environ
    }
    describe = partial(
        benchmark.record, missing, given.threads or cores(), environment
    )
    in_part = given.quick or given.only
    out = given.out or (None if in_part else bench_record.FOLDER)
    record = describe()
    old = out and earlier(bench_record.place(record, out), record, found)
    try:
        for section, title in bench_record.SECTIONS.items():
            members = [c for c in found if c.section == section]
            if not members:
                continue
            print(title, file=sys.stderr)
            together = given.together or free_bytes() // EACH_BYTES
            for group in groups(members, together):
                benchmark.run(group)
            record = describe()
            if old:
                record = bench_record.merge(old, record)
            if out:
                bench_record.write(record, out)
    except KeyboardInterrupt:
        print("stopped: this section is left out", file=sys.stderr)
    print("\n".join(report(record)))
    if out and record["contenders"]:
        print(f"\n{bench_record.place(record, out)}")


if __name__ == "__main__":
    main()
