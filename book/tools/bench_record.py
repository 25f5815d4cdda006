"""What a record of the benchmark says: rates, ratios, shares of the peak.

A record holds what was measured: the seconds of every turn of every
contender. All else is worked out here, the same for the printed tables and
for the page. Ratios are taken within a round, where both contenders met the
same state of the machine.
"""

import copy
import json
import re
import statistics
from dataclasses import dataclass
from pathlib import Path

from vitsd_helpers.evidence.files import write_whole

FOLDER = Path(__file__).parents[1] / "results" / "bench"
#: Which contenders ran together, and what they did.
SECTIONS = {
    "train": "Training: 32 px, patch 4, width 192, depth 9, 12 heads",
    "half": "Training in bfloat16: the same models",
    "infer": "Inference: the same models",
    "small": "Training at the ladder's size: 32 px, patch 4",
    "small-half": "Training at the ladder's size, with bfloat16 beside",
    "seed-train": "Training the Keras example: 72 px, patch 6",
    "seed-infer": "Inference with the Keras example",
    "parts": "The Keras example in our code, one thing left out",
    "ways": "One thing done another way, training",
    "prices": "What a trick costs: the small ViT with one change, training",
    "growth": "How the cost of training grows",
}
#: Sections whose contenders are profiled.
PROFILED = ("train", "infer")
#: Settings of the libraries that change their speed.
ENVIRONMENT = (
    "OMP_NUM_THREADS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
)
#: What two measurements must share to stand in one record.
SETTING = ("device", "on_cpu", "threads", "options", "environment")
GIB = 2**30


@dataclass(frozen=True)
class Spread:
    """A median with its quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        """The median and the quartiles of some values."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(
            values, n=4, method="inclusive"
        )
        return cls(median, low, high)

    def __format__(self, spec: str) -> str:
        low, median, high = (
            format(x, spec) for x in (self.low, self.median, self.high)
        )
        return f"{median} [{low}, {high}]"


@dataclass(frozen=True)
class Goal:
    """What the book's code is meant to reach, and what it did."""

    text: str
    target: float
    reached: Spread

    @property
    def met(self) -> bool:
        """Whether the median reaches the target."""
        return self.reached.median >= self.target

    @property
    def row(self) -> tuple[str, str, str, str]:
        """A row of a table of goals."""
        return (
            self.text,
            f"{self.target:.2f}",
            f"{self.reached:.2f}",
            "met" if self.met else "missed",
        )


def place(record: dict, folder: Path) -> Path:
    """Where a record lies: it is named after its device."""
    slug = re.sub(r"[^a-z0-9]+", "-", record["device"].lower()).strip("-")
    return folder / f"{slug}.json"


def write(record: dict, folder: Path) -> Path:
    """Write a record; its file is complete or absent."""
    return write_whole(
        place(record, folder), json.dumps(record, indent=1) + "\n"
    )


def differs(old: dict, new: dict) -> list[str]:
    """Why two records cannot become one: what is not the same in both.

    Versions are compared of the packages that both have.
    """
    found = [name for name in SETTING if old[name] != new[name]]
    for backend in old["versions"].keys() & new["versions"].keys():
        one, other = old["versions"][backend], new["versions"][backend]
        both = one.keys() & other.keys()
        found += [f"{p} on {backend}" for p in both if one[p] != other[p]]
    return sorted(found)


def merge(old: dict, new: dict) -> dict:
    """The new record with the sections that only the old one has.

    Rounds are numbered anew, for no old one is a new one. The machine's
    best product and stream are the best of both.

    Raises:
        ValueError: if they were not measured alike.
    """
    if reasons := differs(old, new):
        raise ValueError(f"not the same: {', '.join(reasons)}")
    merged = copy.deepcopy(new)
    kept = [s for s in old["measured"] if s not in new["measured"]]
    contenders = [c for c in old["contenders"] if c["section"] in kept]
    first = 1 + max((max(c["rounds"]) for c in contenders), default=-1)
    for c in merged["contenders"]:
        c["rounds"] = [first + number for number in c["rounds"]]
    merged["contenders"] = contenders + merged["contenders"]
    merged["measured"] |= {s: old["measured"][s] for s in kept}
    merged["missing"] += [m for m in old["missing"] if m["section"] in kept]
    # A backend that was not there now, but whose earlier rows are kept, is no
    # missing one.
    there = {c["backend"] for c in merged["contenders"]}
    merged["missing"] = [
        m for m in merged["missing"] if m["section"] or m["what"] not in there
    ]
    for backend, versions in old["versions"].items():
        merged["versions"][backend] = versions | new["versions"].get(
            backend, {}
        )
        best = merged["products"].setdefault(backend, {})
        for dtype, rate in old["products"].get(backend, {}).items():
            best[dtype] = max(rate, best.get(dtype, 0.0))
        stream = new["streams"].get(backend, 0.0)
        merged["streams"][backend] = max(
            old["streams"].get(backend, 0.0), stream
        )
    return merged


def read(folder: Path = FOLDER) -> dict[Path, dict]:
    """The records in a folder, those of CPUs first."""
    found = {
        path: json.loads(path.read_text("utf-8"))
        for path in sorted(folder.glob("*.json"))
    }
    return dict(sorted(found.items(), key=lambda item: not item[1]["on_cpu"]))


def contender(record: dict, name: str | None) -> dict | None:
    """A contender that ran, by name."""
    return next((c for c in record["contenders"] if c["name"] == name), None)


