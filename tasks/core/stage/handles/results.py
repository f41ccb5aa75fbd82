"""Handles of what is computed with a trained model: its probabilities, scores, exports and reports."""

from dataclasses import dataclass
from pathlib import Path

from tasks.core import shares
from tasks.core.stage.handles.handle import Handle


@dataclass(frozen=True)
class Predictions(Handle):
    """A model's probabilities for a tensor cache: float32 (N, classes) of val and test.

    Cross-validated predictions are of train.

    Args:
        model_sha256: SHA-256 of the `model.keras` that computed them; empty if there were several models.
        tensors: Digest of the tensor cache.
        other_classes: Classes that only the model knows; their probabilities follow those of the tensors'.
    """

    model_sha256: str
    tensors: str
    other_classes: tuple[str, ...] = ()

    @staticmethod
    def path_in(directory: Path, split: str) -> Path:
        """The file of a split's probabilities in a directory of predictions."""
        return directory / f"{split}.probabilities.npy"

    def path_of(self, split: str) -> Path:
        """The file of a split's probabilities."""
        return self.path_in(self.directory, split)

    def __str__(self) -> str:
        return f"probabilities of the images of tensors {self.tensors}"


@dataclass(frozen=True)
class Evaluation(Handle):
    """The scores of a model's predictions.

    Args:
        predictions: Path of the `Predictions`, relative to the workspace.
        model_sha256: SHA-256 of the `model.keras` that was scored.
        tensors: Digest of the tensor cache that it was scored on.
        accuracy, macro_f1, log_loss: Scores on the test images.
        images: Number of test images.
    """

    predictions: str
    model_sha256: str
    tensors: str
    accuracy: float
    macro_f1: float
    log_loss: float
    images: int

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_also(self.predictions)  # which later stages read, too

    def __str__(self) -> str:
        accuracy = f"test accuracy {shares.percent(self.accuracy)}"
        return f"{accuracy} on {shares.counted(self.images, 'image')}, macro-F1 {self.macro_f1:.3f}"


@dataclass(frozen=True)
class LabelIssues(Handle):
    """A table of images whose label is probably wrong.

    Args:
        counts: Number of these images by split.
        expected_wrong: Estimated number of wrong labels among them; None if the model knows too little of the
            classes to tell, or the images are too few, and in outputs of earlier versions.
    """

    counts: dict[str, int]
    expected_wrong: float | None = None

    def __str__(self) -> str:
        parts = [f"{count:,} {split}" for split, count in self.counts.items()]
        return f"labels in doubt: {', '.join(parts)}{self._expected}"

    @property
    def _expected(self) -> str:
        listed = sum(self.counts.values())
        if self.expected_wrong is None or not listed:
            return ""
        if self.expected_wrong < 0.5:
            return "; no more than the model's mistakes explain"
        return f"; about {self.expected_wrong:,.0f} of the {listed:,} wrong"


@dataclass(frozen=True)
class Profile(Handle):
    """Statistics of a model's validation images, with which later images are compared.

    The files are `profile.parquet`, one row per image, and `embedding.npz`.

    Args:
        model_sha256: SHA-256 of the `model.keras` that computed them.
        split: The split of the images: "val".
        images: Number of images.
    """

    model_sha256: str
    split: str
    images: int

    def __str__(self) -> str:
        return (
            f"statistics of {shares.counted(self.images, f'{self.split} image')}, to compare later ones with"
        )


@dataclass(frozen=True)
class Exports(Handle):
    """A model in other formats, and `certificate.json`: how each file was verified on the test images.

    Args:
        model_sha256: SHA-256 of the `model.keras` that was exported.
        passed: Formats that were verified; their files are in the directory.
        refused: Formats whose answers differed by more than their tolerance; they have no file.
    """

    model_sha256: str
    passed: tuple[str, ...]
    refused: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{', '.join(self.passed)} certified" if self.passed else ""]
        parts += [f"{', '.join(self.refused)} NOT published" if self.refused else ""]
        return "; ".join(filter(None, parts))


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
