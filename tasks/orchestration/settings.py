"""The parameters of the training and sweep flows: groups of `tasks.core.config`, taken together.

`tasks.parameters.flow_parameters` makes a flow's flat signature from them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from tasks.core import recipes
from tasks.core.addresses import concealed
from tasks.core.checked_settings import Checked, limited
from tasks.core.config import (
    EmbedSettings,
    IfRunning,
    NormalizeSettings,
    PromotePolicy,
    PublishSettings,
    RecipeName,
    SourceSettings,
    TrainSettings,
)
from tasks.core.decision_settings import DecisionSettings
from tasks.core.errors import UsageError
from tasks.core.stage.stages import RefreshName
from tasks.parameters.flow_parameters import FlowSettings
from tasks.parameters.runner_settings import RunnerName, RunnerSettings

THUMBNAIL = 96  # pixels; the largest tensors of runs in which a backbone sees the images themselves


@dataclass(frozen=True)
class RunControl(Checked):
    """How this run goes; none of it changes what comes out.

    Args:
        refresh: Stages to run again although nothing changed; all for every stage. May be repeated.
        if_running: Whether to wait for another run of this dataset in this workspace, or to be dropped.
        dry_run: Only show what would run, and why.
        workspace: Where everything is kept: a folder, or an address such as s3://bucket/prefix. Default:
            PLUMBLINE_WORKSPACE, else ./workspace.
    """

    GROUP: ClassVar[str] = "This run"

    refresh: tuple[RefreshName, ...] = ()
    if_running: IfRunning = IfRunning.wait
    dry_run: bool = False
    workspace: Path | None = None


@dataclass(frozen=True)
class TrainControl(RunControl):
    """How a training run goes.

    Args:
        time_limit: Minutes after which the training stops and keeps its checkpoint; the next run
            resumes there. Default: none.
        overfit_batch: Only check that the recipe, one from scratch, overfits one batch of at most 64 training
            images; takes seconds, publishes nothing, and ends with pass (exit code 0) or fail (1).
        mlflow: Also log the run to this MLflow server, such as http://127.0.0.1:5000: parameters, metrics,
            model and report. A problem there is a warning. Default: none.
    """

    time_limit: float | None = limited(None, above=0, high=1e6)
    overfit_batch: bool = False
    mlflow: str = ""

    def __post_init__(self) -> None:
        """Refuse two checks at once, and what is no address of a server."""
        super().__post_init__()
        if self.mlflow:
            from tasks.core.runs import mlflow_sink  # with urllib, which few runs need

            mlflow_sink.check_address(self.mlflow)
            object.__setattr__(self, "mlflow", concealed(self.mlflow))
        if self.dry_run and self.overfit_batch:
            raise UsageError("--dry-run and --overfit-batch exclude each other", todo="leave out one of them")


@dataclass(frozen=True)
class TrainPublishSettings(PublishSettings):
    """What becomes of the model of a training run.

    Args:
        folds: Look for label issues among the training images, too: train this many models, 2 to 20,
            each of which predicts the images that it has not seen.
        cross_validate: Score the recipe over all images, test images too, by this many models, 2 to 20,
            each of which predicts the images that it has not seen; then train one more model on all
            images. With auto, each compared recipe is scored. 0: never. Default: 5 for the recipe probe
            where test has fewer than 200 images.
    """

    folds: int | None = None
    cross_validate: int | None = limited(None, 0, 20)

    def __post_init__(self) -> None:
        """Refuse one fold."""
        super().__post_init__()
        if self.cross_validate == 1:
            raise UsageError(
                "one fold leaves no images to train on",
                expected="--cross-validate 2..20, or 0 for none",
                found="1",
            )


@dataclass(frozen=True)
class SearchSettings(Checked):
    """Which trials a sweep has.

    Args:
        vary: A parameter and its values, such as learning_rate=0.1,0.2,0.4; with --random also a range,
            learning_rate=0.05..0.8. May be repeated: every combination is tried. One of recipe, epochs,
            batch_size, learning_rate, augment, patience, drop_leaks.
        random: Random search: try only this many combinations, drawn by --seed.
        seeds: Trainings per combination, with the seeds that follow --seed: gives mean and deviation.
    """

    GROUP: ClassVar[str] = "Search"

    vary: tuple[str, ...] = ()
    random: int | None = None
    seeds: int = 1


@dataclass(frozen=True)
class SweepRunnerSettings(RunnerSettings):
    """Where a sweep's trials run."""

    runner: RunnerName = RunnerName.processes


