"""Train with chapter 5's notebook, and publish what came out.

    python book/tools/chapter5.py train [--recipe laptop] [--models vit,sl]
        [--seed 0] [--weights] [--publish]
    python book/tools/chapter5.py publish RUN

`train` leaves the executed notebook, the records and, if wanted, the weights
in a folder of runs/, which git does not see. The folder has its name only
when all is done; until then the name ends in ".part". Stopped, the same
command goes on from the last whole epoch. `publish` puts a finished run into
the book.
"""

import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

from terminal import Parser, alone, check_data, command

ROOT = Path(__file__).parents[2]
CHAPTER = ROOT / "notebooks" / "05_training.ipynb"
RUNS = ROOT / "runs"
WORK = ROOT / ".checkpoints"
PAGES = ROOT / "book" / "runs"
CONTENTS = ROOT / "_toc.yml"
GOES_ON = "The same command goes on from the last whole epoch."
#: Seconds of silence after which a sign of life is given.
SILENCE = 13


class Voice:
    """Prints lines, and after `SILENCE` seconds that it still works."""

    def __init__(self):
        self.start = self.last = time.monotonic()
        self.place = "starting Python and TensorFlow"
        self.ended = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def say(self, text: str) -> None:
        """Print a line."""
        self.last = time.monotonic()
        print(text.rstrip("\n"), flush=True)

    def _watch(self) -> None:
        while not self.ended.wait(1):
            now = time.monotonic()
            if now - self.last >= SILENCE:
                self.say(f"{self.place}, {now - self.start:.0f} s so far")


def check(recipe: str, models: str, seed: int) -> None:
    """Refuse what cannot be trained, before anything is started."""
    from vitsd_helpers.training.recipes import get_recipe, parse_variants

    try:
        plan = get_recipe(recipe)
        parse_variants(models)
        check_data(plan.data)
        RUNS.mkdir(exist_ok=True)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    if seed < 0:
        sys.exit(f"seed {seed} is negative: choose 0, 1, 2 ...")


def train(recipe: str, models: str, seed: int, weights: bool = False) -> Path:
    """Execute chapter 5 with a recipe; the folder of the finished run."""
    name = f"{recipe}-seed{seed}"
    busy = (
        f"the run {name} is being trained by another process: wait for its "
        "end, or choose another recipe or SEED."
    )
    WORK.mkdir(exist_ok=True)
    with alone(WORK / f"{name}.lock", busy):
        return train_alone(recipe, models, seed, weights)


def check_replaced(
    folder: Path, models: str, weights: bool, recipe: str, seed: int
) -> None:
    """Refuse to replace a finished run by one that has less."""
    from vitsd_helpers.evidence.records import record_name
    from vitsd_helpers.training.recipes import parse_variants

    made = {record_name(recipe, v, seed) for v in parse_variants(models)}
    lost = [
        path.name
        for path in sorted(folder.glob("*"))
        if path.suffix in (".json", ".npz", ".safetensors")
        and (
            path.stem not in made
            or (path.suffix == ".safetensors" and not weights)
        )
    ]
    if lost:
        sys.exit(
            f"{folder.relative_to(ROOT)} holds {', '.join(lost)}, which this "
            "run would not make again: rename that folder, or train with the "
            "same MODELS and WEIGHTS."
        )


def train_alone(recipe: str, models: str, seed: int, weights: bool) -> Path:
    """The same, when no other process trains this run."""
    name = f"{recipe}-seed{seed}"
    folder, aside = RUNS / name, RUNS / f"{name}.part"
    check_replaced(folder, models, weights, recipe, seed)
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    # Relative to the chapter's folder, as the executed copy will show them.
    place = f"../{aside.relative_to(ROOT).as_posix()}"
    parameters = {
        "recipe": recipe,
        "models": models,
        "seed": seed,
        "record_dir": place,
        "work_dir": f"../{WORK.name}",
    }
    if weights:
        parameters["weights_dir"] = place
    voice = Voice()
    voice.say(f"training {models} with the recipe {recipe}, seed {seed}")
    execute(CHAPTER, aside / f"05_{recipe}.ipynb", parameters, voice)
    from vitsd_helpers.evidence.files import replace_folder

    replace_folder(aside, folder)
    voice.say(f"The run lies in {folder.relative_to(ROOT)}.")
    return folder


