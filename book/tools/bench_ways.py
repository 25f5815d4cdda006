"""A contender's code with one thing done another way.

What a change is worth is measured by undoing it. `apply` is called before
anything is built.
"""

from collections.abc import Callable

import keras
import keras_example
from experiments import PRICED
from keras import layers

import vitsd_helpers.attention
import vitsd_helpers.dense
import vitsd_helpers.training.trainer
from vitsd_helpers import LocalitySelfAttention, ShiftedPatchTokenization


def keras_dense() -> None:
    """Keras's `Dense` in place of tokens as rows."""
    setattr(vitsd_helpers.dense.TokenDense, "call", layers.Dense.call)  # noqa: B010


def other_attention() -> None:
    """The fused operation where we take plain products, and vice versa."""
    fused = vitsd_helpers.attention._fused_kernel
    vitsd_helpers.attention._fused_kernel = lambda *args: not fused(*args)


def compiled() -> None:
    """Keras's `jit_compile`, which on torch is `torch.compile`."""

    def compile(self, *args, **kwargs):
        keras.Model.compile(self, *args, **(kwargs | {"jit_compile": True}))

    vitsd_helpers.training.trainer.Trainer.compile = compile


def our_patches() -> None:
    """In the example: our tokenizer."""

    def make(vanilla: bool) -> Callable:
        layer = ShiftedPatchTokenization(
            keras_example.PATCH_SIZE,
            keras_example.PROJECTION_DIM,
            epsilon=keras_example.LAYER_NORM_EPS,
            **({"directions": ()} if vanilla else {}),
        )
        return lambda images: (layer(images), None)

    keras_example.ShiftedPatchTokenization = make


def our_attention() -> None:
    """In the example: our tokenizer and our attention."""
    our_patches()

    def make(**sizes) -> Callable:
        layer = LocalitySelfAttention(temperature_per="layer", **sizes)
        return lambda query, value, attention_mask: layer(query)

    keras_example.MultiHeadAttentionLSA = make


#: Ways by name. Those without a function are told to the engine, or are
#: another model.
WAYS = {
    "": None,
    "bfloat16": None,
    "fit": None,
    "muon": None,
    "dense": keras_dense,
    "attention": other_attention,
    "compiled": compiled,
    "our-patches": our_patches,
    "our-attention": our_attention,
    **dict.fromkeys(PRICED),
}


def apply(way: str) -> None:
    """Do things the other way in this process from here on."""
    change = WAYS[way]
    if change:
        change()