@dataclass(frozen=True)
class RunSettings(FlowSettings):
    """What the training and sweep flows have in common.

    Args:
        source, normalize, train, decision, publish, runner, control: Groups of parameters.
    """

    source: SourceSettings = field(default_factory=SourceSettings)
    normalize: NormalizeSettings = field(default_factory=NormalizeSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    decision: DecisionSettings = field(default_factory=DecisionSettings)
    publish: PublishSettings = field(default_factory=PublishSettings)
    runner: RunnerSettings = field(default_factory=RunnerSettings)
    control: RunControl = field(default_factory=RunControl)

    @property
    def tensors(self) -> NormalizeSettings:
        """How the tensors are made. Where a backbone sees the images themselves, they are thumbnails."""
        size = self.normalize.image_size
        is_backbone_size = size is not None and size > THUMBNAIL
        if recipes.may_be_pretrained(self.train.recipe) and is_backbone_size:
            return replace(self.normalize, image_size=None)
        return self.normalize

    @property
    def embed(self) -> EmbedSettings:
        """What features are, for recipes that start from a backbone."""
        size = self.normalize.image_size
        own = self.train.recipe is RecipeName.auto and size is not None and size <= THUMBNAIL
        return EmbedSettings(self.train.backbone, None if own else size, self.train.precision)

    def with_train(self, train: TrainSettings) -> Self:
        """The same settings with another way to train."""
        return replace(self, train=train)

    @property
    def folds(self) -> int | None:
        """Number of folds for cross-prediction; None for none."""
        return self.publish.folds if isinstance(self.publish, TrainPublishSettings) else None

    @property
    def cross_validate(self) -> int | None:
        """Number of folds for a score over all images; 0 for none, None for the recipe's default."""
        return self.publish.cross_validate if isinstance(self.publish, TrainPublishSettings) else 0


@dataclass(frozen=True)
class TrainRunSettings(RunSettings):
    """The parameters of the training flow."""

    publish: TrainPublishSettings = field(default_factory=TrainPublishSettings)
    control: TrainControl = field(default_factory=TrainControl)


@dataclass(frozen=True)
class SweepSettings(RunSettings):
    """The parameters of the sweep flow."""

    runner: SweepRunnerSettings = field(default_factory=SweepRunnerSettings)
    search: SearchSettings = field(default_factory=SearchSettings)


def unused_options(train: TrainSettings) -> list[str]:
    """The options that were given although the recipe makes no use of them.

    >>> unused_options(TrainSettings(RecipeName.probe, epochs=3, budget=1)), unused_options(TrainSettings())
    (['--budget', '--epochs'], [])
    """
    unused = set() if train.recipe is RecipeName.auto else {"budget"}
    if train.recipe is RecipeName.probe:  # a linear classifier, which is fitted without steps
        unused |= {"epochs", "batch_size", "learning_rate", "augment", "patience"}
    if not recipes.may_be_pretrained(train.recipe):
        unused |= {"backbone", "weights"}
    given = (each.name for each in fields(train) if getattr(train, each.name) != each.default)
    return [f"--{name.replace('_', '-')}" for name in given if name in unused]


def unheeded_proofs(publish: PublishSettings) -> str:
    """What to say of proofs that were asked for although --promote decides without them; else empty.

    >>> unheeded_proofs(PublishSettings(PromotePolicy.always, no_loss_of=("cat",)))
    '--promote always decides without the proof of --no-loss-of; the report has it'
    >>> unheeded_proofs(PublishSettings(no_loss_of=("cat",)))
    ''
    """
    names = ("no_loss_of", "prove_no_loss", "no_worse_in")
    asked = [f"--{name.replace('_', '-')}" for name in names if getattr(publish, name)]
    if not asked or publish.promote not in (PromotePolicy.always, PromotePolicy.never):
        return ""
    return f"--promote {publish.promote} decides without the proof of {', '.join(asked)}; the report has it"


def shown_name(parameters: Mapping[str, Any]) -> str:
    """The dataset's name in the name of a flow run; nothing is looked up on disk."""
    from tasks.core.data.sources.resolve import name_of  # it brings pyarrow, which --help needs not

    return str(parameters.get("name") or name_of(str(parameters.get("dataset", ""))))
