"""The parameters of the training and sweep flows: groups of `tasks.core.config`, taken together.

A flow is a function of one settings object. `with_parameters` gives it the flat signature that Prefect's
form, deployments' YAML and the command line show.
"""

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

import docstring_parser
import pydantic

from tasks.core import recipes
from tasks.core.addresses import concealed
from tasks.core.config import (
    Checked,
    EmbedSettings,
    IfRunning,
    NormalizeSettings,
    PublishSettings,
    RecipeName,
    RunnerName,
    RunnerSettings,
    SourceSettings,
    TrainSettings,
    limited,
)
from tasks.core.data.sources.resolve import name_of
from tasks.core.decision_settings import DecisionSettings
from tasks.core.errors import UsageError
from tasks.core.stage.stages import RefreshName

THUMBNAIL = 96  # pixels; the largest tensors of runs in which a backbone sees the images themselves
R = TypeVar("R")
S = TypeVar("S", bound="RunSettings")


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
        overfit_batch: Only check that the recipe overfits one batch of at most 64 training images;
            takes seconds, publishes nothing, and ends with pass (exit code 0) or fail (1).
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
class RunSettings:
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

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """Sort flat parameters into their groups; absent or None means the default.

        Raises:
            UsageError: A value is out of its range, two of them exclude each other, or there is no such
                parameter.
        """
        given = {name: value for name, value in parameters.items() if value is not None}
        unknown = sorted(set(given) - {each.name for each in parameters_of(cls)})
        if unknown:
            raise UsageError(f"there is no parameter {', '.join(unknown)}")
        groups: dict[str, Any] = {}
        for name, kind in _groups(cls):
            names = {declared.name for declared in fields(kind)}
            groups[name] = kind(**{key: _value(value) for key, value in given.items() if key in names})
        return cls(**groups)

    def parameters(self) -> dict[str, Any]:
        """The flat parameters that are set or have a default."""
        groups = [getattr(self, declared.name) for declared in fields(self)]
        values = {each.name: getattr(group, each.name) for group in groups for each in fields(group)}
        return {name: value for name, value in values.items() if value not in (None, ())}

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


@dataclass(frozen=True)
class FlowParameter:
    """One parameter of a flow.

    Args:
        name: Its name.
        annotation: Its type, with its limits for Prefect's form.
        default: Its default; None where the recipe or the dataset decides.
        text: What it means.
        group: The heading under which `--help` shows it.
    """

    name: str
    annotation: Any
    default: Any
    text: str
    group: str


def parameters_of(kind: type[RunSettings]) -> list[FlowParameter]:
    """The flat parameters of a flow's settings, group by group."""
    return [parameter for _, group in _groups(kind) for parameter in _parameters(group)]


def groups_of(kind: type[RunSettings]) -> dict[str, str]:
    """By parameter, the heading under which `--help` shows it."""
    return {parameter.name: parameter.group for parameter in parameters_of(kind)}


def with_parameters(kind: type[S]) -> Callable[[Callable[[S], R]], Callable[..., R]]:
    """Decorate a function of one settings object so that it takes each parameter by its name.

    Its signature and the Args of its docstring come from the settings' classes.
    """

    def decorate(function: Callable[[S], R]) -> Callable[..., R]:
        parameters = parameters_of(kind)
        signature = inspect.Signature(
            [
                inspect.Parameter(
                    each.name,
                    inspect.Parameter.POSITIONAL_OR_KEYWORD,
                    default=each.default,
                    annotation=each.annotation,
                )
                for each in parameters
            ],
            return_annotation=inspect.signature(function).return_annotation,
        )

        def flow(*arguments: Any, **keywords: Any) -> R:
            return function(kind.of(signature.bind(*arguments, **keywords).arguments))

        flow.__name__, flow.__qualname__ = function.__name__, function.__qualname__
        flow.__module__ = function.__module__
        flow.__signature__ = signature  # type: ignore[attr-defined]
        flow.__annotations__ = {each.name: each.annotation for each in parameters}
        flow.__doc__ = _documentation(inspect.getdoc(function) or "", parameters)
        return flow

    return decorate


def shown_name(parameters: Mapping[str, Any]) -> str:
    """The dataset's name in the name of a flow run; nothing is looked up on disk."""
    return str(parameters.get("name") or name_of(str(parameters.get("dataset", ""))))


def _groups(kind: type[RunSettings]) -> list[tuple[str, type[Checked]]]:
    hints = typing.get_type_hints(kind)
    return [(declared.name, hints[declared.name]) for declared in fields(kind)]


def _parameters(group: type[Checked]) -> Iterator[FlowParameter]:
    hints, texts = typing.get_type_hints(group), _texts(group)
    for declared in fields(group):
        hint = hints[declared.name]
        default = None if declared.default in (MISSING, ()) else declared.default
        yield FlowParameter(
            declared.name, _annotation(hint, declared), default, texts[declared.name], group.GROUP
        )


def _annotation(hint: Any, declared: "Field[Any]") -> Any:
    """The type for a form: a list for a tuple, with the limits."""
    if typing.get_origin(hint) is tuple:
        return list[typing.get_args(hint)[0]] | None  # type: ignore[misc]
    if not declared.metadata:
        return hint
    limits = declared.metadata
    return Annotated[hint, pydantic.Field(ge=limits["low"], le=limits["high"], gt=limits["above"])]


def _texts(group: type[Checked]) -> dict[str, str]:
    """What each parameter means, from the Args of the class and the classes that it extends."""
    texts: dict[str, str] = {}
    for kind in reversed(group.__mro__):
        for parameter in docstring_parser.parse(kind.__doc__ or "").params:
            texts[parameter.arg_name] = " ".join((parameter.description or "").split())
    return texts


def _documentation(text: str, parameters: list[FlowParameter]) -> str:
    before, separator, after = text.partition("\n\nReturns:")
    lines = "\n".join(f"    {each.name}: {each.text}" for each in parameters)
    return f"{before}\n\nArgs:\n{lines}{separator}{after}"


def _value(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
