"""The table of versions says what is installed and asked for."""

import os
from importlib import metadata

import pytest
import versions

ROWS = {row[0]: row[1:] for row in versions.rows()}


@pytest.mark.skipif(
    os.environ.get("VITSD_DRIFT") == "1", reason="tries other versions"
)
def test_pinned_is_what_runs_here():
    for package in ("keras", "numpy", "matplotlib"):
        assert metadata.version(package) in ROWS[package][1].split(" or ")


def test_a_pin_of_each_python_is_told():
    assert ROWS["numpy"][1].count(" or ") == 1
    assert " or " not in ROWS["tensorflow"][1]


def test_what_is_asked_for_is_no_newer_than_what_was_tried():
    def number(text: str) -> tuple[int, ...]:
        return tuple(map(int, text.removeprefix(">=").split(".")))

    for package in ("Python", "keras", "tensorflow"):
        asked, _, *tried = ROWS[package]
        assert asked.startswith(">=")
        assert number(asked) <= min(map(number, tried))


def test_every_package_has_every_column():
    width = len(ROWS[""])
    assert width == 4 and all(len(row) == width for row in ROWS.values())
    assert all(all(row) for name, row in ROWS.items() if name != "Python")
