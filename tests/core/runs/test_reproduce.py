import json

import numpy as np
import pandas as pd
import pytest

from tasks.core.errors import FormatError
from tasks.core.runs import record, reproduce, tables
from tasks.core.runs.reproduce import Reproducibility
from tasks.core.workspace import Workspace
from tests.support.fake_outputs import FakeOutputs


def ran(fake: FakeOutputs, run: str, name: str, skill: float, seed: int = 0) -> dict[str, object]:
    """A run whose model has this skill, recorded in the fake's workspace; gives its row of `runs`."""
    Workspace.open(fake.workspace.root)
    evaluation = fake.evaluation(name, skill, seed)
    stages = {"promote": {"digest": "", "state": "ran"}}
    row = {"run_id": run, "recipe": "fast", "version": "v0001", "stages": stages, "parameters": {"seed": 1}}
    record.append_run(row, fake.tensors(), fake.trained(name), evaluation, fake.workspace)
    return tables.read("runs", fake.workspace).iloc[-1].to_dict()


@pytest.mark.parametrize(
    ("skill", "seed", "outcome", "words"),
    [
        (2.0, 0, Reproducibility.identical, "400 images have the same probabilities"),
        (2.0, 1, Reproducibility.within_noise, "on the same 400 images"),
        (0.5, 0, Reproducibility.not_reproduced, "now -"),
        (6.0, 0, Reproducibility.not_reproduced, "now +"),
    ],
)
def test_outcomes(
    fake: FakeOutputs, tmp_path, skill: float, seed: int, outcome: Reproducibility, words: str
) -> None:
    past = ran(fake, "r1", "one", 2.0)
    scratch = fake.made(workspace=Workspace(tmp_path / "scratch"))
    ran(scratch, "r2", "again", skill, seed)
    judgement = reproduce.judge(past, fake.workspace, scratch.workspace)
    assert judgement.outcome is outcome
    assert words in judgement.words


def test_other_images_cannot_be_a_reproduction(fake: FakeOutputs, tmp_path) -> None:
    past = ran(fake, "r1", "one", 2.0)
    scratch = fake.made(workspace=Workspace(tmp_path / "scratch"), images=300)
    ran(scratch, "r2", "one", 2.0)
    judgement = reproduce.judge(past, fake.workspace, scratch.workspace)
    assert judgement.outcome is Reproducibility.not_reproduced
    assert judgement.words == "the images are other ones: 400 then, 300 now"


def test_a_run_without_predictions_cannot_be_judged(fake: FakeOutputs) -> None:
    past = ran(fake, "r1", "one", 2.0) | {"evaluation": "gone"}
    with pytest.raises(FormatError, match="predictions of run r1 are not there any more"):
        reproduce.judge(past, fake.workspace, fake.workspace)


def test_where_and_when_are_no_parameters() -> None:
    given = {"dataset": "digits", "epochs": 2, "workspace": "there", "refresh": ["all"]}
    assert reproduce.parameters({"parameters": json.dumps(given)}) == {"dataset": "digits", "epochs": 2}


def test_probabilities_are_compared_to_the_last_bit() -> None:
    values = np.float32([0.25, 0.75])
    one = pd.DataFrame({"probabilities": [values]})
    other = pd.DataFrame({"probabilities": [np.nextafter(values, np.float32(1))]})
    assert reproduce._same_probabilities(one, one.copy())
    assert not reproduce._same_probabilities(one, other)