def rates(contender: dict) -> dict[int, float]:
    """Images a second, by round."""
    images = contender["batch"] * contender["steps"]
    pairs = zip(contender["rounds"], contender["seconds"], strict=True)
    return {number: images / seconds for number, seconds in pairs}


def rate(contender: dict) -> Spread:
    """Images a second over all rounds."""
    return Spread.of(list(rates(contender).values()))


def ratio(record: dict, name: str, reference: str | None) -> Spread | None:
    """How many times as fast as the reference, over the rounds of both.

    None if one is missing.

    Raises:
        ValueError: if the two never met in a round.
    """
    one, other = contender(record, name), contender(record, reference)
    if one is None or other is None:
        return None
    ours, theirs = rates(one), rates(other)
    both = ours.keys() & theirs.keys()
    if not both:
        raise ValueError(
            f"{name} of {one['section']!r} and {reference} of "
            f"{other['section']!r} never met in a round: only contenders "
            "of one group compare."
        )
    return Spread.of([ours[n] / theirs[n] for n in sorted(both)])


def flop(contender: dict) -> int:
    """FLOP for one image: the forward pass, in training three of them."""
    passes = 3 if contender["mode"] == "train" else 1
    return 2 * passes * contender["multiply_adds"]


def peak(record: dict, way: str = "") -> float:
    """FLOP a second of the fastest product.

    In the record's precision, or in that of the way "bfloat16".
    """
    dtype = record["options"]["precision"].removeprefix("mixed_")
    if way == "bfloat16":
        dtype = way
    found = (p.get(dtype, 0.0) for p in record["products"].values())
    return max(found, default=0.0)


def share_of_peak(record: dict, contender: dict) -> float:
    """How much of the fastest product's rate the model's products reach.

    Products of the contender's own precision.
    """
    done = rate(contender).median * flop(contender)
    return done / peak(record, contender["way"])


def best(
    record: dict, model: str, section: str, backend: str = ""
) -> dict | None:
    """Our fastest contender with a model, over backends or on one."""
    found = [
        c
        for c in record["contenders"]
        if (c["code"], c["model"], c["section"]) == ("ours", model, section)
        and backend in ("", c["backend"])
    ]
    return max(found, key=lambda c: rate(c).median, default=None)


def table(record: dict, section: str) -> list[tuple[str, ...]]:
    """The rows of a section, its header first; empty if none ran."""
    members = [c for c in record["contenders"] if c["section"] == section]
    if not members:
        return []
    if section == "growth":
        return growth_table(record, members)
    rows: list[tuple[str, ...]] = [
        (
            "model",
            "on",
            "images/s",
            "times the reference",
            "share of peak",
            "memory, GiB",
            "first turn, s",
        )
    ]
    for c in members:
        times = ratio(record, c["name"], c["reference"])
        share = f"{100 * share_of_peak(record, c):.0f} %"
        rows.append(
            (
                c["title"],
                c["backend"],
                f"{rate(c):.0f}",
                f"{times:.2f}" if times else "reference",
                # What a trick adds to the arithmetic is not counted.
                "" if section == "prices" else share,
                f"{c['peak_bytes'] / GIB:.1f}",
                f"{c['compile_seconds']:.0f}",
            )
        )
    return rows


def growth_table(record: dict, members: list[dict]) -> list[tuple[str, ...]]:
    """What one size does to the cost of an image."""
    header = ("size", "tokens", "images/s", "time", "arithmetic")
    rows: list[tuple[str, ...]] = [(*header, "memory, GiB")]
    base = contender(record, "growth-base")
    for c in members:
        # The base is as many times as fast as this takes longer.
        times = ratio(record, "growth-base", c["name"])
        more = base and c["multiply_adds"] / base["multiply_adds"]
        rows.append(
            (
                c["title"],
                f"{tokens(c)}",
                f"{rate(c):.0f}",
                f"{times:.2f}" if times else "",
                f"{more:.2f}" if more else "",
                f"{c['peak_bytes'] / GIB:.1f}",
            )
        )
    return rows


def tokens(contender: dict) -> int:
    """How many tokens the contender's model has."""
    config = contender["config"]
    patches = (config["image_size"] // config["patch_size"]) ** 2
    return patches + (config["pooling"] == "token")


def goals(record: dict) -> list[Goal]:
    """What was aimed at on a CPU, as far as the contenders ran."""
    if not record["on_cpu"]:
        return []
    wanted = []
    sl = best(record, "sl", "train")
    if sl:
        text = f"SL-ViT on {sl['backend']} against vit-pytorch"
        wanted.append((text, 1.3, sl["name"], sl["reference"]))
    sl = best(record, "sl", "train", "tensorflow")
    if sl:
        text = "SL-ViT on tensorflow against vit-pytorch"
        wanted.append((text, 1.0, sl["name"], sl["reference"]))
    for backend in record["versions"]:
        sl = best(record, "sl", "train", backend)
        if sl:
            text = f"SL-ViT against our ViT, both on {backend}"
            twin = sl["name"].replace("sl", "vit", 1)
            wanted.append((text, 0.95, sl["name"], twin))
    for model, title in (("vit", "ViT"), ("sl", "SL-ViT")):
        ours = best(record, model, "seed-train")
        if ours:
            text = f"the example's {title}, our code on {ours['backend']}"
            if ours["name"].endswith("graph"):
                text += ", no XLA"
            wanted.append((text, 2.0, ours["name"], ours["reference"]))
    return [
        Goal(text, target, reached)
        for text, target, *names in wanted
        if (reached := ratio(record, *names)) is not None
    ]
