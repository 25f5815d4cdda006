"""The many runs behind chapters 6 to 9, one after another, resumable.

    python book/tools/experiments.py list
    python book/tools/experiments.py run [STUDY ...] [--workers 2]
        [--recipes RECIPE ...] [--seeds SEED ...]
        [--results FOLDER] [--work FOLDER]
    python book/tools/experiments.py labels

Every run is a process of its own. What has a record is not run again, and
what was stopped goes on from its last epoch.
"""

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vitsd_helpers.evidence.records import record_name
from vitsd_helpers.training.recipes import CONTROLS, FACTORS, RUNGS, SHIFTS

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "book" / "results"
WEIGHTS = RESULTS / "weights"
WORK = ROOT / ".checkpoints"

SEEDS = (0, 1, 2)
PAIR = ("vit", "sl")


def grid(recipes, variants, seeds=SEEDS) -> list[tuple[str, str, int]]:
    """All runs, so that seed 0 of everything comes first."""
    runs = itertools.product(seeds, recipes, variants)
    return [(recipe, variant, seed) for seed, recipe, variant in runs]


TEN = tuple(range(10))
#: The combinations but for those of the pair.
OTHERS = [name for name in FACTORS if name not in PAIR]

#: Runs by study: (recipe, variant, seed), in the order of importance.
STUDIES = {
    "factorial": grid(["steps-5000"], FACTORS),
    "sizes": grid(
        [f"steps-{n}" for n in (500, 1_000, 2_000, 10_000, 50_000)], PAIR
    ),
    "weights": grid(["epochs-50000"], PAIR, (0,)),
    "shifts": grid(["steps-5000"], SHIFTS),
    "epochs": grid([f"epochs-{n}" for n in (500, 1_000, 2_000, 10_000)], PAIR),
    "cutmix": grid([f"cutmix-{n}" for n in (500, 5_000, 50_000)], PAIR),
    "epochs-50000": grid(["epochs-50000"], PAIR, (1, 2)),
    "laptop": grid(["laptop"], PAIR, (0,)),
    "gpu": [
        *grid(["seed-2022"], PAIR, (0,)),
        *grid(["paper"], ["sl"], (0,)),
        *grid(["paper"], ["vit"], (0,)),
        *grid(["seed-2022", "paper"], PAIR, (1, 2)),
        *grid(["seed-as-printed"], PAIR),
    ],
    "ladder": grid(
        [*(f"ladder-{n}" for n in (2, 4, 8, 16)), "ladder-seed"], PAIR
    ),
    "speedrun": [
        *grid(["best-30s", "best", "best-9min"], ["sl"]),
        *grid(["best"], ["vit"]),
        *grid(["best"], ["sl"], (3, 4)),
    ],
    # In bfloat16. The margin was set before the runs: the two are the same
    # if the interval of the paired difference lies within one point.
    "precision": [
        *grid(["steps-5000"], PAIR, TEN[3:]),
        *grid(["steps-5000-bf16"], PAIR, TEN),
    ],
    "ablation": grid(["steps-5000-bf16"], [*OTHERS, "shift0", *CONTROLS], TEN),
    "rungs": grid([f"ladder-{n}-bf16" for n in RUNGS], PAIR),
    "long": grid(["ladder-16-bf16"], [*OTHERS, "shift0", *CONTROLS]),
}
#: Studies that name their backend; the others run on the one there is.
BACKENDS = dict.fromkeys(("precision", "ablation", "rungs", "long"), "torch")
#: Studies whose records stand by themselves.
MAIN = ("laptop", "gpu", "speedrun")
#: Studies that two cores can do.
ON_A_CPU = [name for name in STUDIES if name not in MAIN]
#: Runs whose weights are kept.
KEPT = {("epochs-50000", "vit", 0), ("epochs-50000", "sl", 0)}
KEPT |= {("paper", "vit", 0), ("paper", "sl", 0), ("best", "sl", 0)}
KEPT |= {("ladder-64-bf16", "vit", 0), ("ladder-64-bf16", "sl", 0)}


