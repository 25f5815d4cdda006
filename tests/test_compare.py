"""Statistics of records, against known answers and simulation."""

import itertools

import numpy as np
import pytest

from vitsd_helpers.evidence.statistics import (
    effects,
    mcnemar,
    paired,
    standard_error,
    summarize,
)


def test_standard_error_is_the_spread_of_many_tests():
    rng = np.random.default_rng(0)
    shares = rng.binomial(10_000, 0.3, 20_000) / 10_000
    assert standard_error(0.3, 10_000) == pytest.approx(shares.std(), rel=0.03)


@pytest.mark.parametrize(("share", "count"), [(1.2, 10), (-0.1, 10), (0.5, 0)])
def test_standard_error_of_nonsense(share, count):
    with pytest.raises(ValueError, match=str(share if count else count)):
        standard_error(share, count)


def test_pairs_are_of_the_seeds_that_both_have():
    found = paired({0: 1.0, 1: 5.0, 7: 9.0}, {1: 4.0, 0: 3.0, 8: 0.0})
    assert found == summarize([-2.0, 1.0])
    with pytest.raises(ValueError, match=r"no seed in common: \[0\].*\[1\]"):
        paired({0: 1.0}, {1: 1.0})


def test_summary_of_known_values():
    found = summarize([1.0, 2.0, 3.0])
    assert (found.count, found.mean, found.spread) == (3, 2.0, 1.0)
    assert found.half == pytest.approx(4.302653 / 3**0.5, rel=1e-5)
    assert np.isnan(summarize([1.0]).half)
    with pytest.raises(ValueError, match="empty"):
        summarize([])


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(2000):
        found = summarize(rng.normal(5, 2, 3))
        covered += abs(found.mean - 5) <= found.half
    assert covered / 2000 == pytest.approx(0.95, abs=0.02)


def test_mcnemar_of_a_known_table():
    labels = np.zeros(20, int)
    first, second = np.ones(20, int), np.ones(20, int)
    first[:8] = 0
    second[6:8] = 0
    second[8:9] = 0
    only_first, only_second, p = mcnemar(first, second, labels)
    assert (only_first, only_second) == (6, 1)
    # Two-sided: 2 * (C(7, 0) + C(7, 1)) / 2**7.
    assert p == pytest.approx(2 * 8 / 128)
    assert mcnemar(first, first, labels) == (0, 0, 1.0)
    with pytest.raises(ValueError, match="same images"):
        mcnemar(first, second[:5], labels)


def test_mcnemar_rejects_equal_models_as_often_as_it_says():
    rng = np.random.default_rng(2)
    labels = np.zeros(500, int)
    found = [
        mcnemar(*(rng.random((2, 500)) < 0.4).astype(int), labels)[2]
        for _ in range(500)
    ]
    assert np.mean(np.array(found) < 0.05) < 0.08


def cells(noise: float, runs: int = 3, seed: int = 0):
    """A factorial with s worth 2, t worth 1, and s with t another 0.5.

    The seeds differ by far more than the noise.
    """
    rng = np.random.default_rng(seed)
    luck = 5 * rng.normal(size=runs)
    made = {}
    for s, m, t in itertools.product((0, 1), repeat=3):
        value = 10 + 2 * s + t + 0.5 * (2 * s - 1) * (2 * t - 1) / 2
        name = "s" * s + "m" * m + "t" * t
        made[name] = value + luck + noise * rng.normal(size=runs)
    return made


def test_effects_are_found():
    found = effects(cells(1e-9))
    expected = {"s": 2, "m": 0, "t": 1, "ms": 0, "mt": 0, "st": 0.5, "mst": 0}
    assert {k: round(e.mean, 6) for k, e in found.items()} == expected
    assert list(found)[:3] == ["m", "s", "t"]


def test_interval_of_an_effect_covers_it_as_often_as_it_says():
    found = [effects(cells(1.0, seed=seed))["s"] for seed in range(2000)]
    covered = [abs(e.mean - 2) <= e.half for e in found]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


def test_a_factor_that_differs_by_seed_has_the_wider_interval():
    """The seeds are the sample, not the runs."""
    even, uneven = cells(1e-3), cells(1e-3)
    for name in uneven:
        uneven[name] = uneven[name] + np.array([1, 0, -1]) * ("s" in name)
    gain = summarize([3.0, 2.0, 1.0])
    assert effects(uneven)["s"].half == pytest.approx(gain.half, rel=0.01)
    assert effects(even)["s"].half < 0.01


def test_incomplete_factorials_are_refused():
    whole = cells(1.0)
    with pytest.raises(ValueError, match="no cell 'mt'"):
        effects({k: v for k, v in whole.items() if k != "mt"})
    with pytest.raises(ValueError, match=r"\[2, 3\] runs"):
        effects(whole | {"s": whole["s"][:2]})
    with pytest.raises(ValueError, match=r"\[1\] runs"):
        effects({k: v[:1] for k, v in whole.items()})
