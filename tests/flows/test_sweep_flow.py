"""Sweeps as a person runs them: in processes as in sequence, with a trial that fails."""

import hashlib
import json
import subprocess

import pandas as pd
import pytest

from tests.support.run_cli import Plumbline

pytestmark = pytest.mark.slow
# No training survives a learning rate of 900.
ASKED = ("--recipe", "flash", "--epochs", "1", "--vary", "learning_rate=0.1,0.2,900")


def swept(plumbline: Plumbline, *arguments: object) -> subprocess.CompletedProcess[str]:
    done = plumbline.run("flows/sweep_flow.py", *ASKED, *arguments, "--workspace", plumbline.workspace)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def weights(plumbline: Plumbline) -> dict[str, str]:
    return {
        path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in plumbline.workspace.glob("training/*/weights.npz")
    }


def test_a_sweep_in_processes_is_that_in_sequence(plumbline: Plumbline, server: dict[str, str]) -> None:
    said = swept(plumbline, "--runner", "processes", "--workers", "2").stdout
    check_the_tables(plumbline, said)
    again = swept(plumbline, "--runner", "processes").stdout
    assert "3 trials, 2 of them there already" in again
    assert list(trials(plumbline)["state"])[3:] == ["reused", "reused", "failed"]

    alone = Plumbline(server, plumbline.workspace.with_name("alone"))
    swept(alone, "--runner", "sequence")
    assert len(weights(alone)) == 2
    assert weights(alone) == weights(plumbline)


def check_the_tables(plumbline: Plumbline, said: str) -> None:
    table = trials(plumbline)
    assert list(table["state"]) == ["ran", "ran", "failed"]
    assert "learning_rate=900, seed=0 failed: DivergedError: training diverged" in said
    (chosen,) = table[table["chosen"]].to_dict("records")
    best = table[table["val_accuracy"] == table["val_accuracy"].max()]
    assert chosen["training"] == best.sort_values("val_loss")["training"].iloc[0]

    (run,) = plumbline.runs().to_dict("records")  # one model met the test images
    assert run["training"] == chosen["training"]
    assert run["sweep"] == chosen["run_id"] == run["run_id"]
    assert json.loads(run["parameters"])["learning_rate"] == json.loads(chosen["parameters"])["learning_rate"]
    epochs = pd.read_parquet(plumbline.workspace / "metrics" / "epochs")
    assert set(epochs[epochs["sweep"].notna()]["training"]) == set(table["training"].dropna())
    (page,) = plumbline.workspace.glob("reports/*/sweep.html")
    assert "DivergedError: training diverged" in page.read_text()


def trials(plumbline: Plumbline) -> pd.DataFrame:
    table = pd.read_parquet(plumbline.workspace / "metrics" / "trials")
    return table.sort_values(["run_id", "trial"], ignore_index=True)
