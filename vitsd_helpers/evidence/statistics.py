"""Is it better, or luck? Statistics for records and predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


def standard_error(share: float, count: int) -> float:
    """Standard error of a share measured on `count` images.

    Raises:
        ValueError: if `share` is outside 0..1 or `count` is not positive.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share={share} is outside 0..1.")
    if count < 1:
        raise ValueError(
            f"count={count}: give the number of images, 1 or more."
        )
    return (share * (1 - share) / count) ** 0.5


def share_interval(share: float, count: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share (Wilson 1927).

    Unlike the share plus and minus its standard error it stays within 0..1
    and is right near both ends.

    Args:
        share: measured on `count` images.

    Raises:
        ValueError: see `standard_error`.
    """
    from scipy import stats

    standard_error(share, count)
    test = stats.binomtest(round(share * count), count)
    interval = test.proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


@dataclass(frozen=True)
class Summary:
    """Several values in short.

    Attributes:
        count: how many there are.
        mean: their mean.
        spread: their standard deviation, with n - 1; nan for one value.
        half: half the width of the 95 % confidence interval of the mean, by
            Student's t; nan for one value.
    """

    count: int
    mean: float
    spread: float
    half: float


def summarize(values: Sequence[float]) -> Summary:
    """Mean, spread and confidence interval, for instance over seeds.

    Raises:
        ValueError: without a value.
    """
    from scipy import stats

    count = len(values)
    if count == 0:
        raise ValueError("values is empty: there is nothing to summarize.")
    mean = float(np.mean(values))
    if count == 1:
        return Summary(1, mean, float("nan"), float("nan"))
    spread = float(np.std(values, ddof=1))
    half = float(stats.t.ppf(0.975, count - 1)) * spread / count**0.5
    return Summary(count, mean, spread, half)


def paired(first: Mapping[int, float], second: Mapping[int, float]) -> Summary:
    """First minus second, over the seeds that both have.

    Args:
        first, second: a value for each seed.

    Raises:
        ValueError: if they have no seed in common.
    """
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        raise ValueError(
            f"no seed in common: {sorted(first)} and {sorted(second)}."
        )
    return summarize([first[seed] - second[seed] for seed in seeds])


def mcnemar(first, second, labels) -> tuple[int, int, float]:
    """McNemar's exact test of two models on the same images (McNemar 1947).

    Args:
        first, second: predicted class of every image, (N,) each.
        labels: true class of every image, (N,).

    Returns:
        How many images only the first gets right, how many only the second,
        and the two-sided p-value: how often a fair coin parts those images
        at least as unevenly.

    Raises:
        ValueError: if the lengths differ.
    """
    from scipy import stats

    first, second, labels = map(np.asarray, (first, second, labels))
    if not first.shape == second.shape == labels.shape:
        raise ValueError(
            f"predictions {first.shape} and {second.shape} and labels "
            f"{labels.shape} must be of the same images."
        )
    a, b = first == labels, second == labels
    only_first, only_second = int((a & ~b).sum()), int((b & ~a).sum())
    total = only_first + only_second
    if total == 0:
        return 0, 0, 1.0
    p = stats.binomtest(only_first, total).pvalue
    return only_first, only_second, float(p)


def effects(cells: Mapping[str, Sequence[float]]) -> dict[str, Summary]:
    """Main effects and interactions of a full factorial with two levels.

    An effect is the mean of the runs where the factor is on minus the mean
    where it is off; for several factors together, their interaction. It is
    computed for each seed, and the seeds are the sample: what a seed does
    to all cells alike cancels, and a factor that helps one seed more than
    another gets the wider interval that it deserves.

    Args:
        cells: values (several runs) by the letters of the factors that are
            on: "" for none, "s", "st" and so on. All combinations must be
            there, with the same seeds in the same order.

    Returns:
        The summary of each effect by letters, single factors first.

    Raises:
        ValueError: if a combination is missing, or the cells differ in the
            number of runs, or have only one.
    """
    cells = {"".join(sorted(key)): list(v) for key, v in cells.items()}
    letters = sorted(set("".join(cells)))
    names = [
        "".join(x for i, x in enumerate(letters) if number >> i & 1)
        for number in range(2 ** len(letters))
    ]
    missing = [name for name in names if name not in cells]
    if missing:
        raise ValueError(f"there is no cell {missing[0]!r}: run it first.")
    counts = {len(values) for values in cells.values()}
    if len(counts) > 1 or min(counts) < 2:
        raise ValueError(
            f"the cells have {sorted(counts)} runs: give each cell the same "
            "number of runs, 2 or more."
        )
    table = np.array([cells[name] for name in names])  # cells x seeds
    found = {}
    for effect in sorted(names[1:], key=lambda name: (len(name), name)):
        signs = [(-1) ** sum(x not in name for x in effect) for name in names]
        found[effect] = summarize(signs @ table / (len(names) / 2))
    return found
