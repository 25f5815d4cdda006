"""Tables and sentences below a cell."""

import IPython
import pytest
from bs4 import BeautifulSoup

from vitsd_helpers.display import tables

COLUMNS = {"model": "", "runs": "d", "top-1 %": ".1f"}
ROWS = [("ViT", 3, 52.54), ("SL-ViT <b>", 12, None)]


@pytest.fixture
def shown(monkeypatch) -> list[dict]:
    """What would be shown, a dictionary by media type each time."""
    found = []
    monkeypatch.setattr(IPython, "get_ipython", lambda: "a shell")
    monkeypatch.setattr(
        IPython.display, "display", lambda data, raw: found.append(data)
    )
    return found


def test_text_is_aligned(shown):
    tables.table(COLUMNS, ROWS)
    assert shown[0]["text/plain"].splitlines() == [
        "model       runs  top-1 %",
        "ViT            3     52.5",
        "SL-ViT <b>    12        –",
    ]


def test_html_has_the_same_cells(shown):
    tables.table(COLUMNS, ROWS)
    soup = BeautifulSoup(shown[0]["text/html"], "html.parser")
    texts = [[c.get_text() for c in row] for row in soup.select("tr")]
    assert texts == [
        ["model", "runs", "top-1 %"],
        ["ViT", "3", "52.5"],
        ["SL-ViT <b>", "12", "–"],
    ]
    heads = soup.select("thead th[scope=col]")
    assert len(heads) == 3 and len(soup.select("tbody th[scope=row]")) == 2
    words = [c.get_text() for c in soup.select(".words")]
    assert words == ["model", "ViT", "SL-ViT <b>"]


def test_text_stays_in_a_column_of_numbers(shown):
    tables.table({"a": "", "b": ".1f"}, [("x", "1.10 ± 1.30")])
    assert "1.10 ± 1.30" in shown[0]["text/plain"]


def test_a_share_is_set_as_in_a_sentence(shown):
    tables.table({"a": "", "b": ".1%"}, [("x", 0.25), ("y", "all")])
    lines = shown[0]["text/plain"].splitlines()
    assert lines[1:] == ["x  25.0 %", "y     all"]


def test_short_row_is_refused(shown):
    with pytest.raises(ValueError, match=r"\['ViT'\] has 1 values for 3"):
        tables.table(COLUMNS, [("ViT",)])
    assert shown == []


def test_a_sentence_is_markdown_and_text(shown):
    tables.say("**It leads.**")
    assert shown == [
        {"text/markdown": "**It leads.**", "text/plain": "**It leads.**"}
    ]


def test_in_a_script_it_is_printed(capsys):
    tables.say("It leads.")
    assert capsys.readouterr().out == "It leads.\n"
