"""Sphinx: tables and figures of the benchmark, made from its records.

The directive ``{bench} PART`` shows one part of every record in
`book/results/bench/`, the devices one after another: a section of
`bench_record.SECTIONS` as table and figure, or "headline", "goals",
"kernels" or "origin". Without a record it says how to make one.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import bench_record
from docutils import nodes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from records import RecordsDirective, chart
from sphinx.util.docutils import SphinxDirective

from vitsd_helpers.display.plots import (
    AXIS,
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PINK,
    panels,
)

#: Models by colour, backends by marker; a dark diamond is the reference.
COLOURS = {"vit": BLUE, "sl": ORANGE}
MARKERS = {"torch": "s", "tensorflow": "o", "jax": "^"}
WAITING = "This machine's figures wait for a record: make bench writes one."
UNMEASURED = "The record of this machine does not have this part yet."
#: Sizes that the growth section changes: axis, and the size of a contender.
GROWTH: dict[str, tuple[str, Callable[[dict], int]]] = {
    "patch": ("tokens", bench_record.tokens),
    "width": ("width", lambda c: c["config"]["width"]),
    "batch": ("batch", lambda c: c["batch"]),
}


def mark(axis, spread, row: int, marker: str, colour: str) -> None:
    """A median in a row, with its quartiles."""
    reach = [[spread.median - spread.low], [spread.high - spread.median]]
    look = {"fmt": marker, "color": colour, "capsize": 3}
    axis.errorbar(spread.median, row, xerr=reach, **look)


def draw_rates(record: dict, section: str) -> tuple[Figure, str]:
    """Images a second of a section's contenders, and the alt text."""
    members = [c for c in record["contenders"] if c["section"] == section]
    references = {c["reference"] for c in members}
    figure, axis = panels(height=0.9 + 0.32 * len(members))
    for row, c in enumerate(members):
        spread = bench_record.rate(c)
        colour, marker = COLOURS[c["model"]], MARKERS[c["backend"]]
        if c["name"] in references:
            colour, marker = INK, "D"
            axis.axvline(spread.median, color=AXIS, lw=1, ls=":")
        mark(axis, spread, row, marker, colour)
    labels = [f"{c['title']}, {c['backend']}" for c in members]
    axis.set_yticks(range(len(members)), labels)
    axis.invert_yaxis()
    axis.set_xlim(left=0)
    axis.set_xlabel("images/s")
    rates = [bench_record.rate(c).median for c in members]
    said = ", ".join(
        f"{label} {rate:.0f}"
        for label, rate in zip(labels, rates, strict=True)
    )
    return figure, f"Images per second with quartiles: {said}."


def draw_ratios(ratios: dict) -> tuple[Figure, str]:
    """Our SL-ViT's rate over the peer's, by backend, and the alt text."""
    figure, axis = panels(height=0.9 + 0.32 * len(ratios))
    for row, (backend, found) in enumerate(ratios.items()):
        mark(axis, found, row, MARKERS[backend], COLOURS["sl"])
    axis.axvline(1, color=AXIS, lw=1, ls=":")
    axis.set_yticks(range(len(ratios)), list(ratios))
    axis.set_ylim(len(ratios) - 0.5, -0.5)
    axis.set_xlim(left=0)
    axis.set_xlabel("images/s of our SL-ViT, vit-pytorch's = 1")
    said = ", ".join(f"{b} {found.median:.2f}" for b, found in ratios.items())
    return figure, f"Our SL-ViT's images per second over the peer's: {said}."