def place(results: Path, work: Path) -> None:
    """Set where records and weights go, and where checkpoints are kept."""
    global RESULTS, WEIGHTS, WORK
    RESULTS, WEIGHTS, WORK = results, results / "weights", work


def study_of(run: tuple[str, str, int]) -> str | None:
    """The study that a run is of, if any."""
    return next((name for name, runs in STUDIES.items() if run in runs), None)


def folder(study: str) -> Path:
    """Where the records of a study lie."""
    return RESULTS if study in MAIN else RESULTS / "studies"


def done(study: str, run: tuple[str, str, int]) -> bool:
    """Whether a run has the record of its end."""
    path = folder(study) / f"{record_name(*run)}.json"
    return path.exists() and json.loads(path.read_text())["finished"]


def one(study: str, run: tuple[str, str, int]) -> None:
    """Train, then write record and answers, and weights if they are kept."""
    from vitsd_helpers.training.loop import train
    from vitsd_helpers.training.recipes import get_recipe

    name, variant, seed = run
    recipe = get_recipe(name)
    data = recipe.load(seed=seed)
    work = WORK / record_name(*run)
    result = train(recipe, variant, data, seed=seed, folder=work)
    if not result.record["finished"]:
        sys.exit(130)
    if run in KEPT:
        result.write_weights(WEIGHTS)
    result.write(folder(study))
    shutil.rmtree(work)


def write_labels() -> None:
    """Write what `records.read_labels` reads."""
    import numpy as np

    from vitsd_helpers import load_data

    data = load_data("cifar100")
    np.savez_compressed(
        RESULTS / "cifar100-test-labels.npz",
        label=data.y_test.astype("uint8"),
        names=np.array(data.class_names),
    )


def missing(studies, recipes=(), seeds=()) -> list[tuple[str, tuple]]:
    """Study and run of what has no record yet.

    Given recipes or seeds, only of those.
    """
    return [
        (study, run)
        for study in studies
        for run in STUDIES[study]
        if (not recipes or run[0] in recipes)
        and (not seeds or run[2] in seeds)
        and not done(study, run)
    ]


def run_all(todo: list[tuple[str, tuple]], workers: int) -> int:
    """Train one after another, or several at once; how many failed."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}

    def start(item) -> int:
        study, run = item
        command = [sys.executable, __file__, "one", study, *map(str, run)]
        command += ["--results", str(RESULTS), "--work", str(WORK)]
        backend = os.environ.get("KERAS_BACKEND", "tensorflow")
        backend = {"KERAS_BACKEND": BACKENDS.get(study, backend)}
        code = subprocess.run(command, env=environment | backend).returncode
        print(*run, "failed" if code else "done", flush=True)
        return code

    print(len(todo), "runs to do", flush=True)
    with ThreadPoolExecutor(workers) as pool:
        return sum(map(bool, pool.map(start, todo)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list")
    commands.add_parser("labels")
    every = commands.add_parser("run")
    every.add_argument("studies", nargs="*", default=ON_A_CPU)
    every.add_argument("--workers", type=int, default=1)
    every.add_argument("--recipes", nargs="+", default=())
    every.add_argument("--seeds", nargs="+", type=int, default=())
    every.add_argument("--results", type=Path, default=RESULTS)
    every.add_argument("--work", type=Path, default=WORK)
    single = commands.add_parser("one")
    for name in ("study", "recipe", "variant"):
        single.add_argument(name)
    single.add_argument("seed", type=int)
    single.add_argument("--results", type=Path, default=RESULTS)
    single.add_argument("--work", type=Path, default=WORK)
    given = parser.parse_args()
    if given.command in ("one", "run"):
        place(given.results.resolve(), given.work.resolve())
    if given.command == "list":
        for study, runs in STUDIES.items():
            count = sum(done(study, run) for run in runs)
            print(f"{study}: {count} of {len(runs)} runs have a record")
    elif given.command == "labels":
        write_labels()
    elif given.command == "one":
        run = (given.recipe, given.variant, given.seed)
        one(given.study, run)
    else:
        todo = missing(given.studies, given.recipes, given.seeds)
        sys.exit(run_all(todo, given.workers) > 0)


if __name__ == "__main__":
    main()
