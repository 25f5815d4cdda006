"""What moved: a page on outputs that are no longer the stored ones.

    python book/tools/drift.py upgrade [--pre] [--with PACKAGE==VERSION ...]

pytest writes the page when an output drifts (conftest.py), `upgrade` always:
it makes a throwaway environment of the newest releases, or of the pinned
ones but for those given, and there runs all but the heavy tests and builds
the book.

The page is `_build/drift/index.html`, a short form for an issue
`summary.md` beside it.
"""

import argparse
import base64
import contextlib
import difflib
import html
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
from colab import BIN
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / "_build" / "upgrade"
#: Keras before its release.
NIGHTLY = "keras-nightly"
ANSI = re.compile(r"\x1b\[[0-9;]*m")
#: How much a difference of two figures is enlarged to be seen.
GAIN = 4
#: Lines of a failed test's report that are shown.
TAIL = 40
STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 76rem;
  margin: 2rem auto; padding-inline: 1rem; }
table { border-collapse: collapse; }
th, td { padding: 0.2rem 0.8rem 0.2rem 0; text-align: left; }
pre { overflow-x: auto; padding: 0.6rem; border: 1px solid #8886;
  font-size: 0.85rem; }
.old { background: #d5564030; } .new { background: #3a923a30; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; flex: 1 1 20rem; } img { max-width: 100%;
  background: #fff; }
"""


def picture(png: str) -> Image.Image:
    """A base64 PNG on white."""
    drawn = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA")
    paper = Image.new("RGBA", drawn.size, "white")
    return Image.alpha_composite(paper, drawn).convert("RGB")


def difference(stored: str, new: str) -> tuple[str, float]:
    """Where two base64 PNGs differ, dark on white, and the RMS on 0..255.

    Of all pixels, the second brought to the size of the first.
    """
    one, other = picture(stored), picture(new)
    pixels = [
        np.asarray(p, "float32")
        for p in (one, other.resize(one.size, Image.Resampling.BOX))
    ]
    apart = np.abs(pixels[0] - pixels[1])
    rms = float(np.sqrt(np.mean(apart**2)))
    seen = 255 - np.clip(GAIN * apart.max(-1), 0, 255)
    file = io.BytesIO()
    Image.fromarray(seen.astype("uint8")).save(file, "png")
    return base64.b64encode(file.getvalue()).decode(), rms


def texts(outputs) -> str:
    """What the outputs of a cell say, in order."""
    said = []
    for output in outputs:
        data = output.get("data", {})
        if "text" in output:
            said.append(output["text"])
        elif "image/png" not in data:
            said += [str(data[k]) for k in sorted(data) if "text/" in k]
        if "ename" in output:
            said.append(f"{output['ename']}: {output['evalue']}")
    return "\n".join(text.rstrip("\n") for text in said)


def keep(folder: Path, name: str, source: str, pair, figures) -> None:
    """Keep a cell that moved for the page.

    Args:
        folder: of the page.
        name: of the cell, such as `notebooks/01_patches.ipynb::Cell 3`.
        source: its code.
        pair: the stored outputs and the new ones.
        figures: their base64 PNGs, two lists.
    """
    entry = {
        "name": name,
        "source": source,
        "texts": [texts(outputs) for outputs in pair],
        "figures": figures,
    }
    moved = folder / "moved"
    moved.mkdir(parents=True, exist_ok=True)
    file = moved / (re.sub(r"\W+", "-", name) + ".json")
    file.write_text(json.dumps(entry), "utf-8")


def pinned() -> dict[str, str]:
    """Versions in requirements.txt: those of the stored outputs."""
    found = {}
    for need in requirements():
        if need.marker is None or need.marker.evaluate():
            (version,) = need.specifier
            found[str(canonicalize_name(need.name))] = version.version
    return found


def requirements() -> list[Requirement]:
    """The lines of requirements.txt, of every Python and system."""
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    given = (line for line in lines if line.strip())
    return [Requirement(x) for x in given if not x.lstrip().startswith("#")]


def here(text: str) -> str:
    """A requirement by the name that is pinned on this system.

    TensorFlow has two, and both are the same folder: the other one would
    be installed beside the pinned one.

    Raises:
        argparse.ArgumentTypeError: if no such package is pinned; uv would
            pass over it without a word.
    """
    try:
        need, pins = Requirement(text), pinned()
    except InvalidRequirement as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no requirement such as keras==3.15.0"
        ) from error
    own = canonicalize_name(need.name)
    base = own.removesuffix("-cpu")
    for name in (own, base, f"{base}-cpu"):
        if name in pins:
            need.name = name
            return str(need)
    raise argparse.ArgumentTypeError(
        f"no {need.name} is pinned in requirements.txt"
    )


def installed(name: str) -> str:
    """A package's version; Keras's is the nightly's where there is one."""
    names = (NIGHTLY, name) if name == "keras" else (name,)
    for one in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(one)
    return "—"


def versions() -> list[tuple[str, str, str]]:
    """Name, pinned and installed version of every pinned package."""
    rows = []
    for name, old in sorted(pinned().items()):
        rows.append((name, old, installed(name)))
    return rows


def start(folder: Path) -> None:
    """Forget what an earlier run left."""
    shutil.rmtree(folder / "moved", ignore_errors=True)
    for name in ("run.json", "index.html", "summary.md"):
        (folder / name).unlink(missing_ok=True)


def finish(folder: Path, failed: dict[str, str], **facts) -> Path | None:
    """Write the page if an output moved, or if it is asked for.

    Args:
        folder: of the page.
        failed: the report of each test that failed.
        facts: more to say about the run, such as `passed`.

    Returns:
        The page, or None.
    """
    moved = (folder / "moved").exists()
    if not moved and os.environ.get("VITSD_DRIFT") != "1":
        return None
    run = {
        "backend": os.environ.get("KERAS_BACKEND", "tensorflow"),
        "system": f"{platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}",
        "versions": versions(),
        "failed": {k: ANSI.sub("", v) for k, v in failed.items()},
        **facts,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(run), "utf-8")
    return render(folder)


def cells(folder: Path) -> list[dict]:
    """The cells that moved, in the order of the book."""

    def order(cell):
        return [
            int(part) if part.isdigit() else part
            for part in re.split(r"(\d+)", cell["name"])
        ]

    files = (folder / "moved").glob("*.json")
    return sorted((json.loads(f.read_text("utf-8")) for f in files), key=order)


def text_diff(stored: str, new: str) -> Iterator[str]:
    """Lines of HTML."""
    pair = stored.splitlines(), new.splitlines()
    for line in list(difflib.unified_diff(*pair, n=2, lineterm=""))[2:]:
        kind = {"-": "old", "+": "new"}.get(line[:1], "")
        yield f'<span class="{kind}">{html.escape(line)}</span>'


def figure_parts(cell: dict) -> list[tuple[str, list[str]]]:
    """What to say of each pair of figures, and the pictures to show."""
    parts: list[tuple[str, list[str]]] = []
    old, new = cell["figures"]
    if len(old) != len(new):
        parts.append((f"{len(old)} figures stored, {len(new)} drawn", []))
    for number, (one, other) in enumerate(zip(old, new, strict=False), 1):
        if one == other:
            continue
        seen, rms = difference(one, other)
        sizes = [picture(png).size for png in (one, other)]
        said = f"figure {number}: RMS {rms:.2f} of 255"
        if sizes[0] != sizes[1]:
            was, now = ("{} x {}".format(*size) for size in sizes)
            said += f", size {was} to {now} pixels"
        parts.append((said, [one, other, seen]))
    return parts


def said_of(cell: dict) -> str:
    """In what way a cell moved."""
    said = [text for text, _ in figure_parts(cell)]
    if cell["texts"][0] != cell["texts"][1]:
        said.insert(0, "text")
    return "; ".join(said) or "the kind of its outputs"


def show_cell(cell: dict) -> Iterator[str]:
    """A cell that moved, in HTML."""
    yield f"<h3>{html.escape(cell['name'])}</h3>"
    yield f"<p>{html.escape(said_of(cell))}</p>"
    yield "<details><summary>The cell</summary><pre>"
    yield f"{html.escape(cell['source'])}</pre></details>"
    if cell["texts"][0] != cell["texts"][1]:
        yield "<pre>" + "\n".join(text_diff(*cell["texts"])) + "</pre>"
    for said, shown in figure_parts(cell):
        captions = "stored", "new", f"difference, {GAIN} times"
        yield '<div class="figures">'
        for caption, png in zip(captions, shown, strict=False):
            yield (
                f'<figure><img alt="{said}, {caption}" '
                f'src="data:image/png;base64,{png}">'
                f"<figcaption>{caption}</figcaption></figure>"
            )
        yield "</div>"


def headline(run: dict, moved: list[dict]) -> str:
    """The run in a sentence."""
    others = len(set(run["failed"]) - {cell["name"] for cell in moved})
    said = f"{len(moved)} cells moved, {others} other tests failed"
    if "passed" in run:
        said += f", {run['passed']} passed"
    if "book" in run:
        said += ", the book builds" if not run["book"] else ", no book"
    return f"{said}. Backend {run['backend']}, {run['system']}."


def page(run: dict, moved: list[dict]) -> Iterator[str]:
    """Lines of the page."""
    yield '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width">'
    yield f"<title>What moved</title><style>{STYLE}</style></head><body>"
    yield f"<h1>What moved</h1><p>{html.escape(headline(run, moved))}</p>"
    yield "<h2>Versions</h2>"
    changed = [row for row in run["versions"] if row[1] != row[2]]
    if changed:
        yield "<table><tr><th>package<th>pinned<th>here</tr>"
        for row in changed:
            yield "<tr><td>" + "<td>".join(map(html.escape, row)) + "</tr>"
        yield "</table>"
    same = len(run["versions"]) - len(changed)
    yield f"<p>{same} packages are the pinned ones.</p>"
    yield "<h2>Outputs</h2><p>An RMS is over all pixels here. The test is"
    yield " milder: its limit is for averages over a grid of 64 x 64.</p>"
    for cell in moved:
        yield from show_cell(cell)
    yield "<h2>Other tests that failed</h2>"
    named = {cell["name"] for cell in moved}
    for name, report in run["failed"].items():
        if name not in named:
            end = "\n".join(report.splitlines()[-TAIL:])
            yield f"<h3>{html.escape(name)}</h3>"
            yield f"<pre>{html.escape(end)}</pre>"
    if run.get("book"):
        yield f"<h2>The book</h2><pre>{html.escape(run['book'])}</pre>"
    yield "</body></html>"


def summary(run: dict, moved: list[dict]) -> Iterator[str]:
    """Lines of the short form, in Markdown."""
    yield headline(run, moved)
    yield "\n| package | pinned | here |\n|---|---|---|"
    for name, old, new in run["versions"]:
        if old != new:
            yield f"| {name} | {old} | {new} |"
    yield ""
    for cell in moved:
        yield f"- `{cell['name']}`: {said_of(cell)}"
    named = {cell["name"] for cell in moved}
    for name in run["failed"]:
        if name not in named:
            yield f"- `{name}` fails"


def render(folder: Path) -> Path:
    """Write page and summary of what the folder holds."""
    run = json.loads((folder / "run.json").read_text("utf-8"))
    moved = cells(folder)
    text = "\n".join(summary(run, moved)) + "\n"
    (folder / "summary.md").write_text(text, "utf-8")
    path = folder / "index.html"
    path.write_text("\n".join(page(run, moved)) + "\n", "utf-8")
    return path


def make_environment(pre: bool, given: list[str]) -> Path:
    """A throwaway environment; its Python.

    Args:
        pre: take pre-releases, too.
        given: requirements that replace pins; all others stay pinned.
            Without any, everything is the newest release.

    Raises:
        subprocess.CalledProcessError: if there is no such environment; its
            `stderr` says why.
    """

    def uv(*arguments) -> None:
        command = [sys.executable, "-m", "uv", *arguments]
        subprocess.run(
            command, cwd=ROOT, check=True, stderr=subprocess.PIPE, text=True
        )

    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    # With pip, as a reader's has it: the install cells call it.
    uv("venv", "-q", "--seed", "--python", sys.executable, ENVIRONMENT)
    python = ENVIRONMENT / BIN / "python"
    install = ["pip", "install", "-q", "--python", python]
    if given:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "given.txt"
            path.write_text("\n".join(given) + "\n", "utf-8")
            pins = ["-r", "requirements.txt", "--override", path]
            uv(*install, *pins)
    else:
        group = ["--group", "book", "--upgrade"]
        group += ["--prerelease", "allow"] if pre else []
        uv(*install, *group)
    if pre:
        # TensorFlow's pre-releases ask for it, beside "keras". Both are the
        # same folder: the files installed last are the ones that run.
        nightly = [*install, "--no-deps", "--prerelease", "allow"]
        uv(*nightly, "--reinstall", NIGHTLY)
    uv(*install, "--no-deps", "-e", ".")
    return python


def upgrade(pre: bool, given: list[str]) -> int:
    """Run everything with other versions, and write the page.

    Returns:
        0 if nothing moved and nothing failed.
    """
    folder = ROOT / "_build" / "drift"
    os.environ["VITSD_DRIFT"] = "1"
    try:
        python = make_environment(pre, given)
    except subprocess.CalledProcessError as error:
        start(folder)
        said = finish(folder, {"the environment": error.stderr})
        print(f"{error.stderr}\nNo such environment: {said}")
        return 1
    start(folder)  # what an earlier run left is not this one's
    environment = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"}
    command = [str(python), "-m", "pytest", "-n", "2", "--dist", "loadfile"]
    command += ["-q", "-p", "no:cacheprovider"]
    code = subprocess.run(command, cwd=ROOT, env=environment).returncode
    with tempfile.TemporaryDirectory() as out:
        build = [
            str(python.with_name("jupyter-book")),
            "build",
            ".",
            "-W",
            "-n",
        ]
        build += ["--keep-going", "--path-output", out]
        done = subprocess.run(
            build, cwd=ROOT, env=environment, capture_output=True, text=True
        )
    failed = ANSI.sub("", done.stderr)[-5000:] if done.returncode else ""
    if not (folder / "run.json").exists():  # pytest was killed, or died
        finish(folder, {"pytest": f"it ended with the code {code}"})
    run = json.loads((folder / "run.json").read_text("utf-8"))
    (folder / "run.json").write_text(
        json.dumps({**run, "book": failed}), "utf-8"
    )
    print(f"What moved: {render(folder)}")
    return code or done.returncode


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    upgrader = commands.add_parser("upgrade")
    upgrader.add_argument("--pre", action="store_true")
    upgrader.add_argument(
        "--with",
        nargs="+",
        type=here,
        default=[],
        dest="given",
        metavar="REQUIREMENT",
    )
    arguments = parser.parse_args()
    sys.exit(upgrade(arguments.pre, arguments.given))


if __name__ == "__main__":
    main()
