"""The optimiser of a recipe: schedule, decay and averaging."""

import inspect
import re
from collections.abc import Sequence

import keras

from .recipes import Recipe

#: Names of variables that weight decay leaves alone: biases, norms,
#: positions, class token and temperatures.
UNDECAYED = ("bias", "gamma", "beta", "position", "token", "temperature")
#: In the paths of the matrices that Muon leaves to AdamW: what comes in,
#: what goes out, and weights that no product of matrices uses.
NOT_MUONS = ("tokenizer", "position", "token", "temperature", "logits")


def make_optimizer(
    recipe: Recipe, steps: int, outputs: Sequence[str] = ()
) -> keras.Optimizer:
    """The recipe's optimiser with its schedule, decay and averaging.

    In float16 it is within a `LossScaleOptimizer`: small gradients would be
    zero there, so the loss is multiplied by a scale, as large as it may be.
    A step whose gradients are not finite is left out and the scale halved.
    Keras does so by itself for a model of that policy; the `Trainer`, whose
    loss is in float32, is none.

    Args:
        recipe: gives optimiser, peak rate, schedule, warm-up, decay, EMA and
            precision.
        steps: of the whole run; the cosine ends at zero after them.
        outputs: names of layers that Muon leaves to AdamW, beside those in
            `NOT_MUONS`.

    Raises:
        ValueError: for an unknown optimiser or schedule; for Muon on a Keras
            before 3.13, whose Muon cannot scale its steps.
    """
    rate = recipe.learning_rate
    if recipe.schedule == "cosine":
        warmup = round(recipe.warmup * steps)
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0,
            warmup_target=recipe.learning_rate,
            warmup_steps=warmup,
            decay_steps=steps - warmup,
        )
    elif recipe.schedule != "constant":
        raise ValueError(
            f"schedule={recipe.schedule!r} is unknown: choose 'cosine' or "
            "'constant'."
        )
    settings = {
        "learning_rate": rate,
        "weight_decay": recipe.weight_decay,
        "use_ema": bool(recipe.ema),
        "ema_momentum": recipe.ema or 0.99,
    }
    if recipe.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(**settings)
    elif recipe.optimizer == "muon":
        own = [rf"(^|/){re.escape(name)}/" for name in outputs]
        known = inspect.signature(keras.optimizers.Muon).parameters
        if "rms_rate" not in known:
            raise ValueError(
                "optimizer='muon' needs Keras 3.13 or newer, and this is "
                f"{keras.version()}: upgrade keras, or choose 'adamw'."
            )
        # Its steps are scaled to the size of Adam's (Liu et al. 2025), so
        # one rate and one decay serve both.
        optimizer = keras.optimizers.Muon(
            **settings,
            adam_weight_decay=recipe.weight_decay,
            rms_rate=0.2,
            exclude_layers=[*NOT_MUONS, *own],
        )
    else:
        raise ValueError(
            f"optimizer={recipe.optimizer!r} is unknown: choose 'adamw' or "
            "'muon'."
        )
    if not recipe.decay_everything:
        optimizer.exclude_from_weight_decay(var_names=list(UNDECAYED))
    policy = keras.dtype_policies.get(recipe.precision)
    if policy.compute_dtype == "float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer
