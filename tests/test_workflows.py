"""The workflows: pinned, narrow, and made of scripts that run here, too."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = {
    path.stem: yaml.safe_load(path.read_text("utf-8"))
    for path in sorted(FOLDER.glob("*.yml"))
}
JOBS = {
    f"{workflow}/{name}": job
    for workflow, content in WORKFLOWS.items()
    for name, job in content["jobs"].items()
}
SCRIPTS = [
    path
    for path in sorted((ROOT / ".ci").iterdir())
    if path.read_text("utf-8").startswith("#!")
]
#: What needs GitHub, PyPI or Colab's image; each has a test of its own, or
#: is one command of theirs.
OUTSIDE = {
    ".ci/firefox",  # of the tests of a clean clone it would run none
    ".ci/preview",
    ".ci/published",
    ".ci/publish-release release",
    ".ci/publish-package release",
    ".ci/open-issues",
    "python3 book/tools/colab.py --here",
    "make links",
    "make test-all",  # which runs this
}
#: Jobs in which everything that is a script of ours is executed.
EXECUTED = (
    "test/test",
    "test/build",
    "test/units",
    "colab/versions",
    "drift/drift",
    "release/release",
)

each_job = pytest.mark.parametrize("name", JOBS)
in_bash = pytest.mark.skipif(
    os.name == "nt", reason="Windows starts no script by its first line"
)


def steps(name: str) -> list[str]:
    """The commands of a job, in order."""
    return [s["run"].strip() for s in JOBS[name]["steps"] if "run" in s]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yml")), ids=str)
def test_actions_are_pinned_by_hash(path):
    uses = re.findall(r"uses: (.*)", path.read_text("utf-8"))
    assert uses
    for use in uses:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_do_nothing_by_itself(name):
    assert WORKFLOWS[name]["permissions"] == {}


@each_job
def test_a_job_may_do_little_and_ends(name):
    job = JOBS[name]
    assert job["timeout-minutes"] <= 120
    rights = dict(job["permissions"])
    assert rights.pop("contents") == (
        "write" if name == "release/github" else "read"
    )
    allowed = {
        "test/deploy": {"pages": "write", "id-token": "write"},
        "drift/issue": {"actions": "read", "issues": "write"},
        "release/pypi": {"id-token": "write"},
    }
    assert rights == allowed.get(name, {})


@each_job
def test_every_command_is_a_script_of_the_repository(name):
    targets = re.findall(
        r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M
    )
    for command in steps(name):
        if command in OUTSIDE:
            continue
        tool, *rest = command.split()
        if tool == "make":
            assert rest[0] in targets, command
        else:
            assert os.access(ROOT / tool, os.X_OK), command


def test_ci_leaves_out_no_slow_test():
    commands = [command for name in JOBS for command in steps(name)]
    commands += (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    tests = [c for c in commands if re.match(r"make test\b(?!-)", c)]
    assert len(tests) == 3  # a push, a release, .ci/run
    assert all("SLOW=1" in command for command in tests)


def test_where_there_is_a_browser_its_tests_are_not_skipped():
    for name, job in JOBS.items():
        required = job.get("env", {}).get("VITSD_REQUIRE_BROWSER") == "1"
        assert required == (".ci/browser" in steps(name)), name


def test_colabs_image_is_a_variable_of_the_settings():
    image = JOBS["colab/image"]["container"]["image"]
    assert image.startswith("${{ vars.")


def test_pages_are_deployed_only_after_tests_and_from_main():
    job = JOBS["test/deploy"]
    assert set(job["needs"]) == {"test", "build"}
    assert "refs/heads/main" in job["if"]
    assert steps("test/deploy") == [".ci/published"]


@in_bash
def test_deployment_is_refused_until_the_address_is_set(tmp_path):
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "published", tmp_path / ".ci")
    for owner, code in (("OWNER", 1), ("ada", 0)):
        text = f"repository:\n  url: https://github.com/{owner}/book\n"
        (tmp_path / "_config.yml").write_text(text, "utf-8")
        done = subprocess.run(
            [tmp_path / ".ci" / "published"], capture_output=True, text=True
        )
        assert done.returncode == code
        assert ("make badges" in done.stderr) == bool(code)


GH = """#!/usr/bin/env bash
echo "$@" >>"$GH_LOG"
case "$1 $2" in
  "issue list") printf %s "$GH_FOUND" ;;
  "run download")
    test -n "$GH_REPORT" || exit 1
    cd "$7"; mkdir drift-pre; echo "$GH_REPORT" >drift-pre/summary.md ;;
  "run view") echo "$GH_FAILED" ;;
  "issue create" | "issue comment") cat "${@: -1}" >>"$GH_LOG" ;;
