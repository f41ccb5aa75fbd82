"""The one table of the stages: what each is called, where its outputs lie, what decides their bytes.

To add a stage, add a row here, its work in `tasks.core`, its task in `tasks/`, and its call in
`flows/pipeline.py` (docs/how-to/stage.md). `stage_lookup` finds a row.
"""

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tasks.core.stage.evaluation_set import EvaluationSet
from tasks.core.stage.handles import (
    Audit,
    CrossValidation,
    Decision,
    Evaluation,
    Exports,
    FeatureAudit,
    Features,
    FinalModel,
    Handle,
    LabelIssues,
    Predictions,
    Profile,
    RawDataset,
    Report,
    Selection,
    SweepReport,
    TensorCache,
    TrainedModel,
)
from tasks.core.stage.saliency import Saliency
from tasks.core.stage.stage import Stage

CHECKPOINTS = ".checkpoints"  # of the folder of a training that has not ended, after its digest
KERAS = ("tensorflow", "keras", "numpy")

DOWNLOAD = Stage("download", RawDataset, "raw", role="raw")
NORMALIZE = Stage(
    "normalize",
    TensorCache,
    "tensors",
    inputs=("download",),
    role="tensors",
    modules=("tasks.core.data.tensors.normalize",),
    libraries=("numpy", "pillow"),
)
AUDIT = Stage(
    "audit",
    Audit,
    "audits",
    inputs=("normalize",),
    role="audit",
    modules=("tasks.core.data.audit.audit",),
    libraries=("numpy", "scipy", "simplejpeg", "pyarrow"),
)
EMBED = Stage(
    "embed",
    Features,
    "embeddings",
    inputs=("download", "normalize"),
    role="features",
    modules=("tasks.core.model.features.embed", "tasks.core.model.features.extractor"),
    libraries=KERAS,
    option="--recipe probe",
)
FEATURE_AUDIT = Stage(
    "feature_audit",
    FeatureAudit,
    "feature_audits",
    inputs=("normalize", "audit", "embed"),
    role="feature_audit",
    modules=("tasks.core.model.features.feature_audit",),
    libraries=("numpy", "pyarrow"),
    option="--recipe probe",
)
SELECT = Stage(
    "select",
    Selection,
    "selections",
    inputs=("normalize", "feature_audit", "embed"),
    role="selection",
    modules=("tasks.core.model.selection.select",),
    libraries=("numpy", "scikit-learn", "scipy"),
    option="--recipe auto",
)
TRAIN = Stage(
    "train",
    TrainedModel,
    "training",
    inputs=("normalize", "audit", "embed", "feature_audit"),
    role="model",
    modules=("tasks.core.model.training.loop",),
    libraries=KERAS,
)
EVALUATE = Stage(
    "evaluate",
    Evaluation,
    "evaluations",
    inputs=("normalize", "train"),
    role="evaluation",
    modules=("tasks.core.evaluation.evaluate",),
    libraries=("numpy", "scikit-learn", "scipy", "pandas", "pyarrow"),
)
CROSS_PREDICT = Stage(
    "cross_predict",
    Predictions,
    "predictions",
    inputs=("normalize",),
    role="cross_predictions",
    modules=("tasks.core.model.training.cross_predict", *TRAIN.modules),
    libraries=KERAS,
    option="--folds",
)
CROSS_VALIDATE = Stage(
    "cross_validate",
    CrossValidation,
    "cross_validations",
    inputs=("normalize", "audit", "embed", "feature_audit"),
    role="cross_validation",
    modules=("tasks.core.model.selection.cross_validate",),
    libraries=("numpy", "scikit-learn", "scipy", "pandas", "pyarrow"),
    option="--cross-validate",
)
TRAIN_ON_ALL = Stage(
    "train_on_all",
    FinalModel,
    "final_models",
    inputs=("normalize", "audit", "embed", "feature_audit"),
    role="final_model",
    modules=("tasks.core.model.selection.final_model", *TRAIN.modules),
    libraries=KERAS,
    option="--cross-validate",
)
LABEL_ISSUES = Stage(
    "label_issues",
    LabelIssues,
    "label_issues",
    inputs=("normalize", "evaluate", "cross_predict"),
    role="label_issues",
    modules=("tasks.core.evaluation.label_issues",),
    libraries=("numpy", "pandas", "pyarrow"),
)
PROFILE = Stage(
    "profile",
    Profile,
    "profiles",
    inputs=("normalize", "train"),
    role="profile",
    modules=("tasks.core.model.inference.profile",),
    libraries=(*KERAS, "pyarrow"),
)
SALIENCY = Stage(
    "saliency",
    Saliency,
    "saliency",
    inputs=("normalize", "train", "evaluate"),
    role="saliency",
    modules=("tasks.core.model.saliency.saliency", "tasks.core.model.saliency.network"),
    libraries=(*KERAS, "pillow", "pyarrow"),
)
EXPORT = Stage(
    "export",
    Exports,
    "exports",
    inputs=("download", "normalize", "train"),
    role="exports",
    modules=("tasks.core.model.export.export", "tasks.core.model.export.certify"),
    libraries=KERAS,
    option="--exports",
)
PROMOTE = Stage(
    "promote",
    Decision,
    inputs=("train", "evaluate", "profile", "export", "train_on_all"),
    refreshable=False,
)  # never reused: the answer depends on who is champion now
REPORT = Stage(
    "report",
    Report,
    "reports",
    inputs=(
        *("download", "normalize", "audit", "feature_audit", "train", "evaluate"),
        *("cross_validate", "train_on_all", "label_issues", "saliency", "export", "promote"),
    ),
    role="report",
    modules=("tasks.core.reports.report",),
    libraries=("matplotlib", "jinja2", "numpy", "pandas", "pillow"),
)

