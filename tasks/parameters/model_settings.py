"""The parameters of the flows that use a published model: predict and evaluate."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tasks.core.checked_settings import Checked, limited
from tasks.core.config import Precision
from tasks.parameters.flow_parameters import FlowSettings


@dataclass(frozen=True)
class VersionSettings(Checked):
    """Which model is used.

    Args:
        dataset: The dataset of the model; for a folder of photos, the folder's name. Default: the only one
            with a model, else the one whose model was published last.
        model: A version (v0003) or an alias (champion, previous).
        workspace: The workspace with the models: a folder, or an address such as s3://bucket/prefix.
            Default: PLUMBLINE_WORKSPACE, else ./workspace.
    """

    GROUP: ClassVar[str] = "Model"

    dataset: str | None = None
    model: str = "champion"
    workspace: Path | None = None


@dataclass(frozen=True)
class InputSettings(Checked):
    """What is predicted, and where the rows go.

    Args:
        images: Image files, parquet files of images, folders of either, globs, or addresses (s3://,
            https://).
        out: The folder of parquet files, new or with earlier predictions. Each batch is a folder in it.
        label_next: How many images to name that are worth a label next: the model is unsure about them,
            and they are unlike each other. They get a table and a contact sheet in the batch. At most 1,000.
        embeddings: Write the embedding of each image that is predicted now to this folder of parquet files,
            too (path, row, embedding, model).
    """

    GROUP: ClassVar[str] = "Rows"

    images: tuple[str, ...]
    out: Path = Path("predictions")
    label_next: int = limited(0, 0, 1000)
    embeddings: Path | None = None


@dataclass(frozen=True)
class AnswerSettings(Checked):
    """When the model answers, and how.

    Args:
        abstain: Give no answer to images of low confidence, so that the error rate of the answers stays
            below this rate: 0.01, 0.02, 0.05 or 0.1. The validation images must support a threshold for it.
        threshold: Instead of --abstain, the confidence, 0 to 1, below which no answer is given.
        no_operating_point: Predict the most probable class, although the model has an operating point
            (--least-recall, --least-precision or --cost of its training).
        all_images: Use the version's model of all images, which --cross-validate of its training made. It has
            seen the test images, so that no test score is true of it, and it has no threshold for --abstain
            and no operating point.
        precision: What the model calculates in. auto: bfloat16, where the processor multiplies in it and the
            model has proven on its validation images that it predicts as in float32; float32 elsewhere, and
            with a threshold or an operating point.
    """

    GROUP: ClassVar[str] = "Answers"

    abstain: float | None = None
    threshold: float | None = None
    no_operating_point: bool = False
    all_images: bool = False
    precision: Precision = Precision.auto


@dataclass(frozen=True)
class PredictSettings(FlowSettings):
    """The parameters of the prediction flow."""

    inputs: InputSettings
    version: VersionSettings = field(default_factory=VersionSettings)
    answers: AnswerSettings = field(default_factory=AnswerSettings)


@dataclass(frozen=True)
class EvaluationDataSettings(Checked):
    """Which labelled images are scored.

    Args:
        data: Labelled images, as for --dataset of train: a folder (<class>/*, {train,val,test}/<class>/*), a
            zip or tar of one, a CSV of path,label, parquet files, an address, or a known dataset.
        split: Only the images of this split of DATA: train, val or test. Default: all.
        group_by: What belongs together: folder (below the class folder), time-gap=SECONDS (by EXIF), or a
            regular expression for the path such as '(p[0-9]+)_'. Intervals then count groups. Default: the
            column group of a CSV or parquet, if any.
        corrections: A CSV of path (or image_id) and class_name: classes to use instead of those of DATA.
        max_quarantine: Share of images that cannot be used above which the evaluation fails, 0 to 1.
    """

    GROUP: ClassVar[str] = "Images"

    data: str
    split: str | None = None
    group_by: str | None = None
    corrections: Path | None = None
    max_quarantine: float = limited(0.01, 0, 1)


@dataclass(frozen=True)
class QuestionSettings(Checked):
    """What is asked of the model.

    Args:
        positive: The class that the curves are about. Default: that of the training.
        prevalence: Share of the positive class where the model is used, above 0 and at most 1, for the
            predictive values. Default: that of the training.
        no_operating_point: Score the most probable class, although the model has an operating point.
    """

    GROUP: ClassVar[str] = "Decision"

    positive: str | None = None
    prevalence: float | None = limited(None, above=0, high=1)
    no_operating_point: bool = False


@dataclass(frozen=True)
class EvaluateSettings(FlowSettings):
    """The parameters of the evaluation flow."""

    images: EvaluationDataSettings
    version: VersionSettings = field(default_factory=VersionSettings)
    question: QuestionSettings = field(default_factory=QuestionSettings)
