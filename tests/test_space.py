"""The static Space: one folder, served by anything, opened in Chromium."""

import json

import pytest
import space
import yaml
from browser import serve

pytest_plugins = ["browser"]

MODES = ("light", "dark")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return space.write("ada", tmp_path_factory.mktemp("space") / "space")


def test_head_of_the_card(folder):
    text = (folder / "README.md").read_text("utf-8")
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["sdk"] == "static" and head["app_file"] == "index.html"
    assert len(head["short_description"]) <= 60  # the Hub refuses more
    path = folder / "live" / "models" / "models.json"
    listed = json.loads(path.read_text("utf-8"))
    recipe = listed["recipe"]
    assert head["models"] == [f"ada/{recipe}-{x}-seed0" for x in ("vit", "sl")]
    for model in listed["models"]:
        assert f"| {100 * model['top1']:.1f} % |" in text
        assert (path.parent / model["file"]).is_file()
    assert "models" not in yaml.safe_load(
        space.card(listed, space.NOBODY).split("---\n")[1]
    )


@pytest.mark.parametrize("mode", MODES)
def test_it_runs_on_its_own(folder, page, mode):
    """Both models answer, nothing is asked of anybody else."""
    page.emulate_media(color_scheme=mode)
    asked, missing = set(), []
    page.on("request", lambda request: asked.add(request.url))
    page.on(
        "response",
        lambda answer: missing.append(
            answer.url if answer.status >= 400 else ""
        ),
    )
    with serve(folder) as address:
        page.goto(address)
        page.locator("tbody td").first.wait_for()
        temperature = page.get_by_label("Temperature", exact=True)
        temperature.and_(page.locator(":enabled")).wait_for()
        page.locator("[aria-busy=false]").first.wait_for()
        assert all(url.startswith((address, "blob:")) for url in asked)
    assert not [url for url in missing if url]
    assert page.locator("tbody th").count() == 5
    ground, ink = page.evaluate(
        """() => { const style = getComputedStyle(document.body);
        return [style.backgroundColor, style.color].map(
          (text) => Number(text.match(/[0-9]+/)[0])); }"""
    )
    assert (ground > ink) == (mode == "light")
    assert page.evaluate("document.body.scrollWidth <= innerWidth")