# The stages of a training run, in their order.
STAGES: tuple[Stage[Any], ...] = (
    *(DOWNLOAD, NORMALIZE, AUDIT, EMBED, FEATURE_AUDIT, SELECT, TRAIN, EVALUATE, CROSS_PREDICT),
    *(CROSS_VALIDATE, TRAIN_ON_ALL, LABEL_ISSUES, PROFILE, SALIENCY, EXPORT, PROMOTE, REPORT),
)

# Parts of other stages, the report of a sweep, and the stages of `plumbline evaluate`: published in the same
# way, and no steps of a training run.
FOLD = Stage(
    "fold",
    TensorCache,
    "tensors",
    ("normalize",),
    modules=("tasks.core.data.tensors.folds",),
    libraries=("numpy",),
)
RESPLIT = Stage(
    "resplit",
    TensorCache,
    "tensors",
    ("normalize",),
    modules=("tasks.core.data.cross_validation.resplit",),
    libraries=("numpy", "pyarrow"),
)
PREDICT = Stage(
    "predict",
    Predictions,
    "predictions",
    inputs=("normalize", "train"),
    role="predictions",
    modules=("tasks.core.model.inference.predict_splits",),
    libraries=KERAS,
)
SWEEP = Stage(
    "sweep",
    SweepReport,
    "reports",
    inputs=("normalize", "train"),
    modules=("tasks.core.sweep.report",),
    libraries=("matplotlib", "jinja2", "numpy", "pandas", "pyarrow"),
)
EVALUATION_SET = Stage(
    "evaluation_set",
    EvaluationSet,
    "tensors",
    inputs=("download", "normalize"),
    modules=("tasks.core.data.evaluation_set.labelled",),
    libraries=("numpy", "pillow"),
)
PREDICT_SET = Stage(
    "predict_set",
    Predictions,
    "predictions",
    inputs=("evaluation_set",),
    modules=("tasks.core.model.inference.predict_set",),
    libraries=KERAS,
)
SCORE_VERSION = Stage(
    "score_version",
    Evaluation,
    "evaluations",
    inputs=("evaluation_set", "predict_set"),
    modules=("tasks.core.evaluation.published.score",),
    libraries=("numpy", "scikit-learn", "scipy", "pandas", "pyarrow"),
)
EVALUATION_REPORT = Stage(
    "evaluation_report",
    Report,
    "reports",
    inputs=("evaluation_set", "score_version"),
    modules=("tasks.core.reports.evaluation_report",),
    libraries=("matplotlib", "jinja2", "numpy", "pandas", "pillow"),
)
PARTS: tuple[Stage[Any], ...] = (
    *(FOLD, RESPLIT, PREDICT, SWEEP),
    *(EVALUATION_SET, PREDICT_SET, SCORE_VERSION, EVALUATION_REPORT),
)

# The classes of what stages return, by the name that Prefect stores with them.
HANDLES: dict[str, type[Handle]] = {
    f"{stage.handle.__module__}.{stage.handle.__qualname__}": stage.handle
    for stage in (*STAGES, *PARTS)
    if issubclass(stage.handle, Handle)
}

if TYPE_CHECKING:

    class RefreshName(StrEnum):
        """Stages that can be asked to run again although nothing changed; `all` means each of them."""

        all = "all"

else:
    RefreshName = StrEnum(
        "RefreshName",
        {"all": "all"} | {stage.name: stage.name for stage in STAGES if stage.refreshable},
        module=__name__,
    )
