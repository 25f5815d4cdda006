"""Shifted Patch Tokenization and Locality Self-Attention in Keras 3.

The names below are imported on first use: what needs no Keras, such as the
list of recipes, does not wait for it.
"""

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
}
__all__ = [
    "PRESETS",
    "ImageData",
    "LocalitySelfAttention",
    "PatchEncoder",
    "ShiftedPatchTokenization",
    "ViTConfig",
    "build_vit",
    "load_data",
    "patchify",
    "shift_images",
    "unpatchify",
]


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LAZY[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
