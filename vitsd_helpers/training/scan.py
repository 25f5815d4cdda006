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
from .trainer import Trainer, cross_entropy


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
        others = trainer.non_trainable_variables
        self.labels = [v is trainer.labels for v in others].index(True)
        self.variables = (
            trainer.trainable_variables,
            others,
            self.optimizer.variables,
        )
        self.gradient = jax.value_and_grad(self._loss, has_aux=True)
        state = self._state()
        # An epoch's state goes on as it came, so each may follow the other.
        places = jax.tree.map(lambda value: value.sharding, state)
        several = keras.distribution.distribution() is not None
        epoch = jax.jit(
            self._epoch,
            donate_argnums=0,
            out_shardings=(places, None) if several else None,
        )
        self.run = epoch.lower(state, order.reshape(-1, batch_size)).compile()

    def __call__(self, order: np.ndarray) -> dict[str, np.ndarray]:
        """Train on the batches of `order`; metrics of every step."""
        batches = order.reshape(-1, self.batch_size)
        state, logs = self.run(self._state(), batches)
        for group, values in zip(self.variables, state, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)
        return {name: np.asarray(values) for name, values in logs.items()}

    def _state(self):
        return tuple([v.value for v in group] for group in self.variables)

    def _loss(self, trainable, others, slots, indices):
        outputs, others, losses = self.trainer.stateless_call(
            trainable, others, indices, training=True, return_losses=True
        )
        loss = sum(losses, cross_entropy(outputs))
        labels = ops.take(others[self.labels], indices)
        logs = {
            "loss": loss,
            "top1": share_within(labels, outputs["logits"], 1),
            "top5": share_within(labels, outputs["logits"], 5),
        }
        # In float16 the optimiser scales the loss, by a variable of its own.
        mapping = list(zip(self.optimizer.variables, slots, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            loss = self.optimizer.scale_loss(loss)
        return loss, (others, logs)

    def _epoch(self, state, batches):
        from jax import lax

        def step(state, indices):
            trainable, others, slots = state
            (_, (others, logs)), gradients = self.gradient(
                trainable, others, slots, indices
            )
            trainable, slots = self.optimizer.stateless_apply(
                slots, gradients, trainable
            )
            return (trainable, others, slots), logs

        return lax.scan(step, state, batches)
