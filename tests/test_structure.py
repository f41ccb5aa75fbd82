"""The structure of the code: import contracts, packages, and what loads when."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
STAGES = [f"tasks.{path.stem}" for path in sorted((ROOT / "tasks").glob("[a-z]*.py"))]
FLOWS = [f"flows.{path.stem}" for path in sorted((ROOT / "flows").glob("*_flow.py"))]


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command; lint_imports_command()",
    ]
    return subprocess.run([*command, "--no-cache"], cwd=root, capture_output=True, text=True, check=False)


def copied(folder: Path) -> Path:
    """A copy of what the contracts read."""
    for package in ("flows", "plumbline", "tasks"):
        for path in (ROOT / package).rglob("*.py"):
            target = folder / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    (folder / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    return folder


def test_import_contracts_hold() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_import_contracts_name_each_import_that_breaks_them(tmp_path: Path) -> None:
    """One line for each contract, all in one run."""
    lines = {
        "tasks/core/data/decode.py": "from tasks.core.registry import gate",
        "tasks/core/data/files/listing.py": "from tasks.core.data.readers import base",
        "tasks/core/model/devices/runtime.py": "from tasks.core.model.training import steps",
        "tasks/core/metrics/drift.py": "import keras",
        "tasks/core/storage/lock.py": "from prefect import task",
        "tasks/train.py": "import pandas",
        "tasks/audit.py": "from tasks.train import train",
    }
    root = copied(tmp_path)
    for name, line in lines.items():
        with (root / name).open("a") as file:
            file.write(f"\n{line}\n")
    done = lint_imports(root)
    assert done.returncode == 1
    assert "0 kept" in done.stdout, done.stdout
    for name, line in lines.items():
        module = name.removesuffix(".py").replace("/", ".")
        imported = line.split()[1]
        assert f"{module} -> {imported}" in done.stdout, (module, done.stdout)


def test_every_package_is_declared() -> None:
    """setuptools leaves out an undeclared package without a word."""
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for package in ("flows", "plumbline", "tasks")
        for path in (ROOT / package).rglob("__init__.py")
    }
    folders = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for package in ("flows", "plumbline", "tasks")
        for path in (ROOT / package).rglob("*.py")
    }
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == found == folders


def test_every_package_says_what_is_here_and_where_to_start() -> None:
    for name in PROJECT["tool"]["setuptools"]["packages"]:
        text = ROOT.joinpath(*name.split("."), "__init__.py").read_text(encoding="utf-8")
        assert len(text.split("\n\n")) > 1, name
        assert "may import" in text, name


def test_every_folder_is_small() -> None:
    """3 to 12 files besides the face; `tasks/` has one per stage."""
    for name in PROJECT["tool"]["setuptools"]["packages"]:
        files = list(ROOT.joinpath(*name.split(".")).glob("[a-z]*.py"))
        assert len(files) <= (21 if name == "tasks" else 12), name


@pytest.mark.slow
def test_flows_and_stages_load_without_tensorflow_and_trainings_without_matplotlib() -> None:
    """A training imports both later, while it would wait: Matplotlib takes 0.3 s and 22 MB."""
    code = (
        "import importlib, sys, flows.train_flow, flows.evaluate_flow\n"
        "found = {'matplotlib'} & set(sys.modules)\n"
        f"for name in {STAGES + FLOWS}: importlib.import_module(name)\n"
        "print(sorted(found | {'tensorflow', 'keras'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_module_is_a_drawer() -> None:
    drawers = {"utils", "helpers", "common", "misc"}
    assert [path for path in ROOT.glob("[ft]*/**/*.py") if path.stem in drawers] == []


def test_counts_have_a_singular() -> None:
    """`shares.counted` writes "1 image"; a fixed plural behind a count would be "1 images"."""
    nouns = "images|runs|trials|groups|requests|classes|labels"
    plural = re.compile(rf"""(:,\}}|"\.format\([^)]*\) \}}\}}) ([a-z]+ ){{0,2}}({nouns})\b""")
    folders = (ROOT / "flows", ROOT / "tasks")
    files = [path for folder in folders for kind in ("py", "j2") for path in folder.rglob(f"*.{kind}")]
    lines = [(path, line) for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    found = [f"{path}: {line}" for path, line in lines if plural.search(line)]
    assert [line for line in found if "MAX_" not in line and "slices.least" not in line] == []
