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

asv is not used: it measures one program over its commits, one after another,
and here many are compared that must run side by side.
"""

import argparse
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import bench_record
from bench_contenders import (
    BACKENDS,
    Contender,
    choose,
    contenders,
    groups,
    shrink,
)
from bench_runner import Benchmark, Options, Place, find_places

#: What a contender is reckoned to take of the memory.
EACH_BYTES = 2**32


def earlier(path: Path, new: dict, found: list[Contender]) -> dict | None:
    """The record at a place, if the new one may keep sections of it.

    None if there is none, or none is kept of it.

    Raises:
        SystemExit: if sections that are not measured anew would be lost.
    """
    if not path.exists():
        return None
    old = json.loads(path.read_text("utf-8"))
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
        found = re.search(r"MemAvailable:\s+(\d+) kB", path.read_text("utf-8"))
        if found:
            return 1024 * int(found[1])
    if sys.platform == "win32":  # which has no sysconf: one at a time
        return EACH_BYTES
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
    if sys.platform == "linux":
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


def options_of(given: argparse.Namespace, on_cpu: bool) -> Options:
    """How to measure, from the command line and the device."""
    batch = 8 if given.quick else given.batch
    return Options(
        rounds=min(given.rounds, 2) if given.quick else given.rounds,
        steps=1 if given.quick else given.steps,
        batch=batch,
        growth_batch=max(4, batch // 4) if on_cpu else batch,
        precision=given.precision
        or ("float32" if on_cpu else "mixed_bfloat16"),
        quick=given.quick,
    )


def chosen(
    given: argparse.Namespace, options: Options, places: dict[str, Place]
) -> list[Contender]:
    """The contenders that were asked for and can be measured here.

    Raises:
        SystemExit: if there are none.
    """
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
    return found


def main() -> None:
    """Run the command line."""
    given = parse()
    if given.threads:
        set_threads(given.threads)
    places, missing = find_places(given.pythons)
    if not places:
        sys.exit("no backend is installed: pip install tensorflow")
    on_cpu = next(iter(places.values())).on_cpu
    options = options_of(given, on_cpu)
    found = chosen(given, options, places)
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
