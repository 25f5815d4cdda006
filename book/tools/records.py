"""Sphinx: numbers and tables on the pages, read from training records.

The role ``{record}`NAME KEY FORMAT` `` puts one value of
`book/results/NAME.json` into the text: KEY is a path with dots, such as
`test.top1`; FORMAT, if given, is Python's, such as `.1%`, or `min`, which
gives seconds as minutes. The directive ``{records} RECIPES`` makes a table
of all records of one recipe or several. A record or key that does not exist
is an error of the build. The directive ``{waiting}`` lists the runs that are
planned and have no record yet.
"""

import json
import os
import re
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

import matplotlib.pyplot as plt
from docutils import nodes
from experiments import STUDIES, TASKS, TRICKS
from matplotlib.figure import Figure
from sphinx.util.docutils import SphinxDirective, SphinxRole

from vitsd_helpers.display import plots
from vitsd_helpers.display.tables import format_number
from vitsd_helpers.evidence.records import record_name
from vitsd_helpers.evidence.statistics import summarize
from vitsd_helpers.training.recipes import BASELINES, VARIANTS

FOLDER = Path(__file__).parents[1] / "results"


def admitted(pattern: str) -> list[Path]:
    """Files below the results, but for studies that are not complete yet."""
    found = sorted(FOLDER.rglob(pattern))
    return [p for p in found if p.relative_to(FOLDER).parts[0] != "incoming"]


def find(name: str) -> Path:
    """The file of a record, by its name without the ending."""
    paths = admitted(f"{name}.json")
    if not paths:
        raise ValueError(f"there is no record {name}.json in book/results")
    return paths[0]


def load(name: str) -> dict:
    """A record by its file name without the ending."""
    return json.loads(find(name).read_text("utf-8"))


def of_recipe(recipe: str) -> list[tuple[Path, dict]]:
    """All finished records of a recipe, by model and seed."""
    found = [
        (path, json.loads(path.read_text("utf-8")))
        for path in admitted(f"{recipe}-*.json")
    ]
    others = ("pretrained", "vit-pytorch")
    order = [*VARIANTS, *BASELINES, *TRICKS, *TASKS, *others]
    return sorted(
        (
            (path, record)
            for path, record in found
            if record["finished"] and record["recipe"]["name"] == recipe
        ),
        key=lambda item: (order.index(item[1]["variant"]), item[1]["seed"]),
    )


def lookup(record: dict, key: str):
    """The value at a path with dots."""
    value = record
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            raise ValueError(f"the record has no {key!r}")
        value = value[part]
    return value


def folded(summary: str, *content: nodes.Node) -> list[nodes.Node]:
    """What only some readers want, behind a line to click."""
    head = f"<details><summary>{summary}</summary>"
    return [
        nodes.raw("", head, format="html"),
        *content,
        nodes.raw("", "</details>", format="html"),
    ]


class RecordRole(SphinxRole):
    """``{record}`NAME KEY` ``: one number of a record."""

    def run(self):
        name, key, *spec = self.text.split()
        try:
            value = lookup(load(name), key)
            if spec == ["min"]:
                value, spec = value / 60, [".0f"]
            text = format_number(value, spec[0] if spec else "")
        except ValueError as error:
            message = self.inliner.reporter.error(
                f"record: {error}", line=self.lineno
            )
            problem = self.inliner.problematic(
                self.rawtext, self.rawtext, message
            )
            return [problem], [message]
        self.env.note_dependency(str(find(name)))
        return [nodes.Text(text)], []


def model_of(record: dict) -> str:
    """How the pages call a record's model."""
    return {"cnn": "CNN"}.get(record["model"], record["model"])


def anchor(record: dict) -> str:
    """What leads to the row of a record's recipe and model."""
    return f"run-{record['recipe']['name']}-{record['variant']}"


