"""The live figures in Firefox: they open, answer the keyboard, axe is clean.

Skipped where Firefox, Node or puppeteer-core is not there; `.ci/firefox`
installs them on Debian and runs this. On another system: `npm install
--prefix DIR puppeteer-core@24`, then `NODE_PATH=DIR/node_modules pytest
tests/test_firefox.py`.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import live
import pytest
from browser import serve

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parent
STATIC = TESTS.parent / "book" / "_static"
NAMES = ("firefox-esr", "firefox")
REQUIRED = "VITSD_REQUIRE_FIREFOX"
#: The still of each page, which its figure replaces.
STILLS = {
    "explorer": "live-attention.webp",
    "hero": "live-hero.webp",
    "patches": "live-patches-2.png",
    "tokens": "live-tokens.png",
}
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{name}</title>
<link rel="stylesheet" href="live/live.css">
<style>:root {{ --pst-color-text-base: #222; --pst-color-text-muted: #456;
  --pst-color-surface: #f3f4f5; --pst-color-primary: #176de8;
  --pst-color-border: #ccc; --pst-color-success: #00693c; }}</style>
<script type="module" src="live/main.mjs"></script>
<body><main><h1>{name}</h1>
<p><img src="stills/{still}" alt="still"></p></main>"""


@pytest.fixture(scope="module")
def firefox():
    """Its path; a skip without it or what drives it."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    node = shutil.which("node")
    absent = pytest.fail if os.environ.get(REQUIRED) == "1" else pytest.skip
    if not path or not node:
        absent("no Firefox or no Node: apt install firefox-esr nodejs")
    asked = "require('puppeteer-core')"
    if subprocess.run([node, "-e", asked], capture_output=True).returncode:
        absent("no puppeteer-core on NODE_PATH; see the module")
    return path


@pytest.fixture(scope="module")
def found(firefox, tmp_path_factory):
    """What tests/firefox.cjs found on each page."""
    folder = tmp_path_factory.mktemp("site") / "static"
    shutil.copytree(STATIC, folder)
    live.write_models(folder / "live" / "models")
    for name, still in STILLS.items():
        page = PAGE.format(name=name, still=still)
        (folder / f"{name}.html").write_text(page, "utf-8")
    with serve(folder) as address:
        done = subprocess.run(
            ["node", TESTS / "firefox.cjs", firefox, address],
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", STILLS)
def test_figure_answers_in_firefox(found, name):
    assert found[name]["errors"] == []
    assert found[name]["moved"]
    assert found[name]["serious"] == []


def test_models_answer_in_firefox(found):
    """Five classes, with the share of each of the two models."""
    assert found["explorer"]["said"] == 10
