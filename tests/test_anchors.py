"""Links to a label of another page, without a role."""

import subprocess
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / "book" / "tools"
CONFIG = f"""\
import sys
sys.path.insert(0, {str(TOOLS)!r})
extensions = ["myst_parser", "anchors"]
"""


def build(tmp_path: Path, link: str):
    (tmp_path / "conf.py").write_text(CONFIG, "utf-8")
    (tmp_path / "index.md").write_text(
        f"# Page\n\n{link}\n\n```{{toctree}}\nwords\n```\n", "utf-8"
    )
    (tmp_path / "words.md").write_text(
        "# Words\n\n(term-one)=\n**one**: the first.\n", "utf-8"
    )
    out = tmp_path / "out"
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html"]
    done = subprocess.run(
        [*command, str(tmp_path), str(out)], capture_output=True, text=True
    )
    return done, out


def test_a_link_leads_to_a_label(tmp_path):
    done, out = build(tmp_path, "The [first](words.md#term-one).")
    assert done.returncode == 0, done.stderr
    page = BeautifulSoup(
        (out / "index.html").read_text("utf-8"), "html.parser"
    )
    target = page.find("a", string="first")["href"]
    words = BeautifulSoup(
        (out / "words.html").read_text("utf-8"), "html.parser"
    )
    assert target == "words.html#term-one"
    assert words.find(id="term-one")


@pytest.mark.parametrize("label", ["term-two", "one"])
def test_a_label_that_is_not_there_fails_the_build(tmp_path, label):
    done, _ = build(tmp_path, f"The [second](words.md#{label}).")
    assert done.returncode != 0
    assert f"local id not found in doc 'words': '{label}'" in done.stderr
