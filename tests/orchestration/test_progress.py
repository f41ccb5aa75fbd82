"""The progress of a stage in the dashboard."""

import pytest
from prefect.artifacts import ProgressArtifact

from tasks.core.stage.stages import STAGES
from tasks.display.progress import artifact_key


@pytest.mark.parametrize("stage", [stage.name for stage in STAGES])
def test_prefect_takes_the_key_of_each_stage(stage: str) -> None:
    assert ProgressArtifact(key=artifact_key(stage), progress=0.0).key == artifact_key(stage)
