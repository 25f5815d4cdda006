"""Shifted Patch Tokenization and Locality Self-Attention in Keras 3.

Here is the lesson. `training` is the engine and `evidence` what is said of
runs. The names below are imported on first use: what needs no Keras, such as
the list of recipes, does not wait for it.
"""

import sys
from importlib import import_module

#: The one place: the package's metadata and CITATION.cff follow.
__version__ = "0.1.0"
#: Names, and the modules that they are in.
_LAZY = {
    "LocalitySelfAttention": "attention",
    "PRESETS": "config",
    "ViTConfig": "config",
    "ImageData": "data",
    "load_data": "data",
    "build_vit": "model",
    "patchify": "patches",
    "shift_images": "patches",
    "unpatchify": "patches",
    "PatchEncoder": "tokenizer",
    "ShiftedPatchTokenization": "tokenizer",
    "evaluate": "training.inference",
    "get_recipe": "training.recipes",
    "hold_out": "training.splits",
    "load_model": "training.weights",
    "predict": "training.inference",
    "train": "training.loop",
}
__all__ = [
    "PRESETS",
    "ImageData",
    "LocalitySelfAttention",
    "PatchEncoder",
    "ShiftedPatchTokenization",
    "ViTConfig",
    "build_vit",
    "evaluate",
    "get_recipe",
    "hold_out",
    "load_data",
    "load_model",
    "patchify",
    "predict",
    "shift_images",
    "train",
    "unpatchify",
]


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LAZY[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# With Keras there, a saved model finds the classes of its layers.
if "keras" in sys.modules:
    import_module(".model", __name__)