class RecordsDirective(SphinxDirective):
    """``{records} RECIPES``: the runs of a recipe, or of several."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        recipes = self.arguments[0].split()
        records = []
        for recipe in recipes:
            found = of_recipe(recipe)
            if not found:
                raise self.error(f"no record of the recipe {recipe!r}")
            for path, record in found:
                self.env.note_dependency(str(path))
                records.append(record)
        origins = nodes.bullet_list()
        for text in self.origins(records):
            origins += nodes.list_item("", nodes.paragraph(text=text))
        return [
            self.table(self.rows(records), self.anchors(records)),
            *folded("Devices, versions, commits", origins),
        ]

    @staticmethod
    def by_model(records: list[dict]) -> list[list[dict]]:
        """The runs of each row: of one recipe and model."""

        def of(record: dict) -> tuple[str, str]:
            return record["recipe"]["name"], model_of(record)

        return [list(runs) for _, runs in groupby(records, key=of)]

    @classmethod
    def anchors(cls, records: list[dict]) -> list[str]:
        """What the address of each row ends with; the head has none."""
        return ["", *(anchor(runs[0]) for runs in cls.by_model(records))]

    @classmethod
    def rows(cls, records: list[dict]) -> list[tuple[str, ...]]:
        """A head and a row a model; of several recipes, each is named."""
        numbers = ("runs", "top-1 %", "spread", "top-5 %", "min")
        rows: list[tuple[str, ...]] = [("recipe", "model", *numbers)]
        for runs in cls.by_model(records):
            names = runs[0]["recipe"]["name"], model_of(runs[0])
            rows.append((*names, *cls.outcome(runs)))
        one = len({record["recipe"]["name"] for record in records}) == 1
        return [row[1:] for row in rows] if one else rows

    @staticmethod
    def outcome(runs: list[dict]) -> tuple[str, ...]:
        """One model's runs: means, and the spread over the seeds."""

        def mean(get) -> float:
            return sum(map(get, runs)) / len(runs)

        top1 = summarize([run["test"]["top1"] for run in runs])
        several = top1.count > 1
        return (
            str(top1.count),
            f"{100 * top1.mean:.1f}",
            f"{100 * top1.spread:.1f}" if several else "",
            f"{100 * mean(lambda run: run['test']['top5']):.1f}",
            f"{mean(lambda run: run['seconds']) / 60:.0f}",
        )

    @classmethod
    def origins(cls, records: list[dict]) -> list[str]:
        """A line for each origin, with the rows and seeds that have it."""
        several = len({record["recipe"]["name"] for record in records}) > 1
        whose: dict[str, dict[str, list[int]]] = {}
        for record in records:
            row = model_of(record)
            if several:
                row = f"{record['recipe']['name']} {row}"
            rows = whose.setdefault(cls.origin(record), {})
            rows.setdefault(row, []).append(record["seed"])
        return [
            "; ".join(
                f"{row}, seed{'s' if len(seeds) > 1 else ''} "
                + ", ".join(map(str, seeds))
                for row, seeds in rows.items()
            )
            + f": {origin}"
            for origin, rows in whose.items()
        ]

    @staticmethod
    def origin(record: dict) -> str:
        """Device, versions, date, commit and recipe of a run, in a line."""
        versions, backend = record["versions"], record["backend"]
        number = versions.get(backend) or versions.get(f"{backend}-cpu", "")
        return (
            f"{record['device']}, Python {versions['python']}, Keras "
            f"{versions['keras']} on {backend} {number}, {record['date']}, "
            f"commit {(record['commit'] or '?')[:7]}, recipe "
            f"{record['recipe_hash']}."
        )

    @staticmethod
    def table(
        rows: list[tuple[str, ...]], anchors: Sequence[str] = ()
    ) -> nodes.table:
        """A table node; the first row is its header.

        Args:
            rows: the cells.
            anchors: of the rows, for links to them; "" for none.
        """
        columns = len(rows[0])
        numbers = [
            all(
                re.match(r"[-+±\d(]|reference|$", cells[column])
                for cells in rows[1:]
            )
            for column in range(columns)
        ]
        group = nodes.tgroup(cols=columns)
        group += [nodes.colspec(colwidth=1) for _ in range(columns)]
        head, body = nodes.thead(), nodes.tbody()
        for index, cells in enumerate(rows):
            row = nodes.row(ids=list(filter(None, anchors[index : index + 1])))
            for cell, number in zip(cells, numbers, strict=True):
                classes = ["text-right" if number else "text-left"]
                text = nodes.paragraph(text=cell)
                row += nodes.entry("", text, classes=classes)
            (body if index else head).append(row)
        group += [head, body]
        return nodes.table("", group)


def chart(
    env, name: str, draw: Callable[[], tuple[Figure, str]]
) -> nodes.image:
    """A figure as a picture of the page, written beside the doctrees.

    Args:
        env: Sphinx's environment.
        name: of the file, with a folder of its own.
        draw: makes, in the book's style, the figure and what it says to
            those who do not see it.
    """
    path = Path(env.doctreedir) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with plt.rc_context():
        plots.set_style()
        figure, alt = draw()
        figure.savefig(path)
        plt.close(figure)
    uri = Path(os.path.relpath(path, env.srcdir)).as_posix()
    return nodes.image(uri=f"/{uri}", alt=alt, classes=["chart"])


class WaitingDirective(SphinxDirective):
    """``{waiting}``: the studies that lack runs."""

    def run(self):
        names = {path.stem for path in admitted("*.json")}
        items = nodes.bullet_list()
        for study, runs in STUDIES.items():
            missing = [r for r in runs if record_name(*r) not in names]
            recipes = dict.fromkeys(recipe for recipe, *_ in missing)
            if missing:
                seeds = sorted({seed for *_, seed in missing})
                text = (
                    f"{study}: {len(missing)} of {len(runs)} runs wait, "
                    f"of {', '.join(recipes)}, "
                    f"seeds: {', '.join(map(str, seeds))}"
                )
                items += nodes.list_item("", nodes.paragraph(text=text))
        self.env.note_reread()
        if not len(items):
            return [nodes.paragraph(text="None.")]
        return folded("The runs that wait", items)


def setup(app):
    """Sphinx calls it."""
    app.add_directive("waiting", WaitingDirective)
    app.add_role("record", RecordRole())
    app.add_directive("records", RecordsDirective)
    return {"parallel_read_safe": True}
