import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from flows.commands import prune as command
from tasks.core.config import IfRunning, PromotePolicy
from tasks.core.errors import UsageError
from tasks.core.operations import run_lock
from tasks.core.registry.promotion import promotion
from tasks.core.runs import explain, prune, tables
from tasks.core.storage import hashing, manifests
from tasks.core.workspace import Workspace
from tests.support.fake_outputs import FakeOutputs
from tests.support.servers.s3_server import ADDRESS, Bucket

NOW = datetime.now(UTC)
MONTH = timedelta(days=30)


def make_old(directory: Path, days: float) -> None:
    """Set the time in an output's manifest, and its hash of itself."""
    path = directory / manifests.MANIFEST
    manifest = json.loads(path.read_bytes())
    manifest.pop(hashing.SEAL, None)
    manifest["created"] = (NOW - timedelta(days=days)).isoformat()
    path.write_text(json.dumps(hashing.sealed(manifest)))


def record(fake: FakeOutputs, name: str, days: float, version: str | None = None) -> Path:
    """The model and the row of a run that was so many days ago; returns the folder of the model."""
    trained = fake.trained(name)
    make_old(trained.directory, days)
    stages = {"normalize": {"digest": fake.tensors().digest}, "train": {"digest": trained.digest}}
    row = {"started": NOW - timedelta(days=days), "stages": json.dumps(stages), "version": version}
    tables.append("runs", fake.dataset, name, pd.DataFrame([row]), fake.workspace)
    return trained.directory


@pytest.fixture
def runs(fake: FakeOutputs) -> list[str]:
    """Ten runs, one every ten days."""
    names = [f"r{number:02d}" for number in range(10)]
    for number, name in enumerate(names):
        record(fake, name, number * 10.0, "v0001" if name == "r08" else None)
    make_old(fake.tensors().directory, 300)
    return names


def complete(run: str, workspace: Workspace) -> bool:
    stages = json.loads(explain.run_of(run, workspace)["stages"])
    return all(explain.outputs_complete(name, entry["digest"], workspace) for name, entry in stages.items())


def test_plan_changes_nothing_and_prune_removes_what_it_says(fake: FakeOutputs, runs: list[str]) -> None:
    workspace = fake.workspace
    before = {path: path.stat().st_size for path in workspace.root.rglob("*") if path.is_file()}
    planned = prune.plan(workspace, keep=2, older_than=MONTH)
    assert {path for path in workspace.root.rglob("*") if path.is_file()} == set(before)
    done = prune.prune(workspace, keep=2, older_than=MONTH)
    assert {output.directory for output in done.removed} == {output.directory for output in planned.unneeded}
    after = sum(path.stat().st_size for path in workspace.root.rglob("*") if path.is_file())
    assert sum(before.values()) - after == sum(output.size for output in planned.unneeded) > 0
    # r02 is not among the two newest, and 20 days old
    assert [run for run in runs if complete(run, workspace)] == ["r00", "r01", "r02"]
    assert len(tables.read("runs", workspace)) == 10
    assert prune.plan(workspace, keep=2, older_than=MONTH).unneeded == ()


@pytest.mark.slow
def test_newest_runs_stay_however_old(fake: FakeOutputs, runs: list[str]) -> None:
    prune.prune(fake.workspace, keep=7, older_than=timedelta(hours=1))
    assert [run for run in runs if complete(run, fake.workspace)] == [f"r{n:02d}" for n in range(7)]


@pytest.mark.slow
def test_outputs_of_published_versions_stay(fake: FakeOutputs, runs: list[str]) -> None:
    """The run that published a version, and what the version's manifest names, such as its evaluation."""
    facts = {"classes": list(fake.classes), "shape": list(fake.shape)}
    made = fake.trained("r08"), fake.evaluation("r08", 2.0)
    decided = promotion.promote(
        *made, None, PromotePolicy.better, fake.tensors(), facts, fake.workspace, who="ann"
    )
    assert decided.version == "v0001"
    make_old(made[1].directory, 80)
    (fake.workspace.models / "animals" / "v0001" / "model.keras").unlink()  # the manifest says enough
    prune.prune(fake.workspace, keep=1, older_than=MONTH)
    assert [run for run in runs if complete(run, fake.workspace)] == ["r00", "r01", "r02", "r08"]
    assert explain.outputs_complete("evaluate", made[1].digest, fake.workspace)


def test_prune_while_a_run_is_in_progress_removes_nothing(fake: FakeOutputs, runs: list[str]) -> None:
    owner = run_lock.RunOwner.this("id", "a run")
    with (
        run_lock.exclusive_run("animals", owner, IfRunning.drop, fake.workspace),
        pytest.raises(UsageError, match="a run of animals is in progress"),
    ):
        prune.prune(fake.workspace, keep=1, older_than=MONTH)
    assert complete("r09", fake.workspace)


def test_checkpoints_of_old_unfinished_trainings_are_removed(fake: FakeOutputs) -> None:
    old, young = (fake.workspace.root / "training" / f"{digit * 16}.checkpoints" for digit in "ab")
    for folder, days in ((old, 40), (young, 1)):
        folder.mkdir(parents=True)
        (folder / "state.npz").write_text("state")
        when = (NOW - timedelta(days=days)).timestamp()
        os.utime(folder / "state.npz", (when, when))
    assert [o.directory for o in prune.prune(fake.workspace, 1, MONTH).removed] == [old]
    assert young.is_dir()


@pytest.mark.parametrize("text", ["30", "d", "1.5d", "-1d", "1y", "", "999999w", "99999999999h"])
def test_parse_age_of_anything_else_raises(text: str) -> None:
    with pytest.raises(UsageError, match="is not an age"):
        prune.parse_age(text)


def test_the_longest_age_is_a_time(fake: FakeOutputs) -> None:
    assert prune.plan(fake.workspace, 1, prune.parse_age("99999w")).unneeded == ()


def test_plan_keeping_no_run_raises(fake: FakeOutputs) -> None:
    with pytest.raises(UsageError, match="cannot be kept"):
        prune.plan(fake.workspace, 0, MONTH)


@pytest.mark.slow
def test_prune_at_an_address_removes_objects_that_can_be_made_again(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PLUMBLINE_MIRROR", str(tmp_path / "mirror"))
    fake = FakeOutputs(Workspace.open(ADDRESS), ("no", "yes"), 40)
    old = record(fake, "r1", 1)
    row = pd.DataFrame([{"started": NOW, "stages": "{}"}])
    tables.append("runs", "animals", "r2", row, fake.workspace)
    none_older = prune.plan(fake.workspace, 1, timedelta(hours=1))
    assert none_older.unneeded == ()
    before = bucket.objects()
    done = prune.prune(fake.workspace, 1, timedelta(0))
    assert old in {output.directory for output in done.removed}
    assert not [name for name in bucket.objects() if f"training/{old.name}" in name]
    assert {name for name in before if "metrics/" in name} <= set(bucket.objects())
    assert fake.trained("r1").directory == old
    assert [name for name in bucket.objects() if f"training/{old.name}/manifest.json" in name]


def test_prune_command_says_how_many_outputs_nothing_needs(fake: FakeOutputs, capsys) -> None:
    record(fake, "old", 100)
    record(fake, "new", 50)
    command.prune(keep=1, workspace=fake.workspace.root)
    shown = capsys.readouterr().out
    assert "nothing needs 1 output, " in shown
    assert "1 outputs" not in shown
