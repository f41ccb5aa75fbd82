"""Sweeps as a user runs them: in processes and in sequence, with a trial that fails."""

import hashlib
import json

import pandas as pd
import pytest

from tests.support.run_cli import Plumbline

pytestmark = pytest.mark.slow
# Training diverges at a learning rate of 900.
SWEEP = ("--recipe", "flash", "--epochs", "1", "--vary", "learning_rate=0.1,0.2,900")


@pytest.fixture
def plumbline(warm_plumbline: Plumbline) -> Plumbline:
    """Its commands run in forks."""
    return warm_plumbline


def run_sweep(plumbline: Plumbline, *arguments: object) -> str:
    """Run the sweep, which must succeed. Returns what it printed."""
    return run_sweep_of(plumbline, *SWEEP, *arguments)


def run_sweep_of(plumbline: Plumbline, *arguments: object) -> str:
    """Run a sweep, which must succeed. Returns what it printed."""
    done = plumbline.run("flows/sweep_flow.py", *arguments, "--workspace", plumbline.workspace)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def weights(plumbline: Plumbline) -> dict[str, str]:
    """Returns the SHA-256 of each training's weights."""
    return {
        path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in plumbline.workspace.glob("training/*/weights.npz")
    }


def test_sweep_in_processes_names_what_failed_and_trains_nothing_twice(plumbline: Plumbline) -> None:
    """The second sweep, in sequence, reuses what the processes have trained."""
    output = run_sweep(plumbline, "--runner", "processes", "--workers", "2")
    check_tables(plumbline, output)
    again = run_sweep(plumbline, "--runner", "sequence")
    assert "3 trials, 2 of them trained already" in again
    assert list(trials(plumbline)["state"])[3:] == ["reused", "reused", "failed"]


@pytest.mark.stress
def test_sweep_in_processes_gives_the_weights_of_a_sweep_in_sequence(
    plumbline: Plumbline, server: dict[str, str]
) -> None:
    run_sweep(plumbline, "--runner", "processes", "--workers", "2")
    sequential = Plumbline(server, plumbline.workspace.with_name("sequential"))
    run_sweep(sequential, "--runner", "sequence")
    assert len(weights(sequential)) == 2
    assert weights(sequential) == weights(plumbline)


def check_tables(plumbline: Plumbline, output: str) -> None:
    """Check the metrics tables, the chosen trial and the report of the first sweep."""
    table = trials(plumbline)
    assert list(table["state"]) == ["ran", "ran", "failed"]
    assert "learning_rate=900, seed=0 failed: DivergedError: training diverged" in output
    (chosen,) = table[table["chosen"]].to_dict("records")
    best = table[table["val_accuracy"] == table["val_accuracy"].max()]
    assert chosen["training"] == best.sort_values("val_loss")["training"].iloc[0]

    (run,) = plumbline.runs().to_dict("records")  # only one model was evaluated on the test images
    assert run["training"] == chosen["training"]
    assert run["sweep"] == chosen["run_id"] == run["run_id"]
    assert json.loads(run["parameters"])["learning_rate"] == json.loads(chosen["parameters"])["learning_rate"]
    epochs = pd.read_parquet(plumbline.workspace / "metrics" / "epochs")
    assert set(epochs[epochs["sweep"].notna()]["training"]) == set(table["training"].dropna())
    (page,) = plumbline.workspace.glob("reports/*/sweep.html")
    assert "DivergedError: training diverged" in page.read_text()


def trials(plumbline: Plumbline) -> pd.DataFrame:
    """Returns the table of trials, one row per trial."""
    table = pd.read_parquet(plumbline.workspace / "metrics" / "trials")
    return table.sort_values(["run_id", "trial"], ignore_index=True)


def test_random_search_says_that_it_has_fewer_combinations_than_were_asked_for(plumbline: Plumbline) -> None:
    varied = ("--vary", "augment=true,false", "--dry-run", "--random")
    assert "--random 5: only 2 combinations exist, and each is tried" in run_sweep_of(plumbline, *varied, "5")
    assert "exist" not in run_sweep_of(plumbline, *varied, "1")


def test_sweep_says_which_options_have_no_effect(plumbline: Plumbline) -> None:
    varied = ("--recipe", "probe", "--vary", "epochs=1,2", "--dry-run")
    output = run_sweep_of(plumbline, *varied, "--epochs", "3", "--budget", "2")
    assert "--vary replaces --epochs 3" in output
    assert "no trial makes use of --budget, --epochs" in output
    assert "--vary replaces" not in run_sweep_of(plumbline, *varied)