def draw_growth(record: dict) -> tuple[Figure, str]:
    """Milliseconds for an image over each size, and the alt text."""
    members = [c for c in record["contenders"] if c["section"] == "growth"]
    figure, axes = panels(1, 3, 2.9, sharey=True)
    said = []
    looks = (BLUE, "-"), (GREEN, "--"), (PINK, "-.")
    lines = zip(axes, GROWTH.items(), looks, strict=True)
    for axis, (word, (label, size)), (colour, style) in lines:
        some = sorted(
            (c for c in members if c["name"].split("-")[1] in (word, "base")),
            key=size,
        )
        sizes = [size(c) for c in some]
        times = [1000 / bench_record.rate(c).median for c in some]
        axis.plot(sizes, times, style, marker="o", color=colour)
        axis.set(xscale="log", yscale="log", xlabel=label)
        axis.set_xticks(sizes, map(str, sizes))
        axis.minorticks_off()
        pairs = zip(sizes, times, strict=True)
        said += [f"{label} {x}: {y:.1f} ms" for x, y in pairs]
    axes[0].set_ylabel("ms for an image")
    axes[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes[0].yaxis.set_major_formatter("{x:g}")
    return figure, f"Training time for an image: {', '.join(said)}."


class BenchDirective(SphinxDirective):
    """``{bench} PART``: one part of every record."""

    required_arguments = 1

    def run(self):
        part = self.arguments[0]
        make = {
            "goals": self.goals,
            "headline": self.headline,
            "kernels": self.kernels,
            "origin": self.origin,
        }.get(part)
        if make is None and part not in bench_record.SECTIONS:
            known = [
                "goals",
                "headline",
                "kernels",
                "origin",
                *bench_record.SECTIONS,
            ]
            raise self.error(f"no part {part!r}: choose from {known}")
        records = bench_record.read()
        self.env.note_reread()
        if not records:
            return [nodes.paragraph(text=WAITING)]
        found = []
        for path, record in records.items():
            self.env.note_dependency(str(path))
            shown = make(record) if make else self.section(path, record, part)
            if shown and len(records) > 1:
                found.append(nodes.rubric(text=record["device"]))
            found += shown
        return found

    def section(self, path: Path, record: dict, name: str) -> list:
        """A section's chart and table."""
        rows = bench_record.table(record, name)
        if not rows:
            return [nodes.paragraph(text=UNMEASURED)]
        draw = partial(draw_rates, record, name)
        if name == "growth":
            draw = partial(draw_growth, record)
        image = chart(self.env, f"bench/{path.stem}-{name}.png", draw)
        return [image, RecordsDirective.table(rows)]

    @staticmethod
    def goals(record: dict) -> list:
        """What was aimed at, and what was reached."""
        found = bench_record.goals(record)
        if not found:
            return []
        header = ("training", "goal, times", "reached", "")
        rows: list[tuple] = [header, *(goal.row for goal in found)]
        return [RecordsDirective.table(rows)]

    def headline(self, record: dict) -> list:
        """How our SL-ViT trains beside vit-pytorch's: a sentence, a chart."""
        ratios = {
            c["backend"]: bench_record.ratio(record, c["name"], c["reference"])
            for c in record["contenders"]
            if c["section"] == "train"
            and c["name"].startswith("sl-train-")
            and not c["name"].endswith("graph")
        }
        found = {backend: r for backend, r in ratios.items() if r}
        said = [f"{r.median:.2f} with {b}" for b, r in found.items()]
        if not said:
            return []
        text = (
            f"On {record['device']} our SL-ViT of the paper's size trains, "
            f"in {record['options']['precision']}, at so many times "
            f"vit-pytorch's images a second: {', '.join(said)}."
        )
        image = chart(
            self.env,
            f"bench/headline-{bench_record.place(record, Path()).stem}.png",
            partial(draw_ratios, found),
        )
        return [nodes.paragraph(text=text), image]

    @staticmethod
    def kernels(record: dict) -> list:
        """The fused kernels that profiles found."""
        rows: list[tuple] = [("model", "on", "", "fused attention kernels")]
        for c in record["contenders"]:
            if c["section"] in bench_record.PROFILED:
                names = c["attention_kernels"]
                text = "no profile" if names is None else ", ".join(names)
                rows.append(
                    (
                        c["title"],
                        c["backend"],
                        "training" if c["mode"] == "train" else "inference",
                        text or "none: two products and a softmax",
                    )
                )
        return [RecordsDirective.table(rows)] if len(rows) > 1 else []

    @staticmethod
    def origin(record: dict) -> list:
        """Where and with what a record was made."""
        packages: dict[str, dict] = {}
        for backend, versions in record["versions"].items():
            names = ("keras", backend, f"{backend}-cpu", "vit-pytorch")
            packages |= {n: versions[n] for n in names if n in versions}
        options = record["options"]
        missing = [item["what"] for item in record["missing"]]
        made: dict[str, list[str]] = {}
        for section, origin in record["measured"].items():
            when = f"{origin['date']}, commit {(origin['commit'] or '?')[:7]}"
            made.setdefault(when, []).append(section)
        measured = [f"{', '.join(s)} ({when})" for when, s in made.items()]
        steps = map(str, sorted({c["steps"] for c in record["contenders"]}))
        warned = (
            f"untimed turns before each: {options['untimed']}"
            if options["untimed"]
            else "no untimed turn, so each may be slow at first"
        )
        text = (
            f"{record['device']}, {record['threads']} threads, "
            f"{', '.join(f'{n} {v}' for n, v in packages.items())}, "
            f"{options['precision']}, batches of {options['batch']} "
            f"({options['growth_batch']} where the cost grows), "
            f"rounds: {options['rounds']}, "
            f"steps a turn: {' or '.join(steps)}, "
            f"{warned}; the fastest product does "
            f"{bench_record.peak(record) / 1e9:,.0f} GFLOP/s. "
            f"Measured: {'; '.join(measured)}."
        )
        if missing:
            text += f" Not measured: {', '.join(missing)}."
        return [nodes.paragraph(text=text)]


def setup(app):
    """Sphinx calls it."""
    app.add_directive("bench", BenchDirective)
    return {"parallel_read_safe": True}
