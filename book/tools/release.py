"""Prepare a release, and describe its files.

    python book/tools/release.py prepare 0.2.0    # make release VERSION=0.2.0
    python book/tools/release.py manifest FOLDER

`prepare` makes two commits and a tag. In the tagged one the version is the
new one, and badges and install cells name the tag, so that a chapter of a
release installs the package of that release; the next one names the branch
again. Nothing is pushed.
"""

import argparse
import datetime
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import address

ROOT = Path(__file__).resolve().parents[2]
VERSION = re.compile(r"\d+\.\d+\.\d+")
UNRELEASED = "## Unreleased\n"
NOTHING = "Nothing yet."


def git(*arguments: str) -> str:
    """What git says.

    Raises:
        RuntimeError: if it refuses, with its reason.
    """
    done = subprocess.run(
        ["git", "-C", ROOT, *arguments], capture_output=True, encoding="utf-8"
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise RuntimeError(
            f"git {arguments[0]} refused: {said}\nWhat was changed is taken "
            "back by: git restore --staged --worktree ."
        )
    return done.stdout.strip()


def replace(name: str, pattern: str, new: str) -> None:
    """Replace the one match of a pattern in a file.

    Raises:
        ValueError: if there is none, or more than one.
    """
    path = ROOT / name
    text, found = re.subn(
        pattern, lambda _: new, path.read_text("utf-8"), flags=re.M
    )
    if found != 1:
        raise ValueError(f"{name} has {found} matches of {pattern!r}, not 1")
    path.write_text(text, "utf-8")


def set_version(version: str, day: str) -> None:
    """Write a version to every place that repeats it."""
    code = f'__version__ = "{version}"'
    replace("vitsd_helpers/__init__.py", r"^__version__ = .*$", code)
    entry = f'"version": "{version}"'
    replace(".zenodo.json", r'"version": "[^"]*"', entry)
    note = f"note   = {{Version {version}, {day}}}"
    replace("book/references.md", r"note   = \{Version [^}]*\}", note)
    path = ROOT / "CITATION.cff"
    lines = path.read_text("utf-8").splitlines()
    kept = [line for line in lines if not line.startswith("date-released:")]
    at = next(n for n, s in enumerate(kept) if s.startswith("version:"))
    kept[at : at + 1] = [f"version: {version}", f"date-released: {day}"]
    path.write_text("\n".join(kept) + "\n", "utf-8")


def set_branch(name: str) -> None:
    """What badges and install cells name: a branch or a tag."""
    replace("_config.yml", r"^  branch: .*$", f"  branch: {name}")
    address.write()


def prepare(version: str) -> None:
    """Commit and tag a release, and go on after it.

    Raises:
        ValueError: if the version is none, or the changes say nothing.
        RuntimeError: if there is something to commit, or such a tag.
    """
    if not VERSION.fullmatch(version):
        raise ValueError(f"{version!r} is no version such as 0.2.0")
    if not address.is_set():
        raise RuntimeError(
            "Set `repository: url` in _config.yml before a release: its "
            "notebooks install from there."
        )
    if git("status", "--porcelain"):
        raise RuntimeError("Commit or discard your changes first.")
    tag = f"v{version}"
    if git("tag", "--list", tag):
        raise RuntimeError(f"There is a tag {tag} already.")
    if notes().strip() in ("", NOTHING):
        raise ValueError(
            f"CHANGELOG.md says nothing under {UNRELEASED.strip()}: write "
            "what changed."
        )
    branch = address.repository()[1]
    day = datetime.date.today().isoformat()
    heading = f"## {version} ({day})\n"
    replace("CHANGELOG.md", f"^{UNRELEASED}", heading)
    set_version(version, day)
    set_branch(tag)
    git("commit", "-qam", f"Release {version}")
    git("tag", "-a", tag, "-m", f"Release {version}")
    after = f"{UNRELEASED}\n{NOTHING}\n\n{heading}"
    replace("CHANGELOG.md", f"^{re.escape(heading)}", after)
    set_branch(branch)
    git("commit", "-qam", f"After {version}: {branch} installs {branch}")
    print(f"Tagged {tag}. To publish: git push origin {branch} {tag}")


def notes() -> str:
    """The newest part of the changes."""
    parts = re.split(
        r"^## .*\n", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.M
    )
    return parts[1].strip() + "\n"


def manifest(folder: Path) -> dict:
    """Version, commit, and size and digest of every file of a release."""
    from vitsd_helpers import __version__

    files = sorted(p for p in folder.iterdir() if p.is_file())
    weights = ROOT / "book" / "results" / "weights"
    return {
        "version": __version__,
        "commit": git("rev-parse", "HEAD"),
        "files": {path.name: describe(path) for path in files},
        "weights": {
            path.name: describe(path) for path in sorted(weights.iterdir())
        },
    }


def describe(path: Path) -> dict:
    """Size and digest of a file."""
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return {"bytes": len(content), "sha256": digest}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare").add_argument("version")
    commands.add_parser("manifest").add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "prepare":
        try:
            prepare(arguments.version)
        except (ValueError, RuntimeError) as error:
            sys.exit(str(error))
    else:
        folder = arguments.folder
        text = json.dumps(manifest(folder), indent=2) + "\n"
        (folder / "MANIFEST.json").write_text(text, "utf-8")
        (folder / "NOTES.md").write_text(notes(), "utf-8")


if __name__ == "__main__":
    main()
