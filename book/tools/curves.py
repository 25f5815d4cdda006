"""Sphinx: what to expect of N images, from the records.

The directive ``{curves}`` shows top-1 over the number of images as a chart
and as tables; the script of the live figure takes the chart's place and
reads the same numbers, which stand as JSON beside it. The directive
``{trainings} CURVE`` is a table of how a network was trained. The roles
``{expect}`CURVE N` ``, ``{minutes}`CURVE N` `` and ``{train}`N` `` put the
expected accuracy, the time and what to train into the text, as the best of
our recipes at this number of images has it; the accuracy leads to its runs.
"""

import json
import re
from dataclasses import asdict, dataclass
from functools import cache
from statistics import median

from docutils import nodes
from experiments import STUDIES
from records import FOLDER, RecordsDirective, anchor, chart, folded
from sphinx.util.docutils import SphinxDirective, SphinxRole

from vitsd_helpers.display import plots
from vitsd_helpers.evidence.records import read_records
from vitsd_helpers.evidence.statistics import paired, summarize
from vitsd_helpers.training.recipes import get_recipe

#: Title of each curve by its records' variant.
CURVES = {
    "pretrained": "Pretrained features",
    "cnn": "CNN",
    "sl": "SL-ViT",
    "vit": "ViT",
}
#: What is trained from scratch.
SCRATCH = ("sl", "vit", "cnn")
#: Recipes of a curve's points, by budget. The CNN's steps are in bfloat16.
STEPS, EPOCHS = r"steps-\d+", r"epochs-\d+"
ALL = (
    rf"{STEPS}|{EPOCHS}|cutmix-\d+|longer-\d+(-adamw)?"
    r"|ladder-\d+(-cutmix)?(-bf16)?|price-[a-z-]+"
)
#: Minutes that a recipe's middle run may take.
LIMITS = {"hour": 60, "short": 20}
BUDGETS = dict.fromkeys(("best", *LIMITS), ALL)
BUDGETS |= {"steps": STEPS, "epochs": EPOCHS}
#: Where one recipe is two budgets: 18 passes over 5,000 are those steps.
BOTH = "steps-5000"
#: First and last number of the slider, and where it stands first.
RANGE, FIRST = (200, 100_000), 5_000
STILL = "live-curves.png"
#: Start, patch and training of the pretrained network.
FEATURES = ("ImageNet's weights", "–", "features, then a regression")
#: Advised without a record: minutes and command.
ADVISED = (*FEATURES, "advice, no record", "the code below")
LOOKS = plots.MODELS | {
    "cnn": {"color": plots.PINK, "linestyle": ":", "marker": "D"},
    "pretrained": {"color": plots.GREEN, "linestyle": "-.", "marker": "s"},
}


@dataclass(frozen=True)
class Point:
    """All runs of a recipe by one model with so many images.

    `mean` and `half`, of the 95 % interval of the mean (None for one run),
    are in per cent; `fastest`, `middle` (the median) and `slowest` are of
    the runs, in minutes.
    """

    images: int
    mean: float
    half: float | None
    runs: int
    fastest: float
    middle: float
    slowest: float
    recipe: str
    epochs: int
    steps: int

    @property
    def top1(self) -> str:
        """The accuracy in words."""
        if self.half is None:
            return f"{self.mean:.1f} %, one run"
        return f"{self.mean:.1f} ± {self.half:.1f} %, {self.runs} runs"

    @property
    def minutes(self) -> str:
        """The time in words."""
        low, high = f"{self.fastest:.0f}", f"{self.slowest:.0f}"
        if self.slowest < 1:
            return "under 1"
        return low if low == high else f"{low} to {high}"


def summary(images: int, recipe: str, runs: list[dict]) -> Point:
    """A point of a curve."""
    top1 = summarize([100 * run["test"]["top1"] for run in runs])
    minutes = [run["seconds"] / 60 for run in runs]
    return Point(
        images,
        round(top1.mean, 3),
        round(top1.half, 3) if top1.count > 1 else None,
        top1.count,
        round(min(minutes), 2),
        round(median(minutes), 2),
        round(max(minutes), 2),
        recipe,
        runs[0]["recipe"]["epochs"],
        runs[0]["steps"],
    )


@cache
def read() -> dict[tuple[str, int], dict[str, list[dict]]]:
    """Finished CIFAR-100 runs by (variant, images) and recipe."""
    found: dict = {}
    for record in [
        *read_records().values(),
        *read_records(FOLDER / "peers").values(),
    ]:
        variant, name = record["variant"], record["recipe"]["name"]
        if (
            variant in CURVES
            and record["finished"]
            and record["data"] == "cifar100"
            and record["tested_on"] == "test"
        ):
            runs = found.setdefault((variant, record["train_images"]), {})
            runs.setdefault(name, []).append(record)
    return found


