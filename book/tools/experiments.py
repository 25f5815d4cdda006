"""The many runs behind the result chapters, one after another, resumable.

    python book/tools/experiments.py list
    python book/tools/experiments.py run STUDY ... [--dry] [--force]
        [--workers 2] [--recipes RECIPE ...] [--seeds SEED ...]
        [--results FOLDER] [--work FOLDER] [--index I] [--ray ADDRESS]
    python book/tools/experiments.py labels

"cpu" stands for all the studies that two cores can do. Every run is a
process of its own. What has a record is not run again, and what was stopped
goes on from its last epoch. `--dry` lists the runs with the time that they
will take; `--force` starts what needs a GPU without one.

Several machines share the folders, and each makes a part of the list:
`--index I` the run of that place, from 0, as a Slurm array or a Kubernetes
Indexed Job counts them; `--ray ADDRESS` gives all to a Ray cluster, "local"
being one of this machine's own.
"""

import contextlib
import importlib.util
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from terminal import Parser, alone, check_data, command

from vitsd_helpers.evidence.records import commit, record_name
from vitsd_helpers.training.recipes import (
    CONTROLS,
    FACTORS,
    RECIPES,
    RUNGS,
    SHIFTS,
    SIZES,
)

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "book" / "results"
RESULTS = BOOK
#: Seconds after which Ray's runs are counted again.
SILENCE = 15
WEIGHTS = RESULTS / "weights"
WORK = ROOT / ".checkpoints" / "studies"

SEEDS = (0, 1, 2)
PAIR = ("vit", "sl")


def grid(recipes, variants, seeds=SEEDS) -> list[tuple[str, str, int]]:
    """All runs, so that seed 0 of everything comes first."""
    runs = itertools.product(seeds, recipes, variants)
    return [(recipe, variant, seed) for seed, recipe, variant in runs]


TEN = tuple(range(10))
#: The combinations but for those of the pair.
OTHERS = [name for name in FACTORS if name not in PAIR]

#: Where "longer" has no run; all images are the ladder's.
OTHER_SIZES = [n for n in SIZES if n not in (5_000, 50_000)]

#: The models of `tricks.py`, which would import Keras.
TRICKS = ("relative", "rotary", "separate", "seqpool", "overlap", "stem")
#: And of `tasks.py`.
TASKS = ("ssat", "guide")
#: The models of the study "prices", beside its recipes.
PRICED = ("spt", "lsa", "vit_norm", *TRICKS, *TASKS)
#: Whose logits guide, by seed.
GUIDES = grid(["price-adamw"], ["cnn"])

#: The longest that two cores do in a night: a run of each model.
NIGHT = grid(["ladder-64-bf16"], PAIR, (0,))
#: As long, with CutMix: after 64 passes both models know their images.
MIXED = grid(["ladder-64-cutmix-bf16"], PAIR, (0,))
#: And at the paper's size: five hours of a core each, with bfloat16.
LARGE = grid(["large-50-cutmix-bf16"], ("sl", "vit"), (0,))

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
    "pair": grid(["steps-5000"], PAIR, TEN[3:]),
    # In bfloat16. The margin was set before the runs: the two are the same
    # if the interval of the paired difference lies within one point.
    "precision": grid(["steps-5000-bf16"], PAIR, TEN),
    "cnn": grid([f"steps-{n}-bf16" for n in SIZES], ["cnn"]),
    "longer": [
        *grid(["longer-5000"], PAIR),
        *grid(["longer-5000-adamw"], ["cnn"]),
    ],
    "lengths": sorted(
        [
            *grid([f"longer-{n}" for n in OTHER_SIZES], PAIR),
            *grid([f"longer-{n}-adamw" for n in OTHER_SIZES], ["cnn"]),
            *grid(["longer-50000-adamw"], ["cnn"]),
        ],
        key=lambda run: run[2],
    ),
    # Which part leads where the ViT has learned its images by heart?
    "few": grid(["steps-2000"], OTHERS),
    "ablation": grid(["steps-5000-bf16"], [*OTHERS, "shift0", *CONTROLS], TEN),
    # Its longest rung, once: chapter 9 and the explorer have the weights.
    "night": NIGHT,
    "night-cutmix": MIXED,
    "large": LARGE,
    "rungs": [
        run
        for run in grid([f"ladder-{n}-bf16" for n in RUNGS], PAIR)
        if run not in NIGHT
    ],
    "long": grid(["ladder-16-bf16"], [*OTHERS, "shift0", *CONTROLS]),
    # What is each trick worth? The base is "ladder"'s ViT of eight passes.
    "prices": sorted(
        [
            *grid([r for r in RECIPES if r.startswith("price-")], ["vit"]),
            *GUIDES,
            *grid(["ladder-8"], PRICED),
        ],
        key=lambda run: run[2],
    ),
}
#: Studies that name their backend; the others run on the one there is.
BACKENDS = dict.fromkeys(
    (
        "pair",
        "precision",
        "cnn",
        "longer",
        "lengths",
        "few",
        "ablation",
        "night",
        "night-cutmix",
        "large",
        "rungs",
        "long",
        "prices",
    ),
    "torch",
)
#: Studies whose records stand by themselves.
MAIN = ("laptop", "night", "night-cutmix", "large", "gpu", "speedrun")
#: Studies that would take weeks without a GPU.
NEED_A_GPU = ("gpu", "speedrun")
#: Studies that two cores can do.
ON_A_CPU = [name for name in STUDIES if name not in NEED_A_GPU]
#: Runs whose weights are kept.
KEPT = {("epochs-50000", "vit", 0), ("epochs-50000", "sl", 0)}
KEPT |= {("paper", "vit", 0), ("paper", "sl", 0), ("best", "sl", 0)}
KEPT |= {*NIGHT, *MIXED, *LARGE, *GUIDES}


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
    return path.exists() and json.loads(path.read_text("utf-8"))["finished"]


