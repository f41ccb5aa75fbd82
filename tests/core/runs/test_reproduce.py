import json

import numpy as np
import pandas as pd
import pytest

from tasks.core.errors import FormatError, UsageError
from tasks.core.runs import record, reproduce, tables
from tasks.core.runs.reproduce import Reproducibility
from tasks.core.workspace import Workspace
from tests.support.fake_outputs import FakeOutputs


def append_run(fake: FakeOutputs, run: str, name: str, skill: float, seed: int = 0) -> dict[str, object]:
    """Record a run whose model has this skill; returns its row of `runs`."""
    Workspace.open(fake.workspace.root)
    evaluation = fake.evaluation(name, skill, seed)
    stages = {"promote": {"digest": "", "state": "ran"}}
    row = {"run_id": run, "recipe": "fast", "version": "v0001", "stages": stages, "parameters": {"seed": 1}}
    record.append_run(row, fake.tensors(), fake.trained(name), evaluation, fake.workspace)
    return tables.read("runs", fake.workspace).iloc[-1].to_dict()


@pytest.mark.parametrize(
    ("skill", "seed", "outcome", "reason"),
    [
        (2.0, 0, Reproducibility.identical, "400 images have the same probabilities"),
        (2.0, 1, Reproducibility.undecided, "with 400 images the difference may be as large as "),
        (0.5, 0, Reproducibility.not_reproduced, "now -"),
        (6.0, 0, Reproducibility.not_reproduced, "now +"),
    ],
)
def test_judge_gives_the_outcome(
    fake: FakeOutputs, tmp_path, skill: float, seed: int, outcome: Reproducibility, reason: str
) -> None:
    past_run = append_run(fake, "r1", "one", 2.0)
    scratch = fake.with_fields(workspace=Workspace(tmp_path / "scratch"))
    append_run(scratch, "r2", "again", skill, seed)
    result = reproduce.judge(past_run, fake.workspace, scratch.workspace)
    assert result.outcome is outcome
    assert reason in result.reason


def test_judge_within_a_wide_margin_is_noise(fake: FakeOutputs, tmp_path) -> None:
    past_run = append_run(fake, "r1", "one", 2.0)
    scratch = fake.with_fields(workspace=Workspace(tmp_path / "scratch"))
    append_run(scratch, "r2", "again", 2.0, 1)
    result = reproduce.judge(past_run, fake.workspace, scratch.workspace, 0.2)
    assert result.outcome is Reproducibility.within_noise
    assert result.reason.endswith("on the same 400 images; margin 20")


def test_exit_codes() -> None:
    codes = {str(outcome): outcome.exit_code for outcome in Reproducibility}
    assert codes == {"identical": 0, "within noise": 0, "not reproduced": 3, "cannot be told": 4}


def test_machine_differences_names_what_both_rows_have() -> None:
    """Numbers are floats in a column that older rows lack."""
    then = {"precision": "mixed_bfloat16", "threads": 2.0, "processor": None, "python": "3.11.4"}
    now = {"precision": "float32", "threads": 16, "processor": "x86_64 avx2", "python": "3.11.4"}
    found = reproduce.machine_differences(then, now)
    assert found == ["precision mixed_bfloat16 -> float32", "threads 2 -> 16"]


def test_recorded_environment_of_new_and_older_rows() -> None:
    older = {"packages": '{"numpy": "2.0"}', "distributions": None}
    newer = older | {"distributions": '{"numpy": "2.0", "rich": "13"}', "python": "3.11.4"}
    assert not reproduce.recorded_environment(older).complete
    assert reproduce.recorded_environment(older).versions == {"numpy": "2.0"}
    recorded = reproduce.recorded_environment(newer)
    assert (recorded.complete, recorded.python) == (True, "3.11.4")
    assert recorded.versions == {"numpy": "2.0", "rich": "13"}


def test_judge_other_images_are_not_reproduced(fake: FakeOutputs, tmp_path) -> None:
    past_run = append_run(fake, "r1", "one", 2.0)
    scratch = fake.with_fields(workspace=Workspace(tmp_path / "scratch"), images=300)
    append_run(scratch, "r2", "one", 2.0)
    result = reproduce.judge(past_run, fake.workspace, scratch.workspace)
    assert result.outcome is Reproducibility.not_reproduced
    assert result.reason == "the images differ: 400 then, 300 now"


def test_judge_without_predictions_raises(fake: FakeOutputs) -> None:
    past = append_run(fake, "r1", "one", 2.0) | {"evaluation": "gone"}
    with pytest.raises(FormatError, match="predictions of run r1 do not exist any more"):
        reproduce.judge(past, fake.workspace, fake.workspace)


def test_parameters_leaves_out_paths_and_run_control() -> None:
    recorded = {"dataset": "digits", "epochs": 2, "workspace": "there", "refresh": ["all"]}
    assert reproduce.parameters({"parameters": json.dumps(recorded)}) == {"dataset": "digits", "epochs": 2}


def test_same_probabilities_compares_to_the_last_bit() -> None:
    values = np.float32([0.25, 0.75])
    first = pd.DataFrame({"probabilities": [values]})
    second = pd.DataFrame({"probabilities": [np.nextafter(values, np.float32(1))]})
    assert reproduce._same_probabilities(first, first.copy())
    assert not reproduce._same_probabilities(first, second)


def test_a_run_without_a_folder_is_to_be_repeated_where_it_was_called(tmp_path) -> None:
    """Rows of older runs have no folder: NaN if any row of the table has one."""
    run = {"run_id": "r1", "parameters": '{"dataset": "photos"}', "folder": float("nan")}
    with pytest.raises(UsageError, match="call it in the folder in which the run was called"):
        reproduce.check_images(run, tmp_path)
    (tmp_path / "photos").mkdir()
    reproduce.check_images(run, tmp_path)