def recipes(curve: str, budget: str) -> str:
    """A pattern of the names of a curve's recipes."""
    if curve == "pretrained":
        return r"pretrained-\d+"
    if curve == "cnn":
        return f"({BUDGETS[budget]})(-bf16)?"
    extra = f"|{BOTH}" if budget == "epochs" else ""
    return BUDGETS[budget] + extra


def chosen(curve: str, budget: str) -> dict[int, Point]:
    """The points of a curve by the number of images.

    Of several recipes the one with the best mean.
    """
    pattern, found = recipes(curve, budget), {}
    limit = LIMITS.get(budget, float("inf"))
    for (variant, images), by_recipe in sorted(read().items()):
        if variant != curve:
            continue
        points = [
            point
            for recipe, runs in by_recipe.items()
            if re.fullmatch(pattern, recipe)
            and (point := summary(images, recipe, runs)).middle <= limit
        ]
        if points:
            found[images] = max(points, key=lambda point: point.mean)
    return found


def lead(first: Point, second: Point, names: tuple[str, str]):
    """Summary of first minus second; None without a seed in common."""
    one, other = (
        {
            run["seed"]: 100 * run["test"]["top1"]
            for run in read()[name, point.images][point.recipe]
        }
        for name, point in zip(names, (first, second), strict=True)
    )
    return paired(one, other) if one.keys() & other else None


def from_scratch(at: dict[str, Point]) -> tuple[str, str]:
    """What to train from scratch, and why, of the points at one number."""
    short, reason = ranked(at)
    best, cnn = max(at.values(), key=lambda point: point.mean), at.get("cnn")
    if cnn and cnn.steps < best.steps:
        short += " (the CNN was not trained as long)"
        reason += " The CNN was not trained as long."
    return short, reason


def ranked(at: dict[str, Point]) -> tuple[str, str]:
    """The best from scratch, or the best two, and by how much."""
    order = sorted(at, key=lambda name: -at[name].mean)
    best = order[0]
    if len(order) == 1:
        return CURVES[best], f"{CURVES[best]}, {at[best].top1}."
    second = order[1]
    gap = lead(at[best], at[second], (best, second))
    pair = f"{CURVES[best]} or {CURVES[second]}"
    if gap is None:
        return pair, f"{pair}: they have no seed in common."
    if gap.count == 1:
        why = f"{gap.mean:.1f} points apart by one seed, which settles nothing"
        return pair, f"{pair}, {why}."
    size = f"{gap.mean:.1f} ± {gap.half:.1f} points"
    if gap.mean > gap.half:
        return CURVES[best], (
            f"{CURVES[best]}, {size} ahead of the {CURVES[second]}."
        )
    return pair, (
        f"{pair}: the first is {size} ahead, and that interval includes zero."
    )


def advise(images: int, budget: str = "best") -> tuple[str, str]:
    """What to train with a measured number of images: a cell, a sentence.

    Raises:
        ValueError: if nothing was trained from scratch on as many.
    """
    at = {
        name: points[images]
        for name in CURVES
        if images in (points := chosen(name, budget))
    }
    scratch = {name: at[name] for name in SCRATCH if name in at}
    if not scratch:
        raise ValueError(f"no record of {images:,} images by {budget!r}")
    short, reason = from_scratch(scratch)
    known = at.get("pretrained")
    if known is None:
        return f"from scratch: {short}", (
            f"With {images:,} images we measured training from scratch "
            f"alone: {reason}"
        )
    best = max(point.mean for point in scratch.values())
    if known.mean - (known.half or 0) <= best:
        level = f"{known.top1} in {known.minutes} minutes"
        cell = f"features of a pretrained network, or from scratch: {short}"
        return cell, (
            f"With {images:,} images a pretrained network's features, "
            f"{level}, are level with training from scratch, {best:.1f} %. "
            f"From scratch: {reason}"
        )
    return f"features of a pretrained network; from scratch: {short}", (
        f"With {images:,} images take a pretrained network's features: "
        f"{known.mean:.1f} % against {best:.1f} % from scratch. If no network "
        f"has seen pictures like yours: {reason}"
    )