def one(study: str, run: tuple[str, str, int]) -> None:
    """Train a run, unless another process does or has just done so."""
    from vitsd_helpers.training.processes import first_process, initialize

    initialize()
    work = WORK / record_name(*run)
    if not first_process():
        make(study, run, work)
        return
    locked = work.with_suffix(".lock")
    WORK.mkdir(parents=True, exist_ok=True)
    with alone(locked, f"{work.name} is being trained by another process."):
        if not done(study, run):
            make(study, run, work)
    with contextlib.suppress(OSError):  # on Windows, if another asks for it
        locked.unlink()


def make(study: str, run: tuple[str, str, int], work: Path) -> None:
    """Train, write record, predictions and, if kept, weights."""
    import tricks

    from vitsd_helpers.training.loop import train
    from vitsd_helpers.training.processes import first_process
    from vitsd_helpers.training.recipes import get_recipe

    name, variant, seed = run
    recipe = get_recipe(name)
    data = recipe.load(seed=seed)
    model = tricks.build(recipe, variant, data, seed)
    if variant == "guide":
        read_guide(model.guide, seed)
    result = train(model, data, recipe, seed=seed, folder=work)
    if not result.record["finished"]:
        sys.exit(130)
    if not first_process():
        return
    if run in KEPT:
        result.write_weights(WEIGHTS)
    result.write(folder(study))
    shutil.rmtree(work)


def read_guide(cnn, seed: int) -> None:
    """Give the CNN that guides the weights of its run."""
    from vitsd_helpers.training.weights import load_weights

    run = GUIDES[seed]
    path = WEIGHTS / f"{record_name(*run)}.safetensors"
    if not path.exists():
        sys.exit(
            f"the CNN that guides is not trained, or not here ({path}): make "
            f"{' '.join(map(str, run))} of the study 'prices' first, with "
            "the same folder of results."
        )
    load_weights(cnn, path)


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


def chosen(studies, recipes=(), seeds=()) -> list[tuple[str, tuple]]:
    """Study and run; given recipes or seeds, only of those."""
    return [
        (study, run)
        for study in studies
        for run in STUDIES[study]
        if (not recipes or run[0] in recipes)
        and (not seeds or run[2] in seeds)
    ]


def missing(studies, recipes=(), seeds=()) -> list[tuple[str, tuple]]:
    """Those of the chosen runs that have no record yet."""
    runs = chosen(studies, recipes, seeds)
    return [(study, run) for study, run in runs if not done(study, run)]


def backend_of(study: str) -> str:
    """The backend that a study names, or the reader's own."""
    own = os.environ.get("KERAS_BACKEND", "tensorflow")
    return BACKENDS.get(study, own)


def has_gpu() -> bool:
    """Whether the system shows a GPU of NVIDIA's or AMD's."""
    try:
        found = subprocess.run(["nvidia-smi", "-L"], capture_output=True)
    except OSError:
        return Path("/dev/kfd").exists()
    return b"GPU" in found.stdout


