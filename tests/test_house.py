"""The house rules of the README ("The house"), held by reading the imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = {
    *("tasks.afterlife", "tasks.closing", "tasks.console", "tasks.dashboard", "tasks.forecast"),
    *("tasks.engine", "tasks.journal", "tasks.live", "tasks.policy", "tasks.trials"),
}
TOLD_IN_COMMON = "flows.story"
ANYTHING_OF_CORE = "tasks.core"

# Room: (what its modules must never import, at any level of the file).
FORBIDDEN = {
    "flows": {"numpy", "keras", "tensorflow", "pandas", "sklearn", "matplotlib"},
    "tasks": {"numpy", "keras", "tensorflow", "pandas", "sklearn", "matplotlib", "flows"},
    "tasks/core": {"prefect", "keras", "tensorflow", "flows", *SHARED},
    "tasks/core/data": {"prefect", "keras", "tensorflow", "tasks.core.model", "tasks.core.results", "flows"},
    "tasks/core/model": {"prefect", "tasks.core.results", "flows"},
    "tasks/core/results": {"prefect", "keras", "tensorflow", "tasks.core.model", "flows"},
}


def broken_rules(root: Path) -> list[str]:
    """Every import under `root` that the table forbids, as "file imports name"."""
    return [
        f"{path.relative_to(root)} imports {name}"
        for room, forbidden in FORBIDDEN.items()
        for path in sorted((root / room).glob("*.py"))
        for name in imports(path)
        if any(name == other or name.startswith(other + ".") for other in forbidden | siblings(room, path))
        and not (room == "flows" and name.startswith(TOLD_IN_COMMON + "."))
    ]


def siblings(room: str, path: Path) -> set[str]:
    """Stages never import another stage; flows never import another flow, but for the command.

    What flows tell in common stands in a module of its own.
    """
    if room == "flows" and path.stem != "__main__":
        return {"flows"}
    if room == "tasks":
        names = {f"tasks.{other.stem}" for other in path.parent.glob("*.py")}
        return names - SHARED - {"tasks.__init__"}
    return set()


def imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def test_every_import_keeps_to_the_rules() -> None:
    assert broken_rules(ROOT) == []


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("flows", "import numpy as np"),
        ("flows", "from flows.train_flow import train_flow"),
        ("tasks", "from tasks.train import train"),
        ("tasks", "import pandas"),
        ("tasks/core", "from prefect import task"),
        ("tasks/core/data", "def late():\n    import tensorflow"),
        ("tasks/core/data", "from tasks.core.model import training"),
        ("tasks/core/model", "from tasks.core import results"),
        ("tasks/core/results", "import keras.ops"),
    ],
)
def test_a_broken_rule_is_named(tmp_path: Path, room: str, line: str) -> None:
    for name in FORBIDDEN:
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    for stage in ("train", "policy"):
        (tmp_path / "tasks" / f"{stage}.py").write_text("")
    (tmp_path / room / "newcomer.py").write_text(line + "\n")
    (problem,) = broken_rules(tmp_path)
    assert problem.startswith(f"{room}/newcomer.py imports ")


def test_flows_and_stages_load_without_tensorflow() -> None:
    stages = [f"tasks.{path.stem}" for path in (ROOT / "tasks").glob("[a-z]*.py")]
    flows = [f"flows.{path.stem}" for path in (ROOT / "flows").glob("*_flow.py")]
    code = (
        f"import importlib, sys\nfor name in {stages + flows}: importlib.import_module(name)\n"
        "print(sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_there_is_no_drawer() -> None:
    drawers = {"utils", "helpers", "common", "misc"}
    assert [path for path in ROOT.glob("[ft]*/**/*.py") if path.stem in drawers] == []
