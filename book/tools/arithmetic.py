"""How many multiply-adds a model takes, counted from its configuration.

Only products of matrices count: they are nearly all the arithmetic, and what
a machine's peak is measured with. One multiply-add is two FLOP.
"""

from itertools import pairwise

from vitsd_helpers import ViTConfig


def multiply_adds(config: ViTConfig) -> int:
    """Multiply-adds of the forward pass for one image."""
    c = config
    values = c.patch_size**2 * c.channels * (1 + len(c.shift_directions))
    inner, hidden = c.num_heads * c.key_dim, round(c.mlp_ratio * c.width)
    products = c.width * (3 * inner + inner + 2 * hidden)
    attention = 2 * c.num_tokens * inner
    features = c.width
    if c.pooling == "flatten":
        features *= c.num_tokens
    widths = [features, *c.head_units, c.num_classes]
    return (
        c.num_patches * values * c.width
        + c.depth * c.num_tokens * (products + attention)
        + sum(a * b for a, b in pairwise(widths))
    )
