"""Signs of life: on a terminal, in a log, in a notebook."""

import re
import time

import chapter5
import nbformat
import pytest
from nbclient import NotebookClient

from vitsd_helpers.training import progress
from vitsd_helpers.training.progress import Progress, duration


@pytest.fixture
def quick(monkeypatch):
    """A sign of life every twentieth of a second."""
    monkeypatch.setattr(progress, "EVERY", 0.05)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (119, "119 s"),
        (840, "14 min"),
        (9_000, "2.5 h"),
        (90_000, "25 h"),
        (200_000, "2.3 days"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_log_has_a_line_while_nothing_can_be_counted(quick, capsys):
    with Progress(1_000, batch_size=10, epochs=5):
        time.sleep(0.3)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 1
    assert set(lines) == {"reading the data, 0 s so far"}


def test_log_says_step_loss_rate_and_time_left(quick, capsys):
    with Progress(1_000_000, batch_size=10, epochs=5) as bar:
        bar.resume(400)
        bar.advance(10)
        bar.compiled()
        for _ in range(30):
            bar.advance(10, {"loss": 3.25})
            time.sleep(0.01)
        bar.line("1/5 loss 3.1")
        time.sleep(0.2)
        bar.begun -= 7_200
        bar.begin("testing")
        time.sleep(0.2)
    text = capsys.readouterr().out
    assert re.search(
        r"step \d+ of 100000, epoch 1 of 5, loss 3\.2500, \d+ images/s, "
        r"\d+ min left\n",
        text,
    )
    whole = re.findall(
        r"after 20 steps: about (\d+) min .*, \d+ min left", text
    )
    assert len(whole) == 1 and 10 < int(whole[0]) < 90
    assert "s since that step" in text
    assert "1/5 loss 3.1\n" in text
    assert text.rstrip().splitlines()[-1] == "testing, 0 s so far"


def test_an_epoch_at_once_is_enough_for_an_estimate_told_once(quick, capsys):
    with Progress(1_000_000, batch_size=10) as bar:
        bar.compiled()
        for _ in range(3):
            time.sleep(0.01)
            bar.advance(500)
        bar.compiled()
        time.sleep(0.01)
        bar.advance(500)
    assert capsys.readouterr().out.count("after 50 steps: about ") == 1


def test_nothing_but_lines_is_for_a_report(quick, capsys):
    lines = []
    with Progress(1_000_000, report=lines.append, batch_size=10) as bar:
        bar.compiled()
        for _ in range(30):
            bar.advance(10)
        bar.tell("goes on")
        bar.line("1/5")
        time.sleep(0.2)
    assert lines == ["1/5"]
    assert capsys.readouterr().out == ""


CELL = """
import time
from vitsd_helpers.training import progress
progress.EVERY = 0.1
with progress.Progress(100, batch_size=10) as bar:
    bar.tell("goes on")
    bar.line("stored")
    time.sleep(0.5)
"""


def test_notebook_shows_it_and_stores_nothing(tmp_path):
    shown = []

    class Client(NotebookClient):
        def process_message(self, message, *place):
            if message["msg_type"] == "update_display_data":
                shown.append(message["content"]["data"])
            return super().process_message(message, *place)

    cell = nbformat.v4.new_code_cell(CELL)
    notebook = nbformat.v4.new_notebook(cells=[cell])
    Client(notebook, kernel_name="python3").execute()
    assert {"text/plain": "goes on"} in shown
    assert {"text/plain": "reading the data, 0 s so far"} in shown
    assert shown[-1] == {}
    assert {o.output_type for o in cell.outputs} == {"stream", "display_data"}
    for output in cell.outputs:
        assert output.get("text") == "stored\n" or output.data == {}


@pytest.mark.parametrize(
    ("models", "weights", "lost"),
    [
        ("vit,sl", True, None),
        ("vit", True, "laptop-sl-seed0.json"),
        ("vit,sl", False, "laptop-sl-seed0.safetensors"),
    ],
)
def test_a_run_is_not_replaced_by_one_with_less(
    tmp_path, monkeypatch, models, weights, lost
):
    monkeypatch.setattr(chapter5, "ROOT", tmp_path)
    folder = tmp_path / "runs" / "laptop-seed0"
    folder.mkdir(parents=True)
    for variant in ("vit", "sl"):
        for ending in ("json", "npz", "safetensors"):
            (folder / f"laptop-{variant}-seed0.{ending}").touch()
    words = folder, models, weights, "laptop", 0
    if lost is None:
        chapter5.check_replaced(*words)
    else:
        with pytest.raises(SystemExit, match=lost):
            chapter5.check_replaced(*words)


@pytest.mark.parametrize(
    ("commit", "said"),
    [(None, "no git checkout"), ("1a-dirty", "commit them")],
)
def test_what_could_not_be_published_is_said_first(monkeypatch, commit, said):
    monkeypatch.setattr(
        "vitsd_helpers.evidence.records.commit", lambda: commit
    )
    with pytest.raises(SystemExit, match=said):
        chapter5.check_tree()


def test_a_silent_cell_of_the_chapter_is_named(monkeypatch, capsys):
    """`make train` is never silent for long, whatever the notebook does."""
    assert chapter5.SILENCE + 1 < 15
    monkeypatch.setattr(chapter5, "SILENCE", 1)
    voice = chapter5.Voice()
    voice.place = "cell 7 of 9 is running"
    time.sleep(2.5)
    voice.ended.set()
    assert re.match(
        r"cell 7 of 9 is running, \d s so far", capsys.readouterr().out
    )
