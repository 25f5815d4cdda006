"""Sphinx: numbers and tables on the pages, read from training records.

The role ``{record}`NAME KEY FORMAT` `` puts one value of
`book/results/NAME.json` into the text: KEY is a path with dots, such as
`test.top1`; FORMAT, if given, is Python's, such as `.1%`. The directive
``{records} RECIPE`` makes tables of all the recipe's records. A record or
key that does not exist is an error of the build.
"""

import json
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective, SphinxRole

FOLDER = Path(__file__).parents[1] / "results"


def load(name: str) -> dict:
    """A record by its file name without the ending."""
    path = FOLDER / f"{name}.json"
    if not path.exists():
        raise ValueError(f"there is no record {path.name} in book/results")
    return json.loads(path.read_text())


def lookup(record: dict, key: str):
    """The value at a path with dots."""
    value = record
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            raise ValueError(f"the record has no {key!r}")
        value = value[part]
    return value


def standard_error(share: float, count: int) -> float:
    """Standard error of a share measured on `count` images."""
    return (share * (1 - share) / count) ** 0.5


class RecordRole(SphinxRole):
    def run(self):
        name, key, *spec = self.text.split()
        try:
            value = lookup(load(name), key)
            text = format(value, spec[0] if spec else "")
        except ValueError as error:
            message = self.inliner.reporter.error(
                f"record: {error}", line=self.lineno
            )
            problem = self.inliner.problematic(
                self.rawtext, self.rawtext, message
            )
            return [problem], [message]
        self.env.note_dependency(str(FOLDER / f"{name}.json"))
        return [nodes.Text(text)], []


class RecordsDirective(SphinxDirective):
    required_arguments = 1

    def run(self):
        recipe = self.arguments[0]
        paths = sorted(FOLDER.glob(f"{recipe}-*.json"), reverse=True)
        if not paths:
            raise self.error(f"no record of the recipe {recipe!r}")
        for path in paths:
            self.env.note_dependency(str(path))
        found = [load(path.stem) for path in paths]
        rows = [
            ("model", "top-1", "top-5", "images/s", "min"),
            *map(self.outcome, found),
        ]
        origins = nodes.bullet_list()
        for record in found:
            text = nodes.paragraph(text=self.origin(record))
            origins += nodes.list_item("", text)
        return [self.table(rows), origins]

    @staticmethod
    def outcome(record: dict) -> tuple[str, ...]:
        top1, top5 = record["test"]["top1"], record["test"]["top5"]
        error = standard_error(top1, record["test_images"])
        return (
            record["model"],
            f"{top1:.1%} ± {100 * error:.1f}",
            f"{top5:.1%}",
            f"{record['images_per_second']:.0f}",
            f"{record['seconds'] / 60:.0f}",
        )

    @staticmethod
    def origin(record: dict) -> str:
        """Seed, device, versions, date and commit of a run, in a line."""
        versions, backend = record["versions"], record["backend"]
        number = versions.get(backend) or versions.get(f"{backend}-cpu", "")
        return (
            f"{record['model']}: seed {record['seed']}, {record['device']}, "
            f"Keras {versions['keras']} on {backend} {number}, "
            f"{record['date']}, commit {(record['commit'] or '?')[:7]}, "
            f"recipe {record['recipe_hash']}."
        )

    @staticmethod
    def table(rows: list[tuple[str, ...]]) -> nodes.table:
        """A table node; the first row is its header."""
        columns = len(rows[0])
        group = nodes.tgroup(cols=columns)
        group += [nodes.colspec(colwidth=1) for _ in range(columns)]
        head, body = nodes.thead(), nodes.tbody()
        for index, cells in enumerate(rows):
            row = nodes.row()
            for cell in cells:
                row += nodes.entry("", nodes.paragraph(text=cell))
            (body if index else head).append(row)
        group += [head, body]
        return nodes.table("", group)


def setup(app):
    app.add_role("record", RecordRole())
    app.add_directive("records", RecordsDirective)
    return {"parallel_read_safe": True}
