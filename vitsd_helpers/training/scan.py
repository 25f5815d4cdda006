"""A whole epoch in one compiled function, for the JAX backend.

Keras's `fit` starts each step from Python, which costs time of its own.
Here the steps of an epoch are one `jax.lax.scan`, with the same losses as
`fit`.

Keras's `steps_per_execution` is not used: on JAX it unrolls the steps into
one function, which takes as many times as long to compile.
"""

import keras
import numpy as np
from keras import ops

from .inference import share_within
from .trainer import Trainer


class EpochScan:
    """Run the training steps of an epoch of a compiled `Trainer`.

    Making it compiles the epoch.

    Args:
        trainer: compiled with an optimiser, its optimiser built.
        order: indices of an epoch, (steps * batch_size,), for their number.
        batch_size: images a step.

    Raises:
        RuntimeError: on another backend than JAX.
    """

    def __init__(self, trainer: Trainer, order: np.ndarray, batch_size: int):
        if keras.backend.backend() != "jax":
            raise RuntimeError(
                f"the backend is {keras.backend.backend()}: scanning an "
                "epoch needs KERAS_BACKEND=jax; use Trainer.fit instead."
            )
        import jax

        self.trainer, self.batch_size = trainer, batch_size
        self.optimizer = trainer.optimizer
        data = (trainer.images, trainer.labels)
        self.is_data = [
            any(v is d for d in data) for v in trainer.non_trainable_variables
        ]
        fixed, moving = self._split(trainer.non_trainable_variables)
        self.fixed = [v.value for v in fixed]
        self.variables = (
            trainer.trainable_variables,
            moving,
            self.optimizer.variables,
        )
        self.gradient = jax.value_and_grad(self._loss, has_aux=True)
        epoch = jax.jit(self._epoch, donate_argnums=0)
        self.run = epoch.lower(
            self._state(), self.fixed, order.reshape(-1, batch_size)
        ).compile()

    def __call__(self, order: np.ndarray) -> dict[str, np.ndarray]:
        """Train on the batches of `order`; metrics of every step."""
        state, logs = self.run(
            self._state(), self.fixed, order.reshape(-1, self.batch_size)
        )
        for group, values in zip(self.variables, state, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)
        return {name: np.asarray(values) for name, values in logs.items()}

    def _state(self):
        return tuple([v.value for v in group] for group in self.variables)

    def _split(self, variables):
        """The data, which never changes, and the rest."""
        pairs = list(zip(variables, self.is_data, strict=True))
        return [v for v, d in pairs if d], [v for v, d in pairs if not d]

    def _join(self, fixed, moving):
        parts = {True: iter(fixed), False: iter(moving)}
        return [next(parts[is_data]) for is_data in self.is_data]

    def _loss(self, trainable, moving, fixed, indices):
        outputs, others = self.trainer.stateless_call(
            trainable, self._join(fixed, moving), indices, training=True
        )
        _, moving = self._split(others)
        loss = self.trainer.compute_loss(y_pred=outputs)
        logits = outputs["logits"]
        labels = ops.take(self._labels(fixed), indices)
        logs = {
            "loss": loss,
            "top1": share_within(labels, logits, 1),
            "top5": share_within(labels, logits, 5),
        }
        return loss, (moving, logs)

    def _labels(self, fixed):
        """The value of the labels among those of the data."""
        variables, _ = self._split(self.trainer.non_trainable_variables)
        return next(
            value
            for variable, value in zip(variables, fixed, strict=True)
            if variable is self.trainer.labels
        )

    def _epoch(self, state, fixed, batches):
        from jax import lax

        def step(state, indices):
            trainable, moving, slots = state
            (_, (moving, logs)), gradients = self.gradient(
                trainable, moving, fixed, indices
            )
            trainable, slots = self.optimizer.stateless_apply(
                slots, gradients, trainable
            )
            return (trainable, moving, slots), logs

        return lax.scan(step, state, batches)