def about(budget: str) -> tuple[str, str]:
    """Title and note of a budget, with its numbers."""
    points = chosen("vit", budget).values()
    if budget == "steps":
        most = max(point.steps for point in points)
        title = f"Equal steps: {most:,}"
        return title, "As many steps with few images as with many."
    if budget == "epochs":
        passes = max(point.epochs for point in points)
        title = f"Equal epochs: {passes} passes"
        return title, "As many passes over few images as over many."
    if budget in LIMITS:
        return f"{LIMITS[budget]} minutes at most", (
            "At each number, the best on the test images of those recipes of "
            f"ours whose middle run took {LIMITS[budget]} minutes at most. It "
            "is a rough limit: the minutes are of shared machines, in "
            "float32 or bfloat16, and do not compare the models."
        )
    cnn, ours = chosen("cnn", budget), chosen("sl", budget)
    most = max(cnn)
    return "Best of our recipes", (
        "At each number, the recipe of ours that did best on the test "
        "images: a choice that flatters it a little. They are not of one "
        f"length: with {most:,} images the CNN made {cnn[most].steps:,} "
        f"steps, the SL-ViT {ours[most].steps:,}."
    )


def collect() -> dict:
    """All that the live figure says, for JSON."""
    budgets = []
    for budget in BUDGETS:
        points = {name: chosen(name, budget) for name in CURVES}
        sizes = sorted({n for name in SCRATCH for n in points[name]})
        title, note = about(budget)
        curves = [
            {
                "key": name,
                "title": CURVES[name],
                "points": [
                    asdict(point) | {"top1": point.top1, "took": point.minutes}
                    for point in points[name].values()
                ],
            }
            for name in CURVES
            if points[name]
        ]
        advice = {n: advise(n, budget)[1] for n in sizes}
        budgets.append(
            {
                "key": budget,
                "title": title,
                "note": note,
                "curves": curves,
                "advice": advice,
            }
        )
    return {"range": RANGE, "first": FIRST, "budgets": budgets}


def draw(budget: dict):
    """The chart of a budget, and its alt text."""
    figure, axis = plots.panels(height=3.6)
    said = []
    for curve in budget["curves"]:
        sizes = [point["images"] for point in curve["points"]]
        means = [point["mean"] for point in curve["points"]]
        bars = [point["half"] or 0 for point in curve["points"]]
        look = LOOKS[curve["key"]]
        axis.errorbar(sizes, means, bars, capsize=3, **look)
        said.append(f"{curve['title']} {means[0]:.1f} to {means[-1]:.1f} %")
    # Some begin and end close together: this corner is free.
    looks = {curve["title"]: LOOKS[curve["key"]] for curve in budget["curves"]}
    plots.write_names(axis, looks, 0.98, 0.32, ha="right")
    axis.set(xscale="log", xlabel="images", ylabel="test top-1 %")
    axis.set_xticks(
        ticks := [int(n) for n in budget["advice"]], [f"{n:,}" for n in ticks]
    )
    axis.minorticks_off()
    axis.set_ylim(0)
    return figure, (
        "Test top-1 over the number of images, from the fewest to the most "
        f"measured: {'; '.join(said)}."
    )


def trained(point: Point) -> list[str]:
    """How a recipe of ours trained: passes, then what it used."""
    recipe = get_recipe(point.recipe)
    seen = point.steps * recipe.batch_size
    used = {
        "mirror": recipe.flip,
        "crop": recipe.crop,
        "CutMix": recipe.mix and recipe.cutmix == 1,
        "Muon": recipe.optimizer == "muon",
    }
    words = [f"{round(seen / point.images)} passes"]
    return words + [name for name, on in used.items() if on]


def command(curve: str, point: Point) -> str:
    """What makes one such run on CIFAR-100."""
    if curve == "pretrained":
        tool = ".venv/bin/python book/tools/pretrained.py fit F.npz FOLDER"
        return f"{tool} --images {point.images} --seeds 0"
    if curve in plots.MODELS:
        backend = read()[curve, point.images][point.recipe][0]["backend"]
        made = f"make train RECIPE={point.recipe} MODELS={curve}"
        return f"KERAS_BACKEND={backend} {made}"
    run = (point.recipe, curve, 0)
    study = next(name for name, runs in STUDIES.items() if run in runs)
    chosen_run = f"STUDIES={study} RECIPES={point.recipe} SEEDS=0"
    return f"make studies {chosen_run} RESULTS=runs/again"


def training(curve: str, images: int) -> tuple[str, ...]:
    """A row: how a network's best with so many images came about."""
    point = chosen(curve, "best")[images]
    if curve == "pretrained":
        how = FEATURES
    else:
        recipe = get_recipe(point.recipe)
        patch = f"{recipe.model.patch_size}" if curve in plots.MODELS else "–"
        passes, *used = trained(point)
        how = ("from scratch", patch, ", ".join([*used, passes]))
    return f"{images:,}", *how, point.minutes, command(curve, point)


class CurvesDirective(SphinxDirective):
    """``{curves}``: the chart, the numbers for the script, and tables."""

    def run(self):
        """The nodes."""
        self.env.note_reread()
        read.cache_clear()
        found = collect()
        first = found["budgets"][0]
        image = chart(self.env, f"curves/{STILL}", lambda: draw(first))
        text = json.dumps(found, ensure_ascii=False).replace("<", "\\u003c")
        data = (
            '<script type="application/json" id="live-curves-data">'
            f"{text}</script>"
        )
        tables = [part for each in found["budgets"] for part in rows_of(each)]
        return [
            nodes.paragraph("", "", image),
            nodes.raw("", data, format="html"),
            *folded("All the numbers of the curves as tables", *tables),
        ]


def rows_of(budget: dict) -> list[nodes.Node]:
    """A budget's note and its table."""
    at = [{p["images"]: p for p in c["points"]} for c in budget["curves"]]
    sizes = sorted(set().union(*at))

    def cell(points: dict, images: int) -> str:
        return points[images]["top1"] if images in points else "not measured"

    rows = [
        ("images", *(c["title"] for c in budget["curves"])),
        *((f"{n:,}", *(cell(points, n) for points in at)) for n in sizes),
    ]
    text = f"{budget['title']}. {budget['note']}"
    return [nodes.paragraph(text=text), RecordsDirective.table(rows)]


class TrainingsDirective(SphinxDirective):
    """``{trainings} CURVE``: how a network was trained, as a table."""

    required_arguments = 1

    def run(self):
        """The table; the commands are set as code."""
        (curve,) = self.arguments
        heads = ("images", "start", "patch", "training", "minutes", "command")
        rows = [training(curve, n) for n in sorted(chosen(curve, "best"))]
        if curve == "pretrained":
            large = ("any, of 224 pixels", *ADVISED)
            rows = [("200", *ADVISED), *rows, large]
        table = RecordsDirective.table([heads, *rows])
        for row in list(table.findall(nodes.row))[1:]:
            cell = row[-1][0]
            text = cell.astext()
            if "=" in text or "--" in text:
                cell.children = [nodes.literal(text, text)]
        return [table]


class PointRole(SphinxRole):
    """A role that says something of a curve's point."""

    def run(self):
        """The text, or what is wrong."""
        try:
            text = self.say(*self.text.split())
        except (KeyError, TypeError, ValueError) as error:
            message = self.inliner.reporter.error(
                f"{self.name}: no record of {self.text!r}: {error}",
                line=self.lineno,
            )
            problem = self.inliner.problematic(
                self.rawtext, self.rawtext, message
            )
            return [problem], [message]
        return [self.node(text)], []

    def node(self, text: str) -> nodes.Node:
        """What holds the text."""
        return nodes.Text(text)


class ExpectRole(PointRole):
    """``{expect}`CURVE N` ``: the accuracy, a link to the runs."""

    @staticmethod
    def say(curve: str, images: str) -> str:
        """Such as "20.5 ± 0.4 %, 10 runs"."""
        return chosen(curve, "best")[int(images)].top1

    def node(self, text: str) -> nodes.Node:
        """A link to the row of the runs on the page of all runs."""
        curve, images = self.text.split()
        recipe = chosen(curve, "best")[int(images)].recipe
        runs = read()[curve, int(images)][recipe]
        page = self.env.app.builder.get_relative_uri(
            self.env.docname, "book/results"
        )
        uri = f"{page}#{anchor(runs[0])}"
        return nodes.reference("", text, internal=True, refuri=uri)


class MinutesRole(PointRole):
    """``{minutes}`CURVE N` ``: the time."""

    @staticmethod
    def say(curve: str, images: str) -> str:
        """Such as "5 to 42"."""
        return chosen(curve, "best")[int(images)].minutes


class TrainRole(PointRole):
    """``{train}`N` ``: what to train."""

    @staticmethod
    def say(images: str) -> str:
        """Such as "from scratch: SL-ViT"."""
        return advise(int(images))[0]


def setup(app):
    """Sphinx calls it."""
    app.add_directive("curves", CurvesDirective)
    app.add_directive("trainings", TrainingsDirective)
    app.add_role("expect", ExpectRole())
    app.add_role("minutes", MinutesRole())
    app.add_role("train", TrainRole())
    return {"parallel_read_safe": True}
