"""Sphinx: all main results in one chart.

The directive ``{overview} RECIPES`` makes a sentence and a chart of the
records of these recipes: a row for each, sorted, a mark for each model.
"""

from curves import CURVES, LOOKS, Point, read, summary, trained
from docutils import nodes
from matplotlib.figure import Figure
from records import chart
from sphinx.util.docutils import SphinxDirective

from vitsd_helpers.display import plots
from vitsd_helpers.training.recipes import RECIPES

#: Points of a recipe by the model.
Row = dict[str, Point]


def collect(recipes: list[str]) -> list[Row]:
    """The rows, the best first.

    Raises:
        ValueError: if a recipe has no record.
    """
    rows: dict[str, Row] = {recipe: {} for recipe in recipes}
    for (variant, images), runs in read().items():
        for recipe in rows.keys() & runs:
            point = summary(images, recipe, runs[recipe])
            rows[recipe][variant] = point
    missing = [recipe for recipe, row in rows.items() if not row]
    if missing:
        raise ValueError(f"no record of the recipes {missing}")
    return sorted(rows.values(), key=best, reverse=True)


def best(row: Row) -> float:
    """The highest mean of a row, in per cent."""
    return max(point.mean for point in row.values())


def title(row: Row) -> str:
    """How many images, and how they were learned from."""
    point = next(iter(row.values()))
    images = f"{point.images:,} images"
    if point.recipe not in RECIPES:
        return f"{images}, pretrained"
    # Nearly all mirror and crop: that tells no rows apart.
    words = [w for w in trained(point) if w not in ("mirror", "crop")]
    if RECIPES[point.recipe].precision != "float32":
        words.append("bfloat16")
    return ", ".join([images, *words])


def sentence(rows: list[Row]) -> str:
    """The best from scratch, and how to read the chart."""
    scratch = [
        (point, name)
        for row in rows
        for name, point in row.items()
        if name != "pretrained"
    ]
    point, name = max(scratch, key=lambda pair: pair[0].mean)
    device = read()[name, point.images][point.recipe][0]["device"]
    return (
        f"The best from scratch is the {CURVES[name]} with {point.top1}, "
        f"after {point.minutes} minutes of training (machine: {device}, "
        "which other runs shared). Bars are "
        "95 % intervals of the mean over seeds; a hollow mark is one run."
    )


def draw(rows: list[Row]) -> tuple[Figure, str]:
    """The chart and its alt text."""
    figure, axis = plots.panels(height=0.9 + 0.33 * len(rows))
    said, named = [], set()
    for place, row in enumerate(rows):
        for name, point in sorted(row.items(), key=lambda p: -p[1].mean):
            look = LOOKS[name] | {"linestyle": "", "markersize": 6}
            if point.half is None:
                look["markerfacecolor"] = "none"
            axis.errorbar(point.mean, place, xerr=point.half, **look)
            said.append(f"{title(row)}: {CURVES[name]} {point.top1}")
            named.add(name)
    axis.set_yticks(range(len(rows)), [title(row) for row in rows])
    axis.set(xlabel="test top-1 %", ylim=(len(rows) - 0.5, -0.5))
    axis.set_xlim(left=0)
    looks = {CURVES[name]: LOOKS[name] for name in CURVES if name in named}
    plots.write_names(axis, looks, 0.02)
    return figure, f"Test top-1, best first. {'; '.join(said)}."


class OverviewDirective(SphinxDirective):
    """A sentence and a chart of the recipes that are named."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        """The nodes."""
        self.env.note_reread()
        read.cache_clear()
        try:
            rows = collect(self.arguments[0].split())
        except ValueError as error:
            raise self.error(str(error)) from error
        image = chart(self.env, "records/overview.png", lambda: draw(rows))
        return [nodes.paragraph(text=sentence(rows)), image]


def setup(app):
    """Sphinx calls it."""
    app.add_directive("overview", OverviewDirective)
    return {"parallel_read_safe": True}
