from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from tasks.core.reports.sections.learning import learning
from tasks.core.stage.handles import TrainedModel

STEP = "Validation takes one of them before the last epoch"


@pytest.mark.parametrize(
    ("channels", "recipe", "step"),
    [
        (3, {"tta_views": 6}, True),
        (3, {"tta_views": 2, "patience": 0}, True),
        (3, {"tta_views": 2, "patience": 5}, False),  # each epoch takes all views
        (3, {"tta_views": 1}, False),
        (1, {"tta_views": 2}, False),  # grey images are never mirrored
        (3, {}, False),
    ],
)
def test_step_of_the_last_validation_is_explained(
    tmp_path: Path, channels: int, recipe: dict[str, int], step: bool
) -> None:
    rows = [{"epoch": epoch, "train_loss": 1.0, "val_loss": 1.0} for epoch in (1, 2)]
    pd.DataFrame(rows).to_parquet(tmp_path / TrainedModel.HISTORY)
    manifest = {"ingredients": {"parameters": recipe}, "facts": {"shape": [32, 32, channels]}}
    trained = SimpleNamespace(directory=tmp_path, manifest=manifest)
    assert (STEP in learning(SimpleNamespace(trained=trained))["losses"]) == step
