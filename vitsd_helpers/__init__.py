"""Shifted Patch Tokenization and Locality Self-Attention in Keras 3."""

from .attention import LocalitySelfAttention
from .data import ImageData, load_data
from .model import PRESETS, ViTConfig, build_vit
from .patches import patchify, shift_images, unpatchify
from .tokenizer import PatchEncoder, ShiftedPatchTokenization

#: The one place: the package's metadata and CITATION.cff follow.
__version__ = "0.1.0"

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
