"""`plumbline models` as a user runs it, on a registry of small made-up models."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from flows import __main__ as command_line
from flows.commands import compare, doctor, explain, models
from tasks.core.config import PromotePolicy
from tasks.core.errors import UsageError
from tasks.core.registry import registry
from tasks.core.registry.promotion import promotion
from tasks.core.workspace import Workspace
from tests.support.fake_outputs import FakeOutputs
from tests.support.run_cli import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def fake(workspace: Workspace) -> FakeOutputs:
    """Three published versions of `animals`; the second is champion, the first previous."""
    outputs = FakeOutputs(workspace)
    facts = {"classes": list(outputs.classes), "shape": list(outputs.shape), "parameters": {"recipe": "fast"}}
    for name, skill in (("one", 1.0), ("two", 2.0), ("three", 2.0)):
        evaluation = outputs.evaluation(name, skill)
        registry.publish(outputs.trained(name), evaluation, "animals", facts, workspace, who="ann")
    registry.promote("animals", "v0001", workspace, who="ann", why="first")
    registry.promote("animals", "v0002", workspace, who="ann", why="better")
    return outputs


def run(workspace: Workspace, *arguments: str) -> Result:
    """Run a command of `plumbline` in that workspace, in this process."""
    app = command_line.app((arguments[0],))
    return CliRunner().invoke(
        app, [*arguments, "--workspace", str(workspace.root)], env={"COLUMNS": "200"}, prog_name="plumbline"
    )


def ok(workspace: Workspace, *arguments: str) -> str:
    """Run a command that must succeed. Returns what it printed."""
    done = run(workspace, *arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(workspace: Workspace, *arguments: str) -> str:
    """Run a command that must fail without a traceback. Returns its error text."""
    done = run(workspace, *arguments)
    assert done.exit_code in (1, 2), done.output
    assert isinstance(done.exception, SystemExit)  # no traceback
    return done.stderr


def test_models_list_has_a_row_per_version_and_marks_damage(fake: FakeOutputs) -> None:
    lines = ok(fake.workspace, "models", "list").splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["animals", f"v000{number}"] for number in (1, 2, 3)]
    assert "previous" in lines[1]
    assert "champion" in lines[2]
    assert f"{fake.evaluation('two', 2.0).accuracy * 100:.2f} %" in lines[2]
    (fake.workspace.models / "animals" / "v0003" / "model.keras").write_text("something else")
    (fake.workspace.models / "animals" / "v0001" / "manifest.json").write_text("{")
    table, problems = ok(fake.workspace, "models", "list", "animals").split("damaged; ")
    assert [line.split()[-1] for line in table.splitlines()[1::2]] == ["damaged", "damaged"]
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 100
    assert "animals v0001  " in problems
    assert "manifest.json is not a finished output" in problems
    assert "model.keras has 14 bytes instead of" in problems
    assert "birds has no published model; these have: animals" in ok(
        fake.workspace, "models", "list", "birds"
    )
    (fake.workspace.root / "other").mkdir()
    assert "no published models yet" in ok(Workspace(fake.workspace.root / "other"), "models", "list")


@pytest.mark.parametrize("command", [models.list_, compare.compare, doctor.doctor, explain.explain])
def test_mistyped_workspace_is_refused_and_not_created(tmp_path: Path, command: Callable[..., None]) -> None:
    with pytest.raises(UsageError, match="there is no workspace"):
        command(workspace=tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("address", ["", "s3://", "s3:", "ftp://127.0.0.1:9/x"])
def test_address_that_cannot_be_a_workspace_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(models.app(), ["list", "--workspace", address])
    assert done.exit_code in (1, 2)
    assert isinstance(done.exception, SystemExit)
    assert sorted(tmp_path.iterdir()) == []


def test_models_show_prints_one_version(fake: FakeOutputs) -> None:
    text = ok(fake.workspace, "models", "show", "animals")
    for words in (
        "animals v0002",
        "sha256",
        "ant, bee",
        "balanced accuracy",
        "better",
        "champion v0001 -> v0002",
    ):
        assert words in text
    assert "animals v0003" in ok(fake.workspace, "models", "show", "animals", "3")
    assert "no model v0009" in refused(fake.workspace, "models", "show", "animals", "v0009")


def test_models_name_the_recipe_that_auto_has_chosen(workspace: Workspace) -> None:
    outputs = FakeOutputs(workspace)
    asked = {"parameters": {"recipe": "auto"}}
    arguments = outputs.trained("one"), outputs.evaluation("one", 2.0), None, PromotePolicy.better
    promotion.promote(*arguments, outputs.tensors(), asked, workspace, "ann")
    assert ok(workspace, "models", "list").splitlines()[1].split()[-3:-1] == ["fast", "0.0"]
    assert re.search(r"recipe +fast\n", ok(workspace, "models", "show", "animals"))
    card = (workspace.models / "animals" / "v0001" / "model_card.md").read_text()
    assert "- Recipe: fast\n" in card


def test_models_promote_rollback_and_alias_change_the_aliases(fake: FakeOutputs) -> None:
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
    swapped = refused(fake.workspace, "models", "alias", "animals", "v0001", "prod")
    assert "name the alias first, then the version" in swapped


def test_models_delete_and_gc_keep_versions_in_use(fake: FakeOutputs) -> None:
    assert "in use" in refused(fake.workspace, "models", "delete", "animals", "v0002")
    gc = ("models", "gc", "animals", "--keep", "1")
    ok(fake.workspace, "models", "alias", "animals", "previous-best", "v0002")
    ok(fake.workspace, "models", "promote", "animals", "v0002")
    assert "nothing to remove" in ok(fake.workspace, *gc, "--dry-run")
    assert "would be removed: v0003" in ok(fake.workspace, "models", "delete", "animals", "3", "--dry-run")
    assert len(registry.versions("animals", fake.workspace)) == 3
    ok(fake.workspace, "models", "delete", "animals", "v0003", "--why", "no use")
    assert [version.version for version in registry.versions("animals", fake.workspace)] == ["v0001", "v0002"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("gc", "animals", "--keep", "-1"), "cannot be kept"),
        (("gc", "animals", "--keep", "0"), "cannot be kept"),
        (("gc", "animals", "--keep", "1", "--keep-version", "v1"), "no model v1"),
        (("gc", "animals", "--keep", "1", "--keep-version", "kiosk"), "no model kiosk"),
        (("gc", "animlas", "--keep", "1"), "no published model"),
        (("delete", "animals", "0003.keras"), "no model 0003.keras"),
        (("delete", "animals", "champion"), "in use"),
        (("delete", "animlas", "v0001"), "no published model"),
        (("rollback", "animlas"), "no published model"),
        (("promote", "animlas", "v0001"), "no published model"),
        (("alias", "animlas", "kiosk", "v0001"), "no published model"),
    ],
)
def test_models_command_that_names_nothing_is_refused_and_changes_nothing(
    fake: FakeOutputs, arguments: tuple[str, ...], problem: str
) -> None:
    before = sorted(path for path in fake.workspace.models.rglob("*") if path.name != ".lock")
    done = CliRunner().invoke(models.app(), [*arguments, "--workspace", str(fake.workspace.root)])
    assert done.exit_code in (1, 2)
    assert problem in done.output
    assert sorted(path for path in fake.workspace.models.rglob("*") if path.name != ".lock") == before


@pytest.mark.parametrize("command", [("models", "list"), ("compare",)])
def test_reading_commands_import_neither_prefect_nor_tensorflow(
    workspace: Workspace, command: tuple[str, ...]
) -> None:
    workspace.root.mkdir()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "flows", *command, "--workspace", str(workspace.root)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "tasks.core.workspace" in imported  # -X importtime lists imports
    assert {"prefect", "tensorflow", "keras", "sklearn"} & imported == set()
