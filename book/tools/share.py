"""Write folders for the Hugging Face Hub of trained models.

    python book/tools/share.py RUN [--hub USER] [--licence mit]

RUN is a run of runs/, such as `laptop-seed0`, made with its weights, or a
record of the book that has weights, such as `laptop-sl-seed0`. Each model
becomes a folder of _build/share. Nothing is sent: the command that does is
printed.
"""

import json
import sys
from pathlib import Path

from chapter5 import RUNS
from terminal import Parser, command

ROOT = Path(__file__).parents[2]
SHARE = ROOT / "_build" / "share"
#: Who has no name on the Hub yet.
NOBODY = "USER"
ROUNDED = (
    "The weights were kept in half precision and are rounded so; the numbers "
    "above are of those before."
)


def find_models(name: str) -> dict[Path, Path]:
    """Records of a run by their weights' files.

    A finished run of runs/, with or without its seed, or one record of the
    book or of a run.
    """
    from vitsd_helpers.evidence.records import results_folder

    results = results_folder()
    runs = [p for p in RUNS.glob("*-seed*") if p.is_dir() and not p.suffix]
    for run in runs:
        if run.name in (name, f"{name}-seed0"):
            found = pair_up(run.glob("*.json"), run)
            if not found:
                sys.exit(
                    f"runs/{run.name} has no weights: train it again with "
                    "WEIGHTS=1."
                )
            return found
    # A run of the reader's own comes before the book's of the same name.
    places = {**{run: run for run in runs}, results: results / "weights"}
    for folder, weights in places.items():
        found = pair_up(folder.rglob(f"{name}.json"), weights)
        if found:
            return found
    known = sorted(path.stem for path in (results / "weights").iterdir())
    sys.exit(
        f"there is no run {name!r} with weights: choose a run of runs/ that "
        f"was made with WEIGHTS=1, or one of {', '.join(known)}."
    )


def pair_up(records, folder: Path) -> dict[Path, Path]:
    """Records by the files of their weights, if those are there."""
    pairs = {folder / f"{p.stem}.safetensors": p for p in sorted(records)}
    return {file: record for file, record in pairs.items() if file.exists()}


def write(weights: Path, record: Path, hub: str, licence: str) -> Path:
    """Write the folder of one model; its path."""
    from vitsd_helpers.evidence.records import read_labels
    from vitsd_helpers.training.export import FORMATS
    from vitsd_helpers.training.weights import load_model, save_model

    model, text = load_model(weights), json.loads(record.read_text("utf-8"))
    names = getattr(model, "class_names", None)
    if names is None:  # weights older than their names
        names = read_labels()[1] if text["data"] == "cifar100" else None
    return save_model(
        model,
        SHARE / record.stem,
        names,
        {"name": record.stem, **text},
        formats=FORMATS,
        repository=f"{hub}/{record.stem}",
        licence=licence or None,
        notes=[ROUNDED],
    )


def push_command(repository: str, folder: Path) -> list[str]:
    """What sends a folder to the Hub, with the user's own token."""
    return ["hf", "upload", repository, str(folder), "."]


def describe_push(folders: dict[str, Path]) -> None:
    """Print what sends folders, by the repositories that they become."""
    print("To push, after `hf auth login` and a look at the README.md:")
    for repository, folder in folders.items():
        words = push_command(repository, folder.relative_to(ROOT))
        print("  " + " ".join(words))


def main() -> None:
    """Share what the command line names."""
    parser = Parser(description=__doc__.split("\n")[0])
    parser.add_argument("run", help="such as laptop-seed0")
    parser.add_argument(
        "--hub", default=NOBODY, metavar="USER", help="your name on the Hub"
    )
    parser.add_argument(
        "--licence", default="mit", help='of the weights; "" for none yet'
    )
    given = parser.parse_args()
    if not given.run:
        sys.exit("give the run, such as RUN=laptop-seed0.")
    models = find_models(given.run)
    from vitsd_helpers.training.export import FORMATS, check_formats

    try:
        check_formats(FORMATS)
    except ModuleNotFoundError as error:
        sys.exit(str(error))
    SHARE.mkdir(parents=True, exist_ok=True)
    folders = {}
    for weights, record in models.items():
        print(f"{record.stem}: writing and checking its files", flush=True)
        folder = write(weights, record, given.hub, given.licence)
        for file in sorted(folder.iterdir()):
            print(f"  {file.stat().st_size:>10,} {file.name}")
        folders[f"{given.hub}/{folder.name}"] = folder
    describe_push(folders)


if __name__ == "__main__":
    command(main)
