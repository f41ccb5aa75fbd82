"""The commit and the package versions of an earlier run, from a real repository and a folder of wheels."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tasks.core.errors import NetworkError, UsageError
from tasks.core.operations import code_checkout, provenance, python_environment


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(root), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits of one file."""
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "--quiet")
    for text in ("old", "new"):
        (root / "code.py").write_text(text)
        git(root, "add", ".")
        git(root, "commit", "--quiet", "-m", text)
    return root


def test_check_out_gives_the_files_of_the_commit_and_leaves_the_repository(
    repository: Path, tmp_path
) -> None:
    old = git(repository, "rev-parse", "HEAD~1")
    before = {path: path.stat().st_mtime_ns for path in repository.rglob("*")}
    assert code_checkout.check_out(old, tmp_path / "code", repository) == []
    assert (tmp_path / "code" / "code.py").read_text() == "old"
    assert provenance.git_commit(tmp_path / "code") == old
    assert {path: path.stat().st_mtime_ns for path in repository.rglob("*")} == before


def test_check_out_says_what_a_changed_checkout_lacks(repository: Path, tmp_path) -> None:
    old = git(repository, "rev-parse", "HEAD~1")
    (note,) = code_checkout.check_out(f"{old}-dirty", tmp_path / "code", repository)
    assert note == f"the run's code had changes that were not committed; commit {old[:12]} lacks them"


@pytest.mark.parametrize(
    ("commit", "found"),
    [
        ("", "a run without a commit"),
        ("--upload-pack=x", "the commit '--upload-pack=x'"),
        ("a" * 40, "fatal: "),
    ],
)
def test_check_out_refuses_what_is_no_commit(repository: Path, tmp_path, commit: str, found: str) -> None:
    with pytest.raises(UsageError, match="cannot be checked out") as raised:
        code_checkout.check_out(commit, tmp_path / "code", repository)
    assert found in raised.value.parts["found"]
    assert raised.value.parts["done"] == "nothing was started"


def write_wheel(folder: Path, name: str, version: str) -> None:
    """A wheel with one module that has its version."""
    records = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{records}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{records}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{records}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{records}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


@pytest.mark.slow
def test_environment_has_the_recorded_versions_or_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("1.0", "1.1"):
        write_wheel(tmp_path, "plumbtest", version)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    versions = {"plumbtest": "1.0", "plumbline": "0.2.0"}
    python = python_environment.create(tmp_path / "made", provenance.python(), versions, complete=True)
    code = "import plumbtest, sys; print(plumbtest.VERSION, sys.prefix)"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split() == ["1.0", str(tmp_path / "made")]

    with pytest.raises(NetworkError, match="packages of the run could not be installed") as raised:
        python_environment.create(tmp_path / "not", "", {"plumbtest": "9.0"}, complete=True)
    assert raised.value.parts["expected"] == "1 packages that pip finds, such as plumbtest==9.0"
    assert "No matching distribution found for plumbtest==9.0" in raised.value.parts["found"]
    assert raised.value.parts["done"].startswith("-m pip install failed in a new environment")


@pytest.mark.slow
def test_differences_names_versions_and_ignores_further_packages() -> None:
    here = provenance.distributions()
    assert {"numpy", "scikit-learn"} <= set(here)
    recorded = {"numpy": here["numpy"], "plumbline": "0.0.1", "pip": "1"}
    assert python_environment.differences(provenance.python(), recorded) == []
    assert python_environment.differences("", recorded) == []
    found = python_environment.differences("3.1.4", recorded | {"scipy": "0.1", "plumbtest": "1.0"})
    assert found == [
        f"Python 3.1.4 -> {provenance.python()}",
        f"scipy 0.1 -> {here['scipy']}",
        "plumbtest 1.0 -> not installed",
    ]


def test_interpreter_of_another_version_is_the_running_one_if_there_is_none() -> None:
    assert python_environment.interpreter_of(provenance.python()) == sys.executable
    assert python_environment.interpreter_of("2.5.1") == sys.executable
