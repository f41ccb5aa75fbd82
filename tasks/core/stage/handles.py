"""What flows between stages: small handles to files, never the files' content.

A handle checks itself when it is made. Prefect makes it anew from JSON when it looks into its cache,
and takes an exception there for a miss: so a stage whose files are gone or changed runs again. In a workspace
at an address a handle brings the files that it stands for from there.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks.core.errors import FormatError
from tasks.core.stage import publish
from tasks.core.storage import manifests
from tasks.core.workspace import Workspace


@dataclass(frozen=True)
class Handle:
    """A finished directory of the workspace.

    Args:
        path: Relative to the workspace.
        digest: The digest of the ingredients that it was made from, as its manifest must say.

    Raises:
        FormatError: The directory is missing, damaged or made from something else.
    """

    path: str
    digest: str

    def __post_init__(self) -> None:
        problem = publish.ensure_local(self.directory)
        if not problem and self.manifest["digest"] != self.digest:
            problem = f"{self.path} has digest {self.manifest['digest']}"
        if problem:
            raise FormatError(f"{self.path} is not usable", expected=f"digest {self.digest}", found=problem)

    @property
    def directory(self) -> Path:
        return Workspace.active().root / self.path

    @property
    def manifest(self) -> dict[str, Any]:
        return manifests.read(self.directory)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class RawDataset(Handle):
    """Images as they came: a verified archive, or a listing of a folder with each file's SHA-256.

    Args:
        dataset: The name under which models, tables and reports are filed.
        kind: Which reader understands it: "digits", "cifar", "idx", "folder" or "parquet".
        root: Where the images' bytes are: relative to the workspace for archives, absolute for folders,
            empty for bundled data.
        images: Number of images in all splits.
    """

    dataset: str
    format: str
    root: str
    images: int

    def __str__(self) -> str:
        return f"{self.dataset}: {self.images:,} images"


@dataclass(frozen=True)
class TensorCache(Handle):
    """Images as arrays.

    Args:
        dataset: As in `RawDataset`.
        classes: Class names; their order is the labels' meaning.
        shape: Height, width, channels of an image.
        train, val, test: Number of images in each split.
        quarantined: Number of files set aside.
    """

    dataset: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    train: int
    val: int
    test: int
    quarantined: int

    def __str__(self) -> str:
        height, width, channels = self.shape
        counts = f"{self.train:,} train, {self.val:,} val, {self.test:,} test"
        aside = f", {self.quarantined:,} set aside" if self.quarantined else ""
        return f"{counts} images of {height}x{width}x{channels}, {len(self.classes)} classes{aside}"


@dataclass(frozen=True)
class Audit(Handle):
    """What was found out about the tensors; `findings` are sentences for the console."""

    findings: tuple[str, ...]

    def __str__(self) -> str:
        if not self.findings:
            return "nothing unusual"
        more = len(self.findings) - 1
        return self.findings[0] + (f", and {more} more finding{'s' if more > 1 else ''}" if more else "")


@dataclass(frozen=True)
class Model(Handle):
    """A directory with `model.keras`: takes uint8 (N, H, W, C), gives probabilities (N, classes).

    Args:
        model_sha256: Of `model.keras`.
    """

    model_sha256: str


@dataclass(frozen=True)
class TrainedModel(Model):
    """What training made: `model.keras`, `history.parquet`, `weights.npz`.

    Args:
        recipe: The recipe's name.
        epochs: Epochs trained.
        val_accuracy: On the validation images, 0..1.
        resumed: How training went on from a checkpoint, in words; empty if it did not.
        temperature: By which the model divides its logits, fitted on the validation images.
        replicas: Devices that trained it together.
        precision: Keras' name of the precision that it calculated in; see `tasks.core.model.devices.device`.
        device: "CPU", or what the GPU is called.
    """

    recipe: str
    epochs: float
    val_accuracy: float
    resumed: str = ""
    temperature: float = 1.0
    replicas: int = 1
    precision: str = "float32"
    device: str = "CPU"

    def __str__(self) -> str:
        resumed = f" ({self.resumed})" if self.resumed else ""
        epochs = f"{round(self.epochs, 2):g} epoch{'s' * (self.epochs != 1)}"
        replicas = f" on {self.replicas} replicas" if self.replicas > 1 else ""
        device = f" on {self.device}" if self.device != "CPU" else ""
        return f"{self.recipe}, {epochs}{replicas}{device}, val accuracy {self.val_accuracy:.2%}{resumed}"


@dataclass(frozen=True)
class ModelVersion(Model):
    """A published model, immutable; whether it is the champion stands in the registry's aliases.

    Args:
        dataset: As in `RawDataset`.
        version: "v0001" and so on.
    """

    dataset: str
    version: str


@dataclass(frozen=True)
class Predictions(Handle):
    """A model's probabilities for a tensor cache: `{val,test}.probabilities.npy`, float32 (N, classes).

    Those of folds are `train.probabilities.npy`.

    Args:
        model_sha256: Of the `model.keras` that made them; empty if several did.
        tensors: Digest of the tensor cache.
    """

    model_sha256: str
    tensors: str

    def __str__(self) -> str:
        return f"probabilities of the images of tensors {self.tensors}"


@dataclass(frozen=True)
class Profile(Handle):
    """What a model's images were like: `profile.parquet`, a row an image, and `embedding.npz`.

    Args:
        model_sha256: Of the `model.keras` that looked at them.
        split: Which images they are: "val".
        images: How many.
    """

    model_sha256: str
    split: str
    images: int

    def __str__(self) -> str:
        return f"what {self.images:,} {self.split} images are like, to compare later ones with"


@dataclass(frozen=True)
class Exports(Handle):
    """A model in other formats, and `certificate.json`: what each file was seen to do on the test images.

    Args:
        model_sha256: Of the `model.keras` that was exported.
        passed: Formats whose files are in the directory.
        refused: Formats whose files were outside their tolerance.
    """

    model_sha256: str
    passed: tuple[str, ...]
    refused: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{', '.join(self.passed)} certified" if self.passed else ""]
        parts += [f"{', '.join(self.refused)} NOT published" if self.refused else ""]
        return "; ".join(filter(None, parts))


@dataclass(frozen=True)
class Evaluation(Handle):
    """The scores of predictions.

    Args:
        predictions: Path of the `Predictions`, relative to the workspace.
        model_sha256: Of the `model.keras` that was scored.
        tensors: Digest of the tensors that it was scored on.
        accuracy, macro_f1, log_loss: On the test images.
        images: Number of test images.
    """

    predictions: str
    model_sha256: str
    tensors: str
    accuracy: float
    macro_f1: float
    log_loss: float
    images: int

    def __str__(self) -> str:
        return f"test accuracy {self.accuracy:.2%} on {self.images:,} images, macro-F1 {self.macro_f1:.3f}"


@dataclass(frozen=True)
class LabelIssues(Handle):
    """Images whose label is likely wrong.

    Args:
        counts: How many, by split that was looked at.
    """

    counts: dict[str, int]

    def __str__(self) -> str:
        parts = [f"{count:,} {split}" for split, count in self.counts.items()]
        return f"labels in doubt: {', '.join(parts)}"


@dataclass(frozen=True)
class Decision:
    """What the gate decided and the registry did; not a directory, so it checks nothing.

    Args:
        version: The challenger's version.
        champion: The champion's version after the decision; empty if there is none.
        promoted: Whether the challenger is the champion now.
        verdict: The decision in words.
        evidence: The figures behind it; JSON values.
        overtaken: Whether another run's model became champion before this one could be held against it.
    """

    version: str
    champion: str
    promoted: bool
    verdict: str
    evidence: dict[str, Any]
    champion_changed: bool = False

    def __str__(self) -> str:
        return f"{self.version}: {self.verdict}"


@dataclass(frozen=True)
class Report(Handle):
    """A run's report: `report.html` in the directory."""

    def __str__(self) -> str:
        return f"{self.directory / 'report.html'}"


@dataclass(frozen=True)
class SweepReport(Handle):
    """A sweep's report: `sweep.html`, `sweep.png` and `trials.parquet` in the directory."""

    def __str__(self) -> str:
        return f"{self.directory / 'sweep.html'}"
