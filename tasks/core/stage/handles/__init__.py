"""Handles: what stages pass to each other. A handle names a finished directory and has a few facts about it.

Start at `handle.py`, their base, which says what constructing one checks. Modules here may import
`tasks.core.storage`, the leaf modules and `tasks.core.stage.publish`. Import handles from here.
The handles of class activation maps and of evaluation sets are in `stage/saliency.py` and
`stage/evaluation_set.py`.
"""

from tasks.core.stage.handles.choices import CrossValidation, Decision, Selection
from tasks.core.stage.handles.datasets import (
    UNUSED_FILES,
    Audit,
    FeatureAudit,
    Features,
    RawDataset,
    TensorCache,
)
from tasks.core.stage.handles.handle import Handle
from tasks.core.stage.handles.models import AllImagesVersion, FinalModel, Model, ModelVersion, TrainedModel
from tasks.core.stage.handles.results import (
    Evaluation,
    Exports,
    LabelIssues,
    Predictions,
    Profile,
    Report,
    SweepReport,
)

__all__ = [
    "UNUSED_FILES",
    "AllImagesVersion",
    "Audit",
    "CrossValidation",
    "Decision",
    "Evaluation",
    "Exports",
    "FeatureAudit",
    "Features",
    "FinalModel",
    "Handle",
    "LabelIssues",
    "Model",
    "ModelVersion",
    "Predictions",
    "Profile",
    "RawDataset",
    "Report",
    "Selection",
    "SweepReport",
    "TensorCache",
    "TrainedModel",
]

# Prefect writes a handle's module into its stored result, and imports the class by that name.
for _name in __all__:
    if isinstance(_handle := globals()[_name], type):
        _handle.__module__ = __name__
