"""Run by test_launch.py as several processes: an epoch a second.

python tests/many_processes.py FOLDER [DATA]

DATA is a folder of arrays: then a process writes what it read of them.
"""

import dataclasses
import json
import os
import sys
import time
from pathlib import Path

import keras
import mapped
from many_devices import RECIPE
from test_train import few_digits

from vitsd_helpers import evaluate
from vitsd_helpers.training.loop import train
from vitsd_helpers.training.processes import first_process, initialize

SLOW = dataclasses.replace(RECIPE, epochs=4)


def main(folder: Path, arrays: Path | None = None) -> None:
    together = initialize()
    data = few_digits(192)
    if arrays:
        data, *reads = mapped.counted(arrays)

    def report(line: str) -> None:
        print(line, flush=True)
        time.sleep(1)

    run = train(
        SLOW.build("sl", data),
        data,
        SLOW,
        folder=folder if together and not arrays else None,
        report=report,
    )
    if arrays:
        number = os.environ["VITSD_PROCESS"]
        (folder / f"reads-{number}.json").write_text(
            json.dumps(reads), "utf-8"
        )
    judged = evaluate(run.model, data, "test", 32)
    if first_process():
        record = run.record | {
            "tested": run.predictions["predicted"].tolist(),
            "predictions": judged["predictions"].tolist(),
            "all": keras.distribution.list_devices(),
        }
        name = "together" if together else "alone"
        (folder / f"{name}.json").write_text(json.dumps(record), "utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
