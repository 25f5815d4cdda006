"""The dense layer of the models: tokens of all images as rows."""

import keras
from keras import layers, ops

#: Under which the layers' classes are registered.
PACKAGE = "vitsd"


@keras.saving.register_keras_serializable(PACKAGE)
class TokenDense(layers.Dense):
    """A `Dense` layer that multiplies all tokens as rows of one matrix.

    Same numbers as `Dense`, same weights. With the batch as an axis of its
    own, XLA may transpose the gradients of every kernel in memory; what
    that costs is measured by `make bench`.

    Call with (batch, ..., values); returns (batch, ..., units).
    """

    def call(self, inputs, training=None):
        shape = ops.shape(inputs)
        rows = ops.reshape(inputs, (-1, shape[-1]))
        outputs = super().call(rows, training=training)
        return ops.reshape(outputs, (-1, *shape[1:-1], self.units))
