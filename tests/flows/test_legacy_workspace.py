"""A workspace of Plumbline 0.1.0 (tests/data/workspace-0.1.0.tar.gz) under today's code.

Its code (commit 7f9bd70) made it with these commands, from 3 x 40 drawn pictures of 8x8 pixels:

    train_flow.py --dataset shapes --val-fraction 0.25 --recipe seed --epochs 1 --seed 1
    train_flow.py --dataset shapes --val-fraction 0.25 --recipe flash --epochs 5 --seed 2 --promote always
    (the same again; a sweep of two trials)
    plumbline models alias shapes kiosk v0001
    predict_flow.py inbox --dataset shapes --threshold 0.5 --out predictions

It has the versions, aliases, decisions and metrics tables, and the stages `download` and `normalize`.
"""

import tarfile
from pathlib import Path

import pandas as pd
import pytest

from tasks.core.runs import tables
from tasks.core.storage import manifests
from tests.support.run_cli import ROOT, Plumbline

FIXTURE = ROOT / "tests" / "data" / "workspace-0.1.0.tar.gz"
RUN_IDS = ["20261126-161820-6992", "20261126-161832-6630", "20261126-161845-11fd", "20261126-161851-f2b5"]


def unpacked(folder: Path) -> Path:
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def commands(plumbline: Plumbline, *arguments: object) -> str:
    done = plumbline.run("flows/__main__.py", *arguments, "--workspace", plumbline.workspace)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def legacy(warm_plumbline: Plumbline) -> Plumbline:
    unpacked(warm_plumbline.workspace.parent)
    return warm_plumbline


def test_metrics_tables_of_0_1_0_are_read_under_todays_names(tmp_path: Path) -> None:
    from tasks.core.workspace import Workspace

    folder = unpacked(tmp_path) / "workspace" / "metrics"
    before = {name: pd.read_parquet(folder / name) for name in ("runs", "epochs", "classes", "predictions")}
    workspace = Workspace(tmp_path / "workspace")
    runs = tables.read("runs", workspace).sort_values("started")
    assert runs["run_id"].tolist() == RUN_IDS
    assert runs["recipe"].tolist() == ["textbook", "flash", "flash", "flash"]
    old = before["runs"].set_index("run_id").loc[RUN_IDS]
    assert runs["test_accuracy"].tolist() == old["accuracy"].tolist()
    assert runs["test_images"].tolist() == old["images"].tolist()
    assert "label_issues" in runs["stages"].iloc[0]
    assert '"suspect"' not in runs["stages"].iloc[0]
    assert '"skipped"' in runs["stages"].iloc[2]
    assert tables.read("epochs", workspace)["train_loss"].notna().all()
    classes = tables.read("classes", workspace)
    assert set(classes["class_name"]) == {"cross", "disc", "stripes"}
    assert classes["predicted_count"].sum() == before["classes"]["predicted"].sum()
    predictions = tables.read("predictions", workspace)
    assert (predictions["predicted_label"] == before["predictions"]["predicted"]).all()
    # Any tool reads the folder under one set of names.
    assert pd.read_parquet(folder / "runs")["test_accuracy"].notna().all()
    assert len(tables.read("trials", workspace)) == 2


def test_upgrade_of_metrics_tables_when_killed_is_completed(tmp_path: Path) -> None:
    from tasks.core.workspace import Workspace

    workspace = Workspace(unpacked(tmp_path) / "workspace")
    folder = workspace.metrics / "runs"
    other = Workspace(unpacked(tmp_path / "other") / "workspace")
    tables.read("runs", other)
    part = next(iter((other.metrics / "runs").glob("dataset=shapes/*.parquet")))
    # One part is new, the file of all columns is not: as a kill after the first part leaves it.
    (folder / "dataset=shapes" / part.name).write_bytes(part.read_bytes())
    assert tables.read("runs", workspace)["test_accuracy"].notna().all()


@pytest.mark.slow
def test_legacy_workspace_commands_read_versions_aliases_and_runs(legacy: Plumbline) -> None:
    listed = commands(legacy, "models", "list")
    assert "v0001" in listed
    assert "kiosk" in listed
    assert "95.83 %" in listed
    shown = commands(legacy, "models", "show", "shapes")
    assert "v0002" in shown
    compared = commands(legacy, "compare", "--columns", "version,recipe,test_accuracy")
    assert "textbook" in compared
    assert "v0002" in compared
    explained = commands(legacy, "explain", RUN_IDS[1])
    assert "label_issues" in explained


@pytest.mark.slow
def test_legacy_champion_predicts_what_it_predicted(legacy: Plumbline) -> None:
    folder = legacy.workspace.parent
    old = pd.read_parquet(next((folder / "predictions").glob("batch=*/part-*.parquet")))
    new = folder / "new"
    arguments = ("--dataset", "shapes", "--threshold", 0.5, "--out", new, "--workspace", legacy.workspace)
    done = legacy.run("flows/predict_flow.py", folder / "inbox", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    table = pd.read_parquet(next(new.glob("batch=*/part-*.parquet")))
    before = dict(zip(old["file"].map(lambda name: Path(name).name), old["predicted_class"], strict=True))
    after = dict(
        zip(table["path"].map(lambda name: Path(name).name), table["predicted_class_name"], strict=True)
    )
    assert len(after) == 25
    assert after == before
    # Batches of 0.1.0 have other columns: a folder has one set of names.
    arguments = ("--dataset", "shapes", "--out", folder / "predictions", "--workspace", legacy.workspace)
    refused = legacy.run("flows/predict_flow.py", folder / "inbox", *arguments)
    assert refused.returncode == 1
    assert "another folder" in refused.stdout + refused.stderr


@pytest.mark.slow
def test_legacy_workspace_training_continues_the_numbers_and_says_why_stages_run(legacy: Plumbline) -> None:
    folder = legacy.workspace.parent
    options = ("--dataset", folder / "shapes", "--val-fraction", 0.25, "--recipe", "flash", "--epochs", 1)
    done = legacy.ok(*options, "--seed", 3)
    assert done.count("an earlier version of Plumbline made the stages") == 1
    assert "v0003" in done
    assert legacy.runs().sort_values("started")["run_id"].tolist()[:4] == RUN_IDS
    assert manifests.read(legacy.workspace / "models" / "shapes" / "v0003")["facts"]["version"] == "v0003"
    again = legacy.ok(*options, "--seed", 3)
    assert "earlier version" not in again
    assert "unchanged since" in again