def check(studies, recipes, seeds, workers: int) -> None:
    """Refuse names that do not exist."""
    for study in studies:
        if study not in STUDIES:
            sys.exit(
                f"unknown study {study!r}: choose from {', '.join(STUDIES)}, "
                "or cpu for all that two cores can do."
            )
    runs = [run for study in studies for run in STUDIES[study]]
    for kind, given, place in (("recipe", recipes, 0), ("seed", seeds, 2)):
        known = list(dict.fromkeys(run[place] for run in runs))
        for value in given:
            if value not in known:
                sys.exit(
                    f"no run of {', '.join(studies)} has the {kind} {value}: "
                    f"choose from {', '.join(map(str, known))}."
                )
    if workers < 1:
        sys.exit(f"{workers} workers do nothing: give 1 or more.")


def check_machine(todo, force: bool) -> None:
    """Refuse runs that cannot be made here."""
    studies = list(dict.fromkeys(study for study, _ in todo))
    for study in studies:
        backend = backend_of(study)
        if importlib.util.find_spec(backend) is None:
            sys.exit(
                f"the study {study!r} runs on {backend}, which is not "
                f"installed: {sys.executable} -m pip install {backend}"
            )
    large = [study for study in studies if study in NEED_A_GPU]
    if large and not force and not has_gpu():
        sys.exit(
            f"{' and '.join(large)} would take weeks without a GPU, and none "
            "is found: start it with FORCE=1 (--force) if there is one."
        )
    if RESULTS == BOOK and (commit() or "").endswith("-dirty"):
        sys.exit(
            "there are changed files, and a record of the book names its "
            "commit: commit them, or keep the records in a folder of yours "
            "(RESULTS=runs/mine, or --results runs/mine)."
        )
    try:
        check_data("cifar100")
        for folder in (RESULTS, WORK):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(str(error))


def show(runs: list[tuple[str, tuple]], each: bool) -> None:
    """Print the runs by study with the time that they will take."""
    from estimate import estimate

    from vitsd_helpers.evidence.records import read_records
    from vitsd_helpers.training.progress import duration
    from vitsd_helpers.training.recipes import get_recipe

    records = read_records()
    total = 0.0
    for study, items in itertools.groupby(runs, key=lambda item: item[0]):
        lines, left = [], 0.0
        for _, run in items:
            text = f"  {run[0]}, {run[1]}, seed {run[2]}: "
            if done(study, run):
                lines.append(text + "has a record")
                continue
            seconds, by = estimate(get_recipe(run[0]), run[1], records)
            left += seconds
            lines.append(text + f"about {duration(seconds)}, by {by}")
        count = sum(line.endswith("has a record") for line in lines)
        needs = ", needs a GPU" if study in NEED_A_GPU else ""
        needs += f", on {BACKENDS[study]}" if study in BACKENDS else ""
        rest = f", about {duration(left)} to do" if left else ""
        print(f"{study}: {count} of {len(lines)} runs have a record", end="")
        print(rest + needs)
        if each:
            print("\n".join(lines))
        total += left
    print(f"In all about {duration(total)}, one after another, on machines")
    print("like those of the records; a run shows its own time as it goes.")
    if each:
        print(f"On a cluster: --index 0 to {len(runs) - 1}, in this order.")


def words_of(study: str, run: tuple[str, str, int]) -> list[str]:
    """The command that makes one run."""
    words = [sys.executable, __file__, "one", study, *map(str, run)]
    return [*words, "--results", str(RESULTS), "--work", str(WORK)]


def run_index(
    runs: list[tuple[str, tuple]], index: int, force: bool = False
) -> None:
    """Make the run of one place in the list, if it has no record."""
    if not 0 <= index < len(runs):
        sys.exit(f"there is no run {index}: give 0 to {len(runs) - 1}.")
    study, run = runs[index]
    if done(study, run):
        print(*run, "has a record")
        return
    check_machine([(study, run)], force)
    os.environ["KERAS_BACKEND"] = backend_of(study)
    one(study, run)
    print(*run, "done")


