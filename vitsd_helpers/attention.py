"""Locality Self-Attention on public Keras operations."""

import math

import keras
from keras import layers, ops

from .dense import PACKAGE, TokenDense

#: Added to a score that is masked: its weight is exactly zero.
FAR_BELOW = -1e9
#: From so many queries on, torch's kernel for CPUs takes 64 at a time.
ENOUGH_TOKENS = 192


@keras.saving.register_keras_serializable(PACKAGE)
class LocalitySelfAttention(layers.Layer):
    """Locality Self-Attention (Lee et al. 2021, section 3.3).

    Multi-head self-attention with two changes, each its own switch: a token
    may not attend to itself (the diagonal of the scores is masked), and the
    temperature of the softmax is learned instead of fixed at
    sqrt(key_dim). With both switches off it is plain self-attention.

    Call with tokens (B, N, width), any N; returns (B, N, width). A single
    token attends to itself, whatever the mask. With
    `return_attention_scores=True` returns the pair (outputs, weights), the
    weights (B, heads, queries, keys), each row summing to 1.

    Where it is one kernel and faster, on JAX with a GPU and mostly on torch,
    `keras.ops.dot_product_attention` does the work, unless the weights are
    asked for or dropout is active in training. Both paths give equal
    results.

    Args:
        num_heads: number of heads.
        key_dim: length of a query, key and value of one head.
        diagonal_mask: mask the diagonal.
        learnable_temperature: learn the temperature.
        temperature_per: "head" (the authors' code) or "layer" (the Keras
            example): how many temperatures there are.
        temperature_form: "divide" learns tau and divides the scores by it,
            as the paper writes it and the Keras example does; "multiply"
            learns 1 / tau, as the authors' code does. The same function,
            but an optimiser like Adam, whose steps have a fixed size, moves
            the second faster.
        use_bias: biases for queries, keys and values. The output always has
            one.
        dropout: rate of dropout on the attention weights, in training.
        kernel_initializer: of both projections.
        seed: of the dropout.

    Raises:
        ValueError: for `num_heads` or `key_dim` below 1, `dropout` outside
            0..1, an unknown `temperature_per` or `temperature_form`, or
            input that is not 3-D.
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        *,
        diagonal_mask: bool = True,
        learnable_temperature: bool = True,
        temperature_per: str = "head",
        temperature_form: str = "divide",
        use_bias: bool = True,
        dropout: float = 0.0,
        kernel_initializer="glorot_uniform",
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if num_heads < 1 or key_dim < 1:
            raise ValueError(
                f"num_heads={num_heads} and key_dim={key_dim} must both be "
                "at least 1."
            )
        if not 0 <= dropout < 1:
            raise ValueError(
                f"dropout={dropout} must be at least 0 and less than 1: it is "
                "the part of the weights to drop."
            )
        _check_choice("temperature_per", temperature_per, ("head", "layer"))
        _check_choice(
            "temperature_form", temperature_form, ("divide", "multiply")
        )
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.diagonal_mask = diagonal_mask
        self.learnable_temperature = learnable_temperature
        self.temperature_per = temperature_per
        self.temperature_form = temperature_form
        self.use_bias = use_bias
        self.dropout = dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.seed = seed

    def build(self, input_shape):
        if len(input_shape) != 3:
            raise ValueError(
                "tokens must have shape (batch, tokens, width), got "
                f"{tuple(input_shape)}."
            )
        inner = self.num_heads * self.key_dim
        self.qkv = layers.Dense(
            3 * inner,
            use_bias=self.use_bias,
            kernel_initializer=self.kernel_initializer,
            dtype=self.dtype_policy,
            name="qkv",
        )
        self.output_projection = TokenDense(
            input_shape[-1],
            kernel_initializer=self.kernel_initializer.clone(),
            dtype=self.dtype_policy,
            name="output",
        )
        self.drop = layers.Dropout(
            self.dropout, seed=self.seed, dtype=self.dtype_policy
        )
        self.qkv.build(input_shape)
        self.output_projection.build((None, None, inner))
        if self.learnable_temperature:
            start = math.sqrt(self.key_dim)
            if self.temperature_form == "multiply":
                start = 1 / start
            heads = self.num_heads if self.temperature_per == "head" else 1
            self.temperature_weight = self.add_weight(
                shape=(heads, 1),
                initializer=keras.initializers.Constant(start),
                name="temperature",
            )

    @property
    def temperature(self):
        """The temperature tau of every head, (heads,), as a NumPy array."""
        if not self.learnable_temperature:
            tau = ops.full((1,), math.sqrt(self.key_dim))
        else:
            tau = self.temperature_weight[:, 0]
            if self.temperature_form == "multiply":
                tau = 1 / tau
        return ops.convert_to_numpy(ops.broadcast_to(tau, (self.num_heads,)))

    def call(self, tokens, training=False, return_attention_scores=False):
        # B images, N tokens, H heads, D values in a query, key or value.
        count = ops.shape(tokens)[1]  # N
        qkv = self._project(tokens)  # (B, N, 3, H, D)
        dropping = training and self.dropout
        fused = _fused_kernel(qkv, count)
        if fused and not (return_attention_scores or dropping):
            query, key, value = ops.unstack(qkv, axis=2)  # (B, N, H, D) each
            mixed = ops.dot_product_attention(
                query, key, value, mask=self._mask(count), scale=1.0
            )  # (B, N, H, D)
        else:
            # Axes are moved once: parts of the first one are not copied.
            qkv = ops.transpose(qkv, (2, 0, 3, 1, 4))  # (3, B, H, N, D)
            parts = ops.split(qkv, 3)  # (1, B, H, N, D) each
            query, key, value = (ops.squeeze(x, 0) for x in parts)
            key = ops.transpose(key, (0, 1, 3, 2))  # (B, H, D, N)
            scores = ops.matmul(query, key)  # (B, H, N, N)
            weights = self._softmax(scores)  # (B, H, N, N), rows sum to 1
            kept = self.drop(weights, training=training)  # (B, H, N, N)
            mixed = ops.matmul(kept, value)  # (B, H, N, D)
            mixed = ops.transpose(mixed, (0, 2, 1, 3))  # (B, N, H, D)
        inner = self.num_heads * self.key_dim  # H * D
        mixed = ops.reshape(mixed, (-1, count, inner))  # (B, N, H * D)
        outputs = self.output_projection(mixed)  # (B, N, width)
        if return_attention_scores:
            return outputs, weights
        return outputs

    def _project(self, tokens):
        """Queries over tau, keys, values: (B, N, 3, heads, key_dim).

        One product gives all three. The temperature scales the columns of
        its kernel that make the queries: far fewer numbers than queries.
        """
        columns = (self.num_heads, self.key_dim)
        queries = ops.broadcast_to(self._query_scale(), columns)  # (H, D)
        shape = (2 * self.num_heads, self.key_dim)
        others = ops.ones(shape, self.compute_dtype)  # (2 H, D)
        scale = ops.concatenate([queries, others])  # (3 H, D)
        scale = ops.reshape(scale, (-1,))  # (3 H D,)
        rows = ops.reshape(tokens, (-1, ops.shape(tokens)[-1]))  # (B N, width)
        qkv = ops.matmul(rows, self.qkv.kernel * scale)  # (B N, 3 H D)
        if self.use_bias:
            qkv = qkv + self.qkv.bias * scale
        count = ops.shape(tokens)[1]
        return ops.reshape(qkv, (-1, count, 3, *columns))

    def _query_scale(self):
        """1 / tau: (heads, 1), or (1, 1) for one of the layer."""
        if not self.learnable_temperature:
            scale = 1 / math.sqrt(self.key_dim)
            return ops.full((1, 1), scale, self.compute_dtype)
        scale = ops.convert_to_tensor(self.temperature_weight)
        return 1 / scale if self.temperature_form == "divide" else scale

    def _softmax(self, scores):
        if scores.shape[-1] == 1:  # else Keras warns of it
            return ops.ones_like(scores)
        scores = ops.cast(scores, "float32")
        if self.diagonal_mask:
            scores = scores + FAR_BELOW * ops.eye(ops.shape(scores)[-1])
        return ops.cast(ops.softmax(scores), self.compute_dtype)

    def _mask(self, count):
        """True where a query may look, (1, 1, N, N); None if everywhere."""
        if not self.diagonal_mask:
            return None
        index = ops.arange(count)
        other = ops.not_equal(index[:, None], index[None, :])
        alone = ops.equal(count, 1)
        return ops.logical_or(other, alone)[None, None]

    def compute_output_spec(
        self, tokens, training=False, return_attention_scores=False
    ):
        outputs = keras.KerasTensor(tokens.shape, dtype=self.compute_dtype)
        if not return_attention_scores:
            return outputs
        batch, count, _ = tokens.shape
        weights = keras.KerasTensor(
            (batch, self.num_heads, count, count), dtype=self.compute_dtype
        )
        return outputs, weights

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "diagonal_mask": self.diagonal_mask,
            "learnable_temperature": self.learnable_temperature,
            "temperature_per": self.temperature_per,
            "temperature_form": self.temperature_form,
            "use_bias": self.use_bias,
            "dropout": self.dropout,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "seed": self.seed,
        }


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(
            f"{name}={value!r} is unknown: choose from "
            f"{', '.join(map(repr, choices))}."
        )


def _fused_kernel(qkv, count) -> bool:
    """Whether `dot_product_attention` runs fastest, as one kernel.

    On TensorFlow and, without a GPU, on JAX it is a chain of plain
    operations that moves axes to and fro. On torch without a GPU it is one
    kernel, but works on few queries at a time if there are few tokens,
    which in half precision takes longer than plain products.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        return not keras.distribution.list_devices()[0].startswith("cpu")
    if backend == "torch":
        dtype = keras.backend.standardize_dtype(qkv.dtype)
        half = dtype in ("bfloat16", "float16")
        slow = half and str(qkv.device) == "cpu" and count < ENOUGH_TOKENS
        return not slow
    return False
