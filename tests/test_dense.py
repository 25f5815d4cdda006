import keras
import numpy as np
import pytest
import reference
from keras import layers
from keras.ops import convert_to_numpy

from vitsd_helpers.dense import TokenDense


@pytest.mark.parametrize("shape", [(5,), (2, 5), (2, 7, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("activation", [None, "gelu"])
def test_same_numbers_as_dense(
    shape: tuple[int, ...], activation: str | None
) -> None:
    shape = (3, *shape)
    ours, kerass = (
        kind(6, activation=activation) for kind in (TokenDense, layers.Dense)
    )
    for layer in (ours, kerass):
        layer.build(shape)
        reference.randomise(layer)
    inputs = reference.normal(*shape)
    found = convert_to_numpy(ours(inputs))
    assert found.shape == (*shape[:-1], 6)
    np.testing.assert_allclose(
        found, convert_to_numpy(kerass(inputs)), atol=1e-5
    )


def test_a_model_takes_batches_of_any_size() -> None:
    inputs = keras.Input((None, 5))
    model = keras.Model(inputs, TokenDense(6)(inputs))
    assert model.output_shape == (None, None, 6)
    for batch, tokens in ((1, 4), (3, 2)):
        found = model.predict(reference.normal(batch, tokens, 5), verbose=0)
        assert found.shape == (batch, tokens, 6)


def test_it_is_saved_and_read(tmp_path) -> None:
    inputs = keras.Input((4, 5))
    model = keras.Model(inputs, TokenDense(6, activation="gelu")(inputs))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    tokens = reference.normal(2, 4, 5)
    assert type(again.layers[-1]) is TokenDense
    np.testing.assert_array_equal(
        convert_to_numpy(model(tokens)), convert_to_numpy(again(tokens))
    )