esac
"""


@in_bash
@pytest.mark.parametrize(
    ("open_issue", "command"),
    [("", "issue create"), ("7", "issue comment 7")],
)
def test_drift_opens_one_issue(tmp_path, open_issue, command):
    """A second week's report is a comment on the first's."""
    log = open_issues(tmp_path, open_issue, "moved")
    assert "run download 9 --pattern drift-*" in log
    assert "with the pre releases" in log
    assert command in log and "\nmoved\n" in log
    assert ("issue create" in log) != ("issue comment" in log)


@in_bash
def test_a_run_that_failed_before_its_report_is_an_issue(tmp_path):
    log = open_issues(tmp_path, "", "")
    assert "issue create --title The weekly look ahead failed" in log
    assert "1 jobs failed, and 0 reports were found." in log
    assert "https://example.org/run" in log


@in_bash
def test_a_job_without_a_report_is_told_beside_one_with(tmp_path):
    log = open_issues(tmp_path, "", "moved", failed=2)
    assert log.count("issue create") == 2 and "\nmoved\n" in log
    assert "2 jobs failed, and 1 reports were found." in log


def open_issues(
    tmp_path: Path, found: str, report: str, failed: int = 1
) -> str:
    """What the script asks of gh, which has found an issue and a report."""
    stub = tmp_path / "bin" / "gh"
    stub.parent.mkdir()
    stub.write_text(GH, "utf-8")
    stub.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{stub.parent}:{os.environ['PATH']}",
        "GH_LOG": str(tmp_path / "log"),
        "GH_FOUND": found,
        "GH_REPORT": report,
        "GH_FAILED": str(failed),
        "RUN_ID": "9",
        "RUN_URL": "https://example.org/run",
    }
    subprocess.run([ROOT / ".ci" / "open-issues"], env=environment, check=True)
    return (tmp_path / "log").read_text("utf-8")


@in_bash
def test_preview_is_linked_on_the_runs_page(tmp_path):
    summary = tmp_path / "summary"
    environment = {
        **os.environ,
        "GITHUB_STEP_SUMMARY": str(summary),
        "ARTIFACT_URL": "https://example.org/site",
    }
    subprocess.run([ROOT / ".ci" / "preview"], env=environment, check=True)
    assert "(https://example.org/site)" in summary.read_text("utf-8")


def tool(name: str) -> str:
    """A program of the group `checks`."""
    return str(Path(sys.executable).with_name(name))


@pytest.mark.heavy
def test_zizmor_finds_nothing():
    subprocess.run([tool("zizmor"), "--offline", "-q", ROOT], check=True)


@pytest.mark.heavy
def test_shellcheck_finds_nothing():
    subprocess.run([tool("shellcheck"), *SCRIPTS], check=True)


@pytest.mark.heavy
def test_hooks_pass():
    """Those of .pre-commit-config.yaml, on every file."""
    subprocess.run(
        [tool("pre-commit"), "run", "--all-files"], cwd=ROOT, check=True
    )


@pytest.mark.parametrize("name", ["drift", "number", "unclear"])
def test_issue_forms_are_forms(name):
    path = ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml"
    form = yaml.safe_load(path.read_text("utf-8"))
    assert {"name", "description", "body"} <= set(form)
    kinds = {"dropdown", "input", "markdown", "textarea"}
    fields = [entry for entry in form["body"] if entry["type"] != "markdown"]
    assert {entry["type"] for entry in form["body"]} <= kinds
    ids = [entry["id"] for entry in fields]
    assert len(set(ids)) == len(ids)
    assert all(entry["attributes"]["label"] for entry in fields)


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """A clean clone of what is committed."""
    folder = tmp_path_factory.mktemp("clone") / "book"
    command = ["git", "clone", "-q", ROOT, folder]
    subprocess.run(command, check=True)
    return folder


@pytest.mark.heavy
@pytest.mark.parametrize("name", EXECUTED)
def test_steps_run_in_a_clean_clone(clone, name):
    """In order. The environment alone is kept from job to job.

    Of the tests some are run: all of them have been, by `make test-all`.
    """
    clean = ["git", "-C", clone, "clean", "-qxfd"]
    subprocess.run([*clean, "-e", ".venv", "-e", "_build/colab"], check=True)
    given = {k: str(v) for k, v in JOBS[name].get("env", {}).items()}
    given.pop("RELEASES", None)
    if "NB" in given:
        given["NB"] = given["NB"].split()[0]
    dropped = ("VIRTUAL_ENV", "PYTEST_CURRENT_TEST", "PYTEST_XDIST_WORKER")
    environment = {k: v for k, v in os.environ.items() if k not in dropped}
    environment |= given
    environment["PYTEST_ADDOPTS"] = "-k 'test_patches or 01_patches'"
    for command in steps(name):
        if command in OUTSIDE:
            continue
        done = subprocess.run(
            ["bash", "-ec", command],
            cwd=clone,
            env=environment,
            capture_output=True,
            text=True,
        )
        said = f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        if command == ".ci/drift":  # newer releases may move an output
            assert (clone / "_build" / "drift" / "index.html").exists(), said
        elif command == "make coverage":  # of some tests it is too little
            assert "TOTAL" in done.stdout, said
        else:
            assert done.returncode == 0, said
    if name == "release/release":
        check_release(clone / "_build" / "release")


def check_release(folder: Path) -> None:
    """All the files of a release are there and are what they should be."""
    names = {path.name for path in folder.iterdir()}
    for ending in ("site.tar.gz", "weights.tar.gz", "source.tar.gz", ".whl"):
        assert any(name.endswith(ending) for name in names), names
    assert {"MANIFEST.json", "NOTES.md", "SHA256SUMS"} <= names
    checked = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
    subprocess.run(checked, cwd=folder, check=True)