def execute(source: Path, target: Path, parameters: dict, voice) -> None:
    """Run a notebook by papermill and say what its cells print.

    What else the kernel has to say goes into kernel.log beside the target.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import NBClientEngine, papermill_engines

    class Client(PapermillNotebookClient):
        def process_message(self, message, cell, index):
            number = f"cell {index + 1} of {len(self.nb.cells)}"
            voice.place = f"{number} is running"
            content = message["content"]
            if message["msg_type"] == "stream":
                voice.say(content["text"])
            elif message["msg_type"] == "update_display_data":
                # The progress of a training; it is not stored.
                text = content["data"].get("text/plain")
                if text:
                    voice.say(text)
            return super().process_message(message, cell, index)

    class Engine(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, manager, kernel_name, **_):
            return Client(
                manager,
                kernel_name=kernel_name,
                startup_timeout=120,
                shutdown_kernel="immediate",
            ).execute(stderr=log)

    papermill_engines.register("book", Engine)
    log = (target.parent / "kernel.log").open("w", encoding="utf-8")
    try:
        papermill.execute_notebook(
            source,
            target,
            parameters,
            engine_name="book",
            kernel_name="python3",
            progress_bar=False,
            cwd=source.parent,
        )
    except papermill.PapermillExecutionError as error:
        sys.exit(
            f"{error.ename} in cell {error.cell_index + 1}: {error.evalue} "
            f"(the whole of it: {target.relative_to(ROOT)})"
        )
    except DeadKernelError:
        sys.exit(f"The kernel died, perhaps for want of memory. {GOES_ON}")
    finally:
        voice.ended.set()
        log.close()


def check_place(recipe: str, models: str, seed: int) -> None:
    """Refuse a run that the book has no place for."""
    from experiments import study_of

    for variant in models.split(","):
        if study_of((recipe, variant.strip(), seed)) is None:
            sys.exit(
                f"the book has no place for {recipe}, {variant}, seed {seed}: "
                "name it in STUDIES of book/tools/experiments.py, or train "
                "without publishing."
            )


def check_tree() -> None:
    """Refuse a training whose record could not be published."""
    from vitsd_helpers.evidence.records import commit

    found = commit()
    if found is None:
        sys.exit("this is no git checkout: train without publishing.")
    if "dirty" in found:
        sys.exit(
            "files of the book are changed, and a record of the book names "
            "the commit that made it: commit them, or train without "
            "publishing."
        )


def check_record(path: Path) -> tuple[str, str, int]:
    """The run of a record; refuse one that the book cannot hold."""
    from vitsd_helpers.training.recipes import get_recipe

    record = json.loads(path.read_text("utf-8"))
    recipe, commit = record["recipe"]["name"], record["commit"] or "none"
    check_place(recipe, record["variant"], record["seed"])
    problems = {
        "is not finished": not record["finished"],
        "was made outside a git checkout": commit == "none",
        "was made with changed files; commit them": "dirty" in commit,
        "is of a recipe that has changed since": record["recipe_hash"]
        != get_recipe(recipe).hash,
    }
    for problem, found in problems.items():
        if found:
            sys.exit(f"{path.name} {problem}: train anew, then publish.")
    return recipe, record["variant"], record["seed"]


def find_run(name: str) -> Path:
    """The folder of a finished run: `laptop`, or `laptop-seed0`."""
    for folder in (RUNS / name, RUNS / f"{name}-seed0"):
        if folder.is_dir() and not folder.suffix:
            return folder
    finished = [p.name for p in RUNS.glob("*-seed*") if not p.suffix]
    begun = [p.stem for p in RUNS.glob("*.part")]
    state = "finished" if {name, f"{name}-seed0"} & {*begun} else "there"
    sys.exit(
        f"the run {name!r} is not {state}: in runs/ "
        f"{', '.join(sorted(finished)) or 'no run'} can be published."
    )


def publish(name: str) -> None:
    """Put a finished run into book/results and book/runs, by renaming."""
    import experiments

    import notebooks

    if not name:
        sys.exit("give the run, such as laptop-seed0.")
    source = find_run(name)
    copies = {}
    for record in sorted(source.glob("*.json")):
        run = check_record(record)
        study = experiments.study_of(run)
        assert study, "check_record refuses a run of no study"
        place = experiments.folder(study)
        weights = record.with_suffix(".safetensors")
        kept = experiments.WEIGHTS / weights.name
        if weights.exists():
            copies[weights] = kept
        elif kept.exists():
            sys.exit(
                f"{record.stem} has no weights, and those in the book would "
                "be of another run: train it again with WEIGHTS=1."
            )
        copies[record.with_suffix(".npz")] = place / f"{record.stem}.npz"
        copies[record] = place / record.name
    for path, target in copies.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, beside(target))
    (notebook,) = source.glob("*.ipynb")
    page = PAGES / f"05_{source.name.removesuffix('-seed0')}.ipynb"
    page.parent.mkdir(exist_ok=True)
    notebooks.publish(notebook, page, beside(page))
    # From here on nothing is computed: Ctrl-C waits for the renames.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for target in (*copies.values(), page):
        beside(target).replace(target)
        print(target.relative_to(ROOT))
    list_page(page)


def beside(path: Path) -> Path:
    """Where a file is written before it gets its name."""
    return path.with_name(path.name + ".part")


def list_page(page: Path) -> None:
    """Put a page into the contents, after the other executed copies."""
    line = f"      - file: {page.relative_to(ROOT).with_suffix('').as_posix()}"
    lines = CONTENTS.read_text("utf-8").splitlines()
    if line in lines:
        return
    others = ("book/runs/", "book/speed")
    last = max(n for n, x in enumerate(lines) if any(o in x for o in others))
    lines.insert(last + 1, line)
    beside(CONTENTS).write_text("\n".join(lines) + "\n", "utf-8")
    beside(CONTENTS).replace(CONTENTS)
    print(CONTENTS.name)


def main() -> None:
    """Run the command line."""
    parser = Parser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    trainer = commands.add_parser("train")
    trainer.add_argument("--recipe", default="laptop")
    trainer.add_argument("--models", default="vit,sl")
    trainer.add_argument("--seed", type=int, default=0)
    trainer.add_argument("--weights", action="store_true")
    trainer.add_argument("--publish", action="store_true")
    commands.add_parser("publish").add_argument("run")
    given = parser.parse_args()
    if given.command == "publish":
        publish(given.run)
        return
    run = given.recipe, given.models, given.seed
    check(*run)
    if given.publish:
        check_place(*run)
        check_tree()
    folder = train(*run, given.weights)
    if given.publish:
        publish(folder.name)
    else:
        print(f"To put it into the book: make publish RUN={folder.name}")


if __name__ == "__main__":
    command(main, GOES_ON)
