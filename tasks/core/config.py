"""The settings that a person makes, typed and checked before anything runs."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from tasks.core.errors import UsageError


class Precision(StrEnum):
    """What training calculates in; weights are float32 in any, and so is the published model."""

    auto = "auto"  # bfloat16 where the device multiplies in it
    float32 = "float32"
    bfloat16 = "bfloat16"


class RecipeName(StrEnum):
    """Ways to train; `tasks.core.recipes` has what each is made of, its accuracy and its cost."""

    textbook = "textbook"
    flash = "flash"
    fast = "fast"
    good = "good"
    best = "best"


class ExportName(StrEnum):
    """Formats in which a model can go out besides `model.keras`; each is certified on the test images."""

    keras = "keras"
    saved_model = "saved-model"
    litert = "litert"
    litert_int8 = "litert-int8"
    onnx = "onnx"


class PromotePolicy(StrEnum):
    """When a new model becomes champion.

    better: shown better on the same test images. not_worse: shown not worse by more than a margin.
    always: in any case. never: only a person promotes it.
    """

    better = "better"
    not_worse = "not-worse"
    always = "always"
    never = "never"


class IfRunning(StrEnum):
    """What a run does while another run of the same dataset is under way in the same workspace."""

    wait = "wait"
    drop = "drop"


class RunnerName(StrEnum):
    """Where independent work runs.

    sequence: in this process, one after the other. processes: in processes of this machine. dask, ray: on a
    cluster that is there already, else on one of this machine that ends with the run.
    """

    sequence = "sequence"
    processes = "processes"
    dask = "dask"
    ray = "ray"


@dataclass(frozen=True)
class RunnerSettings:
    """Where independent work runs; none of it changes a byte of what comes out.

    Args:
        runner: By what.
        workers: How many processes of this machine, 1..1024; None means one a CPU.
        address: Of a Dask scheduler (tcp://...) or a Ray cluster (ray://..., or "auto").
    """

    runner: RunnerName = RunnerName.sequence
    workers: int | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        if self.address and self.runner not in (RunnerName.dask, RunnerName.ray):
            raise UsageError("an address is that of a cluster", expected="--runner dask or --runner ray")
        if self.workers is None:
            return
        _within("workers", self.workers, 1, 1024)
        if self.address or self.runner is RunnerName.sequence:
            raise UsageError(
                "workers cannot be chosen here",
                expected="--runner processes, or dask or ray without an address",
                found="a cluster, which has its own" if self.address else "--runner sequence",
            )


@dataclass(frozen=True)
class SourceSettings:
    """Where images come from.

    Args:
        dataset: A known dataset's name; the path of a folder of images, of a CSV of path and label, of a
            parquet file or a folder of them; or the address of parquet files (https://, hf://, s3://).
        archive: A file to use instead of downloading, or a folder where there are several; for a known
            dataset only.
        archive_sha256: The SHA-256 (64 hexadecimal digits) that `archive` must have, if it is not the
            official one. For a folder: that of what `sha256sum` prints for its files.
        corrections: A CSV of labels to use instead of the source's own.
    """

    dataset: str = "digits"
    archive: Path | None = None
    archive_sha256: str | None = None
    corrections: Path | None = None


@dataclass(frozen=True)
class NormalizeSettings:
    """How images become tensors.

    Args:
        image_size: Height and width of the tensors in pixels, 8..224; None keeps a known dataset's size
            and takes 32 for a folder whose images differ in size.
        val_fraction: Share of the training images held out for validation, above 0 and at most 0.5.
        max_quarantine: Share of unreadable images above which normalize fails, 0..1.
    """

    image_size: int | None = None
    val_fraction: float = 0.1
    max_quarantine: float = 0.01

    def __post_init__(self) -> None:
        if self.image_size is not None:
            _within("image_size", self.image_size, 8, 224)
        if self.val_fraction <= 0:
            raise UsageError("val_fraction must be above 0", found=str(self.val_fraction))
        _within("val_fraction", self.val_fraction, 0, 0.5)
        _within("max_quarantine", self.max_quarantine, 0, 1)


@dataclass(frozen=True)
class TrainSettings:
    """How to train; None takes the recipe's own value.

    Args:
        recipe: Which recipe.
        epochs: Passes over the training images, above 0; fractions welcome.
        batch_size: Images a step, 1..65536.
        learning_rate: Peak learning rate, above 0.
        augment: Whether to vary the training images.
        patience: Epochs without a better validation loss after which training stops and takes the best
            epoch's weights, 0..10000; 0 never stops early, which suits recipes of a fixed budget.
        drop_leaks: Whether to leave out the train and val images of which a test image is a duplicate.
        precision: What to calculate in; auto leaves it to the recipe and the device.
        seed: Everything random follows from it, 0..2**31-1.
    """

    recipe: RecipeName = RecipeName.fast
    epochs: float | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    augment: bool | None = None
    patience: int | None = None
    drop_leaks: bool = False
    precision: Precision = Precision.auto
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs is not None and not 0 < self.epochs <= 10_000:
            raise UsageError("epochs must be above 0 and at most 10000", found=f"{self.epochs:g}")
        if self.batch_size is not None:
            _within("batch_size", self.batch_size, 1, 65_536)
        if self.learning_rate is not None and not 0 < self.learning_rate <= 1000:
            raise UsageError(
                "learning_rate must be above 0 and at most 1000", found=f"{self.learning_rate:g}"
            )
        if self.patience is not None:
            _within("patience", self.patience, 0, 10_000)
        _within("seed", self.seed, 0, 2**31 - 1)


Settings = TypeVar("Settings", SourceSettings, NormalizeSettings, TrainSettings, RunnerSettings)


def _pick(kind: type[Settings], given: Mapping[str, Any]) -> Settings:
    return kind(**{field.name: given[field.name] for field in fields(kind) if field.name in given})


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UsageError(f"{name} must lie in {low:g}..{high:g}", found=f"{value:g}")


@dataclass(frozen=True)
class RunSettings:
    """Everything a person sets for a training run."""

    source: SourceSettings
    normalize: NormalizeSettings
    train: TrainSettings
    promote: PromotePolicy
    exports: tuple[ExportName, ...] = ()
    folds: int | None = None
    time_limit: float | None = None
    runner: RunnerSettings = RunnerSettings()

    def __post_init__(self) -> None:
        if self.time_limit is not None and not 0 < self.time_limit <= 1e6:
            raise UsageError("time_limit must be above 0 minutes", found=f"{self.time_limit:g}")

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> "RunSettings":
        """Sort a flow's parameters into the stages that they reach; absent or None means the default.

        Raises:
            UsageError: A value is out of its range, or two of them exclude each other.
        """
        given = {name: value for name, value in parameters.items() if value is not None}
        if given.get("dry_run") and given.get("overfit_batch"):
            raise UsageError("--dry-run and --overfit-batch exclude each other", todo="leave out one of them")
        return cls(
            source=_pick(SourceSettings, given),
            normalize=_pick(NormalizeSettings, given),
            train=_pick(TrainSettings, given),
            runner=_pick(RunnerSettings, given),
            promote=PromotePolicy(given.get("promote", PromotePolicy.better)),
            folds=given.get("folds"),
            time_limit=given.get("time_limit"),
            exports=tuple(sorted({ExportName(name) for name in given.get("exports", ())})),
        )


# Parameters that change where and when, not what.
NON_OUTPUT_PARAMETERS = (
    *("workspace", "refresh", "if_running", "time_limit", "dry_run", "overfit_batch"),
    *("runner", "workers", "address"),
)