def run_on_ray(todo: list[tuple[str, tuple]], address: str) -> int:
    """Train on a Ray cluster, a core or a GPU a run; how many failed.

    A run whose worker is lost goes on elsewhere from its checkpoint. What
    each says is in WORK/NAME.log. Nothing is told to Ray's makers, and a
    cluster of this machine's own is reached by no other.
    """
    from vitsd_helpers.training.progress import duration

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        sys.exit(f"--ray needs Ray: {sys.executable} -m pip install ray")
    own = address == "local"
    here = {"_node_ip_address": "127.0.0.1"}
    ray.init(
        address=address,
        log_to_driver=False,
        **(here if own or address.startswith("127.") else {}),
        **({"include_dashboard": False} if own else {}),
    )

    def start(words, log, environment) -> int:
        # Only what it is given: a worker does not know this file.
        with Path(log).open("ab") as said:
            return subprocess.run(
                words,
                env=os.environ | environment,
                stdout=said,
                stderr=subprocess.STDOUT,
            ).returncode

    begun = time.monotonic()
    waiting = {}
    for study, run in todo:
        gpu = study in NEED_A_GPU
        task = ray.remote(num_cpus=1, num_gpus=int(gpu), max_retries=3)(start)
        log = WORK / f"{record_name(*run)}.log"
        environment = {"KERAS_BACKEND": backend_of(study)}
        found = task.remote(words_of(study, run), str(log), environment)
        waiting[found] = run, log
    print(len(todo), "runs to do", flush=True)
    ended = failed = 0

    def so_far() -> str:
        spent = time.monotonic() - begun
        text = f"{ended} of {len(todo)}, {duration(spent)} so far"
        if ended:
            text += f", about {duration(spent / ended * len(waiting))} left"
        return text

    try:
        while waiting:
            found, _ = ray.wait(list(waiting), timeout=SILENCE)
            if not found:
                print(so_far(), flush=True)
                continue
            (first,) = found
            run, log = waiting.pop(first)
            try:
                code = ray.get(first)
            except ray.exceptions.RayError as error:
                code = type(error).__name__
            ended, failed = ended + 1, failed + bool(code)
            outcome = f"failed ({code}), see {log}" if code else "done"
            print(*run, outcome, so_far(), sep=", ", flush=True)
    finally:
        ray.shutdown()
    return failed


def run_all(todo: list[tuple[str, tuple]], workers: int) -> int:
    """Train one after another, or several at once; how many failed."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    children, finished = set(), []
    stopped = False

    def start(item) -> int:
        study, run = item
        command = words_of(study, run)
        if sys.platform != "win32":
            # The child inherits it: Ctrl-C is the parent's to see.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        child = subprocess.Popen(
            command, env=environment | {"KERAS_BACKEND": backend_of(study)}
        )
        children.add(child)
        if stopped:
            child.kill()
        code = child.wait()
        children.discard(child)
        if not stopped:
            finished.append(run)
            print(*run, "failed" if code else "done", flush=True)
        return code

    print(len(todo), "runs to do", flush=True)
    pool = ThreadPoolExecutor(workers)
    futures = [pool.submit(start, item) for item in todo]
    try:
        return sum(bool(f.result()) for f in as_completed(futures))
    except KeyboardInterrupt:
        stopped = True
        pool.shutdown(wait=False, cancel_futures=True)
        # Checkpoints and records are whole or absent at any moment.
        for child in list(children):
            child.kill()
        left = len(todo) - len(finished)
        print(f"\n{len(finished)} of {len(todo)} runs ended, {left} left.")
        raise


def main() -> None:
    """Run the command line."""
    parser = Parser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list")
    commands.add_parser("labels")
    every = commands.add_parser("run")
    every.add_argument("studies", nargs="*", default=[])
    every.add_argument("--dry", action="store_true")
    every.add_argument("--force", action="store_true")
    every.add_argument("--workers", type=int, default=1)
    every.add_argument("--recipes", nargs="+", default=())
    every.add_argument("--seeds", nargs="+", type=int, default=())
    every.add_argument("--results", type=Path, default=RESULTS)
    every.add_argument("--work", type=Path, default=WORK)
    every.add_argument("--index", type=int)
    every.add_argument("--ray", metavar="ADDRESS")
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
        show(chosen(STUDIES), each=False)
    elif given.command == "labels":
        write_labels()
    elif given.command == "one":
        run = (given.recipe, given.variant, given.seed)
        if not done(given.study, run):
            one(given.study, run)
    else:
        list_or_run(given)


def list_or_run(given) -> None:
    """List or run what was chosen."""
    studies = [n for n in given.studies if n != "cpu"]
    if "cpu" in given.studies or (given.recipes and not studies):
        studies = list(dict.fromkeys([*studies, *ON_A_CPU]))
    choice = (given.recipes, given.seeds)
    check(studies or STUDIES, *choice, given.workers)
    if given.dry or not studies:
        show(chosen(studies or STUDIES, *choice), each=given.dry)
        if not given.dry:
            print(
                'To start: make studies STUDIES="factorial sizes", or cpu for '
                "all that two cores can do. Every run: make studies DRY=1."
            )
        return
    if given.index is not None:
        run_index(chosen(studies, *choice), given.index, given.force)
        return
    todo = missing(studies, *choice)
    # With Ray the runs are made elsewhere.
    check_machine(todo, given.force or given.ray is not None)
    if given.ray is not None:
        sys.exit(run_on_ray(todo, given.ray) > 0)
    sys.exit(run_all(todo, given.workers) > 0)


if __name__ == "__main__":
    command(main, "The same command goes on where it was.")
