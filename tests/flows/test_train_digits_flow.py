"""The digits with default settings, as a user runs them: the first run, and runs after it."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

from tasks.core.stage.stages import STAGES
from tests.docs import first_run
from tests.support.run_cli import ROOT, Plumbline
from tests.support.warm_commands import WarmPlumbline

pytestmark = pytest.mark.slow


@pytest.fixture
def plumbline(warm_plumbline: Plumbline) -> Plumbline:
    """Its commands run in forks."""
    return warm_plumbline


DEFAULT_STAGES = [stage.name for stage in STAGES if not stage.option]  # of a run without options


@pytest.fixture(scope="module")
def first_digits_run(warm_commands: WarmPlumbline, tmp_path_factory: pytest.TempPathFactory) -> Plumbline:
    """A workspace with one finished run of the digits with default settings; tests must not change it."""
    plumbline = warm_commands.at(tmp_path_factory.mktemp("digits") / "workspace")
    (plumbline.workspace.parent / "output.txt").write_text(plumbline.ok())
    return plumbline


@pytest.fixture
def digits(first_digits_run: Plumbline, plumbline: Plumbline) -> Plumbline:
    """A copy of the workspace with one finished run of the digits."""
    shutil.copytree(first_digits_run.workspace, plumbline.workspace)
    return plumbline


def test_train_digits_with_defaults_runs_every_stage_and_publishes_the_champion(
    first_digits_run: Plumbline,
) -> None:
    run = first_digits_run.runs().iloc[-1]
    assert run["test_accuracy"] > 0.9
    assert run["recipe"] == "fast"  # small pictures are trained from scratch
    assert run["version"] == "v0001"
    assert run["champion"] == "v0001"
    output = (first_digits_run.workspace.parent / "output.txt").read_text()
    assert "v0001" in output
    assert "report.html" in output
    assert first_digits_run.stages() == dict.fromkeys(DEFAULT_STAGES, "ran")

    table = pd.read_parquet(first_digits_run.workspace / "metrics" / "predictions")
    test = table[table["split"] == "test"]
    assert accuracy_score(test["label"], test["predicted_label"]) == pytest.approx(run["test_accuracy"])


def test_first_run_prints_and_writes_what_the_pages_show(first_digits_run: Plumbline) -> None:
    first_run.check_what_is_shown((first_digits_run.workspace.parent / "output.txt").read_text())
    first_run.check_that_outputs_are_described(first_digits_run.workspace)


def test_train_with_nothing_changed_is_recorded_without_prefect(digits: Plumbline) -> None:
    """With a server as a flow run with its artifacts and lines, without one in the table of runs."""
    done = digits.train(python=("-X", "importtime"))
    assert "v0001 stays; data, parameters and code unchanged" in done.stdout, done.stderr
    assert re.search(r"^accuracy +[0-9.]+ % .* of 375 test images$", done.stdout, re.MULTILINE)
    assert f"{digits.workspace}/models/digits/v0001/model.keras" in done.stdout
    # A refused import of pandas is listed too, its parts are not.
    assert not {"prefect", "pandas.core", "tensorflow"} & imported(done.stderr)
    assert digits.stages() == dict.fromkeys(DEFAULT_STAGES, "skipped") | {"download": "unchanged"}
    run = digits.runs().iloc[-1]
    told = digits.query_server(f"/flow_runs/{run['flow_run_id']}")
    assert (told["state_type"], told["parameters"]["dataset"]) == ("COMPLETED", "digits")
    only = {"flow_runs": {"id": {"any_": [told["id"]]}}}
    keys = {artifact["key"] for artifact in digits.query_server("/artifacts/filter", only)}
    assert keys == {"summary-digits", "explain-digits", "champions-digits"}
    logs = digits.query_server("/logs/filter", {"logs": {"flow_run_id": {"any_": [told["id"]]}}})
    assert any("v0001 stays" in line["message"] for line in logs)

    gone = digits.environment | {"PREFECT_API_URL": "", "PREFECT_SERVER_API_PORT": "1"}
    output = replace(digits, environment=gone).ok()
    assert "without a Prefect server" in output
    rows = digits.runs()
    assert rows["flow_run_id"].isna().tolist() == [False, False, True]
    assert rows["evaluation"].nunique() == rows["parameters"].nunique() == 1


def test_what_is_not_certainly_unchanged_is_left_to_the_flow(digits: Plumbline) -> None:
    """Eight cases in one process, and last one in which nothing has changed."""
    code = (
        "import fcntl, logging, sys\nfrom pathlib import Path\n"
        "from tasks.orchestration.unchanged_run.start import finish_if_unchanged\n"
        "workspace = Path(sys.argv[1])\nlogging.getLogger('plumbline').setLevel(logging.INFO)\n"
        "def ends(**given): return finish_if_unchanged({'workspace': workspace} | given)\n"
        "answers = [ends(epochs=3), ends(refresh=['report'])]\n"
        "answers += [ends(dry_run=True), ends(recipe='nonsense'), ends(mlflow='http://127.0.0.1:1')]\n"
        "lock = workspace / '.running' / 'digits.lock'\n"
        "with lock.open('r+') as held:\n"
        "    fcntl.flock(held, fcntl.LOCK_EX)\n    answers.append(ends())\n"
        'owner = \'{"flow_run_id": "", "name": "", "host": "", "pid": 1, "since": ""}\'\n'
        "lock.write_text(owner)\nanswers.append(ends())\n"
        "answers.append(lock.read_text() == owner)\nlock.write_text('')\n"
        "(file,) = workspace.glob('models/digits/v0001/model.keras')\n"
        "kept = file.rename(file.with_name('kept'))\nanswers.append(ends())\nkept.rename(file)\n"
        "import pandas, pyarrow\n"
        "answers.append(pyarrow.table({'a': [1]}).to_pandas()['a'].tolist() == [1])\n"
        "print(answers, ends(), flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(digits.workspace)],
        env=digits.environment | {"PREFECT_API_URL": "", "PREFECT_SERVER_API_PORT": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == f"{[False] * 7 + [True, False, True]} True", done.stdout
    assert len(digits.runs()) == 2


def test_train_with_refresh_reuses_what_it_may_and_imports_no_tensorflow(digits: Plumbline) -> None:
    done = digits.train("--refresh", "report", python=("-X", "importtime"))
    assert done.returncode == 0, done.stdout
    assert {"prefect", "pandas"} <= imported(done.stderr)
    assert "tensorflow" not in imported(done.stderr)
    assert digits.stages() == dict.fromkeys(DEFAULT_STAGES, "cached") | {
        "download": "unchanged",
        "promote": "ran",
        "report": "ran",
    }
    assert len(digits.runs()) == 2
    models = digits.workspace / "models" / "digits"
    assert list(models.glob("v*")) == [models / "v0001"]


def imported(lines: str) -> set[str]:
    """The modules that a process imported, from what -X importtime wrote."""
    return {line.rpartition("|")[2].strip() for line in lines.splitlines() if line.startswith("import time")}


def test_dry_run_says_which_stages_would_run_and_writes_nothing(digits: Plumbline) -> None:
    """With nothing changed each stage would be reused; with another learning rate, train would run."""
    before = digits.files()
    unchanged = planned_actions(digits.ok("--dry-run"))
    assert unchanged["normalize"] == unchanged["train"] == unchanged["evaluate"] == "reuse"
    output = digits.ok("--dry-run", "--learning-rate", "0.1")
    assert re.search(r"learning_rate [\d.]+ -> 0.1", output)
    changed = planned_actions(output)
    assert (changed["normalize"], changed["train"], changed["report"]) == ("reuse", "run", "follows")
    assert digits.files() == before


def planned_actions(output: str) -> dict[str, str]:
    """Returns by stage what a run would do, from the printed table of a dry run."""
    return {line.split()[0]: line.split()[1] for line in output.splitlines()[1:]}


def test_published_model_in_plain_keras_gives_the_predictions_table(
    first_digits_run: Plumbline, tmp_path: Path
) -> None:
    """The published model is loaded without any code of this repository."""
    workspace = first_digits_run.workspace
    model = workspace / "models" / "digits" / "v0001" / "model.keras"
    (tensors,) = (workspace / "tensors").glob("[!.]*")
    out = tmp_path / "keras.npy"
    code = (
        "import sys, numpy, keras\n"
        f"images = numpy.load({str(tensors / 'test.images.npy')!r})\n"
        f"model = keras.models.load_model({str(model)!r})\n"
        f"numpy.save({str(out)!r}, model.predict(images, verbose=0))\n"
        "assert not any(name.split('.')[0] in ('tasks', 'flows') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, check=True)
    table = pd.read_parquet(workspace / "metrics" / "predictions")
    test = table[table["split"] == "test"]
    stored = np.stack(test.sort_values("row")["probabilities"].to_list())
    np.testing.assert_allclose(np.load(out), stored, atol=1e-5)


@pytest.mark.stress
def test_refresh_of_all_runs_every_stage_again(digits: Plumbline) -> None:
    digits.ok("--refresh", "all")
    assert set(digits.stages().values()) == {"ran"}
    assert sorted(path.name for path in (digits.workspace / "models" / "digits").glob("v*")) == ["v0001"]
