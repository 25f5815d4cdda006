"""What a training runs on: the card, and what it can do."""

import dataclasses
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ..evidence.records import on_gpu
from .recipes import Recipe

#: Asks NVIDIA's driver for name, MiB of memory and compute capability.
QUERY = (
    "nvidia-smi",
    "--query-gpu=name,memory.total,compute_cap",
    "--format=csv,noheader,nounits",
)
#: From this compute capability on (Ampere) cards multiply in bfloat16.
BFLOAT16_FROM = 8.0
#: Where Colab mounts one's Google Drive.
DRIVE = Path("/content/drive/MyDrive")


@dataclass(frozen=True)
class Accelerator:
    """The processor or card that Keras computes on.

    Attributes:
        name: as its maker calls it.
        memory: of a card, in GiB; None if it is no card or not known.
        bfloat16: whether it multiplies in bfloat16, be it in software.
    """

    name: str
    memory: float | None
    bfloat16: bool

    def __str__(self) -> str:
        if self.memory is None:
            return self.name
        able = "with" if self.bfloat16 else "without"
        return f"{self.name}, {self.memory:.0f} GiB, {able} bfloat16"


def find_accelerator() -> Accelerator:
    """What Keras computes on; of several cards the first."""
    if not on_gpu():
        return Accelerator("no GPU", None, True)
    try:
        line = _ask_driver().splitlines()[0]
        name, memory, capability = map(str.strip, line.split(","))
        able = float(capability) >= BFLOAT16_FROM
        return Accelerator(name, float(memory) / 1024, able)
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError):
        # Another maker's, or an old driver: take what the recipe asks for.
        return Accelerator("a GPU that says nothing of itself", None, True)


def _ask_driver() -> str:
    found = subprocess.run(QUERY, capture_output=True, text=True, check=True)
    return found.stdout


def fit_precision(recipe: Recipe, accelerator: Accelerator) -> Recipe:
    """The recipe in a precision that an accelerator multiplies fast in.

    Where bfloat16 is missing it becomes float16, and the loss is scaled
    (see `make_optimizer`). That is another recipe: its name ends in "-fp16".
    """
    if recipe.precision != "mixed_bfloat16" or accelerator.bfloat16:
        return recipe
    name = f"{recipe.name}-fp16"
    return dataclasses.replace(recipe, name=name, precision="mixed_float16")


def drive_folder(name: str = "vitsd") -> str | None:
    """A folder on Google Drive, if Colab has mounted it.

    What lies there is not lost when Colab takes the machine away. Mount it
    by `google.colab.drive.mount("/content/drive")`.
    """
    return str(DRIVE / name) if DRIVE.is_dir() else None
