"""The package as `pip install vitsd-helpers` brings it."""

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import colab
import pytest

import vitsd_helpers

ROOT = Path(__file__).parents[1]
MEGABYTE = 1_000_000
#: The README says so. Nearly all of it are records and weights.
LIMIT = 6 * MEGABYTE
#: Of the records, unpacked, by what a chapter in Colab reads; studies that
#: wait for their last runs ("incoming") stay out.
RECORDS = {
    "": 0.2 * MEGABYTE,
    "bench": 0.5 * MEGABYTE,
    "devices": 0.1 * MEGABYTE,
    "peers": 0.2 * MEGABYTE,
    "studies": 3 * MEGABYTE,
    "trials": 0.2 * MEGABYTE,
    "weights": 5 * MEGABYTE,
}
#: Predictions that no chapter reads stay out, and the weights of one pair.
UNREAD = re.compile(
    r"studies/(?!(steps|longer)-5000-(vit|sl)-seed\d+\.npz).*\.npz"
    r"|weights/laptop-"
)
TRAIN = """\
import vitsd_helpers
from vitsd_helpers.training.recipes import get_recipe
from vitsd_helpers.evidence.records import read_records
from vitsd_helpers.training.loop import train
assert "site-packages" in vitsd_helpers.__file__
assert "laptop-sl-seed0" in read_records()
recipe = get_recipe("quick")
data = recipe.load()
run = train(recipe.build("sl", data), data, recipe)
print("top-1", run.record["test"]["top1"])
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, Path]:
    """The wheel and the source archive of a clean clone."""
    folder = tmp_path_factory.mktemp("package")
    clone = folder / "clone"
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    out = folder / "dist"
    build = [sys.executable, "-m", "build", "--outdir", out, clone]
    subprocess.run(build, check=True)
    (wheel,) = out.glob("*.whl")
    (source,) = out.glob("*.tar.gz")
    return wheel, source


def tracked(pattern: str) -> list[str]:
    """Files of the repository."""
    command = ["git", "-C", ROOT, "ls-files", pattern]
    return subprocess.run(
        command, check=True, capture_output=True, text=True
    ).stdout.split()


def places(names: list[str]) -> set[str]:
    """The folders of files, without the version."""
    folders = (name.rpartition("/")[0] for name in names if name[-1] != "/")
    version = f"-{vitsd_helpers.__version__}"
    return {folder.replace(version, "") for folder in folders}


@pytest.mark.heavy
def test_wheel_holds_the_package_and_its_records(built):
    wheel = built[0]
    version = vitsd_helpers.__version__
    assert wheel.name == f"vitsd_helpers-{version}-py3-none-any.whl"
    assert wheel.stat().st_size < LIMIT
    names = zipfile.ZipFile(wheel).namelist()
    assert not any("incoming" in name for name in names)
    code = {n for n in names if n.endswith(".py")}
    assert code == set(tracked("vitsd_helpers/*.py"))
    for folder in places(names):
        assert re.match(
            r"vitsd_helpers(/results(/\w+)?|\.dist-info(/\w+)?|/\w+)?$", folder
        ), folder
    data = {Path(n).suffix for n in names if "/results/" in n}
    assert data <= {".csv", ".json", ".npz", ".safetensors"}


@pytest.mark.heavy
def test_wheel_holds_the_records_that_chapters_read(built):
    start = "vitsd_helpers/results/"
    sizes = dict.fromkeys(RECORDS, 0)
    inside = set()
    for entry in zipfile.ZipFile(built[0]).infolist():
        name = entry.filename.removeprefix(start)
        if name != entry.filename:
            sizes[name.rpartition("/")[0]] += entry.file_size  # or KeyError
            inside.add(name)
    listed = tracked("book/results")
    names = {name.removeprefix("book/results/") for name in listed}
    wanted = {
        name
        for name in names
        if name.rpartition("/")[0] in RECORDS and not UNREAD.match(name)
    }
    assert inside == wanted
    for folder, size in sizes.items():
        assert 0 < size < RECORDS[folder], (folder, size)


@pytest.mark.heavy
def test_source_archive_makes_the_same_wheel(built):
    wheel, source = built
    assert source.stat().st_size < LIMIT
    with tarfile.open(source) as archive:
        names = archive.getnames()
    assert not any("/tests/" in name for name in names)
    inside = zipfile.ZipFile(wheel).namelist()
    ours = {n for n in inside if ".dist-info/" not in n}
    there = {n.partition("/")[2] for n in names}
    for name in ours:
        packed = name.replace("vitsd_helpers/results/", "book/results/")
        assert packed in there, packed


@pytest.mark.heavy
def test_bare_environment_trains(built, tmp_path):
    """Nothing but the wheel and a backend; far from the repository."""
    python = tmp_path / "bare" / colab.BIN / "python"
    uv = [sys.executable, "-m", "uv"]
    make = ["venv", "-q", "--python", sys.executable, tmp_path / "bare"]
    subprocess.run([*uv, *make], check=True)
    install = ["pip", "install", "-q", "--python", python]
    needs = [built[0], colab.TENSORFLOW, "-c", ROOT / "requirements.txt"]
    subprocess.run([*uv, *install, *needs], check=True)
    done = subprocess.run(
        [python, "-I", "-c", TRAIN],  # isolated: no PYTHONPATH
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    top1 = float(re.search(r"top-1 ([\d.]+)", done.stdout)[1])
    assert top1 > 0.6
