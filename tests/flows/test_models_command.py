"""`plumbline models` as a person runs it, on a registry of small made-up models."""

import os
import subprocess
import sys

import pytest

from tasks.core.registry import registry
from tasks.core.workspace import Workspace
from tests.support.fake_outputs import FakeOutputs
from tests.support.run_cli import ROOT


@pytest.fixture
def fake(workspace: Workspace) -> FakeOutputs:
    """Three published versions of `animals`; the second is champion, the first previous."""
    made = FakeOutputs(workspace)
    facts = {"classes": list(made.classes), "shape": list(made.shape), "parameters": {"recipe": "fast"}}
    for name, skill in (("one", 1.0), ("two", 2.0), ("three", 2.0)):
        evaluation = made.evaluation(name, skill)
        registry.publish(made.trained(name), evaluation, "animals", facts, workspace, who="ann")
    registry.promote("animals", "v0001", workspace, who="ann", why="first")
    registry.promote("animals", "v0002", workspace, who="ann", why="better")
    return made


def run(
    workspace: Workspace, *arguments: str, python: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *python, "-m", "flows", *arguments, "--workspace", str(workspace.root)],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def ok(workspace: Workspace, *arguments: str) -> str:
    done = run(workspace, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def refused(workspace: Workspace, *arguments: str) -> str:
    done = run(workspace, *arguments)
    assert done.returncode in (1, 2), done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


def test_list_has_a_row_for_each_version(fake: FakeOutputs) -> None:
    lines = ok(fake.workspace, "models", "list").splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["animals", f"v000{number}"] for number in (1, 2, 3)]
    assert "previous" in lines[1]
    assert "champion" in lines[2]
    assert f"{fake.evaluation('two', 2.0).accuracy:.2%}" in lines[2]
    (fake.workspace.models / "animals" / "v0003" / "model.keras").write_text("something else")
    assert "damaged" in ok(fake.workspace, "models", "list", "animals").splitlines()[3]
    assert "no published models yet" in ok(Workspace(fake.workspace.root / "other"), "models", "list")


def test_show_tells_what_is_known(fake: FakeOutputs) -> None:
    text = ok(fake.workspace, "models", "show", "animals")
    for words in ("animals v0002", "sha256", "champion", "ant, bee", "balanced accuracy", "better"):
        assert words in text
    assert "animals v0003" in ok(fake.workspace, "models", "show", "animals", "3")
    assert "no model v0009" in refused(fake.workspace, "models", "show", "animals", "v0009")


def test_promote_rollback_and_own_names(fake: FakeOutputs) -> None:
    ok(fake.workspace, "models", "promote", "animals", "v0003", "--why", "the kiosk asks for it")
    assert registry.aliases("animals", fake.workspace) == {"champion": "v0003", "previous": "v0002"}
    assert registry.history("animals", fake.workspace)[-1]["why"] == "the kiosk asks for it"
    ok(fake.workspace, "models", "rollback", "animals")
    assert registry.aliases("animals", fake.workspace) == {"champion": "v0002", "previous": "v0003"}
    ok(fake.workspace, "models", "alias", "animals", "kiosk", "v0001")
    assert registry.aliases("animals", fake.workspace)["kiosk"] == "v0001"
    ok(fake.workspace, "models", "alias", "animals", "kiosk", "--remove")
    assert "kiosk" not in registry.aliases("animals", fake.workspace)
    assert "name a version" in refused(fake.workspace, "models", "alias", "animals", "kiosk")
    assert "cannot be an alias" in refused(fake.workspace, "models", "alias", "animals", "champion", "v0001")


def test_delete_and_gc(fake: FakeOutputs) -> None:
    assert "in use" in refused(fake.workspace, "models", "delete", "animals", "v0002")
    assert "would be removed: v0003" in ok(
        fake.workspace, "models", "gc", "animals", "--keep", "0", "--dry-run"
    )
    assert "removed: nothing" in ok(
        fake.workspace, "models", "gc", "animals", "--keep", "0", "--keep-version", "v0003"
    )
    ok(fake.workspace, "models", "delete", "animals", "v0003", "--why", "no use")
    assert [version.version for version in registry.versions("animals", fake.workspace)] == ["v0001", "v0002"]


@pytest.mark.parametrize("command", [("models", "list"), ("compare",)])
def test_neither_prefect_nor_tensorflow_is_loaded(workspace: Workspace, command: tuple[str, ...]) -> None:
    done = run(workspace, *command, python=("-X", "importtime"))
    assert done.returncode == 0
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "tasks.core.workspace" in loaded  # the check can see imports at all
    assert {"prefect", "tensorflow", "keras", "sklearn"} & loaded == set()
